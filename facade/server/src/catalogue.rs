//! `/Roles` and `/BusinessEntities`: what a user's `roles` and `entitlements` can name, read-only.
//!
//! Both lists are short, and identity gives them whole in one call: filter, order and page are worked out here.

use std::fmt::Write as _;

use axum::http::StatusCode;
use identity_proto::v1::{ListBusinessEntitiesRequest, ListRolesRequest};
use roster_folding::fold;
use scim_protocol::{
    ScimError, ScimType,
    entitlement::{BUSINESS_ENTITY, ROLE},
    moment,
    query::{Query, Sort},
    schema::{ResourceType, Target, Type},
};
use serde_json::{Map, Value};

use crate::{
    admission::Call,
    app::App,
    lists::{Slice, answer},
    refusal::Refusal,
    reply::Reply,
    translate::{catalogue as translate, query::MAX_NODES},
};

/// A resource, and its version.
type Entry = (Map<String, Value>, i64);

pub(crate) async fn roles(_app: App, call: Call) -> Result<Reply, Refusal> {
    let query = call.query()?;
    list(&query, &ROLE, all_roles(&call).await?)
}

pub(crate) async fn search_roles(_app: App, mut call: Call) -> Result<Reply, Refusal> {
    let query = call.search().await?;
    list(&query, &ROLE, all_roles(&call).await?)
}

pub(crate) async fn role(_app: App, call: Call) -> Result<Reply, Refusal> {
    one(&call, &ROLE, all_roles(&call).await?)
}

pub(crate) async fn business_entities(_app: App, call: Call) -> Result<Reply, Refusal> {
    let query = call.query()?;
    list(&query, &BUSINESS_ENTITY, all_entities(&call).await?)
}

pub(crate) async fn search_business_entities(_app: App, mut call: Call) -> Result<Reply, Refusal> {
    let query = call.search().await?;
    list(&query, &BUSINESS_ENTITY, all_entities(&call).await?)
}

/// A part of the one or the other for the root, beside the other types.
pub(crate) async fn part(
    call: &Call,
    query: &Query,
    resource_type: &'static ResourceType,
    slice: &Slice,
    beside: &[&'static ResourceType],
) -> Result<Selected, Refusal> {
    let entries = if resource_type.name == ROLE.name {
        all_roles(call).await?
    } else {
        all_entities(call).await?
    };
    Ok(select(query, slice, resource_type, beside, entries)?)
}

pub(crate) async fn business_entity(_app: App, call: Call) -> Result<Reply, Refusal> {
    one(&call, &BUSINESS_ENTITY, all_entities(&call).await?)
}

/// Every role that can be given: all but Owner.
async fn all_roles(call: &Call) -> Result<Vec<Entry>, Refusal> {
    let answer = call.caller.list_roles(ListRolesRequest::default()).await?;
    let given = answer
        .roles
        .iter()
        .filter(|role| !translate::is_owner(role));
    Ok(given
        .map(|role| (translate::role(role, &call.site), role.version))
        .collect())
}

async fn all_entities(call: &Call) -> Result<Vec<Entry>, Refusal> {
    let mut all = Vec::new();
    let mut request = ListBusinessEntitiesRequest::default();
    loop {
        let answer = call.caller.list_business_entities(request.clone()).await?;
        let entities = answer.business_entities.iter();
        all.extend(entities.map(|entity| {
            (
                translate::business_entity(entity, &call.site),
                entity.version,
            )
        }));
        if answer.next_page_token.is_empty() {
            return Ok(all);
        }
        request.page_token = answer.next_page_token;
    }
}

fn one(
    call: &Call,
    resource_type: &'static ResourceType,
    entries: Vec<Entry>,
) -> Result<Reply, Refusal> {
    let projection = call.query()?.projection;
    let found = entries
        .into_iter()
        .find(|(entry, _)| entry.get("id").and_then(Value::as_str) == Some(&call.id));
    let Some((mut entry, version)) = found else {
        let detail = format!(
            "This site has no {} with this id; {} lists them.",
            resource_type.name, resource_type.endpoint
        );
        return Err(ScimError::new(404, detail).into());
    };
    if call.if_none_match().has(&version.to_string()) {
        return Ok(Reply::empty(StatusCode::NOT_MODIFIED).tagged(version));
    }
    projection.apply(resource_type, &mut entry);
    Ok(Reply::json(StatusCode::OK, Value::Object(entry))
        .at(call.site.below(resource_type.endpoint, &call.id))
        .tagged(version))
}

fn list(
    query: &Query,
    resource_type: &'static ResourceType,
    entries: Vec<Entry>,
) -> Result<Reply, Refusal> {
    let page = select(query, &Slice::of(&query.page), resource_type, &[], entries)?;
    Ok(answer(query, page.shown, page.total, page.next))
}

/// A part of a list.
pub(crate) struct Selected {
    pub(crate) shown: Vec<Value>,
    /// How many there are in all.
    pub(crate) total: i64,
    /// The cursor of the next page; empty on the last one.
    pub(crate) next: String,
}

fn select(
    query: &Query,
    slice: &Slice,
    resource_type: &'static ResourceType,
    beside: &[&'static ResourceType],
    entries: Vec<Entry>,
) -> Result<Selected, ScimError> {
    let mut found = Vec::new();
    if let Some(filter) = &query.filter {
        // As many as identity takes of the filters that it carries out.
        if filter.weight() > MAX_NODES {
            return Err(ScimError::invalid_filter(format!(
                "The filter has more than {MAX_NODES} conditions."
            )));
        }
        // Once for its errors: a wrong filter is wrong also where the list is empty.
        filter.matches_among(&Value::Null, resource_type, beside)?;
    }
    let place = Place::read(query.sort.as_ref(), resource_type, beside)?;
    for (entry, _) in entries {
        let entry = Value::Object(entry);
        let holds = match &query.filter {
            None => true,
            Some(filter) => filter.matches_among(&entry, resource_type, beside)?,
        };
        if holds {
            found.push((place.of(&entry), entry));
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    if place.descending {
        found.reverse();
    }
    let total = i64::try_from(found.len()).unwrap_or(i64::MAX);
    let count = usize::try_from(slice.size).unwrap_or(usize::MAX);
    let begin = match slice.token.as_str() {
        "" => usize::try_from(slice.skip).unwrap_or(usize::MAX),
        cursor => {
            let after = read_cursor(cursor).ok_or_else(|| {
                ScimError::bad_request(
                    ScimType::InvalidCursor,
                    "cursor: take it from the nextCursor of a page, or begin with an empty one.",
                )
            })?;
            found.partition_point(|(place_of, _)| {
                *place_of == after || (*place_of < after) != place.descending
            })
        }
    };
    let end = begin.saturating_add(count);
    let next = match found.get(end) {
        Some(_) if count > 0 => cursor(&found[end - 1].0),
        _ => String::new(),
    };
    let shown = found.into_iter().skip(begin).take(count);
    let shown = shown.map(|(_, mut entry)| {
        if let Value::Object(parts) = &mut entry {
            query.projection.apply(resource_type, parts);
        }
        entry
    });
    Ok(Selected {
        shown: shown.collect(),
        total,
        next,
    })
}

/// What an entry's place in the order follows from.
struct Place {
    attribute: &'static str,
    sub: Option<&'static str>,
    exact: bool,
    is_time: bool,
    descending: bool,
}

impl Place {
    fn read(
        sort: Option<&Sort>,
        resource_type: &ResourceType,
        beside: &[&ResourceType],
    ) -> Result<Self, ScimError> {
        let by_name = Self {
            attribute: "displayName",
            sub: None,
            exact: false,
            is_time: false,
            descending: false,
        };
        let Some(sort) = sort else {
            return Ok(by_name);
        };
        let refused = |what: &str| ScimError::invalid_value(format!("sortBy: {} {what}.", sort.by));
        match resource_type.resolve(&sort.by) {
            Some(Target::Attribute { attribute, sub, .. }) => {
                let leaf = sub.unwrap_or(attribute);
                if leaf.kind == Type::Complex {
                    return Err(refused("has parts: name one of them"));
                }
                Ok(Self {
                    attribute: attribute.name,
                    sub: sub.map(|sub| sub.name),
                    exact: leaf.case_exact,
                    is_time: leaf.kind == Type::DateTime,
                    descending: sort.descending,
                })
            }
            // Nothing here has a value of it.
            _ if beside.iter().any(|other| other.resolve(&sort.by).is_some()) => Ok(by_name),
            _ => Err(refused(&format!(
                "is no attribute of {}",
                resource_type.name
            ))),
        }
    }

    /// A text that is in order with those of the other entries and that no other entry has. What has no value
    /// is last (and, descending, first: RFC 7644 section 3.4.2.3).
    fn of(&self, entry: &Value) -> String {
        let value = entry.get(self.attribute);
        let value = match self.sub {
            Some(sub) => value.and_then(|value| value.get(sub)),
            None => value,
        };
        // A list, of which there is only `schemas`, counts by its first value.
        let text = value.and_then(|value| value.get(0).unwrap_or(value).as_str());
        let text = match text {
            None => "1".to_owned(),
            // Fractions are written as long as they are; in order they are only at one length.
            Some(text) if self.is_time => match moment::parse(text) {
                Some(moment) => format!("0{}", moment.format("%Y-%m-%dT%H:%M:%S%.9f")),
                None => "1".to_owned(),
            },
            Some(text) if self.exact => format!("0{text}"),
            Some(text) => format!("0{}", fold(text)),
        };
        // No name holds a NUL.
        format!("{text}\0{}", entry["id"].as_str().unwrap_or_default())
    }
}

/// A place as a cursor, so that the next page begins after it whatever has come or gone before it.
fn cursor(place: &str) -> String {
    place.bytes().fold(String::new(), |mut text, byte| {
        // Writing into a String can't fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

fn read_cursor(text: &str) -> Option<String> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let bytes: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            u8::try_from(digit(0)? * 16 + digit(1)?).ok()
        })
        .collect();
    String::from_utf8(bytes?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entries(names: &[&str]) -> Vec<Entry> {
        names
            .iter()
            .map(|name| {
                let entry = json!({"id": format!("id of {name}"), "displayName": name});
                (entry.as_object().unwrap().clone(), 1)
            })
            .collect()
    }

    /// The names on a page, how many there are in all, and the next cursor.
    fn page(query: &str, names: &[&str]) -> Result<(Vec<String>, i64, String), ScimError> {
        let query = Query::parse(query)?;
        let slice = Slice::of(&query.page);
        let page = select(&query, &slice, &ROLE, &[], entries(names))?;
        let shown = page.shown.iter();
        let shown = shown.map(|entry| entry["displayName"].as_str().unwrap().to_owned());
        Ok((shown.collect(), page.total, page.next))
    }

    #[test]
    fn pages_are_in_the_order_that_was_asked_for() {
        let names = ["b", "C", "a"];
        for (query, shown, total) in [
            ("", &["a", "b", "C"][..], 3),
            ("startIndex=2&count=1", &["b"], 3),
            ("startIndex=9", &[], 3),
            ("count=0", &[], 3),
            (
                "sortBy=displayName&sortOrder=descending",
                &["C", "b", "a"],
                3,
            ),
            ("sortBy=description", &["C", "a", "b"], 3),
            ("filter=displayName%20gt%20%22A%22", &["b", "C"], 2),
            ("filter=id%20eq%20%22id%20of%20a%22", &["a"], 1),
        ] {
            let (found, all, _) = page(query, &names).unwrap();
            assert_eq!(found, shown, "{query}");
            assert_eq!(all, total, "{query}");
        }
        for query in [
            "filter=nope%20pr",
            "sortBy=nope",
            "sortBy=meta",
            "cursor=xyz",
            "cursor=0",
        ] {
            assert!(page(query, &[]).is_err(), "{query}");
        }
    }

    #[test]
    fn a_walk_by_cursor_is_not_disturbed_by_what_comes_and_goes() {
        for order in ["", "&sortBy=displayName&sortOrder=descending"] {
            let (first, _, next) =
                page(&format!("cursor&count=2{order}"), &["a", "b", "c", "d"]).unwrap();
            // What was shown last is gone, and something before it has come.
            let now: &[&str] = if order.is_empty() {
                &["a", "aa", "c", "d"]
            } else {
                &["a", "b", "d", "dd"]
            };
            let (second, _, end) = page(&format!("cursor={next}&count=2{order}"), now).unwrap();
            let walk = [first, second].concat();
            let expected = if order.is_empty() {
                ["a", "b", "c", "d"]
            } else {
                ["d", "c", "b", "a"]
            };
            assert_eq!(
                (walk.as_slice(), end.as_str()),
                (expected.map(str::to_owned).as_slice(), "")
            );
        }
    }
}
