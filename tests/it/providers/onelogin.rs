//! OneLogin: queries with `+` for a space and a `&` at their end, a PUT to an address that ends in `?`, a User-Agent
//! of `application/json`, and bodies made by a template that the administrator edits, of any version of SCIM.

use identity_tests::{scim::GROUP, world::World};

use super::*;

const HEADERS: &[(&str, &str)] = &[
    ("user-agent", "application/json"),
    // Its documents want answers of this type.
    ("accept", "application/json"),
];

fn onelogin(site: &Site) -> Provider {
    Provider {
        content_type: "application/json",
        answers: "application/json",
        ..Provider::new(site, HEADERS)
    }
}

/// A body of the administrator's template.
fn templated(schema: &str, name: &str, active: Value) -> Value {
    json!({
        "schemas": [schema],
        "id": null,
        "externalId": "ol-184023",
        "userName": name,
        "name": { "givenName": "Ann", "familyName": "Lee", "formatted": "Ann Lee" },
        "emails": [{ "value": name, "type": "work", "primary": true }],
        "displayName": "Ann Lee",
        "title": null,
        "active": active,
    })
}

fn lookup(name: &str) -> String {
    let name = name.replace('@', "%40");
    format!("/Users?filter=userName+eq+%22{name}%22&")
}

/// Conformance: 1, 12.
#[tokio::test(flavor = "multi_thread")]
async fn a_life_cycle() {
    let world = World::start().await;
    let acme = world.acme().await;
    let onelogin = onelogin(&acme);
    // Its first call asks for somebody whom it knows not to be there.
    assert_eq!(
        onelogin.found(&lookup("1f0b77c2@nowhere.example")).await,
        [""; 0]
    );
    onelogin.get("/Groups?").await.is(200);

    let first = templated(
        "urn:scim:schemas:core:1.0",
        "ann@acme.example",
        json!("true"),
    );
    let made = onelogin.post("/Users", &first).await.is(201);
    let ann = whole_user(&made, "ann@acme.example", true);
    assert_eq!(made.body["schemas"][0], USER);
    assert_eq!(
        onelogin.found(&lookup("Ann@acme.example")).await,
        [ann.as_str()]
    );
    onelogin
        .post("/Users", &first)
        .await
        .error(409, "uniqueness");
    let read = onelogin.get(&format!("/Users/{ann}?")).await.is(200);
    assert_eq!(read.body, made.body);

    // Groups by PATCH: a role given by a rule, then taken again.
    let group =
        json!({ "schemas": ["urn:scim:schemas:core:1.0"], "id": null, "displayName": ANALYSTS });
    let group = onelogin.post("/Groups", &group).await.is(201);
    assert_eq!(group.body["schemas"], json!([GROUP]));
    let group = format!("/Groups/{}", group.id());
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": ann }] }]);
    onelogin.patch(&format!("{group}?"), add).await.is(204);
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Analyst"]);

    // Users by PUT, whichever version the template names; a text, a boolean or nothing says whether they are active.
    for (schema, active, roles) in [
        ("urn:scim:schemas:core:2.0", json!("true"), vec!["Analyst"]),
        ("urn:scim:schemas:core:1.0", json!("False"), vec![]),
        (USER, json!(""), vec![]),
        (USER, json!(null), vec![]),
        ("urn:scim:schemas:core:2.0", json!(true), vec!["Analyst"]),
    ] {
        let mut body = templated(schema, "ann@acme.example", active.clone());
        body["displayName"] = format!("Ann {active}").into();
        let put = onelogin.put(&format!("/Users/{ann}?"), &body).await.is(200);
        assert_eq!(put.id(), ann);
        assert_eq!(put.body["displayName"], body["displayName"]);
        assert_eq!(put.body["active"], !roles.is_empty());
        assert_eq!(acme.rpc.roles("ann@acme.example").await, roles, "{active}");
    }
    let remove = json!([{ "op": "remove", "path": format!("members[value eq \"{ann}\"]") }]);
    onelogin.patch(&group, remove).await.is(204);
    assert_eq!(
        acme.rpc.roles("ann@acme.example").await,
        Vec::<String>::new()
    );

    // It deletes, and does not only deactivate.
    onelogin.delete(&format!("/Users/{ann}")).await.is(204);
    assert_eq!(onelogin.found(&lookup("ann@acme.example")).await, [""; 0]);
    // An error is SCIM's own whatever was asked for.
    onelogin.get(&format!("/Users/{ann}")).await.error(404, "");
    onelogin.delete(&group).await.is(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_says_what_nobody_can_mean_is_refused() {
    let world = World::start().await;
    let acme = world.acme().await;
    let onelogin = onelogin(&acme);
    let unclear = templated(USER, "ann@acme.example", json!("enabled"));
    let detail = onelogin
        .post("/Users", &unclear)
        .await
        .error(400, "invalidValue");
    assert!(detail.starts_with("active "), "{detail}");
    let foreign = templated("urn:example:person", "ann@acme.example", json!(true));
    let detail = onelogin
        .post("/Users", &foreign)
        .await
        .error(400, "invalidSyntax");
    assert!(detail.contains(USER), "{detail}");
    assert_eq!(onelogin.found(&lookup("ann@acme.example")).await, [""; 0]);
}
