//! Microsoft Entra ID with `?aadOptscim062020` on its tenant URL: small letters in `op`, true booleans, a filter for
//! the removal of a member, and one operation without a path whose keys are dotted, qualified or value paths.

use identity_tests::world::World;

use super::{
    entra::{entra, new_group, new_user},
    *,
};

/// Conformance: 76.
#[tokio::test(flavor = "multi_thread")]
async fn a_life_cycle_with_the_flag() {
    let world = World::start().await;
    let acme = world.acme().await;
    let entra = entra(&acme);
    // The flag may stand among the parameters.
    let lookup = "/Users?aadOptscim062020&filter=userName eq \"ann@acme.example\"";
    assert_eq!(entra.found(lookup).await, [""; 0]);
    let boss = entra
        .post("/Users", &new_user("boss@acme.example", None))
        .await
        .is(201)
        .id();
    let made = entra
        .post(
            "/Users?aadOptscim062020",
            &new_user("ann@acme.example", Some(&boss)),
        )
        .await
        .is(201);
    let ann = whole_user(&made, "ann@acme.example", true);
    assert_eq!(entra.found(lookup).await, [ann.as_str()]);
    let path = format!("/Users/{ann}");
    let group = entra.post("/Groups", &new_group(ANALYSTS)).await.is(201);
    let group = format!("/Groups/{}", group.id());
    let add =
        json!([{ "op": "add", "path": "members", "value": [{ "value": ann }, { "value": boss }] }]);
    entra.patch(&group, add).await.is(204);

    // Typed elements by path, all else at once.
    let employee = format!("{ENTERPRISE}:employeeNumber");
    let department = format!("{ENTERPRISE}:department");
    let manager = format!("{ENTERPRISE}:manager");
    let update = json!([
        { "op": "replace", "path": "emails[type eq \"work\"].value", "value": "ann.ray@acme.example" },
        { "op": "replace", "path": "emails[type eq \"work\"].primary", "value": true },
        { "op": "add", "path": "phoneNumbers[type eq \"mobile\"].value", "value": "+1 555 0100" },
        { "op": "replace", "path": "addresses[type eq \"work\"].formatted", "value": "Building 9" },
        { "op": "replace", "value": {
            "active": true,
            "displayName": "Ann Ray",
            "externalId": "ext-2",
            "name.familyName": "Ray",
            "name.givenName": "Anna",
            employee: "E-2",
            department: "Sales",
            manager: ann,
        } },
    ]);
    let patched = entra.patch(&path, update).await.is(200);
    whole_user(&patched, "ann@acme.example", true);
    let shown = entra.get(&path).await.is(200).body;
    assert_eq!(shown, patched.body);
    assert_eq!(
        shown["name"],
        json!({ "formatted": "Ann Lee", "familyName": "Ray", "givenName": "Anna" })
    );
    assert_eq!(
        (&shown["displayName"], &shown["externalId"]),
        (&json!("Ann Ray"), &json!("ext-2"))
    );
    assert_eq!(
        shown[ENTERPRISE],
        json!({ "employeeNumber": "E-2", "department": "Sales", "manager": { "value": ann } })
    );
    assert_eq!(
        shown["emails"],
        json!([{ "value": "ann.ray@acme.example", "type": "work", "primary": true }])
    );
    assert_eq!(
        shown["phoneNumbers"],
        json!([{ "value": "+1 555 0100", "type": "mobile" }])
    );
    assert_eq!(
        shown["addresses"][1],
        json!({ "formatted": "Building 9", "type": "work" })
    );
    // Several operations on one attribute, in their order.
    let turns = json!([
        { "op": "remove", "path": "displayName" },
        { "op": "add", "path": "displayName", "value": "A" },
        { "op": "replace", "path": "displayName", "value": "Ann" },
        { "op": "remove", "path": "phoneNumbers[type eq \"mobile\"].value" },
    ]);
    let patched = entra.patch(&path, turns).await.is(200);
    assert_eq!(patched.body["displayName"], "Ann");
    assert_eq!(patched.body.get("phoneNumbers"), None);

    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Analyst"]);
    for (active, roles) in [(false, vec![]), (true, vec!["Analyst"])] {
        for operation in [
            json!({ "op": "replace", "value": { "active": active } }),
            json!({ "op": "replace", "path": "active", "value": active }),
        ] {
            let patched = entra.patch(&path, json!([operation])).await.is(200);
            whole_user(&patched, "ann@acme.example", active);
            assert_eq!(acme.rpc.roles("ann@acme.example").await, roles);
        }
    }

    let remove = json!([{ "op": "remove", "path": format!("members[value eq \"{ann}\"]") }]);
    // Once more is no error: it is gone already.
    for _ in 0..2 {
        entra.patch(&group, remove.clone()).await.is(204);
        assert_eq!(
            acme.rpc.roles("ann@acme.example").await,
            Vec::<String>::new()
        );
        assert_eq!(acme.rpc.roles("boss@acme.example").await, ["Analyst"]);
    }
    let rename = json!([{ "op": "replace", "value": { "displayName": AGENTS } }]);
    entra.patch(&group, rename).await.is(204);
    assert_eq!(acme.rpc.roles("boss@acme.example").await, ["Sales Agent"]);

    entra.delete(&group).await.is(204);
    entra.delete(&path).await.is(204);
    assert_eq!(entra.found(lookup).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gallery_app_reads_the_schemas_and_finds_no_null_there() {
    let world = World::start().await;
    let acme = world.acme().await;
    let schemas = entra(&acme).get("/Schemas").await.is(200);
    assert!(!schemas.body.to_string().contains("null"));
    let ids: Vec<Value> = schemas
        .resources()
        .iter()
        .map(|schema| schema["id"].clone())
        .collect();
    for id in [USER, ENTERPRISE, identity_tests::scim::GROUP] {
        assert!(ids.contains(&json!(id)), "{id}");
    }
}
