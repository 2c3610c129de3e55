//! `attributes` and `excludedAttributes`.

use identity_tests::{
    scim::{ENTERPRISE, GROUP, USER, encode, group, user},
    world::World,
};
use serde_json::{Value, json};

/// Roster's own extension.
const ACCESS: &str = "urn:roster:params:scim:schemas:extension:access:2.0:User";

fn keys(resource: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = resource
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

/// Conformance: 34, 38.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_shows_what_was_asked_for() {
    let world = World::start().await;
    let acme = world.acme().await;
    let mut body = user("Ann@acme.example");
    body[ENTERPRISE] = json!({ "department": "D", "division": "V", "manager": { "value": "m" } });
    let made = acme.scim.post("/Users", &body).await.is(201);
    let id = made.id();
    acme.scim.make_group("CB/acme/ROLE/Analyst", &[&id]).await;
    let whole = acme.scim.get(&format!("/Users/{id}")).await.is(200).body;
    assert_eq!(
        keys(&whole),
        [
            "active",
            "displayName",
            "emails",
            "externalId",
            "groups",
            "id",
            "locale",
            "meta",
            "name",
            "schemas",
            ENTERPRISE,
            ACCESS,
            "userName"
        ]
    );
    let filter = encode("userName eq \"ann@acme.example\"");
    for (query, expected) in [
        (
            "attributes=userName",
            json!({ "userName": "Ann@acme.example" }),
        ),
        (
            "attributes=USERNAME,%20active,,nope",
            json!({ "userName": "Ann@acme.example", "active": true }),
        ),
        (
            "attributes=name.givenName",
            json!({ "name": { "givenName": "Given" } }),
        ),
        (
            "attributes=emails.value",
            json!({ "emails": [{ "value": "Ann@acme.example" }] }),
        ),
        (
            "attributes=urn:ietf:params:scim:schemas:core:2.0:User:name.familyName",
            json!({ "name": { "familyName": "Family" } }),
        ),
        (
            "attributes=urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:division",
            json!({ ENTERPRISE: { "division": "V" } }),
        ),
        (
            "attributes=urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
            json!({ ENTERPRISE: whole[ENTERPRISE] }),
        ),
        ("attributes=meta", json!({ "meta": whole["meta"] })),
        (
            "attributes=groups.display",
            json!({ "groups": [{ "display": "CB/acme/ROLE/Analyst" }] }),
        ),
        ("attributes=password,nope", json!({})),
        ("attributes=id", json!({})),
    ] {
        let mut expected = expected;
        expected["id"] = whole["id"].clone();
        expected["schemas"] = whole["schemas"].clone();
        let single = acme.scim.get(&format!("/Users/{id}?{query}")).await.is(200);
        assert_eq!(single.body, expected, "{query}");
        let list = acme
            .scim
            .get(&format!("/Users?filter={filter}&{query}"))
            .await
            .is(200);
        assert_eq!(list.body["Resources"], json!([expected]), "{query}");
    }
    let without = |names: &[&str]| {
        let mut expected = whole.clone();
        for name in names {
            expected.as_object_mut().unwrap().remove(*name);
        }
        expected
    };
    for (query, expected) in [
        (
            "excludedAttributes=Emails,groups,meta",
            without(&["emails", "groups", "meta"]),
        ),
        ("excludedAttributes=id,schemas,nope", whole.clone()),
        ("excludedAttributes=", whole.clone()),
        ("attributes=", whole.clone()),
        (
            &format!("excludedAttributes={ENTERPRISE}"),
            without(&[ENTERPRISE]),
        ),
        (
            &format!("excludedAttributes={ACCESS},{ENTERPRISE}"),
            without(&[ACCESS, ENTERPRISE]),
        ),
    ] {
        let single = acme.scim.get(&format!("/Users/{id}?{query}")).await.is(200);
        assert_eq!(single.body, expected, "{query}");
    }
    let part = acme
        .scim
        .get(&format!(
            "/Users/{id}?excludedAttributes=name.givenName,{ENTERPRISE}:manager"
        ))
        .await
        .is(200)
        .body;
    assert_eq!(part["name"], json!({ "familyName": "Family" }));
    assert_eq!(
        part[ENTERPRISE],
        json!({ "department": "D", "division": "V" })
    );
}

/// Conformance: 33, 41.
#[tokio::test(flavor = "multi_thread")]
async fn writes_show_what_was_asked_for_and_do_the_same() {
    let world = World::start().await;
    let acme = world.acme().await;
    let made = acme
        .scim
        .post("/Users?attributes=userName", &user("ann@acme.example"))
        .await
        .is(201);
    assert_eq!(keys(&made.body), ["id", "schemas", "userName"]);
    let id = made.id();
    let path = format!("/Users/{id}?attributes=title");
    let whole =
        json!({ "schemas": [USER], "userName": "ann@acme.example", "title": "T", "nickName": "N" });
    let put = acme.scim.put(&path, &whole).await.is(200);
    assert_eq!(keys(&put.body), ["id", "schemas", "title"]);
    let patched = json!([{ "op": "replace", "value": { "title": "U", "nickName": "M" } }]);
    let patched = acme.scim.patch(&path, patched).await.is(200);
    assert_eq!(patched.body["title"], "U");
    assert_eq!(keys(&patched.body), ["id", "schemas", "title"]);
    let read = acme.scim.get(&format!("/Users/{id}")).await.is(200);
    assert_eq!(read.body["nickName"], "M");

    let made = acme
        .scim
        .post(
            "/Groups?excludedAttributes=members",
            &group("CB/acme/ROLE/Analyst", &[&id]),
        )
        .await
        .is(201);
    assert_eq!(keys(&made.body), ["displayName", "id", "meta", "schemas"]);
    let path = format!("/Groups/{}", made.id());
    // A PATCH of a group answers 204, and 200 where something is asked for.
    let rename = json!([{ "op": "replace", "value": { "displayName": "CB/acme/ROLE/Admin" } }]);
    let answer = acme
        .scim
        .patch(&format!("{path}?attributes=displayName"), rename)
        .await
        .is(200);
    assert_eq!(keys(&answer.body), ["displayName", "id", "schemas"]);
    assert_eq!(answer.body["displayName"], "CB/acme/ROLE/Admin");
    let idle = json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }]);
    let answer = acme
        .scim
        .patch(&format!("{path}?attributes=members.value"), idle.clone())
        .await
        .is(200);
    assert_eq!(answer.body["members"], json!([{ "value": id }]));
    let answer = acme
        .scim
        .patch(&format!("{path}?excludedAttributes=members"), idle)
        .await
        .is(200);
    assert_eq!(keys(&answer.body), ["displayName", "id", "meta", "schemas"]);
    let path_members = format!("{path}?attributes=members");
    let put = acme
        .scim
        .put(&path_members, &group("CB/acme/ROLE/Admin", &[&id]))
        .await;
    assert_eq!(keys(&put.is(200).body), ["id", "members", "schemas"]);
    let read = acme.scim.get(&path).await.is(200).body;
    assert_eq!(read["schemas"], json!([GROUP]));
    assert_eq!(read["members"][0]["value"], id.as_str());
    assert_eq!(read["members"][0]["type"], "User");
    assert!(
        read["members"][0]["$ref"]
            .as_str()
            .unwrap()
            .ends_with(&format!("/acme/scim/v2/Users/{id}"))
    );
    for path in ["/Groups".to_owned(), path] {
        let read = acme
            .scim
            .get(&format!("{path}?excludedAttributes=members"))
            .await
            .is(200)
            .body;
        let shown = read.get("Resources").map_or(&read, |list| &list[0]);
        assert_eq!(keys(shown), ["displayName", "id", "meta", "schemas"]);
    }
}

/// Conformance: 33.
#[tokio::test(flavor = "multi_thread")]
async fn both_parameters_at_once_contradict_and_change_nothing() {
    let world = World::start().await;
    let acme = world.acme().await;
    let id = acme.scim.make_user("ann@acme.example").await;
    let before = world.database.snapshot();
    let both = "attributes=userName&excludedAttributes=emails";
    let path = format!("/Users/{id}?{both}");
    acme.scim.get(&path).await.error(400, "invalidValue");
    acme.scim
        .get(&format!("/Users?{both}"))
        .await
        .error(400, "invalidValue");
    acme.scim
        .get(&format!("/Groups?{both}"))
        .await
        .error(400, "invalidValue");
    acme.scim
        .post(&format!("/Users?{both}"), &user("b@b.example"))
        .await
        .error(400, "invalidValue");
    acme.scim
        .put(
            &path,
            &json!({ "schemas": [USER], "userName": "x@y.example" }),
        )
        .await
        .error(400, "invalidValue");
    let off = json!([{ "op": "replace", "value": { "active": false } }]);
    acme.scim.patch(&path, off).await.error(400, "invalidValue");
    assert_eq!(world.database.snapshot(), before);
}
