//! Roles and business entities as Okta's entitlements: granted by standing in the user, and apart from what
//! groups and direct decisions grant.

use identity_proto::v1::{self as pb, grant::Source};
use identity_tests::{
    rpc::{by_id, role, target_name},
    scim::{Answer, Scim, encode, user},
    world::World,
};
use reqwest::Method;
use serde_json::{Value, json};

const ANN: &str = "ann@acme.example";

/// The `display` of each value of an attribute.
fn displayed(answer: &Answer, attribute: &str) -> Vec<String> {
    let values = answer.body[attribute].as_array();
    let values = values.map(Vec::as_slice).unwrap_or_default();
    values
        .iter()
        .map(|value| value["display"].as_str().unwrap().to_owned())
        .collect()
}

fn sources(granted: &[pb::GrantedTarget], name: &str) -> Vec<Source> {
    let target = granted
        .iter()
        .find(|granted| target_name(granted.target.as_ref()) == name);
    let grants = target.map(|granted| granted.grants.clone());
    let grants = grants.unwrap_or_default().into_iter();
    grants.filter_map(|grant| grant.source).collect()
}

/// Conformance: 69.
#[tokio::test(flavor = "multi_thread")]
async fn grants_arrive_as_a_put() {
    let world = World::start().await;
    let acme = world.acme().await;
    let analyst = acme.scim.id_of("/Roles", "Analyst").await;
    let entity = acme.scim.id_of("/BusinessEntities", "EU GmbH").await;
    let ann = acme.scim.make_user(ANN).await;
    let path = format!("/Users/{ann}");

    // Okta reads, adds, and puts the whole back.
    let mut body = acme.scim.get(&path).await.is(200).body;
    assert_eq!((body.get("roles"), body.get("entitlements")), (None, None));
    body["roles"] = json!([{ "value": analyst, "display": "Analyst", "primary": true }]);
    body["entitlements"] =
        json!([{ "value": entity, "display": "EU GmbH", "type": "BusinessEntity" }]);
    let put = acme.scim.put(&path, &body).await.is(200);
    assert_eq!(
        put.header("roster-effect"),
        "members=1, skipped=0, gained=2, lost=0"
    );
    assert_eq!(
        (&put.body["roles"], &put.body["entitlements"]),
        (&body["roles"], &body["entitlements"])
    );
    let access = acme.rpc.list_member_access(by_id(&ann)).await.unwrap();
    assert!(matches!(
        sources(&access.roles, "Analyst")[..],
        [Source::Entitlement(_)]
    ));
    assert!(matches!(
        sources(&access.business_entities, "EU GmbH")[..],
        [Source::Entitlement(_)]
    ));

    // What is shown, put back, changes nothing.
    let shown = acme.scim.get(&path).await.is(200);
    let listed = acme.scim.get("/Users?filter=roles%20pr").await.is(200);
    assert_eq!(listed.resources(), std::slice::from_ref(&shown.body));
    let again = acme.scim.put(&path, &shown.body).await.is(200);
    assert_eq!(
        again.header("roster-effect"),
        "members=0, skipped=0, gained=0, lost=0"
    );
    assert_eq!(again.header("etag"), shown.header("etag"));
    assert_eq!(again.body, shown.body);

    // A PUT that does not speak of them leaves them.
    let without = acme.scim.put(&path, &user(ANN)).await.is(200);
    assert_eq!(displayed(&without, "roles"), ["Analyst"]);
    assert_eq!(displayed(&without, "entitlements"), ["EU GmbH"]);
    assert_eq!(acme.rpc.roles(ANN).await, ["Analyst"]);

    // An empty one clears it, each by itself; a rehearsal tells so and does nothing.
    for (attribute, empty) in [("roles", json!([])), ("entitlements", Value::Null)] {
        let mut body = user(ANN);
        body[attribute] = empty;
        let request = acme
            .scim
            .request(Method::PUT, &path)
            .header("roster-dry-run", "true");
        let request = request.header("content-type", "application/scim+json");
        let rehearsed = Scim::send(request.body(body.to_string())).await.is(200);
        assert_eq!(
            rehearsed.header("roster-effect"),
            "members=1, skipped=0, gained=0, lost=1"
        );
        let put = acme.scim.put(&path, &body).await.is(200);
        assert_eq!(
            put.header("roster-effect"),
            "members=1, skipped=0, gained=0, lost=1"
        );
        assert_eq!(put.body.get(attribute), None);
    }
    let access = acme.rpc.access(ANN).await;
    assert!(access.roles.is_empty() && access.entities.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_grants_too() {
    let world = World::start().await;
    let acme = world.acme().await;
    let agent = acme.scim.id_of("/Roles", "Sales Agent").await;
    let entity = acme.scim.id_of("/BusinessEntities", "US Inc").await;
    let mut body = user(ANN);
    // Twice the same is once; a bare id is clear enough, and so is one value without a list around it.
    body["ROLES"] = json!([{ "value": agent }, agent]);
    body["entitlements"] = json!(entity);
    let mut single = user("single@acme.example");
    single["roles"] = json!({ "value": agent });
    acme.scim.post("/Users", &single).await.is(201);
    assert_eq!(acme.rpc.roles("single@acme.example").await, ["Sales Agent"]);
    let made = acme.scim.post("/Users", &body).await.is(201);
    assert_eq!(
        made.header("roster-effect"),
        "members=1, skipped=0, gained=2, lost=0"
    );
    assert_eq!(
        made.body["roles"],
        json!([{ "value": agent, "display": "Sales Agent", "primary": true }])
    );
    assert_eq!(
        made.body["entitlements"],
        json!([{ "value": entity, "display": "US Inc", "type": "BusinessEntity" }])
    );
    let access = acme.rpc.access(ANN).await;
    assert_eq!(
        (
            access.roles.len(),
            access.entities.len(),
            access.reach.as_str()
        ),
        (1, 1, "listed")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_of_any_form_grants_and_ends() {
    let world = World::start().await;
    let acme = world.acme().await;
    let analyst = acme.scim.id_of("/Roles", "Analyst").await;
    let agent = acme.scim.id_of("/Roles", "Sales Agent").await;
    let entity = acme.scim.id_of("/BusinessEntities", "EU GmbH").await;
    let ann = acme.scim.make_user(ANN).await;
    let path = format!("/Users/{ann}");
    let of_agent = format!("roles[value eq \"{agent}\"]");
    for (operation, roles) in [
        (
            json!({ "op": "add", "path": "roles", "value": [{ "value": analyst }] }),
            &["Analyst"][..],
        ),
        // Okta's own spelling; what is there already is not doubled.
        (
            json!({ "op": "add", "value": { "roles": [
                { "value": analyst, "display": "x" }, { "value": agent, "type": "t", "primary": true },
            ] } }),
            &["Analyst", "Sales Agent"],
        ),
        // What does not speak of them leaves them.
        (
            json!({ "op": "replace", "value": { "title": "T", "active": true } }),
            &["Analyst", "Sales Agent"],
        ),
        (
            json!({ "op": "Remove", "path": "roles", "value": [{ "value": analyst }] }),
            &["Sales Agent"],
        ),
        (
            json!({ "op": "replace", "path": format!("{of_agent}.value"), "value": analyst }),
            &["Analyst"],
        ),
        (
            json!({ "op": "replace", "path": "roles", "value": agent }),
            &["Sales Agent"],
        ),
        (json!({ "op": "remove", "path": of_agent }), &[]),
        (
            json!({ "op": "replace", "value": { "roles": [{ "value": agent }] } }),
            &["Sales Agent"],
        ),
        (
            json!({ "op": "replace", "path": "roles", "value": [] }),
            &[],
        ),
    ] {
        let patched = acme.scim.patch(&path, json!([operation])).await.is(200);
        assert_eq!(displayed(&patched, "roles"), roles, "{operation}");
        assert_eq!(acme.rpc.roles(ANN).await, roles, "{operation}");
    }
    for (operations, entities) in [
        (
            json!([
                { "op": "add", "path": "entitlements", "value": [{ "value": entity, "type": "BusinessEntity" }] },
                { "op": "add", "path": "entitlements", "value": { "value": entity } },
            ]),
            &["EU GmbH"][..],
        ),
        (
            json!([{
                "op": "remove",
                "path": "entitlements[type eq \"BusinessEntity\" and display eq \"eu gmbh\"]",
            }]),
            &[],
        ),
    ] {
        let patched = acme.scim.patch(&path, operations).await.is(200);
        assert_eq!(displayed(&patched, "entitlements"), entities);
    }
    let gone = json!([{ "op": "remove", "path": "entitlements[value eq \"nope\"]" }]);
    acme.scim.patch(&path, gone).await.error(400, "noTarget");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_grants_are_neither_shown_nor_ended() {
    let world = World::start().await;
    let acme = world.acme().await;
    let analyst = acme.scim.id_of("/Roles", "Analyst").await;
    let ann = acme.scim.make_user(ANN).await;
    let path = format!("/Users/{ann}");
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    acme.rpc.grant(ANN, role("Sales Agent")).await.unwrap();
    let shown = acme.scim.get(&path).await.is(200);
    assert_eq!(shown.body.get("roles"), None);
    let mut nothing = user(ANN);
    nothing["roles"] = json!([]);
    let cleared = acme.scim.put(&path, &nothing).await.is(200);
    assert_eq!(
        cleared.header("roster-effect"),
        "members=0, skipped=0, gained=0, lost=0"
    );
    assert_eq!(acme.rpc.roles(ANN).await, ["Analyst", "Sales Agent"]);

    // The same role by a second source gains nothing, and outlives the first.
    let add = json!([{ "op": "add", "path": "roles", "value": [{ "value": analyst }] }]);
    let added = acme.scim.patch(&path, add.clone()).await.is(200);
    assert_eq!(
        added.header("roster-effect"),
        "members=1, skipped=0, gained=0, lost=0"
    );
    assert_eq!(displayed(&added, "roles"), ["Analyst"]);
    let access = acme.rpc.list_member_access(by_id(&ann)).await.unwrap();
    assert_eq!(sources(&access.roles, "Analyst").len(), 2);
    let ended = acme.scim.delete(&format!("/Groups/{group}")).await.is(204);
    assert!(
        ended.header("roster-effect").ends_with("lost=0"),
        "{:?}",
        ended.header("roster-effect")
    );
    assert_eq!(acme.rpc.roles(ANN).await, ["Analyst", "Sales Agent"]);

    // And the other way round.
    acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    let remove = json!([{ "op": "remove", "path": "roles" }]);
    let removed = acme.scim.patch(&path, remove.clone()).await.is(200);
    assert_eq!(
        removed.header("roster-effect"),
        "members=1, skipped=0, gained=0, lost=0"
    );
    assert_eq!(acme.rpc.roles(ANN).await, ["Analyst", "Sales Agent"]);
    // The group's members are not touched by it either.
    assert_eq!(removed.body["groups"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn deactivating_suspends_them_and_deleting_ends_them() {
    let world = World::start().await;
    let acme = world.acme().await;
    let analyst = acme.scim.id_of("/Roles", "Analyst").await;
    let mut body = user(ANN);
    body["roles"] = json!([{ "value": analyst }]);
    let path = format!(
        "/Users/{}",
        acme.scim.post("/Users", &body).await.is(201).id()
    );
    let set_active = |active: bool| {
        let operations = json!([{ "op": "replace", "value": { "active": active } }]);
        acme.scim.patch(&path, operations)
    };
    let off = set_active(false).await.is(200);
    assert_eq!(
        off.header("roster-effect"),
        "members=1, skipped=0, gained=0, lost=1"
    );
    // The grant stands, and gives nothing.
    assert_eq!(displayed(&off, "roles"), ["Analyst"]);
    let access = acme
        .rpc
        .list_member_access(identity_tests::rpc::by_user_name(ANN))
        .await
        .unwrap();
    assert!(access.roles.is_empty());
    assert!(matches!(
        access.suspended[0].source,
        Some(Source::Entitlement(_))
    ));
    let on = set_active(true).await.is(200);
    assert_eq!(
        on.header("roster-effect"),
        "members=1, skipped=0, gained=1, lost=0"
    );

    let deleted = acme.scim.delete(&path).await.is(204);
    assert_eq!(
        deleted.header("roster-effect"),
        "members=1, skipped=0, gained=0, lost=1"
    );
    let again = acme.scim.post("/Users", &user(ANN)).await.is(201);
    assert_eq!(again.body.get("roles"), None);
    assert!(acme.rpc.roles(ANN).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_given_is_refused_and_explained() {
    let world = World::start().await;
    let (acme, other) = (world.acme().await, world.site("other").await);
    let caller = &acme.rpc.caller;
    let roles = caller
        .roles()
        .list_roles(caller.request(pb::ListRolesRequest::default()))
        .await;
    let roles = roles.unwrap().into_inner().roles;
    let id = |name: &str| {
        roles
            .iter()
            .find(|role| role.name == name)
            .unwrap()
            .id
            .clone()
    };
    let theirs = other.scim.id_of("/Roles", "Analyst").await;
    let nobody = "00000000-0000-4000-8000-000000000000";
    let ann = acme.scim.make_user(ANN).await;
    let path = format!("/Users/{ann}");
    let before = acme.scim.get(&path).await.is(200);
    let events = acme.rpc.events().await.len();
    let analyst = id("Analyst");
    for (value, told) in [
        (
            json!([{ "value": id("Owner") }]),
            vec!["Owner", &*id("Admin")],
        ),
        (json!([{ "value": "owner" }]), vec!["Owner"]),
        // Plain texts, as a plain attribute of this name in Okta sends them.
        (json!(["analyst"]), vec!["\"analyst\"", &*analyst]),
        (json!("Analist"), vec!["Analist", "Analyst", &*analyst]),
        // Entra's JSON document in a text: its value counts, if it has one.
        (
            json!([{ "value": "{\"id\":\"1\",\"value\":\"Analyst\",\"displayName\":\"Analyst\"}" }]),
            vec!["\"Analyst\" is the name", &*analyst],
        ),
        (
            json!([{ "value": "{\"id\":\"1\"}" }]),
            vec!["JSON document"],
        ),
        (
            json!([{ "value": analyst }, { "value": nobody }, { "value": theirs }]),
            vec![nobody, &*theirs],
        ),
        (
            json!([{ "display": "Analyst" }]),
            vec!["roles[0] needs a value"],
        ),
        (json!([{ "value": 7 }]), vec!["roles[0].value"]),
        (json!(true), vec!["must be a"]),
    ] {
        let mut body = user(ANN);
        body["roles"] = value.clone();
        let mut new = user("new@acme.example");
        new["roles"] = value.clone();
        let operations = json!([{ "op": "replace", "path": "roles", "value": value }]);
        for answer in [
            acme.scim.put(&path, &body).await,
            acme.scim.post("/Users", &new).await,
            acme.scim.patch(&path, operations).await,
        ] {
            let detail = answer.error(400, "invalidValue");
            for word in &told {
                assert!(detail.contains(word), "{value}: {detail}");
            }
            assert!(detail.contains("roles"), "{detail}");
        }
    }
    let operations = json!([{ "op": "add", "value": { "entitlements": ["EU GmbH"] } }]);
    let detail = acme
        .scim
        .patch(&path, operations)
        .await
        .error(400, "invalidValue");
    assert!(
        detail.contains(&acme.scim.id_of("/BusinessEntities", "EU GmbH").await),
        "{detail}"
    );
    assert_eq!(acme.scim.get(&path).await.body, before.body);
    assert_eq!(acme.rpc.events().await.len(), events);
    // Empty values are no values.
    let mut body = user(ANN);
    body["roles"] = json!([{ "value": "", "display": "" }, null]);
    body["entitlements"] = json!("");
    acme.scim.put(&path, &body).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_found_by_them() {
    let world = World::start().await;
    let acme = world.acme().await;
    let analyst = acme.scim.id_of("/Roles", "Analyst").await;
    let entity = acme.scim.id_of("/BusinessEntities", "EU GmbH").await;
    for (name, roles, entities) in [
        ("a@acme.example", json!([analyst]), json!([])),
        ("b@acme.example", json!([]), json!([entity])),
        ("c@acme.example", json!([]), json!([])),
    ] {
        let mut body = user(name);
        body["roles"] = roles;
        body["entitlements"] = entities;
        acme.scim.post("/Users", &body).await.is(201);
    }
    // A grant by a group is not found here.
    let dan = acme.scim.make_user("d@acme.example").await;
    acme.scim.make_group("CB/acme/ROLE/Analyst", &[&dan]).await;
    for (filter, found) in [
        (format!("roles.value eq \"{analyst}\""), &["a"][..]),
        (format!("roles eq \"{analyst}\""), &["a"]),
        (
            format!("roles[value eq \"{analyst}\" and display sw \"ana\"]"),
            &["a"],
        ),
        (format!("entitlements.value eq \"{entity}\""), &["b"]),
        ("roles pr".to_owned(), &["a"]),
        (
            "entitlements pr or roles.display eq \"ANALYST\"".to_owned(),
            &["a", "b"],
        ),
        ("entitlements.type eq \"BusinessEntity\"".to_owned(), &["b"]),
        (
            "not (roles pr) and entitlements eq null and userName sw \"c\"".to_owned(),
            &["c"],
        ),
        ("roles.value eq \"nonsense\"".to_owned(), &[]),
    ] {
        let page = acme
            .scim
            .get(&format!(
                "/Users?sortBy=userName&filter={}",
                encode(&filter)
            ))
            .await
            .is(200);
        let names: Vec<String> = page
            .resources()
            .iter()
            .map(|one| one["userName"].as_str().unwrap()[..1].to_owned())
            .collect();
        assert_eq!(names, found, "{filter}");
    }
    let only = acme
        .scim
        .get("/Users?attributes=roles.display&filter=roles%20pr")
        .await
        .is(200);
    assert_eq!(
        only.resources()[0]["roles"],
        json!([{ "display": "Analyst" }])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_role_is_the_primary_one() {
    let world = World::start().await;
    let acme = world.acme().await;
    let analyst = acme.scim.id_of("/Roles", "Analyst").await;
    let agent = acme.scim.id_of("/Roles", "Sales Agent").await;
    for (name, roles) in [
        (
            "a@acme.example",
            json!([{ "value": analyst, "primary": false }]),
        ),
        (
            "b@acme.example",
            json!([analyst, { "value": agent, "primary": "True" }]),
        ),
        ("c@acme.example", json!([])),
    ] {
        let mut body = user(name);
        body["roles"] = roles;
        acme.scim.post("/Users", &body).await.is(201);
    }
    let list = acme.scim.get("/Users?filter=roles%20pr&sortBy=userName");
    let [a, b]: [Value; 2] = list.await.is(200).resources().try_into().unwrap();
    assert_eq!(
        a["roles"],
        json!([{ "value": analyst, "display": "Analyst", "primary": true }])
    );
    assert_eq!(
        b["roles"],
        json!([{ "value": analyst, "display": "Analyst" }, { "value": agent, "display": "Sales Agent" }])
    );
    for (filter, found) in [
        ("roles.primary eq true".to_owned(), "a"),
        ("roles[primary eq \"True\"].value pr".to_owned(), "a"),
        ("roles.primary pr".to_owned(), "a"),
        (
            format!("roles[primary eq true and value eq \"{agent}\"]"),
            "",
        ),
        ("roles[primary eq false]".to_owned(), "b"),
        ("roles.primary eq false".to_owned(), "b"),
        (
            format!("roles[primary ne true and value eq \"{agent}\"]"),
            "b",
        ),
        ("roles pr and roles.primary ne true".to_owned(), "b"),
    ] {
        let list = format!("/Users?sortBy=userName&filter={}", encode(&filter));
        let list = acme.scim.get(&list).await.is(200);
        let names: String = list
            .resources()
            .iter()
            .map(|one| one["userName"].as_str().unwrap()[..1].to_owned())
            .collect();
        assert_eq!(names, found, "{filter}");
    }
    // It follows from what stands there: the other one becomes it when the first goes.
    let path = format!("/Users/{}", b["id"].as_str().unwrap());
    let remove = json!([{ "op": "remove", "path": format!("roles[value eq \"{analyst}\"]") }]);
    let left = acme.scim.patch(&path, remove).await.is(200);
    assert_eq!(
        left.body["roles"],
        json!([{ "value": agent, "display": "Sales Agent", "primary": true }])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_site_has_can_not_be_given_here() {
    let world = World::start().await;
    let acme = world.acme().await;
    let bolt = world.site("bolt").await;
    let role = bolt.scim.id_of("/Roles", "Admin").await;
    let entity = bolt.scim.id_of("/BusinessEntities", "EU GmbH").await;
    let ann = acme.scim.make_user(ANN).await;
    let path = format!("/Users/{ann}");
    let before = world.database.snapshot();
    for (attribute, id) in [("roles", &role), ("entitlements", &entity)] {
        let give = json!([{ "op": "add", "path": attribute, "value": [{ "value": id }] }]);
        let detail = acme
            .scim
            .patch(&path, give)
            .await
            .error(400, "invalidValue");
        assert!(detail.contains(id.as_str()), "{detail}");
        let mut body = user("bob@acme.example");
        body[attribute] = json!([{ "value": id }]);
        acme.scim
            .post("/Users", &body)
            .await
            .error(400, "invalidValue");
    }
    assert_eq!(world.database.snapshot(), before);
}
