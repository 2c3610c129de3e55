//! The contract's messages as JSON, for programs. Names are the contract's; ids are strings, times are
//! RFC 3339, and what is not there is null.

use identity_proto::v1::{
    AccessChange, AccessTarget, Credential, Event, Grant, GrantedTarget, ListMemberAccessResponse,
    Receipt, Site, grant::Source,
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

fn grant(grant: &Grant) -> Value {
    let source = match &grant.source {
        Some(Source::Group(group)) => {
            json!({"group": {"group_id": group.group_id, "display_name": group.display_name}})
        }
        Some(Source::Direct(direct)) => json!({"direct": {
            "grant_id": direct.grant_id,
            "actor": direct.actor,
            "reason": direct.reason,
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

fn target(target: Option<&AccessTarget>) -> Value {
    let (kind, name, id) = show::target(target);
    json!({"kind": kind.replace(' ', "_"), "id": id, "name": name})
}

/// An event.
pub(crate) fn event(event: &Event) -> Value {
    let actor = event.actor.clone().unwrap_or_default();
    json!({
        "number": event.number,
        "time": time(event.time.as_ref()),
        "kind": event.kind,
        "actor": {"credential_id": some(&actor.credential_id), "label": actor.label},
        "subject_kind": event.subject_kind,
        "subject_id": event.subject_id,
        "trace_id": some(&event.trace_id),
        "site_id": event.site_id,
        "before": event.before.as_ref().map(object),
        "after": event.after.as_ref().map(object),
        "access_changes": event.access_changes.iter().map(change).collect::<Vec<_>>(),
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
