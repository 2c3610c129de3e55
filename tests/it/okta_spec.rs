//! Okta's published SPEC sequence, step by step, on a site made a moment ago, and its CRUD list.

use std::time::{Duration, Instant};

use identity_tests::{
    scim::{Answer, ERROR, LIST, Scim, USER, encode},
    world::World,
};
use reqwest::Method;
use serde_json::{Value, json};

/// The suite's own headers, also on a GET.
async fn send(scim: &Scim, method: Method, path: &str, body: Option<&Value>) -> Answer {
    let posts = method == Method::POST;
    let mut request = scim
        .request(method, path)
        .header("user-agent", "OKTA SCIM Integration")
        .header("accept-charset", "utf-8");
    request = if posts {
        request
            .header("content-type", "application/json")
            .header("accept", "application/scim+json; charset=utf-8")
    } else {
        request
            .header("content-type", "application/scim+json; charset=utf-8")
            .header("accept", "application/scim+json")
    };
    if let Some(body) = body {
        request = request.body(body.to_string());
    }
    Scim::send(request).await
}

fn by_name(user_name: &str) -> String {
    let filter = encode(&format!("userName eq \"{user_name}\""));
    format!("/Users?filter={filter}&startIndex=1&count=100")
}

#[track_caller]
fn is_an_error(answer: &Answer, status: u16) {
    assert_eq!(answer.status.as_u16(), status);
    assert_eq!(answer.body["schemas"][0], ERROR);
    assert_eq!(answer.body["status"], status.to_string());
    assert!(!answer.body["detail"].as_str().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spec_sequence_passes_on_a_site_made_a_moment_ago() {
    let world = World::start().await;
    let site = world.bare_site("fresh").await;
    let scim = &site.scim;

    // 1: somebody is there.
    let list = send(scim, Method::GET, "/Users?count=1&startIndex=1", None)
        .await
        .is(200);
    assert_eq!(list.body["schemas"], json!([LIST]));
    for counter in ["itemsPerPage", "startIndex", "totalResults"] {
        assert!(list.body[counter].is_i64(), "{counter}");
    }
    let first = &list.body["Resources"][0];
    for (place, value) in [
        ("id", &first["id"]),
        ("name.familyName", &first["name"]["familyName"]),
        ("name.givenName", &first["name"]["givenName"]),
        ("userName", &first["userName"]),
        ("emails[0].value", &first["emails"][0]["value"]),
    ] {
        assert!(!value.as_str().unwrap_or_default().is_empty(), "{place}");
    }
    assert!(first["active"].is_boolean());

    // 2
    let path = format!("/Users/{}", first["id"].as_str().unwrap());
    let one = send(scim, Method::GET, &path, None).await.is(200);
    assert_eq!(one.body["id"], first["id"]);
    assert_eq!(one.body, *first);

    // 3
    let absent = send(scim, Method::GET, &by_name("abcdefgh@atko.com"), None)
        .await
        .is(200);
    assert_eq!(absent.body["schemas"], json!([LIST]));
    assert_eq!(absent.body["totalResults"], 0);

    // 4
    let path = "/Users/010101001010101011001010101011";
    is_an_error(&send(scim, Method::GET, path, None).await, 404);

    // 5 and 6: what the suite makes up, in its mixed case.
    let name = "Runscope300Kqz7vtc8bqgb@Atko.com";
    let absent = send(scim, Method::GET, &by_name(name), None).await.is(200);
    assert_eq!(absent.body["totalResults"], 0);
    let body = json!({
        "schemas": [USER],
        "userName": name,
        "name": { "givenName": "Runscope", "familyName": "Kqz7vtc8bqgb" },
        "emails": [{ "primary": true, "value": name, "type": "work" }],
        "displayName": "Runscope Kqz7vtc8bqgb",
        "active": true,
    });
    let made = send(scim, Method::POST, "/Users", Some(&body))
        .await
        .is(201);
    assert_eq!(made.body["schemas"][0], USER);
    for key in ["userName", "name", "emails", "displayName", "active"] {
        assert_eq!(made.body[key], body[key], "{key}");
    }

    // 7
    let read = send(scim, Method::GET, &format!("/Users/{}", made.id()), None)
        .await
        .is(200);
    assert_eq!(read.body, made.body);

    // 8
    let again = send(scim, Method::POST, "/Users", Some(&body)).await;
    is_an_error(&again, 409);

    // 9
    send(scim, Method::GET, &by_name(&name.to_uppercase()), None)
        .await
        .is(200);

    // 10
    let began = Instant::now();
    let groups = send(scim, Method::GET, "/Groups?startIndex=1&count=100", None)
        .await
        .is(200);
    assert!(began.elapsed() < Duration::from_millis(600));
    assert!(groups.body["Resources"].is_array());

    // 11
    let nobody = world.scim("fresh", "non-token");
    let refused = send(&nobody, Method::GET, "/Users?startIndex=1&count=100", None).await;
    is_an_error(&refused, 401);

    // 12
    is_an_error(
        &send(scim, Method::GET, "/Users/00919288221112222", None).await,
        404,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_crud_list_passes() {
    let world = World::start().await;
    let site = world.bare_site("fresh").await;
    let scim = &site.scim;
    let name = "crud@atko.example";
    let look_up = async || {
        let list = scim.get(&by_name(name)).await.is(200).body;
        assert_eq!(list["totalResults"], 1);
        list["Resources"][0].clone()
    };

    // Created and assigned: the filter finds it, with its names and address.
    let id = scim.make_user(name).await;
    let path = format!("/Users/{id}");
    let user = look_up().await;
    assert_eq!(user["emails"][0]["value"], name);
    assert_eq!(
        (&user["name"]["givenName"], &user["name"]["familyName"]),
        (&json!("Given"), &json!("Family"))
    );

    // The first name changes.
    let mut whole = scim.get(&path).await.is(200).body;
    whole["name"]["givenName"] = "Renamed".into();
    scim.put(&path, &whole).await.is(200);
    assert_eq!(
        scim.get(&path).await.is(200).body["name"]["givenName"],
        "Renamed"
    );

    // Deactivated, and there.
    let active = async |active: bool| {
        let operations = json!([{ "op": "replace", "value": { "active": active } }]);
        scim.patch(&path, operations).await.is(200);
        let user = scim.get(&path).await.is(200).body;
        assert_eq!(user["active"], active);
    };
    active(false).await;

    // Activated and assigned again: found, reactivated and put, all under the same id.
    let user = look_up().await;
    assert_eq!((&user["id"], &user["active"]), (&json!(id), &json!(false)));
    active(true).await;
    let mut whole = scim.get(&path).await.is(200).body;
    whole["active"] = true.into();
    assert_eq!(scim.put(&path, &whole).await.is(200).id(), id);

    // Unassigned.
    active(false).await;
    assert_eq!(look_up().await["id"], json!(id));
}
