//! Clients that connect and then take their time hold nothing for ever, and nobody else up.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use identity_tests::{
    collector::{Collector, Exported},
    locks::eventually,
    metrics::Exposed,
    scim::user,
    world::{Settings, World},
    writes::{member, new_trace_id, traced},
};
use nix::sys::signal::Signal;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_do_not_come_end_the_connection_and_hold_nobody_up() {
    let world = World::with(Settings {
        facade: vec![("ROSTER_HEADER_TIMEOUT_MS", "1000".to_owned())],
        ..Settings::default()
    })
    .await;
    let acme = world.acme().await;
    let mut slow: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", world.facade.port())).unwrap();
            stream
                .write_all(b"GET /acme/scim/v2/Users HTTP/1.1\r\nHost: x\r\nX-Slow: ")
                .unwrap();
            stream
        })
        .collect();
    acme.scim.get("/Users").await.is(200);
    let begun = Instant::now();
    for stream in &mut slow {
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut said = Vec::new();
        // Closed with or without a word; a connection that stays open runs into our own timeout.
        stream.read_to_end(&mut said).unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(8));
    acme.scim.get("/Users").await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_refused_in_time() {
    let world = World::with(Settings {
        facade: vec![("ROSTER_BODY_TIMEOUT_MS", "500".to_owned())],
        ..Settings::default()
    })
    .await;
    let acme = world.acme().await;
    let begun = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", world.facade.port())).unwrap();
    stream
        .write_all(
            b"POST /acme/scim/v2/Users HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"schemas\":",
        )
        .unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    assert!(said.contains("application/scim+json"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(3));
    acme.scim.get("/Users").await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_requests_and_not_for_connections() {
    let world = World::start().await;
    let acme = world.acme().await;
    let half = |text: &[u8]| {
        let mut stream = TcpStream::connect(("127.0.0.1", world.facade.port())).unwrap();
        stream.write_all(text).unwrap();
        stream
    };
    let _slow = [
        half(b"GET /acme/scim/v2/Users HTTP/1.1\r\nHost: x\r\nX-Slow: "),
        half(b"GET"),
        half(b""),
    ];
    let lock = world.database.lock_site(&acme.id);
    let write = tokio::spawn({
        let scim = acme.scim.clone();
        async move { scim.post("/Users", &user("a@acme.example")).await }
    });
    world.database.wait_until_waiting(1).await;
    world.facade.signal(Signal::SIGTERM);
    // Longer than the last answers get for their way out.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(world.facade.ended().is_none());
    lock.release();
    write.await.unwrap().is(201);
    let answered = Instant::now();
    let status = loop {
        if let Some(status) = world.facade.ended() {
            break status;
        }
        assert!(answered.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(status.success());
}

/// What a log in JSON says of a trace.
fn lines(world: &World, trace_id: &str, message: &str) -> Vec<Value> {
    let log = world.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines
        .filter(|line: &Value| line["trace_id"] == trace_id && line["message"] == message)
        .collect()
}

/// The one server span of a service.
#[track_caller]
fn served(spans: &[Exported], service: &str) -> Exported {
    let mut found = spans.iter().filter(|span| {
        span.service == service
            && span.span.kind() == opentelemetry_proto::tonic::trace::v1::span::SpanKind::Server
    });
    let one = found.next().cloned();
    assert!(found.next().is_none(), "{service} more than once");
    one.unwrap_or_else(|| panic!("no server span of {service}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_client_hangs_up_is_told_of_as_any_other() {
    let collector = Collector::start().await.unwrap();
    let world = World::exporting(&collector, &[("ROSTER_LOG_FORMAT", "json")]).await;
    let acme = world.acme().await;

    let lock = world.database.lock_site(&acme.id);
    let trace_id = new_trace_id();
    let body = user("ann@acme.example").to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", world.facade.port())).unwrap();
    let head = format!(
        "POST /acme/scim/v2/Users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/scim+json\r\nTraceparent: 00-{trace_id}-00f067aa0ba902b7-01\r\n\
         Content-Length: {}\r\n\r\n{body}",
        acme.scim_token,
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    world.database.wait_until_waiting(1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(stream);
    eventually("both tell of it", || {
        lines(&world, &trace_id, "request").len() + lines(&world, &trace_id, "call").len() == 2
    })
    .await;
    let request = &lines(&world, &trace_id, "request")[0];
    assert_eq!(request["http.response.status_code"], 499, "{request}");
    assert_eq!(request["outcome"], "CLIENT_GONE");
    assert_eq!(request["site.domain"], "acme");
    assert!(request["duration_ms"].as_u64().unwrap() >= 300, "{request}");
    let call = &lines(&world, &trace_id, "call")[0];
    assert_eq!(call["code"], "CANCELLED", "{call}");
    assert!(call["duration_ms"].as_f64().unwrap() >= 300.0, "{call}");

    // So much for the log; the metrics, with how long it took:
    let facade = Exposed::of(&world.facade).await;
    let gone = [
        ("http_response_status_code", "499"),
        ("error_type", "CLIENT_GONE"),
    ];
    let duration = "http_server_request_duration_seconds";
    assert!((facade.sum(&format!("{duration}_count"), &gone) - 1.0).abs() < 0.1);
    assert!(facade.sum(&format!("{duration}_sum"), &gone) >= 0.3);
    let gone = [("outcome", "CLIENT_GONE"), ("fault", "client")];
    assert!((facade.sum("scim_requests_total", &gone) - 1.0).abs() < 0.1);
    assert!(facade.sum("http_server_active_requests", &[]) < 0.5);
    let cancelled = [
        ("rpc_method", "identity.v1.MemberService/CreateMember"),
        ("rpc_response_status_code", "CANCELLED"),
        ("error_type", "CANCELLED"),
    ];
    let calls = "rpc_client_call_duration_seconds_count";
    assert!((facade.sum(calls, &cancelled) - 1.0).abs() < 0.1);
    let identity = Exposed::of(&world.identity).await;
    let calls = "rpc_server_call_duration_seconds";
    assert!((identity.sum(&format!("{calls}_count"), &cancelled) - 1.0).abs() < 0.1);
    assert!(identity.sum(&format!("{calls}_sum"), &cancelled) >= 0.3);
    lock.release();
    eventually("nobody waits", || world.database.waiting() == 0).await;

    // And the trace. It is no error of ours.
    let spans = collector.trace(&trace_id, 3).await;
    for (service, name, value, error_type) in [
        ("facade", "http.response.status_code", "499", "CLIENT_GONE"),
        (
            "identity",
            "rpc.response.status_code",
            "CANCELLED",
            "CANCELLED",
        ),
    ] {
        let span = served(&spans, service);
        assert_eq!(span.attribute(name), value);
        assert_eq!(span.attribute("error.type"), error_type);
        assert_eq!(span.span.status.as_ref().map_or(0, |status| status.code), 0);
    }

    // A caller of identity itself that gives up.
    let lock = world.database.lock_site(&acme.id);
    let trace_id = new_trace_id();
    let request = acme
        .rpc
        .caller
        .request(identity_proto::v1::CreateMemberRequest {
            member: Some(member("bob@acme.example")),
            ..Default::default()
        });
    let (request, mut members) = (traced(request, &trace_id), acme.rpc.caller.members());
    let call = tokio::spawn(async move { members.create_member(request).await });
    world.database.wait_until_waiting(1).await;
    call.abort();
    eventually("identity tells of it", || {
        lines(&world, &trace_id, "call").len() == 1
    })
    .await;
    assert_eq!(lines(&world, &trace_id, "call")[0]["code"], "CANCELLED");
    lock.release();
}
