//! Nothing personal and nothing secret comes into a log, a span or a metric: canary values are sent every
//! way there is, in what succeeds and in what fails, and are looked for afterwards.

use identity_proto::v1 as pb;
use identity_tests::{
    collector::Collector,
    rpc::{by_id, by_user_name},
    scim::{ENTERPRISE, PATCH_OP, Scim, USER, encode, user},
    world::World,
    writes::{mask, member},
};
use reqwest::Method;
use serde_json::json;

/// Begins every value that must not be seen again.
const CANARY: &str = "kanarienvogel";

/// A value of that kind, that is one of a kind.
fn canary(what: &str) -> String {
    format!("{CANARY}-{what}")
}

async fn send_raw(scim: &Scim, method: Method, path: &str, body: String) -> u16 {
    let request = scim
        .request(method, path)
        .header("content-type", "application/scim+json")
        .body(body);
    Scim::send(request).await.status.as_u16()
}

async fn over_scim(world: &World, scim: &Scim) {
    let address = format!("{}@acme.example", canary("user"));
    let mut person = user(&address);
    person["password"] = json!(canary("password"));
    person["name"] = json!({ "givenName": canary("given"), "familyName": canary("family") });
    person["externalId"] = json!(canary("external"));
    person["phoneNumbers"] = json!([{ "value": canary("phone") }]);
    person["addresses"] = json!([{ "streetAddress": canary("street") }]);
    person["unknown"] = json!(canary("unknown"));
    person[ENTERPRISE] = json!({ "employeeNumber": canary("number") });
    let made = scim.post("/Users", &person).await.is(201);
    let id = made.id();
    let path = format!("/Users/{id}");
    scim.post("/Users", &person).await.error(409, "uniqueness");
    scim.put(&path, &person).await.is(200);
    for value in [
        json!({ "password": canary("new-password") }),
        json!({ "title": canary("title") }),
    ] {
        scim.patch(&path, json!([{ "op": "replace", "value": value }]))
            .await
            .is(200);
    }
    for filter in [
        format!("userName eq \"{address}\""),
        format!("emails.value eq \"{address}\""),
        format!("externalId eq \"{}\"", canary("external")),
    ] {
        let path = format!("/Users?filter={}", encode(&filter));
        scim.get(&path).await.is(200);
    }

    // Refused, in many ways.
    for (method, path, body, status) in [
        (Method::POST, "/Users", format!("{{\"{}\": ", canary("cut")), 400),
        (Method::POST, "/Users", canary("no-json"), 400),
        (Method::POST, "/Users", json!({ "schemas": [USER], "userName": canary("no-address") }).to_string(), 400),
        (Method::POST, "/Users", json!({ "schemas": [canary("schema")], "userName": address }).to_string(), 400),
        (Method::POST, "/Users", json!({ "schemas": [USER], "userName": address, "active": canary("bool") }).to_string(), 400),
        (Method::POST, "/Users", json!({ "schemas": [USER], "userName": [canary("list")] }).to_string(), 400),
        (Method::PATCH, &path, json!({ "schemas": [PATCH_OP], "Operations": [{ "op": canary("op") }] }).to_string(), 400),
        (Method::PATCH, &path, json!({ "schemas": [PATCH_OP], "Operations": [{ "op": "replace", "path": canary("path "), "value": 1 }] }).to_string(), 400),
        (Method::PATCH, &path, json!({ "schemas": [PATCH_OP], "Operations": [{ "op": "replace", "path": format!("emails[value eq \"{}\"].type", canary("selected")), "value": "x" }] }).to_string(), 400),
        (Method::POST, "/Users", format!("\"{}\"", canary("large").repeat(100_000)), 413),
        (Method::POST, "/Groups", json!({ "displayName": canary("group"), "members": [] }).to_string(), 400),
    ] {
        let found = send_raw(scim, method.clone(), path, body).await;
        assert_eq!(found, status, "{method} {path}");
    }
    let secret = canary("query");
    for path in [
        format!("/Users?filter={}", encode(&format!("{secret} eq 1"))),
        format!(
            "/Users?filter={}",
            encode(&format!("userName xx \"{secret}\""))
        ),
        format!(
            "/Users?filter={}",
            encode(&format!("userName eq \"{secret}"))
        ),
        format!("/Users?count={secret}"),
        format!("/Users?sortBy={secret}&attributes={secret}"),
        format!("/Users/{secret}@acme.example"),
        format!("/Groups/{secret}@acme.example"),
        format!("/{secret}@acme.example"),
        format!("/../../{secret}@acme.example/scim/v2/Users"),
        "/Users/%ff".to_owned(),
    ] {
        let status = scim.get(&path).await.status.as_u16();
        assert!(status < 500, "{path}: {status}");
    }
    for header in [
        "if-match",
        "if-none-match",
        "roster-dry-run",
        "content-type",
        "user-agent",
        "x-request-id",
        "baggage",
    ] {
        let request = scim
            .request(Method::PUT, &path)
            .header(header, canary(header))
            .body(person.to_string());
        assert!(Scim::send(request).await.status.as_u16() < 500);
    }
    // Tokens: wrong ones of every form.
    let long = canary("token").repeat(60);
    for authorization in [
        canary("token"),
        format!("Bearer {}", canary("token")),
        format!("Basic {}", canary("basic")),
        format!("Bearer roster_all_{}", canary("token")),
        format!("Bearer {long}"),
    ] {
        world
            .scim("acme", &authorization)
            .get("/Users")
            .await
            .error(401, "");
    }

    // Ids of members that are none.
    let group = scim
        .make_group(
            "CB/acme/ROLE/Analyst",
            &[&id, &format!("{}@acme.example", canary("member"))],
        )
        .await;
    let path = format!("/Groups/{group}");
    scim.patch(&path, json!([{ "op": "add", "path": "members", "value": [{ "value": canary("member"), "display": canary("display") }] }]))
        .await
        .is(204);
    scim.patch(&path, json!([{ "op": "replace", "path": "displayName", "value": format!("CB/acme/ROLE/{}", canary("role")) }]))
        .await
        .error(400, "invalidValue");
}

async fn over_grpc(site: &identity_tests::world::Site) {
    let rpc = &site.rpc;
    let address = format!("{}@grpc.example", canary("user"));
    let id = rpc.make_member(&address).await;
    rpc.create_member(member(&address)).await.unwrap_err();
    rpc.create_member(member(&canary("no-address")))
        .await
        .unwrap_err();
    rpc.get_member(by_user_name(&address)).await.unwrap();
    rpc.get_member(by_id(&canary("id"))).await.unwrap_err();
    rpc.list_member_access(by_user_name(&canary("nobody")))
        .await
        .unwrap_err();
    rpc.update_member(&id, member(&address), &[&canary("mask")])
        .await
        .unwrap_err();
    rpc.create_role("Custom", &[&canary("permission")])
        .await
        .unwrap_err();
    let list = rpc.caller.request(pb::ListMembersRequest {
        filter: Some(pb::Filter {
            node: Some(pb::filter::Node::Comparison(pb::Comparison {
                field: canary("field"),
                operator: pb::Operator::Equal.into(),
                value: Some(pb::comparison::Value::Text(canary("value"))),
                ..Default::default()
            })),
        }),
        ..Default::default()
    });
    rpc.caller.members().list_members(list).await.unwrap_err();
    let nested = rpc.caller.request(pb::UpdateMemberRequest {
        member_id: id,
        values: Some(pb::Member {
            profile: Some(pb::MemberProfile {
                photos: vec![
                    pb::LabelledValue {
                        value: canary("photo"),
                        primary: Some(true),
                        ..Default::default()
                    };
                    2
                ],
                title: canary("title").repeat(500),
                ..Default::default()
            }),
            ..Default::default()
        }),
        update_mask: mask(&["profile"]),
        ..Default::default()
    });
    rpc.caller
        .members()
        .update_member(nested)
        .await
        .unwrap_err();
}

/// Faults of ours, with canaries in what the database complains about.
async fn with_a_broken_database(world: &World, site: &identity_tests::world::Site) {
    world
        .database
        .execute("ALTER TABLE members ADD CONSTRAINT odd CHECK (user_name NOT LIKE '%-broken@%')");
    let address = format!("{}@acme.example", canary("broken"));
    site.scim
        .post("/Users", &user(&address))
        .await
        .error(500, "");
    site.rpc.create_member(member(&address)).await.unwrap_err();
    world.database.execute(
        "CREATE FUNCTION complain() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE unique_violation USING DETAIL = NEW.user_name, MESSAGE = 'it is so'; END $$",
    );
    world.database.execute(
        "CREATE TRIGGER complain BEFORE INSERT ON members FOR EACH ROW EXECUTE FUNCTION complain()",
    );
    let address = format!("{}@acme.example", canary("triggered"));
    site.scim
        .post("/Users", &user(&address))
        .await
        .error(500, "");
    world
        .database
        .execute("ALTER TABLE members RENAME COLUMN email_keys TO other");
    let filter = encode(&format!("emails.value eq \"{address}\""));
    site.scim
        .get(&format!("/Users?filter={filter}"))
        .await
        .error(500, "");
    site.scim
        .post("/Users", &user(&address))
        .await
        .error(500, "");
}

/// What stands around each canary in a text.
fn sightings(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    lower
        .lines()
        .filter(|line| line.contains(CANARY))
        .map(|line| {
            // Only what is around it: a line may be long.
            let (before, after) = line.split_once(CANARY).unwrap_or_default();
            let before: Vec<char> = before.chars().rev().take(160).collect();
            let before: String = before.into_iter().rev().collect();
            let after: String = after.chars().take(80).collect();
            format!("{before}{CANARY}{after}")
        })
        .collect()
}

async fn nothing_is_seen(level: &str) {
    let collector = Collector::start().await.unwrap();
    let world = World::exporting(&collector, &[("ROSTER_LOG", level)]).await;
    let acme = world.acme().await;
    over_scim(&world, &acme.scim).await;
    over_grpc(&acme).await;
    with_a_broken_database(&world, &acme).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;

    // What is looked through is not empty, and looking through it finds things.
    let log = world.log();
    assert_eq!(sightings(&canary("seen").to_uppercase()).len(), 1);
    assert!(
        log.contains("acme") && log.contains("token refused") && log.contains("internal fault")
    );
    assert_eq!(sightings(&log), Vec::<String>::new(), "in a log at {level}");
    let spans = collector.spans();
    assert!(spans.len() > 300);
    // Names, attributes, events, statuses: all that there is of a span.
    let spans: String = spans
        .iter()
        .map(|span| format!("{:?}\n", span.span))
        .collect();
    assert_eq!(
        sightings(&spans),
        Vec::<String>::new(),
        "in a span at {level}"
    );
    for service in [&world.identity, &world.facade] {
        let metrics = service.metrics().unwrap();
        assert!(metrics.contains("# TYPE"));
        assert_eq!(
            sightings(&metrics),
            Vec::<String>::new(),
            "in {}'s metrics",
            service.name()
        );
    }
    // Nor does a token that works, or the one that the processes were started with.
    for token in [
        acme.scim_token.as_str(),
        acme.service_token.as_str(),
        identity_tests::world::BOOTSTRAP,
    ] {
        let secret = &token[token.len() - 30..];
        assert!(!log.contains(secret) && !spans.contains(secret));
    }
}

/// Conformance: 36, 131.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_personal_or_secret_is_logged_traced_or_counted() {
    nothing_is_seen("info").await;
}

/// Conformance: 131.
#[tokio::test(flavor = "multi_thread")]
async fn not_even_where_everything_is_logged() {
    nothing_is_seen("trace").await;
}
