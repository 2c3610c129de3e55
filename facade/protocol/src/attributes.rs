//! `attributes` and `excludedAttributes` (RFC 7644 section 3.9).

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::{
    ScimError,
    entitlement::{BUSINESS_ENTITY, ROLE},
    group::GROUP,
    path::AttrPath,
    schema::{Attribute, ResourceType, Returned, Schema, Target},
    user::USER,
};

/// What of a resource the client wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Projection {
    /// What is shown by default.
    #[default]
    Default,
    /// These, and what is always shown.
    Only(Vec<AttrPath>),
    /// What is shown by default, without these.
    Without(Vec<AttrPath>),
}

/// How much of an attribute is wanted.
enum Wanted {
    Whole,
    Nothing,
    /// Only these parts (`true`), or all but these (`false`).
    Parts(Vec<&'static str>, bool),
}

impl Projection {
    /// Reads the two parameters. Names that nothing has are ignored, and what is named often is named once: a list
    /// may be as long as a body, and is held against every attribute of a thousand resources.
    pub fn new(attributes: Option<&str>, excluded: Option<&str>) -> Result<Self, ScimError> {
        let types = [&USER, &GROUP, &ROLE, &BUSINESS_ENTITY];
        let names = |list: &str| {
            let mut seen = HashSet::new();
            list.split(',')
                .map(|name| name.trim().to_ascii_lowercase())
                .filter_map(|name| AttrPath::parse(&name))
                .filter(|name| types.iter().any(|one| one.resolve(name).is_some()))
                .filter(|name| seen.insert(name.to_string()))
                .collect::<Vec<_>>()
        };
        match (attributes, excluded) {
            (Some(_), Some(_)) => Err(ScimError::invalid_value(
                "attributes and excludedAttributes exclude each other; send one of them.",
            )),
            (Some(list), None) if !list.trim().is_empty() => Ok(Self::Only(names(list))),
            (None, Some(list)) if !list.trim().is_empty() => Ok(Self::Without(names(list))),
            _ => Ok(Self::Default),
        }
    }

    /// Whether the client asked for anything in particular.
    pub fn is_default(&self) -> bool {
        *self == Self::Default
    }

    /// Whether any of a core attribute is wanted, so that what nobody wants need not be loaded.
    pub fn wants(&self, resource_type: &ResourceType, name: &str) -> bool {
        resource_type.core_attribute(name).is_some_and(|attribute| {
            !matches!(self.of(resource_type, None, attribute), Wanted::Nothing)
        })
    }

    /// Takes out of a resource what the client does not want to see.
    pub fn apply(&self, resource_type: &ResourceType, resource: &mut Map<String, Value>) {
        let names: Vec<String> = resource.keys().cloned().collect();
        for name in names {
            if let Some(attribute) = resource_type.core_attribute(&name) {
                self.reduce(resource_type, None, attribute, resource);
            } else if let Some(extension) = resource_type.extension(&name)
                && let Some(Value::Object(parts)) = resource.get_mut(&name)
            {
                for attribute in extension.attributes {
                    self.reduce(resource_type, Some(extension), attribute, parts);
                }
                if parts.is_empty() {
                    resource.remove(&name);
                }
            }
        }
    }

    fn reduce(
        &self,
        resource_type: &ResourceType,
        extension: Option<&'static Schema>,
        attribute: &'static Attribute,
        container: &mut Map<String, Value>,
    ) {
        match self.of(resource_type, extension, attribute) {
            Wanted::Whole => {}
            Wanted::Nothing => {
                container.remove(attribute.name);
            }
            Wanted::Parts(named, shown) => {
                let keep = |element: &mut Value| {
                    if let Some(parts) = element.as_object_mut() {
                        parts.retain(|name, _| named.contains(&name.as_str()) == shown);
                    }
                };
                match container.get_mut(attribute.name) {
                    Some(Value::Array(elements)) => elements.iter_mut().for_each(keep),
                    Some(element) => keep(element),
                    None => {}
                }
            }
        }
    }

    fn of(
        &self,
        resource_type: &ResourceType,
        extension: Option<&'static Schema>,
        attribute: &'static Attribute,
    ) -> Wanted {
        match attribute.returned {
            Returned::Always => return Wanted::Whole,
            Returned::Never => return Wanted::Nothing,
            Returned::Default | Returned::Request => {}
        }
        let (names, shown) = match self {
            Self::Default if attribute.returned == Returned::Request => return Wanted::Nothing,
            Self::Default => return Wanted::Whole,
            Self::Only(names) => (names, true),
            Self::Without(names) => (names, false),
        };
        let mut parts = Vec::new();
        // Most names are not of this attribute, which shows without looking them up.
        let may_be = |name: &&AttrPath| {
            extension.is_some() || name.name.eq_ignore_ascii_case(attribute.name)
        };
        for name in names.iter().filter(may_be) {
            match resource_type.resolve(name) {
                Some(Target::Extension(named))
                    if extension.is_some_and(|extension| extension.id == named.id) =>
                {
                    return if shown {
                        Wanted::Whole
                    } else {
                        Wanted::Nothing
                    };
                }
                Some(Target::Attribute {
                    extension: of,
                    attribute: named,
                    sub,
                }) if named.name == attribute.name
                    && of.map(|schema| schema.id) == extension.map(|schema| schema.id) =>
                {
                    match sub {
                        None => {
                            return if shown {
                                Wanted::Whole
                            } else {
                                Wanted::Nothing
                            };
                        }
                        Some(sub) => parts.push(sub.name),
                    }
                }
                _ => {}
            }
        }
        match (parts.is_empty(), shown) {
            (false, _) => Wanted::Parts(parts, shown),
            (true, true) => Wanted::Nothing,
            (true, false) => Wanted::Whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        group::GROUP,
        user::{ENTERPRISE_USER, USER},
    };

    #[test]
    fn a_list_of_any_length_is_soon_applied() {
        let nothing: Vec<String> = (0..50_000).map(|index| format!("a{index}")).collect();
        let long = format!(
            "{},{}",
            "emails.value,TITLE,".repeat(10_000),
            nothing.join(",")
        );
        let begun = std::time::Instant::now();
        let projection = Projection::new(Some(&long), None).unwrap();
        for _ in 0..1000 {
            let mut user = json!({"id": "1", "title": "T", "emails": [{"value": "a", "type": "b"}], "name": {}});
            projection.apply(&USER, user.as_object_mut().unwrap());
            assert_eq!(
                user,
                json!({"id": "1", "title": "T", "emails": [{"value": "a"}]})
            );
        }
        // Held against every name a thousand users took minutes.
        assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    }

    fn shown(attributes: Option<&str>, excluded: Option<&str>) -> Value {
        let mut resource = json!({
            "schemas": [USER.schema.id],
            "id": "1",
            "userName": "a@b",
            "password": "secret",
            "name": {"givenName": "A", "familyName": "B"},
            "emails": [{"value": "a@b", "type": "work"}],
            "meta": {"version": "1"},
            ENTERPRISE_USER.id: {"department": "D", "division": "V"},
        });
        Projection::new(attributes, excluded)
            .unwrap()
            .apply(&USER, resource.as_object_mut().unwrap());
        resource
    }

    /// Conformance: 34, 36, 38, 39.
    #[test]
    fn only_what_was_asked_and_what_is_always_shown() {
        let always = json!({"schemas": [USER.schema.id], "id": "1"});
        let with = |name: &str, value: Value| {
            let mut expected = always.clone();
            expected[name] = value;
            expected
        };
        assert_eq!(
            shown(Some("USERNAME, nope"), None),
            with("userName", json!("a@b"))
        );
        assert_eq!(shown(Some("password"), None), always);
        assert_eq!(
            shown(Some("name.givenName"), None),
            with("name", json!({"givenName": "A"}))
        );
        assert_eq!(
            shown(Some("emails.value"), None),
            with("emails", json!([{"value": "a@b"}]))
        );
        assert_eq!(
            shown(
                Some("urn:ietf:params:scim:schemas:core:2.0:User:name.givenName"),
                None
            ),
            with("name", json!({"givenName": "A"}))
        );
        let extension = ENTERPRISE_USER.id;
        assert_eq!(
            shown(Some(extension), None),
            with(extension, json!({"department": "D", "division": "V"}))
        );
        assert_eq!(
            shown(Some(&format!("{extension}:division")), None),
            with(extension, json!({"division": "V"}))
        );
    }

    /// Conformance: 35.
    #[test]
    fn without_what_was_excluded() {
        let all = shown(None, None);
        assert_eq!(all.get("password"), None);
        assert_eq!(shown(None, Some("id,schemas,password")), all);
        assert_eq!(shown(None, Some("")), all);
        let without = shown(None, Some("emails,name.familyName"));
        assert_eq!(without.get("emails"), None);
        assert_eq!(without["name"], json!({"givenName": "A"}));
        assert_eq!(
            shown(None, Some(ENTERPRISE_USER.id)).get(ENTERPRISE_USER.id),
            None
        );
    }

    #[test]
    fn both_contradict() {
        assert!(Projection::new(Some("a"), Some("b")).is_err());
    }

    #[test]
    fn members_that_nobody_wants_are_known_before() {
        let wants = |attributes, excluded| {
            Projection::new(attributes, excluded)
                .unwrap()
                .wants(&GROUP, "members")
        };
        assert!(wants(None, None));
        assert!(wants(Some("members.value"), None));
        assert!(wants(None, Some("members.type")));
        assert!(!wants(None, Some("Members")));
        assert!(!wants(Some("displayName"), None));
    }
}
