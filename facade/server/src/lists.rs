//! Lists: of users, of groups, and of both on the root (RFC 7644 sections 3.4.2 and 3.4.3), asked for in the URL
//! or by `.search`.
//!
//! The root lists the users first and then the groups, each in its order; it pages over both as if they were one
//! list. A filter or an order by what only one of the types has finds no such value in the other.

use axum::http::StatusCode;
use identity_proto::v1::{
    ListGroupsRequest, ListGroupsResponse, ListMembersRequest, ListMembersResponse,
};
use scim_protocol::{
    ScimError, ScimType,
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
    token: String,
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

/// The users, then the groups. A cursor says in its first letter which of them it is in.
async fn page_of_all(call: &Call, query: &Query) -> Result<Reply, Refusal> {
    let slice = Slice::of(&query.page);
    let (in_groups, token) = match slice.token.split_at_checked(1) {
        None => (false, ""),
        Some(("u", token)) => (false, token),
        Some(("g", token)) => (true, token),
        Some(_) => {
            return Err(ScimError::bad_request(
                ScimType::InvalidCursor,
                "cursor: take it from the nextCursor of a page, or begin with an empty one.",
            )
            .into());
        }
    };
    let of_users = Slice {
        size: if in_groups { 0 } else { slice.size },
        skip: slice.skip,
        token: if in_groups { "" } else { token }.to_owned(),
    };
    let users = members(call, query, of_users, &[&GROUP]).await?;
    let mut shown = shown_users(call, query, &users);
    let left = slice.size - i64::try_from(shown.len()).unwrap_or(i64::MAX);
    let of_groups = Slice {
        size: left.max(0),
        skip: (slice.skip - users.total_size).max(0),
        token: if in_groups { token } else { "" }.to_owned(),
    };
    let groups = groups_of(call, query, of_groups, &[&USER]).await?;
    shown.extend(shown_groups(call, query, &groups));
    let next = if !in_groups && !users.next_page_token.is_empty() {
        format!("u{}", users.next_page_token)
    } else if left == 0 && groups.total_size > 0 {
        "g".to_owned()
    } else if !groups.next_page_token.is_empty() {
        format!("g{}", groups.next_page_token)
    } else {
        String::new()
    };
    let total = users.total_size.saturating_add(groups.total_size);
    Ok(answer(query, shown, total, next))
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
