//! Between the contract's types and ours, where every resource needs the same.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use prost_types::{FieldMask, Timestamp};

use crate::{
    error::{Error, Kind},
    filter::Page,
};

/// The most rows that a page may ask for.
pub(crate) const PAGE_SIZE_MAX: i32 = 1000;
/// How many rows a page has where nothing was asked.
pub(crate) const PAGE_SIZE_DEFAULT: i64 = 100;
/// How many rows a list has where nothing was asked that is mostly wanted whole: roles, business entities.
pub(crate) const WHOLE: i64 = 10_000;

pub(crate) fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: at.timestamp(),
        nanos: at.timestamp_subsec_nanos() as i32,
    }
}

/// The moments that protobuf's own Timestamp goes over, in seconds since 1970: the years 1 to 9999. What is written
/// beyond them no other language reads, nor JSON that PostgreSQL writes.
const MOMENTS: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// A moment that a caller names.
pub(crate) fn moment(at: &Timestamp, field: &'static str) -> Result<DateTime<Utc>, Error> {
    u32::try_from(at.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000 && MOMENTS.contains(&at.seconds))
        .and_then(|nanos| DateTime::from_timestamp(at.seconds, nanos))
        .ok_or_else(|| Error::invalid(field, "is not a moment of the years 1 to 9999"))
}

/// The size of a page, from `lowest` to [`PAGE_SIZE_MAX`]; `default` where none was asked.
pub(crate) fn page_size(asked: Option<i32>, lowest: i32, default: i64) -> Result<i64, Error> {
    let Some(size) = asked else {
        return Ok(default);
    };
    if (lowest..=PAGE_SIZE_MAX).contains(&size) {
        return Ok(i64::from(size));
    }
    Err(Error::invalid(
        "page_size",
        format!("is {size}; it goes from {lowest} to {PAGE_SIZE_MAX}"),
    ))
}

/// The paths of an update mask, each one of `known`.
pub(crate) fn mask<'a>(mask: Option<&'a FieldMask>, known: &[&str]) -> Result<Vec<&'a str>, Error> {
    let paths: Vec<&str> = mask
        .map(|mask| mask.paths.iter().map(String::as_str).collect())
        .unwrap_or_default();
    for path in &paths {
        if !known.contains(path) {
            return Err(Error::invalid(
                "update_mask",
                format!("names \"{path}\"; it may name {}", known.join(", ")),
            ));
        }
    }
    Ok(paths)
}

/// An id that must be there; what is no UUID is nobody's.
pub(crate) fn id<T>(text: &str, parse: impl Fn(&str) -> Option<T>, kind: Kind) -> Result<T, Error> {
    parse(text).ok_or(Error::NotFound(kind))
}

/// Whether `version` is one that the caller expects; any is where it named none.
pub(crate) fn check_version(version: i64, expected: &[i64]) -> Result<(), Error> {
    if expected.is_empty() || expected.contains(&version) {
        return Ok(());
    }
    Err(Error::VersionMismatch { version })
}

/// JSON as a protobuf struct; what is no object is an empty one.
pub(crate) fn to_struct(value: serde_json::Value) -> prost_types::Struct {
    match value {
        serde_json::Value::Object(fields) => prost_types::Struct {
            fields: fields
                .into_iter()
                .map(|(name, value)| (name, to_value(value)))
                .collect(),
        },
        _ => prost_types::Struct::default(),
    }
}

fn to_value(value: serde_json::Value) -> prost_types::Value {
    use prost_types::value::Kind as K;
    let kind = match value {
        serde_json::Value::Null => K::NullValue(0),
        serde_json::Value::Bool(value) => K::BoolValue(value),
        serde_json::Value::Number(value) => K::NumberValue(value.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(value) => K::StringValue(value),
        serde_json::Value::Array(values) => K::ListValue(prost_types::ListValue {
            values: values.into_iter().map(to_value).collect(),
        }),
        object @ serde_json::Value::Object(_) => K::StructValue(to_struct(object)),
    };
    prost_types::Value { kind: Some(kind) }
}

/// Where a page begins: by a number of rows to pass over, or by a token; never by both.
pub(crate) fn page(skip: i64, token: &str) -> Result<Page, Error> {
    match (skip, token) {
        (..0, _) => Err(Error::invalid("skip", "must not be negative")),
        (skip, "") => Ok(Page::Skip(skip)),
        (0, token) => Ok(Page::After(token.to_owned())),
        _ => Err(Error::invalid(
            "skip",
            "can't be given together with page_token",
        )),
    }
}
