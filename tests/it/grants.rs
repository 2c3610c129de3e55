//! Direct grants: decisions of services and operators, which no push of an identity provider touches.

use identity_proto::v1::{self as pb, grant::Source};
use identity_tests::{
    rpc::{by_id, by_user_name, entity, role},
    world::World,
    writes::{reason, refused},
};
use serde_json::json;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_grant_survives_whatever_is_pushed() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let path = format!("/Users/{ann}");
    acme.rpc
        .grant("ann@acme.example", role("Analyst"))
        .await
        .unwrap();
    acme.rpc
        .grant("ann@acme.example", entity("us inc"))
        .await
        .unwrap();
    let granted = acme.rpc.access("ann@acme.example").await;
    assert_eq!(
        (granted.roles.clone(), granted.entities.clone()),
        (vec!["Analyst".to_owned()], vec!["US Inc".to_owned()])
    );
    // It is not shown where SCIM's own grants stand, and can't be put away there.
    let shown = acme.scim.get(&path).await.is(200).body;
    assert!(shown["roles"].is_null() && shown["entitlements"].is_null());

    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    let group_path = format!("/Groups/{group}");
    let access = acme.rpc.list_member_access(by_id(&ann)).await.unwrap();
    assert_eq!(access.roles[0].grants.len(), 2, "{access:?}");
    let mut put = shown.clone();
    put["roles"] = json!([]);
    put["entitlements"] = json!([]);
    acme.scim.put(&path, &put).await.is(200);
    for operation in [
        json!({ "op": "remove", "path": "roles" }),
        json!({ "op": "replace", "path": "entitlements", "value": [] }),
    ] {
        acme.scim.patch(&path, json!([operation])).await.is(200);
    }
    let out = json!([{ "op": "remove", "path": format!("members[value eq \"{ann}\"]") }]);
    let answer = acme.scim.patch(&group_path, out).await.is(204);
    assert_eq!(
        answer.header("roster-effect"),
        "members=1, skipped=0, gained=0, lost=0",
        "the role is still held"
    );
    acme.scim.delete(&group_path).await.is(204);
    for active in [false, true] {
        let change = json!([{ "op": "replace", "value": { "active": active } }]);
        acme.scim.patch(&path, change).await.is(200);
    }
    assert_eq!(acme.rpc.access("ann@acme.example").await, granted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_says_who_gave_it_why_and_since_when() {
    let world = World::start().await;
    let acme = world.acme().await;
    acme.scim.make_user("ann@acme.example").await;
    let id = acme
        .rpc
        .grant("ann@acme.example", role("Sales Agent"))
        .await
        .unwrap();
    let access = acme
        .rpc
        .list_member_access(by_user_name("ann@acme.example"))
        .await
        .unwrap();
    let grant = &access.roles[0].grants[0];
    let Some(Source::Direct(direct)) = &grant.source else {
        panic!("{grant:?}")
    };
    assert_eq!(
        (direct.grant_id.as_str(), direct.reason.as_str()),
        (id.as_str(), "a test")
    );
    assert_eq!(direct.actor, "Okta of the tests");
    let events = acme.rpc.events().await;
    let created = events
        .iter()
        .find(|event| event.kind == "grant.created")
        .unwrap();
    assert_eq!(grant.since_revision, created.number);
    assert_eq!(grant.since, created.time);
    assert_eq!(created.subject_id, id);

    // A group grants since the later of two: the member came, or the target did.
    let bob = acme.scim.make_user("bob@acme.example").await;
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&bob]).await;
    let rename = json!([{ "op": "replace", "path": "displayName", "value": "CB/acme/ROLE/Admin" }]);
    acme.scim
        .patch(&format!("/Groups/{group}"), rename)
        .await
        .is(204);
    let access = acme.rpc.list_member_access(by_id(&bob)).await.unwrap();
    let last = acme.rpc.events().await.pop().unwrap();
    assert_eq!(last.kind, "group.updated");
    assert_eq!(access.roles[0].grants[0].since_revision, last.number);
    assert_eq!(access.revision, last.number);
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_made_and_ended_once_each() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    let create = |target, why: &str, dry| {
        let request = pb::CreateGrantRequest {
            member: by_id(&ann),
            target,
            reason: why.to_owned(),
            validate_only: dry,
            ..Default::default()
        };
        let request = acme.rpc.caller.request(request);
        let mut client = acme.rpc.grants();
        async move { client.create_grant(request).await }
    };
    // Held by a group already: nothing is gained.
    let made = create(role("analyst"), "why", false).await.unwrap();
    let receipt = made.into_inner().receipt.unwrap();
    assert_eq!(
        (receipt.changed, receipt.members, receipt.gained),
        (true, 1, 0)
    );
    let before = world.database.snapshot();
    let (name, metadata) = refused(
        create(role("Analyst"), "why", false).await,
        Code::AlreadyExists,
    );
    assert_eq!(name, "GRANT_EXISTS");
    let existing = metadata["id"].clone();
    for why in ["", "  ", &"x".repeat(501)] {
        let outcome = create(role("Admin"), why, false).await;
        assert_eq!(reason(outcome, Code::InvalidArgument), "FIELD_INVALID");
    }
    for (target, expected) in [
        (role("No Such"), "ROLE_NOT_FOUND"),
        (entity("No Such"), "BUSINESS_ENTITY_NOT_FOUND"),
    ] {
        let outcome = create(target, "why", false).await;
        assert_eq!(reason(outcome, Code::NotFound), expected);
    }
    refused(create(None, "why", false).await, Code::InvalidArgument);
    let rehearsed = create(entity("EU GmbH"), "why", true).await.unwrap();
    assert_eq!(rehearsed.into_inner().receipt.unwrap().gained, 1);
    assert_eq!(world.database.snapshot(), before);

    acme.scim.delete(&format!("/Groups/{group}")).await.is(204);
    let ended = acme.rpc.end_grant(&existing).await.unwrap();
    assert_eq!(ended.receipt.unwrap().lost, 1);
    let twice = acme.rpc.end_grant(&existing).await;
    assert_eq!(reason(twice, Code::NotFound), "GRANT_NOT_FOUND");
    // Given again it is another grant.
    let again = acme
        .rpc
        .grant("ann@acme.example", role("Analyst"))
        .await
        .unwrap();
    assert_ne!(again, existing);
    // Provisioning gives none.
    let provisioning = world.caller(&acme.scim_token);
    let request = pb::EndGrantRequest {
        grant_id: again,
        ..Default::default()
    };
    let mut client = pb::grant_service_client::GrantServiceClient::new(provisioning.channel());
    let outcome = client.end_grant(provisioning.request(request)).await;
    assert_eq!(reason(outcome, Code::PermissionDenied), "SCOPE_MISSING");
}
