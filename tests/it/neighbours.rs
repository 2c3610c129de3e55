//! One site's bad day is no other's: while everything that one site writes waits, the others are answered, their
//! grants end in time, and the process stays ready.

use std::time::{Duration, Instant};

use chrono::Utc;
use identity_proto::v1 as pb;
use identity_tests::{
    locks::{eventually, within},
    metrics::Exposed,
    rpc::{by_id, by_user_name, role},
    world::World,
    writes::{member, reason},
};
use tonic::Code;

/// What nobody has to wait for takes less, on however busy a machine; a call that found no connection takes longer.
const PROMPTLY: Duration = Duration::from_millis(2500);

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_wait_for_one_site_leave_the_others_their_connections() {
    let world = World::start().await;
    let acme = world.acme().await;
    let beta = world.bare_site("beta").await;
    let ann = beta.rpc.make_member("ann@beta.example").await;
    let (_, end) = beta
        .rpc
        .grant_for(by_id(&ann), role("Analyst"), Duration::from_secs(3))
        .await
        .unwrap();
    acme.rpc
        .grant_for(
            by_user_name("owner@acme.example"),
            role("Analyst"),
            Duration::from_secs(2),
        )
        .await
        .unwrap();

    let lock = world.database.lock_site(&acme.id);
    // By the site's own token, and by one of all sites that names it.
    let (of_all, _) = world.issue_for_all(&[pb::Scope::Write]).await;
    let elsewhere = identity_tests::rpc::Rpc {
        caller: world.caller(&of_all),
        site: roster_stack::grpc::site("acme"),
    };
    let writes: Vec<_> = (0..12)
        .map(|n| {
            let rpc = if n % 2 == 0 { &acme.rpc } else { &elsewhere }.clone();
            let name = format!("m{n}@acme.example");
            tokio::spawn(async move { rpc.create_member(member(&name)).await })
        })
        .collect();
    // Half of the six connections.
    eventually("writes wait for the lock", || world.database.waiting() >= 3).await;
    let until = end + Duration::from_secs(1);
    while Utc::now() < until {
        let begun = Instant::now();
        beta.rpc.get_member(by_id(&ann)).await.unwrap();
        assert!(begun.elapsed() < PROMPTLY, "a read of another site");
        let begun = Instant::now();
        let name = format!("{}@beta.example", uuid::Uuid::new_v4().simple());
        beta.rpc.create_member(member(&name)).await.unwrap();
        assert!(begun.elapsed() < PROMPTLY, "a write of another site");
        world.identity.is_ready().unwrap();
        let metrics = Exposed::of(&world.identity).await;
        assert!(metrics.sum("identity_database_up", &[]) > 0.5);
        // And what ends acme's grant.
        assert!(world.database.waiting() <= 4);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    lock.release();
    // Those that had their turn are done, the others were told to come back after a while.
    let mut done = 0;
    for write in writes {
        match write.await.unwrap() {
            Ok(_) => done += 1,
            refused => assert_eq!(reason(refused, Code::Unavailable), "UNAVAILABLE"),
        }
    }
    assert!(done >= 3, "{done}");
    world.database.check_events(&acme.id);
    // Beta's grant ended though acme's was due before it and could not be ended.
    let events = beta.rpc.events().await;
    let ended = events.iter().find(|event| event.kind == "grant.ended");
    assert!(ended.is_some(), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_are_kept_from_the_first_call_of_a_process_on_and_where_callers_leave() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.rpc.make_member("ann@acme.example").await;
    // It knows no domain yet.
    let second = world.another_identity().await;
    let (of_all, _) = world.issue_for_all(&[pb::Scope::Write]).await;
    let rpc = identity_tests::rpc::Rpc {
        caller: world
            .caller(&of_all)
            .at(&format!("127.0.0.1:{}", second.port()))
            .unwrap(),
        site: roster_stack::grpc::site("acme"),
    };
    let lock = world.database.lock_site(&acme.id);
    let push = || -> Vec<_> {
        let push = (0..12).map(|_| {
            let (rpc, ann) = (rpc.clone(), ann.clone());
            tokio::spawn(async move { rpc.set_active(&ann, false).await })
        });
        push.collect()
    };
    let first = push();
    eventually("writes wait for the lock", || world.database.waiting() >= 3).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.database.waiting(), 3);
    // Their callers leave; the statements wait on.
    first.iter().for_each(tokio::task::JoinHandle::abort);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let again = push();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(world.database.waiting(), 3);
    let turns = Exposed::of(&second).await;
    assert!(turns.sum("identity_turns_waiting", &[]) > 8.5);
    // Nobody waits for a connection.
    assert!(turns.sum("db_client_connection_pending_requests", &[]) < 0.5);
    // After three seconds.
    within(
        Duration::from_secs(10),
        "who waited for too long is sent away",
        || again.iter().any(tokio::task::JoinHandle::is_finished),
    )
    .await;
    let turns = Exposed::of(&second).await;
    assert!(turns.sum("identity_turn_timeouts_total", &[]) > 0.5);
    assert!(turns.sum("db_client_connection_timeouts_total", &[]) < 0.5);
    lock.release();
    for write in again {
        if let Err(refused) = write.await.unwrap() {
            assert_eq!(reason::<()>(Err(refused), Code::Unavailable), "UNAVAILABLE");
        }
    }
    eventually("the first are done, too", || world.database.running() == 0).await;
    world.database.check_events(&acme.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_ends_in_time_while_another_site_is_locked() {
    let world = World::start().await;
    let acme = world.acme().await;
    let beta = world.bare_site("beta").await;
    for (site, time) in [(&acme, 500), (&beta, 1000)] {
        let id = site.rpc.make_member("bob@acme.example").await;
        let time = Duration::from_millis(time);
        site.rpc
            .grant_for(by_id(&id), role("Analyst"), time)
            .await
            .unwrap();
    }
    let lock = world.database.lock_site(&acme.id);
    let ended = format!(
        "SELECT count(*) AS n FROM events WHERE kind = 'grant.ended' AND site_id = '{}'",
        beta.id
    );
    // Nobody reads or writes beta: the process's own task ends it.
    eventually("beta's grant has ended", || {
        world.database.number(&ended) == 1
    })
    .await;
    assert_eq!(
        world
            .database
            .number("SELECT count(*) AS n FROM events WHERE kind = 'grant.ended'"),
        1,
        "acme's can't yet"
    );
    lock.release();
    eventually("acme's grant has ended", || {
        world
            .database
            .number("SELECT count(*) AS n FROM events WHERE kind = 'grant.ended'")
            == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_knows_a_wrong_end_learns_the_right_one() {
    let world = World::start().await;
    let acme = world.acme().await;
    world
        .database
        .execute("UPDATE site_clocks SET next_end_at = now() - interval '1 hour'");
    eventually("the clock was set right", || {
        world
            .database
            .number("SELECT count(*) AS n FROM site_clocks WHERE next_end_at IS NOT NULL")
            == 0
    })
    .await;
    world.database.check_events(&acme.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_revoked_while_its_write_waited_for_one_that_came_to_nothing_is_refused() {
    let world = World::start().await;
    let acme = world.acme().await;
    let (of_all, credential) = world.issue_for_all(&[pb::Scope::Write]).await;
    let doomed = identity_tests::rpc::Rpc {
        caller: world.caller(&of_all),
        site: roster_stack::grpc::site("acme"),
    };
    let lock = world.database.lock_site(&acme.id);
    let write =
        tokio::spawn(async move { doomed.create_member(member("late@acme.example")).await });
    world.database.wait_until_waiting(1).await;
    world.database.execute(&format!(
        "UPDATE all_site_credentials SET revoked_at = now() WHERE credential_id = '{credential}'"
    ));
    tokio::time::sleep(Duration::from_millis(600)).await;
    // What was waited for is undone: the site's revision has not moved.
    lock.release();
    let outcome = write.await.unwrap();
    assert_eq!(reason(outcome, Code::Unauthenticated), "TOKEN_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_an_operator_cancels_is_to_be_sent_again() {
    let world = World::start().await;
    let acme = world.acme().await;
    let lock = world.database.lock_site(&acme.id);
    let cancel = "SELECT count(pg_cancel_backend(pid)) AS n FROM pg_stat_activity \
                  WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let over_grpc = tokio::spawn({
        let rpc = acme.rpc.clone();
        async move { rpc.create_member(member("a@acme.example")).await }
    });
    world.database.wait_until_waiting(1).await;
    world.database.number(cancel);
    let outcome = over_grpc.await.unwrap();
    assert_eq!(reason(outcome, Code::Unavailable), "UNAVAILABLE");
    let over_scim = tokio::spawn({
        let scim = acme.scim.clone();
        async move {
            let user = identity_tests::scim::user("b@acme.example");
            scim.post("/Users", &user).await
        }
    });
    world.database.wait_until_waiting(1).await;
    world.database.number(cancel);
    over_scim.await.unwrap().error(429, "");
    lock.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaked_token_is_revoked_though_it_writes_as_much_as_it_can() {
    let world = World::start().await;
    let acme = world.acme().await;
    let (token, credential) = world.issue(&acme.domain, &[pb::Scope::Write]).await;
    let lock = world.database.lock_site(&acme.id);
    let flood: Vec<_> = (0..12)
        .map(|n| {
            let rpc = identity_tests::rpc::Rpc {
                caller: world.caller(&token),
                site: None,
            };
            let name = format!("m{n}@acme.example");
            tokio::spawn(async move { rpc.create_member(member(&name)).await })
        })
        .collect();
    world.database.wait_until_waiting(3).await;
    let caller = &acme.rpc.caller;
    let revoke = caller.request(pb::RevokeCredentialRequest {
        credential_id: credential,
        ..Default::default()
    });
    let mut credentials = caller.credentials();
    let revoked = tokio::spawn(async move { credentials.revoke_credential(revoke).await });
    // It stands in the lock's own queue, not behind those who wait for a turn.
    world.database.wait_until_waiting(4).await;
    lock.release();
    revoked.await.unwrap().unwrap();
    for write in flood {
        let _either = write.await.unwrap();
    }
    let late = identity_tests::rpc::Rpc {
        caller: world.caller(&token),
        site: None,
    };
    let outcome = late.create_member(member("late@acme.example")).await;
    assert_eq!(reason(outcome, Code::Unauthenticated), "TOKEN_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_ends_though_writes_that_come_to_nothing_never_let_go_of_the_lock() {
    let world = World::start().await;
    let acme = world.acme().await;
    let id = acme.rpc.make_member("bob@acme.example").await;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|_| {
            let (rpc, stop) = (acme.rpc.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    // Taken already: what was ended before it is undone with it.
                    let outcome = rpc.create_member(member("bob@acme.example")).await;
                    assert!(outcome.is_err());
                }
            })
        })
        .collect();
    acme.rpc
        .grant_for(by_id(&id), role("Analyst"), Duration::from_millis(500))
        .await
        .unwrap();
    eventually("the grant has ended", || {
        world
            .database
            .number("SELECT count(*) AS n FROM events WHERE kind = 'grant.ended'")
            == 1
    })
    .await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    world.database.check_events(&acme.id);
}
