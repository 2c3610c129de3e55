//! What a bad day gets: whatever arrives, the answer is a SCIM error of the right status, nothing has
//! changed, and the process lives.

use identity_proto::v1 as pb;
use identity_tests::{
    scim::{Answer, GROUP, PATCH_OP, Scim, USER, encode, group, user},
    world::{BOOTSTRAP, Settings, Site, World},
};
use reqwest::{Method, RequestBuilder};
use roster_stack::grpc::site;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;

/// A site with a user and a group that has it.
struct Scene {
    world: World,
    acme: Site,
    user: String,
    group: String,
    before: String,
}

impl Scene {
    async fn set(settings: Settings) -> Self {
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
    fn writes(&self) -> Vec<(Method, String)> {
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
    async fn is_untouched(&self) {
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
fn raw(scim: &Scim, method: Method, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
    scim.request(method, path)
        .header("content-type", "application/scim+json")
        .body(body)
}

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
        ("emails", json!({ "value": "a@b.example" }), "emails"),
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

/// Sends a body in chunks over a connection of its own; answers with all that came back.
async fn unannounced(scim: &Scim, method: &Method, path: &str, body: &[u8]) -> String {
    let (host, site) = scim
        .url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let stream = TcpStream::connect(host).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let head = format!(
        "{method} /{site}{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        scim.authorization
    );
    to.write_all(head.as_bytes()).await.unwrap();
    for chunk in body.chunks(64 << 10) {
        let size = format!("{:x}\r\n", chunk.len());
        to.write_all(size.as_bytes()).await.unwrap();
        to.write_all(chunk).await.unwrap();
        to.write_all(b"\r\n").await.unwrap();
    }
    to.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    from.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_refused_naming_the_limit() {
    let scene = Scene::set(Settings::default()).await;
    let scim = &scene.acme.scim;
    let padded = |body: &Value, size: usize| {
        let mut text = body.to_string();
        text.push_str(&" ".repeat(size - text.len()));
        text
    };
    let one = user("big@acme.example");
    for (method, path, body, limit) in [
        (Method::POST, "/Users".to_owned(), &one, 1_usize << 20),
        (
            Method::PATCH,
            format!("/Users/{}", scene.user),
            &one,
            1 << 20,
        ),
        (
            Method::PUT,
            format!("/Groups/{}", scene.group),
            &one,
            32 << 20,
        ),
    ] {
        let text = padded(body, limit + 1);
        let detail = Scim::send(raw(scim, method.clone(), &path, text.clone()))
            .await
            .error(413, "");
        assert!(detail.contains(&limit.to_string()), "{detail}");
        // The same where the size is not announced.
        let answer = unannounced(scim, &method, &path, text.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains(&limit.to_string()), "{answer}");
    }
    scene.is_untouched().await;
    // The limit itself is within it.
    Scim::send(raw(scim, Method::POST, "/Users", padded(&one, 1 << 20)))
        .await
        .is(201);
    let two = group("CB/acme/ROLE/Admin", &[]);
    Scim::send(raw(scim, Method::POST, "/Groups", padded(&two, 32 << 20)))
        .await
        .is(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_are_settings_and_sizes_come_before_tokens() {
    let settings = Settings {
        facade: vec![
            ("ROSTER_MAX_BODY_BYTES", "700".to_owned()),
            ("ROSTER_MAX_GROUP_BODY_BYTES", "900".to_owned()),
        ],
        ..Settings::default()
    };
    let scene = Scene::set(settings).await;
    let nobody = scene.world.scim("acme", "");
    for scim in [&scene.acme.scim, &nobody] {
        for (path, limit) in [("/Users", 700), ("/Groups", 900)] {
            let detail = Scim::send(raw(scim, Method::POST, path, "x".repeat(limit + 1)))
                .await
                .error(413, "");
            assert!(detail.contains(&limit.to_string()), "{detail}");
            let status = if scim.authorization.is_empty() {
                (401, "")
            } else {
                (400, "invalidSyntax")
            };
            Scim::send(raw(scim, Method::POST, path, "x".repeat(limit)))
                .await
                .error(status.0, status.1);
        }
        let typed = scim
            .request(Method::POST, "/Users")
            .header("content-type", "text/xml")
            .body("<a/>");
        Scim::send(typed).await.error(415, "");
    }
    scene.is_untouched().await;
}

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

#[tokio::test(flavor = "multi_thread")]
async fn addresses_methods_and_media_types_that_are_none_are_refused() {
    let scene = Scene::set(Settings::default()).await;
    let scim = &scene.acme.scim;
    let root = format!("http://127.0.0.1:{}", scene.world.facade.port());
    for url in [
        "",
        "/",
        "/acme",
        "/acme/scim",
        "/acme/scim/v2",
        "/acme/scim/v2/",
        "/acme/scim/v1/Users",
        "/scim/v2/Users",
        "/acme/scim/v2/users",
        "/acme/scim/v2/Users/x/y",
        "/acme/scim/v2//Users",
        "/acme/scim/v2/Roles",
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
    let long = "x".repeat(20_000);
    scim.get(&format!("/Users/{long}")).await.error(404, "");
    scim.get(&format!("/Users?unknown={long}")).await.is(200);
    let filter = format!("/Users?filter=userName+eq+%22{long}%22");
    scim.get(&filter).await.error(400, "invalidFilter");
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

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_wait_for_whole_seconds() {
    let settings = Settings {
        identity: vec![("ROSTER_RATE_LIMIT", "4".to_owned())],
        ..Settings::default()
    };
    let world = World::with(settings).await;
    let site = world.bare_site("busy").await;
    let calls = (0..30).map(|_| site.scim.get("/Users?startIndex=1&count=2"));
    let answers = futures_util::future::join_all(calls).await;
    let (good, refused): (Vec<Answer>, Vec<Answer>) =
        answers.into_iter().partition(|answer| answer.status == 200);
    // Eight at once, and four a second more.
    assert!((8..30).contains(&good.len()), "{}", good.len());
    for answer in refused {
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&seconds));
        answer.error(429, "");
    }
    // A write that is refused is not done, and is done when it comes again.
    let mut refusals = 0;
    for n in 0..12 {
        let name = format!("u{n}@busy.example");
        loop {
            let answer = site.scim.post("/Users", &user(&name)).await;
            if answer.status == 201 {
                break;
            }
            let seconds = answer.header("retry-after").parse().unwrap();
            answer.error(429, "");
            refusals += 1;
            let filed = format!("SELECT count(*) AS n FROM members WHERE user_name = '{name}'");
            assert_eq!(world.database.number(&filed), 0);
            tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
        }
    }
    assert!(refusals > 0);
    // Another credential is not held up by this one.
    let (token, _) = world.issue("busy", &[pb::Scope::Provision]).await;
    world
        .scim("busy", &format!("Bearer {token}"))
        .get("/Users")
        .await
        .is(200);
}

/// A small generator of numbers, the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len())]
    }

    /// Some JSON, made of what the facade knows and of what it does not.
    fn json(&mut self, names: &[&str], depth: usize) -> Value {
        match self.roll(if depth == 0 { 6 } else { 9 }) {
            0 => Value::Null,
            1 => json!(self.roll(2) == 0),
            2 => json!(self.roll(1000)),
            3 => json!(1.5e300),
            4 => json!(self.pick(&[
                "",
                "x",
                "a@b.example",
                "\u{0}",
                "😀",
                "CB/acme/ROLE/Admin",
                "True",
                "members",
                "\u{202e}"
            ])),
            5 => json!(self.pick(names)),
            6 => Value::Array(
                (0..self.roll(4))
                    .map(|_| self.json(names, depth - 1))
                    .collect(),
            ),
            _ => {
                let entries = (0..self.roll(5))
                    .map(|_| ((*self.pick(names)).to_owned(), self.json(names, depth - 1)));
                Value::Object(entries.collect())
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_provokes_a_fault() {
    let scene = Scene::set(Settings::default()).await;
    let scim = &scene.acme.scim;
    let mut dice = Dice(7);
    let names = [
        "userName",
        "USERNAME",
        "name",
        "givenName",
        "emails",
        "value",
        "type",
        "primary",
        "active",
        "members",
        "displayName",
        "externalId",
        "id",
        "meta",
        "groups",
        "schemas",
        "password",
        "roles",
        "manager",
        "addresses",
        "$ref",
        "",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
        "urn:",
        "name.givenName",
        "emails[type eq \"work\"].value",
        "😀",
    ];
    let paths = [
        "userName",
        "name",
        "name.givenName",
        "emails",
        "emails[type eq \"work\"]",
        "emails[type eq \"work\"].value",
        "emails[primary eq true]",
        "members",
        "members[value eq \"x\"]",
        "members[not (value pr)]",
        "members.value",
        "id",
        "active",
        "[",
        "]",
        "a[b",
        "emails[",
        "emails[]",
        "urn:x:y",
        "addresses[type sw \"w\" or not (locality co \"%\")].region",
        "x509Certificates",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value",
    ];
    let filters = [
        "",
        "(",
        ")",
        "userName",
        "userName eq",
        "userName eq \"",
        "userName eq \"\\",
        "userName eq \"\\ud800\"",
        "not",
        "not (",
        "a.b.c eq 1",
        "emails[type eq \"work\"",
        "userName eq \"x\" and",
        "and",
        "id eq id",
        "userName eq -",
        "userName eq 1e9999",
        "😀 eq \"😀\"",
    ];
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    let mut count = |answer: Answer| {
        let status = answer.status.as_u16();
        *statuses.entry(status).or_default() += 1;
        assert_eq!(answer.trace_id().len(), 32);
        assert!(status < 500 && status != 429, "{:#}", answer.body);
        if status >= 400 {
            let scim_type = answer.body["scimType"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            answer.error(status, &scim_type);
        }
    };
    for _ in 0..250 {
        let (method, path) = dice.pick(&scene.writes()).clone();
        let mut body = if method == Method::PATCH {
            let operations: Vec<Value> = (0..1 + dice.roll(3))
                .map(|_| {
                    let op = *dice.pick(&["add", "replace", "remove", "Add"]);
                    let mut operation = json!({ "op": op, "value": dice.json(&names, 3) });
                    if dice.roll(4) > 0 {
                        operation["path"] = (*dice.pick(&paths)).into();
                    }
                    operation
                })
                .collect();
            json!({ "schemas": [PATCH_OP], "Operations": operations })
        } else {
            let mut body = dice.json(&names, 3);
            if !body.is_object() {
                body = json!({ "unknown": body });
            }
            for name in ["userName", "displayName"] {
                if dice.roll(3) > 0 {
                    body[name] = dice.json(&names, 1);
                }
            }
            body
        };
        if method != Method::PATCH {
            body["schemas"] = json!([USER, GROUP]);
        }
        count(scim.with_body(method, &path, &body).await);
        // Cut or bent somewhere, it is hardly JSON any more.
        let mut bytes = body.to_string().into_bytes();
        let place = dice.roll(bytes.len());
        bytes[place] = *dice.pick(b"\"{}[]:,\\\x00\xff 0");
        let (method, path) = dice.pick(&scene.writes()).clone();
        count(Scim::send(raw(scim, method, &path, bytes)).await);
    }
    for filter in filters {
        for kind in ["Users", "Groups"] {
            count(
                scim.get(&format!("/{kind}?filter={}", encode(filter)))
                    .await,
            );
        }
    }
    let nested = format!(
        "/Users?filter={}",
        encode(&format!("{}id pr{}", "(".repeat(2000), ")".repeat(2000)))
    );
    count(scim.get(&nested).await);
    for query in [
        "filter=%",
        "filter=%zz",
        "startIndex=%ff",
        "attributes=....,[,urn:",
        "excludedAttributes=%00",
        "&&&==&=",
        "count=99999999999999999999999",
        "startIndex=9223372036854775807&count=1000",
        "filter=x&filter=y",
    ] {
        count(scim.get(&format!("/Users?{query}")).await);
        count(scim.get(&format!("/Groups?{query}")).await);
    }
    for (name, value) in [
        ("if-match", "\u{e9}"),
        ("if-none-match", "W/\"\u{e9}\""),
        ("roster-dry-run", "\u{e9}"),
        ("traceparent", "nonsense"),
        (
            "traceparent",
            "00-00000000000000000000000000000000-0000000000000000-00",
        ),
        ("content-length", "5"),
        ("accept", "text/html"),
    ] {
        let request = scim
            .request(Method::GET, &format!("/Users/{}", scene.user))
            .header(name, value);
        if name != "content-length" {
            count(Scim::send(request).await);
        }
    }
    assert!(statuses.len() >= 4, "{statuses:?}");
    assert!(!scene.world.log().contains("panic"));
    assert!(scene.world.facade.ended().is_none() && scene.world.identity.ended().is_none());
    scim.get("/Users?startIndex=1&count=2").await.is(200);
}
