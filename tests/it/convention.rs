//! The convention for group names: what each name gives, what each refusal says.

use identity_proto::v1 as pb;
use identity_tests::{
    scim::{Scim, group},
    world::{Settings, Site, World},
};
use serde_json::json;

/// Asserts that a name is refused for a new group and for a present one, with nothing changed; answers
/// with the sentence.
async fn refused(world: &World, scim: &Scim, present: &str, name: &str) -> String {
    let before = world.database.snapshot();
    let created = scim
        .post("/Groups", &group(name, &[]))
        .await
        .error(400, "invalidValue");
    let rename = json!([{ "op": "replace", "value": { "id": present, "displayName": name } }]);
    let path = format!("/Groups/{present}");
    let patched = scim.patch(&path, rename).await.error(400, "invalidValue");
    let put = scim
        .put(&path, &group(name, &[]))
        .await
        .error(400, "invalidValue");
    assert_eq!(world.database.snapshot(), before, "{name}");
    let sentence = |detail: String| detail.rsplit_once(" (trace ").unwrap().0.to_owned();
    let created = sentence(created);
    assert_eq!(sentence(patched), created);
    assert_eq!(sentence(put), created);
    assert!(created.contains(&format!("{name:?}")), "{created}");
    created
}

async fn rename_role(site: &Site, id: &str, name: &str) {
    let caller = &site.rpc.caller;
    let request = pb::UpdateRoleRequest {
        role_id: id.to_owned(),
        values: Some(pb::Role {
            name: name.to_owned(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["name".to_owned()],
        }),
        ..Default::default()
    };
    caller
        .roles()
        .update_role(caller.request(request))
        .await
        .unwrap();
}

async fn rename_entity(site: &Site, id: &str, name: &str) {
    let caller = &site.rpc.caller;
    let request = pb::UpdateBusinessEntityRequest {
        business_entity_id: id.to_owned(),
        values: Some(pb::BusinessEntity {
            name: name.to_owned(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["name".to_owned()],
        }),
        ..Default::default()
    };
    let mut entities = caller.business_entities();
    entities
        .update_business_entity(caller.request(request))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_says_one_role_or_one_entity_in_any_script_and_case() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    acme.make_role("請求 / Straße/Größe", &["invoices.view"])
        .await;
    acme.make_entity("A/B: R&D, \"Ltd\" 'x' %_\\").await;
    acme.make_entity("ROLE").await;
    for (name, role, entity) in [
        ("CB/acme/ROLE/Sales Manager", "Sales Manager", ""),
        ("CB/ACME/ROLE/analyst", "Analyst", ""),
        ("CB/Acme/ROLE/  TECH support ", "Tech Support", ""),
        (
            "CB/acme/ROLE/請求 / STRASSE/größe",
            "請求 / Straße/Größe",
            "",
        ),
        // Full-width letters are the same name.
        ("CB/acme/ROLE/Ａｄｍｉｎ", "Admin", ""),
        ("CB/acme/BE/eu gmbh", "", "EU GmbH"),
        (
            "CB/acme/BE/a/b: r&d, \"LTD\" 'x' %_\\",
            "",
            "A/B: R&D, \"Ltd\" 'x' %_\\",
        ),
        ("CB/acme/BE/ROLE", "", "ROLE"),
    ] {
        let made = acme
            .scim
            .post("/Groups", &group(name, &[&ann]))
            .await
            .is(201);
        // Shown as it was sent.
        assert_eq!(made.body["displayName"], name);
        assert_eq!(
            made.header("roster-effect"),
            "members=1, skipped=0, gained=1, lost=0"
        );
        let access = acme.rpc.access("ann@acme.example").await;
        let named = |name: &str| {
            if name.is_empty() {
                vec![]
            } else {
                vec![name.to_owned()]
            }
        };
        assert_eq!(
            (access.roles, access.entities),
            (named(role), named(entity)),
            "{name}"
        );
        acme.scim
            .delete(&format!("/Groups/{}", made.id()))
            .await
            .is(204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_name_comes_with_what_was_wrong_and_what_was_expected() {
    let world = World::start().await;
    let acme = world.acme().await;
    acme.make_entity("Sales Office").await;
    let present = acme.scim.make_group("CB/acme/ROLE/Analyst", &[]).await;
    let expected_role = "Expected CB/acme/ROLE/<role name>.";
    let expected_entity = "Expected CB/acme/BE/<business entity name>.";
    let either = "Expected CB/acme/ROLE/<role name> or CB/acme/BE/<business entity name>.";
    for (name, says) in [
        (
            "CB/acme/ROLE/Analist",
            &[
                "acme has no role \"Analist\"",
                "Did you mean",
                "\"Analyst\"",
                expected_role,
            ][..],
        ),
        (
            "CB/acme/ROLE/Sales",
            &[
                "no role \"Sales\"",
                "\"Sales Agent\"",
                "\"Sales Manager\"",
                expected_role,
            ],
        ),
        (
            "CB/acme/ROLE/EU GmbH",
            &["no role \"EU GmbH\"", expected_role],
        ),
        (
            "CB/acme/BE/EU Gmb",
            &[
                "no business entity \"EU Gmb\"",
                "Did you mean \"EU GmbH\"?",
                expected_entity,
            ],
        ),
        (
            "CB/acme/BE/Analyst",
            &["no business entity \"Analyst\"", expected_entity],
        ),
        (
            "CB/acme/ROLE/Analyst/",
            &["no role \"Analyst/\"", "\"Analyst\""],
        ),
        // Another site, present or not, and a domain that is none.
        (
            "CB/other/ROLE/Admin",
            &[
                "belongs to the site acme",
                "says \"other\"",
                "Expected CB/acme/ROLE/Admin.",
            ],
        ),
        (
            "CB/nowhere!/BE/EU GmbH",
            &["belongs to the site acme", "Expected CB/acme/BE/EU GmbH."],
        ),
        // Owner, in any case.
        (
            "CB/acme/ROLE/Owner",
            &[
                "never given by a group",
                "another role: CB/acme/ROLE/<role name>.",
            ],
        ),
        ("CB/ACME/ROLE/ oWNER", &["never given by a group"]),
        // The literals are case-sensitive; the name that was meant is told.
        (
            "cb/acme/ROLE/Admin",
            &[
                "must begin with \"CB/\"",
                "Did you mean \"CB/acme/ROLE/Admin\"?",
                either,
            ],
        ),
        (
            "CB/acme/role/Admin",
            &[
                "third part must be ROLE or BE",
                "\"role\"",
                "Did you mean \"CB/acme/ROLE/Admin\"?",
            ],
        ),
        (
            "CB/acme/be/eu gmbh",
            &[
                "third part must be ROLE or BE",
                "Did you mean \"CB/acme/BE/EU GmbH\"?",
            ],
        ),
        (
            "CB/acme/Admin",
            &["four parts", "Did you mean \"CB/acme/ROLE/Admin\"?"],
        ),
        (
            "CB/acme/ROLE/ ",
            &["four parts", "Roles: Admin,", "Business entities: "],
        ),
        ("CB//ROLE/Admin", &["four parts", either]),
        // Outside the convention.
        (
            "Everyone",
            &[
                "does not say which role or business entity",
                either,
                "Sales Manager",
                "US Inc",
            ],
        ),
        (
            "Acme CB/acme/ROLE/Admin",
            &["does not say which", "Did you mean \"CB/acme/ROLE/Admin\"?"],
        ),
        ("CBX/acme/ROLE/Admin", &["does not say which"]),
    ] {
        let sentence = refused(&world, &acme.scim, &present, name).await;
        for part in says {
            assert!(sentence.contains(part), "{name}: {sentence}");
        }
        assert!(
            !sentence.contains("\"Owner\"") && !sentence.contains("Roles: Owner"),
            "{sentence}"
        );
        assert!(
            sentence.ends_with("Rename the group in the identity provider and push it again."),
            "{sentence}"
        );
    }
    // No name at all.
    for name in [
        json!(""),
        json!(null),
        json!("   "),
        json!(7),
        json!("CB/acme/ROLE/Ad\u{7}min"),
        json!("CB/acme/ROLE/\u{0}"),
    ] {
        let mut body = group("x", &[]);
        body["displayName"] = name.clone();
        let detail = acme
            .scim
            .post("/Groups", &body)
            .await
            .error(400, "invalidValue");
        assert!(
            detail.starts_with("displayName") || detail.starts_with("Group name"),
            "{name}: {detail}"
        );
        let path = format!("/Groups/{present}");
        acme.scim.put(&path, &body).await.error(400, "invalidValue");
        let patch = json!([{ "op": "replace", "path": "displayName", "value": name }]);
        acme.scim
            .patch(&path, patch)
            .await
            .error(400, "invalidValue");
    }
    let long = format!("CB/acme/ROLE/{}", "x".repeat(2000));
    let detail = acme
        .scim
        .post("/Groups", &group(&long, &[]))
        .await
        .error(400, "invalidValue");
    assert!(
        detail.starts_with("displayName") && detail.contains("1024"),
        "{detail}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_has_one_group_and_a_second_one_is_told_of_the_first() {
    let world = World::start().await;
    let acme = world.acme().await;
    let first = acme.scim.make_group("CB/acme/ROLE/Analyst", &[]).await;
    let other = acme.scim.make_group("CB/acme/ROLE/Admin", &[]).await;
    let before = world.database.snapshot();
    for name in [
        "CB/acme/ROLE/Analyst",
        "CB/ACME/ROLE/analyst",
        "CB/acme/ROLE/ ANALYST ",
    ] {
        let detail = acme
            .scim
            .post("/Groups", &group(name, &[]))
            .await
            .error(409, "uniqueness");
        assert!(
            detail.contains(&first) && detail.contains("CB/acme/ROLE/Analyst"),
            "{detail}"
        );
        let rename = json!([{ "op": "replace", "value": { "id": other, "displayName": name } }]);
        let detail = acme
            .scim
            .patch(&format!("/Groups/{other}"), rename)
            .await
            .error(409, "uniqueness");
        assert!(detail.contains(&first), "{detail}");
        let put = acme
            .scim
            .put(&format!("/Groups/{other}"), &group(name, &[]))
            .await;
        assert!(put.error(409, "uniqueness").contains(&first));
    }
    assert_eq!(world.database.snapshot(), before);
    // Another spelling of its own name is no clash.
    let rename =
        json!([{ "op": "replace", "path": "displayName", "value": "CB/ACME/ROLE/ANALYST" }]);
    acme.scim
        .patch(&format!("/Groups/{first}"), rename)
        .await
        .is(204);
    // Once the first has moved away or is gone, its target is free.
    let rename = json!([{ "op": "replace", "path": "displayName", "value": "CB/acme/BE/US Inc" }]);
    acme.scim
        .patch(&format!("/Groups/{first}"), rename)
        .await
        .is(204);
    acme.scim.make_group("CB/acme/ROLE/Analyst", &[]).await;
    acme.scim.delete(&format!("/Groups/{other}")).await.is(204);
    acme.scim.make_group("CB/acme/ROLE/Admin", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_moves_the_whole_membership_at_once_and_rewrites_none_of_it() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let bob = acme.scim.make_user("bob@acme.example").await;
    let off = acme.scim.make_user("off@acme.example").await;
    let deactivate = json!([{ "op": "replace", "value": { "active": false } }]);
    acme.scim
        .patch(&format!("/Users/{off}"), deactivate)
        .await
        .is(200);
    let id = acme
        .scim
        .make_group("CB/acme/ROLE/Analyst", &[&ann, &bob, &off])
        .await;
    let path = format!("/Groups/{id}");
    let rows = || {
        world
            .database
            .texts("SELECT group_members::text || xmin || ctid AS t FROM group_members ORDER BY 1")
    };
    let people = || {
        world
            .database
            .texts("SELECT members::text || xmin AS t FROM members ORDER BY 1")
    };
    let (memberships, members) = (rows(), people());
    let rename = async |name: &str| {
        let rename = json!([{ "op": "replace", "value": { "id": id, "displayName": name } }]);
        acme.scim.patch(&path, rename).await.is(204)
    };
    rename("CB/acme/ROLE/Sales Agent").await;
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Sales Agent"]);
    assert_eq!(acme.rpc.roles("bob@acme.example").await, ["Sales Agent"]);
    assert_eq!(acme.rpc.roles("off@acme.example").await, [""; 0]);
    // From a role to an entity.
    rename("CB/acme/BE/EU GmbH").await;
    let access = acme.rpc.access("bob@acme.example").await;
    assert_eq!(
        (access.roles, access.entities),
        (vec![], vec!["EU GmbH".to_owned()])
    );
    assert_eq!(rows(), memberships);
    assert_eq!(people(), members);
    // Refused, it moves nobody.
    let before = world.database.snapshot();
    let wrong = json!([
        { "op": "replace", "value": { "displayName": "CB/acme/ROLE/Nobody" } },
        { "op": "remove", "path": format!("members[value eq \"{ann}\"]") },
    ]);
    acme.scim
        .patch(&path, wrong)
        .await
        .error(400, "invalidValue");
    assert_eq!(world.database.snapshot(), before);
    // With a membership change in the same PATCH: the new target for who is in then.
    let both = json!([
        { "op": "replace", "value": { "displayName": "CB/acme/ROLE/Admin" } },
        { "op": "remove", "path": format!("members[value eq \"{ann}\"]") },
    ]);
    acme.scim.patch(&path, both).await.is(204);
    assert_eq!(acme.rpc.roles("bob@acme.example").await, ["Admin"]);
    assert_eq!(acme.rpc.roles("ann@acme.example").await, [""; 0]);
    // Deleting ends what it gave and leaves the members.
    acme.scim.delete(&path).await.is(204);
    assert_eq!(acme.rpc.roles("bob@acme.example").await, [""; 0]);
    for id in [ann, bob, off] {
        acme.scim.get(&format!("/Users/{id}")).await.is(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_name_is_never_read_again_whatever_was_renamed() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let bob = acme.scim.make_user("bob@acme.example").await;
    let role = acme.make_role("Reviewer", &["invoices.view"]).await;
    let entity = acme.make_entity("Nordic AB").await;
    let (by_role, by_entity) = ("CB/acme/ROLE/Reviewer", "CB/acme/BE/Nordic AB");
    let reviewers = acme.scim.make_group(by_role, &[&ann]).await;
    let nordic = acme.scim.make_group(by_entity, &[&ann]).await;
    rename_role(&acme, &role, "Auditor").await;
    rename_entity(&acme, &entity, "Nordic Group AB").await;
    let before = world.database.snapshot();
    for (id, name) in [(&reviewers, by_role), (&nordic, by_entity)] {
        let path = format!("/Groups/{id}");
        let name_again = json!([{ "op": "replace", "value": { "id": id, "displayName": name } }]);
        acme.scim.patch(&path, name_again).await.is(204);
        acme.scim.put(&path, &group(name, &[&ann])).await.is(200);
    }
    assert_eq!(world.database.snapshot(), before);
    for (id, name) in [(&reviewers, by_role), (&nordic, by_entity)] {
        let push = json!([
            { "op": "replace", "value": { "id": id, "displayName": name } },
            { "op": "add", "path": "members", "value": [{ "value": bob }] },
        ]);
        acme.scim
            .patch(&format!("/Groups/{id}"), push)
            .await
            .is(204);
    }
    let access = acme.rpc.access("bob@acme.example").await;
    assert_eq!(access.roles, ["Auditor"]);
    assert_eq!(access.entities, ["Nordic Group AB"]);
    // A new role under the old name is another one, and does not catch the group.
    acme.make_role("Reviewer", &["invoices.view"]).await;
    let push = json!([{ "op": "replace", "value": { "id": reviewers, "displayName": by_role } }]);
    acme.scim
        .patch(&format!("/Groups/{reviewers}"), push)
        .await
        .is(204);
    assert_eq!(acme.rpc.roles("bob@acme.example").await, ["Auditor"]);
    // As a new name the old one is read like any other: it is the other role's now.
    let rename =
        json!([{ "op": "replace", "path": "displayName", "value": "CB/acme/ROLE/Auditor" }]);
    acme.scim
        .patch(&format!("/Groups/{reviewers}"), rename)
        .await
        .is(204);
    let rename = json!([{ "op": "replace", "path": "displayName", "value": by_role }]);
    acme.scim
        .patch(&format!("/Groups/{reviewers}"), rename)
        .await
        .is(204);
    assert_eq!(acme.rpc.roles("bob@acme.example").await, ["Reviewer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_may_keep_groups_outside_the_convention() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    acme.set_outside_groups(pb::OutsideGroups::Keep).await;
    let made = acme
        .scim
        .post("/Groups", &group("Connection test", &[&ann]))
        .await
        .is(201);
    let path = format!("/Groups/{}", made.id());
    assert_eq!(
        made.header("roster-effect"),
        "members=1, skipped=0, gained=0, lost=0"
    );
    assert_eq!(acme.scim.members(&made.id()).await, [ann.as_str()]);
    assert_eq!(acme.rpc.access("ann@acme.example").await.roles, [""; 0]);
    acme.scim.make_group("Everyone / Alle", &[&ann]).await;
    // One name stays one group.
    let detail = acme
        .scim
        .post("/Groups", &group("CONNECTION test", &[]))
        .await
        .error(409, "uniqueness");
    assert!(detail.contains(&made.id()), "{detail}");
    // What is meant to follow the convention and does not is refused all the same.
    let before = world.database.snapshot();
    for name in [
        "cb/acme/ROLE/Admin",
        "CB/acme/Admin",
        "CB/acme/role/Admin",
        "CB/acme/ROLE/Analist",
        "CB/other/ROLE/Admin",
        "CB/acme/ROLE/Owner",
        "CB/acme/ROLE/",
    ] {
        acme.scim
            .post("/Groups", &group(name, &[]))
            .await
            .error(400, "invalidValue");
    }
    assert_eq!(world.database.snapshot(), before);
    // A rename leads in and out.
    let rename = async |name: &str| {
        let rename = json!([{ "op": "replace", "path": "displayName", "value": name }]);
        acme.scim.patch(&path, rename).await.is(204)
    };
    let answer = rename("CB/acme/ROLE/Analyst").await;
    assert_eq!(
        answer.header("roster-effect"),
        "members=1, skipped=0, gained=1, lost=0"
    );
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Analyst"]);
    let answer = rename("Just a group").await;
    assert_eq!(
        answer.header("roster-effect"),
        "members=1, skipped=0, gained=0, lost=1"
    );
    assert_eq!(acme.rpc.roles("ann@acme.example").await, [""; 0]);
    // Refused again from now on; the one that is there goes on under its name.
    acme.set_outside_groups(pb::OutsideGroups::Refuse).await;
    acme.scim
        .post("/Groups", &group("Another", &[]))
        .await
        .error(400, "invalidValue");
    let push = json!([
        { "op": "replace", "value": { "id": made.id(), "displayName": "Just a group" } },
        { "op": "replace", "path": "members", "value": [] },
    ]);
    acme.scim.patch(&path, push).await.is(204);
    acme.scim.delete(&path).await.is(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_prefix_is_a_setting() {
    let world = World::with(Settings {
        facade: vec![("ROSTER_GROUP_PREFIX", "Roster-é".to_owned())],
        ..Settings::default()
    })
    .await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let id = acme
        .scim
        .make_group("Roster-é/acme/ROLE/Analyst", &[&ann])
        .await;
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Analyst"]);
    let sentence = refused(&world, &acme.scim, &id, "CB/acme/ROLE/Admin").await;
    assert!(
        sentence.contains("Did you mean \"Roster-é/acme/ROLE/Admin\"?"),
        "{sentence}"
    );
    let sentence = refused(&world, &acme.scim, &id, "roster-É/acme/ROLE/Admin").await;
    assert!(
        sentence.contains("must begin with \"Roster-é/\""),
        "{sentence}"
    );
}
