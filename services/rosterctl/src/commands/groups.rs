//! `rosterctl groups`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use group_convention::Naming;
use identity_forms::names::closest;
use identity_proto::v1::{
    CreateGroupRequest, DeleteGroupRequest, Filter, GetGroupRequest, Group, ListGroupsRequest,
    MembershipDelta, Operator, TargetByName, TargetKind, UpdateGroupRequest,
    comparison::Value as Compared, group_service_client::GroupServiceClient,
    update_group_request::Membership,
};
use serde_json::json;

use super::{
    Outcome, answer, lint,
    named::{compare, find_group, member_ids},
    print, print_write, request_id,
};
use crate::{
    arguments::DryRun,
    connection::{Purpose, Settings},
    failure::Failure,
    json, show,
};

/// Groups, and what can be done with them.
#[derive(Debug, Subcommand)]
pub(crate) enum Groups {
    /// List groups, in the order in which they were made
    #[command(after_help = "\
Examples:
  rosterctl groups list
  rosterctl groups list --containing /ROLE/")]
    List {
        /// Only those whose display name has this in it
        #[arg(long, value_name = "TEXT")]
        containing: Option<String>,
        /// How many at the most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Show a group and the ids of its members
    #[command(after_help = "\
Examples:
  rosterctl groups show 'CB/acme/ROLE/Sales Manager'")]
    Show {
        /// The group, by display name or id
        group: String,
    },
    /// Make a group; what it gives follows from its name, by the convention, unless it is said
    #[command(after_help = "\
Examples:
  rosterctl groups create 'CB/acme/ROLE/Sales Manager' --member ann@acme.example
  rosterctl groups create 'Sales people' --gives-role 'Sales Agent' --dry-run")]
    Create {
        /// The display name
        display_name: String,
        #[command(flatten)]
        gives: Gives,
        /// What the identity provider calls the group
        #[arg(long)]
        external_id: Option<String>,
        /// A member to put in, by user name or id; may be given several times
        #[arg(long = "member", value_name = "MEMBER")]
        members: Vec<String>,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Rename a group, or put members in and out
    #[command(after_help = "\
Examples:
  rosterctl groups update 'CB/acme/ROLE/Sales Manager' --add ann@acme.example --remove bob@acme.example
  rosterctl groups update 'CB/acme/ROLE/Analyst' --name 'CB/acme/ROLE/Finance Executive' --dry-run")]
    Update {
        /// The group, by display name or id
        group: String,
        /// The new display name: the whole membership moves to what it gives
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        gives: Gives,
        /// What the identity provider calls the group; empty for nothing
        #[arg(long)]
        external_id: Option<String>,
        /// A member to put in, by user name or id; may be given several times
        #[arg(long, value_name = "MEMBER")]
        add: Vec<String>,
        /// A member to take out, by user name or id; may be given several times
        #[arg(long, value_name = "MEMBER")]
        remove: Vec<String>,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Delete a group: ends what it granted, and leaves the members
    #[command(after_help = "\
Examples:
  rosterctl groups delete 'CB/acme/ROLE/Sales Manager' --dry-run")]
    Delete {
        /// The group, by display name or id
        group: String,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Check names of groups against the convention before an identity provider pushes them
    #[command(
        long_about = "\
Check names of groups against the convention before an identity provider pushes them.

The file is CSV. The names stand in the column display_name, displayName, name, group or group_name; where no \
column is called so, in the first one, from the first row on.

Each name gets a verdict, in the words that the identity provider's administrator would read. The exit code is \
0 where every name will do, and 7 otherwise. With --offline nobody is asked whether the site has the role or the \
business entity, so no name is called good: at best it is well formed.",
        after_help = "\
Examples:
  rosterctl --site acme groups lint groups.csv
  rosterctl --site acme groups lint groups.csv --offline
  rosterctl --site acme --output json groups lint - < groups.csv"
    )]
    Lint {
        /// The file; - for standard input
        file: PathBuf,
        /// Ask nobody: check the form and the domain (of --site) only
        #[arg(long)]
        offline: bool,
        #[command(flatten)]
        prefix: Prefix,
    },
}

/// The first part of names of the convention.
#[derive(Args, Clone, Debug)]
pub(crate) struct Prefix {
    /// The first part of names of the convention, as the facade is set to
    #[arg(long, env = "ROSTER_GROUP_PREFIX", hide_env_values = true, default_value = "CB", value_parser = group_convention::prefix)]
    pub(super) prefix: String,
}

/// What a group gives its members.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "What it gives, where that does not follow from the name")]
pub(crate) struct Gives {
    /// This role, by name
    #[arg(long, value_name = "ROLE", conflicts_with_all = ["gives_entity", "gives_nothing"])]
    gives_role: Option<String>,
    /// This business entity, by name
    #[arg(long, value_name = "ENTITY", conflicts_with = "gives_nothing")]
    gives_entity: Option<String>,
    /// Nothing
    #[arg(long)]
    gives_nothing: bool,
    #[command(flatten)]
    prefix: Prefix,
}

impl Gives {
    /// Whether it was said, so that it does not follow from the name.
    fn is_said(&self) -> bool {
        self.gives_role.is_some() || self.gives_entity.is_some() || self.gives_nothing
    }

    /// What a write was answered, or why it was refused, with the name that was expected where that matters.
    fn explained<T>(&self, answer: Result<T, Failure>, display_name: &str) -> Result<T, Failure> {
        let naming = Naming {
            prefix: &self.prefix.prefix,
            display_name,
        };
        answer.map_err(|failure| match self.is_said() {
            true => failure,
            false => expected(failure, &naming),
        })
    }

    fn target(self, display_name: &str) -> TargetByName {
        if let Some(name) = self.gives_role {
            target(TargetKind::Role, name)
        } else if let Some(name) = self.gives_entity {
            target(TargetKind::BusinessEntity, name)
        } else if self.gives_nothing {
            target(TargetKind::None, String::new())
        } else {
            let prefix = &self.prefix.prefix;
            Naming {
                prefix,
                display_name,
            }
            .target()
        }
    }
}

/// A refusal of what a name says, with the name that was expected.
pub(super) fn expected(failure: Failure, naming: &Naming<'_>) -> Failure {
    let Some(domain) = failure.fact("site_domain").map(str::to_owned) else {
        return failure;
    };
    let prefix = naming.prefix;
    let of_kind = |kind: &str, name: &str| format!("{prefix}/{domain}/{kind}/{name}");
    let (role, entity) = (
        of_kind("ROLE", "<role>"),
        of_kind("BE", "<business entity>"),
    );
    match failure.reason() {
        "TARGET_UNKNOWN" => match failure.fact("kind") {
            Some("BUSINESS_ENTITY") => failure.beside(&format!("expected {entity}")),
            _ => failure.beside(&format!("expected {role}")),
        },
        "TARGET_OF_ANOTHER_SITE" => match of_site(naming, &domain) {
            Some(name) => failure.beside(&format!("expected {name}")),
            None => failure,
        },
        "TARGET_MISSING" => {
            // What stands last is mostly right.
            let last = naming
                .display_name
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .trim();
            let close = |names: Vec<String>, kind| {
                closest(last, &names)
                    .into_iter()
                    .map(move |name| of_kind(kind, &name))
            };
            let roles = close(failure.names("roles"), "ROLE");
            let entities = close(failure.names("business_entities"), "BE");
            let close: Vec<String> = roles.chain(entities).collect();
            failure
                .beside(&format!("expected {role} or {entity}"))
                .meant(&close)
        }
        _ => failure,
    }
}

/// A name of the convention with this site's domain instead of its own.
pub(super) fn of_site(naming: &Naming<'_>, domain: &str) -> Option<String> {
    let rest = naming.display_name.splitn(3, '/').nth(2)?;
    Some(format!("{}/{domain}/{rest}", naming.prefix))
}

/// A target of this kind and name, whatever the display name says.
pub(super) fn target(kind: TargetKind, name: String) -> TargetByName {
    TargetByName {
        kind: kind.into(),
        name,
        ..TargetByName::default()
    }
}

pub(super) async fn run(settings: &Settings, command: Groups) -> Result<Outcome, Failure> {
    let mut client = GroupServiceClient::new(settings.channel()?);
    match command {
        Groups::List { containing, limit } => {
            let filter = containing
                .map(|text| compare("display_name", Operator::Contains, Compared::Text(text)));
            let list = list(settings, filter, limit as usize).await?;
            print(
                settings,
                || table(&list),
                || {
                    let list: Vec<_> = list.iter().map(|group| json::group(group, false)).collect();
                    json!({"groups": list})
                },
            )
        }
        Groups::Show { group } => {
            let found = find_group(settings, &group).await?;
            let group = with_members(settings, found.id).await?;
            print(
                settings,
                || {
                    let members: Vec<String> = group
                        .member_ids
                        .iter()
                        .map(|id| format!("\n  {id}"))
                        .collect();
                    format!(
                        "{}\nMembers: {}{}",
                        facts(&group),
                        members.len(),
                        members.concat()
                    )
                },
                || json!({"group": json::group(&group, true)}),
            )
        }
        Groups::Create {
            display_name,
            gives,
            external_id,
            members,
            dry_run,
        } => {
            let request = CreateGroupRequest {
                site: settings.site(),
                target: Some(gives.clone().target(&display_name)),
                display_name: display_name.clone(),
                external_id: external_id.unwrap_or_default(),
                member_ids: member_ids(settings, members).await?,
                validate_only: dry_run.dry_run,
                request_id: request_id(),
                ..CreateGroupRequest::default()
            };
            let made = settings
                .make(Purpose::Work, &request, async |request| {
                    client.create_group(request).await
                })
                .await;
            let made = gives.explained(made, &display_name)?;
            let group = made.group.unwrap_or_default();
            let object = json!({"group": json::group(&group, true)});
            print_write(
                settings,
                dry_run,
                made.receipt.as_ref(),
                Some(facts(&group)),
                object,
            )
            .await
        }
        Groups::Update {
            group,
            name,
            gives,
            external_id,
            add,
            remove,
            dry_run,
        } => {
            if name.is_none() && external_id.is_none() && add.is_empty() && remove.is_empty() {
                return Err(Failure::usage(
                    "nothing to change: name --name, --external-id, --add or --remove",
                ));
            }
            let found = find_group(settings, &group).await?;
            let moves = !add.is_empty() || !remove.is_empty();
            let delta = MembershipDelta {
                add_member_ids: member_ids(settings, add).await?,
                remove_member_ids: member_ids(settings, remove).await?,
            };
            let request = UpdateGroupRequest {
                site: settings.site(),
                group_id: found.id,
                target: name.as_deref().map(|name| gives.clone().target(name)),
                display_name: name.clone(),
                external_id,
                membership: moves.then_some(Membership::Delta(delta)),
                without_members: true,
                validate_only: dry_run.dry_run,
                ..UpdateGroupRequest::default()
            };
            let request = settings.request(Purpose::Work, request)?;
            let updated = answer(settings, client.update_group(request).await);
            let updated = gives.explained(updated, name.as_deref().unwrap_or_default())?;
            let group = updated.group.unwrap_or_default();
            let object = json!({"group": json::group(&group, false)});
            print_write(
                settings,
                dry_run,
                updated.receipt.as_ref(),
                Some(facts(&group)),
                object,
            )
            .await
        }
        Groups::Delete { group, dry_run } => {
            let found = find_group(settings, &group).await?;
            let request = DeleteGroupRequest {
                site: settings.site(),
                group_id: found.id.clone(),
                validate_only: dry_run.dry_run,
                ..DeleteGroupRequest::default()
            };
            let request = settings.request(Purpose::Work, request)?;
            let deleted = answer(settings, client.delete_group(request).await)?;
            let object = json!({"group": json::group(&found, false)});
            print_write(settings, dry_run, deleted.receipt.as_ref(), None, object).await
        }
        Groups::Lint {
            file,
            offline,
            prefix,
        } => lint::run(settings, &file, offline, &prefix.prefix).await,
    }
}

/// Groups in the order in which they were made, at most so many, without their members.
pub(super) async fn list(
    settings: &Settings,
    filter: Option<Filter>,
    limit: usize,
) -> Result<Vec<Group>, Failure> {
    let mut client = GroupServiceClient::new(settings.channel()?);
    let mut list = Vec::new();
    let mut page_token = String::new();
    loop {
        let size = (limit - list.len()).min(1000);
        let request = ListGroupsRequest {
            site: settings.site(),
            filter: filter.clone(),
            page_size: Some(size as i32),
            without_members: true,
            page_token,
            ..ListGroupsRequest::default()
        };
        let page = settings
            .call(Purpose::Work, &request, async |request| {
                client.list_groups(request).await
            })
            .await?;
        list.extend(page.groups);
        if page.next_page_token.is_empty() || list.len() >= limit {
            return Ok(list);
        }
        page_token = page.next_page_token;
    }
}

/// A group with all of its members.
pub(super) async fn with_members(settings: &Settings, group_id: String) -> Result<Group, Failure> {
    let request = GetGroupRequest {
        site: settings.site(),
        group_id,
        ..GetGroupRequest::default()
    };
    let mut client = GroupServiceClient::new(settings.channel()?)
        .max_decoding_message_size(super::LARGEST_ANSWER);
    let found = settings
        .call(Purpose::Work, &request, async |request| {
            client.get_group(request).await
        })
        .await?;
    Ok(found.group.unwrap_or_default())
}

fn facts(group: &Group) -> String {
    show::facts([
        ("Display name", group.display_name.clone()),
        ("Id", group.id.clone()),
        ("External id", show::text(&group.external_id).to_owned()),
        ("Gives", gives(group)),
        ("Made", show::time(group.create_time.as_ref())),
        ("Changed", show::time(group.update_time.as_ref())),
    ])
}

fn gives(group: &Group) -> String {
    match &group.target {
        Some(target) => {
            let (kind, name, _) = show::target(Some(target));
            format!("{kind} {name}")
        }
        None => "nothing".to_owned(),
    }
}

fn table(groups: &[Group]) -> String {
    let mut table = show::table(["Display name", "Gives", "Changed", "Id"]);
    for group in groups {
        table.add_row([
            group.display_name.as_str(),
            &gives(group),
            &show::time(group.update_time.as_ref()),
            &group.id,
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    #[test]
    fn a_refused_name_is_answered_with_the_one_that_was_expected() {
        let of = |display_name: &str, reason: &str, facts: &[(&str, &str)]| {
            let facts = facts.iter().chain(&[("site_domain", "acme")]);
            let facts = facts.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let facts: std::collections::HashMap<_, _> = facts.collect();
            let details = ErrorDetails::with_error_info(reason, "identity.roster", facts);
            let status = Status::with_error_details(Code::InvalidArgument, "Wrong.", details);
            let naming = Naming {
                prefix: "CB",
                display_name,
            };
            expected(Failure::of_call("x", &status), &naming).to_string()
        };
        let unknown = of(
            "CB/acme/ROLE/Analist",
            "TARGET_UNKNOWN",
            &[("closest", "Analyst")],
        );
        assert!(unknown.contains("did you mean Analyst?"), "{unknown}");
        assert!(
            unknown.ends_with("expected CB/acme/ROLE/<role>"),
            "{unknown}"
        );
        let other = of("CB/imp/BE/A/B", "TARGET_OF_ANOTHER_SITE", &[]);
        assert!(other.ends_with("expected CB/acme/BE/A/B"), "{other}");
        let facts = [
            ("roles", "Admin\nAnalyst"),
            ("business_entities", "EU GmbH"),
        ];
        let missing = of("CB/acme/Role/Analist", "TARGET_MISSING", &facts);
        assert!(
            missing.contains("expected CB/acme/ROLE/<role> or CB/acme/BE/<business entity>"),
            "{missing}"
        );
        assert!(
            missing.ends_with("did you mean CB/acme/ROLE/Analyst?"),
            "{missing}"
        );
    }
}
