//! `rosterctl access`

use clap::{Args, Subcommand};
use identity_proto::v1::{
    AccessQuestion, AsOf, CheckAccessRequest, CheckAccessResponse, ExplainAccessRequest,
    ExplainAccessResponse, Grant, ListMemberAccessRequest, ListMemberAccessResponse,
    ListMembersInBusinessEntityRequest, ListMembersWithPermissionRequest,
    ListMembersWithRoleRequest, MemberWithAccess, ReachReason, access_question::Ability,
    access_service_client::AccessServiceClient, as_of::Moment,
};
use serde_json::json;

use super::{
    Outcome, answer,
    named::{Asked, member, named},
    print,
};
use crate::{
    arguments::{Output, parse_moment},
    connection::{Purpose, Settings},
    failure::Failure,
    json, show,
};

/// Questions of who may do what.
#[derive(Debug, Subcommand)]
pub(crate) enum Access {
    /// Ask whether a member holds a permission or a role: exit code 0 for yes, 7 for no, 4 where a name is unknown
    #[command(after_help = "\
A member, role or business entity that the site does not have (with --as-of: did not have then) is no answer, but a
failure with exit code 4, as where anything else is not found. With --output json the answer is printed all the same.

Examples:
  rosterctl access check ann@acme.example --permission invoices.view
  rosterctl access check ann@acme.example --permission invoices.view --entity 'EU GmbH'
  rosterctl access check ann@acme.example --role Admin --as-of 2026-10-01T12:00:00Z
  if rosterctl access check ann@acme.example --role Owner; then echo 'may'; fi")]
    Check {
        #[command(flatten)]
        question: Question,
        #[command(flatten)]
        as_of: AsOfArgs,
    },
    /// Explain the answer to a question: what is behind a yes, what would make a no a yes
    #[command(after_help = "\
A member, role or business entity that the site does not have is a failure with exit code 4, as with access check.

Examples:
  rosterctl access explain ann@acme.example --permission invoices.view --entity 'US Inc'
  rosterctl access explain ann@acme.example --role Admin --as-of 1234")]
    Explain {
        #[command(flatten)]
        question: Question,
        #[command(flatten)]
        as_of: AsOfArgs,
    },
    /// Show a member's roles, business entities and permissions, with the grants behind them
    #[command(after_help = "\
Examples:
  rosterctl access show ann@acme.example
  rosterctl access show ann@acme.example --as-of 2026-10-01T12:00:00Z")]
    Show {
        /// The member, by user name or id
        member: String,
        #[command(flatten)]
        as_of: AsOfArgs,
    },
    /// List all who hold a role, reach a business entity or hold a permission
    #[command(after_help = "\
Examples:
  rosterctl access who --role Admin
  rosterctl access who --role Admin --as-of 2026-10-01T12:00:00Z
  rosterctl access who --entity 'EU GmbH'
  rosterctl access who --permission invoices.view --entity 'EU GmbH'")]
    Who {
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        as_of: AsOfArgs,
    },
}

/// What those have who are listed.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub(crate) struct What {
    /// Who holds this role, by name or id
    #[arg(long, conflicts_with_all = ["permission", "entity"])]
    role: Option<String>,
    /// Who holds this permission
    #[arg(long)]
    permission: Option<String>,
    /// Whose roles reach this business entity, by name or id; with --permission: who holds it there
    #[arg(long)]
    entity: Option<String>,
}

/// May this member do this, there?
#[derive(Args, Debug)]
pub(crate) struct Question {
    /// The member, by user name or id
    member: String,
    #[command(flatten)]
    ability: AbilityArgs,
    /// In which business entity, by name or id [default: in any]
    #[arg(long)]
    entity: Option<String>,
}

/// What is asked about.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct AbilityArgs {
    /// A permission
    #[arg(long)]
    permission: Option<String>,
    /// A role, by name or id
    #[arg(long)]
    role: Option<String>,
}

impl Question {
    fn asked(&self) -> Asked {
        Asked {
            member: Some(self.member.clone()),
            role: self.ability.role.clone(),
            entity: self.entity.clone(),
            permissions: self.ability.permission.iter().cloned().collect(),
        }
    }

    fn of_contract(self) -> AccessQuestion {
        let AbilityArgs { permission, role } = self.ability;
        let role = role.map(|role| Ability::Role(named(role)));
        AccessQuestion {
            member: Some(member(self.member)),
            ability: permission.map(Ability::Permission).or(role),
            business_entity: self.entity.map(named),
        }
    }
}

/// When.
#[derive(Args, Debug)]
pub(crate) struct AsOfArgs {
    /// As of a moment of the past: an event's number, or a time such as 2026-10-01T12:00:00Z
    #[arg(long, value_name = "NUMBER|TIME", value_parser = parse_as_of)]
    as_of: Option<AsOf>,
}

fn parse_as_of(text: &str) -> Result<AsOf, String> {
    let moment = match text.parse() {
        Ok(revision) => Moment::Revision(revision),
        Err(_) => Moment::Time(parse_moment(text)?),
    };
    Ok(AsOf {
        moment: Some(moment),
    })
}

pub(super) async fn run(settings: &Settings, command: Access) -> Result<Outcome, Failure> {
    let mut client = AccessServiceClient::new(settings.channel()?);
    match command {
        Access::Check { question, as_of } => {
            let asked = question.asked();
            let is_past = as_of.as_of.is_some();
            let request = CheckAccessRequest {
                site: settings.site(),
                question: Some(question.of_contract()),
                as_of: as_of.as_of,
                ..CheckAccessRequest::default()
            };
            let request = settings.request(Purpose::Work, request)?;
            let checked = match answer(settings, client.check_access(request).await) {
                Ok(checked) => checked,
                Err(failure) => return Err(asked.suggest(settings, failure).await),
            };
            let given = checked.answer.clone().unwrap_or_default();
            let denials = [given.denial()].into_iter();
            let unknown = asked.unknown(settings, denials, is_past).await;
            if unknown.is_none() || settings.output == Output::Json {
                print(
                    settings,
                    || verdict(&checked),
                    || {
                        let answer = checked.answer.as_ref().map(json::answer);
                        json!({"answer": answer, "revision": checked.revision})
                    },
                )?;
            }
            match unknown {
                Some(failure) => Err(failure),
                None => Ok(Outcome::of(given.allowed)),
            }
        }
        Access::Explain { question, as_of } => {
            let asked = question.asked();
            let is_past = as_of.as_of.is_some();
            let request = ExplainAccessRequest {
                site: settings.site(),
                question: Some(question.of_contract()),
                as_of: as_of.as_of,
                ..ExplainAccessRequest::default()
            };
            let request = settings.request(Purpose::Work, request)?;
            let explained = match answer(settings, client.explain_access(request).await) {
                Ok(explained) => explained,
                Err(failure) => return Err(asked.suggest(settings, failure).await),
            };
            let unknown = asked.unknown(settings, explained.missing(), is_past).await;
            let denials: Vec<&str> = explained
                .missing()
                .map(|denial| denial.as_str_name())
                .collect();
            if unknown.is_none() || settings.output == Output::Json {
                print(
                    settings,
                    || explanation(&explained),
                    || {
                        json!({
                            "answer": explained.answer.as_ref().map(json::answer),
                            "missing": denials,
                            "sentences": explained.sentences,
                            "remedies": explained.remedies.iter().map(json::remedy).collect::<Vec<_>>(),
                            "revision": explained.revision,
                        })
                    },
                )?;
            }
            match unknown {
                Some(failure) => Err(failure),
                None => Ok(Outcome::Done),
            }
        }
        Access::Show {
            member: name,
            as_of,
        } => {
            let asked = Asked {
                member: Some(name.clone()),
                ..Asked::default()
            };
            let request = ListMemberAccessRequest {
                site: settings.site(),
                member: Some(member(name)),
                as_of: as_of.as_of,
                ..ListMemberAccessRequest::default()
            };
            let request = settings.request(Purpose::Work, request)?;
            let access = match answer(settings, client.list_member_access(request).await) {
                Ok(access) => access,
                Err(failure) => return Err(asked.suggest(settings, failure).await),
            };
            print(settings, || table(&access), || json::access(&access))
        }
        Access::Who { what, as_of } => {
            let asked = Asked {
                role: what.role.clone(),
                entity: what.entity.clone(),
                permissions: what.permission.iter().cloned().collect(),
                ..Asked::default()
            };
            let (members, revision) = match who(settings, what, as_of.as_of).await {
                Ok(found) => found,
                Err(failure) => return Err(asked.suggest(settings, failure).await),
            };
            print(
                settings,
                || {
                    format!(
                        "{}\n{}, as of revision {revision}",
                        listing(&members),
                        show::count(members.len() as i64, "member")
                    )
                },
                || {
                    let members: Vec<_> = members.iter().map(json::member_with_access).collect();
                    json!({"members": members, "revision": revision})
                },
            )
        }
    }
}

/// All pages of a listing, and the revision that they hold for.
async fn who(
    settings: &Settings,
    what: What,
    as_of: Option<AsOf>,
) -> Result<(Vec<MemberWithAccess>, i64), Failure> {
    let What {
        role,
        permission,
        entity,
    } = what;
    const PAGE: Option<i32> = Some(1000);
    let mut client = AccessServiceClient::new(settings.channel()?);
    let mut members = Vec::new();
    let mut page_token = String::new();
    loop {
        let (page, next, revision) = if let Some(role) = &role {
            let request = ListMembersWithRoleRequest {
                site: settings.site(),
                role: Some(named(role.clone())),
                as_of,
                page_size: PAGE,
                page_token,
                ..ListMembersWithRoleRequest::default()
            };
            let request = settings.request(Purpose::Work, request)?;
            let page = answer(settings, client.list_members_with_role(request).await)?;
            (page.members, page.next_page_token, page.revision)
        } else if let Some(permission) = &permission {
            let request = ListMembersWithPermissionRequest {
                site: settings.site(),
                permission: permission.clone(),
                business_entity: entity.clone().map(named),
                as_of,
                page_size: PAGE,
                page_token,
                ..ListMembersWithPermissionRequest::default()
            };
            let request = settings.request(Purpose::Work, request)?;
            let page = answer(settings, client.list_members_with_permission(request).await)?;
            (page.members, page.next_page_token, page.revision)
        } else {
            let request = ListMembersInBusinessEntityRequest {
                site: settings.site(),
                business_entity: entity.clone().map(named),
                as_of,
                page_size: PAGE,
                page_token,
                ..ListMembersInBusinessEntityRequest::default()
            };
            let request = settings.request(Purpose::Work, request)?;
            let page = answer(
                settings,
                client.list_members_in_business_entity(request).await,
            )?;
            (page.members, page.next_page_token, page.revision)
        };
        members.extend(page);
        if next.is_empty() {
            return Ok((members, revision));
        }
        page_token = next;
    }
}

fn verdict(checked: &CheckAccessResponse) -> String {
    let answer = checked.answer.clone().unwrap_or_default();
    let revision = format!("as of revision {}", checked.revision);
    if !answer.allowed {
        let why = show::denial(answer.denial());
        return format!("No: {why} ({revision})");
    }
    let behind = grants("Has", answer.grants.iter());
    let reach = grants(
        reach_title(answer.reach_reason()),
        answer.reach_grants.iter(),
    );
    let yes = match show::reach_reason(answer.reach_reason()) {
        "" => format!("Yes ({revision})"),
        reason => format!("Yes; {reason} ({revision})"),
    };
    paragraphs([Some(yes), behind, reach])
}

fn reach_title(reason: ReachReason) -> &'static str {
    match reason {
        ReachReason::OwnerOrAdmin => "Reaches by",
        _ => "Reaches",
    }
}

fn explanation(explained: &ExplainAccessResponse) -> String {
    let sentences = explained.sentences.join("\n");
    format!("{sentences}\n\nAs of revision {}", explained.revision)
}

fn paragraphs(parts: [Option<String>; 3]) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}

fn listing(members: &[MemberWithAccess]) -> String {
    let mut table = show::table(["User name", "By", "Reaches", "Id"]);
    for member in members {
        let sources = |grants: &[Grant]| {
            let sources: Vec<String> = grants
                .iter()
                .map(|grant| {
                    format!(
                        "{}: {}",
                        show::target(grant.target.as_ref()).1,
                        show::source(grant)
                    )
                })
                .collect();
            sources.join("\n")
        };
        let reach = match sources(&member.reach_grants) {
            granted if granted.is_empty() => show::reach_reason(member.reach_reason()).to_owned(),
            granted => granted,
        };
        table.add_row([
            member.user_name.as_str(),
            &sources(&member.grants),
            show::text(&reach),
            &member.member_id,
        ]);
    }
    table.to_string()
}

fn table(access: &ListMemberAccessResponse) -> String {
    let state = match access.active {
        true => "active",
        false => "inactive: no access",
    };
    let facts = show::facts([
        ("Member", access.user_name.clone()),
        ("Id", access.member_id.clone()),
        ("State", state.to_owned()),
        ("Reaches", show::reach(access.reach()).to_owned()),
        (
            "Permissions",
            show::text(&access.permissions.join(", ")).to_owned(),
        ),
        ("As of revision", access.revision.to_string()),
    ]);
    let held = access.roles.iter().chain(&access.business_entities);
    let held = grants("Has", held.flat_map(|granted| &granted.grants));
    let suspended = grants("Would have again when active", access.suspended.iter());
    paragraphs([Some(facts), held, suspended])
}

fn grants<'a>(title: &str, grants: impl Iterator<Item = &'a Grant>) -> Option<String> {
    let mut table = show::table([title, "Name", "By", "Since", "Until"]);
    for grant in grants {
        let (kind, name, _) = show::target(grant.target.as_ref());
        let since = show::time(grant.since.as_ref());
        table.add_row([kind, name, &show::source(grant), &since, &show::end(grant)]);
    }
    (!table.is_empty()).then(|| table.to_string())
}

#[cfg(test)]
mod tests {
    use identity_proto::v1::{
        AccessTarget, GrantedTarget, GroupSource, NamedRef, Reach, access_target::Target,
        grant::Source,
    };

    use super::*;

    #[test]
    fn a_moment_is_a_number_or_a_time() {
        assert_eq!(
            parse_as_of("17").unwrap().moment,
            Some(Moment::Revision(17))
        );
        assert!(matches!(
            parse_as_of("2026-10-01T12:00:00Z").unwrap().moment,
            Some(Moment::Time(_))
        ));
        assert!(parse_as_of("yesterday").is_err());
    }

    #[test]
    fn the_grant_behind_each_role_is_shown() {
        let role = NamedRef {
            id: "1".to_owned(),
            name: "Analyst".to_owned(),
        };
        let target = Some(AccessTarget {
            target: Some(Target::Role(role)),
        });
        let group = GroupSource {
            group_id: "2".to_owned(),
            display_name: "CB/acme/ROLE/Analyst".to_owned(),
        };
        let grant = Grant {
            target: target.clone(),
            source: Some(Source::Group(group)),
            ..Grant::default()
        };
        let access = ListMemberAccessResponse {
            user_name: "a@acme.example".to_owned(),
            active: true,
            reach: Reach::All.into(),
            roles: vec![GrantedTarget {
                target,
                grants: vec![grant],
            }],
            ..ListMemberAccessResponse::default()
        };
        let text = table(&access);
        assert!(text.contains("a@acme.example"), "{text}");
        assert!(text.contains("group CB/acme/ROLE/Analyst"), "{text}");
        assert!(!text.contains("Would have"), "{text}");
    }
}
