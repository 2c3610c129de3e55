//! The list of direct grants, those that have ended too.

use identity_proto::v1 as pb;
use identity_tests::{
    grants::{ids, list},
    rpc::{Rpc, by_id, by_user_name, entity, role},
    world::World,
    writes::reason,
};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn direct_grants_are_listed_by_member_target_and_actor_with_how_they_ended() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.rpc.make_member("ann@acme.example").await;
    let bob = acme.rpc.make_member("bob@acme.example").await;
    // What an identity provider grants is not among them.
    acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    let (token, _) = world.issue("acme", &[pb::Scope::WriteGrants]).await;
    let one = acme
        .rpc
        .grant("ann@acme.example", role("Analyst"))
        .await
        .unwrap();
    let two = acme
        .rpc
        .grant("ann@acme.example", entity("EU GmbH"))
        .await
        .unwrap();
    let other = Rpc {
        caller: world.caller(&token),
        site: None,
    };
    let three = other
        .grant("bob@acme.example", role("Analyst"))
        .await
        .unwrap();
    let bootstrap = list(
        &acme.rpc,
        pb::ListGrantsRequest {
            actor: "bootstrap".to_owned(),
            ..Default::default()
        },
    );
    let owner = ids(&bootstrap.await);
    assert_eq!(owner.len(), 1, "the first Owner's");
    let all = || pb::ListGrantsRequest::default();
    let of = async |request| ids(&list(&acme.rpc, request).await);
    assert_eq!(
        of(all()).await,
        [owner[0].clone(), one.clone(), two.clone(), three.clone()]
    );
    assert_eq!(
        of(pb::ListGrantsRequest {
            member: by_id(&ann),
            ..all()
        })
        .await,
        [one.clone(), two.clone()]
    );
    assert_eq!(
        of(pb::ListGrantsRequest {
            target: role("analyst"),
            ..all()
        })
        .await,
        [one.clone(), three.clone()]
    );
    let both = pb::ListGrantsRequest {
        member: by_user_name("BOB@acme.example"),
        target: entity("EU GmbH"),
        ..all()
    };
    assert!(of(both).await.is_empty());

    acme.rpc.end_grant(&one).await.unwrap();
    acme.rpc.delete_member(&bob).await.unwrap();
    assert_eq!(of(all()).await, [owner[0].clone(), two.clone()]);
    let past = pb::ListGrantsRequest {
        target: role("Analyst"),
        include_ended: true,
        ..all()
    };
    let past = list(&acme.rpc, past).await;
    assert_eq!(ids(&past), [one.clone(), three.clone()]);
    let events = acme.rpc.events().await;
    for (grant, kind) in past.iter().zip(["grant.ended", "member.deleted"]) {
        let ending = grant.ending.clone().unwrap();
        let event = events
            .iter()
            .find(|event| event.number == ending.revision)
            .unwrap();
        assert_eq!(
            (event.kind.as_str(), &event.time, &event.actor),
            (kind, &ending.time, &ending.actor)
        );
    }
    // Of who is deleted by id only, and only among what has ended.
    let gone = pb::ListGrantsRequest {
        member: by_id(&bob),
        include_ended: true,
        ..all()
    };
    assert_eq!(of(gone.clone()).await, std::slice::from_ref(&three));
    for request in [
        pb::ListGrantsRequest {
            include_ended: false,
            ..gone
        },
        pb::ListGrantsRequest {
            member: by_user_name("bob@acme.example"),
            include_ended: true,
            ..all()
        },
        pb::ListGrantsRequest {
            member: by_id(&uuid::Uuid::new_v4().to_string()),
            include_ended: true,
            ..all()
        },
    ] {
        let outcome = acme
            .rpc
            .grants()
            .list_grants(acme.rpc.caller.request(request))
            .await;
        assert_eq!(reason(outcome, Code::NotFound), "MEMBER_NOT_FOUND");
    }

    // Page by page the same, while more are given.
    let mut paged = Vec::new();
    let mut request = pb::ListGrantsRequest {
        include_ended: true,
        page_size: Some(1),
        ..all()
    };
    loop {
        let again = acme.rpc.caller.request(request.clone());
        let page = acme.rpc.grants().list_grants(again).await.unwrap();
        let page = page.into_inner();
        assert_eq!(page.grants.len(), 1);
        paged.extend(ids(&page.grants));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(paged, [owner[0].clone(), one, two, three]);
    let strange = pb::ListGrantsRequest {
        include_ended: false,
        ..request
    };
    let outcome = acme
        .rpc
        .grants()
        .list_grants(acme.rpc.caller.request(strange))
        .await;
    assert_eq!(reason(outcome, Code::InvalidArgument), "PAGE_TOKEN_INVALID");
    // Another site's are nobody's here.
    let other = world.bare_site("other").await;
    let request = pb::GetGrantRequest {
        grant_id: owner[0].clone(),
        ..Default::default()
    };
    let outcome = other
        .rpc
        .grants()
        .get_grant(other.rpc.caller.request(request))
        .await;
    assert_eq!(reason(outcome, Code::NotFound), "GRANT_NOT_FOUND");
}
