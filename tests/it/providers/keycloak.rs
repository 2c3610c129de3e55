//! Keycloak with scim-for-keycloak: one change of a membership may send the whole list in one PATCH, and its client
//! does not wait long for the answer.

use std::time::{Duration, Instant};

use identity_tests::{scim::GROUP, world::World};

use super::*;

const HEADERS: &[(&str, &str)] = &[("accept", "application/scim+json")];

/// The membership with which its client has been seen to give up.
const MANY: u32 = 211;

/// How long a client that is set to be patient for ten seconds should at most have to wait.
const PATIENCE: Duration = Duration::from_secs(5);

fn user(name: &str, active: bool) -> Value {
    json!({
        "schemas": [USER],
        "externalId": "8e3a0c1e-1c6f-4b43-8f0f-6a2b8d2a90a1",
        "userName": name,
        "name": { "familyName": "Lee", "givenName": "Ann" },
        "emails": [{ "value": name, "primary": true }],
        "active": active,
        "meta": { "resourceType": "User" },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_cycle() {
    let world = World::start().await;
    let acme = world.acme().await;
    let keycloak = Provider::new(&acme, HEADERS);
    let config = keycloak.get("/ServiceProviderConfig").await.is(200).body;
    assert_eq!(config["patch"]["supported"], true);
    keycloak.get("/ResourceTypes").await.is(200);
    keycloak.get("/Schemas").await.is(200);

    let lookup = "/Users?startIndex=1&count=50&filter=userName%20eq%20%22ann%40acme.example%22";
    assert_eq!(keycloak.found(lookup).await, [""; 0]);
    let made = keycloak
        .post("/Users", &user("ann@acme.example", true))
        .await;
    let ann = whole_user(&made.is(201), "ann@acme.example", true);
    // It also asks by a message.
    let search = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
        "filter": "userName eq \"ann@acme.example\"", "startIndex": 1, "count": 50,
    });
    let searched = keycloak.post("/Users/.search", &search).await.is(200);
    assert_eq!(searched.resources()[0]["id"], ann.as_str());
    assert_eq!(keycloak.found(lookup).await, [ann.as_str()]);

    let group = json!({ "schemas": [GROUP], "displayName": ANALYSTS, "externalId": "kc-1",
        "members": [{ "value": ann, "type": "User" }], "meta": { "resourceType": "Group" } });
    let group = keycloak.post("/Groups", &group).await.is(201);
    let group_id = group.id();
    let group = format!("/Groups/{group_id}");
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Analyst"]);

    // The whole list, whatever changed: in one addition, in one replacement, and out again one by one in one PATCH.
    let everybody = world.database.seed_members(&acme.id, MANY);
    let elements = |ids: &[String]| -> Vec<Value> {
        let elements = ids.iter();
        elements
            .map(|id| json!({ "value": id, "type": "User" }))
            .collect()
    };
    let removals: Vec<Value> = everybody
        .iter()
        .map(|id| json!({ "op": "remove", "path": format!("members[value eq \"{id}\"]") }))
        .collect();
    for (operations, left) in [
        (
            json!([{ "op": "add", "path": "members", "value": elements(&everybody) }]),
            everybody.len() + 1,
        ),
        (
            json!([{ "op": "add", "path": "members", "value": elements(&everybody) }]),
            everybody.len() + 1,
        ),
        (
            json!([{ "op": "replace", "path": "members", "value": elements(&everybody) }]),
            everybody.len(),
        ),
        (json!(removals), 0),
        (
            json!([{ "op": "replace", "path": "members", "value": elements(std::slice::from_ref(&ann)) }]),
            1,
        ),
    ] {
        let began = Instant::now();
        keycloak.patch(&group, operations).await.is(204);
        let took = began.elapsed();
        assert!(took < PATIENCE, "{took:?}");
        assert_eq!(acme.scim.members(&group_id).await.len(), left);
    }
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Analyst"]);

    let path = format!("/Users/{ann}");
    for (active, roles) in [(false, vec![]), (true, vec!["Analyst"])] {
        let put = keycloak.put(&path, &user("ann@acme.example", active)).await;
        whole_user(&put.is(200), "ann@acme.example", active);
        assert_eq!(acme.rpc.roles("ann@acme.example").await, roles);
    }
    keycloak.delete(&group).await.is(204);
    assert_eq!(
        acme.rpc.roles("ann@acme.example").await,
        Vec::<String>::new()
    );
    keycloak.delete(&path).await.is(204);
    keycloak.get(&path).await.error(404, "");
}
