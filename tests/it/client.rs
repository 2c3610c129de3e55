//! The client for Rust services: what it does about a bad day.

use std::time::{Duration, Instant};

use identity_tests::{
    faults::Proxy,
    rpc::role,
    world::{Settings, World},
    writes::member,
};
use roster_client::{Error, From, Reason, Roster, Watch, named, proto as pb, role as to_grant};
use tonic::Code;

fn holders() -> pb::ListMembersWithRoleRequest {
    pb::ListMembersWithRoleRequest {
        role: Some(named("Analyst")),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_outlive_a_restart_and_no_call_its_deadline() {
    let world = World::with(Settings::default()).await;
    let acme = world.acme().await;
    acme.scim.make_user("ann@acme.example").await;
    acme.rpc
        .grant("ann@acme.example", role("Analyst"))
        .await
        .unwrap();
    let proxy = Proxy::before(world.identity.port()).await;
    let address = format!("http://127.0.0.1:{}", proxy.port());
    let roster = Roster::connect(&address, &acme.service_token).unwrap();
    let may = async |roster: &Roster| roster.may("ann@acme.example", "metrics.view", None).await;
    assert!(!may(&roster).await.unwrap(), "she reaches nothing yet");
    let listed = roster.access().list_members_with_role(holders()).await;
    assert_eq!(listed.unwrap().into_inner().members.len(), 1);

    // The connection is cut: the next read makes another one.
    proxy.cut();
    proxy.mend();
    assert!(may(&roster).await.is_ok());

    // It is cut while a read waits for its answer: the read is sent again, the write is not.
    let request = pb::CreateGrantRequest {
        member: roster_client::by_user_name("ann@acme.example"),
        target: to_grant("Tech Support"),
        reason: "sent once".to_owned(),
        ..Default::default()
    };
    proxy.freeze();
    let mut grants = roster.grants();
    let (read, write, ()) = tokio::join!(may(&roster), grants.create_grant(request), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.cut();
        tokio::time::sleep(Duration::from_millis(60)).await;
        proxy.mend();
    });
    assert!(read.is_ok(), "{read:?}");
    // What the docs have the caller do then goes by this code: ask, or send the same `request_id` again.
    assert_eq!(write.unwrap_err().code(), Code::Unavailable);

    // Nobody answers: the deadline holds, with all attempts.
    proxy.freeze();
    let begun = Instant::now();
    let hurried = roster.with_deadline(Duration::from_millis(700));
    let error = may(&hurried).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::DeadlineExceeded), "{error:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    proxy.mend();

    // Nobody is there: that is told as what it is.
    let nobody = Roster::connect("http://127.0.0.1:9", &acme.service_token).unwrap();
    let error = may(&nobody).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Unavailable), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_tell_their_reason_and_mistakes_are_told_before_anything_is_sent() {
    let world = World::start().await;
    let acme = world.acme().await;
    let address = format!("http://{}", world.grpc_addr());
    let (watcher, _) = world.issue("acme", &[pb::Scope::Watch]).await;
    let roster = Roster::connect(&address, &watcher).unwrap();
    let refused = roster.access().list_members_with_role(holders()).await;
    let error = Error::from(refused.unwrap_err());
    assert_eq!(error.reason(), Some(Reason::ScopeMissing));
    assert_eq!(error.retry_after(), None);
    let stranger = Roster::connect(&address, "roster_no_token").unwrap();
    let error = stranger.may("ann@acme.example", "metrics.view", None).await;
    assert_eq!(error.unwrap_err().reason(), Some(Reason::TokenInvalid));
    for (address, token) in [
        ("no address", watcher.as_str()),
        // Taken, they would fail each call as if nobody were there.
        ("127.0.0.1:8481", watcher.as_str()),
        ("identity:8481", watcher.as_str()),
        ("grpc://127.0.0.1:8481", watcher.as_str()),
        (address.as_str(), ""),
        (address.as_str(), "two\nlines"),
    ] {
        let error = Roster::connect(address, token).unwrap_err();
        assert!(matches!(error, Error::Settings(_)), "{error:?}");
    }
    // The token is in no text for people.
    assert!(!format!("{roster:?} {:?}", roster.access()).contains(&watcher));
    assert_eq!(acme.domain, "acme");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_by_itself_and_ends_when_nothing_would_mend_it() {
    let world = World::start().await;
    let acme = world.acme().await;
    acme.scim.make_user("ann@acme.example").await;
    let scopes = [pb::Scope::Watch, pb::Scope::Write, pb::Scope::Read];
    let (token, credential) = world.issue("acme", &scopes).await;
    let address = format!("http://{}", world.grpc_addr());
    let roster = Roster::connect(&address, &token).unwrap();
    let mut watch = roster.watch(From::Beginning, &[]);
    let mut seen = Vec::new();
    while seen.last() != Some(&acme.rpc.get_site().await.revision) {
        seen.push(watch.next().await.unwrap().number);
    }
    // Given up while nothing happens, which loses nothing.
    let idle = tokio::time::timeout(Duration::from_millis(200), watch.next()).await;
    assert!(idle.is_err());

    for round in 0..2 {
        world.identity.kill();
        let waiting = tokio::spawn(async move {
            let event = watch.next().await;
            (watch, event)
        });
        world.identity.restart().unwrap();
        let request = pb::CreateGrantRequest {
            member: roster_client::by_user_name("ann@acme.example"),
            target: to_grant(["Analyst", "Tech Support"][round]),
            reason: "after a restart".to_owned(),
            ..Default::default()
        };
        roster.grants().create_grant(request).await.unwrap();
        let (again, event) = waiting.await.unwrap();
        watch = again;
        seen.push(event.unwrap().number);
    }
    // A restart of one's own.
    let mut later = roster.watch(From::Token(watch.token().to_owned()), &[]);
    acme.rpc
        .grant("ann@acme.example", role("Sales Agent"))
        .await
        .unwrap();
    seen.push(later.next().await.unwrap().number);
    assert_eq!(seen, (1..=seen.len() as i64).collect::<Vec<_>>());

    let revoke = pb::RevokeCredentialRequest {
        credential_id: credential,
        ..Default::default()
    };
    let caller = &acme.rpc.caller;
    let mut credentials = caller.credentials();
    credentials
        .revoke_credential(caller.request(revoke))
        .await
        .unwrap();
    let ended = async {
        loop {
            match later.next().await {
                Ok(event) => assert_eq!(event.kind, "credential.revoked"),
                Err(error) => break error,
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(5), ended).await;
    assert_eq!(error.unwrap().reason(), Some(Reason::TokenInvalid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_never_reached_identity_says_so_and_one_that_did_waits_on() {
    let world = World::start().await;
    let acme = world.acme().await;
    let (token, _) = world.issue("acme", &[pb::Scope::Watch]).await;
    let newest = acme.rpc.get_site().await.revision;
    let proxy = Proxy::before(world.identity.port()).await;
    let behind = format!("http://127.0.0.1:{}", proxy.port());
    let mut reached = Roster::connect(&behind, &token)
        .unwrap()
        .watch(From::Beginning, &[]);
    for number in 1..=newest {
        assert_eq!(reached.next().await.unwrap().number, number);
    }
    proxy.cut();
    let mut early = Roster::connect(&behind, &token)
        .unwrap()
        .watch(From::Beginning, &[]);
    let mut wrong = Roster::connect("http://127.0.0.1:9", &token)
        .unwrap()
        .watch(From::Now, &[]);
    let waiting = tokio::spawn(async move { reached.next().await });
    let begun = Instant::now();
    let (nobody, not_yet) = tokio::join!(wrong.next(), early.next());
    let took = begun.elapsed();
    assert!(
        (Watch::REACHED_WITHIN..Watch::REACHED_WITHIN * 2).contains(&took),
        "{took:?}"
    );
    for outcome in [nobody, not_yet] {
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
        assert_eq!(error.code(), Some(Code::Unavailable), "{error:?}");
        assert!(error.to_string().contains("not reached"), "{error}");
    }
    assert!(!waiting.is_finished(), "it was there once");
    proxy.mend();
    // Called again it goes on trying, from where it was to begin.
    assert_eq!(early.next().await.unwrap().number, 1);
    acme.rpc.make_member("ann@acme.example").await;
    assert_eq!(waiting.await.unwrap().unwrap().number, newest + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_write_is_lost_by_connections_that_end_with_their_age() {
    let world = World::with(Settings {
        identity: vec![("ROSTER_MAX_CONNECTION_AGE_MS", "100".to_owned())],
        ..Settings::default()
    })
    .await;
    let acme = world.bare_site("acme").await;
    let proxy = Proxy::before(world.identity.port()).await;
    let address = format!("http://127.0.0.1:{}", proxy.port());
    let roster = Roster::connect(&address, &acme.service_token).unwrap();
    let begun = Instant::now();
    let writing = (0..3).map(|writer| {
        let roster = roster.clone();
        tokio::spawn(async move {
            let mut written = 0;
            while begun.elapsed() < Duration::from_secs(5) {
                let request = pb::CreateMemberRequest {
                    member: Some(member(&format!("m{writer}.{written}@acme.example"))),
                    ..Default::default()
                };
                let mut request = tonic::Request::new(request);
                if writer == 0 {
                    request.set_timeout(Duration::from_secs(5));
                }
                let made = roster.members().create_member(request).await;
                made.unwrap_or_else(|status| panic!("write {written}: {status:?}"));
                written += 1;
            }
            written
        })
    });
    let mut written = 0;
    for writer in writing.collect::<Vec<_>>() {
        written += writer.await.unwrap();
    }
    // None was made twice either: the second would have been refused.
    assert!(written > 60, "{written}");
    assert!(proxy.connections() > 15, "{}", proxy.connections());
    world.database.check_events(&acme.id);
}
