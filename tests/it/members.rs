//! Members over their whole life: made, named, deleted, made again.

use identity_proto::v1 as pb;
use identity_tests::{
    rpc::{by_id, by_user_name, role},
    scim::USER,
    world::World,
    writes::{member, reason, refused},
};
use serde_json::json;
use tonic::Code;

/// Conformance: 19, 92.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_member_frees_its_user_name_and_nothing_comes_back() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("Ann@Acme.example").await;
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    let grant = acme
        .rpc
        .grant("ann@acme.example", role("Admin"))
        .await
        .unwrap();
    let version = acme.scim.get(&format!("/Groups/{group}")).await.body["meta"]["version"].clone();

    let deleted = acme.scim.delete(&format!("/Users/{ann}")).await.is(204);
    assert_eq!(
        deleted.header("roster-effect"),
        "members=1, skipped=0, gained=0, lost=2"
    );
    // Out of every answer about the present.
    acme.scim.get(&format!("/Users/{ann}")).await.error(404, "");
    acme.scim
        .delete(&format!("/Users/{ann}"))
        .await
        .error(404, "");
    let listed = acme.scim.get("/Users").await.is(200).body;
    assert_eq!(listed["totalResults"], 1);
    assert!(acme.scim.members(&group).await.is_empty());
    let shown = acme.scim.get(&format!("/Groups/{group}")).await.body;
    assert_ne!(
        shown["meta"]["version"], version,
        "the group shows one member less"
    );
    let gone = acme.rpc.list_member_access(by_id(&ann)).await;
    assert_eq!(reason(gone, Code::NotFound), "MEMBER_NOT_FOUND");
    let gone = acme.rpc.end_grant(&grant).await;
    assert_eq!(reason(gone, Code::NotFound), "GRANT_NOT_FOUND");

    // The same name is another member.
    let again = acme.scim.make_user("ann@acme.example").await;
    assert_ne!(again, ann);
    let access = acme.rpc.access("ann@acme.example").await;
    assert!(access.roles.is_empty() && access.entities.is_empty());
    assert!(acme.scim.members(&group).await.is_empty());
    // Put in by its old id, the old one stays away.
    let put_in = json!([{ "op": "add", "path": "members", "value": [{ "value": ann }] }]);
    let answer = acme.scim.patch(&format!("/Groups/{group}"), put_in).await;
    assert_eq!(
        answer.is(204).header("roster-effect"),
        "members=0, skipped=1, gained=0, lost=0"
    );

    // What was so stays: the events, and the rows that access followed from.
    let events = acme.rpc.events().await;
    let of_ann: Vec<&str> = events
        .iter()
        .filter(|event| event.subject_id == ann)
        .map(|event| event.kind.as_str())
        .collect();
    assert_eq!(of_ann, ["member.created", "member.deleted"]);
    let deletion = events
        .iter()
        .find(|event| event.kind == "member.deleted")
        .unwrap();
    for table in ["member_activity", "group_members", "grants"] {
        let ended = world.database.number(&format!(
            "SELECT count(*) AS n FROM {table} WHERE member_id = '{ann}' AND to_event = {}",
            deletion.number
        ));
        assert_eq!(ended, 1, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_made_over_grpc_has_a_full_name() {
    let world = World::start().await;
    let acme = world.acme().await;
    let before = world.database.snapshot();
    let mut nameless = member("ann@acme.example");
    nameless.profile = None;
    let mut half = member("ann@acme.example");
    half.profile
        .as_mut()
        .unwrap()
        .name
        .as_mut()
        .unwrap()
        .family_name
        .clear();
    for member in [nameless, half] {
        let (reason, metadata) =
            refused(acme.rpc.create_member(member).await, Code::InvalidArgument);
        assert_eq!(reason, "FIELD_INVALID");
        assert_eq!(metadata["field"], "profile.name");
    }
    assert_eq!(world.database.snapshot(), before);

    // An identity provider may know only the address.
    let body = json!({ "schemas": [USER], "userName": "bob@acme.example" });
    acme.scim.post("/Users", &body).await.is(201);
    let made = acme
        .rpc
        .create_member(member("ann@acme.example"))
        .await
        .unwrap();
    assert!(made.receipt.unwrap().changed);
    // It is found over SCIM, as one that an identity provider can adopt.
    let found = acme
        .scim
        .get("/Users?filter=userName%20eq%20%22ANN%40acme.example%22")
        .await
        .is(200)
        .body;
    assert_eq!(found["totalResults"], 1);
    assert_eq!(
        found["Resources"][0]["id"].as_str(),
        Some(made.member.unwrap().id.as_str())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_named_by_id_or_by_user_name_in_any_case() {
    let world = World::start().await;
    let acme = world.acme().await;
    let id = acme.rpc.make_member("Straße@Acme.example").await;
    for name in [
        by_id(&id),
        by_user_name("straße@acme.example"),
        by_user_name(" STRASSE@ACME.EXAMPLE "),
    ] {
        assert_eq!(acme.rpc.get_member(name).await.unwrap().id, id);
    }
    for nobody in [
        by_id("00u1"),
        by_id(""),
        by_user_name("x"),
        by_id(&acme.id),
        by_id(&id.to_uppercase()),
    ] {
        let outcome = acme.rpc.get_member(nobody).await;
        assert_eq!(reason(outcome, Code::NotFound), "MEMBER_NOT_FOUND");
    }
    let taken = acme.rpc.create_member(member("strasse@acme.example")).await;
    let (reason, metadata) = refused(taken, Code::AlreadyExists);
    assert_eq!((reason.as_str(), &metadata["id"]), ("USER_NAME_TAKEN", &id));
    for bad in ["", "no-at", "two@@x", "a@b@c", "a b@c", "a\u{0}@b"] {
        let (reason, metadata) = refused(
            acme.rpc.create_member(member(bad)).await,
            Code::InvalidArgument,
        );
        assert_eq!(
            (reason.as_str(), metadata["field"].as_str()),
            ("FIELD_INVALID", "user_name"),
            "{bad:?}"
        );
    }
    let long = format!("{}@{}", "a".repeat(127), "b".repeat(126));
    acme.rpc.make_member(&long).await;
    let longer = acme.rpc.create_member(member(&format!("{long}b"))).await;
    refused(longer, Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn deactivating_ends_access_and_no_grant() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    acme.scim.make_group("CB/acme/BE/EU GmbH", &[&ann]).await;
    let grant = acme
        .rpc
        .grant("ann@acme.example", role("Analyst"))
        .await
        .unwrap();
    let before = acme.rpc.access("ann@acme.example").await;
    assert_eq!(before.reach, "listed");

    let ended = acme.rpc.set_active(&ann, false).await.unwrap();
    let receipt = ended.receipt.unwrap();
    assert_eq!((receipt.members, receipt.gained, receipt.lost), (1, 0, 2));
    let member = ended.member.unwrap();
    let shown = member.access.clone().unwrap();
    assert!(shown.roles.is_empty() && shown.business_entities.is_empty());
    assert_eq!(shown.reach(), pb::Reach::None);
    assert_eq!(member.groups.len(), 1, "the membership stays");
    // What changes meanwhile shows when the member is back.
    acme.scim.make_group("CB/acme/ROLE/Admin", &[&ann]).await;
    acme.rpc.end_grant(&grant).await.unwrap();
    let access = acme.rpc.list_member_access(by_id(&ann)).await.unwrap();
    assert!(!access.active && access.roles.is_empty() && access.permissions.is_empty());
    assert_eq!(access.reach(), pb::Reach::None);
    assert_eq!(access.suspended.len(), 2);

    let back = acme.rpc.set_active(&ann, true).await.unwrap();
    let receipt = back.receipt.unwrap();
    assert_eq!((receipt.members, receipt.gained, receipt.lost), (1, 2, 0));
    let after = acme.rpc.access("ann@acme.example").await;
    assert_eq!(
        (after.roles, after.entities, after.reach.as_str()),
        (vec!["Admin".to_owned()], before.entities, "all")
    );
    // A member's own version moved with its own attributes only.
    let again = acme.rpc.set_active(&ann, true).await.unwrap();
    assert!(!again.receipt.unwrap().changed);
    assert_eq!(again.member.unwrap().version, back.member.unwrap().version);
}
