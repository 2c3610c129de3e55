//! What each request of Okta's life cycle costs: one call, one transaction, and so many statements. A
//! request that finds everything as it asks writes nothing.

use identity_tests::{database::statements, scim, world::World};
use reqwest::Method;
use serde_json::{Value, json};

/// The statements of one request, by their first word; `effect` is what the response header says.
struct Cost {
    calls: usize,
    words: Vec<String>,
    effect: String,
}

impl Cost {
    /// How many statements stand between the one that begins the transaction and the one that ends it.
    fn statements(&self) -> usize {
        self.words.len() - 1
    }

    fn ends_in(&self) -> &str {
        self.words.last().unwrap()
    }
}

async fn cost(world: &World, scim: &scim::Scim, method: &str, path: &str, body: &Value) -> Cost {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let answer = if body.is_null() {
        scim::Scim::send(scim.request(method, path)).await
    } else {
        scim.with_body(method, path, body).await
    };
    assert!(answer.status.is_success(), "{:#}", answer.body);
    let statements = statements(answer.trace_id());
    let calls = calls(world, answer.trace_id());
    let words = statements
        .iter()
        .map(|sql| sql.split_whitespace().next().unwrap_or_default().to_owned())
        .collect();
    Cost {
        calls,
        words,
        effect: answer.header("roster-effect").to_owned(),
    }
}

/// How often identity was called in a trace.
fn calls(world: &World, trace_id: &str) -> usize {
    let log = std::fs::read_to_string(world.identity.log()).unwrap();
    log.lines()
        .filter(|line| line.contains(": call ") && line.contains(trace_id))
        .count()
}

fn operations(operations: Value) -> Value {
    json!({ "schemas": [scim::PATCH_OP], "Operations": operations })
}

/// One request and what it may cost.
struct Shape {
    what: &'static str,
    method: &'static str,
    path: String,
    body: Value,
    /// Between `BEGIN` and its end.
    statements: usize,
    ends_in: &'static str,
}

fn shape(
    what: &'static str,
    (method, path): (&'static str, &str),
    body: Value,
    statements: usize,
    ends_in: &'static str,
) -> Shape {
    Shape {
        what,
        method,
        path: path.to_owned(),
        body,
        statements,
        ends_in,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_of_the_life_cycle_is_one_call_and_so_many_statements() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let bob = acme.scim.make_user("bob@acme.example").await;
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&bob]).await;
    let (user, group_path) = (format!("/Users/{ann}"), format!("/Groups/{group}"));
    let filter = format!(
        "/Users?filter={}&startIndex=1&count=100",
        scim::encode("userName eq \"ann@acme.example\"")
    );
    let by_name = format!(
        "/Groups?filter={}&startIndex=1&count=100",
        scim::encode("displayName eq \"CB/acme/ROLE/Analyst\"")
    );
    let same = acme.scim.get(&user).await.body;
    let mut changed = same.clone();
    changed["title"] = json!("Head");
    let member = |id: &str| json!([{ "value": id, "display": "login" }]);
    let activity =
        |active: bool| operations(json!([{ "op": "replace", "value": { "active": active } }]));
    let push_name = |name: &str| {
        operations(json!([{ "op": "replace", "value": { "id": group, "displayName": name } }]))
    };
    let swap = operations(json!([
        { "op": "remove", "path": format!("members[value eq \"{bob}\"]") },
        { "op": "add", "path": "members", "value": member(&ann) },
    ]));
    let put_group = |ids: &[&str]| {
        let members: Vec<Value> = ids
            .iter()
            .map(|id| json!({ "value": id, "display": "login" }))
            .collect();
        json!({ "schemas": [scim::GROUP], "id": group, "displayName": "CB/acme/ROLE/Analyst", "members": members })
    };
    let exactly = |ids: &[&str]| {
        let members: Vec<Value> = ids.iter().map(|id| json!({ "value": id })).collect();
        operations(json!([{ "op": "replace", "path": "members", "value": members }]))
    };
    let (commit, rollback) = ("COMMIT", "ROLLBACK");

    // Signing in, with the site and its lock, is the first of each. A write reads what is there, writes
    // it and its history in one, and records its event.
    let shapes = [
        shape(
            "test credentials, users",
            ("GET", "/Users?startIndex=1&count=2"),
            Value::Null,
            3,
            rollback,
        ),
        shape(
            "test credentials, groups",
            ("GET", "/Groups?startIndex=1&count=100"),
            Value::Null,
            2,
            rollback,
        ),
        shape("look up", ("GET", &filter), Value::Null, 2, rollback),
        shape(
            "look up a group",
            ("GET", &by_name),
            Value::Null,
            2,
            rollback,
        ),
        shape(
            "create",
            ("POST", "/Users"),
            scim::user("new@acme.example"),
            3,
            commit,
        ),
        shape("read", ("GET", &user), Value::Null, 2, rollback),
        shape("put the same", ("PUT", &user), same, 2, rollback),
        shape("put a change", ("PUT", &user), changed, 4, commit),
        shape("deactivate", ("PATCH", &user), activity(false), 4, commit),
        shape(
            "deactivate again",
            ("PATCH", &user),
            activity(false),
            2,
            rollback,
        ),
        shape("reactivate", ("PATCH", &user), activity(true), 4, commit),
        shape(
            "password",
            ("PATCH", &user),
            operations(json!([{ "op": "replace", "value": { "password": "x" } }])),
            2,
            rollback,
        ),
        shape(
            "create a group",
            ("POST", "/Groups"),
            scim::group("CB/acme/ROLE/Admin", &[]),
            4,
            commit,
        ),
        shape(
            "create a group with members",
            ("POST", "/Groups"),
            scim::group("CB/acme/BE/EU GmbH", &[&ann, &bob]),
            5,
            commit,
        ),
        shape(
            "push the same name",
            ("PATCH", &group_path),
            push_name("CB/acme/ROLE/Analyst"),
            2,
            rollback,
        ),
        shape(
            "add and remove",
            ("PATCH", &group_path),
            swap.clone(),
            4,
            commit,
        ),
        shape(
            "add and remove again",
            ("PATCH", &group_path),
            swap,
            3,
            rollback,
        ),
        shape(
            "replace members",
            ("PATCH", &group_path),
            exactly(&[&bob]),
            5,
            commit,
        ),
        shape(
            "replace by the same",
            ("PATCH", &group_path),
            exactly(&[&bob]),
            3,
            rollback,
        ),
        shape("empty", ("PATCH", &group_path), exactly(&[]), 5, commit),
        shape(
            "put a group",
            ("PUT", &group_path),
            put_group(&[&ann, &bob]),
            6,
            commit,
        ),
        shape(
            "put the same group",
            ("PUT", &group_path),
            put_group(&[&ann, &bob]),
            4,
            rollback,
        ),
        shape(
            "rename",
            ("PATCH", &group_path),
            push_name("CB/acme/ROLE/Sales Agent"),
            9,
            commit,
        ),
        shape(
            "read a group",
            ("GET", &group_path),
            Value::Null,
            2,
            rollback,
        ),
        shape(
            "delete a group",
            ("DELETE", &group_path),
            Value::Null,
            5,
            commit,
        ),
        shape("delete a user", ("DELETE", &user), Value::Null, 4, commit),
    ];
    let mut differing = Vec::new();
    for shape in shapes {
        let before = world.database.snapshot();
        let cost = cost(&world, &acme.scim, shape.method, &shape.path, &shape.body).await;
        assert_eq!(cost.calls, 1, "{}: one call", shape.what);
        if cost.ends_in() == rollback {
            assert_eq!(world.database.snapshot(), before, "{}", shape.what);
        }
        if (cost.statements(), cost.ends_in()) != (shape.statements, shape.ends_in) {
            differing.push(format!("{}: {:?}", shape.what, cost.words));
        }
    }
    assert!(differing.is_empty(), "{differing:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_costs_the_same_in_a_small_group_and_in_a_large_one() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ids = world.database.seed_members(&acme.id, 10_002);
    let (one, rest) = ids.split_at(2);
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let small = acme
        .scim
        .make_group("CB/acme/ROLE/Analyst", &rest[..10])
        .await;
    let large = acme.scim.make_group("CB/acme/BE/US Inc", &rest).await;
    world.database.execute("ANALYZE");

    let mut costs = Vec::new();
    for group in [&small, &large] {
        let path = format!("/Groups/{group}");
        let add =
            operations(json!([{ "op": "add", "path": "members", "value": [{ "value": one[0] }] }]));
        let swap = operations(json!([
            { "op": "remove", "path": format!("members[value eq \"{}\"]", one[0]) },
            { "op": "add", "path": "members", "value": [{ "value": one[1] }] },
        ]));
        let mut of_group = Vec::new();
        for body in [&add, &add, &swap] {
            let written = world.database.number(WRITTEN);
            let cost = cost(&world, &acme.scim, "PATCH", &path, body).await;
            of_group.push((
                cost.words,
                cost.effect,
                world.database.number(WRITTEN) - written,
            ));
        }
        costs.push(of_group);
    }
    assert_eq!(costs[0], costs[1]);
    assert_eq!(costs[0][1].2, 0, "a no-op writes no row");
}

/// Every row that stands anywhere a request can write.
const WRITTEN: &str = "SELECT (SELECT count(*) FROM members) + (SELECT count(*) FROM group_members) \
    + (SELECT count(*) FROM group_members WHERE to_event IS NOT NULL) + (SELECT count(*) FROM events) \
    + (SELECT coalesce(sum(version), 0) FROM members)::bigint AS n";

#[tokio::test(flavor = "multi_thread")]
async fn what_has_to_look_first_is_a_read_and_a_write_and_a_refusal_one_call_at_most() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let bob = acme.scim.make_user("bob@acme.example").await;
    let id = acme
        .scim
        .make_group("CB/acme/ROLE/Analyst", &[&ann, &bob])
        .await;
    let (user, group) = (format!("/Users/{ann}"), format!("/Groups/{id}"));
    let others = json!([{ "op": "remove", "path": format!("members[value ne \"{ann}\"]") }]);
    let title = json!([{ "op": "replace", "path": "title", "value": "T" }]);
    for (path, operations) in [(&group, others), (&user, title)] {
        let answer = acme.scim.patch(path, operations).await;
        assert!(answer.status.is_success(), "{:#}", answer.body);
        assert_eq!(calls(&world, answer.trace_id()), 2, "{path}");
    }
    assert_eq!(acme.scim.members(&id).await, [ann.as_str()]);
    // Who asks is asked once, so that a bad token is told first; without any there is nobody to ask about.
    let nobody = world.scim("acme", "");
    for (scim, expected) in [(&acme.scim, 1), (&nobody, 0)] {
        for answer in [
            scim.get("/Users?filter=nonsense").await,
            scim.post("/Users", &json!({})).await,
            scim.patch(&group, json!([])).await,
            scim.get("/Me").await,
        ] {
            assert!(answer.status.is_client_error() || answer.status == 501);
            assert_eq!(calls(&world, answer.trace_id()), expected);
        }
    }
}

/// Conformance: 40.
#[tokio::test(flavor = "multi_thread")]
async fn members_are_not_loaded_for_nobody() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let id = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    for (path, loads) in [
        (format!("/Groups/{id}"), true),
        (format!("/Groups/{id}?attributes=displayName"), false),
        ("/Groups".to_owned(), true),
        ("/Groups?excludedAttributes=members".to_owned(), false),
    ] {
        let answer = acme.scim.get(&path).await.is(200);
        let statements = statements(answer.trace_id()).join("\n");
        assert_eq!(statements.contains("group_members"), loads, "{path}");
    }
}
