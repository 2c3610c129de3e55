//! Watching events: from now on, from a number, from a token; each once, in order, and until somebody ends it.

use std::time::Duration;

use identity_proto::v1 as pb;
use identity_tests::{
    watch::{after, resume, watch, watch_from_now},
    world::{Site, World},
    writes::{reason, refused},
};
use roster_stack::grpc::{Caller, site};
use tonic::Code;

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
    for caller in [&one, &all] {
        let mut whole = watch(caller, after(0)).await.unwrap();
        let total = world
            .database
            .number(if std::ptr::eq(caller, &raw const one) {
                "SELECT count(*) AS n FROM events JOIN sites USING (site_id) WHERE domain = 'acme'"
            } else {
                "SELECT count(*) AS n FROM events"
            });
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
                assert_eq!(resumed.token, tokens[total as usize]);
            }
        }
    }
    let _unused = (site("acme"), reason::<()>, refused::<()>, Code::Ok);
}
