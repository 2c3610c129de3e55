//! PingFederate and PingOne: a filter that the administrator edits decides who is whom; groups are put whole unless
//! PATCH is switched on; what happens to somebody who goes, disable or delete, is a choice.

use identity_tests::{scim::GROUP, world::World};

use super::*;

const HEADERS: &[(&str, &str)] = &[("accept", "application/scim+json")];

fn user(name: &str, active: bool) -> Value {
    json!({
        "schemas": [USER, ENTERPRISE],
        "userName": name,
        "externalId": format!("ping-{name}"),
        "name": { "givenName": "Ann", "familyName": "Lee" },
        "emails": [{ "value": name, "type": "work", "primary": true }],
        "active": active,
        ENTERPRISE: { "department": "Billing" },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_matched_by_whatever_filter_was_typed() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ping = Provider::new(&acme, HEADERS);
    let made = ping.post("/Users", &user("ann@acme.example", true)).await;
    let ann = whole_user(&made.is(201), "ann@acme.example", true);
    ping.post("/Users", &user("bob@acme.example", true))
        .await
        .is(201);
    for filter in [
        "userName eq \"ann@acme.example\"",
        "userName Eq \"ANN@acme.example\"",
        "USERNAME EQ \"ann@acme.example\"",
        "externalId eq \"ping-ann@acme.example\"",
        "emails eq \"ann@acme.example\"",
        "emails.value eq \"ann@acme.example\"",
        "emails[type eq \"work\" and value eq \"ann@acme.example\"]",
        "(userName eq \"ann@acme.example\") or (externalId eq \"ann@acme.example\")",
        "userName eq \"ann@acme.example\" and active eq true",
        "userName sw \"ann@\" and not (userName ew \"@other.example\")",
    ] {
        let filter = identity_tests::scim::encode(filter);
        let found = ping.found(&format!("/Users?filter={filter}")).await;
        assert_eq!(found, [ann.as_str()], "{filter}");
        let found = ping
            .found(&format!("/Users?filter={filter}&startIndex=1&count=10"))
            .await;
        assert_eq!(found, [ann.as_str()], "{filter}");
    }
    // A slip is told, and never answered with everybody, whom Ping would take for one.
    for filter in [
        "userName = \"ann@acme.example\"",
        "userName eq ann",
        "uid eq \"ann\"",
    ] {
        ping.get(&format!(
            "/Users?filter={}",
            identity_tests::scim::encode(filter)
        ))
        .await
        .error(400, "invalidFilter");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_cycle_by_put() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ping = Provider::new(&acme, HEADERS);
    let mut ids = Vec::new();
    for name in ["ann@acme.example", "bob@acme.example"] {
        let filter = format!("/Users?filter=userName eq \"{name}\"");
        assert_eq!(ping.found(&filter).await, [""; 0]);
        ids.push(ping.post("/Users", &user(name, true)).await.is(201).id());
    }
    let [ann, bob]: [String; 2] = ids.try_into().unwrap();

    // Groups are read page by page before one is made.
    for number in 0..5 {
        let entity = format!("Entity {number}");
        acme.make_entity(&entity).await;
        acme.scim
            .make_group(&format!("CB/acme/BE/{entity}"), &[])
            .await;
    }
    let mut seen = Vec::new();
    for start in [1, 3, 5, 7] {
        let page = ping
            .get(&format!("/Groups?startIndex={start}&count=2"))
            .await
            .is(200);
        assert_eq!(page.body["totalResults"], 5);
        seen.extend(page.resources().iter().map(|group| group["id"].to_string()));
    }
    assert_eq!(seen.len(), 5);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5);

    let group = |name: &str, members: &[&str]| {
        let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
        json!({ "schemas": [GROUP], "displayName": name, "members": members })
    };
    let made = ping
        .post("/Groups", &group(ANALYSTS, &[&ann]))
        .await
        .is(201);
    let path = format!("/Groups/{}", made.id());
    // Each PUT says who is in it, and under which name.
    for (name, members, of_ann, of_bob) in [
        (
            ANALYSTS,
            &[ann.as_str(), &bob][..],
            vec!["Analyst"],
            vec!["Analyst"],
        ),
        (ANALYSTS, &[&bob], vec![], vec!["Analyst"]),
        (
            AGENTS,
            &[&bob, &ann],
            vec!["Sales Agent"],
            vec!["Sales Agent"],
        ),
        (AGENTS, &[], vec![], vec![]),
        (ANALYSTS, &[&bob], vec![], vec!["Analyst"]),
    ] {
        let put = ping.put(&path, &group(name, members)).await.is(200);
        let mut members = members.to_vec();
        members.sort_unstable();
        assert_eq!(shown_members(&put.body), members);
        assert_eq!(put.body["displayName"], name);
        assert_eq!(acme.rpc.roles("ann@acme.example").await, of_ann);
        assert_eq!(acme.rpc.roles("bob@acme.example").await, of_bob);
    }
    // With PATCH switched on.
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": ann }] }]);
    ping.patch(&path, add).await.is(204);
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Analyst"]);

    // The remove action, disable ...
    let bob_path = format!("/Users/{bob}");
    for (active, roles) in [(false, vec![]), (true, vec!["Analyst"])] {
        let put = ping.put(&bob_path, &user("bob@acme.example", active)).await;
        whole_user(&put.is(200), "bob@acme.example", active);
        assert_eq!(acme.rpc.roles("bob@acme.example").await, roles);
    }
    // ... or delete.
    ping.delete(&bob_path).await.is(204);
    assert_eq!(
        ping.found("/Users?filter=userName eq \"bob@acme.example\"")
            .await,
        [""; 0]
    );
    ping.put(&bob_path, &user("bob@acme.example", true))
        .await
        .error(404, "");
    assert_eq!(
        shown_members(&ping.get(&path).await.is(200).body),
        [ann.as_str()]
    );
    ping.delete(&path).await.is(204);
    assert_eq!(
        acme.rpc.roles("ann@acme.example").await,
        Vec::<String>::new()
    );
}
