//! Making resources, and reading them.

use identity_tests::scim::{ENTERPRISE, GROUP, USER, group, user};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Place, apart_from_meta, found};

/// Conformance: 14, 15, 16, 26.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_is_shown_whole_and_the_servers_part_is_the_servers() {
    let place = Place::new().await;
    let scim = place.scim();
    let mut ann = user("ann@acme.example");
    ann["id"] = json!("mine");
    ann["groups"] = json!([{"value": "g", "display": "G"}]);
    ann["meta"] =
        json!({"resourceType": "Group", "created": "2001-01-01T00:00:00Z", "version": "1"});
    let mut analysts = group("CB/acme/ROLE/Analyst", &[]);
    analysts["id"] = json!("mine");
    analysts["meta"] = json!({"resourceType": "User", "location": "https://elsewhere.example"});
    for (path, resource_type, body) in [("/Users", "User", ann), ("/Groups", "Group", analysts)] {
        let made = scim.post(path, &body).await.is(201);
        let meta = &made.body["meta"];
        assert_eq!(meta["resourceType"], resource_type);
        assert_ne!(made.id(), "mine");
        assert_eq!(
            meta["location"],
            format!("{}{path}/{}", scim.url, made.id())
        );
        assert_eq!(made.header("location"), meta["location"].as_str().unwrap());
        assert_eq!(meta["created"], meta["lastModified"]);
        let created = chrono::DateTime::parse_from_rfc3339(meta["created"].as_str().unwrap());
        let age = chrono::Utc::now() - created.unwrap().to_utc();
        assert!(age.num_minutes() == 0, "{meta}");
        let read = scim.get(&format!("{path}/{}", made.id())).await.is(200);
        assert_eq!(read.body, made.body);
        assert!(
            made.body
                .get("groups")
                .is_none_or(|groups| *groups == json!([]))
        );
    }
}

/// Conformance: 17, 18.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_name_is_taken_once_in_whatever_case() {
    let place = Place::new().await;
    let scim = place.scim();
    scim.make_user("Ann@acme.example").await;
    let bob = scim.make_user("bob@acme.example").await;
    let before = scim.get(&format!("/Users/{bob}")).await.is(200);
    for taken in ["Ann@acme.example", "ANN@ACME.EXAMPLE", " ann@acme.example "] {
        let post = scim.post("/Users", &user(taken)).await;
        post.error(409, "uniqueness");
        let put = scim.put(&format!("/Users/{bob}"), &user(taken)).await;
        put.error(409, "uniqueness");
        let rename = json!([{"op": "replace", "path": "userName", "value": taken}]);
        let patch = scim.patch(&format!("/Users/{bob}"), rename).await;
        patch.error(409, "uniqueness");
    }
    let after = scim.get(&format!("/Users/{bob}")).await.is(200);
    assert_eq!(after.body, before.body);
}

/// Conformance: 19, 20.
#[tokio::test(flavor = "multi_thread")]
async fn ids_are_the_servers_and_external_ids_the_clients() {
    let place = Place::new().await;
    let scim = place.scim();
    let mut body = user("ann@acme.example");
    body["externalId"] = json!("Ext-1");
    let ann = scim.post("/Users", &body).await.is(201).id();
    assert!(!ann.is_empty() && !ann.contains("bulkId"));
    // Another one may have the same external id, and one may have none.
    body["userName"] = json!("bob@acme.example");
    scim.post("/Users", &body).await.is(201);
    body["userName"] = json!("cem@acme.example");
    body.as_object_mut().unwrap().remove("externalId");
    let cem = scim.post("/Users", &body).await.is(201);
    assert_eq!(cem.body.get("externalId"), None);
    assert_eq!(found(scim, "externalId eq \"Ext-1\"").await, "ann bob");
    assert_eq!(found(scim, "externalId eq \"ext-1\"").await, "");
    assert_eq!(found(scim, &format!("id eq \"{ann}\"")).await, "ann");
    // An id is that text and no other spelling of it.
    for other in [
        ann.to_uppercase(),
        ann.replace('-', ""),
        format!("{{{ann}}}"),
        format!("urn:uuid:{ann}"),
    ] {
        assert_eq!(found(scim, &format!("id eq \"{other}\"")).await, "");
        scim.get(&format!("/Users/{other}")).await.error(404, "");
    }
    scim.delete(&format!("/Users/{ann}")).await.is(204);
    body["userName"] = json!("ann@acme.example");
    assert_ne!(scim.post("/Users", &body).await.is(201).id(), ann);
}

/// Conformance: 21, 22.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_nothing_however_it_is_written() {
    let place = Place::new().await;
    let scim = place.scim();
    for nothing in [json!(null), json!(""), json!([])] {
        for (path, schema, required) in [
            ("/Users", USER, "userName"),
            ("/Groups", GROUP, "displayName"),
        ] {
            let mut body = json!({"schemas": [schema], required: nothing});
            let scim_type = "invalidValue";
            scim.post(path, &body).await.error(400, scim_type);
            body.as_object_mut().unwrap().remove(required);
            scim.post(path, &body).await.error(400, scim_type);
        }
    }
    let body = json!({
        "schemas": [USER], "userName": "ann@acme.example", "title": null, "nickName": "",
        "phoneNumbers": [], "name": {}, "addresses": null, "photos": [{"value": ""}],
    });
    let made = scim.post("/Users", &body).await.is(201);
    for absent in [
        "title",
        "nickName",
        "phoneNumbers",
        "name",
        "addresses",
        "photos",
    ] {
        assert_eq!(made.body.get(absent), None, "{absent}");
        assert_eq!(
            found(scim, &format!("userName sw \"ann\" and {absent} pr")).await,
            ""
        );
    }
}

/// Conformance: 23, 24, 86.
#[tokio::test(flavor = "multi_thread")]
async fn schemas_are_those_that_describe_the_resource() {
    let place = Place::new().await;
    let scim = place.scim();
    let mut body = user("ann@acme.example");
    body["schemas"] = json!([USER, "urn:what:nobody:knows", USER, ENTERPRISE]);
    let made = scim.post("/Users", &body).await.is(201);
    let schemas = |body: &Value| -> Vec<String> {
        let mut urns: Vec<String> = serde_json::from_value(body["schemas"].clone()).unwrap();
        urns.sort();
        urns.retain(|urn| !urn.starts_with("urn:roster:"));
        urns
    };
    assert_eq!(schemas(&made.body), [USER]);
    // Its URN may be missing in what comes.
    let mut body = user("bob@acme.example");
    body[ENTERPRISE] = json!({"department": "D"});
    let made = scim.post("/Users", &body).await.is(201);
    assert_eq!(schemas(&made.body), [USER, ENTERPRISE]);
    assert_eq!(made.body[ENTERPRISE]["department"], "D");
    let path = format!("/Users/{}", made.id());
    for remove in [
        json!([{"op": "remove", "path": format!("{ENTERPRISE}:department")}]),
        json!([{"op": "remove", "path": ENTERPRISE}]),
    ] {
        let gone = scim.patch(&path, remove).await.is(200);
        assert_eq!(schemas(&gone.body), [USER]);
        assert_eq!(gone.body.get(ENTERPRISE), None);
        let add = json!([{"op": "add", "path": format!("{ENTERPRISE}:department"), "value": "D"}]);
        let back = scim.patch(&path, add).await.is(200);
        assert_eq!(schemas(&back.body), [USER, ENTERPRISE]);
    }
}

/// Conformance: 27, 89.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_nothing_leaves_times_and_versions() {
    let place = Place::new().await;
    let scim = place.scim();
    let ann = scim.make_user("ann@acme.example").await;
    let bob = scim.make_user("bob@acme.example").await;
    let group = scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    let (user, group) = (format!("/Users/{ann}"), format!("/Groups/{group}"));
    let read = scim.get(&user).await.is(200);
    let work = json!([{"value": "ANN@acme.example", "type": "work", "primary": true}]);
    let shown = read.body["emails"].clone();
    for operations in [
        json!([{"op": "add", "path": "title", "value": null}]),
        json!([{"op": "replace", "value": {"displayName": read.body["displayName"]}}]),
        json!([{"op": "add", "path": "emails", "value": shown}]),
        json!([{"op": "replace", "path": "emails", "value": shown}]),
        json!([{"op": "add", "path": "emails", "value": work},
               {"op": "replace", "path": "emails", "value": shown}]),
    ] {
        let same = scim.patch(&user, operations.clone()).await.is(200);
        assert_eq!(same.body, read.body, "{operations}");
        assert_eq!(same.header("etag"), read.header("etag"));
    }
    assert_eq!(scim.put(&user, &read.body).await.is(200).body, read.body);
    let read = scim.get(&group).await.is(200);
    for operations in [
        json!([{"op": "add", "path": "members", "value": [{"value": ann}]}]),
        json!([{"op": "add", "path": "members", "value": [{"value": ann}, {"value": ann}]}]),
        json!([{"op": "remove", "path": format!("members[value eq \"{bob}\"]")}]),
        json!([{"op": "replace", "path": "members", "value": [{"value": ann}]}]),
    ] {
        scim.patch(&group, operations.clone()).await.is(204);
        let same = scim.get(&group).await.is(200);
        assert_eq!(same.body, read.body, "{operations}");
    }
    scim.put(&group, &read.body).await.is(200);
    assert_eq!(scim.get(&group).await.is(200).body, read.body);
    // And what does, moves them.
    let add = json!([{"op": "add", "path": "members", "value": [{"value": bob}]}]);
    scim.patch(&group, add).await.is(204);
    let after = scim.get(&group).await.is(200);
    assert_ne!(
        after.body["meta"]["lastModified"],
        read.body["meta"]["lastModified"]
    );
    assert_eq!(after.body["meta"]["created"], read.body["meta"]["created"]);
}

/// Conformance: 25, 93.
#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_not_is_404_for_every_method() {
    let place = Place::new().await;
    let scim = place.scim();
    let ann = scim.make_user("ann@acme.example").await;
    let bob = scim.make_user("bob@acme.example").await;
    let made = scim.make_group("CB/acme/ROLE/Analyst", &[&ann, &bob]).await;
    scim.delete(&format!("/Users/{ann}")).await.is(204);
    assert_eq!(scim.members(&made).await, std::slice::from_ref(&bob));
    let path = format!("/Users/{bob}");
    assert_eq!(
        scim.get(&path).await.is(200).body["groups"][0]["value"],
        made
    );
    scim.delete(&format!("/Groups/{made}")).await.is(204);
    let groups = scim.get(&path).await.is(200).body["groups"].clone();
    assert!(groups.is_null() || groups == json!([]), "{groups}");
    for (endpoint, body, ids) in [
        ("/Users", user("ann@acme.example"), [&ann, &made]),
        ("/Groups", group("CB/acme/ROLE/Admin", &[]), [&made, &bob]),
    ] {
        let nobody = "00000000-0000-7000-8000-000000000000".to_owned();
        let odd = "0'--".to_owned();
        for id in ids.into_iter().chain([&nobody, &odd]) {
            let path = format!("{endpoint}/{id}");
            scim.get(&path).await.error(404, "");
            scim.delete(&path).await.error(404, "");
            scim.with_body(Method::PUT, &path, &body)
                .await
                .error(404, "");
            let change = json!([{"op": "replace", "path": "externalId", "value": "x"}]);
            scim.patch(&path, change).await.error(404, "");
        }
    }
    assert_eq!(apart_from_meta(&scim.get(&path).await.body)["id"], bob);
}
