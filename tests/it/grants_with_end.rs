//! Grants that end by themselves: in every answer until that moment, and not from then on; each ending one
//! event, of that very time.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use identity_proto::v1 as pb;
use identity_tests::{
    grants::{direct, endings, get, list, until},
    rpc::{by_id, by_user_name, entity, moment, role, target_name, timestamp},
    world::{Site, World},
    writes::{member, reason, refused},
};
use tonic::Code;

/// Long enough for a call or two, short enough to wait for.
const SOON: Duration = Duration::from_millis(900);

#[tokio::test(flavor = "multi_thread")]
async fn an_ending_is_one_event_of_that_very_time_within_a_second_though_nobody_asks() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.rpc.make_member("ann@acme.example").await;
    let (id, end) = acme
        .rpc
        .grant_for(by_id(&ann), role("Analyst"), SOON)
        .await
        .unwrap();
    let shown = get(&acme.rpc, &id).await;
    assert_eq!(
        moment(
            direct(shown.grant.as_ref().unwrap())
                .end_time
                .as_ref()
                .unwrap()
        ),
        end
    );
    assert_eq!(shown.ending, None);
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Analyst"]);
    // The table alone: no call of ours brings it about.
    until(end, TimeDelta::milliseconds(1000)).await;
    let written = world.database.number(&format!(
        "SELECT count(*) AS n FROM events WHERE kind = 'grant.ended' AND subject_id = '{id}'"
    ));
    assert_eq!(written, 1, "within a second");
    assert!(acme.rpc.roles("ann@acme.example").await.is_empty());

    let events = endings(&acme.rpc, &id).await;
    let [event] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(
        moment(event.time.as_ref().unwrap()),
        end,
        "stamped with the end"
    );
    let actor = event.actor.clone().unwrap();
    assert_eq!(
        (actor.label.as_str(), actor.credential_id.as_str()),
        ("roster", "")
    );
    assert_eq!(event.trace_id.len(), 32);
    assert_ne!(event.trace_id, "0".repeat(32));
    let [change] = event.access_changes.as_slice() else {
        panic!("{event:?}")
    };
    assert_eq!(target_name(change.target.as_ref()), "Analyst");
    assert_eq!(change.lost_member_ids, std::slice::from_ref(&ann));
    let ended = get(&acme.rpc, &id).await.ending.unwrap();
    assert_eq!(
        (moment(&ended.time.unwrap()), ended.revision),
        (end, event.number)
    );
    assert_eq!(ended.actor.unwrap().label, "roster");
    world.database.check_events(&acme.id);
    // It may be given again.
    acme.rpc
        .grant("ann@acme.example", role("Analyst"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_to_come_and_owners_have_none() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let ann = acme.rpc.make_member("ann@acme.example").await;
    let create = async |target, end: DateTime<Utc>, dry| {
        let request = pb::CreateGrantRequest {
            member: by_id(&ann),
            target,
            reason: "why".to_owned(),
            end_time: Some(timestamp(end)),
            validate_only: dry,
            ..Default::default()
        };
        let request = acme.rpc.caller.request(request);
        acme.rpc.grants().create_grant(request).await
    };
    let before = world.database.snapshot();
    let hour = Utc::now() + TimeDelta::hours(1);
    for end in [
        Utc::now() - TimeDelta::hours(1),
        Utc::now() - TimeDelta::milliseconds(1),
    ] {
        let (name, metadata) = refused(
            create(role("Analyst"), end, false).await,
            Code::InvalidArgument,
        );
        assert_eq!(
            (name.as_str(), metadata["field"].as_str()),
            ("FIELD_INVALID", "end_time")
        );
    }
    let owner = create(role("Owner"), hour, false).await;
    assert_eq!(reason(owner, Code::InvalidArgument), "OWNER_GRANT_WITH_END");
    let rehearsed = create(role("Analyst"), hour, true)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(rehearsed.receipt.unwrap().gained, 1);
    assert_eq!(world.database.snapshot(), before, "nothing of it is kept");

    let made = create(role("Analyst"), hour, false)
        .await
        .unwrap()
        .into_inner();
    let grant = made.grant.unwrap();
    let id = direct(&grant).grant_id.clone();
    let twice = create(role("Analyst"), hour + TimeDelta::hours(1), false).await;
    let (name, metadata) = refused(twice, Code::AlreadyExists);
    assert_eq!((name, &metadata["id"]), ("GRANT_EXISTS".to_owned(), &id));
    // Taken back early it ends then, by who took it; and the clock forgets its end.
    acme.rpc.end_grant(&id).await.unwrap();
    assert_eq!(
        get(&acme.rpc, &id)
            .await
            .ending
            .unwrap()
            .actor
            .unwrap()
            .label,
        "Okta of the tests"
    );
    world.database.check_events(&acme.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ending_takes_only_what_nothing_else_gives_and_only_from_who_is_active() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let bob = acme.scim.make_user("bob@acme.example").await;
    let eve = acme.scim.make_user("eve@acme.example").await;
    acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    let (held, _) = acme
        .rpc
        .grant_for(by_id(&ann), role("Analyst"), SOON)
        .await
        .unwrap();
    let (off, end) = acme
        .rpc
        .grant_for(by_id(&bob), entity("EU GmbH"), SOON)
        .await
        .unwrap();
    let (gone, _) = acme
        .rpc
        .grant_for(by_id(&eve), role("Admin"), SOON)
        .await
        .unwrap();
    acme.rpc.set_active(&bob, false).await.unwrap();
    acme.rpc.delete_member(&eve).await.unwrap();
    world.database.check_events(&acme.id);
    until(end, TimeDelta::milliseconds(20)).await;

    assert_eq!(
        acme.rpc.roles("ann@acme.example").await,
        ["Analyst"],
        "the group gives it"
    );
    let ending = endings(&acme.rpc, &held).await;
    assert!(ending[0].access_changes.is_empty(), "{ending:?}");
    // A deactivated member's grant runs out too, and comes back with nothing.
    let ending = endings(&acme.rpc, &off).await;
    assert!(ending[0].access_changes.is_empty(), "{ending:?}");
    let back = acme.rpc.set_active(&bob, true).await.unwrap();
    assert_eq!(back.receipt.unwrap().gained, 0);
    assert!(
        acme.rpc
            .access("bob@acme.example")
            .await
            .entities
            .is_empty()
    );
    // A deleted member's grant ended with the member.
    assert!(endings(&acme.rpc, &gone).await.is_empty());
    let ended = get(&acme.rpc, &gone).await.ending.unwrap();
    let events = acme.rpc.events().await;
    let by = events
        .iter()
        .find(|event| event.number == ended.revision)
        .unwrap();
    assert_eq!(by.kind, "member.deleted");
    world.database.check_events(&acme.id);
}

/// One way to ask whether Ann has the role.
type Ask = for<'a> fn(&'a Site, &'a str) -> futures_util::future::BoxFuture<'a, bool>;

const WAYS: [(&str, Ask); 6] = [
    ("access", |site, ann| {
        Box::pin(async move {
            let access = site.rpc.list_member_access(by_id(ann)).await.unwrap();
            !access.roles.is_empty()
        })
    }),
    ("member", |site, ann| {
        Box::pin(async move {
            let member = site.rpc.get_member(by_id(ann)).await.unwrap();
            !member.access.unwrap().roles.is_empty()
        })
    }),
    ("SCIM user", |site, ann| {
        Box::pin(async move {
            let user = site.scim.get(&format!("/Users/{ann}")).await.is(200);
            user.body.to_string().contains("Analyst")
        })
    }),
    ("grants of role", |site, _| {
        Box::pin(async move {
            let request = pb::ListGrantsRequest {
                target: role("Analyst"),
                ..Default::default()
            };
            !list(&site.rpc, request).await.is_empty()
        })
    }),
    ("dry run that takes the role away", |site, ann| {
        Box::pin(async move {
            let request = pb::DeleteMemberRequest {
                member_id: ann.to_owned(),
                validate_only: true,
                ..Default::default()
            };
            let request = site.rpc.caller.request(request);
            let answer = site
                .rpc
                .caller
                .members()
                .delete_member(request)
                .await
                .unwrap();
            answer.into_inner().receipt.unwrap().lost == 1
        })
    }),
    ("write that gives the role", |site, _| {
        Box::pin(async move {
            // Held, it is refused; else it would be given, but for the dry run.
            let request = pb::CreateGrantRequest {
                member: by_user_name("ann@acme.example"),
                target: role("Analyst"),
                reason: "again".to_owned(),
                validate_only: true,
                ..Default::default()
            };
            let request = site.rpc.caller.request(request);
            match site.rpc.grants().create_grant(request).await {
                Ok(_) => false,
                Err(status) => status.code() == Code::AlreadyExists,
            }
        })
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_asked_for_after_the_end_has_the_grant_and_none_given_before_lacks_it() {
    let world = World::start().await;
    let acme = Arc::new(world.acme().await);
    let ann = acme.rpc.make_member("ann@acme.example").await;
    for _ in 0..4 {
        let time = Duration::from_millis(300);
        let (id, end) = acme
            .rpc
            .grant_for(by_id(&ann), role("Analyst"), time)
            .await
            .unwrap();
        let asking = WAYS.map(|(way, ask)| {
            let (acme, ann) = (acme.clone(), ann.clone());
            tokio::spawn(async move {
                let mut after = 0;
                while after < 5 {
                    let begun = Utc::now();
                    let has = ask(&acme, &ann).await;
                    if begun >= end {
                        assert!(!has, "{way}: asked {} after the end", begun - end);
                        after += 1;
                    }
                    if Utc::now() < end {
                        assert!(has, "{way}: answered before the end");
                    }
                }
            })
        });
        for asked in asking {
            asked.await.unwrap();
        }
        assert_eq!(endings(&acme.rpc, &id).await.len(), 1);
        world.database.check_events(&acme.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_past_an_end_tells_of_no_event_that_is_undone() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.rpc.make_member("ann@acme.example").await;
    for _ in 0..6 {
        let time = Duration::from_millis(60);
        let (_, end) = acme
            .rpc
            .grant_for(by_id(&ann), role("Analyst"), time)
            .await
            .unwrap();
        until(end, TimeDelta::milliseconds(1)).await;
        let request = pb::CreateMemberRequest {
            member: Some(member("dry@acme.example")),
            validate_only: true,
            ..Default::default()
        };
        let request = acme.rpc.caller.request(request);
        let answer = acme
            .rpc
            .caller
            .members()
            .create_member(request)
            .await
            .unwrap();
        let receipt = answer.into_inner().receipt.unwrap();
        let kept = world.database.number("SELECT max(number) AS n FROM events");
        assert!(receipt.revision <= kept, "{} of {kept}", receipt.revision);
        assert_eq!(
            (receipt.members, receipt.lost),
            (1, 0),
            "the ending is not its effect"
        );
        // A write that finds everything as asked changes nothing itself, and the ending stays.
        let same = acme
            .rpc
            .set_active(&ann, true)
            .await
            .unwrap()
            .receipt
            .unwrap();
        assert!(!same.changed);
        let kept = world.database.number("SELECT max(number) AS n FROM events");
        assert_eq!(same.revision, kept);
        world.database.check_events(&acme.id);
    }
}
