//! Roles and business entities as SCIM resources, which a user's `roles` and `entitlements` name.

use identity_proto::v1::{BusinessEntity, Role};
use scim_protocol::entitlement::{BUSINESS_ENTITY, DESCRIPTION_MAX, ROLE};
use serde_json::{Map, Value, json};

use super::{Site, meta};
use crate::conditions::entity_tag;

/// Whether it is the role that only identity gives.
pub(crate) fn is_owner(role: &Role) -> bool {
    // A built-in role is never renamed.
    role.built_in && role.name == "Owner"
}

/// A role as it is shown.
pub(crate) fn role(role: &Role, site: &Site) -> Map<String, Value> {
    let location = site.below(ROLE.endpoint, &role.id);
    let mut shown = Map::from_iter([
        ("schemas".to_owned(), json!([ROLE.schema.id])),
        ("id".to_owned(), json!(role.id)),
        ("displayName".to_owned(), json!(role.name)),
        (
            "meta".to_owned(),
            meta(
                ROLE.name,
                location,
                entity_tag(role.version),
                role.create_time,
                role.update_time,
            ),
        ),
    ]);
    let description = permitted(&role.permissions);
    if !description.is_empty() {
        shown.insert("description".to_owned(), json!(description));
    }
    shown
}

/// A business entity as it is shown.
pub(crate) fn business_entity(entity: &BusinessEntity, site: &Site) -> Map<String, Value> {
    let location = site.below(BUSINESS_ENTITY.endpoint, &entity.id);
    let tag = entity_tag(entity.version);
    Map::from_iter([
        ("schemas".to_owned(), json!([BUSINESS_ENTITY.schema.id])),
        ("id".to_owned(), json!(entity.id)),
        ("displayName".to_owned(), json!(entity.name)),
        // Okta finds the resource type by it.
        ("type".to_owned(), json!(BUSINESS_ENTITY.name)),
        (
            "description".to_owned(),
            json!(format!("Handle: {}", entity.handle)),
        ),
        (
            "meta".to_owned(),
            meta(
                BUSINESS_ENTITY.name,
                location,
                tag,
                entity.create_time,
                entity.update_time,
            ),
        ),
    ])
}

/// `Invoices: comment, view; team: view.` No longer than Okta takes.
fn permitted(permissions: &[String]) -> String {
    let mut areas: Vec<(String, Vec<String>)> = Vec::new();
    for permission in permissions {
        let words = permission.replace('_', " ");
        let (area, action) = words.split_once('.').unwrap_or((&words, "all"));
        match areas.last_mut() {
            Some((last, actions)) if last == area => actions.push(action.to_owned()),
            _ => areas.push((area.to_owned(), vec![action.to_owned()])),
        }
    }
    let phrases: Vec<String> = areas
        .iter()
        .map(|(area, actions)| format!("{area}: {}", actions.join(", ")))
        .collect();
    let mut text = phrases.join("; ");
    if text.chars().count() >= DESCRIPTION_MAX {
        text = text.chars().take(DESCRIPTION_MAX - 2).collect();
        text.push('…');
    } else if !text.is_empty() {
        text.push('.');
    }
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    #[test]
    fn permissions_are_told_in_words_and_not_without_end() {
        let permissions = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let told = permitted(&permissions(&[
            "credit_notes.comment",
            "credit_notes.view",
            "subscriptions.change_trial_end",
        ]));
        assert_eq!(
            told,
            "Credit notes: comment, view; subscriptions: change trial end."
        );
        assert_eq!(permitted(&[]), "");
        let many: Vec<String> = (0..200).map(|number| format!("é{number}.view")).collect();
        assert!(permitted(&many).chars().count() <= DESCRIPTION_MAX);
    }

    #[test]
    fn resources_are_as_okta_wants_them() {
        let site = Site::new("https://x", "acme");
        let role = Role {
            id: "r1".to_owned(),
            name: "Analyst".to_owned(),
            permissions: vec!["metrics.view".to_owned()],
            version: 3,
            create_time: Some(Timestamp {
                seconds: 1_000_000_000,
                nanos: 0,
            }),
            ..Role::default()
        };
        assert_eq!(
            Value::Object(super::role(&role, &site)),
            json!({
                "schemas": ["urn:okta:scim:schemas:core:1.0:Role"],
                "id": "r1",
                "displayName": "Analyst",
                "description": "Metrics: view.",
                "meta": {
                    "resourceType": "Role",
                    "location": "https://x/acme/scim/v2/Roles/r1",
                    "version": "W/\"3\"",
                    "created": "2001-09-09T01:46:40Z",
                },
            })
        );
        let entity = BusinessEntity {
            id: "b1".to_owned(),
            name: "EU GmbH".to_owned(),
            handle: "eu-gmbh".to_owned(),
            version: 4,
            ..BusinessEntity::default()
        };
        assert_eq!(
            Value::Object(business_entity(&entity, &site)),
            json!({
                "schemas": ["urn:okta:scim:schemas:core:1.0:Entitlement"],
                "id": "b1",
                "displayName": "EU GmbH",
                "type": "BusinessEntity",
                "description": "Handle: eu-gmbh",
                "meta": {
                    "resourceType": "BusinessEntity",
                    "location": "https://x/acme/scim/v2/BusinessEntities/b1",
                    "version": "W/\"4\"",
                },
            })
        );
    }
}
