//! A group in SCIM, and the ids of its members.

use identity_proto::v1::Group;
use scim_protocol::{ScimError, group::CORE_GROUP, resource::is_reference};
use serde_json::{Map, Value, json};

use super::{Site, meta};
use crate::conditions::entity_tag;

/// The representation, with its members where `with_members` says so.
pub(crate) fn to_scim(group: &Group, site: &Site, with_members: bool) -> Map<String, Value> {
    let meta = meta(
        "Group",
        site.group(&group.id),
        entity_tag(group.version),
        group.create_time,
        group.update_time,
    );
    let mut shown = Map::from_iter([
        ("schemas".to_owned(), json!([CORE_GROUP.id])),
        ("id".to_owned(), json!(group.id)),
        ("displayName".to_owned(), json!(group.display_name)),
        ("meta".to_owned(), meta),
    ]);
    if !group.external_id.is_empty() {
        shown.insert("externalId".to_owned(), json!(group.external_id));
    }
    if with_members {
        let members = group
            .member_ids
            .iter()
            .map(|id| element(id, site))
            .collect();
        shown.insert("members".to_owned(), Value::Array(members));
    }
    shown
}

/// A member as the group shows it.
pub(crate) fn element(id: &str, site: &Site) -> Value {
    json!({"value": id, "$ref": site.user(id), "type": "User"})
}

/// The ids in a value of `members`: a list of objects, or one object.
pub(crate) fn member_ids(members: &Value) -> Result<Vec<String>, ScimError> {
    match members {
        Value::Null => Ok(Vec::new()),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .map(|(index, one)| member_id(one, index))
            .collect(),
        one => Ok(vec![member_id(one, 0)?]),
    }
}

fn member_id(element: &Value, index: usize) -> Result<String, ScimError> {
    let refused = |what: &str| ScimError::invalid_value(format!("members[{index}] {what}."));
    let Value::Object(parts) = element else {
        return Err(refused("must be an object with a value, the id of a user"));
    };
    let mut id = None;
    for (name, part) in parts {
        if name.eq_ignore_ascii_case("value") {
            id = part.as_str().filter(|id| !id.is_empty());
        } else if name.eq_ignore_ascii_case("$ref") {
            let is_good = part.is_null() || part.as_str().is_some_and(is_reference);
            if !is_good {
                return Err(refused("has a $ref that is no URI"));
            }
        } else if name.eq_ignore_ascii_case("type") {
            match part {
                Value::Null => {}
                Value::String(kind) if kind.is_empty() || kind.eq_ignore_ascii_case("User") => {}
                _ => {
                    return Err(refused("is no user; a group's members are users"));
                }
            }
        }
    }
    id.map(str::to_owned)
        .ok_or_else(|| refused("needs a value, the id of a user"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_shows_its_members_or_does_not() {
        let group = Group {
            id: "g1".to_owned(),
            display_name: "G".to_owned(),
            version: 4,
            member_ids: vec!["u1".to_owned()],
            ..Group::default()
        };
        let site = Site::new("https://x", "acme");
        let shown = to_scim(&group, &site, true);
        assert_eq!(
            shown["members"],
            json!([{"value": "u1", "$ref": "https://x/acme/scim/v2/Users/u1", "type": "User"}])
        );
        assert_eq!(shown["meta"]["version"], "W/\"4\"");
        assert!(!to_scim(&group, &site, false).contains_key("members"));
    }

    #[test]
    fn members_are_users_named_by_id() {
        let ids = |members| member_ids(&members).map_err(|error| error.detail);
        let okta = json!([{"value": "u1", "display": "a@b"}, {"value": "u2", "$ref": null, "TYPE": "user"}]);
        assert_eq!(ids(okta), Ok(vec!["u1".to_owned(), "u2".to_owned()]));
        assert_eq!(ids(json!({"VALUE": "u1"})), Ok(vec!["u1".to_owned()]));
        assert_eq!(ids(json!(null)), Ok(Vec::new()));
        for wrong in [
            json!([{"value": "g", "type": "Group"}]),
            json!([{"display": "x"}]),
            json!([{"value": 1}]),
            json!([{"value": ""}]),
            json!([{"value": "u1", "$ref": "no uri"}]),
            json!([{"value": "u1", "$ref": 1}]),
            json!(["u1"]),
            json!(1),
        ] {
            assert!(
                ids(wrong.clone()).unwrap_err().starts_with("members[0]"),
                "{wrong}"
            );
        }
    }
}
