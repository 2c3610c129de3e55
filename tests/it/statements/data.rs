//! What values may be, and how they compare.

use identity_tests::scim::{ENTERPRISE, USER, user};
use serde_json::{Value, json};

use super::{Place, found};

/// Conformance: 95, 96, 99.
#[tokio::test(flavor = "multi_thread")]
async fn names_come_in_any_case_and_values_stay_as_they_came() {
    let place = Place::new().await;
    let scim = place.scim();
    let body = json!({
        "SCHEMAS": [USER], "USERNAME": "Ann.Lee@Acme.Example", "Name": {"GIVENNAME": "aNN"},
        "EMAILS": [{"VALUE": "Ann@X.Example", "Type": "Work"}], "displayname": "ANN lee",
        ENTERPRISE.to_uppercase(): {"EmployeeNUMBER": "eN-7"},
        "groups": [{"value": "x"}],
    });
    let made = scim.post("/Users", &body).await.is(201);
    assert_eq!(made.body["userName"], "Ann.Lee@Acme.Example");
    assert_eq!(made.body["name"], json!({"givenName": "aNN"}));
    assert_eq!(
        made.body["emails"],
        json!([{"value": "Ann@X.Example", "type": "Work"}])
    );
    assert_eq!(made.body["displayName"], "ANN lee");
    assert_eq!(made.body[ENTERPRISE], json!({"employeeNumber": "eN-7"}));
    // The groups follow from the groups, and nothing on the user changes them.
    let id = made.id();
    let group = scim.make_group("CB/acme/ROLE/Analyst", &[&id]).await;
    let path = format!("/Users/{id}");
    let expected = json!([{
        "value": group, "$ref": format!("{}/Groups/{group}", scim.url),
        "display": "CB/acme/ROLE/Analyst", "type": "direct",
    }]);
    let mut read = scim.get(&path).await.is(200).body;
    assert_eq!(read["groups"], expected);
    read["groups"] = json!([]);
    assert_eq!(
        scim.put(&path, &read).await.is(200).body["groups"],
        expected
    );
    let remove = json!([{"op": "remove", "path": "groups"}]);
    scim.patch(&path, remove).await.error(400, "mutability");
}

/// Conformance: 97.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_stands_once_under_one_label() {
    let place = Place::new().await;
    let scim = place.scim();
    let mut body = user("ann@acme.example");
    body["emails"] = json!([
        {"value": "a@x", "type": "work"}, {"value": "A@X", "type": "WORK", "primary": true},
        {"value": "a@x", "type": "home"},
    ]);
    let once = json!([
        {"value": "A@X", "type": "WORK", "primary": true}, {"value": "a@x", "type": "home"},
    ]);
    let made = scim.post("/Users", &body).await.is(201);
    assert_eq!(made.body["emails"], once);
    let path = format!("/Users/{}", made.id());
    assert_eq!(scim.put(&path, &body).await.is(200).body["emails"], once);
    let patch = json!([{"op": "add", "path": "emails", "value": body["emails"]}]);
    assert_eq!(scim.patch(&path, patch).await.is(200).body["emails"], once);
    body["emails"] =
        json!([{"value": "a@x", "primary": true}, {"value": "b@x", "primary": "True"}]);
    scim.put(&path, &body).await.error(400, "invalidValue");
    body["userName"] = json!("bob@acme.example");
    scim.post("/Users", &body).await.error(400, "invalidValue");
    // One may come without the list around it.
    body["emails"] = json!({"value": "b@x", "type": "work"});
    let made = scim.post("/Users", &body).await.is(201);
    assert_eq!(
        made.body["emails"],
        json!([{"value": "b@x", "type": "work"}])
    );
}

/// Conformance: 98, 8.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_a_form_must_have_it() {
    let place = Place::new().await;
    let scim = place.scim();
    let made = scim.make_user("ann@acme.example").await;
    let path = format!("/Users/{made}");
    for (name, value) in [
        ("profileUrl", json!("not a uri")),
        ("photos", json!([{"value": "http://[::x"}])),
        ("x509Certificates", json!([{"value": "not base64"}])),
        ("x509Certificates", json!([{"value": "AB="}])),
        (
            ENTERPRISE,
            json!({"manager": {"value": "m", "$ref": "a b"}}),
        ),
        ("active", json!("perhaps")),
        ("title", json!(7)),
        ("emails", json!("ann@x")),
        ("emails", json!([{"value": {"x": 1}}])),
        ("name", json!("Ann")),
    ] {
        let mut body = user("bob@acme.example");
        body[name] = value.clone();
        let detail = scim.post("/Users", &body).await.error(400, "invalidValue");
        assert!(detail.contains(name), "{detail}");
        scim.put(&path, &body).await.error(400, "invalidValue");
        let patch = json!([{"op": "replace", "path": name, "value": value}]);
        let detail = scim.patch(&path, patch).await.error(400, "invalidValue");
        assert!(detail.contains(name), "{detail}");
    }
    let filter = "/Users?filter=meta.created%20gt%20%22";
    for time in ["2026-01-31", "2026-01-31T23:59:59+25:00", "now"] {
        let answer = scim.get(&format!("{filter}{time}%22")).await;
        answer.error(400, "invalidFilter");
    }
    let mut body = user("bob@acme.example");
    body["profileUrl"] = json!("../people/bob?x=%20#y");
    body["photos"] = json!([{"value": "data:image/png;base64,AAAA"}]);
    scim.post("/Users", &body).await.is(201);
}

/// Conformance: 100, 101, 18.
#[tokio::test(flavor = "multi_thread")]
async fn letters_compare_however_they_are_written() {
    let place = Place::new().await;
    let scim = place.scim();
    for (name, same, other) in [
        ("é@acme.example", "E\u{301}@acme.example", "e@acme.example"),
        (
            "full@acme.example",
            "ｆｕｌｌ@acme.example",
            "ful@acme.example",
        ),
        (
            "straße@acme.example",
            "STRASSE@acme.example",
            "strase@acme.example",
        ),
        // A dotless i is a letter of its own, whatever is the custom in Turkey.
        ("ıi@acme.example", "ıI@ACME.example", "ii@acme.example"),
    ] {
        let mut body = user(name);
        body["emails"] = json!([{"value": name}]);
        let made = scim.post("/Users", &body).await.is(201);
        assert_eq!(made.body["userName"], name);
        scim.post("/Users", &user(same))
            .await
            .error(409, "uniqueness");
        for attribute in ["userName", "emails.value", "emails"] {
            let start = name.split('@').next().unwrap();
            assert_eq!(
                found(scim, &format!("{attribute} eq \"{same}\"")).await,
                start
            );
        }
        scim.make_user(other).await;
    }
    for bad in [
        "a\u{7}@acme.example",
        "a\u{2003}b@acme.example",
        "a\u{0}@acme.example",
    ] {
        scim.post("/Users", &user(bad))
            .await
            .error(400, "invalidValue");
    }
}

/// Conformance: 92, 94, 132.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_deleted_is_nowhere_and_who_is_inactive_is_there() {
    let place = Place::new().await;
    let scim = place.scim();
    // The Owner came another way, and is there to be found.
    assert_eq!(
        found(scim, "userName eq \"owner@acme.example\"").await,
        "owner"
    );
    let ann = scim.make_user("ann@acme.example").await;
    let path = format!("/Users/{ann}");
    let off = json!([{"op": "replace", "value": {"active": false}}]);
    scim.patch(&path, off).await.is(200);
    assert_eq!(scim.get(&path).await.is(200).body["active"], false);
    assert_eq!(found(scim, "userName sw \"ann\"").await, "ann");
    assert_eq!(found(scim, "active eq false").await, "ann");
    scim.post("/Users", &user("ann@acme.example"))
        .await
        .error(409, "uniqueness");
    let gone = scim.delete(&path).await.is(204);
    assert_eq!(gone.body, Value::Null);
    scim.get(&path).await.error(404, "");
    scim.delete(&path).await.error(404, "");
    assert_eq!(found(scim, "userName sw \"ann\"").await, "");
    scim.make_user("ann@acme.example").await;
}

/// Conformance: 37, 103, 110.
#[tokio::test(flavor = "multi_thread")]
async fn the_schemas_declare_what_the_rfc_forgot_and_nothing_on_request() {
    let place = Place::new().await;
    let schemas = place.scim().get("/Schemas").await.is(200);
    let text = schemas.body.to_string();
    assert!(!text.contains("\"returned\":\"request\"") && !text.contains(":null"));
    let attribute = |urn: &str, name: &str, part: &str| -> Value {
        let all = schemas.resources();
        let schema = all
            .iter()
            .find(|schema| schema["id"] == urn)
            .unwrap()
            .clone();
        let within = |list: &Value, name: &str| {
            let found = list
                .as_array()
                .unwrap()
                .iter()
                .find(|one| one["name"] == name);
            found.unwrap_or_else(|| panic!("{urn}: {name}")).clone()
        };
        within(&within(&schema["attributes"], name)["subAttributes"], part)
    };
    assert_eq!(attribute(USER, "addresses", "primary")["type"], "boolean");
    let group = "urn:ietf:params:scim:schemas:core:2.0:Group";
    assert_eq!(attribute(group, "members", "display")["returned"], "never");
    assert_eq!(
        attribute(USER, "x509Certificates", "value")["type"],
        "binary"
    );
}
