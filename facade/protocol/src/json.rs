//! Reading a request body: JSON as SCIM needs it.
//!
//! Besides what serde_json refuses, a body may not nest deeper than [`MAX_DEPTH`] and may not name one
//! attribute twice, in whatever case: attribute names are case-insensitive (RFC 7643 section 2.1), and
//! which of the two was meant nobody can tell. Nor may it hold more values than any real one does: what has
//! been read takes far more memory than its text, a small object eighty times as much.

use std::{cell::Cell, collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::ScimError;

/// How deep arrays and objects may nest.
pub const MAX_DEPTH: usize = 64;

/// How many objects a body may hold: more than a group's members may be.
pub const MAX_OBJECTS: usize = 600_000;

/// How many values of all kinds a body may hold.
pub const MAX_VALUES: usize = 4_000_000;

/// Reads a body, or says what is wrong with it (400 `invalidSyntax`, or 413 where it holds too much).
pub fn read(body: &[u8]) -> Result<Value, ScimError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(ScimError::invalid_syntax(
            "The request has no body; a JSON object is expected.",
        ));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let left = Left {
        objects: Cell::new(MAX_OBJECTS),
        values: Cell::new(MAX_VALUES),
    };
    let root = Node {
        depth: 0,
        left: &left,
    };
    root.deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| match (left.objects.get(), left.values.get()) {
            (0, _) => too_many(MAX_OBJECTS, "objects"),
            (_, 0) => too_many(MAX_VALUES, "values"),
            _ => ScimError::invalid_syntax(format!("The body is not valid JSON: {error}.")),
        })
}

fn too_many(limit: usize, what: &str) -> ScimError {
    ScimError::new(413, format!("A body may hold at most {limit} {what}."))
}

/// How many more objects and values there may be. An error at zero says that one more came.
struct Left {
    objects: Cell<usize>,
    values: Cell<usize>,
}

/// Counts one more.
fn count<E: serde::de::Error>(left: &Cell<usize>) -> Result<(), E> {
    match left.get() {
        0 => Err(E::custom("too many")),
        more => {
            left.set(more - 1);
            Ok(())
        }
    }
}

/// Reads one value that stands at a depth.
struct Node<'a> {
    depth: usize,
    left: &'a Left,
}

impl Node<'_> {
    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format_args!(
                "nested deeper than {MAX_DEPTH} levels"
            )));
        }
        Ok(Self {
            depth: self.depth + 1,
            left: self.left,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        count(&self.left.values)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(self.deeper()?)? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        count(&self.left.objects)?;
        let mut map = Map::new();
        let mut seen = HashSet::new();
        while let Some(name) = entries.next_key::<String>()? {
            if !seen.insert(name.to_ascii_lowercase()) {
                return Err(A::Error::custom(format_args!("{name:?} is given twice")));
            }
            let value = entries.next_value_seed(self.deeper()?)?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ScimType;

    fn refused(body: &[u8]) -> String {
        let error = read(body).unwrap_err();
        assert_eq!(
            (error.status, error.scim_type),
            (400, Some(ScimType::InvalidSyntax))
        );
        error.detail
    }

    #[test]
    fn reads_what_is_json() {
        assert_eq!(
            read(br#" {"a": [1, -2, 0.5, true, null, "\u00e9\ud83d\ude00"]} "#).unwrap(),
            json!({"a": [1, -2, 0.5, true, null, "é😀"]})
        );
    }

    /// Conformance: 8.
    #[test]
    fn refuses_what_is_not() {
        for body in [
            &b""[..],
            b"  ",
            b"{",
            b"{} {}",
            b"nonsense",
            b"{\"a\":1e999}",
            b"\"\\ud800\"",
            b"\"\xff\"",
            b"{\"\xc3\x28\":1}",
            b"{'a':1}",
        ] {
            refused(body);
        }
    }

    /// Conformance: 13.
    #[test]
    fn refuses_depth_without_using_the_stack() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(read(&nested(MAX_DEPTH)).is_ok());
        assert!(refused(&nested(MAX_DEPTH + 1)).contains("64"));
        refused(&vec![b'['; 1_000_000]);
        refused("{\"a\":".repeat(1_000_000).as_bytes());
    }

    /// Conformance: 13.
    #[test]
    fn refuses_more_than_any_real_body_holds() {
        let list =
            |one: &str, count: usize| format!("[{}{one}]", format!("{one},").repeat(count - 1));
        let refused = |body: String| {
            let error = read(body.as_bytes()).unwrap_err();
            assert_eq!((error.status, error.scim_type), (413, None));
            error.detail
        };
        assert!(read(list("{}", MAX_OBJECTS - 1).as_bytes()).is_ok());
        assert!(refused(list("{}", MAX_OBJECTS + 1)).contains("600000 objects"));
        assert!(refused(list("[0]", MAX_VALUES / 2 + 1)).contains("4000000 values"));
    }

    /// Conformance: 10.
    #[test]
    fn refuses_one_name_twice_in_any_case() {
        assert!(refused(br#"{"a":1,"a":1}"#).contains("\"a\" is given twice"));
        refused(br#"{"x":[{"userName":"a","USERNAME":"b"}]}"#);
    }
}
