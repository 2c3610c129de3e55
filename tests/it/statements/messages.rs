//! Media types, addresses, errors.

use identity_tests::scim::{Scim, USER, user};
use reqwest::Method;
use serde_json::json;

use super::Place;

/// Conformance: 1, 2.
#[tokio::test(flavor = "multi_thread")]
async fn the_media_type_is_scims_unless_only_json_is_wanted() {
    let place = Place::new().await;
    for (accept, answered) in [
        (None, "application/scim+json"),
        (Some("*/*"), "application/scim+json"),
        (
            Some("application/scim+json; charset=utf-8"),
            "application/scim+json",
        ),
        (
            Some("application/json, application/scim+json"),
            "application/scim+json",
        ),
        (Some("application/json"), "application/json"),
    ] {
        let mut request = place.scim().request(Method::GET, "/Users");
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        let answer = Scim::send(request).await.is(200);
        let content_type = answer.header("content-type");
        assert!(
            content_type.starts_with(answered),
            "{accept:?}: {content_type}"
        );
    }
    // Letters of any script, raw and escaped, are the same letters.
    let body = r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName":"zoe@acme.example","displayName":"Zoë \u00eb 😀 \ud83d\ude00"}"#;
    for (content_type, name) in [
        ("application/scim+json;charset=UTF-8", "zoe"),
        ("application/json; charset=utf-8; x=y", "zoo"),
    ] {
        let request = place
            .scim()
            .request(Method::POST, "/Users")
            .header("content-type", content_type)
            .body(body.replace("zoe@", &format!("{name}@")));
        let made = Scim::send(request).await.is(201);
        assert_eq!(made.body["displayName"], "Zoë ë 😀 😀");
    }
}

/// Conformance: 9, 12.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_in_an_address_does_no_harm() {
    let place = Place::new().await;
    let scim = place.scim();
    let ann = scim.make_user("ann@acme.example").await;
    for path in [
        "/Users?filter=userName+eq+%22ann@acme.example%22&",
        "/Users/?filter=userName%20eq%20%22ann%40acme.example%22&&nobody=knows&x=%zz",
        "/Users?&count=1&startIndex=2&sortOrder=",
    ] {
        let answer = scim.get(path).await.is(200);
        assert_eq!(answer.resources()[0]["id"], ann, "{path}");
    }
    scim.get(&format!("/Users/{ann}/?")).await.is(200);
    let body = user("ann@acme.example");
    scim.put(&format!("/Users/{ann}?"), &body).await.is(200);
}

/// Conformance: 11.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_names_the_version_or_means_the_newest() {
    let place = Place::new().await;
    let scim = place.scim();
    let ann = scim.make_user("ann@acme.example").await;
    let path = format!("/Users/{ann}");
    let read = scim.get(&path).await.is(200);
    let newest = Scim::new(scim.url.trim_end_matches("/v2"), &scim.authorization);
    assert_eq!(newest.get(&path).await.is(200).body, read.body);
    for version in ["v1", "v3", "v2.1", "v1.1"] {
        let url = scim.url.replace("/v2", &format!("/{version}"));
        let other = Scim::new(&url, &scim.authorization);
        for path in ["/Users", "", "/Bulk", &path] {
            let detail = other.get(path).await.error(400, "invalidVers");
            assert!(detail.contains("/scim/v2"), "{detail}");
        }
    }
    let nothing = Scim::new(&scim.url.replace("/v2", "/vx"), &scim.authorization);
    nothing.get("/Users").await.error(404, "");
}

/// Conformance: 4, 6, 32, 116.
#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_scims_error() {
    let place = Place::new().await;
    let scim = place.scim();
    let nobody = Scim::new(&scim.url, "Bearer nobody");
    // `error` asserts the whole of it.
    nobody.get("/Users").await.error(401, "");
    let in_address = format!("/Users?access_token={}", place.acme.scim_token);
    Scim::new(&scim.url, "")
        .get(&in_address)
        .await
        .error(401, "");
    let read = scim.get("/Users").await.is(200);
    assert_eq!(read.header("cache-control"), "no-store");
    scim.get("/Nothing").await.error(404, "");
    scim.get("/Users/nobody").await.error(404, "");
    scim.delete("/Users").await.error(405, "");
    let lists = scim.get("/Users?filter=x").await;
    lists.error(400, "invalidFilter");
    let huge = json!({"schemas": [USER], "userName": "x".repeat(2 << 20)});
    scim.post("/Users", &huge).await.error(413, "");
    let text = scim
        .request(Method::POST, "/Users")
        .header("content-type", "text/plain")
        .body("x");
    Scim::send(text).await.error(415, "");
    for method in [
        Method::GET,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::POST,
    ] {
        let body = user("me@acme.example");
        scim.with_body(method, "/Me", &body).await.error(501, "");
    }
}

/// Conformance: 126.
#[tokio::test(flavor = "multi_thread")]
async fn a_wish_for_an_answer_later_is_passed_over() {
    let place = Place::new().await;
    let request = place
        .scim()
        .request(Method::POST, "/Users")
        .header("content-type", "application/scim+json")
        .header("prefer", "respond-async")
        .body(user("ann@acme.example").to_string());
    let made = Scim::send(request).await.is(201);
    assert_eq!(made.body["userName"], "ann@acme.example");
    assert_eq!(made.header("preference-applied"), "");
}

/// Conformance: 123, 124, 125.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_of_security_events() {
    let place = Place::new().await;
    let config = place.scim().get("/ServiceProviderConfig").await.is(200);
    assert_eq!(config.body.get("securityEvents"), None);
    let schemas = place.scim().get("/Schemas").await.is(200);
    assert!(!schemas.body.to_string().contains("scim:event"));
}
