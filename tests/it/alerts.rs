//! For each alert its fault, let into a running Roster: the metric that the alert asks for crosses the threshold
//! that stands in the rule. That such a series fires the rule, and a healthy one does not, is shown by promtool
//! (`make test-monitoring`).

use std::time::{Duration, Instant};

use identity_proto::v1::{self as pb, access_question::Ability};
use identity_tests::{
    certificates::Certified,
    collector::Collector,
    database::server,
    faults::Proxy,
    metrics::Exposed,
    rpc::{Rpc, by_user_name},
    rules::{asked, rules},
    scim,
    watch::watch_from_now,
    world::{Settings, Site, World},
};
use roster_stack::{ports::free_port, services::Service};
use serde_json::json;

/// The number that an alert's only comparison is with.
#[track_caller]
fn threshold(alert: &str) -> f64 {
    let [threshold] = thresholds(alert)[..] else {
        panic!("{alert} compares with {:?}", thresholds(alert));
    };
    threshold
}

/// All numbers that an alert compares with, in the order of its rules.
#[track_caller]
fn thresholds(alert: &str) -> Vec<f64> {
    let exprs = exprs(alert);
    let words: Vec<&str> = exprs
        .iter()
        .flat_map(|expr| expr.split_whitespace())
        .collect();
    let compared = words
        .windows(2)
        .filter(|two| [">", ">=", "<", "<=", "=="].contains(&two[0]));
    let numbers = compared.filter_map(|two| two[1].trim_end_matches(')').parse().ok());
    numbers.collect()
}

/// The PromQL of each rule of an alert.
#[track_caller]
fn exprs(alert: &str) -> Vec<String> {
    let rules = rules().into_iter().filter(|rule| rule.alert == alert);
    let exprs: Vec<String> = rules.map(|rule| rule.expr).collect();
    assert!(!exprs.is_empty(), "no alert {alert}");
    exprs
}

/// Asserts that so many bad ones of all, between two looks, use up an objective's budget as fast as each alert about
/// budgets asks for.
#[track_caller]
fn burns(objective: &str, (bad, all): (f64, f64)) {
    let budget = rules().into_iter().find(|rule| {
        rule.record == "roster:objective_budget:ratio" && rule.settings["objective"] == objective
    });
    let budget = budget.unwrap().expr;
    let budget = budget.trim_start_matches("vector(").trim_end_matches(')');
    let budget: f64 = budget.parse().unwrap();
    for alert in [
        "RosterBudgetBurnsFast",
        "RosterBudgetBurnsSlowly",
        "RosterBudgetRunsOut",
    ] {
        let [expr] = &exprs(alert)[..] else {
            panic!("{alert} has one rule");
        };
        let factors = expr.match_indices(" * roster:objective_budget:ratio)");
        let factors = factors.map(|(end, _)| {
            let before = expr[..end].rsplit('(').next().unwrap();
            before.parse::<f64>().unwrap()
        });
        let factor = factors.fold(1.0, f64::max);
        let share = bad / all;
        assert!(
            share > factor * budget && bad > threshold(alert),
            "{alert}, {objective}: {bad} of {all}"
        );
    }
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

/// What of an objective was missed between two looks: the bad ones, and all.
fn missed(
    before: &Exposed,
    after: &Exposed,
    bad: &[(&str, Vec<(&str, &str)>)],
    all: &[(&str, Vec<(&str, &str)>)],
) -> (f64, f64) {
    let grown = |of: &[(&str, Vec<(&str, &str)>)]| -> f64 {
        of.iter()
            .map(|(name, labels)| after.sum(name, labels) - before.sum(name, labels))
            .sum()
    };
    assert!(grown(all) > 0.5, "nothing was counted");
    (grown(bad), grown(all))
}

/// The same of an objective of latency: the bad ones took longer than `le`.
fn slower(
    before: &Exposed,
    after: &Exposed,
    name: &str,
    le: &str,
    labels: &[(&str, &str)],
) -> (f64, f64) {
    let (bucket, count) = (format!("{name}_bucket"), format!("{name}_count"));
    let mut within = labels.to_vec();
    within.push(("le", le));
    let (fast, all) = missed(
        before,
        after,
        &[(&bucket, within)],
        &[(&count, labels.to_vec())],
    );
    (all - fast, all)
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
    for _ in 0..5 {
        acme.scim.get("/Users?count=1").await.error(429, "");
    }
    let broken = until(&world.identity, "the database is missed", |exposed| {
        exposed.sum("identity_database_up", &[]) <= threshold("RosterDatabaseDown")
    })
    .await;
    let requests = |fault| ("scim_requests_total", vec![("fault", fault)]);
    let lost = missed(
        &facade,
        &Exposed::of(&world.facade).await,
        &[requests("service")],
        &[requests("service"), requests("client"), requests("none")],
    );
    burns("scim-availability", lost);
    let calls = "rpc_server_call_duration_seconds_count";
    let code = |code| (calls, vec![("rpc_response_status_code", code)]);
    let lost = missed(
        &healthy,
        &broken,
        &[code("UNAVAILABLE")],
        &[(calls, vec![])],
    );
    burns("grpc-availability", lost);
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
    let [waiting, sent_away, _database_up] = thresholds("RosterPoolSaturated")[..] else {
        panic!("those that wait, those that were sent away, and the database");
    };
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
            exposed.sum("db_client_connection_pending_requests", &[]) > waiting
                && exposed.sum("db_client_connection_count", &used)
                    >= exposed.sum("db_client_connection_max", &[])
        },
    )
    .await;
    // Longer than a write may take by its objective, and than a call waits for a connection.
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
    let after = Exposed::of(&world.facade).await;
    let requests = "http_server_request_duration_seconds";
    burns(
        "scim-write-latency",
        slower(&facade, &after, requests, "1.0", &[route, post]),
    );
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
        let asked = [(); 3].map(|()| {
            let request = acme.rpc.caller.request(question.clone());
            let mut asks = acme.rpc.caller.access();
            tokio::spawn(async move { asks.check_access(request).await })
        });
        let listed = [(); 3].map(|()| {
            let scim = acme.scim.clone();
            tokio::spawn(async move { scim.get("/Users?count=1").await })
        });
        let writer = Rpc {
            caller: acme
                .rpc
                .caller
                .at(&format!("127.0.0.1:{}", other.port()))
                .unwrap(),
            site: None,
        };
        for more in 0..3 {
            writer
                .make_member(&format!("m{n}-{more}@acme.example"))
                .await;
        }
        // Longer than an event and a list may take, and less than a watch waits for its database.
        tokio::time::sleep(Duration::from_millis(2600)).await;
        proxy.mend();
        for asked in asked {
            asked.await.unwrap().unwrap();
        }
        for listed in listed {
            listed.await.unwrap().is(200);
        }
        for _ in 0..3 {
            assert_eq!(watch.next().await.unwrap().kind, "member.created");
        }
    }
    let after = Exposed::of(&world.identity).await;
    let method = ("rpc_method", "identity.v1.AccessService/CheckAccess");
    let answers = "rpc_server_call_duration_seconds";
    burns(
        "access-latency",
        slower(&before, &after, answers, "0.05", &[method]),
    );
    let delay = "identity_watch_delay_seconds";
    burns("told", slower(&before, &after, delay, "1.0", &[]));
    let facade_after = Exposed::of(&world.facade).await;
    let lists = "http_server_request_duration_seconds";
    let get = ("http_request_method", "GET");
    burns(
        "scim-read-latency",
        slower(&facade, &facade_after, lists, "2.5", &[get]),
    );
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
    // What Prometheus calls `up == 0`, where another one is there or not. These alerts ask for nothing else.
    for alert in ["RosterProcessAway", "RosterAbsent"] {
        let asks = asked(&exprs(alert).concat());
        assert_eq!(asks.metrics.into_iter().collect::<Vec<_>>(), ["up"]);
    }
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
    let (_, all) = missed(&before, &after, &[unavailable], &[(calls, vec![])]);
    assert!(lost / all > least && lost > number, "{lost} of {all}");
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
    // It has expired, or was revoked, and the provider calls again, as often as twice a second.
    for (what, cause) in [
        ("expires_at = now() - interval '1 second'", "expired"),
        ("expires_at = NULL, revoked_at = now()", "revoked"),
    ] {
        set(what);
        let cause = [("cause", cause)];
        let refused = async || {
            let exposed = Exposed::of(&world.identity).await;
            exposed.sum("identity_tokens_refused_total", &cause)
        };
        let before = refused().await;
        for _ in 0..3 {
            acme.scim.get("/Users?count=1").await.is(401);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let refused = refused().await - before;
        assert!(refused / 2.0 > threshold("RosterTokensRefused"));
        assert!(refused > threshold("RosterFormerTokenUsed"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_about_to_expire_is_seen() {
    let world = World::start().await;
    let name = "tls_certificate_not_after_seconds";
    let limits = thresholds("RosterCertificateExpires");
    assert_eq!(limits.len(), 2, "a ticket and a page");
    for (days, limit) in [6, 1].into_iter().zip(limits) {
        let folder = tempfile::tempdir().unwrap();
        let soon = chrono::Utc::now() + chrono::Duration::days(days);
        let secured = world
            .identity_over_tls(&Certified::good_until(soon), None, folder.path())
            .await;
        let exposed = Exposed::of(&secured).await;
        let not_after = exposed.sum(name, &[("tls_certificate", "server")]);
        let left = not_after - chrono::Utc::now().timestamp() as f64;
        assert!(left > 0.0 && left < limit, "{left} {limit}");
    }
    // Without TLS there is no certificate, and nothing to wait for.
    let plain = Exposed::of(&world.identity).await;
    assert!(plain.samples().all(|sample| sample.name != name));
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_nobody_takes_are_counted_as_lost() {
    let [not_sent, dropped] = thresholds("RosterTracesLost")[..] else {
        panic!("those that could not be sent, and those that there was no room for");
    };
    let nobody = free_port().unwrap();
    // A collector that takes connections, and then nothing.
    let collector = Collector::start().await.unwrap();
    let silent = Proxy::before(collector.port()).await;
    silent.freeze();
    for (port, name, limit) in [
        (nobody, "otel_sdk_exporter_span_exported_total", not_sent),
        (
            silent.port(),
            "otel_sdk_processor_span_processed_total",
            dropped,
        ),
    ] {
        let variables = vec![
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                format!("http://127.0.0.1:{port}"),
            ),
            ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "16".to_owned()),
        ];
        let world = World::with(Settings::for_both(variables)).await;
        let acme = world.bare_site("acme").await;
        for _ in 0..20 {
            acme.scim.get("/Users?count=1").await.is(200);
        }
        for service in [&world.identity, &world.facade] {
            until(service, "spans are lost", |exposed| {
                let lost = ["failed", "timeout", "queue_full"];
                let lost = lost.map(|why| exposed.sum(name, &[("error_type", why)]));
                lost.iter().sum::<f64>() > limit
            })
            .await;
        }
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
