//! A filter: parsed, printed and parsed again, held against resources, and translated into the contract.

use std::fmt::Write as _;

use identity_proto::v1::{self as pb, filter::Node};
use prost::Message as _;
use scim_facade::offline::{self, Asked};
use scim_protocol::{
    filter::{Filter, MAX_LENGTH},
    group::GROUP,
    query::Query,
    user::USER,
};
use serde_json::{Value, json};

use crate::{
    hold::{good, is_refusal, is_same_filter, is_within},
    samples,
};

/// How deep identity reads a filter, and how many conditions of it.
const CONTRACT: (usize, usize) = (64, 1000);

/// Takes the input for a filter, and for the query of an address.
pub fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    match Query::parse(text) {
        Ok(query) => translate(&query, text.len()),
        Err(error) => is_refusal(&error, text.len()),
    }
    // The way that a filter takes through an address changes nothing.
    let in_address = Query::parse(&format!("filter={}", encoded(text)));
    match Filter::parse(text) {
        Ok(filter) => {
            let query = good(in_address, "the address refuses a good filter");
            assert_eq!(query.filter.as_ref(), Some(&filter));
            print(&filter, text.len());
            match_samples(&filter, text.len());
            translate(&query, text.len());
        }
        Err(error) => {
            is_refusal(&error, text.len());
            assert_eq!(in_address, Err(error));
        }
    }
}

/// Printed and parsed again it is the same filter.
fn print(filter: &Filter, sent: usize) {
    let printed = filter.to_string();
    is_within(printed.len(), sent, 64);
    if printed.len() <= MAX_LENGTH {
        let again = good(Filter::parse(&printed), "what was printed does not parse");
        assert!(
            is_same_filter(filter, &again),
            "{filter:?} was printed as {printed}, which is {again:?}"
        );
    }
}

/// It holds for a resource, does not, or can't be asked of its type: the same whoever it is.
fn match_samples(filter: &Filter, sent: usize) {
    let not = Filter::Not(Box::new(filter.clone()));
    let mut answers = Vec::new();
    for member in samples::MEMBERS.iter() {
        let user = Value::Object(offline::shown(member));
        let answer = filter.matches_resource(&user, &USER);
        assert_eq!(
            answer.clone().map(|holds| !holds),
            not.matches_resource(&user, &USER)
        );
        answers.push(answer.map(|_| ()));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    let group =
        json!({"id": "g1", "displayName": "G", "members": [{"value": "u1", "type": "User"}]});
    answers.push(filter.matches_resource(&group, &GROUP).map(|_| ()));
    for error in answers.into_iter().filter_map(Result::err) {
        is_refusal(&error, sent);
    }
}

/// What goes to identity is what identity can read, and not much larger.
fn translate(query: &Query, sent: usize) {
    let (users, groups, both) = (
        offline::of_users(query),
        offline::of_groups(query),
        offline::of_both(query),
    );
    // The root knows whatever one of the types knows. (It may be too large for one of them and not the other.)
    if users.is_ok() && groups.is_ok() {
        for asked in &both {
            good(asked.as_ref(), "the root refuses what both types take");
        }
    }
    for asked in [users, groups].into_iter().chain(both) {
        is_readable(asked, sent);
    }
}

fn is_readable(asked: Asked, sent: usize) {
    let (filter, order) = match asked {
        Ok(asked) => asked,
        Err(error) => return is_refusal(&error, sent),
    };
    if let Some(filter) = &filter {
        let mut conditions = 0;
        read(filter, 0, &mut conditions);
    }
    let request = pb::ListMembersRequest {
        filter,
        order,
        ..pb::ListMembersRequest::default()
    };
    let bytes = request.encode_to_vec();
    // A condition of four letters may name a field of thirty in a list, and an id below a URL.
    is_within(bytes.len(), 16 * sent, 256);
    let again = good(
        pb::ListMembersRequest::decode(bytes.as_slice()),
        "no decoder reads what was translated",
    );
    assert_eq!(again, request);
}

/// Reads a filter as identity does, with its bounds.
fn read(filter: &pb::Filter, depth: usize, conditions: &mut usize) {
    *conditions += 1;
    assert!(depth <= CONTRACT.0, "deeper than identity reads");
    assert!(*conditions <= CONTRACT.1, "more than identity reads");
    let mut inner = |filter: &pb::Filter| read(filter, depth + 1, conditions);
    match &filter.node {
        None => panic!("an empty node"),
        Some(Node::All(list) | Node::Any(list)) => list.filters.iter().for_each(inner),
        Some(Node::Not(one)) => inner(one),
        Some(Node::Entry(entry)) => {
            assert!(!entry.list.is_empty());
            match &entry.filter {
                Some(one) => inner(one),
                None => panic!("an empty entry"),
            }
        }
        Some(Node::Present(field)) => assert!(!field.is_empty()),
        Some(Node::Comparison(comparison)) => {
            assert!(!comparison.field.is_empty());
            assert!(comparison.operator() != pb::Operator::Unspecified);
            assert!(comparison.value.is_some(), "a comparison without a value");
        }
    }
}

/// Percent-encodes all but letters and digits.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(3 * text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            good(write!(encoded, "%{byte:02X}"), "writing to a text");
        }
    }
    encoded
}
