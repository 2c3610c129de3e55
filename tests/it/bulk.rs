//! Bulk requests from end to end.

use identity_tests::{
    scim::{Answer, ERROR, GROUP, Scim, USER, group, user},
    world::{Settings, World},
};
use reqwest::Method;
use serde_json::{Value, json};

const REQUEST: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
const RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

async fn bulk(scim: &Scim, operations: Value) -> Vec<Value> {
    let body = json!({"schemas": [REQUEST], "Operations": operations});
    answers(&scim.post("/Bulk", &body).await.is(200))
}

fn answers(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.body["schemas"], json!([RESPONSE]));
    answer.body["Operations"].as_array().unwrap().clone()
}

fn statuses(answers: &[Value]) -> Vec<&str> {
    answers
        .iter()
        .map(|answer| answer["status"].as_str().unwrap())
        .collect()
}

/// The path below the Site URL of what an operation made.
fn made(scim: &Scim, answer: &Value) -> String {
    let location = answer["location"].as_str().unwrap();
    location.strip_prefix(&scim.url).unwrap().to_owned()
}

fn post(path: &str, bulk_id: &str, data: &Value) -> Value {
    json!({"method": "POST", "path": path, "bulkId": bulk_id, "data": data})
}

fn managed(name: &str, manager: &str) -> Value {
    let mut user = user(&format!("{name}@acme.example"));
    user["schemas"] = json!([USER, ENTERPRISE]);
    user[ENTERPRISE] = json!({"manager": {"value": manager, "displayName": manager}});
    user
}

/// Conformance: 114, 115.
#[tokio::test(flavor = "multi_thread")]
async fn operations_are_carried_out_as_single_requests() {
    let world = World::start().await;
    let acme = world.acme().await;
    let scim = &acme.scim;
    let ann = scim.make_user("ann@acme.example").await;
    let bob = scim.make_user("bob@acme.example").await;
    let shown = scim.get(&format!("/Users/{ann}")).await.is(200);
    let version = shown.header("etag").to_owned();
    let path = format!("/Users/{ann}");
    let title = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "replace", "path": "title", "value": "T"}],
    });
    let done = bulk(
        scim,
        json!([
            post("/Users", "new", &user("cem@acme.example")),
            post("/Users", "taken", &user("ANN@acme.example")),
            {"method": "PATCH", "path": path, "version": version, "data": title},
            {"method": "PATCH", "path": path, "version": version, "data": title},
            {"method": "PUT", "path": format!("/Users/{bob}"), "data": managed("bob", "x")},
            {"method": "DELETE", "path": format!("/Users/{bob}")},
            {"method": "DELETE", "path": format!("/Users/{bob}")},
            {"method": "GET", "path": path},
            {"method": "POST", "path": "/Users", "data": user("dan@acme.example")},
            post("/Users", "new", &user("eve@acme.example")),
            post("/Bulk", "nested", &json!({})),
            post("/Users/.search", "search", &json!({})),
            post("/Nowhere", "nowhere", &json!({})),
            {"method": "DELETE", "path": "/Users"},
            post("/Users", "bad", &json!({"schemas": [USER]})),
        ]),
    )
    .await;
    assert_eq!(
        statuses(&done),
        [
            "201", "409", "200", "412", "200", "204", "404", "400", "400", "400", "400", "400",
            "404", "405", "400"
        ]
    );
    assert_eq!(done[0]["bulkId"], "new");
    let cem = scim.get(&made(scim, &done[0])).await.is(200);
    assert_eq!(done[0]["version"], cem.header("etag"));
    assert_eq!(done[1]["response"]["scimType"], "uniqueness");
    assert_eq!(done[1].get("location"), None);
    assert_eq!(done[2]["location"], format!("{}{path}", scim.url));
    assert_eq!(done[3]["location"], done[2]["location"]);
    for refused in &done[6..] {
        let response = &refused["response"];
        assert_eq!(response["schemas"], json!([ERROR]));
        assert_eq!(response["status"], refused["status"]);
        assert!(response["detail"].as_str().unwrap().contains("(trace "));
    }
    let users = scim.get("/Users").await.is(200).body;
    assert_eq!(users["totalResults"], 3);
}

/// Conformance: 113.
#[tokio::test(flavor = "multi_thread")]
async fn references_are_resolved_in_data_and_paths_also_forward() {
    let world = World::start().await;
    let acme = world.acme().await;
    let scim = &acme.scim;
    let admins = scim.make_group("CB/acme/ROLE/Admin", &[]).await;
    let members = json!([{"op": "add", "path": "members", "value": [{"value": "bulkId:ann"}, {"value": "bulkId:bob"}]}]);
    let without = json!([{"op": "remove", "path": "members[value eq \"bulkId:bob\"]"}]);
    let done = bulk(
        scim,
        json!([
            post("/Groups", "analysts", &group("CB/acme/ROLE/Analyst", &["bulkId:ann", "bulkId:bob"])),
            {"method": "PATCH", "path": format!("/Groups/{admins}"), "data": members},
            {"method": "PATCH", "path": "/Groups/bulkId:analysts", "data": without},
            {"method": "PATCH", "path": "/Users/bulkId:ann", "data": [{"op": "add", "path": "title", "value": "T"}]},
            post("/Users", "ann", &managed("ann", "bulkId:bob")),
            post("/Users", "bob", &user("bob@acme.example")),
        ]),
    )
    .await;
    assert_eq!(statuses(&done), ["201", "204", "204", "200", "201", "201"]);
    let ann = scim.get(&made(scim, &done[4])).await.is(200);
    let bob = scim.get(&made(scim, &done[5])).await.is(200);
    assert_eq!(ann.body[ENTERPRISE]["manager"]["value"], bob.body["id"]);
    assert_eq!(ann.body["title"], "T");
    assert_eq!(done[3]["location"], done[4]["location"]);
    let analysts = scim.get(&made(scim, &done[0])).await.is(200).id();
    assert_eq!(scim.members(&analysts).await, [ann.id()]);
    let mut both = [ann.id(), bob.id()];
    both.sort();
    assert_eq!(scim.members(&admins).await, both);
    assert_eq!(
        acme.rpc.roles("ann@acme.example").await,
        ["Admin", "Analyst"]
    );
}

/// Conformance: 113.
#[tokio::test(flavor = "multi_thread")]
async fn circles_are_closed_or_undone() {
    let world = World::start().await;
    let acme = world.acme().await;
    let scim = &acme.scim;
    let done = bulk(
        scim,
        json!([
            post(
                "/Groups",
                "g",
                &group("CB/acme/ROLE/Analyst", &["bulkId:a", "bulkId:c"])
            ),
            post("/Users", "a", &managed("a", "bulkId:b")),
            post("/Users", "b", &managed("b", "bulkId:c")),
            post("/Users", "c", &managed("c", "bulkId:a")),
            post("/Users", "self", &managed("self", "bulkId:self")),
        ]),
    )
    .await;
    assert_eq!(statuses(&done), ["201"; 5]);
    let mut users = Vec::new();
    for answer in &done[1..] {
        let shown = scim.get(&made(scim, answer)).await.is(200);
        // The second part of a version follows from the groups, which came after.
        let first = |version: &str| version.split('-').next().unwrap().to_owned();
        let version = first(answer["version"].as_str().unwrap());
        assert_eq!(version, first(shown.header("etag")));
        users.push(shown);
    }
    for (user, manager) in [(0, 1), (1, 2), (2, 0), (3, 3)] {
        let manager_of = &users[user].body[ENTERPRISE]["manager"]["value"];
        assert_eq!(*manager_of, users[manager].body["id"]);
    }
    let analysts = scim.get(&made(scim, &done[0])).await.is(200).id();
    let mut expected = [users[0].id(), users[2].id()];
    expected.sort();
    assert_eq!(scim.members(&analysts).await, expected);

    // Groups hold users only: the circle can't be closed, and nothing of it stays.
    let circle = json!([
        post("/Groups", "x", &group("CB/acme/ROLE/Admin", &["bulkId:y"])),
        post("/Groups", "y", &group("CB/acme/BE/EU GmbH", &["bulkId:x"])),
    ]);
    let refused = bulk(scim, circle).await;
    assert_eq!(statuses(&refused), ["400", "400"]);
    let groups = scim.get("/Groups").await.is(200).body;
    assert_eq!(groups["totalResults"], 1);
}

/// Conformance: 113.
#[tokio::test(flavor = "multi_thread")]
async fn what_refers_to_nothing_fails_alone() {
    let world = World::start().await;
    let acme = world.acme().await;
    let scim = &acme.scim;
    let done = bulk(
        scim,
        json!([
            post("/Users", "bad", &json!({"schemas": [USER], "userName": "no address"})),
            post("/Groups", "g", &group("CB/acme/ROLE/Admin", &["bulkId:bad"])),
            post("/Groups", "h", &group("CB/acme/ROLE/Analyst", &["bulkId:unheard"])),
            {"method": "DELETE", "path": "/Users/bulkId:bad"},
            post("/Users", "good", &user("good@acme.example")),
        ]),
    )
    .await;
    assert_eq!(statuses(&done), ["400", "400", "400", "400", "201"]);
    let detail = |index: usize| done[index]["response"]["detail"].as_str().unwrap();
    assert!(detail(1).contains("bulkId:bad, whose operation failed"));
    assert!(detail(2).contains("bulkId:unheard, which no operation"));
}

/// Conformance: 111, 112, 113.
#[tokio::test(flavor = "multi_thread")]
async fn it_stops_after_so_many_errors_and_keeps_its_limits() {
    let settings = Settings {
        facade: vec![("ROSTER_BULK_MAX_OPERATIONS", "6".to_owned())],
        ..Settings::default()
    };
    let world = World::with(settings).await;
    let acme = world.acme().await;
    let scim = &acme.scim;
    let absent = |number: usize| json!({"method": "DELETE", "path": format!("/Users/{number}")});
    let run = async |errors: Value, operations: Value| {
        let body = json!({"schemas": [REQUEST], "failOnErrors": errors, "Operations": operations});
        scim.post("/Bulk", &body).await
    };
    let good = post("/Users", "good", &user("good@acme.example"));
    let operations = json!([absent(1), good, absent(2), absent(3)]);
    let done = run(json!(2), operations.clone()).await.is(200);
    assert_eq!(statuses(&answers(&done)), ["404", "201", "404"]);
    for first in [json!(1), json!(0)] {
        let done = run(first, operations.clone()).await.is(200);
        assert_eq!(statuses(&answers(&done)), ["404"]);
    }
    let done = run(json!(null), operations.clone()).await.is(200);
    assert_eq!(statuses(&answers(&done)), ["404", "409", "404", "404"]);
    for errors in [json!(-1), json!("x")] {
        let refused = run(errors, operations.clone()).await;
        refused.error(400, "invalidValue");
    }
    let seven: Vec<Value> = (0..7).map(absent).collect();
    let detail = run(json!(null), json!(seven)).await.error(413, "");
    assert!(detail.contains("6 operations (maxOperations)"), "{detail}");
    let large =
        json!([{"method": "POST", "path": "/Users", "bulkId": "x", "data": "x".repeat(1 << 20)}]);
    let detail = run(json!(null), large).await.error(413, "");
    assert!(
        detail.contains("1048576 bytes (maxPayloadSize)"),
        "{detail}"
    );
    for body in [
        json!({}),
        json!({"schemas": [REQUEST]}),
        json!({"schemas": [GROUP], "Operations": [good]}),
    ] {
        scim.post("/Bulk", &body).await.error(400, "invalidSyntax");
    }
    let body = json!({"schemas": [REQUEST], "Operations": [good]});
    let nobody = Scim::new(&scim.url, "Bearer nobody");
    nobody.post("/Bulk", &body).await.error(401, "");
    scim.get("/Bulk").await.error(405, "");

    // A rehearsal makes nothing, and says so of what needs it.
    let body = json!({"schemas": [REQUEST], "Operations": [
        post("/Users", "new", &user("new@acme.example")),
        post("/Groups", "g", &group("CB/acme/ROLE/Admin", &["bulkId:new"])),
    ]});
    let rehearsal = scim
        .request(Method::POST, "/Bulk")
        .header("content-type", "application/scim+json")
        .header("roster-dry-run", "true")
        .body(body.to_string());
    let done = Scim::send(rehearsal).await.is(200);
    let done = answers(&done);
    assert_eq!(statuses(&done), ["201", "400"]);
    let why = done[1]["response"]["detail"].as_str().unwrap();
    assert!(why.contains("a rehearsal does not make"), "{why}");
    let users = scim.get("/Users").await.is(200).body;
    assert_eq!(users["totalResults"], 2);
}

/// Conformance: 111, 129.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_the_time_being_says_when_to_come_back() {
    let settings = Settings {
        identity: vec![("ROSTER_RATE_LIMIT", "1".to_owned())],
        ..Settings::default()
    };
    let world = World::with(settings).await;
    let site = world.bare_site("busy").await;
    let users = |from: usize| -> Value {
        let users = (from..from + 4).map(|n| {
            let body = user(&format!("u{n}@busy.example"));
            post("/Users", &format!("{n}"), &body)
        });
        json!({"schemas": [REQUEST], "Operations": users.collect::<Vec<Value>>()})
    };
    let seconds = |answer: &Answer| answer.header("retry-after").parse::<u64>().unwrap();
    // Two at once: who is asking, and the first operation. What was done is done.
    let some = site.scim.post("/Bulk", &users(0)).await.is(200);
    assert_eq!(statuses(&answers(&some)), ["201", "429", "429", "429"]);
    assert!((1..=60).contains(&seconds(&some)));
    // One more: who is asking. Nothing is done, and the whole is to be repeated.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let none = site.scim.post("/Bulk", &users(4)).await;
    assert!((1..=60).contains(&seconds(&none)));
    none.error(429, "");
    let made = "SELECT count(*) AS n FROM members WHERE user_name LIKE 'u%'";
    assert_eq!(world.database.number(made), 1);
}

/// Conformance: 111.
#[tokio::test(flavor = "multi_thread")]
async fn as_many_operations_as_discovery_allows_fit_into_one_request() {
    // A debug build beside other tests may take longer than a request may where nothing is set.
    let world = World::with(Settings {
        facade: vec![
            ("ROSTER_BODY_TIMEOUT_MS", "8000".to_owned()),
            ("ROSTER_REQUEST_TIMEOUT_MS", "50000".to_owned()),
        ],
        ..Settings::default()
    })
    .await;
    let acme = world.acme().await;
    let scim = &acme.scim;
    let config = scim.get("/ServiceProviderConfig").await.is(200).body;
    let most = config["bulk"]["maxOperations"].as_u64().unwrap();
    // The group comes first, and waits for everybody.
    let names: Vec<String> = (1..most).map(|number| format!("u{number}")).collect();
    let references: Vec<String> = names.iter().map(|name| format!("bulkId:{name}")).collect();
    let references: Vec<&str> = references.iter().map(String::as_str).collect();
    let mut operations = vec![post(
        "/Groups",
        "g",
        &group("CB/acme/ROLE/Analyst", &references),
    )];
    for name in &names {
        let data = json!({"schemas": [USER], "userName": format!("{name}@acme.example")});
        operations.push(post("/Users", name, &data));
    }
    let done = bulk(scim, json!(operations)).await;
    assert_eq!(statuses(&done), vec!["201"; names.len() + 1]);
    let analysts = scim.get(&made(scim, &done[0])).await.is(200).id();
    assert_eq!(scim.members(&analysts).await.len(), names.len());
}
