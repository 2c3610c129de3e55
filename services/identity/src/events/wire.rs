//! Events as the contract shows them.

use identity_proto::v1 as pb;
use serde_json::Value;

use super::{Event, kinds::subject_kind};
use crate::wire;

impl From<Event> for pb::Event {
    fn from(event: Event) -> Self {
        let access_changes = read_changes(&event.access_changes);
        let count = |of: fn(&pb::AccessChange) -> &Vec<String>| -> i64 {
            access_changes
                .iter()
                .map(|change| of(change).len() as i64)
                .sum()
        };
        Self {
            number: event.number,
            time: Some(wire::timestamp(event.occurred_at)),
            subject_kind: subject_kind(&event.kind).to_owned(),
            kind: event.kind,
            actor: Some(pb::Actor {
                credential_id: event
                    .credential
                    .map(|id| id.to_string())
                    .unwrap_or_default(),
                label: event.actor,
            }),
            subject_id: event.subject.to_string(),
            trace_id: event.trace_id,
            site_id: event.site.to_string(),
            site_domain: event.site_domain,
            before: Some(wire::to_struct(event.before)),
            after: Some(wire::to_struct(event.after)),
            members: event.members,
            gained: count(|change| &change.gained_member_ids),
            lost: count(|change| &change.lost_member_ids),
            unknown_member_ids: event.unknown,
            access_changes,
        }
    }
}

fn read_changes(kept: &Value) -> Vec<pb::AccessChange> {
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let ids = |value: &Value, field: &str| -> Vec<String> {
        let ids = value[field]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        ids.iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let changes = kept.as_array().map(Vec::as_slice).unwrap_or_default();
    changes
        .iter()
        .map(|change| {
            let target = pb::NamedRef {
                id: text(change, "id"),
                name: text(change, "name"),
            };
            pb::AccessChange {
                target: Some(pb::AccessTarget {
                    target: Some(match change["kind"].as_str() {
                        Some("role") => pb::access_target::Target::Role(target),
                        _ => pb::access_target::Target::BusinessEntity(target),
                    }),
                }),
                gained_member_ids: ids(change, "gained"),
                lost_member_ids: ids(change, "lost"),
            }
        })
        .collect()
}
