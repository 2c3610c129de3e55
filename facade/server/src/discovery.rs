//! What the service can do: readable without a token, since it says nothing of any site.

use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use scim_protocol::{
    ScimError, discovery,
    discovery::Features,
    entitlement::{BUSINESS_ENTITY, ROLE},
    group::GROUP,
    list,
    schema::{ResourceType, Schema},
    user::USER,
};
use serde_json::Value;

use crate::{admission::Address, app::App, refusal::Refusal, reply::Reply, translate::Site};

/// The largest page; identity's own maximum.
pub(crate) const MAX_RESULTS: i64 = 1000;

/// The page where the client says nothing of its size.
pub(crate) const PAGE_SIZE: i64 = 100;

const RESOURCE_TYPES: [&ResourceType; 4] = [&USER, &GROUP, &ROLE, &BUSINESS_ENTITY];

pub(crate) async fn service_provider_config(
    State(app): State<App>,
    Address { domain, .. }: Address,
) -> Response {
    let site = Site::new(&app.config.public_url, &domain);
    let features = Features {
        max_results: MAX_RESULTS,
        page_size: PAGE_SIZE,
        max_operations: app.config.max_bulk_operations,
        max_payload_size: app.config.max_bulk_body,
    };
    ok(discovery::service_provider_config(site.base(), features))
}

pub(crate) async fn resource_types(
    State(app): State<App>,
    Address { domain, .. }: Address,
    RawQuery(query): RawQuery,
) -> Response {
    let site = Site::new(&app.config.public_url, &domain);
    let entries = RESOURCE_TYPES.map(|one| discovery::resource_type(site.base(), one));
    all(entries.into(), query.as_deref())
}

pub(crate) async fn resource_type(
    State(app): State<App>,
    Address { domain, id }: Address,
) -> Response {
    let site = Site::new(&app.config.public_url, &domain);
    match RESOURCE_TYPES
        .into_iter()
        .find(|one| one.name.eq_ignore_ascii_case(&id))
    {
        Some(one) => ok(discovery::resource_type(site.base(), one)),
        None => absent("There is no resource type of this name; /ResourceTypes lists them."),
    }
}

pub(crate) async fn schemas(
    State(app): State<App>,
    Address { domain, .. }: Address,
    RawQuery(query): RawQuery,
) -> Response {
    let site = Site::new(&app.config.public_url, &domain);
    let entries = known_schemas()
        .into_iter()
        .map(|one| discovery::schema(site.base(), one));
    all(entries.collect(), query.as_deref())
}

pub(crate) async fn schema(State(app): State<App>, Address { domain, id }: Address) -> Response {
    let site = Site::new(&app.config.public_url, &domain);
    match known_schemas()
        .into_iter()
        .find(|one| one.id.eq_ignore_ascii_case(&id))
    {
        Some(one) => ok(discovery::schema(site.base(), one)),
        None => absent("There is no schema of this URN; /Schemas lists them."),
    }
}

fn known_schemas() -> Vec<&'static Schema> {
    discovery::schemas_of(&RESOURCE_TYPES)
}

/// A list, whole: paging and projection do not apply, and a filter is forbidden (RFC 7644 section 4).
fn all(entries: Vec<Value>, query: Option<&str>) -> Response {
    let names = query
        .unwrap_or_default()
        .split('&')
        .map(|pair| pair.split('=').next());
    if names
        .flatten()
        .any(|name| name.eq_ignore_ascii_case("filter"))
    {
        return Refusal::from(ScimError::new(403, "This list can't be filtered.")).into_response();
    }
    let total = i64::try_from(entries.len()).unwrap_or(i64::MAX);
    ok(list::by_index(entries, total, 1))
}

fn ok(body: Value) -> Response {
    Reply::json(StatusCode::OK, body).into_response()
}

fn absent(detail: &str) -> Response {
    Refusal::from(ScimError::new(404, detail)).into_response()
}
