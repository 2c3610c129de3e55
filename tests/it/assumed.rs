//! What is shown of a member although nobody said it, and how a client takes that away: the user name as address,
//! and that the member is active.

use identity_tests::{
    rpc::role,
    scim::{Scim, USER, encode},
    world::World,
};
use serde_json::{Value, json};

async fn found(scim: &Scim, filter: &str) -> bool {
    let path = format!("/Users?filter={}", encode(filter));
    let users = scim.get(&path).await.is(200).resources();
    users.iter().any(|user| user["userName"] == "ann@x.example")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_address_is_neither_shown_nor_found_until_one_is_given() {
    let world = World::start().await;
    let acme = world.acme().await;
    let body = json!({ "schemas": [USER], "userName": "ann@x.example" });
    let made = acme.scim.post("/Users", &body).await.is(201);
    let path = format!("/Users/{}", made.id());
    let derived = json!([{ "value": "ann@x.example", "type": "work", "primary": true }]);
    assert_eq!(made.body["emails"], derived);
    let by_address = r#"emails.value eq "ann@x.example""#;
    assert!(found(&acme.scim, by_address).await && found(&acme.scim, "emails pr").await);

    let remove = json!([{ "op": "remove", "path": "emails" }]);
    let removed = acme.scim.patch(&path, remove.clone()).await.is(200);
    assert_eq!(removed.body.get("emails"), None);
    assert!(!found(&acme.scim, by_address).await && !found(&acme.scim, "emails pr").await);
    // Once more is no change, and neither is to put back what was read.
    let version = &removed.body["meta"]["version"];
    let again = acme.scim.patch(&path, remove).await.is(200);
    assert_eq!(&again.body["meta"]["version"], version);
    let back = acme.scim.put(&path, &removed.body).await.is(200);
    assert_eq!(back.body, removed.body);

    // An address is an address, also the one that was derived before.
    let give = json!([{ "op": "add", "path": "emails", "value": derived }]);
    let given = acme.scim.patch(&path, give).await.is(200);
    assert_eq!(given.body["emails"], derived);
    assert!(found(&acme.scim, by_address).await);
    // It stays where the user name changes, as it is the member's own.
    let rename = json!([{ "op": "replace", "path": "userName", "value": "ann.lee@x.example" }]);
    let renamed = acme.scim.patch(&path, rename).await.is(200);
    assert_eq!(renamed.body["emails"], derived);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_added_address_takes_the_place_of_the_derived_one() {
    let world = World::start().await;
    let acme = world.acme().await;
    let body = json!({ "schemas": [USER], "userName": "ann@x.example" });
    let path = format!("/Users/{}", acme.scim.post("/Users", &body).await.id());
    let home = json!([{ "value": "ann@home.example", "type": "home" }]);
    let add = json!([{ "op": "add", "path": "emails", "value": home }]);
    let added = acme.scim.patch(&path, add).await.is(200);
    assert_eq!(added.body["emails"], home);
    assert!(!found(&acme.scim, r#"emails.value eq "ann@x.example""#).await);
}

/// Conformance: 69.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_active_stays_what_it_was() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@x.example").await;
    acme.rpc
        .grant("ann@x.example", role("Analyst"))
        .await
        .unwrap();
    let path = format!("/Users/{ann}");
    let set = |active: Value| json!([{ "op": "replace", "path": "active", "value": active }]);
    acme.scim.patch(&path, set(json!(false))).await.is(200);
    assert!(acme.rpc.roles("ann@x.example").await.is_empty());

    let remove = json!([{ "op": "remove", "path": "active" }]);
    let removed = acme.scim.patch(&path, remove).await.is(200);
    assert_eq!(removed.body.get("active"), None);
    // A leaver stays out.
    assert!(acme.rpc.roles("ann@x.example").await.is_empty());
    for filter in ["active pr", "active eq true", "active eq false"] {
        assert!(!found(&acme.scim, filter).await, "{filter}");
    }
    assert!(found(&acme.scim, "not (active pr)").await);
    // To put back what was read says nothing of it either.
    let back = acme.scim.put(&path, &removed.body).await.is(200);
    assert_eq!(back.body, removed.body);

    // Said again, it is shown again: by the one call of Okta's, also where nothing else changes.
    let said = acme.scim.patch(&path, set(json!(true))).await.is(200);
    assert_eq!(said.body["active"], true);
    assert!(found(&acme.scim, "active eq true").await);
    assert_eq!(acme.rpc.roles("ann@x.example").await, ["Analyst"]);
    // Who is active stays so as well.
    let removed = acme
        .scim
        .patch(&path, json!([{ "op": "remove", "path": "active" }]))
        .await
        .is(200);
    assert_eq!(removed.body.get("active"), None);
    assert_eq!(acme.rpc.roles("ann@x.example").await, ["Analyst"]);
    let kinds: Vec<String> = acme
        .rpc
        .events()
        .await
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(
        kinds[kinds.len() - 3..],
        ["member.updated", "member.reactivated", "member.updated"]
    );
}
