//! Watching events: from now on, from a number, from a token; each once, in order, and until somebody ends it.

use std::time::{Duration, Instant};

use identity_proto::v1::{self as pb, watch_events_request::Start};
use identity_tests::{
    database::server,
    faults::Proxy,
    locks::eventually,
    rpc::Rpc,
    watch::{after, resume, watch, watch_from_now},
    world::{BOOTSTRAP, Settings, Site, World},
    writes::{reason, refused},
};
use roster_stack::grpc::{Caller, site};
use tonic::Code;
use tonic_types::StatusExt;

/// A caller that may watch all sites.
async fn all_sites(world: &World) -> Caller {
    let (token, _) = world.issue_for_all(&[pb::Scope::Watch]).await;
    world.caller(&token)
}

/// A caller that may watch a site.
async fn of_site(world: &World, site: &Site) -> Caller {
    let (token, _) = world.issue(&site.domain, &[pb::Scope::Watch]).await;
    world.caller(&token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_gets_each_event_once_and_in_order() {
    let world = World::start().await;
    let (acme, bolt) = (world.bare_site("acme").await, world.bare_site("bolt").await);
    let caller = of_site(&world, &acme).await;
    let all = all_sites(&world).await;
    let begun = acme.rpc.get_site().await.revision;
    let mut one = watch_from_now(&caller).await;
    assert_eq!(one.revision, Some(begun));
    let mut every = watch_from_now(&all).await;
    assert_eq!(every.revision, None);
    for n in 0..5 {
        acme.rpc.make_member(&format!("m{n}@acme.example")).await;
        bolt.rpc.make_member(&format!("m{n}@bolt.example")).await;
    }
    assert_eq!(
        one.numbers(5).await,
        (begun + 1..=begun + 5).collect::<Vec<_>>()
    );
    let listed = acme.rpc.events().await;
    let mut again = watch(&caller, after(0)).await.unwrap();
    for event in &listed {
        assert_eq!(
            again.next().await.unwrap(),
            *event,
            "as ListEvents shows it"
        );
    }
    let (mut of_acme, mut of_bolt) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let event = every.next().await.unwrap();
        assert_eq!(event.kind, "member.created");
        match event.site_domain.as_str() {
            "acme" => of_acme.push(event),
            "bolt" => of_bolt.push(event),
            other => panic!("{other}"),
        }
    }
    assert_eq!(of_acme, listed[listed.len() - 5..]);
    let listed = bolt.rpc.events().await;
    assert_eq!(of_bolt, listed[listed.len() - 5..]);
    for quiet in [&mut one, &mut every, &mut again] {
        quiet.is_quiet(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_exactly_after_each_of_its_messages() {
    let world = World::start().await;
    let (acme, bolt) = (world.bare_site("acme").await, world.bare_site("bolt").await);
    let one = of_site(&world, &acme).await;
    let all = all_sites(&world).await;
    for n in 0..6 {
        acme.rpc.make_member(&format!("m{n}@acme.example")).await;
        bolt.rpc.make_member(&format!("m{n}@bolt.example")).await;
    }
    let other = world.another_identity().await;
    let address = format!("127.0.0.1:{}", other.port());
    let of_acme = acme.rpc.events().await.len();
    let of_all = of_acme + bolt.rpc.events().await.len();
    for (caller, total) in [(&one, of_acme), (&all, of_all)] {
        let mut whole = watch(caller, after(0)).await.unwrap();
        let mut tokens = vec![whole.token.clone()];
        let mut events = Vec::new();
        for _ in 0..total {
            events.push(whole.next().await.unwrap());
            tokens.push(whole.token.clone());
        }
        let elsewhere = caller.at(&address).unwrap();
        for (sent, token) in tokens.iter().enumerate() {
            assert!(token.len() < 60, "{token}");
            // At this process, and at one that has never seen the watch.
            for caller in [caller, &elsewhere] {
                let mut resumed = watch(caller, resume(token)).await.unwrap();
                assert_eq!(resumed.token, *token);
                for event in &events[sent..] {
                    assert_eq!(resumed.next().await.unwrap(), *event);
                }
                assert_eq!(resumed.token, tokens[total]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_some_kinds_passes_over_the_others() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let all = all_sites(&world).await;
    for of_site in [true, false] {
        let request = |start| pb::WatchEventsRequest {
            site: of_site.then(|| site("acme")).flatten(),
            kinds: vec!["role.*".to_owned(), "member.deleted".to_owned()],
            heartbeat_seconds: Some(1),
            start,
        };
        let mut some = watch(&all, request(None)).await.unwrap();
        let ann = acme.rpc.make_member("ann@acme.example").await;
        let role = acme.make_role("Custom", &[]).await;
        acme.rpc.set_active(&ann, false).await.unwrap();
        acme.rpc.delete_member(&ann).await.unwrap();
        acme.rpc.delete_role(&role).await.unwrap();
        for kind in ["role.created", "member.deleted", "role.deleted"] {
            assert_eq!(some.next().await.unwrap().kind, kind);
        }
        // A heartbeat's token is past what the watch does not show.
        let revision = acme.rpc.get_site().await.revision + 1;
        acme.make_entity(&format!("Entity {of_site}")).await;
        some.is_quiet(Duration::from_millis(1500)).await;
        assert_eq!(some.revision, of_site.then_some(revision));
        let start = Some(Start::ResumeToken(some.token.clone()));
        let resumed = watch(&all, request(start)).await.unwrap();
        assert_eq!(resumed.token, some.token);
        assert_eq!(resumed.revision, of_site.then_some(revision));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_can_not_be_is_refused_with_a_reason() {
    let world = World::start().await;
    let (acme, bolt) = (world.bare_site("acme").await, world.bare_site("bolt").await);
    let caller = of_site(&world, &acme).await;
    let all = all_sites(&world).await;
    let token = watch_from_now(&caller).await.token;
    let of_all = watch_from_now(&all).await.token;
    let revision = acme.rpc.get_site().await.revision;
    let kinds = |kinds: &[&str]| pb::WatchEventsRequest {
        kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        ..Default::default()
    };
    let heartbeat = |seconds| pb::WatchEventsRequest {
        heartbeat_seconds: Some(seconds),
        ..Default::default()
    };
    let of_bolt = |request| pb::WatchEventsRequest {
        site: site("bolt"),
        ..request
    };
    let of_members = |request| pb::WatchEventsRequest {
        kinds: vec!["member.*".to_owned()],
        ..request
    };
    let invalid = Code::InvalidArgument;
    for (caller, request, code, expected) in [
        (&caller, after(-1), invalid, "FIELD_INVALID"),
        (&caller, after(revision + 1), invalid, "FIELD_INVALID"),
        (&all, after(1), invalid, "FIELD_INVALID"),
        (&caller, heartbeat(0), invalid, "FIELD_INVALID"),
        (&caller, heartbeat(61), invalid, "FIELD_INVALID"),
        (&caller, kinds(&["member"]), invalid, "FIELD_INVALID"),
        (&caller, kinds(&["member.moved"]), invalid, "FIELD_INVALID"),
        (
            &caller,
            kinds(&["role.*"; 101]),
            Code::ResourceExhausted,
            "LIMIT_EXCEEDED",
        ),
        (&caller, resume(""), invalid, "RESUME_TOKEN_INVALID"),
        (&caller, resume("no token"), invalid, "RESUME_TOKEN_INVALID"),
        (&caller, resume(&of_all), invalid, "RESUME_TOKEN_INVALID"),
        (
            &caller,
            of_members(resume(&token)),
            invalid,
            "RESUME_TOKEN_INVALID",
        ),
        (&all, resume(&token), invalid, "RESUME_TOKEN_INVALID"),
        (
            &all,
            of_bolt(resume(&token)),
            invalid,
            "RESUME_TOKEN_INVALID",
        ),
        (&caller, of_bolt(after(0)), Code::NotFound, "SITE_NOT_FOUND"),
        (
            &acme.rpc.caller,
            after(0),
            Code::PermissionDenied,
            "SCOPE_MISSING",
        ),
        (
            &world.caller(BOOTSTRAP),
            after(0),
            Code::PermissionDenied,
            "SCOPE_MISSING",
        ),
        (
            &world.caller("no token"),
            after(-1),
            Code::Unauthenticated,
            "TOKEN_INVALID",
        ),
    ] {
        let shown = format!("{request:?}");
        assert_eq!(
            reason(watch(caller, request).await, code),
            expected,
            "{shown}"
        );
    }
    // What one credential was given another one of the site may use.
    let mut resumed = watch(&of_site(&world, &acme).await, resume(&token))
        .await
        .unwrap();
    assert_eq!(resumed.next().await.unwrap().kind, "credential.issued");
    // A database that was put back to an earlier state has lost what the token stands after.
    world
        .database
        .execute("DELETE FROM events WHERE position = (SELECT max(position) FROM events)");
    world.database.execute(&format!(
        "UPDATE site_clocks SET revision = revision - 1 WHERE site_id = '{}'",
        acme.id
    ));
    let later = resume(&resumed.token);
    assert_eq!(
        reason(watch(&caller, later).await, invalid),
        "RESUME_TOKEN_INVALID"
    );
    let _still = bolt;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_stops_working_ends_its_watches_within_a_second() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let (spared, expiring) = (of_site(&world, &acme).await, Duration::from_secs(2));
    let mut spared = watch_from_now(&spared).await;
    let (of_one, one_id) = world.issue("acme", &[pb::Scope::Watch]).await;
    let (of_all, all_id) = world.issue_for_all(&[pb::Scope::Watch]).await;
    let expires = std::time::SystemTime::now() + expiring;
    let request = pb::IssueCredentialRequest {
        site: site("acme"),
        label: "soon over".to_owned(),
        scopes: vec![pb::Scope::Watch.into()],
        expire_time: Some(expires.into()),
        ..Default::default()
    };
    let bootstrap = world.caller(BOOTSTRAP);
    let request = bootstrap.request(request);
    let issued = bootstrap.credentials().issue_credential(request).await;
    let soon_over = world.caller(&issued.unwrap().into_inner().token);
    let mut soon_over = watch_from_now(&soon_over).await;

    for (token, id, all_sites) in [(of_one, one_id, false), (of_all, all_id, true)] {
        let caller = world.caller(&token);
        let mut first = watch_from_now(&caller).await;
        let mut second = watch(
            &caller,
            pb::WatchEventsRequest {
                site: site("acme"),
                ..Default::default()
            },
        )
        .await
        .unwrap();
        let request = pb::RevokeCredentialRequest {
            site: if all_sites { None } else { site("acme") },
            credential_id: id,
            all_sites,
            ..Default::default()
        };
        let request = bootstrap.request(request);
        bootstrap
            .credentials()
            .revoke_credential(request)
            .await
            .unwrap();
        let revoked = Instant::now();
        for watch in [&mut first, &mut second] {
            let end = loop {
                // Its own end may be told before it.
                match watch.next().await {
                    Ok(event) => assert_eq!(event.kind, "credential.revoked"),
                    Err(end) => break end,
                }
            };
            assert_eq!(
                reason::<()>(Err(end), Code::Unauthenticated),
                "TOKEN_INVALID"
            );
        }
        assert!(
            revoked.elapsed() < Duration::from_secs(1),
            "{:?}",
            revoked.elapsed()
        );
    }
    let end = loop {
        if let Err(end) = soon_over.next().await {
            break end;
        }
    };
    let late = expires.elapsed().unwrap();
    assert!(late < Duration::from_secs(1), "{late:?}");
    assert_eq!(
        reason::<()>(Err(end), Code::Unauthenticated),
        "TOKEN_INVALID"
    );
    // Nobody else's ends.
    acme.rpc.make_member("ann@acme.example").await;
    while spared.next().await.unwrap().kind != "member.created" {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_sends_its_watchers_elsewhere_first() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let other = world.another_identity().await;
    let caller = of_site(&world, &acme).await;
    let mut ends = watch_from_now(&caller).await;
    acme.rpc.make_member("ann@acme.example").await;
    ends.next().await.unwrap();
    // One whose client reads nothing is no reason to stay.
    let _asleep = watch_from_now(&caller).await;
    let told = Instant::now();
    world.identity.signal(nix::sys::signal::Signal::SIGTERM);
    let end = ends.end().await;
    let retry = end
        .get_error_details()
        .retry_info()
        .unwrap()
        .retry_delay
        .unwrap();
    assert!(retry < Duration::from_secs(1), "{retry:?}");
    assert_eq!(reason::<()>(Err(end), Code::Unavailable), "WATCH_ENDED");
    eventually("the process has ended", || world.identity.ended().is_some()).await;
    assert!(world.identity.ended().unwrap().success());
    assert!(
        told.elapsed() < Duration::from_secs(3),
        "{:?}",
        told.elapsed()
    );

    let elsewhere = format!("127.0.0.1:{}", other.port());
    let writer = Rpc {
        caller: acme.rpc.caller.at(&elsewhere).unwrap(),
        site: None,
    };
    let bob = writer.make_member("bob@acme.example").await;
    let mut resumed = watch(&caller.at(&elsewhere).unwrap(), resume(&ends.token))
        .await
        .unwrap();
    assert_eq!(resumed.next().await.unwrap().subject_id, bob);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_has_a_bounded_number_of_watches() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let caller = of_site(&world, &acme).await;
    let mut watches = Vec::new();
    for _ in 0..100 {
        watches.push(watch_from_now(&caller).await);
    }
    let (_, limit) = refused(watch(&caller, after(0)).await, Code::ResourceExhausted);
    assert_eq!(limit["maximum"], "100");
    assert!(limit["limit"].contains("watches"), "{limit:?}");
    let mut others = watch_from_now(&of_site(&world, &acme).await).await;
    assert!(
        world
            .identity
            .metrics()
            .unwrap()
            .contains("identity_watchers 101")
    );
    // All get what happens, and one that leaves makes room.
    acme.rpc.make_member("ann@acme.example").await;
    watches.push(others);
    for watch in &mut watches {
        while watch.next().await.unwrap().kind != "member.created" {}
    }
    others = watches.pop().unwrap();
    drop(watches);
    eventually("the watches are gone", || {
        world
            .identity
            .metrics()
            .unwrap()
            .contains("identity_watchers 1\n")
    })
    .await;
    let _again = watch_from_now(&caller).await;
    drop(others);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_whose_database_says_nothing_ends_and_is_taken_up_again() {
    let proxy = Proxy::before(server().cluster.port()).await;
    let world = World::with(Settings {
        database_port: Some(proxy.port()),
        ..Settings::default()
    })
    .await;
    let acme = world.bare_site("acme").await;
    let caller = of_site(&world, &acme).await;
    let mut cut_off = watch_from_now(&caller).await;
    // A connection that is made anew at once costs the watch nothing.
    proxy.cut();
    proxy.mend();
    let healthy = world.another_identity().await;
    let at_healthy = format!("127.0.0.1:{}", healthy.port());
    let writer = Rpc {
        caller: acme.rpc.caller.at(&at_healthy).unwrap(),
        site: None,
    };
    let ann = writer.make_member("ann@acme.example").await;
    assert_eq!(cut_off.next().await.unwrap().subject_id, ann);

    proxy.freeze();
    let begun = Instant::now();
    let end = cut_off.end().await;
    assert_eq!(reason::<()>(Err(end), Code::Unavailable), "WATCH_ENDED");
    assert!(
        begun.elapsed() < Duration::from_secs(9),
        "{:?}",
        begun.elapsed()
    );
    let bob = writer.make_member("bob@acme.example").await;
    let elsewhere = caller.at(&at_healthy).unwrap();
    let mut resumed = watch(&elsewhere, resume(&cut_off.token)).await.unwrap();
    assert_eq!(resumed.next().await.unwrap().subject_id, bob);
    proxy.mend();
    // One that is taken up before the process has noticed is told to watch again, too.
    let patience = Instant::now() + Duration::from_secs(10);
    let told = loop {
        let ended = match watch(&caller, resume(&cut_off.token)).await {
            Ok(mut back) => match back.next().await {
                Ok(event) => break event,
                Err(ended) => {
                    assert_eq!(
                        reason::<()>(Err(ended.clone()), Code::Unavailable),
                        "WATCH_ENDED"
                    );
                    ended
                }
            },
            Err(status) => status,
        };
        assert!(Instant::now() < patience, "{ended:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(told.subject_id, bob);
}
