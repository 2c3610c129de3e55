//! Microsoft Entra ID as it is without a flag: capitals in `op`, texts for booleans, a path for each attribute, and
//! a removal of members by their values.

use identity_tests::{scim::GROUP, world::World};

use super::*;

const HEADERS: &[(&str, &str)] = &[("accept", "application/scim+json")];

/// What a POST of a group carries beside the schema of groups.
const ADSCIM: &str = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group";

pub(super) fn entra(site: &Site) -> Provider {
    Provider {
        content_type: "application/scim+json; charset=utf-8",
        ..Provider::new(site, HEADERS)
    }
}

/// A create with the default attribute mappings.
pub(super) fn new_user(name: &str, manager: Option<&str>) -> Value {
    let mut enterprise = json!({ "employeeNumber": "E-1", "department": "Billing" });
    if let Some(manager) = manager {
        enterprise["manager"] = manager.into();
    }
    json!({
        "schemas": [USER, ENTERPRISE],
        "externalId": format!("ext-{name}"),
        "userName": name,
        "active": true,
        "addresses": [{ "primary": false, "type": "other", "Formatted": "Building 7" }],
        "displayName": "Ann Lee",
        "emails": [{ "primary": true, "type": "work", "value": name }],
        "meta": { "resourceType": "User" },
        "name": { "formatted": "Ann Lee", "familyName": "Lee", "givenName": "Ann" },
        "preferredLanguage": "en-US",
        "roles": [],
        "title": "Clerk",
        ENTERPRISE: enterprise,
    })
}

/// A create of a group: no members, an id of Entra's own, and one schema more.
pub(super) fn new_group(name: &str) -> Value {
    json!({
        "schemas": [GROUP, ADSCIM],
        "externalId": format!("ext-{name}"),
        "displayName": name,
        "meta": { "resourceType": "Group" },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_from_the_connection_test_to_the_hard_delete() {
    let world = World::start().await;
    let acme = world.acme().await;
    let entra = entra(&acme);

    // Test Connection, and the keep-alive of every cycle: absent ones, found to be absent.
    for lookup in [
        "/Users?filter=userName eq \"8c1d5e1f-26e1-4b3a-a2e3-3f2f5c7d9e01\"",
        "/Users?filter=externalId eq \"8c1d5e1f-26e1-4b3a-a2e3-3f2f5c7d9e01\"",
        "/Users?filter=emails[type eq \"work\"].value eq \"nobody@acme.example\"",
        "/Groups?excludedAttributes=members&filter=displayName eq \"8c1d5e1f-26e1-4b3a-a2e3\"",
    ] {
        assert_eq!(entra.found(lookup).await, [""; 0], "{lookup}");
        let none = entra.get(lookup).await.is(200);
        assert_eq!(none.body["Resources"], json!([]));
    }
    // One of the samples in its documents has no quotes; what it means is not guessed.
    entra
        .get("/Users?filter=externalId eq jyoung")
        .await
        .error(400, "invalidFilter");

    let boss = entra
        .post("/Users", &new_user("boss@acme.example", None))
        .await
        .is(201);
    let boss = boss.id();
    let made = entra
        .post("/Users", &new_user("Ann@acme.example", Some(&boss)))
        .await
        .is(201);
    let ann = whole_user(&made, "Ann@acme.example", true);
    assert_eq!(made.body["externalId"], "ext-Ann@acme.example");
    assert_eq!(made.body[ENTERPRISE]["manager"], json!({ "value": boss }));
    assert_eq!(made.body["addresses"][0]["formatted"], "Building 7");
    assert_eq!(
        acme.rpc.roles("ann@acme.example").await,
        Vec::<String>::new()
    );
    let detail = entra
        .post("/Users", &new_user("ann@ACME.example", None))
        .await
        .error(409, "uniqueness");
    assert!(detail.contains(&ann), "{detail}");
    for lookup in [
        "/Users?filter=userName eq \"ANN@acme.example\"",
        "/Users?filter=externalId eq \"ext-Ann@acme.example\"",
        "/Users?filter=emails[type eq \"work\"].value eq \"ann@acme.example\"",
        "/Users?filter=emails[type eq \"work\"].value eq \"ann@acme.example\" and active eq true",
    ] {
        assert_eq!(entra.found(lookup).await, [ann.as_str()], "{lookup}");
    }

    // A change of many attributes, one operation for each, some of them for the first time.
    let path = format!("/Users/{ann}");
    let employee = format!("{ENTERPRISE}:employeeNumber");
    let manager = format!("{ENTERPRISE}:manager");
    let changed = json!([
        { "op": "Replace", "path": "displayName", "value": "Ann Ray" },
        { "op": "Replace", "path": "name.familyName", "value": "Ray" },
        { "op": "Replace", "path": "emails[type eq \"work\"].value", "value": "ann.ray@acme.example" },
        { "op": "Add", "path": "emails[type eq \"other\"].value", "value": "ann@home.example" },
        { "op": "Add", "path": "phoneNumbers[type eq \"mobile\"].value", "value": "+1 555 0100" },
        { "op": "Replace", "path": "phoneNumbers[type eq \"work\"].value", "value": "+1 555 0101" },
        { "op": "Replace", "path": "addresses[type eq \"other\"].Formatted", "value": "Building 8" },
        { "op": "Add", "path": "addresses[type eq \"work\"].locality", "value": "Redmond" },
        { "op": "Replace", "path": employee, "value": "E-2" },
        { "op": "Replace", "path": "externalId", "value": "ext-2" },
        { "op": "Remove", "path": "title" },
    ]);
    let patched = entra.patch(&path, changed).await.is(200);
    whole_user(&patched, "Ann@acme.example", true);
    let shown = entra.get(&path).await.is(200).body;
    assert_eq!(shown, patched.body);
    assert_eq!(
        (&shown["displayName"], &shown["name"]["familyName"]),
        (&json!("Ann Ray"), &json!("Ray"))
    );
    assert_eq!(
        shown["emails"],
        json!([
            { "value": "ann.ray@acme.example", "type": "work", "primary": true },
            { "value": "ann@home.example", "type": "other" },
        ])
    );
    assert_eq!(
        shown["phoneNumbers"],
        json!([
            { "value": "+1 555 0100", "type": "mobile" },
            { "value": "+1 555 0101", "type": "work" },
        ])
    );
    assert_eq!(
        shown["addresses"],
        json!([
            { "formatted": "Building 8", "type": "other", "primary": false },
            { "locality": "Redmond", "type": "work" },
        ])
    );
    assert_eq!(shown[ENTERPRISE]["employeeNumber"], "E-2");
    assert_eq!(shown["externalId"], "ext-2");
    assert_eq!(shown.get("title"), None);
    // The manager comes and goes as a bare text.
    for (operation, expected) in [
        (
            json!({ "op": "Replace", "path": manager, "value": ann }),
            json!({ "value": ann }),
        ),
        (json!({ "op": "Remove", "path": manager }), Value::Null),
        (
            json!({ "op": "Add", "path": manager, "value": boss }),
            json!({ "value": boss }),
        ),
        (
            json!({ "op": "Replace", "path": manager, "value": "" }),
            Value::Null,
        ),
    ] {
        let patched = entra.patch(&path, json!([operation])).await.is(200);
        assert_eq!(patched.body[ENTERPRISE]["manager"], expected);
    }
    let gone = json!([{ "op": "Remove", "path": "phoneNumbers[type eq \"mobile\"].value" }]);
    let patched = entra.patch(&path, gone).await.is(200);
    assert_eq!(patched.body["phoneNumbers"].as_array().unwrap().len(), 1);
    let renamed = json!([{ "op": "Replace", "path": "userName", "value": "ann.ray@acme.example" }]);
    let renamed = entra.patch(&path, renamed).await.is(200);
    assert_eq!(whole_user(&renamed, "ann.ray@acme.example", true), ann);

    // Disable and enable: the texts "False" and "True".
    acme.scim.make_group(ANALYSTS, &[&ann]).await;
    for (active, roles) in [("False", vec![]), ("True", vec!["Analyst"])] {
        let operation = json!([{ "op": "Replace", "path": "active", "value": active }]);
        let patched = entra.patch(&path, operation).await.is(200);
        whole_user(&patched, "ann.ray@acme.example", active == "True");
        assert_eq!(acme.rpc.roles("ann.ray@acme.example").await, roles);
        // A disabled one stays in sight.
        let lookup = "/Users?filter=userName eq \"ann.ray@acme.example\"";
        assert_eq!(entra.found(lookup).await, [ann.as_str()]);
    }

    // 30 days after the soft delete.
    entra.delete(&path).await.is(204);
    entra.get(&path).await.error(404, "");
    entra.delete(&path).await.error(404, "");
    assert_eq!(
        entra.found("/Users?filter=externalId eq \"ext-2\"").await,
        [""; 0]
    );
    assert!(
        acme.rpc
            .list_member_access(identity_tests::rpc::by_id(&ann))
            .await
            .is_err()
    );
}

/// Conformance: 88.
#[tokio::test(flavor = "multi_thread")]
async fn texts_stand_for_booleans_wherever_one_is_meant() {
    let world = World::start().await;
    let acme = world.acme().await;
    let entra = entra(&acme);
    let mut body = new_user("ann@acme.example", None);
    body["active"] = "False".into();
    body["emails"][0]["primary"] = "True".into();
    body["phoneNumbers"] = json!([
        { "primary": "False", "type": "work", "value": "+1 555 0100" },
        { "primary": null, "type": "mobile", "value": null },
    ]);
    let made = entra.post("/Users", &body).await.is(201);
    whole_user(&made, "ann@acme.example", false);
    assert_eq!(made.body["emails"][0]["primary"], true);
    assert_eq!(
        made.body["phoneNumbers"],
        json!([{ "value": "+1 555 0100", "type": "work", "primary": false }])
    );
    let path = format!("/Users/{}", made.id());
    let changes = json!([
        { "op": "Add", "path": "active", "value": "True" },
        { "op": "Replace", "path": "phoneNumbers[type eq \"work\"].primary", "value": "True" },
        { "op": "Replace", "path": "emails[primary eq \"True\"].value", "value": "a@acme.example" },
        { "op": "Replace", "path": "emails[type eq \"work\"].primary", "value": "False" },
    ]);
    let changed = entra.patch(&path, changes).await.is(200);
    whole_user(&changed, "ann@acme.example", true);
    assert_eq!(changed.body["phoneNumbers"][0]["primary"], true);
    assert_eq!(
        changed.body["emails"],
        json!([{ "value": "a@acme.example", "type": "work", "primary": false }])
    );
    // A text that only looks like one stays a text.
    let text = json!([{ "op": "Replace", "path": "title", "value": "False" }]);
    let changed = entra.patch(&path, text).await.is(200);
    assert_eq!(changed.body["title"], "False");
    assert_eq!(
        entra
            .found("/Users?filter=active eq true and title eq \"False\"")
            .await,
        [made.id()]
    );
}

/// Conformance: 74.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_one_operation_undoes_the_others() {
    let world = World::start().await;
    let acme = world.acme().await;
    let entra = entra(&acme);
    let made = entra
        .post("/Users", &new_user("ann@acme.example", None))
        .await
        .is(201);
    let path = format!("/Users/{}", made.id());
    // An attribute that an administrator mapped and that there is not; one that is missing and should be removed.
    for (wrong, scim_type) in [
        (
            json!({ "op": "Add", "path": "urn:ietf:params:scim:schemas:extension:Custom:2.0:User:tag", "value": "x" }),
            "invalidPath",
        ),
        (
            json!({ "op": "Remove", "path": "phoneNumbers[type eq \"fax\"].value" }),
            "noTarget",
        ),
        (
            json!({ "op": "Replace", "path": "userName", "value": "not an address" }),
            "invalidValue",
        ),
    ] {
        let operations = json!([{ "op": "Replace", "path": "title", "value": "Head" }, wrong]);
        entra.patch(&path, operations).await.error(400, scim_type);
        assert_eq!(entra.get(&path).await.is(200).body, made.body, "{wrong}");
    }
}
