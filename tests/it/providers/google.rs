//! Google Workspace: people only. It looks somebody up without saying how many it wants, may create a person who is
//! suspended, suspends whom it deprovisions, and deletes them after a delay that its administrator set.

use identity_tests::world::World;

use super::*;

const HEADERS: &[(&str, &str)] = &[("accept", "application/scim+json")];

fn user(name: &str, active: bool) -> Value {
    json!({
        "schemas": [USER, ENTERPRISE],
        "userName": name,
        "externalId": "107691503500061501",
        "name": { "familyName": "Lee", "givenName": "Ann", "formatted": "Ann Lee" },
        "displayName": "Ann Lee",
        "emails": [{ "value": name, "type": "work", "primary": true }],
        "active": active,
        ENTERPRISE: { "department": "Billing" },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_cycle() {
    let world = World::start().await;
    let acme = world.acme().await;
    let google = Provider::new(&acme, HEADERS);
    // The probe: one user at the most, and the truth about how many there are.
    acme.scim.make_user("zoe@acme.example").await;
    let probe = google.get("/Users?count=1").await.is(200).body;
    assert_eq!(
        (
            &probe["totalResults"],
            &probe["itemsPerPage"],
            &probe["startIndex"]
        ),
        (&json!(2), &json!(1), &json!(1))
    );

    let lookup = "/Users?filter=userName eq \"ann@acme.example\"&startIndex=1";
    assert_eq!(google.found(lookup).await, [""; 0]);
    // One who is suspended from the beginning has no access, and gets what waits for it later.
    let made = google
        .post("/Users", &user("ann@acme.example", false))
        .await
        .is(201);
    let ann = whole_user(&made, "ann@acme.example", false);
    assert_eq!(google.found(lookup).await, [ann.as_str()]);
    acme.scim.make_group(ANALYSTS, &[&ann]).await;
    assert_eq!(
        acme.rpc.roles("ann@acme.example").await,
        Vec::<String>::new()
    );

    let path = format!("/Users/{ann}");
    for (active, roles) in [(true, vec!["Analyst"]), (false, vec![])] {
        let mut body = user("ann@acme.example", active);
        body["displayName"] = format!("Ann {active}").into();
        let put = google.put(&path, &body).await.is(200);
        whole_user(&put, "ann@acme.example", active);
        assert_eq!(put.body["displayName"], body["displayName"]);
        assert_eq!(acme.rpc.roles("ann@acme.example").await, roles);
        // The group is not Google's: what it does not know stays.
        assert_eq!(put.body["groups"].as_array().unwrap().len(), 1);
    }
    for (active, roles) in [(true, vec!["Analyst"]), (false, vec![])] {
        let operation = json!([{ "op": "replace", "path": "active", "value": active }]);
        let patched = google.patch(&path, operation).await.is(200);
        whole_user(&patched, "ann@acme.example", active);
        assert_eq!(acme.rpc.roles("ann@acme.example").await, roles);
    }
    // While the delay runs, the suspended one is found, and its user name is taken.
    assert_eq!(google.found(lookup).await, [ann.as_str()]);
    google
        .post("/Users", &user("ann@acme.example", true))
        .await
        .error(409, "uniqueness");

    google.delete(&path).await.is(204);
    assert_eq!(google.found(lookup).await, [""; 0]);
    // Who is provisioned again is somebody new, without what the one before had.
    let again = google
        .post("/Users", &user("ann@acme.example", true))
        .await
        .is(201);
    assert_ne!(again.id(), ann);
    assert_eq!(
        acme.rpc.roles("ann@acme.example").await,
        Vec::<String>::new()
    );
}
