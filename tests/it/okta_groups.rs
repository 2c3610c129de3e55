//! Groups as Okta pushes them: catalogue apps with PATCH, wizard apps with PUT.

use std::time::{Duration, Instant};

use identity_tests::{
    database::Database,
    scim::{GROUP, LIST, encode, group, user},
    world::{Site, World},
};
use serde_json::{Value, json};
use uuid::Uuid;

const ANALYSTS: &str = "CB/acme/ROLE/Analyst";

fn elements(ids: &[String]) -> Vec<Value> {
    ids.iter()
        .map(|id| json!({ "value": id, "display": "login@acme.example" }))
        .collect()
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

/// The ids of members made in a moment.
async fn three(site: &Site) -> [String; 3] {
    let scim = &site.scim;
    let (ann, bob, cem) = tokio::join!(
        scim.make_user("ann@acme.example"),
        scim.make_user("bob@acme.example"),
        scim.make_user("cem@acme.example")
    );
    [ann, bob, cem]
}

fn memberships(database: &Database) -> i64 {
    database.number("SELECT count(*) AS n FROM group_members WHERE to_event IS NULL")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalogue_app_creates_renames_fills_and_deletes_a_group() {
    let world = World::start().await;
    let acme = world.acme().await;
    let [ann, bob, cem] = three(&acme).await;
    let made = acme
        .scim
        .post("/Groups", &group(ANALYSTS, &[]))
        .await
        .is(201);
    assert_eq!(made.body["schemas"], json!([GROUP]));
    assert_eq!(made.body["displayName"], ANALYSTS);
    assert_eq!(made.body["members"], json!([]));
    assert_eq!(made.body["meta"]["location"], made.header("location"));
    let id = made.id();
    let path = format!("/Groups/{id}");
    let name = json!({ "op": "replace", "value": { "id": id, "displayName": ANALYSTS } });

    // What Okta sends right after: it must not be refused, and changes nothing.
    let before = world.database.snapshot();
    let answer = acme.scim.patch(&path, json!([name])).await.is(204);
    assert_eq!(answer.header("etag"), made.header("etag"));
    assert_eq!(answer.header("location"), made.header("location"));
    assert_eq!(world.database.snapshot(), before);

    // Members, with the name beside them as always, and one PATCH that removes and adds.
    let add = json!({ "op": "add", "path": "members", "value": [
        { "value": ann, "display": "ann@acme.example" }, { "value": bob, "display": "bob" }] });
    let answer = acme.scim.patch(&path, json!([name, add])).await.is(204);
    assert_eq!(
        answer.header("roster-effect"),
        "members=2, skipped=0, gained=2, lost=0"
    );
    let swap = json!([
        { "op": "remove", "path": format!("members[value eq \"{ann}\"]") },
        { "op": "add", "path": "members", "value": [{ "value": cem, "display": "cem" }] },
    ]);
    let answer = acme.scim.patch(&path, swap).await.is(204);
    assert_eq!(
        answer.header("roster-effect"),
        "members=2, skipped=0, gained=1, lost=1"
    );
    assert_eq!(
        acme.scim.members(&id).await,
        sorted(vec![bob.clone(), cem.clone()])
    );
    assert_eq!(acme.rpc.roles("ann@acme.example").await, [""; 0]);
    assert_eq!(acme.rpc.roles("cem@acme.example").await, ["Analyst"]);

    // Adding who is in and removing who is not changes nothing.
    let before = world.database.snapshot();
    let idle = json!([
        { "op": "add", "path": "members", "value": [{ "value": bob }, { "value": bob }] },
        { "op": "remove", "path": format!("members[value eq \"{ann}\"]") },
    ]);
    let answer = acme.scim.patch(&path, idle).await.is(204);
    assert_eq!(
        answer.header("roster-effect"),
        "members=0, skipped=0, gained=0, lost=0"
    );
    assert_eq!(world.database.snapshot(), before);

    // The group is found by name in any case, and is in each member's `groups`.
    let filter = encode(&format!("displayName eq \"{}\"", ANALYSTS.to_lowercase()));
    let found = acme
        .scim
        .get(&format!("/Groups?filter={filter}&startIndex=1&count=100"))
        .await
        .is(200)
        .body;
    assert_eq!(found["totalResults"], 1);
    assert_eq!(found["Resources"][0]["id"], id.as_str());
    let shown = acme.scim.get(&format!("/Users/{bob}")).await.is(200).body;
    assert_eq!(
        shown["groups"],
        json!([{ "value": id, "display": ANALYSTS, "type": "direct", "$ref": made.header("location") }])
    );

    acme.scim.delete(&path).await.is(204);
    acme.scim.get(&path).await.error(404, "");
    acme.scim.patch(&path, json!([name])).await.error(404, "");
    acme.scim.delete(&path).await.error(404, "");
    let shown = acme.scim.get(&format!("/Users/{bob}")).await.is(200).body;
    assert_eq!(shown.get("groups").cloned().unwrap_or(json!([])), json!([]));
    assert_eq!(acme.rpc.roles("bob@acme.example").await, [""; 0]);
    acme.scim.make_group(ANALYSTS, &[&bob]).await;
}

/// Conformance: 79.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_push_replaces_the_members_in_each_of_its_forms() {
    let world = World::start().await;
    let acme = world.acme().await;
    let [ann, bob, cem] = three(&acme).await;
    let id = acme.scim.make_group(ANALYSTS, &[&ann]).await;
    let path = format!("/Groups/{id}");
    let expect = async |operations: Value, members: &[&String]| {
        acme.scim.patch(&path, operations.clone()).await.is(204);
        let members = members.iter().map(|id| (*id).clone()).collect();
        assert_eq!(
            acme.scim.members(&id).await,
            sorted(members),
            "{operations}"
        );
    };
    let two = json!([{ "value": bob, "display": "b" }, { "value": cem, "display": "c" }]);
    expect(
        json!([{ "op": "replace", "path": "members", "value": two }]),
        &[&bob, &cem],
    )
    .await;
    expect(
        json!([{ "op": "replace", "value": { "members": [{ "value": ann }] } }]),
        &[&ann],
    )
    .await;
    // Naming neither members nor a name must empty nothing.
    for idle in [
        json!([{ "op": "replace", "value": { "id": id } }]),
        json!([{ "op": "replace", "value": {} }]),
        json!([{ "op": "replace", "value": { "displayName": ANALYSTS } }]),
        json!([{ "op": "replace", "value": { "externalId": "x", "schemas": [GROUP], "meta": {} } }]),
        json!([{ "op": "replace", "value": { "urn:okta:custom:group:1.0": { "description": "d" } } }]),
        json!([{ "op": "add", "path": "members", "value": [] }]),
        json!([{ "op": "remove", "path": "members", "value": [] }]),
    ] {
        expect(idle, &[&ann]).await;
    }
    let whole = json!({ "id": id, "displayName": ANALYSTS, "members": two });
    expect(json!([{ "op": "replace", "value": whole }]), &[&bob, &cem]).await;
    // Push Now of an empty group, in both forms.
    expect(
        json!([{ "op": "replace", "path": "members", "value": [] }]),
        &[],
    )
    .await;
    expect(
        json!([{ "op": "add", "path": "members", "value": two }]),
        &[&bob, &cem],
    )
    .await;
    let none = json!({ "members": [], "id": id, "displayName": ANALYSTS });
    expect(json!([{ "op": "replace", "value": none }]), &[]).await;
    expect(
        json!([{ "op": "replace", "path": "members", "value": [] }]),
        &[],
    )
    .await;
    expect(
        json!([{ "op": "add", "path": "members", "value": { "value": ann } }]),
        &[&ann],
    )
    .await;
    // Entra's removal means only the one it names.
    expect(
        json!([{ "op": "Add", "path": "members", "value": two }]),
        &[&ann, &bob, &cem],
    )
    .await;
    expect(
        json!([{ "op": "Remove", "path": "members", "value": [{ "value": bob }] }]),
        &[&ann, &cem],
    )
    .await;
    // In order: what a later operation says counts.
    let in_order = json!([
        { "op": "replace", "path": "members", "value": two },
        { "op": "remove", "path": format!("members[value eq \"{bob}\" or value eq \"{ann}\"]") },
        { "op": "add", "path": "members", "value": [{ "value": ann }] },
    ]);
    expect(in_order, &[&ann, &cem]).await;
    // A filter that has to look at the members.
    let others = format!("members[not (value eq \"{ann}\")]");
    expect(json!([{ "op": "remove", "path": others }]), &[&ann]).await;
    expect(json!([{ "op": "remove", "path": "members" }]), &[]).await;
}

/// Conformance: 71.
#[tokio::test(flavor = "multi_thread")]
async fn a_wizard_app_puts_everything() {
    let world = World::start().await;
    let acme = world.acme().await;
    let [ann, bob, cem] = three(&acme).await;
    let made = acme
        .scim
        .post("/Groups", &group(ANALYSTS, &[&ann]))
        .await
        .is(201);
    let id = made.id();
    let path = format!("/Groups/{id}");
    let put = async |name: &str, members: &[String]| {
        let body = json!({ "schemas": [GROUP], "id": id, "displayName": name, "members": elements(members) });
        acme.scim.put(&path, &body).await.is(200)
    };
    let answer = put(ANALYSTS, &[bob.clone(), cem.clone()]).await;
    assert_eq!(
        answer.header("roster-effect"),
        "members=3, skipped=0, gained=2, lost=1"
    );
    assert_eq!(answer.body["members"].as_array().unwrap().len(), 2);
    assert_eq!(
        acme.scim.members(&id).await,
        sorted(vec![bob.clone(), cem.clone()])
    );
    // A PUT of our own GET is a no-op, also with what Okta adds to it.
    let before = world.database.snapshot();
    let read = acme.scim.get(&path).await.is(200);
    let mut sent = read.body.clone();
    let put_back = acme.scim.put(&path, &sent).await.is(200);
    assert_eq!(put_back.body, read.body);
    assert_eq!(put_back.header("etag"), read.header("etag"));
    sent["urn:okta:custom:group:1.0"] = json!({ "description": "d" });
    sent["schemas"] = json!([GROUP, "urn:okta:custom:group:1.0"]);
    sent["description"] = "unknown".into();
    sent["members"].as_array_mut().unwrap().reverse();
    sent["id"] = "another".into();
    assert_eq!(acme.scim.put(&path, &sent).await.is(200).body, read.body);
    assert_eq!(world.database.snapshot(), before);
    // Rename and members in one.
    let answer = put("CB/acme/ROLE/Sales Agent", &[cem.clone(), ann.clone()]).await;
    assert_eq!(answer.body["displayName"], "CB/acme/ROLE/Sales Agent");
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Sales Agent"]);
    assert_eq!(acme.rpc.roles("bob@acme.example").await, [""; 0]);
    assert_eq!(acme.rpc.roles("cem@acme.example").await, ["Sales Agent"]);
    let emptied = put("CB/acme/ROLE/Sales Agent", &[]).await;
    assert_eq!(emptied.body["members"], json!([]));
    assert_eq!(memberships(&world.database), 0);
    // The provider's id of a group is kept and cleared like everything else of a PUT.
    let mut body = group("CB/acme/ROLE/Sales Agent", &[]);
    body["externalId"] = "00g1".into();
    assert_eq!(
        acme.scim.put(&path, &body).await.is(200).body["externalId"],
        "00g1"
    );
    let answer = put("CB/acme/ROLE/Sales Agent", &[]).await;
    assert!(answer.body.get("externalId").is_none());
    let absent = format!("/Groups/{}", Uuid::new_v4());
    acme.scim.put(&absent, &body).await.error(404, "");
}

/// Conformance: 89.
#[tokio::test(flavor = "multi_thread")]
async fn ids_of_nobody_are_passed_over_and_told() {
    let world = World::start().await;
    let acme = world.acme().await;
    let other = world.site("other").await;
    let [ann, bob, _] = three(&acme).await;
    let stranger = other.scim.make_user("ann@acme.example").await;
    let gone = acme.scim.make_user("gone@acme.example").await;
    acme.scim.delete(&format!("/Users/{gone}")).await.is(204);
    let id = acme.scim.make_group(ANALYSTS, &[]).await;
    let path = format!("/Groups/{id}");
    let unknown = [
        Uuid::new_v4().to_string(),
        stranger.clone(),
        gone,
        "00u-okta's-own".to_owned(),
    ];

    let skipped = |world: &World| -> f64 {
        let metrics = world.facade.metrics().unwrap();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("scim_unknown_members_total"));
        line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok())
            .unwrap_or_default()
    };
    assert!(skipped(&world) < 0.5);
    let with = |known: &String| elements(&[&unknown[..], std::slice::from_ref(known)].concat());
    let add = json!([{ "op": "add", "path": "members", "value": with(&ann) }]);
    let answer = acme.scim.patch(&path, add).await.is(204);
    assert_eq!(
        answer.header("roster-effect"),
        "members=1, skipped=4, gained=1, lost=0"
    );
    assert_eq!(acme.scim.members(&id).await, [ann.as_str()]);
    // The log says so under the request's trace id.
    let log = world.log();
    let told = log.lines().filter(|line| line.contains(answer.trace_id()));
    assert!(
        told.into_iter()
            .any(|line| line.contains("WARN") && line.contains('4')),
        "{log}"
    );
    assert!(skipped(&world) > 3.5);

    let put = json!({ "schemas": [GROUP], "displayName": ANALYSTS, "members": with(&bob) });
    let answer = acme.scim.put(&path, &put).await.is(200);
    assert_eq!(
        answer.header("roster-effect"),
        "members=2, skipped=4, gained=1, lost=1"
    );
    let replace = json!([{ "op": "replace", "path": "members", "value": with(&ann) }]);
    let answer = acme.scim.patch(&path, replace).await.is(204);
    assert_eq!(
        answer.header("roster-effect"),
        "members=2, skipped=4, gained=1, lost=1"
    );
    assert_eq!(acme.scim.members(&id).await, [ann.as_str()]);
    let only = elements(&unknown);
    let before = world.database.snapshot();
    let answer = acme
        .scim
        .patch(
            &path,
            json!([{ "op": "add", "path": "members", "value": only }]),
        )
        .await
        .is(204);
    assert_eq!(
        answer.header("roster-effect"),
        "members=0, skipped=4, gained=0, lost=0"
    );
    assert_eq!(world.database.snapshot(), before);
    let entity =
        json!({ "schemas": [GROUP], "displayName": "CB/acme/BE/EU GmbH", "members": with(&bob) });
    let made = acme.scim.post("/Groups", &entity).await.is(201);
    assert_eq!(
        made.header("roster-effect"),
        "members=1, skipped=4, gained=1, lost=0"
    );
    assert_eq!(made.body["members"].as_array().unwrap().len(), 1);
    // Nobody of the other site was touched.
    let theirs = other
        .scim
        .get(&format!("/Users/{stranger}"))
        .await
        .is(200)
        .body;
    assert_eq!(
        theirs.get("groups").cloned().unwrap_or(json!([])),
        json!([])
    );
}

/// Conformance: 91.
#[tokio::test(flavor = "multi_thread")]
async fn a_groups_id_among_the_members_is_refused() {
    let world = World::start().await;
    let acme = world.acme().await;
    let [ann, ..] = three(&acme).await;
    let inner = acme.scim.make_group(ANALYSTS, &[]).await;
    let id = acme.scim.make_group("CB/acme/BE/EU GmbH", &[]).await;
    let path = format!("/Groups/{id}");
    let before = world.database.snapshot();
    let value = json!([{ "value": ann }, { "value": inner }]);
    for operation in [
        json!({ "op": "add", "path": "members", "value": value }),
        json!({ "op": "replace", "path": "members", "value": value }),
        json!({ "op": "replace", "value": { "members": value } }),
        json!({ "op": "add", "path": "members", "value": [{ "value": id }] }),
    ] {
        let detail = acme
            .scim
            .patch(&path, json!([operation]))
            .await
            .error(400, "invalidValue");
        assert!(detail.contains("is a group"), "{detail}");
    }
    let typed =
        json!([{ "op": "add", "path": "members", "value": [{ "value": inner, "type": "Group" }] }]);
    acme.scim
        .patch(&path, typed)
        .await
        .error(400, "invalidValue");
    let put = json!({ "schemas": [GROUP], "displayName": "CB/acme/BE/EU GmbH", "members": value });
    let detail = acme.scim.put(&path, &put).await.error(400, "invalidValue");
    assert!(detail.contains(&inner), "{detail}");
    let post = json!({ "schemas": [GROUP], "displayName": "CB/acme/BE/US Inc", "members": value });
    acme.scim
        .post("/Groups", &post)
        .await
        .error(400, "invalidValue");
    for members in [
        json!("x"),
        json!([1]),
        json!([{}]),
        json!([{ "value": 7 }]),
        json!(["x"]),
    ] {
        let post =
            json!({ "schemas": [GROUP], "displayName": "CB/acme/BE/US Inc", "members": members });
        let detail = acme
            .scim
            .post("/Groups", &post)
            .await
            .error(400, "invalidValue");
        assert!(detail.starts_with("members"), "{detail}");
        let patch = json!([{ "op": "add", "path": "members", "value": members }]);
        acme.scim
            .patch(&path, patch)
            .await
            .error(400, "invalidValue");
    }
    assert_eq!(world.database.snapshot(), before);
}

/// Conformance: 90.
#[tokio::test(flavor = "multi_thread")]
async fn pushes_of_hundreds_and_thousands_arrive_whole_and_in_time() {
    let world = World::start().await;
    let acme = world.acme().await;
    let all = sorted(world.database.seed_members(&acme.id, 20_000));
    let id = acme.scim.make_group(ANALYSTS, &[]).await;
    let path = format!("/Groups/{id}");
    // 256 at once.
    let began = Instant::now();
    let add = json!([{ "op": "add", "path": "members", "value": elements(&all[..256]) }]);
    acme.scim.patch(&path, add).await.is(204);
    assert_eq!(acme.scim.members(&id).await, all[..256]);
    // 1000 changes in one PATCH, each removal an operation of its own.
    let mut operations: Vec<Value> = all[..256]
        .iter()
        .map(|id| json!({ "op": "remove", "path": format!("members[value eq \"{id}\"]") }))
        .collect();
    operations.push(json!({ "op": "add", "path": "members", "value": elements(&all[256..1000]) }));
    let answer = acme.scim.patch(&path, operations.into()).await.is(204);
    assert_eq!(
        answer.header("roster-effect"),
        "members=1000, skipped=0, gained=744, lost=256"
    );
    assert_eq!(acme.scim.members(&id).await, all[256..1000]);
    // Far below the 60 seconds after which Okta gives up.
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );

    let began = Instant::now();
    let put =
        json!({ "schemas": [GROUP], "id": id, "displayName": ANALYSTS, "members": elements(&all) });
    let answer = acme.scim.put(&path, &put).await.is(200);
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        answer.header("roster-effect"),
        "members=19256, skipped=0, gained=19256, lost=0"
    );
    assert_eq!(answer.body["members"].as_array().unwrap().len(), 20_000);
    assert_eq!(acme.scim.members(&id).await, all);
    assert_eq!(memberships(&world.database), 20_000);
    // The list gives them whole or, where that was asked, not at all.
    let list = acme
        .scim
        .get("/Groups?startIndex=1&count=100")
        .await
        .is(200)
        .body;
    assert_eq!(
        list["Resources"][0]["members"].as_array().unwrap().len(),
        20_000
    );
    let list = acme
        .scim
        .get("/Groups?excludedAttributes=members")
        .await
        .is(200)
        .body;
    assert!(list["Resources"][0].get("members").is_none());
    assert_eq!(acme.rpc.roles("m20000@many.example").await, ["Analyst"]);
    // The same again is no change.
    let before = world
        .database
        .number("SELECT max(revision) AS n FROM site_clocks");
    let again = acme.scim.put(&path, &put).await.is(200);
    assert_eq!(again.header("etag"), answer.header("etag"));
    assert_eq!(
        world
            .database
            .number("SELECT max(revision) AS n FROM site_clocks"),
        before
    );
    // And all but one out again.
    let one = json!([{ "op": "replace", "path": "members", "value": elements(&all[..1]) }]);
    let answer = acme.scim.patch(&path, one).await.is(204);
    assert_eq!(
        answer.header("roster-effect"),
        "members=19999, skipped=0, gained=0, lost=19999"
    );
    assert_eq!(acme.scim.members(&id).await, all[..1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_listed_in_pages_and_found_by_filter() {
    let world = World::start().await;
    let acme = world.acme().await;
    let roles = [
        "Admin",
        "Tech Support",
        "Analyst",
        "Sales Agent",
        "Customer Support",
    ];
    let mut ids = Vec::new();
    for role in roles {
        let mut body = group(&format!("CB/acme/ROLE/{role}"), &[]);
        body["externalId"] = format!("00g-{role}").into();
        ids.push(acme.scim.post("/Groups", &body).await.is(201).id());
    }
    let mut seen = Vec::new();
    for start in [1, 3, 5, 7] {
        let page = acme
            .scim
            .get(&format!("/Groups?startIndex={start}&count=2"))
            .await
            .is(200)
            .body;
        assert_eq!(page["schemas"], json!([LIST]));
        assert_eq!(page["totalResults"], json!(5));
        assert_eq!(page["startIndex"], json!(start));
        let groups = page["Resources"].as_array().unwrap();
        assert_eq!(page["itemsPerPage"], json!(groups.len()));
        seen.extend(
            groups
                .iter()
                .map(|group| group["id"].as_str().unwrap().to_owned()),
        );
    }
    assert_eq!(sorted(seen), sorted(ids.clone()));
    let found = async |filter: String| {
        let list = acme
            .scim
            .get(&format!("/Groups?filter={}", encode(&filter)))
            .await
            .is(200)
            .body;
        let ids = list["Resources"].as_array().unwrap().iter();
        ids.map(|group| group["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        found("displayName eq \"CB/acme/ROLE/Tech Support\"".to_owned()).await,
        [ids[1].clone()]
    );
    assert_eq!(
        found("externalId eq \"00g-Admin\"".to_owned()).await,
        [ids[0].clone()]
    );
    assert_eq!(
        found(format!(
            "id eq \"{}\" and displayName eq \"CB/acme/ROLE/Analyst\"",
            ids[2]
        ))
        .await,
        [ids[2].clone()]
    );
    assert_eq!(
        found(format!(
            "id eq \"{}\" and displayName eq \"CB/acme/ROLE/Admin\"",
            ids[2]
        ))
        .await,
        [""; 0]
    );
    assert_eq!(
        found("displayName eq \"nothing\"".to_owned()).await,
        [""; 0]
    );
    for filter in ["userName eq \"x\"", "members.nope eq \"x\""] {
        let path = format!("/Groups?filter={}", encode(filter));
        acme.scim.get(&path).await.error(400, "invalidFilter");
    }
    // A user's group membership is changed through groups only.
    let mut ann = user("ann@acme.example");
    ann["groups"] = json!([{ "value": ids[0] }]);
    acme.scim.post("/Users", &ann).await.is(201);
    assert_eq!(acme.scim.members(&ids[0]).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_of_very_many_ids_of_nobody_is_answered_in_time() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let id = acme.scim.make_group(ANALYSTS, &[]).await;
    let path = format!("/Groups/{id}");
    let nobody: Vec<String> = (0..200_000).map(|n| format!("00u{n}")).collect();
    let others: Vec<String> = (0..50_000).map(|_| Uuid::new_v4().to_string()).collect();
    for ids in [nobody, others] {
        let began = Instant::now();
        let value = elements(&[&ids[..], std::slice::from_ref(&ann)].concat());
        let put = json!({ "schemas": [GROUP], "displayName": ANALYSTS, "members": value });
        let answer = acme.scim.put(&path, &put).await.is(200);
        let skipped = format!("skipped={},", ids.len());
        assert!(answer.header("roster-effect").contains(&skipped));
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(acme.scim.members(&id).await, [ann.as_str()]);
    }
    // What is too much even for that is refused by its limit.
    let many: Vec<Value> = (0..500_001)
        .map(|n| json!({ "value": format!("u{n}") }))
        .collect();
    let put = json!({ "schemas": [GROUP], "displayName": ANALYSTS, "members": many });
    let detail = acme.scim.put(&path, &put).await.error(413, "");
    assert!(detail.contains("500000"), "{detail}");
    assert_eq!(acme.scim.members(&id).await, [ann]);
}
