//! The query of a request (RFC 7644 section 3.4.2). Unknown parameters are ignored.

use crate::{ScimError, attributes::Projection, filter::Filter};

/// What a query asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// Which resources.
    pub filter: Option<Filter>,
    /// The first one wanted, from 1.
    pub start_index: i64,
    /// How many at the most; 0 counts only.
    pub count: Option<i64>,
    /// What of each.
    pub projection: Projection,
}

impl Query {
    /// Reads what stands after the question mark.
    pub fn parse(raw: &str) -> Result<Self, ScimError> {
        let (mut filter, mut start_index, mut count) = (None, None, None);
        let (mut attributes, mut excluded) = (None, None);
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // A misspelt `Filter` that went unheard would list everybody.
            let slot = match decode(name)?.to_ascii_lowercase().as_str() {
                "filter" => &mut filter,
                "startindex" => &mut start_index,
                "count" => &mut count,
                "attributes" => &mut attributes,
                "excludedattributes" => &mut excluded,
                _ => continue,
            };
            if slot.replace(decode(value)?).is_some() {
                return Err(ScimError::invalid_value(format!(
                    "The query parameter {name} is given twice."
                )));
            }
        }
        Ok(Self {
            filter: filter.map(|text| Filter::parse(&text)).transpose()?,
            start_index: integer("startIndex", start_index.as_deref())?
                .unwrap_or(1)
                .max(1),
            count: integer("count", count.as_deref())?.map(|count| count.max(0)),
            projection: Projection::new(attributes.as_deref(), excluded.as_deref())?,
        })
    }
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

    use super::*;
    use crate::ScimType;

    fn parse(raw: &str) -> Query {
        Query::parse(raw).unwrap_or_else(|error| panic!("{raw}: {error}"))
    }

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
            assert_eq!((query.start_index, query.count), (1, Some(100)));
        }
    }

    #[test]
    fn counters_are_brought_into_range_or_refused() {
        assert_eq!(
            parse(""),
            Query {
                start_index: 1,
                ..Query::default()
            }
        );
        assert_eq!(parse("startIndex=-5&count=-1").start_index, 1);
        assert_eq!(parse("startIndex=-5&count=-1").count, Some(0));
        assert_eq!(
            parse("startIndex=99999999999999999999").start_index,
            i64::MAX
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

    proptest! {
        #[test]
        fn no_query_makes_it_panic(raw in any::<String>()) {
            let _outcome = Query::parse(&raw);
        }
    }
}
