//! The contract's messages as JSON, for programs. Names are the contract's; ids are strings, times are
//! RFC 3339, and what is not there is null.

use identity_proto::v1::{
    AccessAnswer, AccessChange, AccessTarget, Actor, BusinessEntity, Credential, DirectGrant,
    Event, Grant, GrantedTarget, Group, ListMemberAccessResponse, Member, MemberWithAccess,
    NamedRef, Permission, Receipt, Remedy, Role, Site, grant::Source,
};
use prost_types::{Struct, Timestamp, Value as ProtoValue, value::Kind};
use serde_json::{Value, json};

use crate::show;

/// A site.
pub(crate) fn site(site: &Site) -> Value {
    json!({
        "id": site.id,
        "domain": site.domain,
        "divided": site.divided,
        "unassigned_reach": site.unassigned_reach().as_str_name(),
        "outside_groups": site.outside_groups().as_str_name(),
        "custom_role_limit": site.custom_role_limit,
        "revision": site.revision,
        "version": site.version,
        "create_time": time(site.create_time.as_ref()),
    })
}

/// A credential.
pub(crate) fn credential(credential: &Credential) -> Value {
    let scopes: Vec<&str> = credential.scopes().map(show::scope).collect();
    json!({
        "id": credential.id,
        "site_id": some(&credential.site_id),
        "label": credential.label,
        "scopes": scopes,
        "create_time": time(credential.create_time.as_ref()),
        "last_use_time": time(credential.last_use_time.as_ref()),
        "expire_time": time(credential.expire_time.as_ref()),
        "revoke_time": time(credential.revoke_time.as_ref()),
        "certificate_name": some(&credential.certificate_name),
        "version": credential.version,
    })
}

/// What a member may do.
pub(crate) fn access(access: &ListMemberAccessResponse) -> Value {
    json!({
        "member_id": access.member_id,
        "user_name": access.user_name,
        "active": access.active,
        "roles": access.roles.iter().map(granted).collect::<Vec<_>>(),
        "business_entities": access.business_entities.iter().map(granted).collect::<Vec<_>>(),
        "reach": access.reach().as_str_name(),
        "permissions": access.permissions,
        "revision": access.revision,
        "suspended": access.suspended.iter().map(grant).collect::<Vec<_>>(),
    })
}

fn granted(granted: &GrantedTarget) -> Value {
    json!({
        "target": target(granted.target.as_ref()),
        "grants": granted.grants.iter().map(grant).collect::<Vec<_>>(),
    })
}

/// A grant.
pub(crate) fn grant(grant: &Grant) -> Value {
    let source = match &grant.source {
        Some(Source::Group(group)) => {
            json!({"group": {"group_id": group.group_id, "display_name": group.display_name}})
        }
        Some(Source::Direct(direct)) => json!({"direct": {
            "grant_id": direct.grant_id,
            "actor": direct.actor,
            "reason": direct.reason,
            "end_time": time(direct.end_time.as_ref()),
        }}),
        Some(Source::Entitlement(_)) => json!({"entitlement": {}}),
        None => Value::Null,
    };
    json!({
        "target": target(grant.target.as_ref()),
        "source": source,
        "since": time(grant.since.as_ref()),
        "since_revision": grant.since_revision,
    })
}

/// A direct grant.
pub(crate) fn direct_grant(given: &DirectGrant) -> Value {
    let ending = given.ending.as_ref().map(|ending| {
        json!({
            "time": time(ending.time.as_ref()),
            "revision": ending.revision,
            "actor": actor(ending.actor.as_ref()),
            "reason": some(&ending.reason),
        })
    });
    json!({
        "grant": given.grant.as_ref().map(grant),
        "member_id": given.member_id,
        "user_name": given.user_name,
        "ending": ending,
        "version": given.version,
    })
}

fn actor(of: Option<&Actor>) -> Value {
    let actor = of.cloned().unwrap_or_default();
    json!({"credential_id": some(&actor.credential_id), "label": actor.label})
}

fn target(target: Option<&AccessTarget>) -> Value {
    let (kind, name, id) = show::target(target);
    json!({"kind": kind.replace(' ', "_"), "id": id, "name": name})
}

/// A member.
pub(crate) fn member(member: &Member) -> Value {
    let entitlements = member.entitlements.clone().unwrap_or_default();
    let access = member.access.clone().unwrap_or_default();
    let groups = member
        .groups
        .iter()
        .map(|group| json!({"id": group.id, "display_name": group.display_name}));
    json!({
        "id": member.id,
        "user_name": member.user_name,
        "external_id": some(&member.external_id),
        "active": member.active,
        "profile": member.profile,
        "version": member.version,
        "create_time": time(member.create_time.as_ref()),
        "update_time": time(member.update_time.as_ref()),
        "groups": groups.collect::<Vec<_>>(),
        "access": {
            "roles": named_list(&access.roles),
            "business_entities": named_list(&access.business_entities),
            "reach": access.reach().as_str_name(),
        },
        "entitlements": {
            "roles": named_list(&entitlements.roles),
            "business_entities": named_list(&entitlements.business_entities),
        },
    })
}

/// A role.
pub(crate) fn role(role: &Role) -> Value {
    json!({
        "id": role.id,
        "name": role.name,
        "built_in": role.built_in,
        "permissions": role.permissions,
        "version": role.version,
    })
}

/// A permission of the catalogue.
pub(crate) fn permission(permission: &Permission) -> Value {
    json!({
        "name": permission.name,
        "description": permission.description,
        "built_in_roles": permission.built_in_roles,
    })
}

/// A business entity.
pub(crate) fn business_entity(entity: &BusinessEntity) -> Value {
    json!({
        "id": entity.id,
        "name": entity.name,
        "handle": entity.handle,
        "version": entity.version,
    })
}

/// A group; its members only where they were read.
pub(crate) fn group(group: &Group, with_members: bool) -> Value {
    let mut object = json!({
        "id": group.id,
        "display_name": group.display_name,
        "external_id": some(&group.external_id),
        "target": group.target.as_ref().map(|of| target(Some(of))),
        "version": group.version,
        "create_time": time(group.create_time.as_ref()),
        "update_time": time(group.update_time.as_ref()),
    });
    if with_members {
        object["member_ids"] = json!(group.member_ids);
    }
    object
}

/// The answer to a question of access.
pub(crate) fn answer(answer: &AccessAnswer) -> Value {
    json!({
        "allowed": answer.allowed,
        "denial": some_name(answer.denial().as_str_name()),
        "member_id": some(&answer.member_id),
        "grants": answer.grants.iter().map(grant).collect::<Vec<_>>(),
        "reach_reason": some_name(answer.reach_reason().as_str_name()),
        "reach_grants": answer.reach_grants.iter().map(grant).collect::<Vec<_>>(),
    })
}

/// A member in a listing of access.
pub(crate) fn member_with_access(member: &MemberWithAccess) -> Value {
    json!({
        "member_id": member.member_id,
        "user_name": member.user_name,
        "grants": member.grants.iter().map(grant).collect::<Vec<_>>(),
        "reach_reason": some_name(member.reach_reason().as_str_name()),
        "reach_grants": member.reach_grants.iter().map(grant).collect::<Vec<_>>(),
    })
}

/// What would give a member what is missing.
pub(crate) fn remedy(remedy: &Remedy) -> Value {
    json!({
        "target": target(remedy.target.as_ref()),
        "group_id": some(&remedy.group_id),
        "group_display_name": some(&remedy.group_display_name),
        "alone": remedy.alone,
    })
}

fn named_list(list: &[NamedRef]) -> Vec<Value> {
    let named = |named: &NamedRef| json!({"id": named.id, "name": named.name});
    list.iter().map(named).collect()
}

/// The name of an enum's value; none for the one that says nothing.
fn some_name(name: &str) -> Option<&str> {
    (!name.ends_with("_UNSPECIFIED")).then_some(name)
}

/// An event.
pub(crate) fn event(event: &Event) -> Value {
    json!({
        "number": event.number,
        "time": time(event.time.as_ref()),
        "kind": event.kind,
        "actor": actor(event.actor.as_ref()),
        "subject_kind": event.subject_kind,
        "subject_id": event.subject_id,
        "trace_id": some(&event.trace_id),
        "site_id": event.site_id,
        "site_domain": event.site_domain,
        "before": event.before.as_ref().map(object),
        "after": event.after.as_ref().map(object),
        "access_changes": event.access_changes.iter().map(change).collect::<Vec<_>>(),
        "members": event.members,
        "gained": event.gained,
        "lost": event.lost,
        "unknown_member_ids": event.unknown_member_ids,
    })
}

/// What a write did.
pub(crate) fn receipt(receipt: Option<&Receipt>) -> Value {
    let Some(receipt) = receipt else {
        return Value::Null;
    };
    json!({
        "revision": receipt.revision,
        "changed": receipt.changed,
        "members": receipt.members,
        "gained": receipt.gained,
        "lost": receipt.lost,
        "unknown_member_ids": receipt.unknown_member_ids,
        "access_changes": receipt.access_changes.iter().map(change).collect::<Vec<_>>(),
    })
}

fn change(change: &AccessChange) -> Value {
    json!({
        "target": target(change.target.as_ref()),
        "gained_member_ids": change.gained_member_ids,
        "lost_member_ids": change.lost_member_ids,
    })
}

fn time(time: Option<&Timestamp>) -> Option<String> {
    time.map(ToString::to_string)
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn object(object: &Struct) -> Value {
    object
        .fields
        .iter()
        .map(|(name, inner)| (name.clone(), value(inner)))
        .collect()
}

fn value(of: &ProtoValue) -> Value {
    match &of.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => json!(flag),
        // Whole numbers stay whole: a double holds them up to 2^53.
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() < 9e15 => {
            json!(*number as i64)
        }
        Some(Kind::NumberValue(number)) => json!(number),
        Some(Kind::StringValue(text)) => json!(text),
        Some(Kind::StructValue(inner)) => object(inner),
        Some(Kind::ListValue(list)) => list.values.iter().map(value).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_struct_becomes_an_object() {
        let kind = |kind| ProtoValue { kind: Some(kind) };
        let inner = Struct {
            fields: [
                ("n".to_owned(), kind(Kind::NumberValue(3.0))),
                ("half".to_owned(), kind(Kind::NumberValue(0.5))),
                ("none".to_owned(), ProtoValue { kind: None }),
            ]
            .into(),
        };
        assert_eq!(object(&inner), json!({"n": 3, "half": 0.5, "none": null}));
    }

    #[test]
    fn what_is_not_there_is_null() {
        let text = credential(&Credential::default());
        assert_eq!(text["expire_time"], Value::Null);
        assert_eq!(text["site_id"], Value::Null);
    }
}
