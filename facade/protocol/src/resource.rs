//! Reading a resource that a client sent into canonical form, and checking values by their definition.
//!
//! Canonical: names as the schema spells them; extensions under their URN; no null, no empty text, no empty
//! list (RFC 7643 section 2.5 makes these the same as absence); nothing that is read-only or unknown.

use std::collections::{HashMap, HashSet};

use iri_string::types::IriReferenceStr;
use roster_folding::fold;
use serde_json::{Map, Value, json};

use crate::{
    ScimError, moment,
    schema::{Attribute, Mutability, ResourceType, Schema, Type},
};

/// How many values a list may have, those of `members` aside; far above what identity keeps.
pub(crate) const MAX_VALUES: usize = 1000;

/// Reads the body of a POST or PUT.
pub fn read(resource_type: &ResourceType, body: Value) -> Result<Map<String, Value>, ScimError> {
    let Value::Object(body) = body else {
        return Err(ScimError::invalid_syntax("The body must be a JSON object."));
    };
    check_schemas(resource_type, &body)?;
    let mut resource = Map::new();
    for (name, value) in body {
        if let Some(attribute) = resource_type.core_attribute(&name) {
            put(&mut resource, attribute, value, "")?;
        } else if let Some(extension) = resource_type.extension(&name) {
            let parts = read_extension(extension, value)?;
            if !parts.is_empty() {
                resource.insert(extension.id.to_owned(), Value::Object(parts));
            }
        }
        // Anything else is unknown here and ignored: Okta puts back what it once saw.
    }
    require(resource_type, &resource)?;
    Ok(resource)
}

/// Whether the resource has what its schema requires.
pub fn require(
    resource_type: &ResourceType,
    resource: &Map<String, Value>,
) -> Result<(), ScimError> {
    for attribute in resource_type.schema.attributes {
        if attribute.required && !resource.contains_key(attribute.name) {
            return Err(ScimError::invalid_value(format!(
                "{} is required.",
                attribute.name
            )));
        }
    }
    Ok(())
}

fn read_extension(
    extension: &'static Schema,
    value: Value,
) -> Result<Map<String, Value>, ScimError> {
    let mut read = Map::new();
    match value {
        Value::Null => {}
        Value::Object(parts) => {
            for (name, value) in parts {
                let known = extension
                    .attributes
                    .iter()
                    .find(|part| part.name.eq_ignore_ascii_case(&name));
                if let Some(attribute) = known {
                    put(&mut read, attribute, value, &format!("{}:", extension.id))?;
                }
            }
        }
        _ => return Err(wrong(extension.id, "must be an object")),
    }
    Ok(read)
}

fn put(
    resource: &mut Map<String, Value>,
    attribute: &'static Attribute,
    value: Value,
    prefix: &str,
) -> Result<(), ScimError> {
    if attribute.mutability == Mutability::ReadOnly {
        return Ok(());
    }
    if let Some(value) = accept(attribute, value, &format!("{prefix}{}", attribute.name))? {
        let value = match value {
            // Who is in a group is a set for identity, and there may be very many.
            Value::Array(elements) if attribute.name != "members" => {
                Value::Array(Distinct::of(attribute, Vec::new()).with(elements).0)
            }
            other => other,
        };
        resource.insert(attribute.name.to_owned(), value);
    }
    Ok(())
}

/// `schemas` must name the resource type's own schema; other URNs are ignored (Entra and Okta add some).
fn check_schemas(resource_type: &ResourceType, body: &Map<String, Value>) -> Result<(), ScimError> {
    let own = resource_type.schema.id;
    let named = schemas_of(body)?;
    // OneLogin's templates carry the URNs of earlier versions.
    let legacy = ["urn:scim:schemas:core:2.0", "urn:scim:schemas:core:1.0"];
    let is_own = |urn: &str| {
        urn.eq_ignore_ascii_case(own) || legacy.iter().any(|old| urn.eq_ignore_ascii_case(old))
    };
    if named.into_iter().any(is_own) {
        return Ok(());
    }
    Err(ScimError::invalid_syntax(format!(
        "\"schemas\" must contain {own:?}."
    )))
}

/// The URNs in a message's `schemas`.
pub(crate) fn schemas_of(body: &Map<String, Value>) -> Result<Vec<&str>, ScimError> {
    let malformed = || ScimError::invalid_syntax("\"schemas\" must be a list of URNs.");
    let (_, value) = body
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("schemas"))
        .ok_or_else(|| ScimError::invalid_syntax("\"schemas\" is missing."))?;
    value
        .as_array()
        .ok_or_else(malformed)?
        .iter()
        .map(|urn| urn.as_str().ok_or_else(malformed))
        .collect()
}

/// Checks a value by its definition and brings it into canonical form; none where it is no value.
/// `at` names the place in messages.
pub(crate) fn accept(
    attribute: &Attribute,
    value: Value,
    at: &str,
) -> Result<Option<Value>, ScimError> {
    if !attribute.multi_valued {
        return accept_one(attribute, value, at);
    }
    let elements = match value {
        Value::Null => return Ok(None),
        Value::Array(elements) => elements,
        // A provider with a plain attribute of this name sends a plain text.
        Value::String(_) if names_something(attribute) => vec![value],
        // One value may stand without a list around it, as in PATCH.
        Value::Object(_) if attribute.kind == Type::Complex => vec![value],
        _ => return Err(wrong(at, "must be a list")),
    };
    if attribute.name != "members" && elements.len() > MAX_VALUES {
        return Err(wrong(at, &format!("has more than {MAX_VALUES} values")));
    }
    let mut accepted = Vec::with_capacity(elements.len());
    for (index, element) in elements.into_iter().enumerate() {
        if let Some(element) = accept_one(attribute, element, &format!("{at}[{index}]"))? {
            accepted.push(element);
        }
    }
    one_primary(&accepted, at)?;
    Ok((!accepted.is_empty()).then_some(Value::Array(accepted)))
}

/// The values of a list, no two of which are the same value under the same label (RFC 7643 section 2.4).
pub(crate) struct Distinct<'a> {
    attribute: &'a Attribute,
    elements: Vec<Value>,
    places: HashMap<String, usize>,
}

impl<'a> Distinct<'a> {
    /// Takes these as they are.
    pub(crate) fn of(attribute: &'a Attribute, elements: Vec<Value>) -> Self {
        let mut places = HashMap::new();
        for (index, element) in elements.iter().enumerate() {
            places.entry(label(attribute, element)).or_insert(index);
        }
        Self {
            attribute,
            elements,
            places,
        }
    }

    /// Whether none of these repeats another.
    pub(crate) fn are<'v>(
        attribute: &Attribute,
        elements: impl IntoIterator<Item = &'v Value>,
    ) -> bool {
        let mut seen = HashSet::new();
        elements
            .into_iter()
            .all(|element| seen.insert(label(attribute, element)))
    }

    /// Appends each, or updates the one that it repeats; gives all, and where the new ones stand.
    pub(crate) fn with(mut self, more: Vec<Value>) -> (Vec<Value>, Vec<usize>) {
        let mut indices = Vec::with_capacity(more.len());
        for element in more {
            let next = self.elements.len();
            let index = *self
                .places
                .entry(label(self.attribute, &element))
                .or_insert(next);
            match (self.elements.get_mut(index), element) {
                (Some(Value::Object(existing)), Value::Object(parts)) => existing.extend(parts),
                (Some(existing), element) => *existing = element,
                (None, element) => self.elements.push(element),
            }
            indices.push(index);
        }
        (self.elements, indices)
    }
}

/// What two elements share that are the same value under the same label.
fn label(attribute: &Attribute, element: &Value) -> String {
    let of = |part: &Attribute| match element.get(part.name) {
        Some(Value::String(text)) if !part.case_exact => json!(fold(text)),
        Some(value) => value.clone(),
        None => Value::Null,
    };
    let has_value = attribute.sub_attribute("value").is_some();
    let parts = attribute.sub_attributes.iter();
    let parts: Vec<Value> = parts
        .filter(|part| match part.name {
            // What only the service says, a client repeats without.
            _ if part.mutability == Mutability::ReadOnly => false,
            "value" | "type" => true,
            "primary" => false,
            _ => !has_value,
        })
        .map(of)
        .collect();
    if parts.is_empty() {
        return element.to_string();
    }
    Value::Array(parts).to_string()
}

/// Two preferred values in one request contradict each other (RFC 7643 section 2.4).
fn one_primary(elements: &[Value], at: &str) -> Result<(), ScimError> {
    if elements
        .iter()
        .filter(|element| is_primary(element))
        .count()
        > 1
    {
        return Err(wrong(at, "has more than one primary value"));
    }
    Ok(())
}

pub(crate) fn is_primary(element: &Value) -> bool {
    element.get("primary") == Some(&Value::Bool(true))
}

/// Like [`accept`], for one value of a list.
fn accept_one(attribute: &Attribute, value: Value, at: &str) -> Result<Option<Value>, ScimError> {
    if value.is_null() || value.as_str() == Some("") {
        return Ok(None);
    }
    let value = match attribute.kind {
        Type::Complex => return accept_parts(attribute, value, at),
        Type::String => match value {
            Value::String(_) => value,
            _ => return Err(wrong(at, "must be a text")),
        },
        Type::Reference => match &value {
            Value::String(text) if is_reference(text) => value,
            _ => return Err(wrong(at, "must be a URI")),
        },
        Type::DateTime => match &value {
            Value::String(text) if moment::parse(text).is_some() => value,
            _ => return Err(wrong(at, "must be a time like 2026-01-31T23:59:59Z")),
        },
        Type::Boolean => {
            Value::Bool(boolean(&value).ok_or_else(|| wrong(at, "must be true or false"))?)
        }
        Type::Decimal => match value {
            Value::Number(_) => value,
            _ => return Err(wrong(at, "must be a number")),
        },
        Type::Integer => match value {
            Value::Number(number) if number.is_i64() => Value::Number(number),
            _ => return Err(wrong(at, "must be a whole number")),
        },
        Type::Binary => match &value {
            Value::String(text) if is_base64(text) => value,
            _ => return Err(wrong(at, "must be base64")),
        },
    };
    Ok(Some(value))
}

fn accept_parts(attribute: &Attribute, value: Value, at: &str) -> Result<Option<Value>, ScimError> {
    let is_empty = names_something(attribute) && has_empty_value(&value);
    let parts = read_parts(attribute, value, at)?;
    if attribute
        .sub_attribute("value")
        .is_some_and(|part| part.required)
        && !parts.contains_key("value")
    {
        // Okta pushes what is empty on its side as an empty text.
        return if is_empty {
            Ok(None)
        } else {
            Err(wrong(at, "needs a value"))
        };
    }
    Ok(holds_something(attribute, &parts).then_some(Value::Object(parts)))
}

/// Whether the values of a list name things that the service has, by an id that the client chooses: `roles` and
/// `entitlements`. (The `members` of a group are written once, and so another matter.)
pub(crate) fn names_something(attribute: &Attribute) -> bool {
    attribute.multi_valued
        && attribute
            .sub_attribute("value")
            .is_some_and(|part| part.required && part.mutability == Mutability::ReadWrite)
}

/// The id in a value that names something: Entra's `AppRoleAssignmentsComplex` puts a whole JSON document into
/// the text, `{"id":"<of Entra>","value":"<of the service>","displayName":".."}`.
pub(crate) fn named(value: Value) -> Value {
    let document = value
        .as_str()
        .filter(|text| text.trim_start().starts_with('{'))
        .and_then(|text| crate::json::read(text.as_bytes()).ok());
    match document {
        Some(Value::Object(mut parts)) => match parts.remove("value") {
            Some(id @ Value::String(_)) => id,
            _ => value,
        },
        _ => value,
    }
}

fn has_empty_value(value: &Value) -> bool {
    value.as_object().is_some_and(|parts| {
        parts.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("value") && (value.is_null() || value.as_str() == Some(""))
        })
    })
}

/// Whether the body of a POST or PUT says anything of an attribute of the core schema, if only that it is empty.
pub fn speaks_of(body: &Value, name: &str) -> bool {
    body.as_object()
        .is_some_and(|body| body.keys().any(|key| key.eq_ignore_ascii_case(name)))
}

/// Checks the parts of a complex value.
pub(crate) fn read_parts(
    attribute: &Attribute,
    value: Value,
    at: &str,
) -> Result<Map<String, Value>, ScimError> {
    let sent = match value {
        Value::Object(parts) => parts,
        // Entra sends a manager as a bare text, others a role.
        Value::String(_)
            if names_something(attribute)
                || !attribute.multi_valued && attribute.sub_attribute("value").is_some() =>
        {
            Map::from_iter([("value".to_owned(), value)])
        }
        _ => return Err(wrong(at, "must be an object")),
    };
    let mut parts = Map::new();
    for (name, value) in sent {
        let Some(part) = attribute.sub_attribute(&name) else {
            continue;
        };
        if part.mutability == Mutability::ReadOnly {
            continue;
        }
        let value = if part.name == "value" && names_something(attribute) {
            named(value)
        } else {
            value
        };
        if let Some(value) = accept(part, value, &format!("{at}.{}", part.name))? {
            parts.insert(part.name.to_owned(), value);
        }
    }
    Ok(parts)
}

/// Whether a complex value is one: what only says how it is labelled holds nothing. (Okta pushes
/// `{"value": "", "type": "work"}`.)
pub(crate) fn holds_something(attribute: &Attribute, parts: &Map<String, Value>) -> bool {
    let is_label = |name: &str| ["type", "primary", "display"].contains(&name);
    parts
        .keys()
        .any(|name| !attribute.multi_valued || !is_label(name))
}

/// A boolean, also as the text that Entra sends (`"False"`).
pub fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Whether a text is a URI, absolute or relative (RFC 7643 section 2.3.7), in letters of any script.
pub fn is_reference(text: &str) -> bool {
    IriReferenceStr::new(text).is_ok()
}

fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
}

fn wrong(at: &str, what: &str) -> ScimError {
    ScimError::invalid_value(format!("{at} {what}."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        ScimType,
        group::GROUP,
        user::{CORE_USER, ENTERPRISE_USER, USER},
    };

    fn user(mut body: Value) -> Result<Value, ScimError> {
        body["schemas"] = json!([CORE_USER.id]);
        read(&USER, body).map(Value::Object)
    }

    fn refusal(body: Value) -> String {
        let error = user(body).unwrap_err();
        assert_eq!(error.scim_type, Some(ScimType::InvalidValue));
        error.detail
    }

    /// Conformance: 15, 95.
    #[test]
    fn names_take_the_schemas_spelling_and_the_rest_is_dropped() {
        let read = user(json!({
            "USERNAME": "a@b",
            "Name": {"GIVENNAME": "A", "familyname": null, "nope": 1},
            "id": "x", "meta": {"version": 3}, "groups": [1],
            "title": "", "emails": [], "nickName": null, "unknown": {"a": []},
            "urn:okta:custom:thing": {"x": 1},
            ENTERPRISE_USER.id.to_uppercase(): {"DEPARTMENT": "D", "manager": "m1"},
        }));
        assert_eq!(
            read.unwrap(),
            json!({
                "userName": "a@b",
                "name": {"givenName": "A"},
                ENTERPRISE_USER.id: {"department": "D", "manager": {"value": "m1"}},
            })
        );
    }

    /// Conformance: 88.
    #[test]
    fn booleans_may_be_texts_and_nothing_else_may() {
        for (sent, read) in [
            (json!("False"), false),
            (json!("true"), true),
            (json!(true), true),
        ] {
            assert_eq!(
                user(json!({"userName": "a", "active": sent})).unwrap()["active"],
                json!(read)
            );
        }
        assert!(refusal(json!({"userName": "a", "active": "yes"})).starts_with("active "));
        assert!(refusal(json!({"userName": "a", "active": 1})).starts_with("active "));
        assert!(refusal(json!({"userName": 7})).starts_with("userName "));
        assert!(refusal(json!({"userName": "a", "name": "Ann"})).starts_with("name "));
        assert!(refusal(json!({"userName": "a", "emails": "x"})).starts_with("emails "));
        assert!(refusal(json!({"userName": "a", "emails": ["x"]})).starts_with("emails[0] "));
        let detail = refusal(json!({"userName": "a", "emails": [{"value": ["x"]}]}));
        assert!(detail.starts_with("emails[0].value "));
        assert!(refusal(json!({"userName": "a", ENTERPRISE_USER.id: 1})).contains("enterprise"));
        assert!(
            refusal(json!({"userName": "a", "x509Certificates": [{"value": "é"}]}))
                .contains("base64")
        );
    }

    /// Conformance: 21.
    #[test]
    fn what_is_required_may_not_be_empty() {
        for body in [
            json!({}),
            json!({"userName": ""}),
            json!({"userName": null}),
        ] {
            assert_eq!(refusal(body), "userName is required.");
        }
    }

    #[test]
    fn an_element_without_a_value_is_none() {
        let read = user(json!({
            "userName": "a",
            "phoneNumbers": [{"value": "", "type": "mobile", "primary": "true"}, {"value": "1"}, null],
            "addresses": [{"type": "work"}, {"locality": "X", "type": "work"}],
        }))
        .unwrap();
        assert_eq!(read["phoneNumbers"], json!([{"value": "1"}]));
        assert_eq!(
            read["addresses"],
            json!([{"locality": "X", "type": "work"}])
        );
    }

    #[test]
    fn a_list_of_one_may_stand_without_its_brackets() {
        let read = user(json!({"userName": "a", "emails": {"VALUE": "x@y", "type": "work"}}));
        assert_eq!(
            read.unwrap()["emails"],
            json!([{"value": "x@y", "type": "work"}])
        );
        assert!(refusal(json!({"userName": "a", "emails": true})).starts_with("emails "));
    }

    /// Conformance: 97.
    #[test]
    fn a_value_under_one_label_is_there_once() {
        let read = user(json!({
            "userName": "a",
            "emails": [
                {"value": "A@x", "type": "work"},
                {"value": "a@X", "type": "Work", "display": "later", "primary": true},
                {"value": "a@x", "type": "home"},
            ],
            "photos": [{"value": "http://x/A"}, {"value": "http://x/a"}],
            "addresses": [{"locality": "L", "type": "work"}, {"locality": "l", "type": "work"}],
        }))
        .unwrap();
        assert_eq!(
            read["emails"],
            json!([
                {"value": "a@X", "type": "Work", "display": "later", "primary": true},
                {"value": "a@x", "type": "home"},
            ])
        );
        // Case counts in a URI.
        assert_eq!(read["photos"].as_array().unwrap().len(), 2);
        assert_eq!(
            read["addresses"],
            json!([{"locality": "l", "type": "work"}])
        );
    }

    /// Conformance: 98.
    #[test]
    fn a_reference_is_a_uri() {
        for good in [
            "https://x.example/a?b#c",
            "../Users/1",
            "Users/1",
            "urn:x:y",
            "https://x.example/é",
        ] {
            let body = json!({"userName": "a", "profileUrl": good, "photos": [{"value": good}]});
            assert!(user(body).is_ok(), "{good}");
        }
        for bad in ["not a uri", "http://[x", "%zz", "a\\b", "<x>"] {
            let detail = refusal(json!({"userName": "a", "profileUrl": bad}));
            assert_eq!(detail, "profileUrl must be a URI.", "{bad}");
            let detail = refusal(json!({"userName": "a", "photos": [{"value": bad}]}));
            assert_eq!(detail, "photos[0].value must be a URI.", "{bad}");
            let manager = json!({"manager": {"value": "m", "$ref": bad}});
            let detail = refusal(json!({"userName": "a", ENTERPRISE_USER.id: manager}));
            assert!(detail.ends_with(":manager.$ref must be a URI."), "{detail}");
        }
        let detail = refusal(json!({"userName": "a", "profileUrl": 7}));
        assert_eq!(detail, "profileUrl must be a URI.");
    }

    /// Conformance: 97.
    #[test]
    fn two_primaries_contradict() {
        let email = json!({"value": "x", "primary": true});
        assert!(refusal(json!({"userName": "a", "emails": [email, email]})).contains("primary"));
    }

    /// Conformance: 8, 23.
    #[test]
    fn schemas_must_name_the_resource() {
        let sent = |schemas: Value| read(&USER, json!({"schemas": schemas, "userName": "a"}));
        assert!(sent(json!([CORE_USER.id, "urn:what:ever"])).is_ok());
        assert!(sent(json!(["urn:scim:schemas:core:1.0"])).is_ok());
        for schemas in [
            json!([]),
            json!(null),
            json!("x"),
            json!([1]),
            json!([GROUP.schema.id]),
        ] {
            let error = sent(schemas).unwrap_err();
            assert_eq!(error.scim_type, Some(ScimType::InvalidSyntax));
        }
        assert!(read(&USER, json!({"userName": "a"})).is_err());
        assert!(read(&USER, json!([])).is_err());
    }

    #[test]
    fn what_names_something_may_be_a_bare_text_and_needs_a_value() {
        for (sent, accepted) in [
            (json!("r1"), json!([{"value": "r1"}])),
            (json!({"value": "r1"}), json!([{"value": "r1"}])),
            (json!(["r1", ""]), json!([{"value": "r1"}])),
            (
                json!([{"VALUE": "r1", "display": "R", "type": "x", "primary": true}]),
                json!([{"value": "r1"}]),
            ),
            (json!([{"value": "", "display": "R"}]), Value::Null),
            (json!(""), Value::Null),
            (json!(null), Value::Null),
        ] {
            for name in ["roles", "Entitlements"] {
                let body = json!({"userName": "a", name: sent});
                assert!(speaks_of(&body, "roles") == (name == "roles"));
                let read = user(body).unwrap();
                let read = read.get(name.to_lowercase()).unwrap_or(&Value::Null);
                assert_eq!(*read, accepted, "{name}: {sent}");
            }
        }
        assert!(!speaks_of(&json!(["roles"]), "roles"));
        for (sent, detail) in [
            (json!([{"display": "R"}]), "roles[0] needs a value."),
            (json!([{"value": 7}]), "roles[0].value must be a text."),
            (json!([7]), "roles[0] must be an object."),
            (json!(true), "roles must be a list."),
        ] {
            assert_eq!(refusal(json!({"userName": "a", "roles": sent})), detail);
        }
    }

    #[test]
    fn a_group_member_needs_a_value() {
        let sent = |members: Value| {
            read(
                &GROUP,
                json!({"schemas": [GROUP.schema.id], "displayName": "g", "members": members}),
            )
        };
        let read = sent(json!([{"value": "u1", "$ref": null, "display": "x"}])).unwrap();
        assert_eq!(read["members"], json!([{"value": "u1"}]));
        assert!(!sent(json!([])).unwrap().contains_key("members"));
        assert!(
            sent(json!([{"display": "x"}]))
                .unwrap_err()
                .detail
                .starts_with("members[0] ")
        );
        assert!(sent(json!(["u1"])).is_err());
    }
}
