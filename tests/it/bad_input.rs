//! What a bad day gets: whatever arrives, the answer is a SCIM error of the right status, nothing has
//! changed, and the process lives.

use identity_proto::v1 as pb;
use identity_tests::{
    scim::{Answer, Scim, USER, group, user},
    world::{BOOTSTRAP, Settings, Site, World},
};
use reqwest::{Method, RequestBuilder};
use roster_stack::grpc::site;
use serde_json::{Value, json};
use uuid::Uuid;

/// A site with a user and a group that has it.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) acme: Site,
    pub(crate) user: String,
    pub(crate) group: String,
    before: String,
}

impl Scene {
    pub(crate) async fn set(settings: Settings) -> Self {
        let world = World::with(settings).await;
        let acme = world.acme().await;
        let user = acme.scim.make_user("ann@acme.example").await;
        let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&user]).await;
        let before = world.database.snapshot();
        Self {
            world,
            acme,
            user,
            group,
            before,
        }
    }

    /// Every write that there is.
    pub(crate) fn writes(&self) -> Vec<(Method, String)> {
        let (user, group) = (
            format!("/Users/{}", self.user),
            format!("/Groups/{}", self.group),
        );
        vec![
            (Method::POST, "/Users".to_owned()),
            (Method::PUT, user.clone()),
            (Method::PATCH, user),
            (Method::POST, "/Groups".to_owned()),
            (Method::PUT, group.clone()),
            (Method::PATCH, group),
        ]
    }

    /// Asserts that nothing has changed and both processes live and work.
    pub(crate) async fn is_untouched(&self) {
        assert_eq!(self.world.database.snapshot(), self.before);
        assert!(self.world.facade.ended().is_none() && self.world.identity.ended().is_none());
        self.acme
            .scim
            .get(&format!("/Users/{}", self.user))
            .await
            .is(200);
        assert!(!self.world.log().contains("panic"), "{}", self.world.log());
    }
}

/// A body as it is, as SCIM.
pub(crate) fn raw(
    scim: &Scim,
    method: Method,
    path: &str,
    body: impl Into<reqwest::Body>,
) -> RequestBuilder {
    scim.request(method, path)
        .header("content-type", "application/scim+json")
        .body(body)
}

/// Conformance: 4, 8, 10, 13.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_json_too_deep_or_not_scim_is_refused() {
    let scene = Scene::set(Settings::default()).await;
    let scim = &scene.acme.scim;
    let deep = [b"{\"x\":".repeat(300_000 / 5), b"1".to_vec()].concat();
    let arrays = vec![b'['; 900_000];
    let user_urn = format!("{{\"schemas\":[\"{USER}\"],");
    let twice = format!("{user_urn}\"userName\":\"a@b.example\",\"userName\":\"c@d.example\"}}");
    let cased = format!("{user_urn}\"userName\":\"a@b.example\",\"USERNAME\":\"c@d.example\"}}");
    let within = format!(
        "{user_urn}\"userName\":\"a@b.example\",\"name\":{{\"givenName\":\"A\",\"givenname\":\"B\"}}}}"
    );
    let deep_unknown = format!(
        "{user_urn}\"userName\":\"a@b.example\",\"x\":{}1{}}}",
        "[".repeat(65),
        "]".repeat(65)
    );
    for body in [
        &b""[..],
        b"   ",
        b"nonsense",
        b"{",
        b"{}{}",
        b"{\"schemas\":",
        b"null",
        b"true",
        b"7",
        b"\"text\"",
        b"[]",
        b"[{}]",
        b"{}",
        b"{\"schemas\":null}",
        b"{\"schemas\":\"x\"}",
        b"{\"schemas\":[]}",
        b"{\"schemas\":[7]}",
        b"{\"schemas\":[\"urn:what:ever\"],\"userName\":\"a@b.example\"}",
        b"\xff\xfe{}",
        b"{\"a\":\"\xc3\x28\"}",
        b"{\"a\":\"\\ud800\"}",
        b"{'a':1}",
        b"{\"a\":1e999}",
        b"<html></html>",
        b"a=b&c=d",
        b"\x00",
        &deep,
        &arrays,
        twice.as_bytes(),
        cased.as_bytes(),
        within.as_bytes(),
        deep_unknown.as_bytes(),
    ] {
        for (method, path) in scene.writes() {
            let answer = Scim::send(raw(scim, method, &path, body.to_vec())).await;
            let detail = answer.error(400, "invalidSyntax");
            assert!(detail.len() > 50 && !detail.contains("serde"), "{detail}");
        }
    }
    // As PATCH has its own form.
    for operations in [
        json!(null),
        json!([]),
        json!({}),
        json!("x"),
        json!([1]),
        json!([{}]),
        json!([{ "op": 1 }]),
        json!([{ "op": "frobnicate", "path": "title", "value": "x" }]),
        json!([{ "op": "add", "path": 7, "value": 1 }]),
    ] {
        for path in [
            format!("/Users/{}", scene.user),
            format!("/Groups/{}", scene.group),
        ] {
            scim.patch(&path, operations.clone())
                .await
                .error(400, "invalidSyntax");
            let body = json!({ "schemas": [USER], "Operations": operations });
            scim.with_body(Method::PATCH, &path, &body)
                .await
                .error(400, "invalidSyntax");
        }
    }
    scene.is_untouched().await;
}

/// Whether a sentence begins with the attribute that it is about: itself or a part of it, and with
/// its URN or without.
fn names(detail: &str, attribute: &str) -> bool {
    let first = detail.split(' ').next().unwrap_or_default();
    first.split_once(attribute).is_some_and(|(before, after)| {
        (before.is_empty() || before.ends_with(':'))
            && (after.is_empty() || after.starts_with([':', '[', '.']))
    })
}

/// Conformance: 8.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_the_wrong_type_is_refused_by_name() {
    let scene = Scene::set(Settings::default()).await;
    let scim = &scene.acme.scim;
    let path = format!("/Users/{}", scene.user);
    let hundreds: Vec<Value> = (0..500)
        .map(|n| json!({ "value": format!("a{n}@b.example") }))
        .collect();
    for (key, value, named) in [
        ("userName", json!(7), "userName"),
        ("userName", json!(["a@b.example"]), "userName"),
        ("userName", json!({ "value": "a@b.example" }), "userName"),
        ("userName", json!("no-address"), "userName"),
        ("userName", json!("two@@b.example"), "userName"),
        ("userName", json!("sp ace@b.example"), "userName"),
        ("userName", json!("nul\u{0}@b.example"), "userName"),
        (
            "userName",
            json!(format!("{}@b.example", "x".repeat(250))),
            "userName",
        ),
        ("active", json!("perhaps"), "active"),
        ("active", json!(1), "active"),
        ("active", json!([true]), "active"),
        ("name", json!("Ann"), "name"),
        ("name", json!({ "givenName": 1 }), "name.givenName"),
        ("displayName", json!({ "x": 1 }), "displayName"),
        ("displayName", json!("nul\u{0}"), "displayName"),
        ("externalId", json!(7), "externalId"),
        ("externalId", json!("nul\u{0}"), "externalId"),
        ("externalId", json!("x".repeat(5000)), "externalId"),
        ("title", json!("x".repeat(5000)), "title"),
        ("emails", json!("a@b.example"), "emails"),
        ("emails", json!({ "value": 7 }), "emails[0].value"),
        ("emails", json!(["a@b.example"]), "emails[0]"),
        ("emails", json!([{ "value": 7 }]), "emails[0].value"),
        (
            "emails",
            json!([{ "value": "a", "primary": true }, { "value": "b", "primary": true }]),
            "emails",
        ),
        ("emails", json!([{ "value": "nul\u{0}" }]), "emails"),
        ("emails", Value::Array(hundreds.clone()), "emails"),
        (
            "x509Certificates",
            json!([{ "value": "é" }]),
            "x509Certificates[0].value",
        ),
        (
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
            json!("x"),
            "urn:ietf",
        ),
        (
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
            json!({ "department": 7 }),
            "department",
        ),
    ] {
        let mut body = user("new@acme.example");
        body[key] = value.clone();
        let detail = scim.post("/Users", &body).await.error(400, "invalidValue");
        assert!(names(&detail, named), "{key}: {value} -> {detail}");
        let detail = scim.put(&path, &body).await.error(400, "invalidValue");
        assert!(names(&detail, named), "{key}: {value} -> {detail}");
        // One value in the place of a list is a list of one to a PATCH.
        if value.is_object() && key == "emails" {
            continue;
        }
        let operations = json!([{ "op": "replace", "value": { key: value } }]);
        let detail = scim
            .patch(&path, operations)
            .await
            .error(400, "invalidValue");
        assert!(names(&detail, named), "{key}: {value} -> {detail}");
    }
    for (key, value) in [
        ("displayName", json!(7)),
        ("displayName", json!([])),
        ("members", json!("x")),
        ("members", json!([7])),
        ("externalId", json!({})),
        ("externalId", json!("nul\u{0}")),
    ] {
        let mut body = group("CB/acme/ROLE/Admin", &[]);
        body[key] = value.clone();
        let detail = scim.post("/Groups", &body).await.error(400, "invalidValue");
        assert!(detail.starts_with(key), "{detail}");
        scim.put(&format!("/Groups/{}", scene.group), &body)
            .await
            .error(400, "invalidValue");
        if value != json!([]) {
            let operations = json!([{ "op": "replace", "value": { key: value } }]);
            scim.patch(&format!("/Groups/{}", scene.group), operations)
                .await
                .error(400, "invalidValue");
        }
    }
    let rehearsal = scim
        .request(Method::DELETE, &path)
        .header("roster-dry-run", "perhaps");
    Scim::send(rehearsal).await.error(400, "invalidValue");
    scene.is_untouched().await;
}

/// Conformance: 4, 5, 128.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_a_token_the_answer_is_the_same() {
    let scene = Scene::set(Settings::default()).await;
    let (world, acme) = (&scene.world, &scene.acme);
    let other = world.site("other").await;
    let bootstrap = world.caller(BOOTSTRAP);
    let (revoked, revoked_id) = world.issue("acme", &[pb::Scope::Provision]).await;
    let request = pb::RevokeCredentialRequest {
        site: site("acme"),
        credential_id: revoked_id,
        ..Default::default()
    };
    bootstrap
        .credentials()
        .revoke_credential(bootstrap.request(request))
        .await
        .unwrap();
    let (expired, expired_id) = world.issue("acme", &[pb::Scope::Provision]).await;
    let past = "UPDATE credentials SET expires_at = now() - interval '1 second'";
    world
        .database
        .execute(&format!("{past} WHERE credential_id = '{expired_id}'"));
    let (unknown, unknown_id) = world.issue("acme", &[pb::Scope::Provision]).await;
    world.database.execute(&format!(
        "DELETE FROM credentials WHERE credential_id = '{unknown_id}'"
    ));
    let before = world.database.snapshot();

    let mut misspelt = acme.scim_token.clone();
    let last = if misspelt.pop() == Some('0') {
        '1'
    } else {
        '0'
    };
    misspelt.push(last);
    let long = format!("Bearer {}", "x".repeat(5000));
    let wrong: Vec<String> = [
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "non-token",
        "Bearer non-token",
        "Bearer a b",
        "Digest x",
        &long,
        &format!("Bearer {misspelt}"),
        &format!("Bearer {unknown}"),
        &format!("Bearer {expired}"),
        &format!("Bearer {revoked}"),
        &revoked,
        &format!("Bearer {}", other.scim_token),
        &other.scim_token,
        &format!("Token {}", acme.scim_token),
        &format!("Bearer {}x", acme.scim_token),
        &format!("Bearer {} {}", acme.scim_token, acme.scim_token),
    ]
    .map(str::to_owned)
    .into();
    let requests: Vec<(Method, String, Option<&str>)> = vec![
        (Method::GET, "/Users?startIndex=1&count=2".to_owned(), None),
        (Method::GET, format!("/Users/{}", scene.user), None),
        (Method::DELETE, format!("/Groups/{}", scene.group), None),
        // Bad ones, which would be 400, 404, 412 or 501 for others.
        (Method::GET, "/Users?filter=nonsense".to_owned(), None),
        (Method::GET, "/Groups?startIndex=x".to_owned(), None),
        (Method::GET, "/Users/nobody".to_owned(), None),
        (Method::POST, "/Users".to_owned(), Some("nonsense")),
        (Method::PUT, format!("/Groups/{}", scene.group), Some("{}")),
        (
            Method::PATCH,
            format!("/Users/{}", scene.user),
            Some("{\"schemas\":7}"),
        ),
        (Method::POST, "/Bulk".to_owned(), Some("{}")),
        (Method::GET, "/Me".to_owned(), None),
    ];
    let same = |answer: Answer| {
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        let detail = answer.error(401, "");
        detail.rsplit_once(" (trace ").unwrap().0.to_owned()
    };
    let expected = same(world.scim("acme", "").get("/Users").await);
    for authorization in &wrong {
        let scim = world.scim("acme", authorization);
        for (method, path, body) in &requests {
            let mut request = scim
                .request(method.clone(), path)
                .header("if-match", "nonsense");
            if let Some(body) = body {
                request = request
                    .header("content-type", "application/json")
                    .body(*body);
            }
            let answer = Scim::send(request).await;
            assert_eq!(
                same(answer),
                expected,
                "{method} {path} with {authorization:.60}"
            );
        }
    }
    // Two headers say two things, also where both are good.
    let twice = acme
        .scim
        .request(Method::GET, "/Users")
        .header("authorization", &acme.scim.authorization);
    assert_eq!(same(Scim::send(twice).await), expected);
    // A site that is none, and addresses that are no domain.
    for domain in [
        "nowhere",
        "ac%00me",
        "a%20b",
        "%2F",
        "acme.",
        "%C3%A9",
        &"x".repeat(3000),
        &Uuid::new_v4().to_string(),
    ] {
        let scim = world.scim(domain, &acme.scim.authorization);
        assert_eq!(same(scim.get("/Users").await), expected, "{domain:.30}");
        assert_eq!(
            same(scim.post("/Users", &user("x@y.example")).await),
            expected
        );
        assert_eq!(same(scim.post("/Users", &json!({})).await), expected);
    }
    // The bootstrap token and a service's are no SCIM tokens of the site; neither writes.
    let by_bootstrap = world.scim("acme", &format!("Bearer {BOOTSTRAP}"));
    let answer = by_bootstrap.post("/Users", &user("x@y.example")).await;
    assert!(
        [401, 403].contains(&answer.status.as_u16()),
        "{:#}",
        answer.body
    );
    assert_eq!(world.database.snapshot(), before);
    for secret in [
        &acme.scim_token,
        &revoked,
        &expired,
        &unknown,
        &other.scim_token,
    ] {
        assert!(!world.log().contains(secret.as_str()));
    }
}

/// Conformance: 25, 127.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_another_site_or_of_nothing_does_not_exist() {
    let mut scene = Scene::set(Settings::default()).await;
    let other = scene.world.site("other").await;
    let (theirs, their_group) = (
        other.scim.make_user("ann@acme.example").await,
        other.scim.make_group("CB/other/ROLE/Analyst", &[]).await,
    );
    scene.before = scene.world.database.snapshot();
    let scim = &scene.acme.scim;
    let dashless = scene.user.replace('-', "");
    let braced = format!("%7B{}%7D", scene.user);
    let random = Uuid::new_v4().to_string();
    let long = "x".repeat(4000);
    let ids = [
        "x",
        "0",
        "010101001010101011001010101011",
        "..%2F..%2Fother",
        "%00",
        "%ff",
        "null",
        "%27%20OR%201=1",
        "😀",
        "{id}",
        &random,
        &braced,
        &dashless,
        &format!("{}x", scene.user),
        &long,
    ];
    let mut details = Vec::new();
    for (kind, ids) in [
        ("Users", [&ids[..], &[&theirs, &scene.group]].concat()),
        ("Groups", [&ids[..], &[&their_group, &scene.user]].concat()),
    ] {
        let whole = if kind == "Users" {
            user("z@z.example")
        } else {
            group("CB/acme/ROLE/Admin", &[])
        };
        let change = json!([{ "op": "replace", "value": { "displayName": "CB/acme/ROLE/Admin" } }]);
        let add = json!([{ "op": "add", "path": "members", "value": [{ "value": scene.user }] }]);
        for id in ids {
            let path = format!("/{kind}/{id}");
            let mut answers = vec![
                scim.get(&path).await,
                scim.put(&path, &whole).await,
                scim.patch(&path, change.clone()).await,
                scim.delete(&path).await,
            ];
            if kind == "Groups" {
                answers.push(scim.patch(&path, add.clone()).await);
            } else {
                let off = json!([{ "op": "replace", "value": { "active": false } }]);
                answers.push(scim.patch(&path, off).await);
            }
            for answer in answers {
                let detail = answer.error(404, "");
                details.push((
                    kind,
                    id.contains("%ff"),
                    detail.rsplit_once(" (trace ").unwrap().0.to_owned(),
                ));
            }
        }
    }
    // Theirs is not told from nobody's.
    details.sort();
    details.dedup();
    assert_eq!(details.len(), 4, "{details:#?}");
    other.scim.get(&format!("/Users/{theirs}")).await.is(200);
    scene.is_untouched().await;
}

/// Conformance: 3, 4, 6, 7.
#[tokio::test(flavor = "multi_thread")]
async fn addresses_methods_and_media_types_that_are_none_are_refused() {
    let scene = Scene::set(Settings::default()).await;
    let scim = &scene.acme.scim;
    let root = format!("http://127.0.0.1:{}", scene.world.facade.port());
    for url in [
        "",
        "/",
        "/acme",
        "/acme/scim/vx/Users",
        "/acme/scims/v2/Users",
        "/scim/v2/Users",
        "/acme/scim/v2/users",
        "/acme/scim/v2/Users/x/y",
        "/acme/scim/v2//Users",
        "/acme/scim/v2/Teams",
        "/metrics",
        "/livez",
        "/acme/scim/v2/Users%2Fx",
        "/acme/scim/v2/Groups/x/members",
    ] {
        let stray = Scim::new(&format!("{root}{url}"), &scim.authorization);
        let detail = stray.get("").await.error(404, "");
        assert!(detail.contains("/scim/v2"), "{url}: {detail}");
        stray.post("", &json!({})).await.error(404, "");
    }
    // Long, but not too long for HTTP.
    let long = "x".repeat(12_000);
    scim.get(&format!("/Users/{long}")).await.error(404, "");
    scim.get(&format!("/Users?unknown={long}")).await.is(200);
    let filter = format!("/Users?filter=userName+eq+%22{long}%22");
    scim.get(&filter).await.is(200);
    for path in [
        "/%FF/scim/v2/Users",
        "/%FF/scim/v2/Schemas",
        "/acme/scim/v2/Users/%FF",
        "/acme/scim/v2/Schemas/%FF",
        "/acme/scim/v2/ResourceTypes/%C3",
    ] {
        let stray = Scim::new(&format!("{root}{path}"), &scim.authorization);
        let detail = stray.get("").await.error(404, "");
        assert!(detail.contains("percent-encoded"), "{path}: {detail}");
    }
    let odd = Method::from_bytes(b"FROB").unwrap();
    for (path, allowed, refused) in [
        (
            "/Users".to_owned(),
            "GET,HEAD,POST",
            vec![
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
                odd.clone(),
                Method::TRACE,
            ],
        ),
        (
            format!("/Users/{}", scene.user),
            "DELETE,GET,HEAD,PATCH,PUT",
            vec![Method::POST, odd.clone()],
        ),
        (
            "/Groups".to_owned(),
            "GET,HEAD,POST",
            vec![Method::PUT, Method::PATCH, Method::DELETE],
        ),
        (
            format!("/Groups/{}", scene.group),
            "DELETE,GET,HEAD,PATCH,PUT",
            vec![Method::POST, odd],
        ),
    ] {
        for method in refused {
            let answer = Scim::send(scim.request(method, &path)).await;
            let mut allow: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
            allow.sort_unstable();
            assert_eq!(allow.join(","), allowed, "{path}");
            answer.error(405, "");
        }
        let options = Scim::send(scim.request(Method::OPTIONS, &path)).await;
        assert!(options.status.is_success() && !options.header("allow").is_empty());
    }
    // Also where no method does anything.
    let options = Scim::send(scim.request(Method::OPTIONS, "/Me")).await;
    assert!(options.is(204).header("allow").contains("PATCH"));
    for media_type in [
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "json",
        "",
    ] {
        for (method, path) in scene.writes() {
            let body = user("x@y.example").to_string();
            let request = scim
                .request(method, &path)
                .header("content-type", media_type)
                .body(body);
            let detail = Scim::send(request).await.error(415, "");
            assert!(detail.contains("application/scim+json"), "{detail}");
        }
    }
    let zipped = raw(scim, Method::POST, "/Users", "x").header("content-encoding", "gzip");
    Scim::send(zipped).await.error(415, "");
    scene.is_untouched().await;
}

/// Conformance: 7, 32.
#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_its_body() {
    let scene = Scene::set(Settings::default()).await;
    let scim = &scene.acme.scim;
    for path in [
        "/Users?startIndex=1&count=1".to_owned(),
        format!("/Users/{}", scene.user),
        "/Groups".to_owned(),
        format!("/Groups/{}/", scene.group),
        "/ServiceProviderConfig".to_owned(),
        "/Users/nobody".to_owned(),
        "/Users?filter=x".to_owned(),
        "/nothing".to_owned(),
    ] {
        let get = scim.get(&path).await;
        let head = Scim::send(scim.request(Method::HEAD, &path)).await;
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.body, Value::Null);
        for name in ["content-type", "etag", "location", "cache-control"] {
            assert_eq!(head.header(name), get.header(name), "{path}");
        }
        assert_eq!(head.header("cache-control"), "no-store");
        assert_eq!(head.trace_id().len(), 32);
        assert_ne!(head.trace_id(), get.trace_id());
    }
    let nobody = scene.world.scim("acme", "");
    let head = Scim::send(nobody.request(Method::HEAD, "/Users"))
        .await
        .is(401);
    assert_eq!(head.header("www-authenticate"), "Bearer");
    scene.is_untouched().await;
}
