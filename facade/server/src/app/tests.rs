//! The router against an identity that answers from a script: what is asked of identity, and in which order
//! requests are refused.

mod bulk;
mod identity;
mod lists;

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use clap::Parser;
use http_body_util::BodyExt;
use identity_proto::v1::{ErrorReason, TargetKind, update_group_request::Membership};
use identity_runtime::metrics::Metrics;
use scim_protocol::{
    group::CORE_GROUP, patch::PATCH_SCHEMA, query::SEARCH_SCHEMA, user::CORE_USER,
};
use serde_json::{Value, json};
use tonic::Code;
use tower::ServiceExt;

use self::identity::{Identity, Seen, failure};
use super::*;

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

struct Facade {
    router: Router,
    identity: Identity,
}

impl Facade {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    async fn with(flags: &[&str]) -> Self {
        let identity = Identity::default();
        let url = identity.serve().await;
        Self::at(identity, &url, flags)
    }

    fn at(identity: Identity, url: &str, flags: &[&str]) -> Self {
        let flags = [
            "facade",
            "--identity-url",
            url,
            "--public-url",
            "https://scim.example",
        ]
        .into_iter()
        .chain(flags.iter().copied());
        let config = Config::try_parse_from(flags).unwrap();
        let backend = Backend::new(&config.identity_url).unwrap();
        let app = App::new(config, backend, Meters::new(&Metrics::new()));
        Self {
            router: router(app),
            identity,
        }
    }

    async fn send(&self, request: Request) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = match bytes.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&bytes).unwrap(),
        };
        let answer = Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        };
        if answer.status >= 400 {
            let detail = answer.body["detail"].as_str().unwrap();
            assert_eq!(answer.body["status"], answer.status.to_string());
            assert_eq!(
                answer.header("content-type"),
                "application/scim+json; charset=utf-8"
            );
            assert!(
                detail.ends_with(&format!("(trace {})", answer.header("x-trace-id"))),
                "{detail}"
            );
        }
        assert_eq!(answer.header("x-trace-id").len(), 32);
        assert_eq!(answer.header("cache-control"), "no-store");
        answer
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        self.send(
            request(method, path, "good")
                .body(Body::from(body.to_string()))
                .unwrap(),
        )
        .await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(request("GET", path, "good").body(Body::empty()).unwrap())
            .await
    }

    /// What identity has been asked since the last look.
    fn seen(&self) -> Vec<Seen> {
        self.identity.take_seen()
    }

    fn names(&self) -> Vec<&'static str> {
        self.seen().iter().map(Seen::name).collect()
    }
}

fn request(method: &str, path: &str, token: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("/acme/scim/v2{path}"))
        .header("host", "evil.example")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/scim+json; charset=utf-8")
}

fn patch(operations: Value) -> Value {
    json!({"schemas": [PATCH_SCHEMA], "Operations": operations})
}

#[tokio::test]
async fn each_request_of_oktas_life_cycle_is_one_call() {
    let facade = Facade::start().await;
    let user = json!({
        "schemas": [CORE_USER.id], "userName": "a@b", "password": "p", "groups": [], "active": true,
    });
    let group = json!({"schemas": [CORE_GROUP.id], "displayName": "CB/acme/ROLE/X", "members": []});
    let deactivate = patch(json!([{"op": "replace", "value": {"active": false}}]));
    let rename = patch(json!([{"op": "replace", "value": {"id": "g1", "displayName": "N"}}]));
    let members = patch(json!([
        {"op": "remove", "path": "members[value eq \"u1\"]"},
        {"op": "add", "path": "members", "value": [{"value": "u2"}]},
    ]));
    for (method, path, body, status, call) in [
        (
            "GET",
            "/Users?startIndex=1&count=2",
            json!(null),
            200,
            "ListMembers",
        ),
        (
            "GET",
            "/Users?filter=userName%20eq%20%22a%22&count=100",
            json!(null),
            200,
            "ListMembers",
        ),
        ("POST", "/Users", user.clone(), 201, "CreateMember"),
        ("GET", "/Users/m1", json!(null), 200, "GetMember"),
        ("PUT", "/Users/m1", user, 200, "UpdateMember"),
        ("PATCH", "/Users/m1", deactivate, 200, "UpdateMember"),
        ("DELETE", "/Users/m1", json!(null), 204, "DeleteMember"),
        (
            "POST",
            "/Users/.search",
            json!({"schemas": [SEARCH_SCHEMA]}),
            200,
            "ListMembers",
        ),
        (
            "GET",
            "/Groups?startIndex=1&count=100",
            json!(null),
            200,
            "ListGroups",
        ),
        ("POST", "/Groups", group.clone(), 201, "CreateGroup"),
        ("GET", "/Groups/g1", json!(null), 200, "GetGroup"),
        ("PUT", "/Groups/g1", group, 200, "UpdateGroup"),
        ("PATCH", "/Groups/g1", rename, 204, "UpdateGroup"),
        ("PATCH", "/Groups/g1", members, 204, "UpdateGroup"),
        ("DELETE", "/Groups/g1", json!(null), 204, "DeleteGroup"),
    ] {
        let answer = facade.call(method, path, body).await;
        assert_eq!(
            (answer.status, facade.names()),
            (status, vec![call]),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn the_token_and_the_site_travel_with_the_call() {
    let facade = Facade::start().await;
    facade.get("/Users/m1").await;
    assert_eq!(
        facade.identity.last_caller(),
        ("Bearer good".to_owned(), "acme".to_owned())
    );
    let bare = Request::get("/ACME/scim/v2/Users/m1/").header("authorization", "good");
    facade.send(bare.body(Body::empty()).unwrap()).await;
    assert_eq!(
        facade.identity.last_caller(),
        ("Bearer good".to_owned(), "ACME".to_owned())
    );
}

#[tokio::test]
async fn addresses_never_follow_the_host() {
    let facade = Facade::start().await;
    let answer = facade.get("/Users/m1").await;
    let location = "https://scim.example/acme/scim/v2/Users/m1";
    assert_eq!(answer.header("location"), location);
    assert_eq!(answer.body["meta"]["location"], location);
    assert_eq!(answer.header("etag"), answer.body["meta"]["version"]);
}

#[tokio::test]
async fn a_bad_token_comes_before_any_bad_request() {
    let facade = Facade::start().await;
    for (method, path, body) in [
        ("POST", "/Users", "{"),
        ("PUT", "/Users/m1", "{}"),
        ("PATCH", "/Groups/g1", "[]"),
        ("GET", "/Users?filter=nonsense", ""),
        ("GET", "/Groups?startIndex=x", ""),
        ("GET", "/Me", ""),
        ("POST", "/Users/.search", "{}"),
    ] {
        let send =
            |token| facade.send(request(method, path, token).body(Body::from(body)).unwrap());
        let answer = send("bad").await;
        assert_eq!(
            (answer.status, facade.names()),
            (401, vec!["GetCaller"]),
            "{method} {path}"
        );
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        let answer = send("good").await;
        assert!(
            matches!(answer.status, 400 | 501),
            "{method} {path}: {}",
            answer.status
        );
        assert_eq!(facade.names(), ["GetCaller"]);
    }
}

#[tokio::test]
async fn no_token_is_refused_without_a_call_and_like_a_bad_one() {
    let facade = Facade::start().await;
    let without = Request::get("/acme/scim/v2/Users")
        .body(Body::empty())
        .unwrap();
    let answer = facade.send(without).await;
    assert_eq!((answer.status, facade.names()), (401, vec![]));
    let bad = facade
        .send(request("GET", "/Users", "bad").body(Body::empty()).unwrap())
        .await;
    let text = |answer: &Answer| {
        let detail = answer.body["detail"].as_str().unwrap();
        detail.split(" (trace").next().unwrap().to_owned()
    };
    assert_eq!((bad.status, text(&bad)), (401, text(&answer)));
}

#[tokio::test]
async fn sizes_come_before_the_token() {
    let facade = Facade::with(&[
        "--max-body",
        "100",
        "--max-group-body",
        "200",
        "--body-timeout",
        "50",
    ])
    .await;
    let send =
        |path: &str, body: Body| facade.send(request("POST", path, "bad").body(body).unwrap());
    let answer = send("/Users", Body::from(vec![b'x'; 101])).await;
    assert_eq!(answer.status, 413);
    assert!(
        answer.body["detail"]
            .as_str()
            .unwrap()
            .contains("100 bytes")
    );
    // Also where the length was not announced.
    let streamed = tokio_stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 201]))]);
    let answer = send("/Groups", Body::from_stream(streamed)).await;
    assert_eq!(answer.status, 413);
    assert!(
        answer.body["detail"]
            .as_str()
            .unwrap()
            .contains("200 bytes")
    );
    let never = tokio_stream::pending::<Result<Bytes, std::io::Error>>();
    assert_eq!(send("/Users", Body::from_stream(never)).await.status, 408);
    let text = Request::post("/acme/scim/v2/Users").header(header::CONTENT_TYPE, "text/plain");
    assert_eq!(
        facade
            .send(text.body(Body::from("x")).unwrap())
            .await
            .status,
        415
    );
    assert_eq!(facade.names(), [""; 0]);
}

#[tokio::test]
async fn what_is_not_there_is_said_in_scim() {
    let facade = Facade::start().await;
    let answer = facade.get("/Nope").await;
    assert_eq!(answer.status, 404);
    assert!(
        answer.body["detail"]
            .as_str()
            .unwrap()
            .contains("https://scim.example/<domain>/scim/v2")
    );
    let answer = facade.call("POST", "/Schemas", json!({})).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET,HEAD"));
    let answer = facade.call("DELETE", "/Users", json!(null)).await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (405, "GET,HEAD,POST")
    );
    let answer = facade.call("OPTIONS", "/Users", json!(null)).await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (204, "GET,HEAD,POST")
    );
    assert_eq!(facade.get("/Schemas/urn:nope").await.status, 404);
    assert_eq!(facade.names(), [""; 0]);
}

#[tokio::test]
async fn discovery_needs_no_token() {
    let facade = Facade::start().await;
    for path in [
        "/ServiceProviderConfig",
        "/ResourceTypes",
        "/ResourceTypes/User",
        "/Schemas/",
        "/Schemas/URN%3Aietf:params:scim:schemas:core:2.0:user",
    ] {
        let open = Request::get(format!("/acme/scim/v2{path}"))
            .body(Body::empty())
            .unwrap();
        assert_eq!(facade.send(open).await.status, 200, "{path}");
    }
    assert_eq!(facade.get("/ResourceTypes?filter=x").await.status, 403);
}

#[tokio::test]
async fn a_head_is_a_get_without_its_body() {
    let facade = Facade::start().await;
    let answer = facade
        .send(
            request("HEAD", "/Users/m1", "good")
                .body(Body::empty())
                .unwrap(),
        )
        .await;
    assert_eq!((answer.status, answer.header("etag")), (200, "W/\"7-abc\""));
    assert_eq!(answer.body, Value::Null);
}

#[tokio::test]
async fn a_patch_of_a_user_is_tried_again_where_somebody_was_faster() {
    let facade = Facade::start().await;
    let title = patch(json!([{"op": "replace", "path": "title", "value": "T"}]));
    let stale = || failure(Code::Aborted, ErrorReason::VersionMismatch);
    facade.identity.fail_writes([stale(), stale()]);
    assert_eq!(
        facade
            .call("PATCH", "/Users/m1", title.clone())
            .await
            .status,
        200
    );
    let seen = facade.seen();
    assert_eq!(seen.len(), 6);
    let Some(Seen::UpdateMember(last)) = seen.last() else {
        panic!("{seen:?}")
    };
    assert_eq!(last.if_versions, [7]);
    assert_eq!(last.update_mask.as_ref().unwrap().paths, ["profile"]);

    // A client that names the version wants to know.
    facade.identity.fail_writes([stale()]);
    let conditional = |tag: &str| {
        request("PATCH", "/Users/m1", "good")
            .header("if-match", tag)
            .body(Body::from(title.to_string()))
            .unwrap()
    };
    assert_eq!(facade.send(conditional("W/\"7-old\"")).await.status, 412);
    assert_eq!(facade.names(), ["GetMember", "UpdateMember"]);
    assert_eq!(facade.send(conditional("W/\"6-old\"")).await.status, 412);
    assert_eq!(facade.names(), ["GetMember"]);
    assert_eq!(facade.send(conditional("nonsense")).await.status, 412);
    assert_eq!(facade.names(), ["GetCaller"]);
}

#[tokio::test]
async fn a_patch_of_a_group_says_what_to_do_without_reading() {
    let facade = Facade::start().await;
    let body = patch(json!([
        {"op": "remove", "path": "members[value eq \"u1\"]"},
        {"op": "add", "path": "members", "value": [{"value": "u2"}]},
        {"op": "replace", "value": {"id": "g1", "displayName": "CB/acme/BE/EU GmbH"}},
    ]));
    let answer = facade.call("PATCH", "/Groups/g1", body).await;
    assert_eq!((answer.status, answer.header("etag")), (204, "W/\"4\""));
    assert_eq!(
        answer.header("roster-effect"),
        "members=2, skipped=1, gained=1, lost=0"
    );
    let seen = facade.seen();
    let [Seen::UpdateGroup(update)] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    assert_eq!(update.display_name.as_deref(), Some("CB/acme/BE/EU GmbH"));
    assert_eq!(
        update.target.as_ref().unwrap().kind(),
        TargetKind::BusinessEntity
    );
    assert!(update.without_members);
    let Some(Membership::Delta(delta)) = &update.membership else {
        panic!("{update:?}")
    };
    assert_eq!(
        (&delta.add_member_ids[..], &delta.remove_member_ids[..]),
        (&["u2".to_owned()][..], &["u1".to_owned()][..])
    );
}

#[tokio::test]
async fn a_filter_on_members_reads_first() {
    let facade = Facade::start().await;
    let body = patch(json!([{"op": "remove", "path": "members[value ne \"u1\"]"}]));
    let answer = facade
        .call("PATCH", "/Groups/g1?attributes=displayName", body)
        .await;
    assert_eq!((answer.status, answer.body.get("members")), (200, None));
    let seen = facade.seen();
    let [Seen::GetGroup(_), Seen::UpdateGroup(update)] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    let Some(Membership::Exactly(exact)) = &update.membership else {
        panic!("{update:?}")
    };
    assert_eq!(
        (&exact.member_ids[..], &update.if_versions[..]),
        (&["u1".to_owned()][..], &[4][..])
    );
    assert!(update.without_members);
}

#[tokio::test]
async fn members_are_not_loaded_for_nobody() {
    let facade = Facade::start().await;
    facade.get("/Groups?excludedAttributes=members").await;
    facade.get("/Groups/g1?attributes=displayName").await;
    facade.get("/Groups/g1").await;
    let seen = facade.seen();
    let [
        Seen::ListGroups(list),
        Seen::GetGroup(without),
        Seen::GetGroup(with),
    ] = seen.as_slice()
    else {
        panic!("{seen:?}")
    };
    assert!(list.without_members && without.without_members && !with.without_members);
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let facade = Facade::start().await;
    for (path, tag) in [("/Users/m1", "W/\"7-abc\""), ("/Groups/g1", "\"4\"")] {
        let known = request("GET", path, "good").header("if-none-match", tag);
        let answer = facade.send(known.body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status, answer.body), (304, Value::Null));
    }
}

#[tokio::test]
async fn a_rehearsal_is_passed_on_and_a_misspelt_one_refused() {
    let facade = Facade::start().await;
    let send = |value: &'static str| {
        let rehearsal = request("DELETE", "/Users/m1", "good").header("roster-dry-run", value);
        facade.send(rehearsal.body(Body::empty()).unwrap())
    };
    assert_eq!(send("true").await.status, 204);
    let seen = facade.seen();
    assert!(matches!(seen.as_slice(), [Seen::DeleteMember(delete)] if delete.validate_only));
    assert_eq!(send("yes").await.status, 400);
    assert_eq!(facade.names(), ["GetCaller"]);
}

#[tokio::test]
async fn a_put_says_nothing_of_activity_that_the_client_did_not_say() {
    let facade = Facade::start().await;
    let user = json!({"schemas": [CORE_USER.id], "userName": "a@b"});
    facade.call("PUT", "/Users/m1", user).await;
    let seen = facade.seen();
    let [Seen::UpdateMember(update)] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    let mask = &update.update_mask.as_ref().unwrap().paths;
    assert_eq!(mask, &["user_name", "external_id", "profile"]);
}

#[tokio::test]
async fn identity_away_or_too_slow_is_429() {
    let facade = Facade::with(&["--request-timeout", "200"]).await;
    facade
        .identity
        .fail_writes([failure(Code::Unavailable, ErrorReason::Unavailable)]);
    let user = json!({"schemas": [CORE_USER.id], "userName": "a@b"});
    let answer = facade.call("POST", "/Users", user.clone()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "5"));
    // A write is not tried twice.
    assert_eq!(facade.names(), ["CreateMember"]);
    facade.identity.be_slow(Duration::from_secs(60));
    let answer = facade.call("POST", "/Users", user).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "5"));
    let away = Facade::at(Identity::default(), "http://127.0.0.1:1", &[]);
    let answer = away.get("/Users").await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "5"));
}

#[tokio::test]
async fn a_panic_is_a_fault_with_a_trace_and_nothing_else() {
    let answer = observe::panicked(Box::new("the inside"));
    assert_eq!(answer.status(), 500);
    let refusal = answer.extensions().get::<Refusal>().unwrap();
    assert!(!refusal.error.detail.contains("inside"));
}
