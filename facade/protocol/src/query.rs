//! What a client asks of a list (RFC 7644 sections 3.4.2 and 3.4.3): in the query of a URL, or in the body of a
//! `.search`. Unknown parameters are ignored.

use serde_json::{Map, Value};

use crate::{
    ScimError, ScimType, attributes::Projection, filter::Filter, path::AttrPath,
    resource::schemas_of,
};

/// The URN of the search message.
pub const SEARCH_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

/// What a query asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// Which resources.
    pub filter: Option<Filter>,
    /// In which order; in that of the service where it is none.
    pub sort: Option<Sort>,
    /// Which of them.
    pub page: Page,
    /// What of each.
    pub projection: Projection,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// The attribute.
    pub by: AttrPath,
    /// Whether the greatest comes first.
    pub descending: bool,
}

/// A part of a list. `count` is how many at the most; none leaves it to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// From a number on.
    Index {
        /// The first one wanted, from 1.
        start: i64,
        /// How many; 0 counts only.
        count: Option<i64>,
    },
    /// From a cursor on (RFC 9865).
    Cursor {
        /// The cursor; empty for the first page.
        cursor: String,
        /// How many, 1 or more.
        count: Option<i64>,
    },
}

impl Default for Page {
    fn default() -> Self {
        Self::Index {
            start: 1,
            count: None,
        }
    }
}

/// The parameters as they came, whichever way they came.
#[derive(Debug, Default)]
struct Parameters {
    filter: Option<String>,
    sort_by: Option<String>,
    sort_order: Option<String>,
    start_index: Option<String>,
    count: Option<String>,
    cursor: Option<String>,
    attributes: Option<String>,
    excluded: Option<String>,
}

impl Parameters {
    /// The place of a parameter. In any case: a misspelt `Filter` that went unheard would list everybody.
    fn slot(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name.to_ascii_lowercase().as_str() {
            "filter" => &mut self.filter,
            "sortby" => &mut self.sort_by,
            "sortorder" => &mut self.sort_order,
            "startindex" => &mut self.start_index,
            "count" => &mut self.count,
            "cursor" => &mut self.cursor,
            "attributes" => &mut self.attributes,
            "excludedattributes" => &mut self.excluded,
            _ => return None,
        })
    }
}

impl Query {
    /// Reads what stands after the question mark.
    pub fn parse(raw: &str) -> Result<Self, ScimError> {
        let mut parameters = Parameters::default();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(slot) = parameters.slot(&decode(name)?) else {
                continue;
            };
            if slot.replace(decode(value)?).is_some() {
                return Err(ScimError::invalid_value(format!(
                    "The query parameter {name} is given twice."
                )));
            }
        }
        Self::of(&parameters)
    }

    /// Reads the body of a `.search`.
    pub fn from_search(body: Value) -> Result<Self, ScimError> {
        let Value::Object(body) = body else {
            return Err(ScimError::invalid_syntax("The body must be a JSON object."));
        };
        if !schemas_of(&body)?
            .iter()
            .any(|urn| urn.eq_ignore_ascii_case(SEARCH_SCHEMA))
        {
            return Err(ScimError::invalid_syntax(format!(
                "\"schemas\" must contain {SEARCH_SCHEMA:?}."
            )));
        }
        Self::of(&searched(body)?)
    }

    fn of(parameters: &Parameters) -> Result<Self, ScimError> {
        Ok(Self {
            filter: parameters
                .filter
                .as_deref()
                .map(Filter::parse)
                .transpose()?,
            sort: sort(parameters)?,
            page: page(parameters)?,
            projection: Projection::new(
                parameters.attributes.as_deref(),
                parameters.excluded.as_deref(),
            )?,
        })
    }
}

fn searched(body: Map<String, Value>) -> Result<Parameters, ScimError> {
    let mut parameters = Parameters::default();
    for (name, value) in body {
        let Some(slot) = parameters.slot(&name) else {
            continue;
        };
        let lower = name.to_ascii_lowercase();
        *slot = match value {
            Value::Null => None,
            Value::String(text) => Some(text),
            Value::Number(number) if ["startindex", "count"].contains(&lower.as_str()) => {
                Some(number.to_string())
            }
            Value::Array(names) if lower.ends_with("attributes") => {
                let names: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
                let names = names.ok_or_else(|| {
                    ScimError::invalid_value(format!("{name} must be a list of names."))
                })?;
                Some(names.join(","))
            }
            _ => {
                return Err(ScimError::invalid_value(format!(
                    "{name} has a value of the wrong kind."
                )));
            }
        };
    }
    Ok(parameters)
}

/// A parameter that says something.
fn said(parameter: &Option<String>) -> Option<&str> {
    let text = parameter.as_deref()?.trim();
    (!text.is_empty()).then_some(text)
}

fn sort(parameters: &Parameters) -> Result<Option<Sort>, ScimError> {
    let order = said(&parameters.sort_order).map(str::to_ascii_lowercase);
    let descending = match order.as_deref() {
        None | Some("ascending") => false,
        Some("descending") => true,
        Some(_) => {
            return Err(ScimError::invalid_value(
                "sortOrder must be ascending or descending.",
            ));
        }
    };
    let Some(text) = said(&parameters.sort_by) else {
        return Ok(None);
    };
    let by = AttrPath::parse(text)
        .ok_or_else(|| ScimError::invalid_value(format!("sortBy: {text:?} is no attribute.")))?;
    Ok(Some(Sort { by, descending }))
}

fn page(parameters: &Parameters) -> Result<Page, ScimError> {
    let start = integer("startIndex", parameters.start_index.as_deref())?;
    let count = integer("count", parameters.count.as_deref());
    let Some(cursor) = &parameters.cursor else {
        return Ok(Page::Index {
            start: start.unwrap_or(1).max(1),
            count: count?.map(|count| count.max(0)),
        });
    };
    if start.is_some() {
        return Err(ScimError::invalid_value(
            "cursor and startIndex exclude each other; send one of them.",
        ));
    }
    match count {
        Ok(None) => {}
        Ok(Some(count)) if count > 0 => {}
        Ok(Some(_)) | Err(_) => {
            return Err(ScimError::bad_request(
                ScimType::InvalidCount,
                "With a cursor count must be a whole number, 1 or more.",
            ));
        }
    }
    Ok(Page::Cursor {
        cursor: cursor.trim().to_owned(),
        count: count?,
    })
}

/// A whole number of any size; what lies beyond an `i64` counts as its end.
fn integer(name: &str, text: Option<&str>) -> Result<Option<i64>, ScimError> {
    let Some(text) = text.map(str::trim) else {
        return Ok(None);
    };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ScimError::invalid_value(format!(
            "{name} must be a whole number."
        )));
    }
    let size = digits.parse().unwrap_or(i64::MAX);
    Ok(Some(if negative { -size } else { size }))
}

/// Undoes percent-encoding, and `+` for a space (OneLogin).
fn decode(text: &str) -> Result<String, ScimError> {
    let malformed = || ScimError::invalid_value("The query is not percent-encoded UTF-8.");
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || {
                    bytes
                        .next()
                        .and_then(|byte| char::from(byte).to_digit(16))
                        .and_then(|digit| u8::try_from(digit).ok())
                        .ok_or_else(malformed)
                };
                digit()? * 16 + digit()?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(raw: &str) -> Query {
        Query::parse(raw).unwrap_or_else(|error| panic!("{raw}: {error}"))
    }

    fn index(start: i64, count: Option<i64>) -> Page {
        Page::Index { start, count }
    }

    fn search(mut body: Value) -> Result<Query, ScimError> {
        body["schemas"] = json!([SEARCH_SCHEMA]);
        Query::from_search(body)
    }

    /// Conformance: 9, 12.
    #[test]
    fn okta_and_onelogin_ask_like_this() {
        let wanted = Filter::parse("userName eq \"a+b@c\"").unwrap();
        for raw in [
            "filter=userName%20eq%20%22a%2Bb%40c%22&startIndex=1&count=100",
            "filter=userName+eq+%22a%2bb@c%22&count=100&",
            "&FILTER=userName+eq+%22a%2bb@c%22&count=100&nonsense&x=%zz",
        ] {
            // An unknown parameter may hold anything.
            let query = parse(raw);
            assert_eq!(query.filter, Some(wanted.clone()), "{raw}");
            assert_eq!(query.page, index(1, Some(100)));
        }
    }

    /// Conformance: 57, 58.
    #[test]
    fn counters_are_brought_into_range_or_refused() {
        assert_eq!(parse(""), Query::default());
        assert_eq!(parse("").page, index(1, None));
        assert_eq!(parse("startIndex=-5&count=-1").page, index(1, Some(0)));
        assert_eq!(
            parse("startIndex=99999999999999999999").page,
            index(i64::MAX, None)
        );
        for raw in [
            "startIndex=x",
            "startIndex=1.5",
            "startIndex=",
            "count=ten",
            "count=-",
        ] {
            assert_eq!(
                Query::parse(raw).unwrap_err().scim_type,
                Some(ScimType::InvalidValue)
            );
        }
    }

    #[test]
    fn what_can_not_be_understood_is_refused() {
        for raw in ["filter=", "filter=%20", "filter=x"] {
            assert_eq!(
                Query::parse(raw).unwrap_err().scim_type,
                Some(ScimType::InvalidFilter)
            );
        }
        for raw in [
            "filter=%2",
            "filter=%GG",
            "filter=%ff",
            "filter=a+pr&filter=a+pr",
        ] {
            assert_eq!(
                Query::parse(raw).unwrap_err().scim_type,
                Some(ScimType::InvalidValue)
            );
        }
    }

    /// Conformance: 63, 64.
    #[test]
    fn an_order_is_ascending_unless_it_says_otherwise() {
        let sorted = |raw: &str| {
            parse(raw)
                .sort
                .map(|sort| (sort.by.to_string(), sort.descending))
        };
        assert_eq!(sorted("sortOrder=descending"), None);
        assert_eq!(sorted("sortBy="), None);
        assert_eq!(
            sorted("sortBy=userName"),
            Some(("userName".to_owned(), false))
        );
        assert_eq!(
            sorted("SORTBY=name.familyName&sortOrder=Descending"),
            Some(("name.familyName".to_owned(), true))
        );
        for raw in [
            "sortBy=userName&sortOrder=down",
            "sortBy=a%20b",
            "sortBy=a.b.c",
        ] {
            let error = Query::parse(raw).unwrap_err();
            assert_eq!(error.scim_type, Some(ScimType::InvalidValue), "{raw}");
        }
    }

    #[test]
    fn a_cursor_is_another_way_to_page() {
        let cursor = |cursor: &str, count| Page::Cursor {
            cursor: cursor.to_owned(),
            count,
        };
        assert_eq!(parse("cursor").page, cursor("", None));
        assert_eq!(parse("cursor=&count=3").page, cursor("", Some(3)));
        assert_eq!(parse("cursor=abc").page, cursor("abc", None));
        let refused = |raw: &str| Query::parse(raw).unwrap_err().scim_type;
        for raw in ["cursor=&count=0", "cursor=x&count=-1", "cursor=x&count=ten"] {
            assert_eq!(refused(raw), Some(ScimType::InvalidCount), "{raw}");
        }
        assert_eq!(
            refused("cursor=&startIndex=1"),
            Some(ScimType::InvalidValue)
        );
    }

    #[test]
    fn a_search_asks_as_a_query_does() {
        let searched = search(json!({
            "attributes": ["userName", "name.givenName"], "FILTER": "userName sw \"a\"",
            "sortBy": "userName", "sortOrder": "descending", "startIndex": 3, "count": 2, "x": {},
        }));
        assert_eq!(
            searched.unwrap(),
            parse(
                "attributes=userName,name.givenName&filter=userName%20sw%20%22a%22\
                 &sortBy=userName&sortOrder=descending&startIndex=3&count=2"
            )
        );
        assert_eq!(
            search(json!({"cursor": "", "count": null})).unwrap(),
            parse("cursor")
        );
        for (body, scim_type) in [
            (json!({"count": "x"}), ScimType::InvalidValue),
            (json!({"count": 1.5}), ScimType::InvalidValue),
            (json!({"filter": 1}), ScimType::InvalidValue),
            (json!({"filter": ["a pr"]}), ScimType::InvalidValue),
            (json!({"filter": "x"}), ScimType::InvalidFilter),
            (json!({"attributes": [1]}), ScimType::InvalidValue),
            (
                json!({"attributes": [], "excludedAttributes": []}),
                ScimType::InvalidValue,
            ),
        ] {
            assert_eq!(
                search(body.clone()).unwrap_err().scim_type,
                Some(scim_type),
                "{body}"
            );
        }
        for body in [json!({}), json!([]), json!({"schemas": ["urn:x"]})] {
            let error = Query::from_search(body).unwrap_err();
            assert_eq!(error.scim_type, Some(ScimType::InvalidSyntax));
        }
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(raw in any::<String>()) {
            let _outcome = Query::parse(&raw);
        }
    }
}
