//! What is too large or too often is refused by its limit, which is told and can be set.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use identity_proto::v1 as pb;
use identity_tests::{
    scim::{Answer, Scim, group, user},
    world::{Settings, World},
};
use reqwest::Method;
use serde_json::{Value, json};
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

/// Conformance: 13.
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

/// Conformance: 4.
#[tokio::test(flavor = "multi_thread")]
async fn headers_and_addresses_over_the_limit_are_refused_naming_the_limit() {
    let scene = Scene::set(Settings::default()).await;
    let scim = &scene.acme.scim;
    for method in [Method::GET, Method::POST] {
        let with = |count: usize, size: usize| {
            let mut request = scim.request(method.clone(), "/Users?count=1");
            for n in 0..count {
                request = request.header(format!("x-{n}"), "x".repeat(size));
            }
            Scim::send(request)
        };
        for (count, size, limit) in [
            (101, 1, "100 headers"),
            (1000, 1, "100 headers"),
            (1, 33_000, "32768 bytes"),
            (4, 100_000, "32768 bytes"),
        ] {
            let detail = with(count, size).await.error(431, "");
            assert!(detail.contains(limit), "{detail}");
        }
        for length in [16_400, 60_000] {
            let path = format!("/Users?unknown={}", "x".repeat(length));
            let detail = Scim::send(scim.request(method.clone(), &path))
                .await
                .error(414, "");
            assert!(detail.contains("16384 bytes"), "{detail}");
        }
    }
    // What is just below them is taken.
    let mut request = scim.request(Method::GET, &format!("/Users?x={}", "x".repeat(16_000)));
    for n in 0..90 {
        request = request.header(format!("x-{n}"), "x".repeat(300));
    }
    Scim::send(request).await.is(200);
    scene.is_untouched().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_of_a_group_looks_through_its_members_only_so_often() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ids = world.database.seed_members(&acme.id, 1000);
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let id = acme.scim.make_group("CB/acme/ROLE/Analyst", &ids).await;
    let path = format!("/Groups/{id}");
    let looks = |count: usize| {
        let look = json!({ "op": "remove", "path": "members[value sw \"x\"]" });
        Value::Array(vec![look; count])
    };
    let began = Instant::now();
    let (refused, other) = tokio::join!(acme.scim.patch(&path, looks(20_000)), async {
        // Nobody else waits for it.
        let began = Instant::now();
        acme.scim.get("/Users?count=1").await.is(200);
        began.elapsed()
    });
    let detail = refused.error(413, "");
    assert!(detail.contains("at most 100 conditions"), "{detail}");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(other < Duration::from_secs(2), "{other:?}");
    acme.scim.patch(&path, looks(100)).await.is(204);
    assert_eq!(acme.scim.members(&id).await.len(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_have_a_bounded_room_together() {
    let world = World::with(Settings {
        facade: vec![("ROSTER_BODY_TIMEOUT_MS", "4000".to_owned())],
        ..Settings::default()
    })
    .await;
    let acme = world.acme().await;
    // Whoever it is: this is before the token.
    let begin = || async {
        let address = ("127.0.0.1", world.facade.port());
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /acme/scim/v2/Groups HTTP/1.1\r\nHost: x\r\nAuthorization: nobody\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n",
            32 << 20
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let over_ordinary = vec![b' '; (1 << 20) + 1];
    // What was announced and has not come takes no room.
    let mut held_up = begin().await;
    let _idle = (begin().await, begin().await, begin().await);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let large = group("CB/acme/ROLE/Admin", &[]).to_string() + &" ".repeat(2 << 20);
    Scim::send(raw(&acme.scim, Method::POST, "/Groups", large.clone()))
        .await
        .is(201);
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let (mut one, mut other) = (begin().await, begin().await);
    one.write_all(&over_ordinary).await.unwrap();
    other.write_all(&over_ordinary).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Now there is none left for the first, whose time is over before theirs.
    held_up.write_all(&over_ordinary).await.unwrap();
    held_up.shutdown().await.unwrap();
    let mut answer = String::new();
    held_up.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: 5\r\n"), "{answer}");
    // An ordinary body needs none, and others get it when it is given back.
    acme.scim.make_user("ann@acme.example").await;
    Scim::send(raw(&acme.scim, Method::POST, "/Groups", large))
        .await
        .error(409, "uniqueness");
}

/// Conformance: 129.
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
