//! Lists: of users, of groups, and of all there is on the root (RFC 7644 sections 3.4.2 and 3.4.3), asked for in
//! the URL or by `.search`.
//!
//! The root lists the users, then the groups, the roles and the business entities, each in its order; it pages over
//! all as if they were one list. A filter or an order by what only some types have finds no such value in the others.

use axum::http::StatusCode;
use identity_proto::v1::{
    ListGroupsRequest, ListGroupsResponse, ListMembersRequest, ListMembersResponse,
};
use scim_protocol::{
    ScimError, ScimType,
    entitlement::{BUSINESS_ENTITY, ROLE},
    group::GROUP,
    list,
    query::{Page, Query},
    schema::ResourceType,
    user::USER,
};
use serde_json::Value;

use crate::{
    admission::Call,
    app::App,
    catalogue::{self, Selected},
    discovery::{MAX_RESULTS, PAGE_SIZE},
    groups,
    refusal::Refusal,
    reply::Reply,
    translate::query::Reading,
    users,
};

pub(crate) async fn users(_app: App, call: Call) -> Result<Reply, Refusal> {
    users_page(&call, &call.query()?).await
}

pub(crate) async fn search_users(_app: App, mut call: Call) -> Result<Reply, Refusal> {
    let query = call.search().await?;
    users_page(&call, &query).await
}

pub(crate) async fn groups(_app: App, call: Call) -> Result<Reply, Refusal> {
    groups_page(&call, &call.query()?).await
}

pub(crate) async fn search_groups(_app: App, mut call: Call) -> Result<Reply, Refusal> {
    let query = call.search().await?;
    groups_page(&call, &query).await
}

pub(crate) async fn all(_app: App, call: Call) -> Result<Reply, Refusal> {
    page_of_all(&call, &call.query()?).await
}

pub(crate) async fn search_all(_app: App, mut call: Call) -> Result<Reply, Refusal> {
    let query = call.search().await?;
    page_of_all(&call, &query).await
}

/// What identity is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) size: i64,
    pub(crate) skip: i64,
    /// Empty for none.
    pub(crate) token: String,
}

impl Slice {
    pub(crate) fn of(page: &Page) -> Self {
        let size = |count: &Option<i64>| count.unwrap_or(PAGE_SIZE).min(MAX_RESULTS);
        match page {
            Page::Index { start, count } => Self {
                size: size(count),
                skip: start - 1,
                token: String::new(),
            },
            Page::Cursor { cursor, count } => Self {
                size: size(count),
                skip: 0,
                token: cursor.clone(),
            },
        }
    }

    fn page_size(&self) -> Option<i32> {
        Some(i32::try_from(self.size).unwrap_or(i32::MAX))
    }
}

async fn users_page(call: &Call, query: &Query) -> Result<Reply, Refusal> {
    let page = members(call, query, Slice::of(&query.page), &[]).await?;
    let shown = shown_users(call, query, &page);
    Ok(answer(query, shown, page.total_size, page.next_page_token))
}

async fn groups_page(call: &Call, query: &Query) -> Result<Reply, Refusal> {
    let page = groups_of(call, query, Slice::of(&query.page), &[]).await?;
    let shown = shown_groups(call, query, &page);
    Ok(answer(query, shown, page.total_size, page.next_page_token))
}

/// The types that the root lists, in this order, and the letter that a cursor within each begins with.
const ALL: [(&str, &ResourceType); 4] = [
    ("u", &USER),
    ("g", &GROUP),
    ("r", &ROLE),
    ("b", &BUSINESS_ENTITY),
];

/// Every type after the other, as if they were one list.
async fn page_of_all(call: &Call, query: &Query) -> Result<Reply, Refusal> {
    let whole = Slice::of(&query.page);
    let (begun, token) = begun(&whole.token)?;
    let (mut shown, mut total, mut next) = (Vec::new(), 0_i64, String::new());
    for (index, (letter, resource_type)) in ALL.into_iter().enumerate() {
        let left = whole.size - i64::try_from(shown.len()).unwrap_or(i64::MAX);
        let slice = Slice {
            // Of what is over, and of what is not reached, only the number counts.
            size: if index < begun { 0 } else { left.max(0) },
            skip: (whole.skip - total).max(0),
            token: if index == begun { token } else { "" }.to_owned(),
        };
        let is_wanted = slice.size > 0;
        let part = part(call, query, resource_type, slice).await?;
        if is_wanted && !part.next.is_empty() {
            next = format!("{letter}{}", part.next);
        } else if !is_wanted && index > begun && next.is_empty() && part.total > 0 {
            letter.clone_into(&mut next);
        }
        shown.extend(part.shown);
        total = total.saturating_add(part.total);
    }
    Ok(answer(query, shown, total, next))
}

/// Which type a cursor is in, and where.
fn begun(cursor: &str) -> Result<(usize, &str), ScimError> {
    let Some((letter, token)) = cursor.split_at_checked(1) else {
        return Ok((0, ""));
    };
    let index = ALL.iter().position(|(known, _)| *known == letter);
    index.map(|index| (index, token)).ok_or_else(|| {
        ScimError::bad_request(
            ScimType::InvalidCursor,
            "cursor: take it from the nextCursor of a page, or begin with an empty one.",
        )
    })
}

/// A part of the list of one type, for the root.
async fn part(
    call: &Call,
    query: &Query,
    resource_type: &'static ResourceType,
    slice: Slice,
) -> Result<Selected, Refusal> {
    let beside: Vec<&'static ResourceType> = ALL
        .into_iter()
        .map(|(_, other)| other)
        .filter(|other| other.name != resource_type.name)
        .collect();
    Ok(if resource_type.name == USER.name {
        let page = members(call, query, slice, &beside).await?;
        Selected {
            shown: shown_users(call, query, &page),
            total: page.total_size,
            next: page.next_page_token,
        }
    } else if resource_type.name == GROUP.name {
        let page = groups_of(call, query, slice, &beside).await?;
        Selected {
            shown: shown_groups(call, query, &page),
            total: page.total_size,
            next: page.next_page_token,
        }
    } else {
        catalogue::part(call, query, resource_type, &slice, &beside).await?
    })
}

/// The page as it was asked for: by index without a cursor (Okta and others never heard of them), by cursor
/// without an index.
pub(crate) fn answer(query: &Query, shown: Vec<Value>, total: i64, next: String) -> Reply {
    let body = match query.page {
        Page::Index { start, .. } => list::by_index(shown, total, start),
        Page::Cursor { .. } => {
            list::by_cursor(shown, total, Some(next).filter(|next| !next.is_empty()))
        }
    };
    Reply::json(StatusCode::OK, body)
}

async fn members(
    call: &Call,
    query: &Query,
    slice: Slice,
    beside: &[&'static ResourceType],
) -> Result<ListMembersResponse, Refusal> {
    let reading = Reading {
        resource_type: &USER,
        beside,
        site: &call.site,
    };
    let (filter, order) = reading.both(query)?;
    let request = ListMembersRequest {
        site: None,
        filter,
        page_size: slice.page_size(),
        skip: slice.skip,
        order,
        page_token: slice.token,
        ..Default::default()
    };
    Ok(call.caller.list_members(request).await?)
}

async fn groups_of(
    call: &Call,
    query: &Query,
    slice: Slice,
    beside: &[&'static ResourceType],
) -> Result<ListGroupsResponse, Refusal> {
    let reading = Reading {
        resource_type: &GROUP,
        beside,
        site: &call.site,
    };
    let (filter, order) = reading.both(query)?;
    let request = ListGroupsRequest {
        site: None,
        filter,
        page_size: slice.page_size(),
        skip: slice.skip,
        without_members: !groups::wants_members(&query.projection),
        order,
        page_token: slice.token,
        ..Default::default()
    };
    Ok(call.caller.list_groups(request).await?)
}

fn shown_users(call: &Call, query: &Query, page: &ListMembersResponse) -> Vec<Value> {
    let users = page.members.iter();
    users
        .map(|member| users::shown(member, call, &query.projection))
        .collect()
}

fn shown_groups(call: &Call, query: &Query, page: &ListGroupsResponse) -> Vec<Value> {
    let groups = page.groups.iter();
    groups
        .map(|group| groups::shown(group, call, &query.projection))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_never_larger_than_allowed() {
        let size = |count| Slice::of(&Page::Index { start: 3, count }).size;
        assert_eq!(
            (size(None), size(Some(0)), size(Some(i64::MAX))),
            (100, 0, 1000)
        );
        let slice = Slice::of(&Page::Index {
            start: 3,
            count: Some(7),
        });
        assert_eq!((slice.skip, slice.page_size()), (2, Some(7)));
    }
}
