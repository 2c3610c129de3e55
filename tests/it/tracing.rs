//! One request, one trace: from the client through both processes to the statements, and into every log
//! line.

use std::collections::BTreeSet;

use identity_tests::{
    collector::{Collector, Exported, hex},
    scim::{self, PATCH_OP, Scim},
    world::{OWNER, Settings, World},
    writes::{member, new_trace_id, traced},
};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::Method;
use serde_json::{Value, json};

const CLIENTS_SPAN: &str = "00f067aa0ba902b7";

async fn exporting(collector: &Collector, more: &[(&'static str, &str)]) -> World {
    let mut variables = collector.variables();
    variables.extend(
        more.iter()
            .map(|(name, value)| (*name, (*value).to_owned())),
    );
    World::with(Settings {
        identity: variables.clone(),
        facade: variables,
        ..Settings::default()
    })
    .await
}

fn patch(scim: &Scim, path: &str, traceparent: &str, operations: Value) -> reqwest::RequestBuilder {
    let body = json!({ "schemas": [PATCH_OP], "Operations": operations });
    scim.request(Method::PATCH, path)
        .header("traceparent", traceparent)
        .header("content-type", "application/scim+json")
        .body(body.to_string())
}

/// The one span of a service whose name begins so.
#[track_caller]
fn the<'a>(spans: &'a [Exported], service: &str, name: &str) -> &'a Exported {
    let found: Vec<&Exported> = spans
        .iter()
        .filter(|span| span.service == service && span.span.name.starts_with(name))
        .collect();
    let [one] = found.as_slice() else {
        let names: Vec<&str> = spans.iter().map(|span| span.span.name.as_str()).collect();
        panic!("{} spans {name} of {service} in {names:?}", found.len())
    };
    one
}

#[track_caller]
fn is_child(child: &Exported, parent: &Exported) {
    assert_eq!(
        hex(&child.span.parent_span_id),
        hex(&parent.span.span_id),
        "{} below {}",
        child.span.name,
        parent.span.name
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_patch_is_one_trace_from_the_client_to_the_statements() {
    let collector = Collector::start().await;
    let world = exporting(&collector, &[]).await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[]).await;

    let trace_id = new_trace_id();
    let traceparent = format!("00-{trace_id}-{CLIENTS_SPAN}-01");
    let nobody = uuid::Uuid::new_v4();
    let ids = json!([{ "value": ann }, { "value": nobody }, { "value": "no id" }]);
    let add = json!([{ "op": "add", "path": "members", "value": ids }]);
    let path = format!("/Groups/{group}");
    let answer = Scim::send(patch(&acme.scim, &path, &traceparent, add))
        .await
        .is(204);
    assert_eq!(answer.trace_id(), trace_id);

    let spans = collector.trace(&trace_id, 9).await;
    let server = the(&spans, "facade", "PATCH /{domain}/scim/v2/Groups/{id}");
    assert_eq!(hex(&server.span.parent_span_id), CLIENTS_SPAN);
    assert_eq!(server.span.kind(), SpanKind::Server);
    assert_eq!(server.attribute("http.response.status_code"), "204");
    assert_eq!(server.attribute("site.domain"), "acme");
    let client = the(&spans, "facade", "rpc.client");
    is_child(client, server);
    assert_eq!(client.span.kind(), SpanKind::Client);
    let call = the(&spans, "identity", "identity.v1.GroupService/UpdateGroup");
    is_child(call, client);
    assert_eq!(call.span.kind(), SpanKind::Server);
    assert_eq!(call.attribute("rpc.grpc.status_code"), "0");
    // What it did is there in full.
    let effect: Value = serde_json::from_str(&call.attribute("roster.effect")).unwrap();
    let [change] = effect["access_changes"].as_array().unwrap().as_slice() else {
        panic!("{effect}")
    };
    assert_eq!(change["name"], "Analyst");
    assert_eq!(
        (&change["gained"], &change["lost"]),
        (&json!([ann]), &json!([]))
    );
    assert_eq!(effect["unknown_member_ids"], json!([nobody]));
    let transaction = the(&spans, "identity", "UpdateGroup");
    is_child(transaction, call);
    assert_eq!(transaction.attribute("db.statements"), "5");
    for name in [
        "sign in",
        "get group",
        "change members of group",
        "append event",
    ] {
        let statement = the(&spans, "identity", name);
        is_child(statement, transaction);
        assert_eq!(statement.attribute("db.system.name"), "postgresql");
    }
    // Those who are no members may be a group.
    the(&spans, "identity", "find group among members");
    assert_eq!(spans.len(), 9);

    // A caller of identity itself is followed as well.
    let trace_id = new_trace_id();
    let request = acme
        .rpc
        .caller
        .request(identity_proto::v1::CreateMemberRequest {
            member: Some(member("bob@acme.example")),
            ..Default::default()
        });
    let request = traced(request, &trace_id);
    acme.rpc
        .caller
        .members()
        .create_member(request)
        .await
        .unwrap();
    let spans = collector.trace(&trace_id, 5).await;
    let call = the(&spans, "identity", "identity.v1.MemberService/CreateMember");
    assert_eq!(hex(&call.span.parent_span_id), CLIENTS_SPAN);
    assert_eq!(spans.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_trace_begins_one() {
    let collector = Collector::start().await;
    let world = exporting(&collector, &[]).await;
    let acme = world.bare_site("acme").await;
    let mut seen = BTreeSet::new();
    for traceparent in [
        "",
        "nonsense",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ] {
        let mut request = acme.scim.request(Method::GET, "/Users?count=1");
        if !traceparent.is_empty() {
            request = request.header("traceparent", traceparent);
        }
        let answer = Scim::send(request).await.is(200);
        let trace_id = answer.trace_id().to_owned();
        assert!(trace_id.bytes().any(|digit| digit != b'0'));
        let spans = collector.trace(&trace_id, 6).await;
        let server = the(&spans, "facade", "GET /{domain}/scim/v2/Users");
        assert!(server.span.parent_span_id.is_empty());
        assert!(seen.insert(trace_id), "each its own");
    }
    // A caller that samples nothing exports nothing, and is answered with its trace all the same.
    let trace_id = new_trace_id();
    let request = acme.scim.request(Method::GET, "/Users?count=1");
    let request = request.header("traceparent", format!("00-{trace_id}-{CLIENTS_SPAN}-00"));
    assert_eq!(Scim::send(request).await.is(200).trace_id(), trace_id);
    assert!(collector.trace(&trace_id, 0).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_as_what_it_is_in_the_trace() {
    let collector = Collector::start().await;
    let world = exporting(&collector, &[]).await;
    let acme = world.bare_site("acme").await;
    world
        .database
        .execute("ALTER TABLE members RENAME COLUMN external_id TO other");
    let answer = acme
        .scim
        .post("/Users", &scim::user("ann@acme.example"))
        .await;
    let trace_id = answer.trace_id().to_owned();
    answer.error(500, "");
    let spans = collector.trace(&trace_id, 6).await;
    let server = the(&spans, "facade", "POST /{domain}/scim/v2/Users");
    let call = the(&spans, "identity", "identity.v1.MemberService/CreateMember");
    assert_eq!(call.attribute("rpc.grpc.status_code"), "13");
    for span in [server, call] {
        // STATUS_CODE_ERROR
        assert_eq!(span.span.status.as_ref().unwrap().code, 2);
    }
    // What the client did wrong is no error of the services.
    let answer = acme.scim.get("/Users/none").await;
    let trace_id = answer.trace_id().to_owned();
    answer.error(404, "");
    for span in collector.trace(&trace_id, 3).await {
        let code = span.span.status.map_or(0, |status| status.code);
        assert_ne!(code, 2, "{}", span.span.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_log_line_of_a_request_names_its_trace() {
    let world = World::with(Settings {
        identity: vec![("ROSTER_LOG_FORMAT", "json".to_owned())],
        facade: vec![("ROSTER_LOG_FORMAT", "json".to_owned())],
        ..Settings::default()
    })
    .await;
    let acme = world.bare_site("acme").await;
    let lines = || -> Vec<Value> {
        let log = world.log();
        let lines = log.lines().filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
            .collect()
    };
    let mut traces = BTreeSet::new();
    let group = acme
        .scim
        .post("/Groups", &scim::group("CB/acme/ROLE/Analyst", &["nobody"]))
        .await
        .is(201);
    traces.insert(group.trace_id().to_owned());
    for answer in [
        acme.scim.get("/Users").await,
        acme.scim.post("/Users", &json!({})).await,
        acme.scim.post("/Users", &scim::user(OWNER)).await,
        world.scim("acme", "Bearer nonsense").get("/Users").await,
        acme.scim.get("/Nothing").await,
    ] {
        traces.insert(answer.trace_id().to_owned());
    }
    world
        .database
        .execute("ALTER TABLE groups RENAME COLUMN version TO other");
    let broken = acme.scim.get("/Groups").await;
    traces.insert(broken.trace_id().to_owned());
    broken.error(500, "");

    let all = lines();
    for line in &all {
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "{line}");
        }
    }
    for trace_id in &traces {
        let own: Vec<&Value> = all
            .iter()
            .filter(|line| line["trace_id"] == **trace_id)
            .collect();
        let requests = own
            .iter()
            .filter(|line| line["message"] == "request")
            .count();
        assert_eq!(requests, 1, "{own:?}");
    }
    let of_requests = [
        "request",
        "call",
        "effect",
        "token refused",
        "internal fault",
    ];
    for line in &all {
        let message = line["message"].as_str().unwrap();
        if of_requests.contains(&message) {
            assert!(line["trace_id"].is_string(), "{line}");
        }
    }
    for message in &of_requests {
        assert!(
            all.iter().any(|line| line["message"] == *message),
            "{message}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_holds_nobody_up() {
    let nobody = roster_stack::ports::free_port().unwrap();
    let endpoint = vec![(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        format!("http://127.0.0.1:{nobody}"),
    )];
    let world = World::with(Settings {
        identity: endpoint.clone(),
        facade: endpoint,
        ..Settings::default()
    })
    .await;
    let acme = world.acme().await;
    let begun = std::time::Instant::now();
    for n in 0..20 {
        acme.scim.make_user(&format!("m{n}@acme.example")).await;
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
}
