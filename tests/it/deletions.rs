//! What deleting something does to what depends on it: refused, or ended and told; never by accident.

use identity_proto::v1 as pb;
use identity_tests::{
    rpc::{by_user_name, entity, role, target_name},
    world::{Site, World},
    writes::{reason, refused},
};
use tonic::{Code, Response, Status};

async fn delete_role(
    acme: &Site,
    id: &str,
    end_grants: bool,
    if_versions: &[i64],
    validate_only: bool,
) -> Result<pb::Receipt, Status> {
    let request = acme.rpc.caller.request(pb::DeleteRoleRequest {
        role_id: id.to_owned(),
        end_grants,
        if_versions: if_versions.to_vec(),
        validate_only,
        ..Default::default()
    });
    let answer = acme.rpc.caller.roles().delete_role(request).await;
    answer
        .map(Response::into_inner)
        .map(|answer| answer.receipt.unwrap())
}

async fn delete_entity(
    acme: &Site,
    id: &str,
    end_grants: bool,
    if_versions: &[i64],
) -> Result<pb::Receipt, Status> {
    let request = acme.rpc.caller.request(pb::DeleteBusinessEntityRequest {
        business_entity_id: id.to_owned(),
        end_grants,
        if_versions: if_versions.to_vec(),
        ..Default::default()
    });
    let mut client = acme.rpc.caller.business_entities();
    let answer = client.delete_business_entity(request).await;
    answer
        .map(Response::into_inner)
        .map(|answer| answer.receipt.unwrap())
}

/// Gives a member a role and a business entity by the entitlement attribute.
async fn entitle(acme: &Site, member: &str, role: &str, entity: &str) {
    let named = |id: &str| pb::NamedRef {
        id: id.to_owned(),
        ..Default::default()
    };
    let values = pb::Member {
        entitlements: Some(pb::Entitlements {
            roles: vec![named(role)],
            business_entities: vec![named(entity)],
        }),
        ..Default::default()
    };
    let paths = ["entitlements.roles", "entitlements.business_entities"];
    acme.rpc
        .update_member(member, values, &paths)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_or_entity_that_is_given_is_deleted_only_on_demand_and_says_who_loses_it() {
    let world = World::start().await;
    let acme = world.acme().await;
    let rpc = &acme.rpc;
    let billing = acme.make_role("Billing", &["invoices.view"]).await;
    let uk = acme.make_entity("UK Ltd").await;
    let mut ids = Vec::new();
    for name in ["ann", "bob", "cid"] {
        ids.push(rpc.make_member(&format!("{name}@acme.example")).await);
    }
    // Ann holds both twice, Bob by entitlement, Cid while he is away.
    for name in ["ann", "cid"] {
        let name = format!("{name}@acme.example");
        rpc.grant(&name, role("Billing")).await.unwrap();
        rpc.grant(&name, entity("UK Ltd")).await.unwrap();
    }
    entitle(&acme, &ids[0], &billing, &uk).await;
    entitle(&acme, &ids[1], &billing, &uk).await;
    rpc.set_active(&ids[2], false).await.unwrap();
    let group = acme
        .scim
        .make_group("CB/acme/ROLE/Billing", &[&ids[0]])
        .await;

    let before = world.database.snapshot();
    for end_grants in [false, true] {
        // A group is in the way whatever is asked.
        let outcome = delete_role(&acme, &billing, end_grants, &[], false).await;
        let (why, metadata) = refused(outcome, Code::FailedPrecondition);
        assert_eq!(why, "STILL_GRANTS");
        assert_eq!(
            (metadata["groups"].as_str(), metadata["grants"].as_str()),
            ("1", "4")
        );
    }
    let outcome = delete_entity(&acme, &uk, false, &[]).await;
    let (why, metadata) = refused(outcome, Code::FailedPrecondition);
    assert_eq!(why, "STILL_GRANTS");
    assert_eq!(
        (metadata["groups"].as_str(), metadata["grants"].as_str()),
        ("0", "4")
    );
    assert_eq!(world.database.snapshot(), before);

    acme.scim.delete(&format!("/Groups/{group}")).await.is(204);
    let before = world.database.snapshot();
    let version = rpc
        .list_roles()
        .await
        .iter()
        .find(|role| role.id == billing)
        .unwrap()
        .version;
    let stale = delete_role(&acme, &billing, true, &[version + 1], false).await;
    let (why, metadata) = refused(stale, Code::Aborted);
    assert_eq!(
        (why.as_str(), metadata["version"].clone()),
        ("VERSION_MISMATCH", version.to_string())
    );
    let dry = delete_role(&acme, &billing, true, &[version], true)
        .await
        .unwrap();
    assert_eq!(world.database.snapshot(), before);
    let mut receipt = delete_role(&acme, &billing, true, &[version], false)
        .await
        .unwrap();
    let mut active = [ids[0].clone(), ids[1].clone()];
    active.sort();
    assert_eq!((receipt.members, receipt.lost, receipt.gained), (3, 2, 0));
    assert_eq!(receipt.access_changes.len(), 1);
    let change = &receipt.access_changes[0];
    assert_eq!(target_name(change.target.as_ref()), "Billing");
    assert_eq!(change.lost_member_ids, active);
    // The dry run told the same, but for the revision that it did not make.
    receipt.revision -= 1;
    assert_eq!(dry, receipt);

    // It is one event, which tells the whole effect, and nobody has it any more, Cid neither.
    let event = rpc.events().await.pop().unwrap();
    assert_eq!(
        (event.kind.as_str(), event.subject_id.as_str()),
        ("role.deleted", billing.as_str())
    );
    assert_eq!(event.access_changes, receipt.access_changes);
    assert_eq!(event.number, receipt.revision + 1);
    rpc.set_active(&ids[2], true).await.unwrap();
    for name in ["ann", "bob", "cid"] {
        let access = rpc.access(&format!("{name}@acme.example")).await;
        assert!(access.roles.is_empty(), "{name}: {access:?}");
        assert_eq!(access.entities, ["UK Ltd"]);
    }
    let ann = rpc
        .get_member(by_user_name("ann@acme.example"))
        .await
        .unwrap();
    assert!(ann.entitlements.unwrap().roles.is_empty());

    let receipt = delete_entity(&acme, &uk, true, &[]).await.unwrap();
    assert_eq!((receipt.members, receipt.lost), (3, 3));
    for name in ["ann", "bob", "cid"] {
        let access = rpc.access(&format!("{name}@acme.example")).await;
        assert_eq!((access.entities.len(), access.reach.as_str()), (0, "none"));
    }
    world.database.check_events(&acme.id);

    // What nothing gives needs no such demand; a built-in role is not deleted on any.
    let spare = acme.make_role("Spare", &[]).await;
    let receipt = delete_role(&acme, &spare, false, &[], false).await.unwrap();
    assert_eq!(
        (receipt.members, receipt.lost, receipt.changed),
        (0, 0, true)
    );
    let owner = rpc
        .list_roles()
        .await
        .into_iter()
        .find(|role| role.name == "Owner");
    let outcome = delete_role(&acme, &owner.unwrap().id, true, &[], false).await;
    assert_eq!(reason(outcome, Code::FailedPrecondition), "FIELD_IMMUTABLE");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_update_and_deletion_can_ask_for_a_version() {
    let world = World::start().await;
    let acme = world.acme().await;
    let rpc = &acme.rpc;
    let ann = rpc.make_member("ann@acme.example").await;
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[]).await;
    let custom = acme.make_role("Custom", &[]).await;
    let uk = acme.make_entity("UK Ltd").await;
    let before = world.database.snapshot();
    let if_versions = vec![1, 2];
    let mask = identity_tests::writes::mask;
    let caller = &rpc.caller;
    let mut outcomes: Vec<Result<(), Status>> = Vec::new();
    let request = caller.request(pb::UpdateMemberRequest {
        member_id: ann.clone(),
        values: Some(pb::Member::default()),
        update_mask: mask(&["active"]),
        if_versions: if_versions.clone(),
        ..Default::default()
    });
    outcomes.push(caller.members().update_member(request).await.map(drop));
    let request = caller.request(pb::DeleteMemberRequest {
        member_id: ann,
        if_versions: if_versions.clone(),
        ..Default::default()
    });
    outcomes.push(caller.members().delete_member(request).await.map(drop));
    let request = caller.request(pb::UpdateGroupRequest {
        group_id: group.clone(),
        external_id: Some("x".to_owned()),
        if_versions: if_versions.clone(),
        ..Default::default()
    });
    outcomes.push(rpc.groups().update_group(request).await.map(drop));
    let request = caller.request(pb::DeleteGroupRequest {
        group_id: group,
        if_versions: if_versions.clone(),
        ..Default::default()
    });
    outcomes.push(rpc.groups().delete_group(request).await.map(drop));
    let request = caller.request(pb::UpdateRoleRequest {
        role_id: custom.clone(),
        values: Some(pb::Role {
            name: "New".to_owned(),
            ..Default::default()
        }),
        update_mask: mask(&["name"]),
        if_versions: if_versions.clone(),
        ..Default::default()
    });
    outcomes.push(caller.roles().update_role(request).await.map(drop));
    outcomes.push(
        delete_role(&acme, &custom, false, &if_versions, false)
            .await
            .map(drop),
    );
    let request = caller.request(pb::UpdateBusinessEntityRequest {
        business_entity_id: uk.clone(),
        values: Some(pb::BusinessEntity {
            name: "New".to_owned(),
            ..Default::default()
        }),
        update_mask: mask(&["name"]),
        if_versions: if_versions.clone(),
        ..Default::default()
    });
    let mut entities = caller.business_entities();
    outcomes.push(entities.update_business_entity(request).await.map(drop));
    outcomes.push(
        delete_entity(&acme, &uk, false, &if_versions)
            .await
            .map(drop),
    );
    for (at, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(reason(outcome, Code::Aborted), "VERSION_MISMATCH", "{at}");
    }
    assert_eq!(world.database.snapshot(), before);
}
