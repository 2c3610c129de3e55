//! A path: parsed, printed and parsed again, and worked on in users and groups.

use scim_facade::offline;
use scim_protocol::{
    ScimError,
    attributes::Projection,
    patch::{Op, Operation},
    path::{AttrPath, Path},
    user::USER,
};
use serde_json::{Value, json};

use crate::{
    hold::{good, is_refusal, is_same_path, is_within},
    patch, samples,
};

/// Takes the input for a path, and for a list of attributes.
pub fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    project(text);
    let path = match Path::parse(text) {
        Ok(path) => path,
        Err(error) => return is_refusal(&error, text.len()),
    };
    print(&path, text.len());
    for operation in operations(&path) {
        work(&operation, text.len());
    }
}

fn print(path: &Path, sent: usize) {
    let printed = path.to_string();
    is_within(printed.len(), sent, 64);
    if printed.len() <= scim_protocol::filter::MAX_LENGTH {
        let again = good(Path::parse(&printed), "what was printed does not parse");
        assert!(
            is_same_path(path, &again),
            "{path:?} was printed as {printed}, which is {again:?}"
        );
    }
    // A name alone is the same to those who read only names.
    if path.filter.is_none() {
        let name = AttrPath {
            sub: path.sub.clone(),
            ..path.attribute.clone()
        };
        assert_eq!(AttrPath::parse(&printed), Some(name));
    }
}

/// What clients do at a path, with values that fit and values that do not.
fn operations(path: &Path) -> Vec<Operation> {
    let values = [
        json!("x"),
        json!(""),
        json!(true),
        json!({"value": "x", "type": "work", "primary": true, "givenName": "X"}),
        json!([{"value": "x", "type": "other"}, {"value": "u2", "formatted": "F"}]),
        Value::Null,
    ];
    let operation = |op, value: Option<&Value>| Operation {
        op,
        path: Some(path.clone()),
        value: value.cloned(),
    };
    let mut operations = vec![operation(Op::Remove, None)];
    for op in [Op::Add, Op::Replace, Op::Remove] {
        operations.extend(values.iter().map(|value| operation(op, Some(value))));
    }
    operations
}

fn work(operation: &Operation, sent: usize) {
    let one = std::slice::from_ref(operation);
    for member in samples::MEMBERS.iter() {
        patch::user(member, one, sent);
    }
    patch::group(one, sent);
}

/// Attributes that are asked for: what is shown of a user is a part of it, with its id.
fn project(text: &str) {
    for projection in [
        Projection::new(Some(text), None),
        Projection::new(None, Some(text)),
    ] {
        match projection {
            Ok(projection) => shows_a_part(&projection),
            Err(error) => is_refusal(&error, text.len()),
        }
    }
    let both: Result<_, ScimError> = Projection::new(Some(text), Some(text));
    if let Err(error) = both {
        is_refusal(&error, text.len());
    }
}

fn shows_a_part(projection: &Projection) {
    for member in samples::MEMBERS.iter() {
        let whole = offline::shown(member);
        let mut shown = whole.clone();
        projection.apply(&USER, &mut shown);
        assert_eq!(shown.get("id"), whole.get("id"));
        assert!(
            is_part(&Value::Object(shown.clone()), &Value::Object(whole)),
            "{shown:?} is no part"
        );
        let once = shown.clone();
        projection.apply(&USER, &mut shown);
        assert_eq!(shown, once, "twice is not once");
    }
}

fn is_part(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => part
            .iter()
            .all(|(name, part)| whole.get(name).is_some_and(|whole| is_part(part, whole))),
        (Value::Array(part), Value::Array(whole)) => part
            .iter()
            .all(|part| whole.iter().any(|whole| is_part(part, whole))),
        (part, whole) => part == whole,
    }
}
