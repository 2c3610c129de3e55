//! `bulkId:` references. A text that begins so is one, wherever it stands in the data; so is a step of a path,
//! and a quoted text in the path of a PATCH (`members[value eq "bulkId:x"]`).

use serde_json::{Map, Value};

use crate::filter::text_end;

const MARK: &str = "bulkId:";

/// Puts ids into a path below the Site URL.
pub(super) fn replace_in_path(path: &mut String, id_of: &mut dyn FnMut(&str) -> Option<String>) {
    if !path.contains(MARK) {
        return;
    }
    let (steps, query) = match path.split_once('?') {
        Some((steps, query)) => (steps, Some(query)),
        None => (path.as_str(), None),
    };
    let steps: Vec<String> = steps
        .split('/')
        .map(|step| {
            let id = step.strip_prefix(MARK).and_then(&mut *id_of);
            id.unwrap_or_else(|| step.to_owned())
        })
        .collect();
    let mut replaced = steps.join("/");
    if let Some(query) = query {
        replaced = format!("{replaced}?{query}");
    }
    *path = replaced;
}

/// Puts ids into a value that stands under `name`.
pub(super) fn replace(
    value: &mut Value,
    name: &str,
    id_of: &mut dyn FnMut(&str) -> Option<String>,
) {
    match value {
        Value::String(text) => {
            if let Some(id) = text.strip_prefix(MARK) {
                if let Some(id) = id_of(id) {
                    *text = id;
                }
            } else if name.eq_ignore_ascii_case("path") && text.contains(MARK) {
                *text = replace_quoted(text, id_of);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                replace(element, "", id_of);
            }
        }
        Value::Object(parts) => {
            for (name, part) in parts {
                replace(part, name, id_of);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The quoted texts of a path are JSON's; between them nothing refers to anything.
fn replace_quoted(text: &str, id_of: &mut dyn FnMut(&str) -> Option<String>) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('"') {
        let (before, quoted) = rest.split_at(start);
        let Some(end) = text_end(quoted) else { break };
        let (quoted, after) = quoted.split_at(end);
        let text: Option<String> = serde_json::from_str(quoted).ok();
        let id = text.and_then(|text| id_of(text.strip_prefix(MARK)?));
        replaced.push_str(before);
        match id {
            Some(id) => replaced.push_str(&Value::from(id).to_string()),
            None => replaced.push_str(quoted),
        }
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

/// The value without what refers to open ids: an attribute goes, and an entry of a list that had one.
pub(super) fn without(value: &Value, is_open: &dyn Fn(&str) -> bool) -> Value {
    let refers = |value: &Value| {
        value
            .as_str()
            .and_then(|text| text.strip_prefix(MARK))
            .is_some_and(is_open)
    };
    match value {
        Value::Array(elements) => elements
            .iter()
            .filter(|element| {
                let parts = element.as_object().into_iter().flat_map(Map::values);
                !refers(element) && !parts.into_iter().any(refers)
            })
            .map(|element| without(element, is_open))
            .collect(),
        Value::Object(parts) => parts
            .iter()
            .filter(|(_, part)| !refers(part))
            .map(|(name, part)| (name.clone(), without(part, is_open)))
            .collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use crate::bulk::Operation;

    fn operation() -> Operation {
        Operation {
            method: "PATCH".to_owned(),
            path: "/Groups/bulkId:g?attributes=id".to_owned(),
            data: json!({
                "title": "about bulkId:x",
                "manager": {"value": "bulkId:m", "displayName": "M"},
                "members": [{"value": "bulkId:u"}, {"value": "known"}, "bulkId:v"],
                "Operations": [{"op": "remove", "path": "members[value eq \"bulkId:a\" or value eq \"bulkId:b\"]"}],
            }),
            ..Operation::default()
        }
    }

    #[test]
    fn references_are_found_where_they_may_stand() {
        let found: Vec<String> = operation().references().into_iter().collect();
        assert_eq!(found, ["a", "b", "g", "m", "u", "v"]);
    }

    #[test]
    fn ids_take_their_place() {
        let mut replaced = operation();
        replaced.replace(&mut |id| (id != "v").then(|| id.to_uppercase()));
        assert_eq!(replaced.path, "/Groups/G?attributes=id");
        assert_eq!(
            replaced.data,
            json!({
                "title": "about bulkId:x",
                "manager": {"value": "M", "displayName": "M"},
                "members": [{"value": "U"}, {"value": "known"}, "bulkId:v"],
                "Operations": [{"op": "remove", "path": "members[value eq \"A\" or value eq \"B\"]"}],
            })
        );
    }

    #[test]
    fn in_a_path_only_whole_texts_refer() {
        for (path, replaced) in [
            // The quote that closes a text opens none, whatever follows it.
            (
                r#"members[value eq "bulkId:a"bulkId:b"]"#,
                r#"members[value eq "A"bulkId:b"]"#,
            ),
            (r#"x[y eq "bulkId:a\"b"]"#, r#"x[y eq "A\"B"]"#),
            (r#"x[y eq "about bulkId:a"]"#, r#"x[y eq "about bulkId:a"]"#),
            (r#"x[y eq "bulkId:a"#, r#"x[y eq "bulkId:a"#),
        ] {
            let mut operation = Operation {
                data: json!({ "path": path }),
                ..Operation::default()
            };
            operation.replace(&mut |id| Some(id.to_uppercase()));
            assert_eq!(operation.data["path"], replaced);
            assert!(operation.references().is_empty());
        }
    }

    #[test]
    fn what_refers_to_nothing_yet_is_left_out() {
        let data = operation().without(&|id| id != "v").data;
        assert_eq!(data["manager"], json!({"displayName": "M"}));
        assert_eq!(data["members"], json!([{"value": "known"}, "bulkId:v"]));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(path in ".{0,40}", text in "[a\"bulkId:x/?]{0,60}") {
            let mut operation = Operation {
                data: json!({"path": text, "x": [text]}),
                path: format!("{path}{text}"),
                ..Operation::default()
            };
            let references = operation.references();
            operation.replace(&mut |_| Some("1".to_owned()));
            prop_assert!(references.is_empty() || operation.references().is_empty());
        }
    }
}
