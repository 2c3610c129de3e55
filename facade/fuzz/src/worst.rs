//! The worst that fits into a request, written by hand: a fuzzer seldom finds what only size makes bad. Each is a
//! body of about the usual limit, made so that the work on it would multiply if nothing bounded it.

use std::time::{Duration, Instant};

use scim_protocol::{
    bulk::REQUEST_SCHEMA, filter::MAX_LENGTH, patch::PATCH_SCHEMA, user::ENTERPRISE_USER,
};
use serde_json::{Value, json};

/// The usual limit of a body.
const BODY: usize = 1 << 20;

/// How long one may take, unoptimised and on a machine that is busy; without bounds they take minutes.
const TIME: Duration = Duration::from_secs(20);

fn is_quick(name: &str, check: fn(&[u8]), input: &str) {
    let begun = Instant::now();
    check(input.as_bytes());
    let elapsed = begun.elapsed();
    assert!(elapsed < TIME, "{name} took {elapsed:?}");
}

/// As many copies as fit into so many bytes.
fn filled(one: &str, between: &str, size: usize) -> String {
    vec![one; size / (one.len() + between.len())].join(between)
}

#[test]
fn no_filter_takes_long() {
    let text = |one: &str| format!("title eq \"{}\"", filled(one, "", MAX_LENGTH - 12));
    for (name, filter) in [
        ("conditions", filled("title pr", " or ", MAX_LENGTH)),
        ("lists", filled("emails[value pr]", " and ", MAX_LENGTH)),
        ("folded away", filled("schemas pr", " and ", MAX_LENGTH)),
        ("escapes", text("\\u0000")),
        // One character of it is eighteen when it is folded.
        ("ligatures", text("\u{fdfa}")),
        ("marks", text("\u{301}")),
        ("brackets", "(".repeat(BODY)),
        ("negations", filled("not (", "", BODY)),
        ("no end", format!("title eq \"{}", "x".repeat(BODY))),
        ("space", " ".repeat(BODY)),
        ("parameters", filled("count", "&", BODY)),
        ("percents", filled("%41", "", BODY)),
        ("urn", filled("urn:", "", MAX_LENGTH)),
    ] {
        is_quick(name, crate::filter::check, &filter);
        is_quick(name, crate::path::check, &filter);
    }
}

fn op(op: &str, path: &str, value: impl Into<Value>) -> Value {
    json!({"op": op, "path": path, "value": value.into()})
}

/// A PATCH that does one thing, and then another many times.
fn patch(first: Value, then: Value, times: usize) -> String {
    let mut operations = vec![first];
    operations.resize(1 + times, then);
    json!({"schemas": [PATCH_SCHEMA], "Operations": operations}).to_string()
}

/// Many values of a list, each another.
fn values(count: usize) -> Value {
    let value = |index: usize| json!({"value": index.to_string()});
    (0..count).map(value).collect()
}

/// A PATCH that sets what many names name, without a path.
fn named(name: impl Fn(usize) -> String) -> String {
    let names = (0..10_000).map(|index| (name(index), json!("x")));
    let operation = json!({"op": "replace", "value": Value::Object(names.collect())});
    patch(operation, Value::Null, 0)
}

#[test]
fn no_patch_takes_long_over_texts() {
    let long = "é".repeat(BODY / 4);
    let one = op("add", "ims", json!([{"value": long}]));
    let any = filled("value co \"a\"", " or ", MAX_LENGTH - 5);
    let by_any = op("remove", &format!("ims[{any}]"), Value::Null);
    let by_long = format!("members[type eq \"{}\"]", "x".repeat(MAX_LENGTH - 20));
    let extension = json!({ENTERPRISE_USER.id: {"department": long}});
    let document = format!("{{\"value\":\"{}\"}}", "[".repeat(900));
    for (name, body) in [
        ("looked through", patch(one.clone(), by_any, 14)),
        (
            "copied",
            patch(
                op("add", "ims", values(1000)),
                op("add", "ims[value pr].display", long.as_str()),
                1,
            ),
        ),
        (
            "beside others",
            patch(one, op("add", "ims", json!([{"value": "1"}])), 999),
        ),
        (
            "in members' filters",
            patch(
                op("add", "members", values(20_000)),
                op("remove", &by_long, Value::Null),
                1,
            ),
        ),
        (
            "in an extension",
            patch(json!({"op": "add", "value": extension}), Value::Null, 0),
        ),
        (
            "documents",
            patch(op("add", "roles", vec![document; 900]), Value::Null, 0),
        ),
        ("escapes", format!("[\"{}\"]", filled("\\u0000", "", BODY))),
    ] {
        is_quick(name, crate::patch::check, &body);
    }
}

#[test]
fn no_patch_takes_long_over_numbers() {
    let many = op("add", "ims", values(1000));
    let any = filled("value co \"a\"", " or ", MAX_LENGTH - 5);
    for (name, body) in [
        (
            "conditions",
            patch(
                many.clone(),
                op("remove", &format!("ims[{any}]"), Value::Null),
                27,
            ),
        ),
        (
            "values that are there",
            patch(many.clone(), op("add", "photos", values(70)), 700),
        ),
        (
            "values that go",
            patch(many, op("remove", "ims", values(900)), 60),
        ),
        (
            "members that stay",
            patch(
                op("add", "members", values(5000)),
                op("remove", "members[not (value pr)]", Value::Null),
                100,
            ),
        ),
        (
            "operations",
            patch(
                op("add", "title", "x"),
                op("remove", "members", Value::Null),
                17_000,
            ),
        ),
        (
            "paths as names",
            named(|index| format!("emails[type eq \"{index}\"].value")),
        ),
        (
            "no paths as names",
            named(|index| format!("emails[{index}")),
        ),
        ("levels", "[".repeat(BODY)),
        ("objects", format!("[{}]", filled("{}", ",", BODY))),
        ("names", format!("{{{}}}", filled("\"a\":0", ",", BODY))),
    ] {
        is_quick(name, crate::patch::check, &body);
    }
}

/// A bulk request of operations that each refer to others.
fn referring(count: usize, others: impl Fn(usize) -> Vec<usize>) -> String {
    bulk((0..count).map(|index| {
        let others: Vec<String> = others(index)
            .into_iter()
            .map(|other| format!("bulkId:{other}"))
            .collect();
        let data = json!({"x": others});
        json!({"method": "POST", "path": "/Users", "bulkId": index.to_string(), "data": data})
    }))
}

fn bulk(operations: impl IntoIterator<Item = Value>) -> String {
    let operations: Vec<Value> = operations.into_iter().collect();
    json!({"schemas": [REQUEST_SCHEMA], "Operations": operations}).to_string()
}

#[test]
fn no_bulk_request_takes_long() {
    let chain = |index: usize| match index {
        930.. => vec![],
        _ => (930..1000).chain([index + 1]).collect(),
    };
    let around = |index: usize| (index.saturating_sub(25)..(index + 25).min(1000)).collect();
    let references = json!({"method": "POST", "path": "/Users", "data": vec!["bulkId:a"; 95_000]});
    let path = filled("/bulkId:a", "", BODY);
    let quoted = json!({"path": filled("\"bulkId:", "", BODY / 2)});
    for (name, body) in [
        ("a chain", referring(1000, chain)),
        (
            "a circle",
            referring(1000, |index| vec![(index + 1) % 1000]),
        ),
        ("circles", referring(1000, |index| vec![index ^ 1])),
        ("many circles", referring(1000, around)),
        ("references", bulk([references])),
        (
            "in a path",
            bulk([json!({"method": "DELETE", "path": path})]),
        ),
        (
            "quoted",
            bulk([json!({"method": "PATCH", "path": "/Users/x", "data": quoted})]),
        ),
        (
            "operations",
            bulk(vec![json!({"method": "DELETE", "path": "/"}); 30_000]),
        ),
    ] {
        is_quick(name, crate::bulk::check, &body);
    }
}
