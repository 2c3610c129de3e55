//! The routes, and what every request passes through.

use std::{future::Future, pin::Pin, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode, Uri},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, post},
};
use scim_protocol::{ScimError, ScimType};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    admission::{self, BodySize, Call},
    backend::Backend,
    bulk, catalogue,
    config::Config,
    discovery, groups, lists,
    metrics::Meters,
    observe,
    refusal::Refusal,
    reply::Reply,
    users,
};

/// What every handler can reach. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) config: Arc<Config>,
    pub(crate) backend: Backend,
    pub(crate) meters: Meters,
}

impl App {
    pub(crate) fn new(config: Config, backend: Backend, meters: Meters) -> Self {
        Self {
            config: Arc::new(config),
            backend,
            meters,
        }
    }
}

/// All routes. From the outside in: telemetry and the rendering of errors, then panics, then the route.
pub(crate) fn router(app: App) -> Router {
    use BodySize::{Bulk, Group, Ordinary};
    let users = get(on(Ordinary, lists::users)).post(on(Ordinary, users::create));
    let user = get(on(Ordinary, users::read))
        .put(on(Ordinary, users::replace))
        .patch(on(Ordinary, users::patch))
        .delete(on(Ordinary, users::delete));
    let groups = get(on(Group, lists::groups)).post(on(Group, groups::create));
    let group = get(on(Group, groups::read))
        .put(on(Group, groups::replace))
        .patch(on(Group, groups::patch))
        .merge(delete(on(Group, groups::delete)));
    // Not `any`: OPTIONS is answered as everywhere.
    let not_here = get(on(Ordinary, not_implemented))
        .post(on(Ordinary, not_implemented))
        .put(on(Ordinary, not_implemented))
        .patch(on(Ordinary, not_implemented))
        .delete(on(Ordinary, not_implemented));

    let mut router = Router::new();
    for (path, methods) in [
        ("/Users", users),
        ("/Users/{id}", user),
        ("/Groups", groups),
        ("/Groups/{id}", group),
        (
            "/Roles/.search",
            post(on(Ordinary, catalogue::search_roles)),
        ),
        (
            "/BusinessEntities/.search",
            post(on(Ordinary, catalogue::search_business_entities)),
        ),
        ("/Roles", get(on(Ordinary, catalogue::roles))),
        ("/Roles/{id}", get(on(Ordinary, catalogue::role))),
        (
            "/BusinessEntities",
            get(on(Ordinary, catalogue::business_entities)),
        ),
        (
            "/BusinessEntities/{id}",
            get(on(Ordinary, catalogue::business_entity)),
        ),
        (
            "/ServiceProviderConfig",
            get(discovery::service_provider_config),
        ),
        ("/ResourceTypes", get(discovery::resource_types)),
        ("/ResourceTypes/{id}", get(discovery::resource_type)),
        ("/Schemas", get(discovery::schemas)),
        ("/Schemas/{id}", get(discovery::schema)),
        ("/Me", not_here),
        ("/Bulk", post(on(Bulk, bulk::run))),
        ("", get(on(Ordinary, lists::all))),
        ("/.search", post(on(Ordinary, lists::search_all))),
        ("/Users/.search", post(on(Ordinary, lists::search_users))),
        ("/Groups/.search", post(on(Ordinary, lists::search_groups))),
    ] {
        router = route(router, path, methods);
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(middleware::from_fn_with_state(
            app.clone(),
            observe::observe,
        ))
        .with_state(app)
}

/// A path below the Site URL, also with a slash at its end, and without a version, which means the newest
/// (RFC 7644 section 3.13).
fn route(mut router: Router<App>, path: &str, methods: MethodRouter<App>) -> Router<App> {
    for base in ["/{domain}/scim/v2", "/{domain}/scim"] {
        for end in ["", "/"] {
            router = router.route(&format!("{base}{path}{end}"), methods.clone());
        }
    }
    router
}

/// What a route gives axum.
type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Makes a route of a handler that works on an admitted call.
fn on<W, F>(
    size: BodySize,
    work: W,
) -> impl Fn(State<App>, Request) -> Answer + Clone + Send + Sync + 'static
where
    W: Fn(App, Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Reply, Refusal>> + Send + 'static,
{
    move |State(app), request| {
        let work = work.clone();
        Box::pin(async move {
            match answer(app, request, size, work).await {
                Ok(reply) => reply.into_response(),
                Err(refusal) => refusal.into_response(),
            }
        })
    }
}

/// The order of refusal: headers and sizes, then the token, then the request. A request that is refused
/// here, before identity has seen its token, costs one call that asks who the caller is.
async fn answer<W, F>(app: App, request: Request, size: BodySize, work: W) -> Result<Reply, Refusal>
where
    W: Fn(App, Call) -> F,
    F: Future<Output = Result<Reply, Refusal>>,
{
    let call = admission::admit(&app, request, size).await?;
    let caller = call.caller.clone();
    match work(app, call).await {
        Err(refusal) if refusal.is_ours() && !caller.is_known() => {
            caller.identify().await?;
            Err(refusal)
        }
        outcome => outcome,
    }
}

async fn not_implemented(_app: App, call: Call) -> Result<Reply, Refusal> {
    let what = call.path.trim_end_matches('/').rsplit('/').next();
    let what = what.unwrap_or_default();
    Err(ScimError::new(501, format!("{what} is not supported.")).into())
}

async fn not_found(State(app): State<App>, uri: Uri) -> Response {
    if asks_for_another_version(uri.path()) {
        let detail = "Only version 2 of SCIM is spoken here: the Site URL ends in /scim/v2.";
        let error = ScimError::bad_request(ScimType::InvalidVers, detail);
        return Refusal::from(error).into_response();
    }
    let detail = format!(
        "There is nothing at this address. A Site URL looks like {}/<domain>/scim/v2, followed by \
         /Users, /Groups, /Roles, /BusinessEntities, /ServiceProviderConfig, /ResourceTypes or /Schemas.",
        app.config.public_url
    );
    Refusal::from(ScimError::new(404, detail)).into_response()
}

/// Whether a path is one below a Site URL of another version.
fn asks_for_another_version(path: &str) -> bool {
    let mut steps = path.split('/').skip(2);
    steps.next() == Some("scim")
        && steps
            .next()
            .and_then(|step| step.strip_prefix('v'))
            .is_some_and(|version| {
                version != "2"
                    && version.starts_with(|first: char| first.is_ascii_digit())
                    && version
                        .bytes()
                        .all(|byte| byte.is_ascii_digit() || byte == b'.')
            })
}

/// axum adds the `Allow` header.
async fn method_not_allowed(method: Method) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let detail = "This method is not allowed here; the Allow header names those that are.";
    Refusal::from(ScimError::new(405, detail)).into_response()
}
