//! For each alert its fault, let into a running Roster: the metric that the alert asks for crosses the threshold
//! that stands in the rule. That such a series fires the rule, and a healthy one does not, is shown by promtool
//! (`make test-monitoring`).

use std::time::{Duration, Instant};

use chrono::Datelike;
use identity_proto::v1::{self as pb, access_question::Ability};
use identity_tests::{
    certificates::Certified,
    database::server,
    faults::Proxy,
    metrics::Exposed,
    rpc::{Rpc, by_user_name},
    rules::rules,
    scim,
    watch::watch_from_now,
    world::{Settings, Site, World},
};
use roster_stack::{ports::free_port, services::Service};
use serde_json::json;

/// The number that an alert's metric must be above, or is compared with last.
#[track_caller]
fn threshold(alert: &str) -> f64 {
    let rule = rules()
        .into_iter()
        .find(|rule| rule.alert == alert)
        .unwrap();
    let last = rule.expr.split_whitespace().last().unwrap().to_owned();
    last.parse().unwrap_or_else(|_| panic!("{}", rule.expr))
}

/// All numbers that an alert's metrics must be above, in the rule's order.
#[track_caller]
fn thresholds(alert: &str) -> Vec<f64> {
    let rule = rules().into_iter().find(|rule| rule.alert == alert);
    let expr = rule.unwrap().expr;
    let numbers = expr.split("> ").skip(1);
    let numbers = numbers.filter_map(|rest| rest.split_whitespace().next());
    numbers.map(|number| number.parse().unwrap()).collect()
}

/// The share of an objective's requests from which on its budget burns fast.
#[track_caller]
fn burns_fast(objective: &str) -> f64 {
    let budget = rules().into_iter().find(|rule| {
        rule.record == "roster:objective_budget:ratio" && rule.settings["objective"] == objective
    });
    let budget = budget.unwrap().expr;
    14.4 * budget
        .trim_start_matches("vector(")
        .trim_end_matches(')')
        .parse::<f64>()
        .unwrap()
}

/// Waits until a service's metrics are so; a minute and a half at the most.
async fn until(service: &Service, what: &str, holds: impl Fn(&Exposed) -> bool) -> Exposed {
    let patience = Instant::now() + Duration::from_secs(90);
    loop {
        let exposed = Exposed::of(service).await;
        if holds(&exposed) {
            return exposed;
        }
        assert!(Instant::now() < patience, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A Roster with the database behind a proxy.
async fn breakable() -> (Proxy, World, Site) {
    let proxy = Proxy::before(server().cluster.port()).await;
    let world = World::with(Settings {
        database_port: Some(proxy.port()),
        identity: vec![("ROSTER_CENSUS_EVERY_MS", "200".to_owned())],
        ..Settings::default()
    })
    .await;
    let acme = world.acme().await;
    (proxy, world, acme)
}

/// What of an objective was missed between two looks: bad and all.
fn share(
    before: &Exposed,
    after: &Exposed,
    bad: &[(&str, Vec<(&str, &str)>)],
    all: &[(&str, Vec<(&str, &str)>)],
) -> f64 {
    let grown = |of: &[(&str, Vec<(&str, &str)>)]| -> f64 {
        of.iter()
            .map(|(name, labels)| after.sum(name, labels) - before.sum(name, labels))
            .sum()
    };
    assert!(grown(all) > 0.5, "nothing was counted");
    grown(bad) / grown(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_cut_off_shows_and_uses_up_both_budgets_of_availability() {
    let (proxy, world, acme) = breakable().await;
    let healthy = until(&world.identity, "the database is there", |exposed| {
        exposed.sum("identity_database_up", &[]) > 0.5
            && exposed.sum("identity_census_timestamp_seconds", &[]) > 0.5
    })
    .await;
    let facade = Exposed::of(&world.facade).await;
    proxy.cut();
    for _ in 0..3 {
        acme.scim.get("/Users?count=1").await.error(429, "");
    }
    let broken = until(&world.identity, "the database is missed", |exposed| {
        exposed.sum("identity_database_up", &[]) <= threshold("RosterDatabaseDown")
    })
    .await;
    let requests = |fault| ("scim_requests_total", vec![("fault", fault)]);
    let missed = share(
        &facade,
        &Exposed::of(&world.facade).await,
        &[requests("service")],
        &[requests("service"), requests("client"), requests("none")],
    );
    assert!(missed > burns_fast("scim-availability"), "{missed}");
    let calls = "rpc_server_call_duration_seconds_count";
    let code = |code| (calls, vec![("rpc_response_status_code", code)]);
    let missed = share(
        &healthy,
        &broken,
        &[code("UNAVAILABLE")],
        &[(calls, vec![])],
    );
    assert!(missed > burns_fast("grpc-availability"), "{missed}");
    // And the census stands still, while time goes on.
    let counted = broken.sum("identity_census_timestamp_seconds", &[]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let later = Exposed::of(&world.identity).await;
    assert!((later.sum("identity_census_timestamp_seconds", &[]) - counted).abs() < 0.5);
    // A process that was started meanwhile has taken none: its last one is longer ago than may be.
    let world = std::sync::Arc::new(world);
    let restarted = world.clone();
    let restarted = tokio::task::spawn_blocking(move || restarted.identity.restart());
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(Instant::now() < patience, "its last census is not old");
        tokio::time::sleep(Duration::from_millis(100)).await;
        // The one of before may still answer, or nobody.
        let metrics = world.identity.metrics().unwrap_or_default();
        let mut lines = metrics.lines();
        let taken = lines.find_map(|line| {
            let taken = line.strip_prefix("identity_census_timestamp_seconds ")?;
            taken.parse::<f64>().ok()
        });
        let now = chrono::Utc::now().timestamp() as f64;
        if taken.is_some_and(|taken| now - taken > threshold("RosterCensusStale")) {
            break;
        }
    }

    proxy.mend();
    until(
        &world.identity,
        "the database is back, and counted again",
        |exposed| {
            exposed.sum("identity_database_up", &[]) > threshold("RosterDatabaseDown")
                && exposed.sum("identity_census_timestamp_seconds", &[]) > counted
        },
    )
    .await;
    restarted.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn held_connections_saturate_the_pool_and_a_held_lock_makes_writes_slow() {
    let world = World::start().await;
    let acme = world.acme().await;
    let facade = Exposed::of(&world.facade).await;
    let beta = world.bare_site("beta").await;
    let locks = [&acme, &beta].map(|site| world.database.lock_site(&site.id));
    let mut writes = Vec::new();
    // Two sites: the writes of one take no more than half of the connections.
    for (n, site) in [&acme, &beta].iter().cycle().take(8).enumerate() {
        let scim = site.scim.clone();
        let user = scim::user(&format!("m{n}@acme.example"));
        writes.push(tokio::spawn(
            async move { scim.post("/Users", &user).await },
        ));
    }
    world.database.wait_until_waiting(6).await;
    // As many as have to be sent away for the alert.
    let mut reads = Vec::new();
    for _ in 0..8 {
        let scim = acme.scim.clone();
        reads.push(tokio::spawn(
            async move { scim.get("/Users?count=1").await },
        ));
    }
    let used = [("db_client_connection_state", "used")];
    until(
        &world.identity,
        "calls wait, and no connection is left",
        |exposed| {
            exposed.sum("db_client_connection_pending_requests", &[]) > 0.5
                && exposed.sum("db_client_connection_count", &used)
                    >= exposed.sum("db_client_connection_max", &[])
        },
    )
    .await;
    // Longer than a write may take by its objective, and than a call waits for a connection.
    let sent_away = threshold("RosterPoolSaturated");
    until(&world.identity, "calls are sent away", |exposed| {
        exposed.sum("db_client_connection_timeouts_total", &[]) > sent_away
    })
    .await;
    for lock in locks {
        lock.release();
    }
    for request in writes.into_iter().chain(reads) {
        request.await.unwrap();
    }
    let route = ("http_route", "/{domain}/scim/v2/Users");
    let post = ("http_request_method", "POST");
    let all = (
        "http_server_request_duration_seconds_count",
        vec![route, post],
    );
    let fast = (
        "http_server_request_duration_seconds_bucket",
        vec![route, post, ("le", "1.0")],
    );
    let after = Exposed::of(&world.facade).await;
    let missed = 1.0 - share(&facade, &after, &[fast], &[all]);
    assert!(missed > burns_fast("scim-write-latency"), "{missed}");
    until(&world.identity, "nobody waits any more", |exposed| {
        exposed.sum("db_client_connection_pending_requests", &[]) < 0.5
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_database_makes_answers_slow_and_events_late() {
    let (proxy, world, acme) = breakable().await;
    let (token, _) = world.issue("acme", &[pb::Scope::Watch]).await;
    let mut watch = watch_from_now(&world.caller(&token)).await;
    acme.rpc.make_member("ann@acme.example").await;
    assert_eq!(watch.next().await.unwrap().kind, "member.created");
    let other = world.another_identity().await;
    let before = Exposed::of(&world.identity).await;
    let facade = Exposed::of(&world.facade).await;
    for n in 0..2 {
        // Nothing comes back for a while; another process writes meanwhile.
        proxy.freeze();
        let question = pb::CheckAccessRequest {
            question: Some(pb::AccessQuestion {
                member: by_user_name("ann@acme.example"),
                ability: Some(Ability::Permission("invoices.view".to_owned())),
                ..Default::default()
            }),
            ..Default::default()
        };
        let (request, mut asks) = (acme.rpc.caller.request(question), acme.rpc.caller.access());
        let asked = tokio::spawn(async move { asks.check_access(request).await });
        let scim = acme.scim.clone();
        let listed = tokio::spawn(async move { scim.get("/Users?count=1").await });
        let writer = Rpc {
            caller: acme
                .rpc
                .caller
                .at(&format!("127.0.0.1:{}", other.port()))
                .unwrap(),
            site: None,
        };
        writer.make_member(&format!("m{n}@acme.example")).await;
        // Longer than an event and a list may take, and less than a watch waits for its database.
        tokio::time::sleep(Duration::from_millis(2600)).await;
        proxy.mend();
        asked.await.unwrap().unwrap();
        listed.await.unwrap().is(200);
        assert_eq!(watch.next().await.unwrap().kind, "member.created");
    }
    let after = Exposed::of(&world.identity).await;
    let method = ("rpc_method", "identity.v1.AccessService/CheckAccess");
    let answers = "rpc_server_call_duration_seconds";
    let slow = |name: &str, le, labels: Vec<(&'static str, &'static str)>, before, after| {
        let (bucket, count) = (format!("{name}_bucket"), format!("{name}_count"));
        let mut within = labels.clone();
        within.push(("le", le));
        1.0 - share(before, after, &[(&bucket, within)], &[(&count, labels)])
    };
    let missed = slow(answers, "0.05", vec![method], &before, &after);
    assert!(missed > burns_fast("access-latency"), "{missed}");
    let missed = slow(
        "identity_watch_delay_seconds",
        "1.0",
        vec![],
        &before,
        &after,
    );
    assert!(missed > burns_fast("told"), "{missed}");
    let facade_after = Exposed::of(&world.facade).await;
    let lists = "http_server_request_duration_seconds";
    let get = ("http_request_method", "GET");
    let missed = slow(lists, "2.5", vec![get], &facade, &facade_after);
    assert!(missed > burns_fast("scim-read-latency"), "{missed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_gone_is_absent_and_unreachable() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    acme.scim.get("/Users?count=1").await.is(200);
    let other = world.another_identity().await;
    let before = Exposed::of(&world.facade).await;
    world.identity.kill();
    for _ in 0..5 {
        acme.scim.get("/Users?count=1").await.error(429, "");
    }
    // What Prometheus calls `up == 0`, where another one is there (RosterProcessAway) or not (RosterAbsent).
    assert!(world.identity.metrics().is_err());
    assert!(other.metrics().is_ok());
    other.kill();
    assert!(other.metrics().is_err());
    let calls = "rpc_client_call_duration_seconds_count";
    let after = Exposed::of(&world.facade).await;
    let unavailable = (calls, vec![("rpc_response_status_code", "UNAVAILABLE")]);
    let [least, number] = thresholds("RosterIdentityUnreachable")[..] else {
        panic!("a share and a number");
    };
    let lost = after.sum(calls, &unavailable.1) - before.sum(calls, &unavailable.1);
    let missed = share(&before, &after, &[unavailable], &[(calls, vec![])]);
    assert!(missed > least && lost > number, "{missed} {lost}");
    assert!(after.sum("scim_identity_retries_total", &[]) > 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_providers_ending_credentials_and_refused_tokens_are_counted() {
    let (_proxy, world, acme) = breakable().await;
    acme.scim.get("/Users?count=1").await.is(200);
    let week = [("within", "7d")];
    let (silent, expires) = (
        threshold("RosterProviderSilent"),
        threshold("RosterCredentialsExpire"),
    );
    until(&world.identity, "all is well", |exposed| {
        exposed.sum("identity_census_timestamp_seconds", &[]) > 0.5
            && exposed.sum("identity_sites_silent", &[]) <= silent
            && exposed.sum("identity_credentials_expiring", &week) <= expires
    })
    .await;
    let provider = "WHERE 'provision' = ANY(scopes)";
    let set = |what: &str| {
        world
            .database
            .execute(&format!("UPDATE credentials SET {what} {provider}"))
    };
    set("last_used_at = now() - interval '73 hours', expires_at = now() + interval '6 days'");
    until(
        &world.identity,
        "the provider is silent and its token is about to expire",
        |exposed| {
            exposed.sum("identity_sites_silent", &[]) > silent
                && exposed.sum("identity_credentials_expiring", &week) > expires
        },
    )
    .await;
    // It has expired, and the provider calls again, as often as twice a second.
    set("expires_at = now() - interval '1 second'");
    let expired = [("cause", "expired")];
    let before = Exposed::of(&world.identity)
        .await
        .sum("identity_tokens_refused_total", &expired);
    for _ in 0..3 {
        acme.scim.get("/Users?count=1").await.is(401);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let after = Exposed::of(&world.identity)
        .await
        .sum("identity_tokens_refused_total", &expired);
    assert!((after - before) / 2.0 > threshold("RosterTokensRefused"));
    assert!(after - before > threshold("RosterFormerTokenUsed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_about_to_expire_is_seen() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let soon = chrono::Utc::now() + chrono::Duration::days(6);
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(soon.year(), soon.month() as u8, soon.day() as u8);
    let key = rcgen::KeyPair::generate().unwrap();
    let (certificate, key) = Certified {
        pem: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
    .write(folder.path(), "server");
    let log = folder.path().join("identity.log");
    let options = World::identity_options(world.database.url(), free_port().unwrap(), &log)
        .variable("ROSTER_TLS_CERT", certificate.display().to_string())
        .variable("ROSTER_TLS_KEY", key.display().to_string());
    let start = move || Service::start(options, &server().guard).unwrap();
    let secured = tokio::task::spawn_blocking(start).await.unwrap();
    let name = "tls_certificate_not_after_seconds";
    let exposed = Exposed::of(&secured).await;
    let not_after = exposed.sum(name, &[("tls_certificate", "server")]);
    let left = not_after - chrono::Utc::now().timestamp() as f64;
    let limit = threshold("RosterCertificateExpires");
    assert!(left > 0.0 && left < limit, "{left} {limit}");
    // Without TLS there is no certificate, and nothing to wait for.
    let plain = Exposed::of(&world.identity).await;
    assert!(plain.samples().all(|sample| sample.name != name));
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_nobody_takes_are_counted_as_lost() {
    let nobody = format!("http://127.0.0.1:{}", free_port().unwrap());
    let variables = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", nobody),
        ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()),
    ];
    let world = World::with(Settings {
        identity: variables.clone(),
        facade: variables,
        ..Settings::default()
    })
    .await;
    let acme = world.bare_site("acme").await;
    acme.scim.get("/Users?count=1").await.is(200);
    for service in [&world.identity, &world.facade] {
        until(service, "spans are lost", |exposed| {
            let lost = [("error_type", "failed")];
            exposed.sum("otel_sdk_exporter_span_exported_total", &lost)
                > threshold("RosterTracesLost")
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_not_understood_and_members_that_are_skipped_are_counted() {
    let world = World::start().await;
    let acme = world.acme().await;
    let before = Exposed::of(&world.facade).await;
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[]).await;
    acme.scim
        .post("/Groups", &scim::group("CB/acme/ROLE/Analist", &[]))
        .await
        .error(400, "invalidValue");
    let add =
        json!([{ "op": "add", "path": "members", "value": [{ "value": uuid::Uuid::new_v4() }] }]);
    acme.scim
        .patch(&format!("/Groups/{group}"), add)
        .await
        .is(204);
    let after = Exposed::of(&world.facade).await;
    // Each was there before with 0, or the first one would be no increase.
    for (name, labels, alert) in [
        (
            "scim_names_not_understood_total",
            vec![("cause", "unknown")],
            "RosterNamesNotUnderstood",
        ),
        ("scim_unknown_members_total", vec![], "RosterMembersSkipped"),
    ] {
        assert!(before.samples().any(|sample| sample.name == name), "{name}");
        let increase = after.sum(name, &labels) - before.sum(name, &labels);
        assert!(increase > threshold(alert), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_reads_nothing_falls_behind_for_all_to_see() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let (token, _) = world.issue("acme", &[pb::Scope::Watch]).await;
    let behind = "identity_watch_behind_seconds";
    // One that reads is not behind, also where nothing happens.
    let mut awake = watch_from_now(&world.caller(&token)).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(Exposed::of(&world.identity).await.sum(behind, &[]) < 5.0);
    let asleep = watch_from_now(&world.caller(&token).at(&world.grpc_addr()).unwrap()).await;
    // More than its connection holds.
    world.database.write_events(&acme.id, 1000, 4000);
    awake.numbers(1000).await;
    let reads = tokio::spawn(async move { while awake.message().await.is_ok() {} });
    let limit = threshold("RosterWatchersBehind");
    until(&world.identity, "it is behind", |exposed| {
        exposed.sum(behind, &[]) > limit
    })
    .await;
    drop(asleep);
    until(&world.identity, "nobody is", |exposed| {
        exposed.sum(behind, &[]) < 5.0
    })
    .await;
    reads.abort();
}
