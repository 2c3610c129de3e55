//! Bulk requests (RFC 7644 section 3.7): reading the message, and the references between its operations.

mod references;
mod schedule;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

pub use self::schedule::{Schedule, Step};
use crate::{ScimError, patch::PATCH_SCHEMA, resource::schemas_of};

/// The URN of the bulk request.
pub const REQUEST_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
/// The URN of its answer.
pub const RESPONSE_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";

/// A bulk request.
#[derive(Clone, Debug, PartialEq)]
pub struct Bulk {
    /// After how many errors to stop; none to run everything.
    pub fail_on_errors: Option<usize>,
    /// The operations, in the order they were written.
    pub operations: Vec<Operation>,
}

/// One operation of a bulk request. What is wrong with it is its own error and not the request's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Operation {
    /// The method, as it was written.
    pub method: String,
    /// What other operations call what this one makes.
    pub bulk_id: Option<String>,
    /// The version that the resource must be at.
    pub version: Option<String>,
    /// The path below the Site URL.
    pub path: String,
    /// The body of the operation.
    pub data: Value,
}

/// Reads a bulk request of at most so many operations.
pub fn parse(body: Value, max_operations: usize) -> Result<Bulk, ScimError> {
    let Value::Object(body) = body else {
        return Err(ScimError::invalid_syntax("The body must be a JSON object."));
    };
    if !schemas_of(&body)?
        .iter()
        .any(|urn| urn.eq_ignore_ascii_case(REQUEST_SCHEMA))
    {
        return Err(ScimError::invalid_syntax(format!(
            "\"schemas\" must contain {REQUEST_SCHEMA:?}."
        )));
    }
    let (mut operations, mut fail_on_errors) = (None, None);
    for (name, value) in body {
        match (name.to_ascii_lowercase().as_str(), value) {
            ("operations", Value::Array(list)) => operations = Some(list),
            ("failonerrors", Value::Null) => {}
            ("failonerrors", value) => {
                let errors = value.as_u64().ok_or_else(|| {
                    ScimError::invalid_value("failOnErrors must be a whole number, 0 or more.")
                })?;
                // Who accepts no error stops at the first, as who stops after one.
                fail_on_errors = Some(usize::try_from(errors).unwrap_or(usize::MAX).max(1));
            }
            _ => {}
        }
    }
    let operations = operations
        .filter(|operations| !operations.is_empty())
        .ok_or_else(|| {
            ScimError::invalid_syntax("\"Operations\" must be a list with at least one operation.")
        })?;
    if operations.len() > max_operations {
        return Err(ScimError::new(
            413,
            format!(
                "A bulk request may hold at most {max_operations} operations (maxOperations); this one \
                 holds {}.",
                operations.len()
            ),
        ));
    }
    Ok(Bulk {
        fail_on_errors,
        operations: operations
            .into_iter()
            .enumerate()
            .map(|(index, one)| read(index, one))
            .collect::<Result<_, _>>()?,
    })
}

fn read(index: usize, operation: Value) -> Result<Operation, ScimError> {
    let refused = |what: &str| ScimError::invalid_syntax(format!("Operations[{index}]: {what}."));
    let Value::Object(parts) = operation else {
        return Err(refused("must be an object"));
    };
    let (mut read, mut method, mut path) = (Operation::default(), None, None);
    for (name, part) in parts {
        match (name.to_ascii_lowercase().as_str(), part) {
            ("method", Value::String(text)) => method = Some(text),
            ("path", Value::String(text)) => path = Some(text),
            ("bulkid" | "version", Value::Null) => {}
            ("bulkid", Value::String(text)) => {
                read.bulk_id = Some(text).filter(|id| !id.is_empty())
            }
            ("version", Value::String(text)) => read.version = Some(text),
            ("bulkid" | "version", _) => {
                return Err(refused("\"bulkId\" and \"version\" must be texts"));
            }
            ("data", data) => read.data = data,
            _ => {}
        }
    }
    read.method = method.ok_or_else(|| refused("needs a \"method\""))?;
    read.path = path.ok_or_else(|| refused("needs a \"path\""))?;
    // The RFC's own example has a PATCH with the bare list of operations.
    if read.method.eq_ignore_ascii_case("PATCH") && read.data.is_array() {
        read.data = json!({"schemas": [PATCH_SCHEMA], "Operations": read.data});
    }
    Ok(read)
}

impl Operation {
    /// Whether it makes a resource.
    pub fn makes(&self) -> bool {
        self.method.eq_ignore_ascii_case("POST")
    }

    /// The ids of other operations that it refers to, in its path and its data.
    pub fn references(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut copy = self.clone();
        copy.replace(&mut |id| {
            found.insert(id.to_owned());
            None
        });
        found
    }

    /// Puts in the place of each reference what `id_of` knows for it; what it does not know stays.
    pub fn replace(&mut self, id_of: &mut dyn FnMut(&str) -> Option<String>) {
        references::replace_in_path(&mut self.path, id_of);
        references::replace(&mut self.data, "", id_of);
    }

    /// The operation without what refers to ids that `is_open`: attributes and entries of lists.
    pub fn without(&self, is_open: &dyn Fn(&str) -> bool) -> Self {
        Self {
            data: references::without(&self.data, is_open),
            ..self.clone()
        }
    }

    /// Its entry in the answer, without an outcome.
    pub fn entry(&self) -> Map<String, Value> {
        let mut entry = Map::from_iter([("method".to_owned(), json!(self.method))]);
        if let Some(bulk_id) = &self.bulk_id {
            entry.insert("bulkId".to_owned(), json!(bulk_id));
        }
        entry
    }
}

/// The answer: what became of each operation that was run.
pub fn response(operations: Vec<Value>) -> Value {
    json!({"schemas": [RESPONSE_SCHEMA], "Operations": operations})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScimType;

    fn bulk(mut body: Value) -> Result<Bulk, ScimError> {
        body["schemas"] = json!([REQUEST_SCHEMA]);
        parse(body, 3)
    }

    #[test]
    fn a_request_is_read_in_any_case() {
        let read = bulk(json!({
            "FailOnErrors": 2,
            "operations": [
                {"METHOD": "post", "path": "/Users", "bulkid": "a", "data": {"userName": "x"}},
                {"method": "PATCH", "path": "/Users/1", "version": "W/\"1\"", "data": [{"op": "remove"}]},
                {"method": "DELETE", "path": "/Users/2", "bulkId": null, "x": 1},
            ],
        }))
        .unwrap();
        assert_eq!(read.fail_on_errors, Some(2));
        let [post, patch, delete] = read.operations.as_slice() else {
            panic!("{read:?}")
        };
        assert!(post.makes() && !patch.makes());
        assert_eq!(post.bulk_id.as_deref(), Some("a"));
        assert_eq!(patch.data["schemas"], json!([PATCH_SCHEMA]));
        assert_eq!(patch.version.as_deref(), Some("W/\"1\""));
        assert_eq!((&delete.bulk_id, &delete.data), (&None, &Value::Null));
    }

    #[test]
    fn who_accepts_no_error_stops_at_the_first() {
        let one = json!({"method": "DELETE", "path": "/Users/1"});
        for (written, most) in [
            (json!(0), Some(1)),
            (json!(1), Some(1)),
            (json!(null), None),
        ] {
            let read = bulk(json!({"Operations": [one], "failOnErrors": written})).unwrap();
            assert_eq!(read.fail_on_errors, most);
        }
    }

    #[test]
    fn what_is_no_bulk_request_is_refused_whole() {
        let one = json!({"method": "DELETE", "path": "/Users/1"});
        for body in [
            json!({}),
            json!({"Operations": []}),
            json!({"Operations": {}}),
            json!({"Operations": [1]}),
            json!({"Operations": [{"method": "DELETE"}]}),
            json!({"Operations": [{"path": "/Users"}]}),
            json!({"Operations": [{"method": 1, "path": "/Users"}]}),
            json!({"Operations": [{"method": "POST", "path": "/Users", "bulkId": 1}]}),
        ] {
            let error = bulk(body.clone()).unwrap_err();
            assert_eq!(error.scim_type, Some(ScimType::InvalidSyntax), "{body}");
        }
        for number in [json!(-1), json!(1.5), json!("1")] {
            let error = bulk(json!({"Operations": [one], "failOnErrors": number})).unwrap_err();
            assert_eq!(error.scim_type, Some(ScimType::InvalidValue));
        }
        assert!(parse(json!({"Operations": [one]}), 3).is_err());
        let error = bulk(json!({"Operations": [one, one, one, one]})).unwrap_err();
        assert_eq!(error.status, 413);
        assert!(error.detail.contains("maxOperations"));
    }
}
