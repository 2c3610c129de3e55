//! Roles and business entities: made, renamed, limited, and kept while something gives them.

use identity_proto::v1 as pb;
use identity_tests::{
    rpc::{by_id, by_user_name, entity, role},
    world::World,
    writes::{reason, refused},
};
use serde_json::json;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_site_has_the_built_in_roles_and_they_stay() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let roles = acme.rpc.list_roles().await;
    let names: Vec<&str> = roles.iter().map(|role| role.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "Admin",
            "Analyst",
            "Customer Support",
            "Finance Executive",
            "Owner",
            "Sales Agent",
            "Sales Manager",
            "Tech Support",
        ]
    );
    let permissions = |name: &str| {
        &roles
            .iter()
            .find(|role| role.name == name)
            .unwrap()
            .permissions
    };
    let has_all_of = |more: &str, less: &str| {
        permissions(less)
            .iter()
            .all(|permission| permissions(more).contains(permission))
    };
    for (more, less) in [
        ("Owner", "Admin"),
        ("Analyst", "Tech Support"),
        ("Sales Agent", "Tech Support"),
        ("Customer Support", "Sales Agent"),
        ("Sales Manager", "Customer Support"),
    ] {
        assert!(
            has_all_of(more, less) && !has_all_of(less, more),
            "{more}, {less}"
        );
    }
    assert!(!permissions("Finance Executive").contains(&"settings.view".to_owned()));
    assert!(!permissions("Customer Support").contains(&"customers.delete".to_owned()));

    let before = world.database.snapshot();
    for built_in in &roles {
        assert!(built_in.built_in);
        let values = pb::Role {
            name: "Other".to_owned(),
            ..Default::default()
        };
        let renamed = acme.rpc.update_role(&built_in.id, values, &["name"]).await;
        assert_eq!(reason(renamed, Code::FailedPrecondition), "FIELD_IMMUTABLE");
        let deleted = acme.rpc.delete_role(&built_in.id).await;
        assert_eq!(reason(deleted, Code::FailedPrecondition), "FIELD_IMMUTABLE");
    }
    let taken = acme.rpc.create_role("  tech SUPPORT", &[]).await;
    assert_eq!(reason(taken, Code::AlreadyExists), "ROLE_NAME_TAKEN");
    assert_eq!(world.database.snapshot(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_roles_are_limited_by_a_setting() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let mut ids = Vec::new();
    for n in 1..=10 {
        ids.push(acme.make_role(&format!("Custom {n}"), &[]).await);
    }
    let (name, metadata) = refused(
        acme.rpc.create_role("Custom 11", &[]).await,
        Code::ResourceExhausted,
    );
    assert_eq!(
        (name.as_str(), metadata["maximum"].as_str()),
        ("LIMIT_EXCEEDED", "10")
    );
    // A deleted one makes room, and frees its name.
    acme.rpc.delete_role(&ids[0]).await.unwrap();
    acme.make_role("custom 1", &[]).await;
    let limit = |custom_role_limit| pb::Site {
        custom_role_limit,
        ..Default::default()
    };
    let paths = &["custom_role_limit"];
    acme.rpc.update_site(limit(11), paths).await.unwrap();
    acme.make_role("Custom 11", &[]).await;
    // Lowered, it takes nothing away.
    acme.rpc.update_site(limit(2), paths).await.unwrap();
    assert_eq!(acme.rpc.list_roles().await.len(), 8 + 11);
    let over = acme.rpc.create_role("Custom 12", &[]).await;
    assert_eq!(reason(over, Code::ResourceExhausted), "LIMIT_EXCEEDED");
    for bad in [-1, 1001] {
        let outcome = acme.rpc.update_site(limit(bad), paths).await;
        assert_eq!(reason(outcome, Code::InvalidArgument), "FIELD_INVALID");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_changes_for_everybody_who_has_it_and_keeps_its_groups() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let id = acme.make_role("Billing", &["invoices.view"]).await;
    let group = acme.scim.make_group("CB/acme/ROLE/billing", &[&ann]).await;
    let path = format!("/Groups/{group}");
    let permissions = || async {
        let access = acme.rpc.list_member_access(by_id(&ann)).await.unwrap();
        access.permissions
    };
    assert_eq!(permissions().await, ["invoices.view"]);
    let values = pb::Role {
        permissions: vec![
            "invoices.send".to_owned(),
            "invoices.view".to_owned(),
            "invoices.send".to_owned(),
        ],
        ..Default::default()
    };
    let updated = acme
        .rpc
        .update_role(&id, values.clone(), &["permissions"])
        .await
        .unwrap();
    assert_eq!(permissions().await, ["invoices.send", "invoices.view"]);
    let same = acme
        .rpc
        .update_role(&id, values, &["permissions"])
        .await
        .unwrap();
    assert!(!same.receipt.unwrap().changed);
    assert_eq!(same.role.unwrap().version, updated.role.unwrap().version);

    let name = |name: &str| pb::Role {
        name: name.to_owned(),
        ..Default::default()
    };
    acme.rpc
        .update_role(&id, name("Invoicing"), &["name"])
        .await
        .unwrap();
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Invoicing"]);
    // The stored name comes with every push; it is not read again.
    let push = json!([{ "op": "replace", "value": { "id": group, "displayName": "CB/acme/ROLE/billing" } }]);
    acme.scim.patch(&path, push).await.is(204);
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Invoicing"]);

    let unknown = pb::Role {
        permissions: vec!["no.such".to_owned()],
        ..Default::default()
    };
    for outcome in [
        acme.rpc.update_role(&id, unknown, &["permissions"]).await,
        acme.rpc.update_role(&id, name(""), &["name"]).await,
        acme.rpc.update_role(&id, name("x"), &["built_in"]).await,
    ] {
        assert_eq!(reason(outcome, Code::InvalidArgument), "FIELD_INVALID");
    }
    let taken = acme.rpc.update_role(&id, name("ADMIN"), &["name"]).await;
    assert_eq!(reason(taken, Code::AlreadyExists), "ROLE_NAME_TAKEN");

    // Kept while something gives it, and gone for good after that.
    let grant = acme
        .rpc
        .grant("ann@acme.example", role("invoicing"))
        .await
        .unwrap();
    let (why, metadata) = refused(acme.rpc.delete_role(&id).await, Code::FailedPrecondition);
    assert_eq!(why, "STILL_GRANTS");
    assert_eq!(
        (metadata["groups"].as_str(), metadata["grants"].as_str()),
        ("1", "1")
    );
    acme.scim.delete(&path).await.is(204);
    refused(acme.rpc.delete_role(&id).await, Code::FailedPrecondition);
    acme.rpc.end_grant(&grant).await.unwrap();
    acme.rpc.delete_role(&id).await.unwrap();
    let gone = acme.rpc.delete_role(&id).await;
    assert_eq!(reason(gone, Code::NotFound), "ROLE_NOT_FOUND");
    let again = acme.make_role("Invoicing", &["data.export"]).await;
    assert_ne!(again, id);
    assert!(permissions().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_changes_only_at_the_version_that_was_seen() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let id = acme.make_role("Billing", &[]).await;
    let version = acme.rpc.get_site().await.revision;
    let update = |if_versions: Vec<i64>, name: &str| {
        let request = pb::UpdateRoleRequest {
            role_id: id.clone(),
            values: Some(pb::Role {
                name: name.to_owned(),
                ..Default::default()
            }),
            update_mask: identity_tests::writes::mask(&["name"]),
            if_versions,
            ..Default::default()
        };
        let request = acme.rpc.caller.request(request);
        let mut client = acme.rpc.caller.roles();
        async move { client.update_role(request).await }
    };
    let (why, metadata) = refused(update(vec![version + 1], "B").await, Code::Aborted);
    assert_eq!(why, "VERSION_MISMATCH");
    assert_eq!(metadata["version"], version.to_string());
    update(vec![1, version], "B").await.unwrap();
    refused(update(vec![version], "C").await, Code::Aborted);
}

#[tokio::test(flavor = "multi_thread")]
async fn business_entities_keep_their_handle_and_what_is_bound_to_them() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let entities = acme.rpc.list_entities().await;
    let shown: Vec<(&str, &str)> = entities
        .iter()
        .map(|entity| (entity.name.as_str(), entity.handle.as_str()))
        .collect();
    assert_eq!(shown, [("EU GmbH", "eu-gmbh"), ("US Inc", "us-inc")]);
    let id = entities[0].id.clone();

    let given = acme.rpc.create_entity("株式会社", "japan").await.unwrap();
    assert_eq!(given.business_entity.unwrap().handle, "japan");
    let handleless = acme.rpc.create_entity("有限会社", "").await.unwrap();
    assert!(!handleless.business_entity.unwrap().handle.is_empty());
    for (name, handle, expected) in [
        ("eu gmbh", "", "BUSINESS_ENTITY_NAME_TAKEN"),
        ("Nippon", "japan", "BUSINESS_ENTITY_HANDLE_TAKEN"),
    ] {
        let outcome = acme.rpc.create_entity(name, handle).await;
        assert_eq!(reason(outcome, Code::AlreadyExists), expected);
    }
    for (name, handle) in [("", ""), ("X", "Not A Handle"), ("X", "-x"), ("X\u{7}", "")] {
        let outcome = acme.rpc.create_entity(name, handle).await;
        assert_eq!(reason(outcome, Code::InvalidArgument), "FIELD_INVALID");
    }

    let group = acme.scim.make_group("CB/acme/BE/EU GmbH", &[&ann]).await;
    let renamed = pb::BusinessEntity {
        name: "EU SE".to_owned(),
        handle: "eu-se".to_owned(),
        ..Default::default()
    };
    let handle = acme
        .rpc
        .update_entity(&id, renamed.clone(), &["handle"])
        .await;
    assert_eq!(reason(handle, Code::InvalidArgument), "FIELD_INVALID");
    let updated = acme
        .rpc
        .update_entity(&id, renamed, &["name"])
        .await
        .unwrap()
        .business_entity
        .unwrap();
    assert_eq!(
        (updated.name.as_str(), updated.handle.as_str()),
        ("EU SE", "eu-gmbh")
    );
    assert_eq!(
        acme.rpc.access("ann@acme.example").await.entities,
        ["EU SE"]
    );

    let (why, metadata) = refused(acme.rpc.delete_entity(&id).await, Code::FailedPrecondition);
    assert_eq!(
        (why.as_str(), metadata["groups"].as_str()),
        ("STILL_GRANTS", "1")
    );
    acme.scim.delete(&format!("/Groups/{group}")).await.is(204);
    acme.rpc.delete_entity(&id).await.unwrap();
    let gone = acme.rpc.delete_entity(&id).await;
    assert_eq!(reason(gone, Code::NotFound), "BUSINESS_ENTITY_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_divided_once_and_says_what_members_without_an_entity_reach() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    for name in ["none", "one", "admin", "gone"] {
        acme.scim.make_user(&format!("{name}@acme.example")).await;
    }
    let reach = |name: &'static str| {
        let rpc = acme.rpc.clone();
        async move { rpc.access(&format!("{name}@acme.example")).await.reach }
    };
    acme.make_entity("EU GmbH").await;
    acme.rpc
        .grant("one@acme.example", entity("EU GmbH"))
        .await
        .unwrap();
    acme.rpc
        .grant("admin@acme.example", role("Admin"))
        .await
        .unwrap();
    let gone = acme
        .rpc
        .get_member(by_user_name("gone@acme.example"))
        .await
        .unwrap();
    acme.rpc.set_active(&gone.id, false).await.unwrap();
    // On an undivided site roles reach all of it, whatever entities there are.
    assert!(!acme.rpc.get_site().await.divided);
    for (name, expected) in [
        ("none", "all"),
        ("one", "all"),
        ("admin", "all"),
        ("gone", "none"),
    ] {
        assert_eq!(reach(name).await, expected, "{name}, undivided");
    }
    let early = pb::Site {
        unassigned_reach: pb::Reach::All.into(),
        ..Default::default()
    };
    let outcome = acme
        .rpc
        .update_site(early.clone(), &["unassigned_reach"])
        .await;
    assert_eq!(reason(outcome, Code::FailedPrecondition), "SITE_UNDIVIDED");
    for bad in [pb::Reach::Unspecified, pb::Reach::Listed] {
        let outcome = acme.rpc.divide(bad).await;
        assert_eq!(reason(outcome, Code::InvalidArgument), "FIELD_INVALID");
    }

    let divided = acme.rpc.divide(pb::Reach::None).await.unwrap();
    // `none` and `one` reach less from now on; Owner, Admin and who is inactive do not.
    assert_eq!(divided.receipt.unwrap().members, 2);
    for (name, expected) in [
        ("none", "none"),
        ("one", "listed"),
        ("admin", "all"),
        ("owner", "all"),
        ("gone", "none"),
    ] {
        assert_eq!(reach(name).await, expected, "{name}, divided");
    }
    let twice = acme.rpc.divide(pb::Reach::All).await;
    assert_eq!(reason(twice, Code::FailedPrecondition), "SITE_DIVIDED");
    let changed = acme
        .rpc
        .update_site(early, &["unassigned_reach"])
        .await
        .unwrap();
    assert_eq!(changed.receipt.unwrap().members, 1);
    for (name, expected) in [("none", "all"), ("one", "listed"), ("gone", "none")] {
        assert_eq!(reach(name).await, expected, "{name}, unassigned reach all");
    }
    // Making and deleting entities divides nothing and undoes nothing.
    let made = acme.make_entity("US Inc").await;
    acme.rpc.delete_entity(&made).await.unwrap();
    assert!(acme.rpc.get_site().await.divided);
    assert_eq!(reach("none").await, "all");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_owner_alone_may_no_custom_role_gives() {
    let world = World::start().await;
    let acme = world.acme().await;
    let outcome = acme
        .rpc
        .create_role("Heir", &["invoices.view", "site.own"])
        .await;
    let status = outcome.unwrap_err();
    assert!(
        status
            .message()
            .contains("\"site.own\", which the Owner role alone has"),
        "{status:?}"
    );
    let heir = acme.make_role("Heir", &["invoices.view"]).await;
    let values = identity_proto::v1::Role {
        permissions: vec!["site.own".to_owned()],
        ..Default::default()
    };
    let outcome = acme.rpc.update_role(&heir, values, &["permissions"]).await;
    assert_eq!(outcome.unwrap_err().code(), tonic::Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_permissions_counts_those_who_hold_the_role() {
    let world = World::start().await;
    let acme = world.acme().await;
    let role_id = acme.make_role("Auditor", &["invoices.view"]).await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c", "d"] {
        ids.push(acme.rpc.make_member(&format!("{name}@acme.example")).await);
    }
    // One by a group, one directly, one by both, one who is not active.
    acme.scim
        .make_group("CB/acme/ROLE/Auditor", &[&ids[0], &ids[1], &ids[3]])
        .await;
    for name in ["b@acme.example", "c@acme.example"] {
        acme.rpc
            .grant(name, identity_tests::rpc::role("Auditor"))
            .await
            .unwrap();
    }
    acme.rpc.set_active(&ids[3], false).await.unwrap();
    let change = async |permissions: &[&str], name: &str| {
        let values = identity_proto::v1::Role {
            name: name.to_owned(),
            permissions: permissions.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        let answer = acme
            .rpc
            .update_role(&role_id, values, &["name", "permissions"])
            .await;
        answer.unwrap().receipt.unwrap()
    };
    let receipt = change(&["invoices.view", "invoices.send"], "Auditor").await;
    assert_eq!((receipt.members, receipt.gained, receipt.lost), (3, 0, 0));
    let event = acme.rpc.events().await.pop().unwrap();
    assert_eq!(
        (event.kind.as_str(), event.members),
        ("role.updated", Some(3))
    );
    // A new name changes nothing of what anybody may do.
    let receipt = change(&["invoices.view", "invoices.send"], "Controller").await;
    assert_eq!((receipt.changed, receipt.members), (true, 0));
}
