//! What holds for every target: refusals that a client can read, sizes within bounds, the same after a round trip.

use scim_protocol::{
    ScimError,
    filter::{Filter, Literal},
    path::Path,
};
use serde_json::Value;

/// A refusal is a client's error of a known kind, with a sentence that is not much longer than what it is about.
pub(crate) fn is_refusal(error: &ScimError, sent: usize) {
    assert!(
        matches!(
            (error.status, error.scim_type.is_some()),
            (400, true) | (404 | 405 | 413, false)
        ),
        "no refusal of a client: {error:?}"
    );
    assert!(error.detail.ends_with('.'), "no sentence: {error:?}");
    is_within(error.detail.len(), sent, 512);
}

/// What was made of `sent` bytes has at most eight times as many, and `more`. (The longest that a byte can become in
/// JSON is `\u0000`; a number of four letters is printed with up to twenty-two.)
pub(crate) fn is_within(made: usize, sent: usize, more: usize) {
    let most = 8 * sent + more;
    assert!(
        made <= most,
        "{made} bytes were made of {sent}, and {most} would be the most"
    );
}

/// Whether two texts of JSON's grammar hold the same. Numbers with a fraction may differ in their last bit, which
/// serde_json does not promise to read, and which no attribute here has.
pub(crate) fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|((one_name, one), (other_name, other))| {
                        one_name == other_name && is_same(one, other)
                    })
        }
        (Value::Number(one), Value::Number(other)) => match (one.as_f64(), other.as_f64()) {
            (Some(one), Some(other)) => (one - other).abs() <= one.abs() * 1e-15,
            _ => one == other,
        },
        (one, other) => one == other,
    }
}

/// Whether two filters ask the same; of numbers see [`is_same`].
pub(crate) fn is_same_filter(one: &Filter, other: &Filter) -> bool {
    let all = |one: &[Filter], other: &[Filter]| {
        one.len() == other.len()
            && one
                .iter()
                .zip(other)
                .all(|(one, other)| is_same_filter(one, other))
    };
    match (one, other) {
        (Filter::And(one), Filter::And(other)) | (Filter::Or(one), Filter::Or(other)) => {
            all(one, other)
        }
        (Filter::Not(one), Filter::Not(other)) => is_same_filter(one, other),
        (Filter::Element(one_path, one), Filter::Element(other_path, other)) => {
            one_path == other_path && is_same_filter(one, other)
        }
        (
            Filter::Compare(one_path, one_operator, Literal::Number(one)),
            Filter::Compare(other_path, other_operator, Literal::Number(other)),
        ) => {
            let (one, other) = (Value::Number(one.clone()), Value::Number(other.clone()));
            one_path == other_path && one_operator == other_operator && is_same(&one, &other)
        }
        (one, other) => one == other,
    }
}

/// Whether two paths name the same; of numbers see [`is_same`].
pub(crate) fn is_same_path(one: &Path, other: &Path) -> bool {
    one.attribute == other.attribute
        && one.sub == other.sub
        && match (&one.filter, &other.filter) {
            (Some(one), Some(other)) => is_same_filter(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
}

/// The value, of a call that was tried before or can't fail.
pub(crate) fn good<T, E: std::fmt::Debug>(outcome: Result<T, E>, what: &str) -> T {
    match outcome {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error:?}"),
    }
}
