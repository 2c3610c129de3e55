//! Watching while others are slow, stopped, far behind, or many.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use identity_proto::v1 as pb;
use identity_tests::{
    database::server,
    faults::Proxy,
    locks::eventually,
    rpc::Rpc,
    watch::{Watch, after, resume, watch, watch_from_now},
    world::{Settings, Site, World},
    writes::reason,
};
use roster_stack::grpc::Caller;
use tonic::Code;

/// A caller that may watch a site, and one that may watch all.
async fn watchers(world: &World, site: &Site) -> [Caller; 2] {
    let (one, _) = world.issue(&site.domain, &[pb::Scope::Watch]).await;
    let (all, _) = world.issue_for_all(&[pb::Scope::Watch]).await;
    [world.caller(&one), world.caller(&all)]
}

/// How long each event takes from the answer to its writer to a watch.
async fn delays(writer: &Rpc, watch: &mut Watch, count: usize) -> Vec<Duration> {
    let mut delays = Vec::new();
    for n in 0..count {
        let name = format!("m{n}-{}@delay.example", uuid::Uuid::new_v4());
        let (written, seen) = tokio::join!(
            async {
                let id = writer.make_member(&name).await;
                (id, Instant::now())
            },
            async {
                loop {
                    let event = watch.next().await.unwrap();
                    if event.kind == "member.created" {
                        return (event.subject_id, Instant::now());
                    }
                }
            }
        );
        assert_eq!(written.0, seen.0);
        delays.push(seen.1.saturating_duration_since(written.1));
        // Not in step with whatever asks again and again.
        tokio::time::sleep(Duration::from_millis(n as u64 % 23)).await;
    }
    delays.sort_unstable();
    delays
}

fn median_is_low(what: &str, delays: &[Duration]) {
    let median = delays[delays.len() / 2];
    println!("{what}: median {median:?}, worst {:?}", delays.last());
    assert!(median < Duration::from_millis(50), "{what}: {median:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_seen_at_once_by_every_process_whatever_else_stays_open() {
    let world = World::start().await;
    let (acme, bolt) = (world.bare_site("acme").await, world.bare_site("bolt").await);
    let other = world.another_identity().await;
    let elsewhere = format!("127.0.0.1:{}", other.port());
    let callers = watchers(&world, &acme).await;

    // One transaction that has written something and stays open, and a writer that stands still between its
    // event and its commit.
    let mut idle = world.database.connect();
    idle.batch_execute("BEGIN; UPDATE credentials SET label = label; SELECT txid_current()")
        .unwrap();
    let mut stopped = world.database.connect();
    stopped
        .batch_execute(&format!(
            "BEGIN; UPDATE site_clocks SET revision = revision + 1 WHERE site_id = '{id}'; \
             INSERT INTO events SELECT site_id, revision, ticked_at, 'site.updated', NULL, 'stopped', site_id, \
                 '', '{{}}', '{{}}', '[]' FROM site_clocks WHERE site_id = '{id}'",
            id = bolt.id
        ))
        .unwrap();

    let mut every = watch(
        &callers[1].at(&elsewhere).unwrap(),
        pb::WatchEventsRequest::default(),
    )
    .await
    .unwrap();
    for (caller, kind) in callers.iter().zip(["one site", "all sites"]) {
        let here = delays(&acme.rpc, &mut watch_from_now(caller).await, 30).await;
        median_is_low(&format!("{kind}, the writer's process"), &here);
        let caller = caller.at(&elsewhere).unwrap();
        let there = delays(&acme.rpc, &mut watch_from_now(&caller).await, 30).await;
        median_is_low(&format!("{kind}, another process"), &there);
    }
    // Whoever resumes while it stands still gets everything else once, and its event when it goes on.
    let mut seen = Vec::new();
    for _ in 0..60 {
        seen.push(every.next().await.unwrap().number);
    }
    let mut resumed = watch(&callers[1], resume(&every.token)).await.unwrap();
    for _ in 60..120 {
        assert_eq!(
            resumed.next().await.unwrap().number,
            every.next().await.unwrap().number
        );
    }
    assert!(resumed.token.len() < 80, "{}", resumed.token);
    stopped.batch_execute("COMMIT").unwrap();
    let late = Instant::now();
    for watch in [&mut resumed, &mut every] {
        let event = watch.next().await.unwrap();
        assert_eq!(
            (
                event.actor.unwrap().label.as_str(),
                event.site_domain.as_str()
            ),
            ("stopped", "bolt")
        );
    }
    assert!(late.elapsed() < Duration::from_secs(1));
    let mut again = watch(&callers[1], resume(&every.token)).await.unwrap();
    again.is_quiet(Duration::from_millis(200)).await;
    idle.batch_execute("ROLLBACK").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_delays_nobody_and_misses_nothing() {
    let world = World::start().await;
    let (acme, bolt) = (world.bare_site("acme").await, world.bare_site("bolt").await);
    let callers = watchers(&world, &acme).await;
    let revision = acme.rpc.get_site().await.revision;
    let mut asleep = Vec::new();
    for caller in &callers {
        // A connection of its own each: what they do not read fills it.
        let caller = caller.at(&world.grpc_addr()).unwrap();
        asleep.push(watch_from_now(&caller).await);
    }
    let mut awake = watch_from_now(&callers[1]).await;
    // More than the queue holds, and far more than a connection does.
    for _ in 0..6 {
        world.database.write_events(&acme.id, 1000, 2000);
        assert_eq!(awake.numbers(1000).await.len(), 1000);
    }
    let mut meanwhile = watch_from_now(&callers[1]).await;
    median_is_low(
        "beside two that are asleep",
        &delays(&bolt.rpc, &mut meanwhile, 30).await,
    );
    let last = acme.rpc.get_site().await.revision;
    assert_eq!(last, revision + 6000);
    for watch in &mut asleep {
        let mut expected = revision + 1;
        while expected <= last {
            let event = watch.next().await.unwrap();
            assert_eq!(
                (event.site_domain.as_str(), event.number),
                ("acme", expected)
            );
            expected += 1;
        }
    }
    eventually("everybody has caught up", || {
        let metrics = world.identity.metrics().unwrap();
        metrics.contains("identity_watchers_behind 0")
            && !metrics.contains("identity_watch_lags_total 0")
    })
    .await;
    // Awake, they follow like everybody else.
    acme.rpc.make_member("ann@acme.example").await;
    assert_eq!(asleep[0].next().await.unwrap().number, last + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_events_are_sent_whole_and_from_the_first_one_on() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let callers = watchers(&world, &acme).await;
    let mut live = [
        watch_from_now(&callers[0]).await,
        watch_from_now(&callers[1]).await,
    ];
    for (bytes, count) in [(3_000_000, 3), (40_000, 50), (100, 500), (9_000_000, 1)] {
        world.database.write_events(&acme.id, count, bytes);
    }
    let last = acme.rpc.get_site().await.revision;
    let size = |event: &pb::Event| {
        let bulk = event.after.as_ref().unwrap().fields.get("bulk").cloned();
        match bulk.and_then(|value| value.kind) {
            Some(prost_types::value::Kind::StringValue(text)) => text.len() / 32 * 32,
            _ => 0,
        }
    };
    let expected: Vec<usize> = [(3_000_000, 3), (40_000, 50), (96, 500), (9_000_000, 1)]
        .into_iter()
        .flat_map(|(bytes, count)| std::iter::repeat_n(bytes, count))
        .collect();
    for watch in &mut live {
        for bytes in &expected {
            assert_eq!(size(&watch.next().await.unwrap()), *bytes);
        }
    }
    // From the first event on, and page by page.
    let mut from_first = watch(&callers[0], after(0)).await.unwrap();
    assert_eq!(
        from_first.numbers(last as usize).await,
        (1..=last).collect::<Vec<_>>()
    );
    let mut of_all = watch(&callers[1], after(0)).await.unwrap();
    assert_eq!(
        of_all.numbers(last as usize).await,
        (1..=last).collect::<Vec<_>>()
    );
    let listed = acme.rpc.events().await;
    assert_eq!(listed.len() as i64, last);
    assert_eq!(size(&listed[last as usize - 1]), 9_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_undone_transactions_cost_a_watch_no_event() {
    let world = World::start().await;
    let (acme, bolt) = (world.bare_site("acme").await, world.bare_site("bolt").await);
    let callers = watchers(&world, &acme).await;
    let mut every = watch_from_now(&callers[1]).await;
    let event = |id: &str| {
        format!(
            "INSERT INTO events SELECT site_id, revision + 1, ticked_at, 'site.updated', NULL, 'x', site_id, '', \
                 '{{}}', '{{}}', '[]' FROM site_clocks WHERE site_id = '{id}'; \
             UPDATE site_clocks SET revision = revision + 1 WHERE site_id = '{id}'"
        )
    };
    let mut stopped = world.database.connect();
    stopped
        .batch_execute(&format!("BEGIN; {}", event(&bolt.id)))
        .unwrap();
    // As many as a token can tell of, and more.
    for (undone, waits) in [(3000, false), (2000, true)] {
        world.database.execute(&format!(
            "SELECT count(nextval('event_positions')) FROM generate_series(1, {undone})"
        ));
        acme.rpc
            .make_member(&format!("m{undone}@acme.example"))
            .await;
        if waits {
            every.is_quiet(Duration::from_millis(300)).await;
        } else {
            assert_eq!(every.next().await.unwrap().kind, "member.created");
            assert!(every.token.len() < 16 << 10);
            let mut resumed = watch(&callers[1], resume(&every.token)).await.unwrap();
            resumed.is_quiet(Duration::from_millis(100)).await;
        }
    }
    // A watch of one site waits for nobody.
    let mut one = watch(&callers[0], after(0)).await.unwrap();
    let revision = acme.rpc.get_site().await.revision;
    one.numbers(revision as usize).await;
    stopped.batch_execute("COMMIT").unwrap();
    let mut sites = [
        every.next().await.unwrap().site_domain,
        every.next().await.unwrap().site_domain,
    ];
    sites.sort_unstable();
    assert_eq!(sites, ["acme", "bolt"]);
    assert!(every.token.len() < 60, "{}", every.token);
    every.is_quiet(Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_many_events_holds_one_lock() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let mut connection = world.database.connect();
    connection.batch_execute("BEGIN").unwrap();
    connection
        .batch_execute(&format!(
            "INSERT INTO events SELECT site_id, revision + n, ticked_at, 'site.updated', NULL, 'x', site_id, '', \
                 '{{}}', '{{}}', '[]' FROM site_clocks, generate_series(1, 20000) n WHERE site_id = '{}'",
            acme.id
        ))
        .unwrap();
    let held = "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' \
                AND classid::bigint >> 24 = 82 \
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(world.database.number(held), 1);
    connection.batch_execute("ROLLBACK").unwrap();
    assert_eq!(world.database.number(held), 0);
    // The next transaction of the same connection holds one again, and so does one after a savepoint.
    let one = format!(
        "INSERT INTO events SELECT site_id, revision + 1, ticked_at, 'site.updated', NULL, 'x', site_id, '', \
             '{{}}', '{{}}', '[]' FROM site_clocks WHERE site_id = '{}'",
        acme.id
    );
    connection
        .batch_execute(&format!("BEGIN; SAVEPOINT a; {one}; ROLLBACK TO a"))
        .unwrap();
    assert_eq!(world.database.number(held), 0);
    connection.batch_execute(&one).unwrap();
    assert_eq!(world.database.number(held), 1);
    connection.batch_execute("ROLLBACK").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_cut_off_in_a_transaction_holds_a_sites_lock_for_seconds_only() {
    let proxy = Proxy::before(server().cluster.port()).await;
    let world = World::with(Settings {
        database_port: Some(proxy.port()),
        ..Settings::default()
    })
    .await;
    let acme = world.bare_site("acme").await;
    let other = world.another_identity().await;
    let lock = world.database.lock_site(&acme.id);
    let cut_off = tokio::spawn({
        let rpc = acme.rpc.clone();
        async move {
            rpc.create_member(identity_tests::writes::member("a@acme.example"))
                .await
        }
    });
    world.database.wait_until_waiting(1).await;
    // Its statement is done at the server, which then waits for the next one.
    proxy.freeze();
    lock.release();
    let begun = Instant::now();
    let writer = Rpc {
        caller: acme
            .rpc
            .caller
            .at(&format!("127.0.0.1:{}", other.port()))
            .unwrap(),
        site: None,
    };
    writer.make_member("b@acme.example").await;
    let held = begun.elapsed();
    assert!(
        held > Duration::from_secs(5) && held < Duration::from_secs(14),
        "{held:?}"
    );
    proxy.mend();
    let outcome = cut_off.await.unwrap();
    assert_eq!(reason(outcome, Code::Unavailable), "UNAVAILABLE");
    world.database.check_events(&acme.id);
}
