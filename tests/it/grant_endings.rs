//! The endings of grants under load: many writers and readers on several processes, processes killed, ten
//! thousand at once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use identity_proto::v1 as pb;
use identity_tests::{
    grants::until,
    locks::{eventually, within},
    rpc::{Rpc, by_id, by_user_name, moment, role},
    world::World,
    writes::member,
};
use roster_stack::grpc::Caller;

/// A member's roles with the grants behind them, as of a revision of the past or now, and the revision; none
/// where the answer says that it is not quite the revision's.
async fn roles(rpc: &Rpc, name: &str, as_of: Option<i64>) -> Option<(i64, Vec<pb::GrantedTarget>)> {
    let request = pb::ListMemberAccessRequest {
        member: by_user_name(name),
        as_of: as_of.map(|revision| pb::AsOf {
            moment: Some(pb::as_of::Moment::Revision(revision)),
        }),
        ..Default::default()
    };
    let request = rpc.caller.request(request);
    let access = rpc.caller.access().list_member_access(request).await;
    let access = access.unwrap().into_inner();
    access
        .ended_by
        .is_none()
        .then_some((access.revision, access.roles))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_at_a_revision_is_what_its_past_will_always_be() {
    let world = World::start().await;
    let acme = world.acme().await;
    let second = world.another_identity().await;
    let names: Vec<String> = (0..6).map(|n| format!("m{n}@acme.example")).collect();
    for name in &names {
        acme.rpc.make_member(name).await;
    }
    let stop = Arc::<AtomicBool>::default();
    let [given_so_far, seen_so_far] = [(); 2].map(|()| Arc::<AtomicUsize>::default());
    let address = format!("127.0.0.1:{}", second.port());
    let callers = [
        acme.rpc.caller.clone(),
        Caller::new(&address, &acme.service_token).unwrap(),
    ];
    // Writers on both processes give grants with short ends, and do other things.
    let writers = callers.clone().map(|caller| {
        let (stop, names) = (stop.clone(), names.clone());
        let given_so_far = given_so_far.clone();
        let rpc = Rpc { caller, site: None };
        tokio::spawn(async move {
            let mut given = Vec::new();
            for round in 0u64.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let name = &names[(round % 6) as usize];
                let target = ["Analyst", "Admin", "Sales Agent"][(round % 3) as usize];
                let time = Duration::from_millis(5 + round * 37 % 300);
                if let Ok(made) = rpc.grant_for(by_user_name(name), role(target), time).await {
                    given.push(made);
                    given_so_far.fetch_add(1, Ordering::Relaxed);
                }
                if round % 5 == 0 {
                    let name = format!("w{}@acme.example", uuid::Uuid::new_v4().simple());
                    rpc.create_member(member(&name)).await.unwrap();
                }
            }
            given
        })
    });
    let readers = callers.map(|caller| {
        let (stop, names) = (stop.clone(), names.clone());
        let seen_so_far = seen_so_far.clone();
        let rpc = Rpc { caller, site: None };
        tokio::spawn(async move {
            let mut seen = BTreeMap::new();
            let mut newest = 0;
            for name in names.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let Some((revision, roles)) = roles(&rpc, name, None).await else {
                    continue;
                };
                assert!(revision >= newest, "a revision goes back");
                newest = revision;
                let known = seen
                    .entry((revision, name.clone()))
                    .or_insert_with(|| roles.clone());
                assert_eq!(*known, roles, "{name} at {revision}");
                seen_so_far.store(seen.len(), Ordering::Relaxed);
            }
            seen
        })
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    // On however busy a machine, until enough has happened.
    let enough =
        || given_so_far.load(Ordering::Relaxed) > 50 && seen_so_far.load(Ordering::Relaxed) > 100;
    within(Duration::from_secs(60), "grants given, and read of", enough).await;
    stop.store(true, Ordering::Relaxed);
    let given: Vec<(String, DateTime<Utc>)> = join_all(writers)
        .await
        .into_iter()
        .flat_map(Result::unwrap)
        .collect();
    let seen: Vec<_> = join_all(readers)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    tokio::time::sleep(Duration::from_millis(1300)).await;

    let recorded: Vec<_> = seen.into_iter().flatten().collect();
    assert!(recorded.len() > 100, "{}", recorded.len());
    for ((revision, name), present) in recorded.into_iter().take(600) {
        let (_, past) = roles(&acme.rpc, &name, Some(revision)).await.unwrap();
        assert_eq!(past, present, "{name} at {revision}");
    }
    // Each ended once, at its end, however many could have written it.
    world.database.check_events(&acme.id);
    let events = acme.rpc.events().await;
    for (id, end) in &given {
        let ending: Vec<_> = events
            .iter()
            .filter(|event| event.kind == "grant.ended" && event.subject_id == *id)
            .collect();
        assert_eq!(ending.len(), 1, "{id}");
        assert_eq!(moment(ending[0].time.as_ref().unwrap()), *end, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_out_while_no_process_ran_is_told_once_and_of_its_own_time() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.rpc.make_member("ann@acme.example").await;
    let mut given = Vec::new();
    for (target, time) in [("Admin", 900), ("Analyst", 700), ("Sales Agent", 800)] {
        let time = Duration::from_millis(time);
        given.push(
            acme.rpc
                .grant_for(by_id(&ann), role(target), time)
                .await
                .unwrap(),
        );
    }
    tokio::task::block_in_place(|| world.identity.kill());
    until(given[0].1, TimeDelta::milliseconds(300)).await;
    let ended = "SELECT count(*) AS n FROM events WHERE kind = 'grant.ended'";
    assert_eq!(world.database.number(ended), 0);
    tokio::task::block_in_place(|| world.identity.restart().unwrap());
    let second = world.another_identity().await;
    eventually("all endings are written", || {
        world.database.number(ended) >= 3
    })
    .await;
    assert!(acme.rpc.roles("ann@acme.example").await.is_empty());
    drop(second);
    given.sort_by_key(|(_, end)| *end);
    let mut events = acme.rpc.events().await;
    events.retain(|event| event.kind == "grant.ended");
    let told: Vec<(String, DateTime<Utc>)> = events
        .iter()
        .map(|event| {
            (
                event.subject_id.clone(),
                moment(event.time.as_ref().unwrap()),
            )
        })
        .collect();
    assert_eq!(told, given, "in the order of the ends");
    world.database.check_events(&acme.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_ends_at_once_hold_nobody_up_for_long() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    world.database.seed_members(&acme.id, 10_000);
    let end = Utc::now() + TimeDelta::milliseconds(2500);
    world.database.execute(&format!(
        "INSERT INTO grants (site_id, grant_id, member_id, role_id, source, actor, reason, from_event, ends_at) \
         SELECT m.site_id, gen_random_uuid(), m.member_id, r.role_id, 'direct', 'bulk', 'many', 1, \
                date_trunc('milliseconds', '{end}'::timestamptz) \
         FROM members m JOIN roles r USING (site_id) \
         WHERE r.built_in = 'analyst' AND m.user_name LIKE '%@many.example'"
    ));
    world.database.execute("ANALYZE");
    world.database.execute(&format!(
        "UPDATE site_clocks SET next_end_at = date_trunc('milliseconds', '{end}'::timestamptz)"
    ));
    until(end, TimeDelta::milliseconds(1)).await;
    let begun = Instant::now();
    // Reads, a write, and the task all come at once. Whoever is read: what has run out is not counted, whether or not
    // its ending is written yet.
    let reads = (0..24).map(|n| {
        let name = format!("m{}@many.example", 400 * n + 77);
        let (rpc, time) = (acme.rpc.clone(), Duration::from_millis(40 * n));
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            rpc.roles(&name).await
        })
    });
    let reads: Vec<_> = reads.collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    acme.rpc
        .create_member(member("late@acme.example"))
        .await
        .unwrap();
    for read in reads {
        assert!(read.await.unwrap().is_empty());
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    let ended = "SELECT count(*) AS n FROM events WHERE kind = 'grant.ended'";
    assert_eq!(world.database.number(ended), 10_000);
    assert_eq!(
        world.database.number(
            "SELECT count(*) AS n FROM grants WHERE ends_at IS NOT NULL AND to_event IS NULL"
        ),
        0
    );
    let positions = world.database.number(
        "SELECT count(*) AS n FROM (SELECT position <= lag(position) OVER (ORDER BY number) AS back \
         FROM events) places WHERE back",
    );
    assert_eq!(positions, 0, "the stream has them in their order");
    world.database.check_events(&acme.id);
}
