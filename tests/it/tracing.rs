//! One request, one trace: from the client through both processes to the statements, and into every log
//! line.

use std::collections::BTreeSet;

use identity_proto::v1::{self as pb, event_service_client::EventServiceClient};
use identity_tests::{
    collector::{Collector, Exported, hex},
    rules::repository,
    scim::{self, PATCH_OP, Scim},
    world::{OWNER, Settings, World},
    writes::{member, new_trace_id, traced},
};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::Method;
use serde_json::{Value, json};

const CLIENTS_SPAN: &str = "00f067aa0ba902b7";

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
    let collector = Collector::start().await.unwrap();
    let world = World::exporting(&collector, &[]).await;
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

    let spans = collector.trace(&trace_id, 11).await;
    let server = the(&spans, "facade", "PATCH /{domain}/scim/v2/Groups/{id}");
    assert_eq!(hex(&server.span.parent_span_id), CLIENTS_SPAN);
    assert_eq!(server.span.kind(), SpanKind::Server);
    for (name, value) in [
        ("http.request.method", "PATCH"),
        ("http.route", "/{domain}/scim/v2/Groups/{id}"),
        ("http.response.status_code", "204"),
        ("url.scheme", "http"),
        ("network.protocol.version", "1.1"),
        ("error.type", ""),
    ] {
        assert_eq!(server.attribute(name), value, "{name}");
    }
    assert_eq!(server.attribute("site.domain"), "acme");
    let client = the(&spans, "facade", "identity.v1.GroupService/UpdateGroup");
    is_child(client, server);
    assert_eq!(client.span.kind(), SpanKind::Client);
    let call = the(&spans, "identity", "identity.v1.GroupService/UpdateGroup");
    is_child(call, client);
    assert_eq!(call.span.kind(), SpanKind::Server);
    let port = world.identity.port().to_string();
    for span in [client, call] {
        for (name, value) in [
            ("rpc.system.name", "grpc"),
            ("rpc.method", "identity.v1.GroupService/UpdateGroup"),
            ("rpc.response.status_code", "OK"),
            ("error.type", ""),
        ] {
            assert_eq!(span.attribute(name), value, "{name}");
        }
    }
    assert_eq!(client.attribute("server.address"), "127.0.0.1");
    assert_eq!(client.attribute("server.port"), port);
    // In numbers, for whoever looks for changes of access.
    for (name, value) in [
        ("roster.access_changed", "true"),
        ("roster.changed", "true"),
        ("roster.dry_run", "false"),
        ("roster.effect.members", "1"),
        ("roster.effect.gained", "1"),
        ("roster.effect.lost", "0"),
        ("roster.effect.skipped", "2"),
    ] {
        assert_eq!(call.attribute(name), value, "{name}");
    }
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
    for (name, operation) in [
        ("BEGIN", "BEGIN"),
        ("sign in", "SELECT"),
        ("get group", "SELECT"),
        ("change members of group", "INSERT"),
        // Those who are no members may be a group.
        ("find group among members", "SELECT"),
        ("append event", "UPDATE"),
        ("COMMIT", "COMMIT"),
    ] {
        let statement = the(&spans, "identity", name);
        is_child(statement, transaction);
        assert_eq!(statement.span.kind(), SpanKind::Client);
        assert_eq!(statement.attribute("db.system.name"), "postgresql");
        assert_eq!(
            statement.attribute("db.operation.name"),
            operation,
            "{name}"
        );
        assert_eq!(statement.attribute("db.query.summary"), statement.span.name);
    }
    assert_eq!(spans.len(), 11);
    for span in &spans {
        let status = span.span.status.as_ref().map_or(0, |status| status.code);
        assert_eq!(status, 0, "{}", span.span.name);
    }

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
    let spans = collector.trace(&trace_id, 7).await;
    let call = the(&spans, "identity", "identity.v1.MemberService/CreateMember");
    assert_eq!(hex(&call.span.parent_span_id), CLIENTS_SPAN);
    assert_eq!(spans.len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_trace_begins_one() {
    let collector = Collector::start().await.unwrap();
    let world = World::exporting(&collector, &[]).await;
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
        let spans = collector.trace(&trace_id, 8).await;
        let server = the(&spans, "facade", "GET /{domain}/scim/v2/Users");
        assert!(server.span.parent_span_id.is_empty());
        assert!(seen.insert(trace_id), "each its own");
    }
    // Nobody from outside switches off what we see: the decision is ours, in the caller's trace all the same.
    let trace_id = new_trace_id();
    let request = acme.scim.request(Method::GET, "/Users?count=1");
    let request = request.header("traceparent", format!("00-{trace_id}-{CLIENTS_SPAN}-00"));
    assert_eq!(Scim::send(request).await.is(200).trace_id(), trace_id);
    let spans = collector.trace(&trace_id, 8).await;
    assert_eq!(spans.len(), 8, "identity follows the facade");
    let server = the(&spans, "facade", "GET /{domain}/scim/v2/Users");
    assert_eq!(hex(&server.span.parent_span_id), CLIENTS_SPAN);
    // A service of ours that samples nothing exports nothing.
    let trace_id = new_trace_id();
    let request = acme.rpc.caller.request(pb::GetSiteRequest::default());
    let request = unsampled(request, &trace_id);
    acme.rpc.caller.sites().get_site(request).await.unwrap();
    assert!(collector.trace(&trace_id, 0).await.is_empty());
}

/// A call in a trace that its caller does not sample.
fn unsampled<T>(request: tonic::Request<T>, trace_id: &str) -> tonic::Request<T> {
    let mut request = traced(request, trace_id);
    let parent = format!("00-{trace_id}-{CLIENTS_SPAN}-00");
    request
        .metadata_mut()
        .insert("traceparent", parent.parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_as_what_it_is_in_the_trace() {
    let collector = Collector::start().await.unwrap();
    let world = World::exporting(&collector, &[]).await;
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
    let spans = collector.trace(&trace_id, 7).await;
    let server = the(&spans, "facade", "POST /{domain}/scim/v2/Users");
    let client = the(&spans, "facade", "identity.v1.MemberService/CreateMember");
    let call = the(&spans, "identity", "identity.v1.MemberService/CreateMember");
    let statement = the(&spans, "identity", "insert member");
    assert_eq!(call.attribute("rpc.response.status_code"), "INTERNAL");
    for (span, error_type) in [
        (server, "INTERNAL"),
        (client, "INTERNAL"),
        (call, "INTERNAL"),
        (statement, "fault"),
    ] {
        // STATUS_CODE_ERROR
        assert_eq!(span.span.status.as_ref().unwrap().code, 2);
        assert_eq!(span.attribute("error.type"), error_type);
    }
    // What the client did wrong is no error of the services.
    let answer = acme.scim.get("/Users/none").await;
    let trace_id = answer.trace_id().to_owned();
    answer.error(404, "");
    let spans = collector.trace(&trace_id, 3).await;
    for span in &spans {
        let code = span.span.status.as_ref().map_or(0, |status| status.code);
        assert_ne!(code, 2, "{}", span.span.name);
    }
    // The reason is told all the same.
    let call = the(&spans, "identity", "identity.v1.MemberService/GetMember");
    assert_eq!(call.attribute("error.type"), "MEMBER_NOT_FOUND");
    assert_eq!(call.attribute("rpc.response.status_code"), "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_of_a_change_stands_in_its_trace_with_a_link_to_its_watch() {
    let collector = Collector::start().await.unwrap();
    let world = World::exporting(&collector, &[]).await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    let (token, _) = world.issue("acme", &[pb::Scope::Watch]).await;
    let watcher = world.caller(&token);
    let mut watches = Vec::new();
    let mut traces = BTreeSet::new();
    for _ in 0..2 {
        let trace_id = new_trace_id();
        let request = watcher.request(pb::WatchEventsRequest::default());
        let mut client = EventServiceClient::new(watcher.channel());
        let opened = client.watch_events(traced(request, &trace_id)).await;
        let mut stream = opened.unwrap().into_inner();
        // The first message: from here on it is told.
        stream.message().await.unwrap().unwrap();
        watches.push(stream);
        traces.insert(trace_id);
    }
    let path = format!("/Users/{ann}");
    let deactivate = json!([{ "op": "replace", "value": { "active": false } }]);
    let answer = acme.scim.patch(&path, deactivate).await.is(200);
    for stream in &mut watches {
        stream.message().await.unwrap().unwrap();
    }
    let sends = |spans: &[Exported]| -> Vec<Exported> {
        let mut sends = spans.to_vec();
        sends.retain(|span| span.span.name == "send event to watcher");
        sends
    };
    let mut spans = collector.trace(answer.trace_id(), 10).await;
    for _ in 0..100 {
        if sends(&spans).len() == 2 {
            break;
        }
        spans = collector.trace(answer.trace_id(), 10).await;
    }
    let call = the(&spans, "identity", "identity.v1.MemberService/UpdateMember");
    assert_eq!(call.attribute("roster.access_changed"), "true");
    assert_eq!(call.attribute("roster.effect.lost"), "1");
    let sends = sends(&spans);
    assert_eq!(sends.len(), 2);
    let mut linked = BTreeSet::new();
    for send in &sends {
        is_child(send, call);
        assert_eq!(send.span.kind(), SpanKind::Producer);
        assert_eq!(send.attribute("roster.event.kind"), "member.deactivated");
        assert_eq!(send.attribute("site.domain"), "acme");
        let [link] = send.span.links.as_slice() else {
            panic!("{:?}", send.span.links)
        };
        linked.insert(hex(&link.trace_id));
    }
    assert_eq!(linked, traces);
    // The watch's own span is as long as the watch, and says how it ended.
    drop(watches);
    for trace_id in &traces {
        let spans = collector.trace(trace_id, 5).await;
        let watch = the(&spans, "identity", "identity.v1.EventService/WatchEvents");
        assert_eq!(watch.attribute("rpc.response.status_code"), "CANCELLED");
        assert!(
            sends
                .iter()
                .any(|send| send.span.links[0].span_id == watch.span.span_id)
        );
    }
    // A change in a trace that nobody samples is told without a trace.
    let request = acme.rpc.caller.request(pb::DeleteMemberRequest {
        member_id: ann.clone(),
        ..Default::default()
    });
    let request = unsampled(request, &new_trace_id());
    let mut members = acme.rpc.caller.members();
    members.delete_member(request).await.unwrap();
    let unnamed =
        "SELECT count(*) AS n FROM events WHERE kind = 'member.deleted' AND span_id IS NULL";
    assert_eq!(world.database.number(unnamed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ratio_samples_what_begins_here_and_a_callers_decision_is_kept() {
    let collector = Collector::start().await.unwrap();
    let world = World::exporting(&collector, &[("ROSTER_TRACE_RATIO", "0")]).await;
    let acme = world.bare_site("acme").await;
    let begun_here = acme
        .scim
        .get("/Users?count=1")
        .await
        .is(200)
        .trace_id()
        .to_owned();
    let trace_id = new_trace_id();
    let request = acme.scim.request(Method::GET, "/Users?count=1");
    let request = request.header("traceparent", format!("00-{trace_id}-{CLIENTS_SPAN}-01"));
    Scim::send(request).await.is(200);
    assert_eq!(collector.trace(&trace_id, 8).await.len(), 8);
    assert!(collector.trace(&begun_here, 0).await.is_empty());
    // Who asks for none gets none here either.
    let trace_id = new_trace_id();
    let request = acme.scim.request(Method::GET, "/Users?count=1");
    let request = request.header("traceparent", format!("00-{trace_id}-{CLIENTS_SPAN}-00"));
    assert_eq!(Scim::send(request).await.is(200).trace_id(), trace_id);
    assert!(collector.trace(&trace_id, 0).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_databases_own_log_names_the_trace_beside_a_text_without_values() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let answer = acme
        .scim
        .post("/Users", &scim::user("ann@acme.example"))
        .await
        .is(201);
    let of_trace = identity_tests::database::statements(answer.trace_id());
    assert!(of_trace.len() >= 4, "{of_trace:?}");
    let insert = of_trace
        .iter()
        .find(|text| text.contains("INSERT INTO members"));
    let insert = insert.unwrap_or_else(|| panic!("{of_trace:?}"));
    assert!(!insert.contains("ann@") && !insert.contains(answer.trace_id()));
    // It costs no message of its own: the statement that begins the transaction sets it.
    assert!(
        !of_trace
            .iter()
            .any(|text| text.starts_with("SET application_name"))
    );
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

    let rehearsal = acme
        .scim
        .request(Method::POST, "/Users")
        .header("content-type", "application/scim+json")
        .header("roster-dry-run", "true")
        .body(scim::user("ann@acme.example").to_string());
    let rehearsal = Scim::send(rehearsal).await.is(201);
    traces.insert(rehearsal.trace_id().to_owned());

    let all = lines();
    let of_request = |trace_id: &str| {
        let mut lines = all.iter();
        let found = lines.find(|line| line["trace_id"] == trace_id && line["message"] == "request");
        found.unwrap_or_else(|| panic!("{trace_id}")).clone()
    };
    // Who follows a site sees what a write did, and that a rehearsal did nothing.
    let line = of_request(group.trace_id());
    assert_eq!(line["http.request.method"], "POST");
    assert_eq!(line["http.route"], "/{domain}/scim/v2/Groups");
    assert_eq!(line["site.domain"], "acme");
    assert_eq!(line["outcome"], "ok");
    assert_eq!(line["effect"], "members=0, skipped=1, gained=0, lost=0");
    assert!(line["dry_run"].is_null(), "{line}");
    let line = of_request(rehearsal.trace_id());
    assert_eq!(line["effect"], "members=1, skipped=0, gained=0, lost=0");
    assert_eq!(line["dry_run"], true);
    // Each field that the page of observability tells of.
    let page = repository().join("docs/observability.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once("\n## Logs\n").unwrap();
    let (_, example) = section.split_once("```json\n").unwrap();
    let example: Value = serde_json::from_str(example.split("```").next().unwrap()).unwrap();
    let fields =
        |line: &Value| -> BTreeSet<String> { line.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(fields(&example), fields(&line));

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
