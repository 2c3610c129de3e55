//! Okta's life cycle from end to end: people and groups come over SCIM, and after each step identity
//! tells who may do what, and why.

use identity_proto::v1::grant::Source;
use identity_tests::{rpc::by_id, world::World};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn access_follows_each_step() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("Ann@Acme.example").await;
    assert_eq!(acme.rpc.access("ann@acme.example").await.reach, "none");

    let analysts = acme.scim.make_group("CB/acme/ROLE/Analyst", &[]).await;
    let path = format!("/Groups/{analysts}");
    acme.scim
        .patch(&path, json!([{ "op": "replace", "value": { "id": analysts, "displayName": "CB/acme/ROLE/Analyst" } }]))
        .await
        .is(204);
    acme.scim
        .patch(&path, json!([{ "op": "add", "path": "members", "value": [{ "value": ann, "display": "ann" }] }]))
        .await
        .is(204);
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Analyst"]);
    let access = acme.rpc.list_member_access(by_id(&ann)).await.unwrap();
    let Some(Source::Group(source)) = &access.roles[0].grants[0].source else {
        panic!("{access:?}")
    };
    assert_eq!(source.group_id, analysts);

    // A rename moves the membership.
    acme.scim
        .patch(&path, json!([{ "op": "replace", "value": { "id": analysts, "displayName": "CB/acme/ROLE/Sales Agent" } }]))
        .await
        .is(204);
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Sales Agent"]);

    // Deactivating ends all access at once, and no grant.
    let ann_path = format!("/Users/{ann}");
    acme.scim
        .patch(
            &ann_path,
            json!([{ "op": "replace", "value": { "active": false } }]),
        )
        .await
        .is(200);
    let access = acme.rpc.list_member_access(by_id(&ann)).await.unwrap();
    assert!(access.roles.is_empty() && access.permissions.is_empty());
    assert_eq!(access.suspended.len(), 1);
    acme.scim
        .patch(
            &ann_path,
            json!([{ "op": "replace", "value": { "active": true } }]),
        )
        .await
        .is(200);
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Sales Agent"]);

    acme.scim.delete(&path).await.is(204);
    assert_eq!(
        acme.rpc.roles("ann@acme.example").await,
        Vec::<String>::new()
    );
    acme.scim.get(&ann_path).await.is(200);
}
