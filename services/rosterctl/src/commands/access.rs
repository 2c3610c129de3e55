//! `rosterctl access`

use identity_proto::v1::{
    Grant, ListMemberAccessRequest, ListMemberAccessResponse, MemberRef,
    access_service_client::AccessServiceClient, member_ref::Ref,
};

use super::{answer, print};
use crate::{
    arguments::Access,
    connection::{Purpose, Settings},
    failure::Failure,
    json, show,
};

pub(super) async fn run(settings: &Settings, command: Access) -> Result<(), Failure> {
    let Access::Show { member } = command;
    let request = ListMemberAccessRequest {
        site: settings.site(),
        member: Some(named(member)),
        ..Default::default()
    };
    let request = settings.request(Purpose::Read, request)?;
    let mut client = AccessServiceClient::new(settings.channel()?);
    let access = answer(settings, client.list_member_access(request).await)?;
    print(settings, || table(&access), || json::access(&access))
}

/// A user name is an e-mail address; an id has no `@`.
fn named(member: String) -> MemberRef {
    let named = if member.contains('@') {
        Ref::UserName(member)
    } else {
        Ref::Id(member)
    };
    MemberRef { r#ref: Some(named) }
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
    [Some(facts), held, suspended]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("\n\n")
}

fn grants<'a>(title: &str, grants: impl Iterator<Item = &'a Grant>) -> Option<String> {
    let mut table = show::table([title, "Name", "By", "Since"]);
    for grant in grants {
        let (kind, name, _) = show::target(grant.target.as_ref());
        let since = show::time(grant.since.as_ref());
        table.add_row([kind, name, &show::source(grant), &since]);
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
    fn a_member_is_named_by_address_or_id() {
        assert_eq!(
            named("a@b".to_owned()).r#ref,
            Some(Ref::UserName("a@b".to_owned()))
        );
        assert_eq!(
            named("0198".to_owned()).r#ref,
            Some(Ref::Id("0198".to_owned()))
        );
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
