//! What is too large or too often is refused by its limit, which is told and can be set.

use futures_util::future::join_all;
use identity_proto::v1 as pb;
use identity_tests::{
    scim::{Answer, Scim, group, user},
    world::{Settings, World},
};
use reqwest::Method;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::bad_input::{Scene, raw};

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
async fn too_many_requests_wait_for_whole_seconds() {
    let settings = Settings {
        identity: vec![("ROSTER_RATE_LIMIT", "4".to_owned())],
        ..Settings::default()
    };
    let world = World::with(settings).await;
    let site = world.bare_site("busy").await;
    let calls = (0..30).map(|_| site.scim.get("/Users?startIndex=1&count=2"));
    let answers = join_all(calls).await;
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
