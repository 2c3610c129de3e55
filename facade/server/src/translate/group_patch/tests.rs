//! What identity providers send to groups, and the fold against a naive model.

use proptest::prelude::*;
use scim_protocol::{
    ScimType,
    patch::{self, PATCH_SCHEMA},
};
use serde_json::json;

use super::*;

fn parsed(operations: Value) -> Vec<Operation> {
    patch::parse(json!({"schemas": [PATCH_SCHEMA], "Operations": operations})).unwrap()
}

fn site() -> Site {
    Site::new("https://x", "acme")
}

fn folded(operations: Value) -> GroupChange {
    fold(&parsed(operations), &site(), None)
        .unwrap()
        .expect("folds blind")
}

fn refused(operations: Value) -> ScimType {
    fold(&parsed(operations), &site(), None)
        .unwrap_err()
        .scim_type
        .unwrap()
}

fn delta(add: &[&str], remove: &[&str]) -> Option<Membership> {
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    Some(Membership::Delta(MembershipDelta {
        add_member_ids: owned(add),
        remove_member_ids: owned(remove),
    }))
}

fn exactly(ids: &[&str]) -> Option<Membership> {
    let member_ids = ids.iter().map(|id| (*id).to_owned()).collect();
    Some(Membership::Exactly(ExactMembership { member_ids }))
}

#[test]
fn okta_renames_and_names_its_id() {
    let change = folded(json!([{"op": "replace", "value": {"id": "g1", "displayName": "N"}}]));
    assert_eq!(change.display_name.as_deref(), Some("N"));
    assert_eq!((change.membership(), change.external_id), (None, None));
}

#[test]
fn the_core_urn_without_a_path_holds_the_attributes_themselves() {
    let change = folded(json!([{"op": "replace", "value": {
        GROUP.schema.id: {"displayName": "N", "members": [{"value": "u1"}]},
        "externalId": "e",
    }}]));
    assert_eq!(change.display_name.as_deref(), Some("N"));
    assert_eq!(change.external_id.as_deref(), Some("e"));
    assert_eq!(change.membership(), exactly(&["u1"]));
}

#[test]
fn a_member_may_be_replaced_by_itself_only() {
    let with = |value: Value, present: Option<&[String]>| {
        let path = "members[value eq \"u1\"]";
        let operations = parsed(json!([{"op": "replace", "path": path, "value": value}]));
        fold(&operations, &site(), present)
    };
    let both = ["u1".to_owned(), "u2".to_owned()];
    for same in [
        json!({"value": "u1", "display": "x"}),
        json!([{"value": "u1"}]),
    ] {
        assert_eq!(with(same.clone(), None), Ok(None), "that needs a look");
        let change = with(same.clone(), Some(&both)).unwrap().unwrap();
        assert_eq!(change.membership(), exactly(&["u1", "u2"]));
        let error = with(same, Some(&both[1..])).unwrap_err();
        assert_eq!(error.scim_type, Some(ScimType::NoTarget));
    }
    for other in [json!({"value": "u2"}), json!([]), json!({})] {
        let error = with(other, Some(&both)).unwrap_err();
        assert_eq!(error.scim_type, Some(ScimType::InvalidPath));
    }
}

#[test]
fn okta_mixes_remove_by_filter_with_add() {
    let change = folded(json!([
        {"op": "remove", "path": "members[value eq \"u1\"]"},
        {"op": "add", "path": "members", "value": [{"value": "u2", "display": "a@b"}]},
        {"op": "replace", "value": {"id": "g1", "displayName": "N"}},
    ]));
    assert_eq!(change.membership(), delta(&["u2"], &["u1"]));
}

#[test]
fn okta_pushes_the_whole_membership_in_three_ways() {
    let members = json!([{"value": "u2"}, {"value": "u1"}, {"value": "u2"}]);
    for operations in [
        json!([{"op": "replace", "path": "members", "value": members}]),
        json!([{"op": "replace", "value": {"members": members}}]),
        json!([{"op": "replace", "value": {"members": members, "id": "g", "displayName": "N"}}]),
    ] {
        assert_eq!(folded(operations).membership(), exactly(&["u1", "u2"]));
    }
    for operations in [
        json!([{"op": "replace", "path": "members", "value": []}]),
        json!([{"op": "replace", "value": {"members": [], "id": "g", "displayName": "N"}}]),
        json!([{"op": "remove", "path": "members"}]),
    ] {
        assert_eq!(folded(operations).membership(), exactly(&[]));
    }
}

#[test]
fn a_replace_that_does_not_name_the_members_leaves_them() {
    for value in [
        json!({}),
        json!({"id": "g"}),
        json!({"externalId": "x"}),
        json!({"nope": []}),
    ] {
        assert_eq!(
            folded(json!([{"op": "replace", "value": value}])).membership(),
            None
        );
    }
}

#[test]
fn entra_removes_by_value_and_never_everybody() {
    let remove = |value| folded(json!([{"op": "Remove", "path": "members", "value": value}]));
    assert_eq!(
        remove(json!([{"value": "u1", "$ref": null}])).membership(),
        delta(&[], &["u1"])
    );
    assert_eq!(remove(json!([])).membership(), None);
}

#[test]
fn a_filter_that_lists_ids_is_folded() {
    let path = "members[value eq \"u1\" or (value eq \"u2\" or VALUE eq \"u3\")]";
    let change = folded(json!([{"op": "remove", "path": path}]));
    assert_eq!(change.membership(), delta(&[], &["u1", "u2", "u3"]));
}

#[test]
fn any_other_filter_needs_the_members() {
    let operations = parsed(json!([
        {"op": "add", "path": "members", "value": [{"value": "u3"}]},
        {"op": "remove", "path": "members[value ne \"u2\" and type eq \"User\"]"},
    ]));
    assert_eq!(fold(&operations, &site(), None), Ok(None));
    let present = ["u1".to_owned(), "u2".to_owned()];
    let change = fold(&operations, &site(), Some(&present)).unwrap().unwrap();
    assert_eq!(change.membership(), exactly(&["u2"]));
}

#[test]
fn filters_that_look_through_the_members_are_counted() {
    let look = json!({"op": "remove", "path": "members[value sw \"x\"]"});
    let named = json!({"op": "remove", "path": "members[value eq \"u\"]"});
    let ids: Vec<String> = (0..1000).map(|n| format!("u{n}")).collect();
    let list: Vec<Value> = ids.iter().map(|id| json!({"value": id})).collect();
    let replace = json!({"op": "replace", "path": "members", "value": list});
    let of = |looks: usize| {
        let mut operations = vec![replace.clone()];
        operations.resize(1 + looks, look.clone());
        operations.resize(20_001, named.clone());
        parsed(Value::Array(operations))
    };
    for present in [None, Some(ids.as_slice())] {
        let change = fold(&of(MAX_LOOKS), &site(), present).unwrap().unwrap();
        assert!(matches!(change.members, Members::Exactly(all) if all.len() == 1000));
        let too_many = of(20_000);
        let begun = std::time::Instant::now();
        let error = fold(&too_many, &site(), present).unwrap_err();
        assert_eq!((error.status, error.scim_type), (413, None));
        assert!(error.detail.contains("100"), "{}", error.detail);
        // Made anew for each of the 20,000 they took tens of seconds.
        assert!(begun.elapsed() < std::time::Duration::from_secs(3));
    }
    // One filter may be as much as a hundred, by its conditions or by one long text.
    for filter in [
        vec!["value sw \"x\""; MAX_LOOKS + 1].join(" and "),
        format!("value co \"{}\"", "x".repeat(64 * MAX_LOOKS)),
    ] {
        let look = json!([{"op": "remove", "path": format!("members[{filter}]")}]);
        let error = fold(&parsed(look), &site(), Some(&ids)).unwrap_err();
        assert_eq!(error.status, 413, "{error}");
    }
}

#[test]
fn the_last_word_counts() {
    let change = folded(json!([
        {"op": "add", "path": "displayName", "value": "A"},
        {"op": "add", "path": "members", "value": {"value": "u1"}},
        {"op": "remove", "path": "members[value eq \"u1\"]"},
        {"op": "remove", "path": "members[value eq \"u2\"]"},
        {"op": "add", "path": "members", "value": {"value": "u2"}},
        {"op": "replace", "path": "displayName", "value": "B"},
        {"op": "replace", "path": "externalId", "value": "x"},
        {"op": "remove", "path": "externalId"},
    ]));
    assert_eq!(change.membership(), delta(&["u2"], &["u1"]));
    assert_eq!(change.display_name.as_deref(), Some("B"));
    assert_eq!(change.external_id.as_deref(), Some(""));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let with = |op: &str, path: &str, value: Value| {
        refused(json!([{"op": op, "path": path, "value": value}]))
    };
    assert_eq!(with("replace", "id", json!("x")), ScimType::Mutability);
    assert_eq!(
        with("replace", "displayName", json!("")),
        ScimType::InvalidValue
    );
    assert_eq!(
        with("replace", "displayName", json!(1)),
        ScimType::InvalidValue
    );
    assert_eq!(
        with("remove", "displayName", json!(null)),
        ScimType::Mutability
    );
    assert_eq!(with("add", "nope", json!("x")), ScimType::InvalidPath);
    assert_eq!(
        with("add", "members[value eq \"u\"]", json!({})),
        ScimType::InvalidPath
    );
    assert_eq!(
        with("replace", "members[value eq \"u\"].value", json!("x")),
        ScimType::Mutability
    );
    assert_eq!(
        with("add", "members", json!([{"value": "g", "type": "Group"}])),
        ScimType::InvalidValue
    );
    assert_eq!(
        with("add", "members", json!(["u1"])),
        ScimType::InvalidValue
    );
    assert_eq!(
        with("remove", "members[nope eq \"u\"]", json!(null)),
        ScimType::InvalidFilter
    );
    assert_eq!(
        with("remove", "displayName[value pr]", json!(null)),
        ScimType::InvalidPath
    );
}

fn step() -> impl Strategy<Value = Value> {
    let ids = || proptest::collection::vec("u[0-4]", 0..3);
    let list = |ids: Vec<String>| -> Vec<Value> {
        ids.into_iter().map(|id| json!({"value": id})).collect()
    };
    prop_oneof![
        ids().prop_map(move |ids| json!({"op": "add", "path": "members", "value": list(ids)})),
        ids().prop_map(move |ids| json!({"op": "remove", "path": "members", "value": list(ids)})),
        "u[0-4]"
            .prop_map(|id| json!({"op": "remove", "path": format!("members[value eq \"{id}\"]")})),
        ids().prop_map(move |ids| json!({"op": "replace", "value": {"members": list(ids)}})),
        Just(json!({"op": "remove", "path": "members"})),
    ]
}

proptest! {
    /// One change at the end does what the operations do one after another.
    #[test]
    fn the_fold_does_what_the_steps_do(
        present in proptest::collection::btree_set("u[0-4]", 0..5),
        steps in proptest::collection::vec(step(), 1..6),
    ) {
        let mut model = present.clone();
        for step in &steps {
            let ids: Vec<String> = match (step.get("value"), step.get("path")) {
                (Some(value), _) => member_ids(value.get("members").unwrap_or(value)).unwrap(),
                (None, Some(path)) => path.as_str().unwrap().split('"').nth(1)
                    .map(str::to_owned).into_iter().collect(),
                (None, None) => Vec::new(),
            };
            match step["op"].as_str().unwrap() {
                "add" => model.extend(ids),
                "replace" => model = ids.into_iter().collect(),
                _ if step == &json!({"op": "remove", "path": "members"}) => model.clear(),
                _ => model.retain(|id| !ids.contains(id)),
            }
        }
        let mut after = present.clone();
        match folded(json!(steps)).membership() {
            None => {}
            Some(Membership::Exactly(exact)) => after = exact.member_ids.into_iter().collect(),
            Some(Membership::Delta(delta)) => {
                after.extend(delta.add_member_ids);
                after.retain(|id| !delta.remove_member_ids.contains(id));
            }
        }
        prop_assert_eq!(&after, &model);
        // The same, where the members had to be read.
        let present: Vec<String> = present.into_iter().collect();
        let known = fold(&parsed(json!(steps)), &site(), Some(&present)).unwrap().unwrap();
        let exact = known.membership();
        prop_assert_eq!(exact, Some(Membership::Exactly(ExactMembership {
            member_ids: model.into_iter().collect(),
        })));
    }
}
