//! A site always has an active Owner, whoever asks for what and however many ask at once.

use identity_proto::v1::{self as pb, grant::Source};
use identity_tests::{
    database::Database,
    rpc::{by_id, by_user_name, role},
    scim,
    world::{OWNER, Site, World},
    writes::reason,
};
use serde_json::json;
use tonic::Code;

async fn owner_id(site: &Site) -> String {
    let owner = site.rpc.get_member(by_user_name(OWNER)).await.unwrap();
    owner.id
}

/// The id of the direct grant by which a member is an Owner.
async fn owner_grant(site: &Site, member: &str) -> String {
    let access = site.rpc.list_member_access(by_id(member)).await.unwrap();
    let grants = access.roles.iter().flat_map(|role| &role.grants);
    for grant in grants.chain(&access.suspended) {
        let name = identity_tests::rpc::target_name(grant.target.as_ref());
        if let (Some(Source::Direct(direct)), "Owner") = (&grant.source, name.as_str()) {
            return direct.grant_id.clone();
        }
    }
    panic!("no Owner: {access:?}")
}

fn active_owners(database: &Database) -> i64 {
    database.number(
        "SELECT count(DISTINCT g.member_id) AS n FROM grants g JOIN roles r USING (site_id, role_id) \
         JOIN members m USING (site_id, member_id) WHERE r.built_in = 'owner' AND g.to_event IS NULL \
           AND m.active AND m.deleted_event IS NULL",
    )
}

fn deactivate() -> serde_json::Value {
    json!([{ "op": "replace", "value": { "active": false } }])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_active_owner_stays_whoever_asks() {
    let world = World::start().await;
    let acme = world.acme().await;
    let owner = owner_id(&acme).await;
    let path = format!("/Users/{owner}");
    let grant = owner_grant(&acme, &owner).await;
    let before = world.database.snapshot();

    let mut put = acme.scim.get(&path).await.is(200).body;
    put["active"] = json!(false);
    for answer in [
        acme.scim.patch(&path, deactivate()).await,
        acme.scim.put(&path, &put).await,
        acme.scim.delete(&path).await,
    ] {
        let detail = answer.error(403, "");
        assert!(detail.contains("acme"), "{detail}");
        assert!(
            detail.contains("Make another active member an Owner"),
            "{detail}"
        );
    }
    let denied = Code::PermissionDenied;
    assert_eq!(
        reason(acme.rpc.set_active(&owner, false).await, denied),
        "LAST_OWNER"
    );
    assert_eq!(
        reason(acme.rpc.delete_member(&owner).await, denied),
        "LAST_OWNER"
    );
    assert_eq!(
        reason(acme.rpc.end_grant(&grant).await, denied),
        "LAST_OWNER"
    );
    assert_eq!(world.database.snapshot(), before);

    // Another Owner counts only while active.
    let bea = acme.scim.make_user("bea@acme.example").await;
    acme.rpc
        .grant("bea@acme.example", role("Owner"))
        .await
        .unwrap();
    acme.rpc.set_active(&bea, false).await.unwrap();
    acme.scim.patch(&path, deactivate()).await.error(403, "");
    acme.rpc.set_active(&bea, true).await.unwrap();
    acme.scim.patch(&path, deactivate()).await.is(200);
    assert_eq!(
        reason(acme.rpc.set_active(&bea, false).await, denied),
        "LAST_OWNER"
    );
    // Who is inactive leaves no gap by losing the role, or by leaving.
    acme.rpc.end_grant(&grant).await.unwrap();
    acme.scim.delete(&path).await.is(204);
    assert_eq!(active_owners(&world.database), 1);
    acme.scim
        .delete(&format!("/Users/{bea}"))
        .await
        .error(403, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owners_user_name_changes_over_scim_only_in_case() {
    let world = World::start().await;
    let acme = world.acme().await;
    let owner = owner_id(&acme).await;
    let path = format!("/Users/{owner}");
    let rename = |name: &str| json!([{ "op": "replace", "path": "userName", "value": name }]);

    let shown = acme.scim.patch(&path, rename("Owner@ACME.example")).await;
    assert_eq!(shown.is(200).body["userName"], "Owner@ACME.example");
    let before = world.database.snapshot();
    let detail = acme
        .scim
        .patch(&path, rename("else@acme.example"))
        .await
        .error(403, "");
    assert!(detail.contains("identity provider"), "{detail}");
    let mut put = acme.scim.get(&path).await.body;
    put["userName"] = json!("else@acme.example");
    acme.scim.put(&path, &put).await.error(403, "");
    assert_eq!(world.database.snapshot(), before);
    // Everything else about an Owner changes as it does of others.
    put["userName"] = json!("owner@acme.example");
    put["title"] = json!("Founder");
    assert_eq!(
        acme.scim.put(&path, &put).await.is(200).body["title"],
        "Founder"
    );

    // An inactive Owner is one too.
    acme.scim.make_user("bea@acme.example").await;
    acme.rpc
        .grant("bea@acme.example", role("Owner"))
        .await
        .unwrap();
    acme.scim.patch(&path, deactivate()).await.is(200);
    acme.scim
        .patch(&path, rename("else@acme.example"))
        .await
        .error(403, "");

    // An operator may, and everybody once the role is gone.
    let values = pb::Member {
        user_name: "operator@acme.example".to_owned(),
        ..Default::default()
    };
    acme.rpc
        .update_member(&owner, values, &["user_name"])
        .await
        .unwrap();
    let grant = owner_grant(&acme, &owner).await;
    acme.rpc.end_grant(&grant).await.unwrap();
    acme.scim
        .patch(&path, rename("else@acme.example"))
        .await
        .is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_group_and_no_attribute_gives_the_owner_role() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let before = world.database.snapshot();
    for name in ["CB/acme/ROLE/Owner", "CB/ACME/ROLE/ owner "] {
        acme.scim
            .post("/Groups", &scim::group(name, &[&ann]))
            .await
            .error(400, "invalidValue");
    }
    let request = pb::CreateGroupRequest {
        display_name: "owners".to_owned(),
        target: Some(pb::TargetByName {
            kind: pb::TargetKind::Role.into(),
            name: "OWNER".to_owned(),
            site_domain: String::new(),
        }),
        ..Default::default()
    };
    let outcome = acme
        .rpc
        .groups()
        .create_group(acme.rpc.caller.request(request))
        .await;
    assert_eq!(
        reason(outcome, Code::InvalidArgument),
        "OWNER_NOT_GRANTABLE"
    );
    assert_eq!(world.database.snapshot(), before);

    let mut with_roles = scim::user("bob@acme.example");
    with_roles["roles"] = json!([{ "value": "Owner" }]);
    with_roles["entitlements"] = json!([{ "value": "Owner" }]);
    acme.scim
        .post("/Users", &with_roles)
        .await
        .error(400, "invalidValue");
    assert_eq!(world.database.snapshot(), before);
    acme.scim.make_user("bob@acme.example").await;

    // Nor does a group that is renamed towards it.
    let analysts = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    let rename = json!([{ "op": "replace", "path": "displayName", "value": "CB/acme/ROLE/Owner" }]);
    acme.scim
        .patch(&format!("/Groups/{analysts}"), rename)
        .await
        .error(400, "invalidValue");
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Analyst"]);
}

/// How an Owner is removed.
#[derive(Clone, Copy, Debug)]
enum Removal {
    DeactivateOverScim,
    DeactivateOverGrpc,
    DeleteOverScim,
    EndGrant,
}

async fn remove(site: &Site, member: &str, how: Removal) -> bool {
    let path = format!("/Users/{member}");
    let denied = |status: u16| match status {
        200 | 204 => true,
        403 => false,
        other => panic!("{other}"),
    };
    let allowed = |outcome: Result<(), tonic::Status>| match outcome {
        Ok(()) => true,
        Err(status) => {
            assert_eq!(
                reason(Err::<(), _>(status), Code::PermissionDenied),
                "LAST_OWNER"
            );
            false
        }
    };
    match how {
        Removal::DeactivateOverScim => {
            denied(site.scim.patch(&path, deactivate()).await.status.as_u16())
        }
        Removal::DeleteOverScim => denied(site.scim.delete(&path).await.status.as_u16()),
        Removal::DeactivateOverGrpc => {
            allowed(site.rpc.set_active(member, false).await.map(|_| ()))
        }
        Removal::EndGrant => {
            let grant = owner_grant(site, member).await;
            allowed(site.rpc.end_grant(&grant).await.map(|_| ()))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_racing_removals_leave_one_owner() {
    let world = World::start().await;
    let acme = world.acme().await;
    let mut last = owner_id(&acme).await;
    let ways = [
        Removal::DeactivateOverScim,
        Removal::DeactivateOverGrpc,
        Removal::DeleteOverScim,
        Removal::EndGrant,
    ];
    for (round, (first, second)) in ways
        .iter()
        .flat_map(|first| ways.iter().map(move |second| (*first, *second)))
        .enumerate()
    {
        let user_name = format!("o{round}@acme.example");
        let other = acme.scim.make_user(&user_name).await;
        acme.rpc.grant(&user_name, role("Owner")).await.unwrap();
        assert_eq!(active_owners(&world.database), 2);
        let (one, two) = tokio::join!(remove(&acme, &last, first), remove(&acme, &other, second));
        assert!(one ^ two, "{first:?} and {second:?}: {one}, {two}");
        assert_eq!(
            active_owners(&world.database),
            1,
            "{first:?} and {second:?}"
        );
        if one {
            last = other;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_writes_members_may_put_out_a_second_owner_and_never_the_last() {
    let world = World::start().await;
    let acme = world.acme().await;
    let (token, _) = world.issue("acme", &[pb::Scope::WriteMembers]).await;
    let writer = identity_tests::rpc::Rpc {
        caller: world.caller(&token),
        site: None,
    };
    let denied = Code::PermissionDenied;
    let owner = owner_id(&acme).await;
    let before = world.database.snapshot();
    let off = writer.set_active(&owner, false).await;
    assert_eq!(reason(off, denied), "LAST_OWNER");
    let gone = writer.delete_member(&owner).await;
    assert_eq!(reason(gone, denied), "LAST_OWNER");
    assert_eq!(world.database.snapshot(), before);

    // Beside another active Owner, one is a member like others: what the scope allows is to end memberships,
    // the rule is that an Owner stays.
    let bea = acme.rpc.make_member("bea@acme.example").await;
    let granted = acme.rpc.grant("bea@acme.example", role("Owner")).await;
    let granted = granted.unwrap();
    let receipt = writer.set_active(&bea, false).await.unwrap().receipt;
    assert_eq!(receipt.unwrap().lost, 1);
    assert_eq!(active_owners(&world.database), 1);
    let back = writer.set_active(&bea, true).await.unwrap().receipt;
    assert_eq!(back.unwrap().gained, 1);
    let gone = writer.delete_member(&bea).await.unwrap().receipt;
    assert_eq!(gone.unwrap().lost, 1);
    assert_eq!(active_owners(&world.database), 1);
    let last = writer.delete_member(&owner).await;
    assert_eq!(reason(last, denied), "LAST_OWNER");
    // It neither gives the role nor takes it, and an Owner is not made another person.
    let given = writer.grant("owner@acme.example", role("Owner")).await;
    assert_eq!(reason(given, denied), "SCOPE_MISSING");
    let taken = writer.end_grant(&granted).await;
    assert_eq!(reason(taken, denied), "SCOPE_MISSING");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_owners_whom_writers_of_members_put_out_at_once_one_stays() {
    let world = World::start().await;
    let acme = world.acme().await;
    let (token, _) = world.issue("acme", &[pb::Scope::WriteMembers]).await;
    let writer = identity_tests::rpc::Rpc {
        caller: world.caller(&token),
        site: None,
    };
    let mut owner = owner_id(&acme).await;
    for round in 0..6 {
        let name = format!("owner{round}@acme.example");
        let second = acme.rpc.make_member(&name).await;
        acme.rpc.grant(&name, role("Owner")).await.unwrap();
        let (one, other) = tokio::join!(
            writer.delete_member(&owner),
            writer.set_active(&second, false)
        );
        assert_eq!(active_owners(&world.database), 1);
        match (one, other) {
            (Ok(_), refused) => {
                assert_eq!(reason(refused, Code::PermissionDenied), "LAST_OWNER");
                owner = second;
            }
            (refused, Ok(_)) => {
                assert_eq!(reason(refused, Code::PermissionDenied), "LAST_OWNER");
            }
            both => panic!("{both:?}"),
        }
    }
}
