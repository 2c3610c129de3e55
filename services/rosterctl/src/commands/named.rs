//! How commands name things: by the name that people know, or by id.

use std::collections::HashMap;

use clap::Args;
use identity_forms::names::closest;
use identity_proto::v1::{
    AccessTarget, BatchGetMembersRequest, BusinessEntity, Comparison, Filter, GetMemberRequest,
    Group, ListBusinessEntitiesRequest, ListGroupsRequest, ListRolesRequest, Member, MemberRef,
    NamedRef, Operator, Role, access_target,
    business_entity_service_client::BusinessEntityServiceClient, comparison, filter::Node,
    group_service_client::GroupServiceClient, member_ref::Ref,
    member_service_client::MemberServiceClient, role_service_client::RoleServiceClient,
};
use roster_folding::key;
use uuid::Uuid;

use super::answer;
use crate::{
    connection::{Purpose, Settings},
    failure::Failure,
};

/// How many members identity reads at once.
pub(super) const LOOKED_UP: usize = 500;

/// A role or a business entity.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct TargetArgs {
    /// The role, by name or id
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// The business entity, by name or id
    #[arg(long, value_name = "ENTITY")]
    entity: Option<String>,
}

impl TargetArgs {
    /// What was named, for a request.
    pub(super) fn target(self) -> Option<AccessTarget> {
        target(self.role, self.entity)
    }
}

/// A role, a business entity, or neither.
#[derive(Args, Clone, Debug)]
#[group(required = false, multiple = false)]
pub(crate) struct TargetFilter {
    /// Only of this role, by name or id
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Only of this business entity, by name or id
    #[arg(long, value_name = "ENTITY")]
    entity: Option<String>,
}

impl TargetFilter {
    /// What was named, for a request.
    pub(super) fn target(self) -> Option<AccessTarget> {
        target(self.role, self.entity)
    }
}

fn target(role: Option<String>, entity: Option<String>) -> Option<AccessTarget> {
    let role = role.map(|name| access_target::Target::Role(named(name)));
    let entity = entity.map(|name| access_target::Target::BusinessEntity(named(name)));
    role.or(entity).map(|target| AccessTarget {
        target: Some(target),
    })
}

/// A user name is an e-mail address; an id has no `@`.
pub(super) fn member(member: String) -> MemberRef {
    let named = if member.contains('@') {
        Ref::UserName(member)
    } else {
        Ref::Id(member)
    };
    MemberRef { r#ref: Some(named) }
}

/// A role or business entity: by id where it is one, otherwise by name.
pub(super) fn named(text: String) -> NamedRef {
    if Uuid::try_parse(&text).is_ok() {
        NamedRef {
            id: text,
            name: String::new(),
        }
    } else {
        NamedRef {
            id: String::new(),
            name: text,
        }
    }
}

/// The member of this user name or id.
pub(super) async fn find_member(settings: &Settings, name: String) -> Result<Member, Failure> {
    let request = GetMemberRequest {
        site: settings.site(),
        member: Some(member(name)),
        ..GetMemberRequest::default()
    };
    let request = settings.request(Purpose::Work, request)?;
    let mut members = MemberServiceClient::new(settings.channel()?);
    let found = answer(settings, members.get_member(request).await)?;
    Ok(found.member.unwrap_or_default())
}

/// The members who have one of these user names, by the key of the name.
pub(super) async fn members_by_user_name(
    settings: &Settings,
    user_names: &[&str],
) -> Result<HashMap<String, Member>, Failure> {
    let mut members = MemberServiceClient::new(settings.channel()?)
        .max_decoding_message_size(super::LARGEST_ANSWER);
    let mut found = HashMap::new();
    for some in user_names.chunks(LOOKED_UP) {
        let named = |name: &&str| MemberRef {
            r#ref: Some(Ref::UserName((*name).to_owned())),
        };
        let request = BatchGetMembersRequest {
            site: settings.site(),
            members: some.iter().map(named).collect(),
            ..BatchGetMembersRequest::default()
        };
        let answer = settings
            .call(Purpose::Work, &request, async |request| {
                members.batch_get_members(request).await
            })
            .await?;
        found.extend(
            answer
                .members
                .into_iter()
                .map(|member| (key(&member.user_name), member)),
        );
    }
    Ok(found)
}

/// The ids of these members, each named by user name or id.
pub(super) async fn member_ids(
    settings: &Settings,
    names: Vec<String>,
) -> Result<Vec<String>, Failure> {
    let user_names: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| name.contains('@'))
        .collect();
    let found = members_by_user_name(settings, &user_names).await?;
    let id = |name: &String| match found.get(&key(name)) {
        Some(member) => Ok(member.id.clone()),
        None if name.contains('@') => Err(name.clone()),
        None => Ok(name.clone()),
    };
    let (ids, unknown): (Vec<_>, Vec<_>) = names.iter().map(id).partition(Result::is_ok);
    let unknown: Vec<String> = unknown.into_iter().filter_map(Result::err).collect();
    if unknown.is_empty() {
        Ok(ids.into_iter().filter_map(Result::ok).collect())
    } else {
        Err(Failure::not_found(format!(
            "no members of the site: {}",
            unknown.join(", ")
        )))
    }
}

/// The site's roles.
pub(super) async fn roles(settings: &Settings) -> Result<Vec<Role>, Failure> {
    let request = ListRolesRequest {
        site: settings.site(),
        ..ListRolesRequest::default()
    };
    let mut client = RoleServiceClient::new(settings.channel()?);
    let list = settings.call(Purpose::Work, &request, async |request| {
        client.list_roles(request).await
    });
    Ok(list.await?.roles)
}

/// The site's business entities.
pub(super) async fn entities(settings: &Settings) -> Result<Vec<BusinessEntity>, Failure> {
    let request = ListBusinessEntitiesRequest {
        site: settings.site(),
        ..ListBusinessEntitiesRequest::default()
    };
    let mut client = BusinessEntityServiceClient::new(settings.channel()?);
    let list = settings.call(Purpose::Work, &request, async |request| {
        client.list_business_entities(request).await
    });
    Ok(list.await?.business_entities)
}

/// The role of this name or id.
pub(super) async fn find_role(settings: &Settings, name: &str) -> Result<Role, Failure> {
    let roles = roles(settings).await?;
    pick("role", name, roles, |role| (&role.id, &role.name))
}

/// The business entity of this name or id.
pub(super) async fn find_entity(
    settings: &Settings,
    name: &str,
) -> Result<BusinessEntity, Failure> {
    let entities = entities(settings).await?;
    pick("business entity", name, entities, |entity| {
        (&entity.id, &entity.name)
    })
}

/// The group of this display name or id, without its members.
pub(super) async fn find_group(settings: &Settings, name: &str) -> Result<Group, Failure> {
    let field = if Uuid::try_parse(name).is_ok() {
        "id"
    } else {
        "display_name"
    };
    let request = ListGroupsRequest {
        site: settings.site(),
        filter: Some(equal(field, name)),
        without_members: true,
        ..ListGroupsRequest::default()
    };
    let mut client = GroupServiceClient::new(settings.channel()?);
    let list = settings.call(Purpose::Work, &request, async |request| {
        client.list_groups(request).await
    });
    let found = list.await?.groups.into_iter().next();
    found.ok_or_else(|| Failure::not_found(format!("there is no group {name:?}")))
}

/// The condition that a text field has this value, whatever its case.
pub(super) fn equal(field: &str, value: &str) -> Filter {
    compare(
        field,
        Operator::Equal,
        comparison::Value::Text(value.to_owned()),
    )
}

/// A condition on one field.
pub(super) fn compare(field: &str, operator: Operator, value: comparison::Value) -> Filter {
    let comparison = Comparison {
        field: field.to_owned(),
        operator: operator.into(),
        value: Some(value),
        ..Comparison::default()
    };
    Filter {
        node: Some(Node::Comparison(comparison)),
    }
}

/// The one that is meant; none that is not there, but those that come close.
fn pick<T>(
    kind: &str,
    wanted: &str,
    all: Vec<T>,
    named: impl Fn(&T) -> (&String, &String),
) -> Result<T, Failure> {
    let wanted_key = key(wanted);
    let names: Vec<String> = all.iter().map(|one| named(one).1.clone()).collect();
    let is_meant = |one: &T| named(one).0 == wanted || key(named(one).1) == wanted_key;
    all.into_iter().find(is_meant).ok_or_else(|| {
        let close = closest(wanted, &names);
        let hint = match close.is_empty() {
            true => String::new(),
            false => format!("; did you mean {}?", close.join(" or ")),
        };
        Failure::not_found(format!("the site has no {kind} {wanted:?}{hint}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_named_by_address_or_id() {
        assert_eq!(
            member("a@b".to_owned()).r#ref,
            Some(Ref::UserName("a@b".to_owned()))
        );
        assert_eq!(
            member("0198".to_owned()).r#ref,
            Some(Ref::Id("0198".to_owned()))
        );
    }

    #[test]
    fn a_role_is_named_by_name_or_id() {
        assert_eq!(named("Sales Agent".to_owned()).name, "Sales Agent");
        let id = "01980000-0000-7000-8000-000000000000".to_owned();
        assert_eq!(named(id.clone()).id, id);
    }

    #[test]
    fn a_name_is_found_whatever_its_case_and_an_unknown_one_answered_with_the_closest() {
        let all = || {
            vec![
                ("1".to_owned(), "Analyst".to_owned()),
                ("2".to_owned(), "Admin".to_owned()),
            ]
        };
        let pick = |wanted| pick("role", wanted, all(), |one| (&one.0, &one.1));
        assert_eq!(pick("ANALYST").unwrap().0, "1");
        assert_eq!(pick("2").unwrap().1, "Admin");
        let failure = pick("Analist").unwrap_err().to_string();
        assert!(failure.contains("did you mean Analyst?"), "{failure}");
    }
}
