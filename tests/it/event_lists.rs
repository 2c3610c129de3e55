//! Listing events: by what they are about, who did it, of which kind and when.

use identity_proto::v1::{self as pb, event_service_client::EventServiceClient};
use identity_tests::{
    rpc::{by_id, by_user_name},
    world::{Site, World},
    writes::{member, reason},
};
use prost_types::Timestamp;
use roster_stack::grpc::Caller;
use tonic::{Code, Status};

async fn list(
    caller: &Caller,
    request: pb::ListEventsRequest,
) -> Result<pb::ListEventsResponse, Status> {
    let mut client = EventServiceClient::new(caller.channel());
    let answer = client.list_events(caller.request(request)).await?;
    Ok(answer.into_inner())
}

/// The numbers of all events that a request asks for, by pages of this size.
async fn numbers(site: &Site, request: &pb::ListEventsRequest, page_size: i32) -> Vec<i64> {
    let mut numbers = Vec::new();
    loop {
        let request = pb::ListEventsRequest {
            after: numbers.last().copied().unwrap_or_default(),
            page_size: Some(page_size),
            ..request.clone()
        };
        let page = list(&site.rpc.caller, request).await.unwrap();
        assert_eq!(page.revision, site.rpc.get_site().await.revision);
        assert!(page.events.len() == page_size as usize || !page.more);
        numbers.extend(page.events.iter().map(|event| event.number));
        if !page.more {
            return numbers;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_found_by_subject_actor_kind_and_time() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let bob = acme.rpc.make_member("bob@acme.example").await;
    for active in [false, true, false] {
        acme.rpc.set_active(&ann, active).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        acme.rpc.set_active(&bob, active).await.unwrap();
    }
    let role = acme.make_role("Custom", &[]).await;
    acme.rpc.delete_role(&role).await.unwrap();
    acme.rpc.delete_member(&bob).await.unwrap();
    let all = acme.rpc.events().await;
    let credential = all.last().unwrap().actor.clone().unwrap().credential_id;
    let key = |time: &Timestamp| (time.seconds, time.nanos);
    let (from, to) = (all[6].time.unwrap(), all[10].time.unwrap());

    type Holds<'a> = Box<dyn Fn(&pb::Event) -> bool + 'a>;
    let asked: Vec<(pb::ListEventsRequest, Holds<'_>)> = vec![
        (pb::ListEventsRequest::default(), Box::new(|_| true)),
        (
            pb::ListEventsRequest {
                subject_id: ann.clone(),
                ..Default::default()
            },
            Box::new(|event| event.subject_id == ann),
        ),
        (
            pb::ListEventsRequest {
                member: by_user_name(" ANN@acme.example"),
                ..Default::default()
            },
            Box::new(|event| event.subject_id == ann),
        ),
        // One that is deleted, and something that is no member.
        (
            pb::ListEventsRequest {
                member: by_id(&bob),
                ..Default::default()
            },
            Box::new(|event| event.subject_id == bob),
        ),
        (
            pb::ListEventsRequest {
                subject_id: role.clone(),
                ..Default::default()
            },
            Box::new(|event| event.subject_id == role),
        ),
        (
            pb::ListEventsRequest {
                subject_id: acme.id.clone(),
                ..Default::default()
            },
            Box::new(|event| event.subject_kind == "site"),
        ),
        (
            pb::ListEventsRequest {
                subject_id: uuid::Uuid::new_v4().to_string(),
                ..Default::default()
            },
            Box::new(|_| false),
        ),
        (
            pb::ListEventsRequest {
                subject_id: "no id' OR true".to_owned(),
                ..Default::default()
            },
            Box::new(|_| false),
        ),
        (
            pb::ListEventsRequest {
                actor_credential_id: credential.clone(),
                ..Default::default()
            },
            Box::new(|event| event.actor.as_ref().unwrap().credential_id == credential),
        ),
        (
            pb::ListEventsRequest {
                actor_label: "bootstrap".to_owned(),
                ..Default::default()
            },
            Box::new(|event| event.actor.as_ref().unwrap().label == "bootstrap"),
        ),
        (
            pb::ListEventsRequest {
                kinds: vec!["member.deactivated".to_owned()],
                ..Default::default()
            },
            Box::new(|event| event.kind == "member.deactivated"),
        ),
        (
            pb::ListEventsRequest {
                kinds: vec![
                    "role.*".to_owned(),
                    "site.created".to_owned(),
                    "role.*".to_owned(),
                ],
                ..Default::default()
            },
            Box::new(|event| event.subject_kind == "role" || event.kind == "site.created"),
        ),
        (
            pb::ListEventsRequest {
                from_time: Some(from),
                ..Default::default()
            },
            Box::new(move |event| key(&event.time.unwrap()) >= key(&from)),
        ),
        (
            pb::ListEventsRequest {
                from_time: Some(from),
                to_time: Some(to),
                ..Default::default()
            },
            Box::new(move |event| (key(&from)..key(&to)).contains(&key(&event.time.unwrap()))),
        ),
        (
            pb::ListEventsRequest {
                from_time: Some(to),
                to_time: Some(from),
                ..Default::default()
            },
            Box::new(|_| false),
        ),
        (
            pb::ListEventsRequest {
                from_time: Some(Timestamp {
                    seconds: 4_000_000_000,
                    nanos: 0,
                }),
                ..Default::default()
            },
            Box::new(|_| false),
        ),
        (
            pb::ListEventsRequest {
                subject_id: ann.clone(),
                kinds: vec!["member.*".to_owned()],
                actor_credential_id: credential.clone(),
                from_time: Some(from),
                ..Default::default()
            },
            Box::new(|event| {
                event.subject_id == ann
                    && event.actor.as_ref().unwrap().credential_id == credential
                    && key(&event.time.unwrap()) >= key(&from)
            }),
        ),
    ];
    for (request, holds) in asked {
        let expected: Vec<i64> = all
            .iter()
            .filter(|event| holds(event))
            .map(|event| event.number)
            .collect();
        for page_size in [1, 2, 1000] {
            assert_eq!(
                numbers(&acme, &request, page_size).await,
                expected,
                "{request:?}"
            );
        }
        let request = pb::ListEventsRequest {
            newest: true,
            page_size: Some(2),
            ..request
        };
        let page = list(&acme.rpc.caller, request.clone()).await.unwrap();
        let newest: Vec<i64> = page.events.iter().map(|event| event.number).collect();
        assert_eq!(
            newest,
            expected[expected.len().saturating_sub(2)..],
            "{request:?}"
        );
        assert_eq!(page.more, expected.len() > 2);
    }

    let invalid = |request| {
        let caller = acme.rpc.caller.clone();
        async move { reason(list(&caller, request).await, Code::InvalidArgument) }
    };
    for request in [
        pb::ListEventsRequest {
            kinds: vec!["member.moved".to_owned()],
            ..Default::default()
        },
        pb::ListEventsRequest {
            member: Some(pb::MemberRef::default()),
            ..Default::default()
        },
        pb::ListEventsRequest {
            to_time: Some(Timestamp {
                seconds: i64::MAX,
                nanos: 0,
            }),
            ..Default::default()
        },
    ] {
        assert_eq!(invalid(request).await, "FIELD_INVALID");
    }
    let gone = pb::ListEventsRequest {
        member: by_user_name("bob@acme.example"),
        ..Default::default()
    };
    let outcome = list(&acme.rpc.caller, gone).await;
    assert_eq!(reason(outcome, Code::NotFound), "MEMBER_NOT_FOUND");
    // Another site's are nobody's here.
    let bolt = world.bare_site("bolt").await;
    let elsewhere = pb::ListEventsRequest {
        subject_id: ann,
        ..Default::default()
    };
    assert!(
        list(&bolt.rpc.caller, elsewhere)
            .await
            .unwrap()
            .events
            .is_empty()
    );
    // Who may watch may list.
    let (token, _) = world.issue("acme", &[pb::Scope::Watch]).await;
    list(&world.caller(&token), pb::ListEventsRequest::default())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_has_the_whole_effect_that_its_receipt_told() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let ann = acme.rpc.make_member("ann@acme.example").await;
    let bob = acme.rpc.make_member("bob@acme.example").await;
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    let nobody = uuid::Uuid::new_v4().to_string();
    let request = pb::UpdateGroupRequest {
        group_id: group.clone(),
        membership: Some(pb::update_group_request::Membership::Delta(
            pb::MembershipDelta {
                add_member_ids: vec![bob.clone(), nobody.clone(), "no\\id\0 at all".to_owned()],
                remove_member_ids: vec![ann.clone()],
            },
        )),
        ..Default::default()
    };
    let request = acme.rpc.caller.request(request);
    let answer = acme
        .rpc
        .groups()
        .update_group(request)
        .await
        .unwrap()
        .into_inner();
    let receipt = answer.receipt.unwrap();
    let event = acme.rpc.events().await.pop().unwrap();
    assert_eq!(
        (event.number, event.site_domain.as_str()),
        (receipt.revision, "acme")
    );
    assert_eq!(
        (event.members, event.gained, event.lost),
        (Some(receipt.members), receipt.gained, receipt.lost)
    );
    assert_eq!((receipt.members, receipt.gained, receipt.lost), (2, 1, 1));
    assert_eq!(event.access_changes, receipt.access_changes);
    let shown: Vec<String> = receipt
        .unknown_member_ids
        .iter()
        .map(|id| id.replace('\0', "\u{fffd}"))
        .collect();
    assert_eq!(event.unknown_member_ids, shown);
    assert!(shown.contains(&nobody) && shown.len() == 2, "{shown:?}");

    acme.rpc
        .create_member(member("cy@acme.example"))
        .await
        .unwrap();
    let event = acme.rpc.events().await.pop().unwrap();
    assert_eq!((event.members, event.gained, event.lost), (Some(1), 0, 0));
    assert!(event.unknown_member_ids.is_empty());
    // An event of the release before, which kept less.
    world
        .database
        .execute("UPDATE events SET members = NULL, unknown_member_ids = NULL");
    let event = acme.rpc.events().await.pop().unwrap();
    assert_eq!(event.members, None);
    assert!(event.unknown_member_ids.is_empty());
}
