//! PATCH on users: the RFC's rules, and what identity providers send.

mod model;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    ScimType,
    user::{ENTERPRISE_USER, USER},
};

fn start() -> Map<String, Value> {
    let Value::Object(resource) = json!({
        "id": "1",
        "userName": "a@b",
        "active": true,
        "name": {"givenName": "A", "familyName": "B"},
        "emails": [
            {"value": "a@b", "type": "work", "primary": true},
            {"value": "a@home", "type": "home"},
        ],
        ENTERPRISE_USER.id: {"department": "D"},
    }) else {
        unreachable!()
    };
    resource
}

fn patched(operations: Value) -> Result<Value, ScimError> {
    let operations = parse(json!({"schemas": [PATCH_SCHEMA], "Operations": operations}))?;
    apply(&USER, &start(), &operations).map(Value::Object)
}

fn one(op: &str, path: &str, value: Value) -> Result<Value, ScimError> {
    patched(json!([{"op": op, "path": path, "value": value}]))
}

fn remove(path: &str) -> Result<Value, ScimError> {
    patched(json!([{"op": "remove", "path": path}]))
}

fn refused(outcome: Result<Value, ScimError>) -> ScimType {
    outcome.unwrap_err().scim_type.unwrap()
}

#[test]
fn a_refusal_within_an_extension_names_its_urn() {
    let urn = ENTERPRISE_USER.id;
    for (path, value, detail) in [
        (
            format!("{urn}:department"),
            json!(7),
            format!("{urn}:department must be a text."),
        ),
        (
            format!("{urn}:manager.$ref"),
            json!("no uri"),
            format!("{urn}:manager.$ref must be a URI."),
        ),
        (
            urn.to_owned(),
            json!({"manager": {"value": 1}}),
            format!("{urn}:manager.value must be a text."),
        ),
        (
            urn.to_owned(),
            json!({"division": []}),
            format!("{urn}:division must be a text."),
        ),
    ] {
        assert_eq!(one("replace", &path, value).unwrap_err().detail, detail);
    }
    assert_eq!(
        one("replace", "title", json!(7)).unwrap_err().detail,
        "title must be a text."
    );
}

#[test]
fn a_value_filter_folds_as_a_list_does() {
    let operations = json!([
        {"op": "add", "path": "emails", "value": {"value": "STRASSE@x", "type": "other"}},
        {"op": "remove", "path": "emails[value eq \"straße@X\"]"},
    ]);
    let emails = patched(operations).unwrap()["emails"].clone();
    assert_eq!(emails.as_array().unwrap().len(), 2, "{emails}");
    // The same address, composed and in full width, is there once.
    let operations = json!([
        {"op": "add", "path": "emails", "value": [{"value": "e\u{301}@x", "type": "other"}]},
        {"op": "add", "path": "emails", "value": [{"value": "É＠X", "type": "ＯＴＨＥＲ"}]},
    ]);
    let emails = patched(operations).unwrap()["emails"].clone();
    assert_eq!(emails.as_array().unwrap().len(), 3, "{emails}");
}

/// Conformance: 73, 75.
#[test]
fn the_message_must_be_one() {
    let read = |body: Value| parse(body).unwrap_err().scim_type.unwrap();
    assert_eq!(read(json!([])), ScimType::InvalidSyntax);
    assert_eq!(read(json!({"Operations": []})), ScimType::InvalidSyntax);
    assert_eq!(
        read(json!({"schemas": ["x"], "Operations": [1]})),
        ScimType::InvalidSyntax
    );
    let patch =
        |operations: Value| read(json!({"schemas": [PATCH_SCHEMA], "operations": operations}));
    for operations in [
        json!([]),
        json!({}),
        json!([1]),
        json!([{"path": "title", "value": "x"}]),
        json!([{"op": "move", "path": "title", "value": "x"}]),
        json!([{"op": "add", "path": 1, "value": "x"}]),
    ] {
        assert_eq!(patch(operations), ScimType::InvalidSyntax);
    }
    assert_eq!(patch(json!([{"op": "remove"}])), ScimType::NoTarget);
    assert_eq!(
        patch(json!([{"op": "add", "path": "title"}])),
        ScimType::InvalidValue
    );
    assert_eq!(
        patch(json!([{"op": "add", "value": "x"}])),
        ScimType::InvalidValue
    );
    assert_eq!(
        patch(json!([{"op": "add", "path": "a b", "value": 1}])),
        ScimType::InvalidPath
    );
}

/// Conformance: 75, 77.
#[test]
fn okta_sends_path_less_objects() {
    let after = patched(json!([{"op": "replace", "value": {
        "active": false, "id": "other", "schemas": [], "meta": {}, "groups": [], "nonsense": 1,
    }}]))
    .unwrap();
    let mut expected = start();
    expected["active"] = json!(false);
    assert_eq!(after, Value::Object(expected));
}

#[test]
fn entra_sends_capitals_and_texts_for_booleans() {
    assert_eq!(
        one("Replace", "active", json!("False")).unwrap()["active"],
        json!(false)
    );
    assert_eq!(
        refused(one("Replace", "title", json!(true))),
        ScimType::InvalidValue
    );
    assert_eq!(
        refused(one("Replace", "title", json!(7))),
        ScimType::InvalidValue
    );
}

/// Conformance: 76.
#[test]
fn entra_sends_dotted_and_qualified_keys() {
    let manager = format!("{}:manager", ENTERPRISE_USER.id);
    let number = format!("{}:employeeNumber", ENTERPRISE_USER.id.to_lowercase());
    let after = patched(json!([{"op": "replace", "value": {
        "name.givenName": "N",
        "emails[type eq \"work\"].value": "n@b",
        manager: "m1",
        number: "7",
        ENTERPRISE_USER.id: {"division": "V", "department": ""},
    }}]))
    .unwrap();
    assert_eq!(after["name"], json!({"givenName": "N", "familyName": "B"}));
    assert_eq!(
        after["emails"][0],
        json!({"value": "n@b", "type": "work", "primary": true})
    );
    assert_eq!(
        after[ENTERPRISE_USER.id],
        json!({"division": "V", "employeeNumber": "7", "manager": {"value": "m1"}})
    );
}

#[test]
fn a_text_stands_for_the_whole_of_a_manager() {
    let manager = format!("{}:manager", ENTERPRISE_USER.id);
    let known = json!({"value": "m1", "displayName": "One", "$ref": "../Users/m1"});
    for op in ["add", "replace"] {
        for (sent, shown) in [
            (json!("m2"), json!({"value": "m2"})),
            (json!("m1"), known.clone()),
            (
                json!({"value": "m2"}),
                json!({"value": "m2", "displayName": "One", "$ref": "../Users/m1"}),
            ),
        ] {
            let after = patched(json!([
                {"op": "add", "path": manager, "value": known},
                {"op": op, "path": manager, "value": sent},
            ]))
            .unwrap();
            assert_eq!(after[ENTERPRISE_USER.id]["manager"], shown, "{op} {sent}");
        }
    }
}

#[test]
fn elements_that_become_the_same_are_one() {
    let mut user = start();
    user.insert("emails".to_owned(), json!([
        {"value": "a", "type": "work", "primary": true}, {"value": "b", "type": "work"}, {"value": "c"},
    ]));
    let after = |op: &str, path: &str, value: Value| {
        let operations = json!([{"op": op, "path": path, "value": value}]);
        let body = json!({"schemas": [PATCH_SCHEMA], "Operations": operations});
        apply(&USER, &user, &parse(body).unwrap()).unwrap()["emails"].clone()
    };
    assert_eq!(
        after("replace", "emails[value eq \"b\"].value", json!("A")),
        json!([{"value": "A", "type": "work", "primary": true}, {"value": "c"}])
    );
    assert_eq!(
        after(
            "add",
            "emails[value eq \"c\"]",
            json!({"value": "b", "type": "work", "primary": true})
        )[1],
        json!({"value": "b", "type": "work", "primary": true})
    );
}

#[test]
fn an_empty_label_is_none_and_makes_no_element() {
    let error = one("replace", "emails[type eq \"\"].value", json!("x")).unwrap_err();
    assert_eq!(error.scim_type, Some(ScimType::NoTarget));
}

#[test]
fn an_entitlement_that_is_there_is_not_given_twice() {
    let mut user = start();
    let given = json!([{"value": "e1", "display": "EU", "type": "BusinessEntity"}]);
    user.insert("entitlements".to_owned(), given.clone());
    for (path, value) in [
        ("entitlements", json!([{"value": "e1"}])),
        ("entitlements[type eq \"Another\"].value", json!("e1")),
    ] {
        let body = json!({"schemas": [PATCH_SCHEMA], "Operations": [{"op": "add", "path": path, "value": value}]});
        let after = apply(&USER, &user, &parse(body).unwrap()).unwrap();
        assert_eq!(after["entitlements"], given);
    }
}

#[test]
fn what_filters_look_through_and_copy_is_bounded() {
    let refused = |operations: Vec<Value>| {
        let body = json!({"schemas": [PATCH_SCHEMA], "Operations": operations});
        let error = apply(&USER, &start(), &parse(body).unwrap()).unwrap_err();
        assert_eq!(error.status, 413, "{error}");
    };
    let op = |op: &str, path: &str, value: Value| json!({"op": op, "path": path, "value": value});
    let long = json!([{"value": "x".repeat(400_000)}]);
    let many: Vec<Value> = (0..1000)
        .map(|index| json!({"value": index.to_string()}))
        .collect();
    let filter = vec!["value eq \"a\""; 2000].join(" or ");
    refused(vec![
        op("add", "ims", long.clone()),
        op("add", &format!("ims[{filter}].type"), json!("x")),
    ]);
    refused(vec![
        op("add", "ims", json!(many)),
        op("add", "ims[value pr].display", json!("x".repeat(400_000))),
    ]);
    refused(vec![
        op("add", "ims", json!(many)),
        op("remove", "ims", json!(many)),
    ]);
    refused((0..1000).map(|_| op("add", "ims", long.clone())).collect());
}

/// Conformance: 80.
#[test]
fn entra_makes_an_element_through_its_type() {
    let after = one("Add", "phoneNumbers[type eq \"mobile\"].value", json!("1")).unwrap();
    assert_eq!(
        after["phoneNumbers"],
        json!([{"value": "1", "type": "mobile"}])
    );
    let after = one(
        "Replace",
        "addresses[type eq \"other\"].Formatted",
        json!("X"),
    )
    .unwrap();
    assert_eq!(
        after["addresses"],
        json!([{"formatted": "X", "type": "other"}])
    );
    let after = one("Add", "emails[type eq \"other\"].primary", json!(true)).unwrap();
    assert_eq!(after["emails"][0]["primary"], false);
    // Any other filter that selects nothing has no target.
    for path in [
        "emails[type eq \"x\"]",
        "emails[value eq \"x\"].type",
        "emails[type ne \"home\" and value eq \"x\"].value",
    ] {
        assert_eq!(
            refused(one("replace", path, json!({"value": "y"}))),
            ScimType::NoTarget
        );
    }
}

#[test]
fn entra_gives_the_one_role_as_the_primary_one() {
    const ONE: &str = "roles[primary eq \"True\"]";
    let value = format!("{ONE}.value");
    let from = |roles: Value, operations: Value| {
        let mut user = start();
        if !roles.is_null() {
            user.insert("roles".to_owned(), roles);
        }
        let operations =
            parse(json!({"schemas": [PATCH_SCHEMA], "Operations": operations})).unwrap();
        apply(&USER, &user, &operations).map(|after| after.get("roles").cloned())
    };
    let op = |op: &str, path: &str, value: Value| json!([{"op": op, "path": path, "value": value}]);
    let one = |id: &str| json!([{"value": id, "primary": true}]);
    // The first one is made, the second takes its place, and none is left when it is removed.
    for verb in ["Add", "Replace"] {
        for before in [Value::Null, one("r1")] {
            let after = from(before, op(verb, &value, json!("r2"))).unwrap();
            assert_eq!(after, Some(one("r2")));
        }
    }
    for gone in [
        json!([{"op": "Remove", "path": value}]),
        op("Replace", &value, json!("")),
        op("Replace", &value, Value::Null),
    ] {
        assert_eq!(from(one("r1"), gone).unwrap(), None);
    }
    let nothing = op("Replace", &value, json!(""));
    assert_eq!(from(Value::Null, nothing).unwrap(), None);
    // How it is labelled is known here; in any order, and where there is none yet.
    let labelled = json!([
        {"op": "Add", "path": format!("{ONE}.display"), "value": "Analyst"},
        {"op": "Add", "path": format!("{ONE}.type"), "value": "WindowsAzureActiveDirectoryRole"},
        {"op": "Add", "path": value, "value": "r2"},
        {"op": "Add", "path": format!("{ONE}.primary"), "value": "True"},
    ]);
    assert_eq!(from(Value::Null, labelled).unwrap(), Some(one("r2")));
    // Of several none is primary: which one was meant nobody can tell.
    let two = json!([{"value": "r1"}, {"value": "r2"}]);
    let refusal = from(two, op("Replace", &value, json!("r3"))).unwrap_err();
    assert_eq!(refusal.scim_type, Some(ScimType::NoTarget));
    // Another path to a read-only part stays what it is, and entitlements have no primary.
    for (path, refused) in [
        ("roles[value eq \"r1\"].display", ScimType::Mutability),
        (
            "entitlements[primary eq \"True\"].display",
            ScimType::Mutability,
        ),
        (
            "entitlements[primary eq \"True\"].value",
            ScimType::InvalidFilter,
        ),
    ] {
        let refusal = from(one("r1"), op("Replace", path, json!("x"))).unwrap_err();
        assert_eq!(refusal.scim_type, Some(refused), "{path}");
    }
}

#[test]
fn entra_puts_a_document_into_the_text_of_a_role() {
    let document = json!({"id": "06b07648", "value": "r1", "displayName": "Analyst"}).to_string();
    let given = |path: &str, value: Value| one("Add", path, value).unwrap()["roles"].clone();
    for value in [
        json!([{"value": document}]),
        json!([document]),
        json!(document),
    ] {
        assert_eq!(given("roles", value), json!([{"value": "r1"}]));
    }
    let after = given("roles[primary eq \"True\"].value", json!(document));
    assert_eq!(after[0]["value"], "r1");
    // A document without a value is the text that it is.
    for text in ["{\"id\":\"x\"}", "{\"value\":1}", "{", "{}"] {
        assert_eq!(given("roles", json!(text)), json!([{"value": text}]));
    }
}

/// Conformance: 81.
#[test]
fn entra_removes_by_value() {
    let after = one(
        "Remove",
        "emails",
        json!([{"value": "a@home", "$ref": null}]),
    )
    .unwrap();
    assert_eq!(after["emails"].as_array().unwrap().len(), 1);
    let after = one("Remove", "emails", json!([])).unwrap();
    assert_eq!(after["emails"].as_array().unwrap().len(), 2);
    assert_eq!(remove("emails").unwrap().get("emails"), None);
}

/// Conformance: 78.
#[test]
fn add_appends_without_repeating() {
    let after = one(
        "add",
        "emails",
        json!([{"value": "c@d"}, {"value": "A@B", "type": "Work"}]),
    )
    .unwrap();
    assert_eq!(after["emails"].as_array().unwrap().len(), 3);
    let after = one("add", "emails", json!({"value": "a@b", "type": "work"})).unwrap();
    assert_eq!(after, Value::Object(start()));
    assert_eq!(
        one("add", "title", json!("")).unwrap(),
        Value::Object(start())
    );
}

/// Conformance: 78, 79.
#[test]
fn complex_attributes_merge() {
    for op in ["add", "replace"] {
        let after = one(op, "name", json!({"givenName": "N", "familyName": null})).unwrap();
        let kept = if op == "add" { json!("B") } else { Value::Null };
        assert_eq!(after["name"]["givenName"], json!("N"));
        assert_eq!(
            after["name"].get("familyName").cloned().unwrap_or_default(),
            kept
        );
    }
    let after = one("replace", "name.middleName", json!("M")).unwrap();
    assert_eq!(
        after["name"],
        json!({"givenName": "A", "familyName": "B", "middleName": "M"})
    );
    assert_eq!(
        one("replace", "name", Value::Null).unwrap().get("name"),
        None
    );
    assert_eq!(
        refused(one("replace", "name", json!("Ann"))),
        ScimType::InvalidValue
    );
}

/// Conformance: 79.
#[test]
fn replace_without_a_filter_takes_the_whole_list() {
    let after = one(
        "replace",
        "emails",
        json!([{"value": "x@y", "type": "work"}]),
    )
    .unwrap();
    assert_eq!(after["emails"], json!([{"value": "x@y", "type": "work"}]));
    assert_eq!(
        one("replace", "emails", json!([])).unwrap().get("emails"),
        None
    );
    let path = "emails[type eq \"home\"]";
    let after = one("replace", path, json!({"value": "x@y"})).unwrap();
    assert_eq!(after["emails"][1], json!({"value": "x@y"}));
    let after = one("add", path, json!({"display": "X"})).unwrap();
    assert_eq!(
        after["emails"][1],
        json!({"value": "a@home", "type": "home", "display": "X"})
    );
}

/// Conformance: 85.
#[test]
fn one_value_is_preferred() {
    let after = one("replace", "emails[type eq \"home\"].primary", json!(true)).unwrap();
    assert_eq!(
        after["emails"],
        json!([
            {"value": "a@b", "type": "work", "primary": false},
            {"value": "a@home", "type": "home", "primary": true},
        ])
    );
    let after = one(
        "add",
        "emails",
        json!([{"value": "n@b", "primary": "True"}]),
    )
    .unwrap();
    assert_eq!(after["emails"][0]["primary"], false);
    let after =
        patched(json!([{"op": "add", "value": {"emails": [{"value": "n@b", "primary": true}]}}]));
    assert_eq!(after.unwrap()["emails"][0]["primary"], false);
    let two = json!([{"value": "x", "primary": true}, {"value": "y", "primary": true}]);
    assert_eq!(refused(one("add", "emails", two)), ScimType::InvalidValue);
    let all = one("replace", "emails[value pr].primary", json!(true));
    assert_eq!(refused(all), ScimType::InvalidValue);
}

/// Conformance: 81.
#[test]
fn remove_takes_what_it_names() {
    assert_eq!(
        remove("name.givenName").unwrap()["name"],
        json!({"familyName": "B"})
    );
    assert_eq!(remove("title").unwrap(), Value::Object(start()));
    assert_eq!(
        remove("emails[type eq \"home\"]").unwrap()["emails"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(remove("emails[value pr]").unwrap().get("emails"), None);
    let after = remove("emails[type eq \"work\"].primary").unwrap();
    assert_eq!(after["emails"][0], json!({"value": "a@b", "type": "work"}));
    assert_eq!(
        remove(ENTERPRISE_USER.id).unwrap().get(ENTERPRISE_USER.id),
        None
    );
    let department = format!("{}:department", ENTERPRISE_USER.id);
    assert_eq!(remove(&department).unwrap().get(ENTERPRISE_USER.id), None);
    assert_eq!(refused(remove("emails[type eq \"x\"]")), ScimType::NoTarget);
}

/// Conformance: 77, 82.
#[test]
fn what_may_not_change_is_refused() {
    for path in [
        "id",
        "meta.version",
        "groups",
        "schemas",
        "roles[value eq \"x\"].display",
        "urn:roster:params:scim:schemas:extension:access:2.0:User:roles",
    ] {
        assert_eq!(
            refused(one("replace", path, json!("x"))),
            ScimType::Mutability,
            "{path}"
        );
    }
    assert_eq!(refused(remove("userName")), ScimType::Mutability);
    assert_eq!(
        refused(one("replace", "userName", json!(""))),
        ScimType::InvalidValue
    );
    for path in [
        "nope",
        "name.nope",
        "urn:x:y:z",
        "title[value eq \"x\"]",
        "emails.value",
    ] {
        assert_eq!(
            refused(one("replace", path, json!("x"))),
            ScimType::InvalidPath,
            "{path}"
        );
    }
    for path in ["emails[nope eq \"x\"].value", "emails[type eq]"] {
        assert_eq!(
            refused(one("replace", path, json!("x"))),
            ScimType::InvalidFilter,
            "{path}"
        );
    }
}

/// Conformance: 74.
#[test]
fn operations_see_each_other_and_all_fail_together() {
    let after = patched(json!([
        {"op": "remove", "path": "emails"},
        {"op": "add", "path": "emails", "value": [{"value": "1", "type": "work"}]},
        {"op": "replace", "path": "emails[type eq \"work\"].value", "value": "2"},
    ]))
    .unwrap();
    assert_eq!(after["emails"], json!([{"value": "2", "type": "work"}]));
    let before = start();
    let operations = parse(json!({"schemas": [PATCH_SCHEMA], "Operations": [
        {"op": "replace", "path": "title", "value": "T"},
        {"op": "replace", "path": "nope", "value": "T"},
    ]}))
    .unwrap();
    assert!(apply(&USER, &before, &operations).is_err());
    assert_eq!(before, start());
}

#[test]
fn a_list_does_not_grow_without_bound() {
    let many: Vec<Value> = (0..1001).map(|n| json!({"value": n.to_string()})).collect();
    assert_eq!(
        refused(one("add", "emails", json!(many))),
        ScimType::InvalidValue
    );
}

proptest! {
    /// Simple attributes against the simplest model there is: a map.
    #[test]
    fn simple_attributes_follow_a_map(
        steps in proptest::collection::vec(
            (
                proptest::sample::select(vec!["add", "replace", "remove"]),
                proptest::sample::select(vec!["title", "nickName", "locale"]),
                "[a-c]{0,1}",
            ),
            1..12,
        ),
    ) {
        let mut model = start();
        let mut operations = Vec::new();
        for (op, name, value) in steps {
            operations.push(json!({"op": op, "path": name, "value": value}));
            match (op, value.as_str()) {
                ("add", "") => {}
                ("remove", _) | (_, "") => { model.remove(name); }
                (_, value) => { model.insert(name.to_owned(), json!(value)); }
            }
        }
        prop_assert_eq!(patched(json!(operations)).unwrap(), Value::Object(model));
    }

    #[test]
    fn what_is_patched_stays_canonical(
        steps in proptest::collection::vec(
            (
                proptest::sample::select(vec!["add", "replace", "remove"]),
                proptest::sample::select(vec![
                    "emails", "emails[type eq \"work\"]", "emails[type eq \"home\"].value",
                    "emails[value eq \"a\"].primary", "name", "name.givenName", "active",
                    ENTERPRISE_USER.id,
                ]),
                proptest::sample::select(vec![
                    json!(null), json!(""), json!("a"), json!(true), json!([]), json!({}),
                    json!({"value": "a", "type": "work", "primary": true}),
                    json!([{"value": "b"}, {"value": "a", "primary": true}]),
                    json!({"givenName": "G", "department": null}),
                ]),
            ),
            1..8,
        ),
    ) {
        let operations: Vec<Value> = steps
            .into_iter()
            .map(|(op, path, value)| json!({"op": op, "path": path, "value": value}))
            .collect();
        if let Ok(mut after) = patched(json!(operations)) {
            let before = after.clone();
            after["schemas"] = json!([USER.schema.id]);
            let mut read = resource::read(&USER, after).unwrap();
            // Only `id` is read-only among what the test starts from.
            read.insert("id".to_owned(), json!("1"));
            prop_assert_eq!(Value::Object(read), before);
        }
    }
}

#[test]
fn the_core_urn_without_a_path_holds_the_attributes_themselves() {
    let core = USER.schema.id;
    for urn in [core.to_owned(), core.to_uppercase()] {
        for op in ["add", "replace"] {
            let own = json!({"title": "T", "name.givenName": "N", "id": "x", "nobody": 1});
            let under = patched(json!([{"op": op, "value": {&urn: own, "locale": "de"}}])).unwrap();
            let beside = json!({"title": "T", "name.givenName": "N", "locale": "de"});
            assert_eq!(
                under,
                patched(json!([{"op": op, "value": beside}])).unwrap()
            );
            assert_eq!(under["title"], "T");
        }
    }
    let error = patched(json!([{"op": "replace", "value": {core: "x"}}])).unwrap_err();
    assert_eq!(error.scim_type, Some(ScimType::InvalidValue));
}
