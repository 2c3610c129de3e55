//! PUT.

use identity_tests::scim::{ENTERPRISE, USER, group, user};
use serde_json::{Value, json};

use super::{Place, apart_from_meta};

/// Conformance: 67, 70.
#[tokio::test(flavor = "multi_thread")]
async fn put_changes_what_its_address_names_and_makes_nothing() {
    let place = Place::new().await;
    let scim = place.scim();
    let ann = scim.make_user("ann@acme.example").await;
    let bob = scim.make_user("bob@acme.example").await;
    let made = scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    let nobody = "00000000-0000-7000-8000-000000000000";
    let body = user("new@acme.example");
    scim.put(&format!("/Users/{nobody}"), &body)
        .await
        .error(404, "");
    let body = group("CB/acme/ROLE/Admin", &[]);
    scim.put(&format!("/Groups/{nobody}"), &body)
        .await
        .error(404, "");
    let mut body = user("ann@acme.example");
    body["id"] = json!(bob);
    body["title"] = json!("T");
    let path = format!("/Users/{ann}");
    let put = scim.put(&path, &body).await.is(200);
    assert_eq!(
        (&put.body["id"], &put.body["title"]),
        (&json!(ann), &json!("T"))
    );
    assert_eq!(put.header("location"), format!("{}{path}", scim.url));
    assert_eq!(
        put.header("etag"),
        put.body["meta"]["version"].as_str().unwrap()
    );
    assert_eq!(scim.get(&path).await.is(200).body, put.body);
    let other = scim.get(&format!("/Users/{bob}")).await.is(200);
    assert_eq!(other.body.get("title"), None);
    let mut body = group("CB/acme/ROLE/Analyst", &[&bob]);
    body["id"] = json!(ann);
    let put = scim.put(&format!("/Groups/{made}"), &body).await.is(200);
    assert_eq!(put.body["id"], json!(made));
    assert_eq!(
        put.header("location"),
        format!("{}/Groups/{made}", scim.url)
    );
}

/// Conformance: 68, 69.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_put_leaves_out_is_cleared_but_what_many_clients_never_say() {
    let place = Place::new().await;
    let scim = place.scim();
    let analyst = scim.id_of("/Roles", "Analyst").await;
    let entity = scim.id_of("/BusinessEntities", "EU GmbH").await;
    let mut body = user("ann@acme.example");
    body["active"] = json!(false);
    body["title"] = json!("T");
    body["phoneNumbers"] = json!([{"value": "1", "type": "work"}]);
    body["roles"] = json!([{"value": analyst}]);
    body["entitlements"] = json!([{"value": entity}]);
    body[ENTERPRISE] = json!({"department": "D", "manager": {"value": "m"}});
    let made = scim.post("/Users", &body).await.is(201);
    let path = format!("/Users/{}", made.id());
    let bare = json!({
        "schemas": [USER], "userName": "ann@acme.example",
        "groups": [{"value": "x"}], "meta": {"created": "2001-01-01T00:00:00Z"},
    });
    let put = scim.put(&path, &bare).await.is(200);
    for cleared in [
        "title",
        "phoneNumbers",
        "name",
        "displayName",
        "externalId",
        ENTERPRISE,
    ] {
        assert_eq!(put.body.get(cleared), None, "{cleared}");
    }
    for kept in ["active", "roles", "entitlements"] {
        assert_eq!(put.body[kept], made.body[kept], "{kept}");
    }
    assert_eq!(put.body["meta"]["created"], made.body["meta"]["created"]);
    let mut cleared = bare.clone();
    cleared["roles"] = json!([]);
    cleared["entitlements"] = Value::Null;
    let put = scim.put(&path, &cleared).await.is(200);
    assert_eq!(
        (put.body.get("roles"), put.body.get("entitlements")),
        (None, None)
    );
    scim.put(&path, &json!({"schemas": [USER], "title": "T"}))
        .await
        .error(400, "invalidValue");
}

/// Conformance: 71, 72, 40.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_put_back_as_it_was_read_and_its_members_are_a_set() {
    let place = Place::new().await;
    let scim = place.scim();
    let mut ids = Vec::new();
    for name in ["ann", "bob", "cem"] {
        ids.push(scim.make_user(&format!("{name}@acme.example")).await);
    }
    let mut body = group("CB/acme/BE/EU GmbH", &[&ids[0], &ids[1]]);
    body["externalId"] = json!("g-1");
    let made = scim.post("/Groups", &body).await.is(201);
    let path = format!("/Groups/{}", made.id());
    let read = scim.get(&path).await.is(200);
    assert_eq!(scim.put(&path, &read.body).await.is(200).body, read.body);
    let mut swapped = read.body.clone();
    swapped["members"] = json!([{"value": ids[2]}, {"value": ids[1]}, {"value": ids[2]}]);
    scim.put(&path, &swapped).await.is(200);
    let mut expected = vec![ids[1].clone(), ids[2].clone()];
    expected.sort();
    assert_eq!(scim.members(&made.id()).await, expected);
    let without = scim
        .get(&format!("{path}?excludedAttributes=members"))
        .await
        .is(200);
    assert_eq!(without.body.get("members"), None);
    assert_eq!(
        apart_from_meta(&without.body)["displayName"],
        read.body["displayName"]
    );
}

/// Conformance: 72.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_everything_is_put_back_as_it_was_read() {
    let place = Place::new().await;
    let scim = place.scim();
    let role = scim.id_of("/Roles", "Analyst").await;
    let mut body = user("ann@acme.example");
    for (name, value) in [
        ("nickName", json!("A")),
        ("profileUrl", json!("https://x.example/é")),
        ("title", json!("T")),
        ("userType", json!("Employee")),
        ("preferredLanguage", json!("de-CH, en;q=0.5")),
        ("timezone", json!("Europe/Zurich")),
        (
            "phoneNumbers",
            json!([{"value": "+1", "type": "mobile", "display": "one"}, {"value": "+2"}]),
        ),
        ("ims", json!([{"value": "a", "type": "xmpp"}])),
        (
            "photos",
            json!([{"value": "https://x.example/p.png", "type": "photo", "primary": false}]),
        ),
        (
            "addresses",
            json!([{"streetAddress": "S 1", "locality": "L", "postalCode": "8000", "country": "CH",
                    "type": "work", "primary": true}]),
        ),
        ("x509Certificates", json!([{"value": "MIIB"}])),
        ("roles", json!([{"value": role}])),
        (
            ENTERPRISE,
            json!({"employeeNumber": "7", "costCenter": "C", "organization": "O", "division": "V",
                   "department": "D", "manager": {"value": "m", "$ref": "../Users/m", "displayName": "M"}}),
        ),
    ] {
        body[name] = value;
    }
    let made = scim.post("/Users", &body).await.is(201);
    scim.make_group("CB/acme/ROLE/Sales Agent", &[&made.id()])
        .await;
    let path = format!("/Users/{}", made.id());
    let read = scim.get(&path).await.is(200);
    assert_eq!(read.body["groups"].as_array().unwrap().len(), 1);
    let put = scim.put(&path, &read.body).await.is(200);
    assert_eq!(put.body, read.body);
    assert_eq!(put.header("etag"), read.header("etag"));
}
