//! How commands name things: by the name that people know, or by id.

use std::collections::HashMap;

use clap::Args;
use identity_forms::names::closest;
use identity_proto::v1::{
    AccessTarget, BatchGetMembersRequest, BusinessEntity, Comparison, Denial, Filter,
    GetMemberRequest, Group, ListBusinessEntitiesRequest, ListGroupsRequest, ListMembersRequest,
    ListPermissionsRequest, ListRolesRequest, Member, MemberRef, NamedRef, Operator, Permission,
    Role, access_target, business_entity_service_client::BusinessEntityServiceClient, comparison,
    filter::Node, group_service_client::GroupServiceClient, member_ref::Ref,
    member_service_client::MemberServiceClient, role_service_client::RoleServiceClient,
};
use roster_folding::key;
use uuid::Uuid;

use super::answer;
use crate::{
    connection::{Purpose, Settings},
    failure::{Failure, did_you_mean},
};

/// How many members identity reads at once.
pub(super) const LOOKED_UP: usize = 500;

/// How many members are looked through for one who may be meant.
const LOOKED_THROUGH: i32 = 1000;

/// The names that a command was given, some of which the site may not have.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) member: Option<String>,
    pub(super) role: Option<String>,
    pub(super) entity: Option<String>,
    pub(super) permissions: Vec<String>,
}

impl Asked {
    /// A refusal, and where it is that a name is unknown, the names that come close. Where those can't be read, with
    /// a token that may not, it is the refusal alone.
    pub(super) async fn suggest(&self, settings: &Settings, failure: Failure) -> Failure {
        let of_permission = failure.is("FIELD_INVALID")
            && failure
                .fact("field")
                .is_some_and(|field| field.contains("permission"));
        let close = match failure.reason() {
            "MEMBER_NOT_FOUND" => self.close_members(settings).await,
            "ROLE_NOT_FOUND" => self.close_roles(settings).await,
            "BUSINESS_ENTITY_NOT_FOUND" => self.close_entities(settings).await,
            _ if of_permission => self.close_permissions(settings).await,
            _ => return failure,
        };
        failure.meant(&close)
    }

    /// The failure of a question that is answered with no because a name is unknown; none where it is not.
    pub(super) async fn unknown(
        &self,
        settings: &Settings,
        denials: impl Iterator<Item = Denial>,
        is_past: bool,
    ) -> Option<Failure> {
        let mut messages = Vec::new();
        for denial in denials {
            let (what, name, close) = match denial {
                Denial::MemberUnknown => {
                    ("member", &self.member, self.close_members(settings).await)
                }
                Denial::RoleUnknown => ("role", &self.role, self.close_roles(settings).await),
                Denial::BusinessEntityUnknown => {
                    let close = self.close_entities(settings).await;
                    ("business entity", &self.entity, close)
                }
                _ => continue,
            };
            let name = name.as_deref().unwrap_or_default();
            let mut message = match is_past {
                false => format!("the site has no {what} {name:?}"),
                true => format!("the site had no {what} {name:?} then"),
            };
            if !close.is_empty() {
                message.push_str(&format!("; {}", did_you_mean(&close)));
            }
            messages.push(message);
        }
        (!messages.is_empty()).then(|| Failure::not_found(messages.join("\n  ")))
    }

    async fn close_members(&self, settings: &Settings) -> Vec<String> {
        // Of the same domain: at any other the person would be another one.
        let Some((local, domain)) = self
            .member
            .as_deref()
            .and_then(|name| name.rsplit_once('@'))
        else {
            return Vec::new();
        };
        let at = format!("@{domain}");
        let request = ListMembersRequest {
            site: settings.site(),
            filter: Some(compare(
                "user_name",
                Operator::EndsWith,
                comparison::Value::Text(at.clone()),
            )),
            page_size: Some(LOOKED_THROUGH),
            ..ListMembersRequest::default()
        };
        let Ok(channel) = settings.channel() else {
            return Vec::new();
        };
        let mut client =
            MemberServiceClient::new(channel).max_decoding_message_size(super::LARGEST_ANSWER);
        let list = settings.call(Purpose::Work, &request, async |request| {
            client.list_members(request).await
        });
        let list = list.await.map(|list| list.members).unwrap_or_default();
        let known = list
            .iter()
            .filter_map(|member| member.user_name.rsplit_once('@'));
        let known: Vec<String> = known.map(|(local, _)| local.to_owned()).collect();
        let close = closest(local, &known);
        close.iter().map(|local| format!("{local}{at}")).collect()
    }

    async fn close_roles(&self, settings: &Settings) -> Vec<String> {
        let known = roles(settings).await.unwrap_or_default();
        let known: Vec<String> = known.into_iter().map(|role| role.name).collect();
        closest(self.role.as_deref().unwrap_or_default(), &known)
    }

    async fn close_entities(&self, settings: &Settings) -> Vec<String> {
        let known = entities(settings).await.unwrap_or_default();
        let known: Vec<String> = known.into_iter().map(|entity| entity.name).collect();
        closest(self.entity.as_deref().unwrap_or_default(), &known)
    }

    async fn close_permissions(&self, settings: &Settings) -> Vec<String> {
        let known = permissions(settings).await.unwrap_or_default();
        let known: Vec<String> = known
            .into_iter()
            .map(|permission| permission.name)
            .collect();
        let unknown = self.permissions.iter().filter(|name| !known.contains(name));
        unknown.flat_map(|name| closest(name, &known)).collect()
    }
}

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

    /// What was named, of this member.
    pub(super) fn asked(&self, member: &str) -> Asked {
        Asked {
            member: Some(member.to_owned()),
            role: self.role.clone(),
            entity: self.entity.clone(),
            ..Asked::default()
        }
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
    /// What was named, of this member, if one was.
    pub(super) fn asked(&self, member: Option<&str>) -> Asked {
        Asked {
            member: member.map(str::to_owned),
            role: self.role.clone(),
            entity: self.entity.clone(),
            ..Asked::default()
        }
    }

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
    let asked = Asked {
        member: Some(name.clone()),
        ..Asked::default()
    };
    let request = GetMemberRequest {
        site: settings.site(),
        member: Some(member(name)),
        ..GetMemberRequest::default()
    };
    let request = settings.request(Purpose::Work, request)?;
    let mut members = MemberServiceClient::new(settings.channel()?);
    match answer(settings, members.get_member(request).await) {
        Ok(found) => Ok(found.member.unwrap_or_default()),
        Err(failure) => Err(asked.suggest(settings, failure).await),
    }
}

/// The user names of these members, by id; without those that are gone or can't be read with this token.
pub(super) async fn user_names(settings: &Settings, ids: &[&str]) -> HashMap<String, String> {
    let mut names = HashMap::new();
    let Ok(channel) = settings.channel() else {
        return names;
    };
    let mut members =
        MemberServiceClient::new(channel).max_decoding_message_size(super::LARGEST_ANSWER);
    for some in ids.chunks(LOOKED_UP) {
        let named = |id: &&str| MemberRef {
            r#ref: Some(Ref::Id((*id).to_owned())),
        };
        let request = BatchGetMembersRequest {
            site: settings.site(),
            members: some.iter().map(named).collect(),
            ..BatchGetMembersRequest::default()
        };
        let found = settings.call(Purpose::Work, &request, async |request| {
            members.batch_get_members(request).await
        });
        let found = found.await.map(|found| found.members).unwrap_or_default();
        names.extend(
            found
                .into_iter()
                .map(|member| (member.id, member.user_name)),
        );
    }
    names
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
        let asked = Asked {
            // For one a name that comes close is read, not for a whole list.
            member: unknown.first().filter(|_| unknown.len() == 1).cloned(),
            ..Asked::default()
        };
        let close = asked.close_members(settings).await;
        Err(
            Failure::not_found(format!("no members of the site: {}", unknown.join(", ")))
                .meant(&close),
        )
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

/// The catalogue of permissions.
pub(super) async fn permissions(settings: &Settings) -> Result<Vec<Permission>, Failure> {
    let request = ListPermissionsRequest::default();
    let mut client = RoleServiceClient::new(settings.channel()?);
    let list = settings.call(Purpose::Work, &request, async |request| {
        client.list_permissions(request).await
    });
    Ok(list.await?.permissions)
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
            false => format!("; {}", did_you_mean(&close)),
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
