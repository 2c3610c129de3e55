//! `rosterctl members`

use clap::{Args, Subcommand};
use identity_proto::v1::{
    CreateMemberRequest, DeleteMemberRequest, Filter, FilterList, ListMembersRequest, Member,
    MemberProfile, NamedRef, Operator, UpdateMemberRequest, comparison::Value as Compared,
    filter::Node, member_service_client::MemberServiceClient,
};
use prost_types::FieldMask;
use serde_json::json;

use super::{
    Outcome, answer,
    named::{compare, find_member},
    print, print_write, request_id,
};
use crate::{
    arguments::DryRun,
    connection::{Purpose, Settings},
    failure::Failure,
    json, show,
};

/// Members, and what can be done with them.
#[derive(Debug, Subcommand)]
pub(crate) enum Members {
    /// List members, in the order in which they were made
    #[command(after_help = "\
Examples:
  rosterctl members list
  rosterctl members list --containing @acme.example --inactive
  rosterctl --output json members list --limit 10000 | jq -r '.members[].user_name'")]
    List {
        /// Only those whose user name has this in it
        #[arg(long, value_name = "TEXT")]
        containing: Option<String>,
        /// Only active ones
        #[arg(long, conflicts_with = "inactive")]
        active: bool,
        /// Only inactive ones
        #[arg(long)]
        inactive: bool,
        /// How many at the most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Show a member
    #[command(after_help = "\
Examples:
  rosterctl members show ann@acme.example")]
    Show {
        /// The member, by user name or id
        member: String,
    },
    /// Make a member
    #[command(after_help = "\
Examples:
  rosterctl members create ann@acme.example --given-name Ann --family-name Analyst
  rosterctl members create bob@acme.example --given-name Bob --family-name Brown --dry-run")]
    Create {
        /// The e-mail address that the member signs in by
        user_name: String,
        #[command(flatten)]
        attributes: Attributes,
        /// Without any access until it is activated
        #[arg(long)]
        inactive: bool,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Change a member's attributes; those that are not named stay as they are
    #[command(after_help = "\
Examples:
  rosterctl members update ann@acme.example --title 'Head of Finance'
  rosterctl members update ann@acme.example --user-name ann.brown@acme.example --family-name Brown")]
    Update {
        /// The member, by user name or id
        member: String,
        /// The new e-mail address to sign in by
        #[arg(long)]
        user_name: Option<String>,
        #[command(flatten)]
        attributes: Attributes,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// End all of a member's access at once; its grants are kept
    #[command(after_help = "\
Examples:
  rosterctl members deactivate ann@acme.example --dry-run
  rosterctl members deactivate ann@acme.example")]
    Deactivate {
        /// The member, by user name or id
        member: String,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Give an inactive member back what its grants give
    #[command(after_help = "\
Examples:
  rosterctl members activate ann@acme.example")]
    Activate {
        /// The member, by user name or id
        member: String,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Delete a member: ends all its grants and memberships, and frees its user name
    #[command(after_help = "\
Examples:
  rosterctl members delete ann@acme.example --dry-run
  rosterctl members delete ann@acme.example")]
    Delete {
        /// The member, by user name or id
        member: String,
        #[command(flatten)]
        dry_run: DryRun,
    },
}

/// What is said of a person.
#[derive(Args, Debug)]
pub(crate) struct Attributes {
    /// The given name
    #[arg(long)]
    given_name: Option<String>,
    /// The family name
    #[arg(long)]
    family_name: Option<String>,
    /// The name to show
    #[arg(long)]
    display_name: Option<String>,
    /// The job title
    #[arg(long)]
    title: Option<String>,
    /// What the identity provider calls the member
    #[arg(long)]
    external_id: Option<String>,
}

impl Attributes {
    /// Sets what was said in a profile; whether anything was.
    fn set(self, profile: &mut MemberProfile) -> bool {
        let mut name = profile.name.clone().unwrap_or_default();
        let fields = [
            (self.given_name, &mut name.given_name),
            (self.family_name, &mut name.family_name),
            (self.display_name, &mut profile.display_name),
            (self.title, &mut profile.title),
        ];
        let mut said = false;
        for (value, field) in fields {
            if let Some(value) = value {
                *field = value;
                said = true;
            }
        }
        profile.name = Some(name);
        said
    }
}

pub(super) async fn run(settings: &Settings, command: Members) -> Result<Outcome, Failure> {
    let mut members = MemberServiceClient::new(settings.channel()?);
    match command {
        Members::List {
            containing,
            active,
            inactive,
            limit,
        } => {
            let filter = filter(containing, active, inactive);
            let (list, total) = list(settings, filter, limit as usize).await?;
            print(
                settings,
                || format!("{}\n{} of {total}", table(&list), list.len()),
                || {
                    let members: Vec<_> = list.iter().map(json::member).collect();
                    json!({"members": members, "total_size": total})
                },
            )
        }
        Members::Show { member } => {
            let member = find_member(settings, member).await?;
            print(
                settings,
                || facts(&member),
                || json!({"member": json::member(&member)}),
            )
        }
        Members::Create {
            user_name,
            mut attributes,
            inactive,
            dry_run,
        } => {
            let external_id = attributes.external_id.take().unwrap_or_default();
            let mut profile = MemberProfile::default();
            attributes.set(&mut profile);
            let request = CreateMemberRequest {
                site: settings.site(),
                member: Some(Member {
                    user_name,
                    external_id,
                    active: !inactive,
                    profile: Some(profile),
                    ..Member::default()
                }),
                validate_only: dry_run.dry_run,
                request_id: request_id(),
                ..CreateMemberRequest::default()
            };
            let made = settings
                .make(Purpose::Work, &request, async |request| {
                    members.create_member(request).await
                })
                .await?;
            let member = made.member.unwrap_or_default();
            let object = json!({"member": json::member(&member)});
            print_write(
                settings,
                dry_run,
                made.receipt.as_ref(),
                Some(facts(&member)),
                object,
            )
            .await
        }
        Members::Update {
            member,
            user_name,
            mut attributes,
            dry_run,
        } => {
            let found = find_member(settings, member).await?;
            let mut paths = Vec::new();
            let mut values = Member::default();
            if let Some(user_name) = user_name {
                values.user_name = user_name;
                paths.push("user_name");
            }
            if let Some(external_id) = attributes.external_id.take() {
                values.external_id = external_id;
                paths.push("external_id");
            }
            let mut profile = found.profile.clone().unwrap_or_default();
            if attributes.set(&mut profile) {
                values.profile = Some(profile);
                paths.push("profile");
            }
            if paths.is_empty() {
                return Err(Failure::usage(
                    "nothing to change: name an attribute, such as --title",
                ));
            }
            update(settings, &found, values, &paths, dry_run).await
        }
        Members::Deactivate { member, dry_run } => {
            let found = find_member(settings, member).await?;
            update(settings, &found, Member::default(), &["active"], dry_run).await
        }
        Members::Activate { member, dry_run } => {
            let found = find_member(settings, member).await?;
            let values = Member {
                active: true,
                ..Member::default()
            };
            update(settings, &found, values, &["active"], dry_run).await
        }
        Members::Delete { member, dry_run } => {
            let found = find_member(settings, member).await?;
            let request = DeleteMemberRequest {
                site: settings.site(),
                member_id: found.id.clone(),
                validate_only: dry_run.dry_run,
                ..DeleteMemberRequest::default()
            };
            let request = settings.request(Purpose::Work, request)?;
            let deleted = answer(settings, members.delete_member(request).await)?;
            let object = json!({"member": json::member(&found)});
            print_write(settings, dry_run, deleted.receipt.as_ref(), None, object).await
        }
    }
}

/// Members in the order in which they were made, at most so many, and how many match in all.
pub(super) async fn list(
    settings: &Settings,
    filter: Option<Filter>,
    limit: usize,
) -> Result<(Vec<Member>, i64), Failure> {
    let mut client = MemberServiceClient::new(settings.channel()?);
    let mut list = Vec::new();
    let mut page_token = String::new();
    loop {
        let size = (limit - list.len()).min(1000);
        let request = ListMembersRequest {
            site: settings.site(),
            filter: filter.clone(),
            page_size: Some(size as i32),
            page_token,
            ..ListMembersRequest::default()
        };
        let page = settings.call(Purpose::Work, &request, async |request| {
            client.list_members(request).await
        });
        let page = page.await?;
        list.extend(page.members);
        if page.next_page_token.is_empty() || list.len() >= limit {
            return Ok((list, page.total_size));
        }
        page_token = page.next_page_token;
    }
}

fn filter(containing: Option<String>, active: bool, inactive: bool) -> Option<Filter> {
    let named =
        containing.map(|text| compare("user_name", Operator::Contains, Compared::Text(text)));
    let state =
        (active || inactive).then(|| compare("active", Operator::Equal, Compared::Flag(active)));
    let filters: Vec<Filter> = named.into_iter().chain(state).collect();
    (!filters.is_empty()).then_some(Filter {
        node: Some(Node::All(FilterList { filters })),
    })
}

/// Changes what the mask names, if the member is still as it was read.
async fn update(
    settings: &Settings,
    member: &Member,
    values: Member,
    paths: &[&str],
    dry_run: DryRun,
) -> Result<Outcome, Failure> {
    let mask = FieldMask {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    };
    // The profile is written as a whole, made from the one that was read.
    let if_versions = if paths.contains(&"profile") {
        vec![member.version]
    } else {
        Vec::new()
    };
    let request = UpdateMemberRequest {
        site: settings.site(),
        member_id: member.id.clone(),
        values: Some(values),
        update_mask: Some(mask),
        if_versions,
        validate_only: dry_run.dry_run,
    };
    let request = settings.request(Purpose::Work, request)?;
    let mut members = MemberServiceClient::new(settings.channel()?);
    let updated = answer(settings, members.update_member(request).await)?;
    let member = updated.member.unwrap_or_default();
    let object = json!({"member": json::member(&member)});
    print_write(
        settings,
        dry_run,
        updated.receipt.as_ref(),
        Some(facts(&member)),
        object,
    )
    .await
}

fn facts(member: &Member) -> String {
    let access = member.access.clone().unwrap_or_default();
    let groups: Vec<&str> = member
        .groups
        .iter()
        .map(|group| group.display_name.as_str())
        .collect();
    let profile = member.profile.clone().unwrap_or_default();
    show::facts([
        ("User name", member.user_name.clone()),
        ("Id", member.id.clone()),
        ("External id", show::text(&member.external_id).to_owned()),
        ("Name", name(member)),
        ("Title", show::text(&profile.title).to_owned()),
        ("State", state(member).to_owned()),
        ("Roles", names(&access.roles)),
        ("Business entities", names(&access.business_entities)),
        ("Reaches", show::reach(access.reach()).to_owned()),
        ("Groups", show::text(&groups.join(", ")).to_owned()),
        ("Made", show::time(member.create_time.as_ref())),
        ("Changed", show::time(member.update_time.as_ref())),
    ])
}

fn table(members: &[Member]) -> String {
    let mut table = show::table([
        "User name",
        "Name",
        "State",
        "Roles",
        "Business entities",
        "Id",
    ]);
    for member in members {
        let access = member.access.clone().unwrap_or_default();
        table.add_row([
            member.user_name.clone(),
            name(member),
            state(member).to_owned(),
            names(&access.roles),
            names(&access.business_entities),
            member.id.clone(),
        ]);
    }
    table.to_string()
}

fn state(member: &Member) -> &'static str {
    if member.active { "active" } else { "inactive" }
}

fn names(list: &[NamedRef]) -> String {
    let names: Vec<&str> = list.iter().map(|named| named.name.as_str()).collect();
    show::text(&names.join(", ")).to_owned()
}

fn name(member: &Member) -> String {
    let profile = member.profile.clone().unwrap_or_default();
    let name = profile.name.unwrap_or_default();
    let text = match profile.display_name.is_empty() {
        true => format!("{} {}", name.given_name, name.family_name),
        false => profile.display_name,
    };
    show::text(text.trim()).to_owned()
}
