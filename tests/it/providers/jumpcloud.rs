//! JumpCloud: its activation really makes a person and a group, and takes them away again; it removes members as
//! Entra does.

use identity_proto::v1::OutsideGroups;
use identity_tests::{scim::GROUP, world::World};

use super::*;

const HEADERS: &[(&str, &str)] = &[("accept", "application/scim+json, application/json, */*")];

/// A create with the attributes that JumpCloud has for a person, empty ones too.
fn new_user(name: &str) -> Value {
    json!({
        "schemas": [USER, ENTERPRISE],
        "userName": name,
        "externalId": "64b1f0c9e1d5a2b7c8d90f11",
        "name": { "givenName": "Ann", "familyName": "Lee", "middleName": "" },
        "displayName": "Ann Lee",
        "emails": [{ "value": name, "type": "work", "primary": true }],
        "phoneNumbers": [],
        "addresses": [],
        "title": "",
        "active": true,
        "password": "",
        ENTERPRISE: { "department": "Billing", "costCenter": "", "employeeNumber": "7" },
    })
}

fn new_group(name: &str) -> Value {
    json!({ "schemas": [GROUP], "displayName": name, "members": [] })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_activation_test_leaves_nothing_behind() {
    let world = World::start().await;
    let acme = world.acme().await;
    let jumpcloud = Provider::new(&acme, HEADERS);
    // The test user: made, found, changed, deactivated, deleted.
    let lookup = "/Users?filter=userName eq \"jumpcloud-test@acme.example\"";
    for _ in 0..2 {
        assert_eq!(jumpcloud.found(lookup).await, [""; 0]);
        let made = jumpcloud
            .post("/Users", &new_user("jumpcloud-test@acme.example"))
            .await
            .is(201);
        let id = whole_user(&made, "jumpcloud-test@acme.example", true);
        assert_eq!(jumpcloud.found(lookup).await, [id.as_str()]);
        let path = format!("/Users/{id}");
        let mut changed = new_user("jumpcloud-test@acme.example");
        changed["displayName"] = "Changed".into();
        let put = jumpcloud.put(&path, &changed).await.is(200);
        assert_eq!(put.body["displayName"], "Changed");
        let off = json!([{ "op": "replace", "path": "active", "value": false }]);
        let off = jumpcloud.patch(&path, off).await.is(200);
        whole_user(&off, "jumpcloud-test@acme.example", false);
        jumpcloud.delete(&path).await.is(204);
        jumpcloud.get(&path).await.error(404, "");
    }
    // The test group has a name of JumpCloud's own: a site that refuses those fails the test, and says why.
    let test_group = new_group("JumpCloud Test Group");
    let detail = jumpcloud
        .post("/Groups", &test_group)
        .await
        .error(400, "invalidValue");
    assert!(detail.contains("CB/acme/ROLE/"), "{detail}");
    acme.set_outside_groups(OutsideGroups::Keep).await;
    for _ in 0..2 {
        let made = jumpcloud.post("/Groups", &test_group).await.is(201);
        assert_eq!(made.body["displayName"], "JumpCloud Test Group");
        let path = format!("/Groups/{}", made.id());
        let rename =
            json!([{ "op": "replace", "path": "displayName", "value": "JumpCloud Test Group 2" }]);
        jumpcloud.patch(&path, rename).await.is(204);
        let read = jumpcloud.get(&path).await.is(200);
        assert_eq!(read.body["displayName"], "JumpCloud Test Group 2");
        jumpcloud.delete(&path).await.is(204);
    }
    let left = jumpcloud.found("/Users?startIndex=1&count=100").await;
    assert_eq!(left.len(), 1, "the Owner and nobody else");
    assert_eq!(
        jumpcloud.found("/Groups?startIndex=1&count=100").await,
        [""; 0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_cycle() {
    let world = World::start().await;
    let acme = world.acme().await;
    let jumpcloud = Provider::new(&acme, HEADERS);
    let ann = jumpcloud
        .post("/Users", &new_user("ann@acme.example"))
        .await;
    let ann = whole_user(&ann.is(201), "ann@acme.example", true);
    let bob = jumpcloud
        .post("/Users", &new_user("bob@acme.example"))
        .await;
    let bob = bob.is(201).id();
    // A group is looked for by its name, made, and filled one person at a time.
    let lookup = format!("/Groups?filter=displayName eq \"{ANALYSTS}\"");
    assert_eq!(jumpcloud.found(&lookup).await, [""; 0]);
    let group = jumpcloud
        .post("/Groups", &new_group(ANALYSTS))
        .await
        .is(201)
        .id();
    assert_eq!(jumpcloud.found(&lookup).await, [group.as_str()]);
    let path = format!("/Groups/{group}");
    for id in [&ann, &bob] {
        let add = json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }]);
        jumpcloud.patch(&path, add).await.is(204);
    }
    let read = jumpcloud.get(&path).await.is(200);
    let mut both = [ann.as_str(), bob.as_str()];
    both.sort_unstable();
    assert_eq!(shown_members(&read.body), both);
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Analyst"]);

    // Whom to remove stands beside the path, not in it: nobody else goes.
    let remove = json!([{ "op": "remove", "path": "members", "value": [{ "value": ann }] }]);
    jumpcloud.patch(&path, remove).await.is(204);
    assert_eq!(
        acme.rpc.roles("ann@acme.example").await,
        Vec::<String>::new()
    );
    assert_eq!(acme.rpc.roles("bob@acme.example").await, ["Analyst"]);

    let bob_path = format!("/Users/{bob}");
    for (active, roles) in [(false, vec![]), (true, vec!["Analyst"])] {
        let mut body = new_user("bob@acme.example");
        body["active"] = active.into();
        let put = jumpcloud.put(&bob_path, &body).await.is(200);
        whole_user(&put, "bob@acme.example", active);
        assert_eq!(acme.rpc.roles("bob@acme.example").await, roles);
    }
    jumpcloud.delete(&path).await.is(204);
    assert_eq!(
        acme.rpc.roles("bob@acme.example").await,
        Vec::<String>::new()
    );
    jumpcloud.delete(&bob_path).await.is(204);
    jumpcloud.get(&bob_path).await.error(404, "");
}
