//! authentik: reads what the service can do before anything else, puts users, patches groups with their read-only
//! `id` among the values, reads a group to find out who is missing, and does all of it again every hour.

use identity_proto::v1::OutsideGroups;
use identity_tests::{scim::GROUP, world::World};

use super::*;

const HEADERS: &[(&str, &str)] = &[
    ("accept", "application/scim+json"),
    ("user-agent", "goauthentik.io/2026.2.0 (build=tagged)"),
];

fn user(name: &str, active: bool) -> Value {
    json!({
        "schemas": [USER],
        "userName": name,
        "externalId": "5f2c7a0d1e0b4f7b9f35a2c7d0d0f0aa",
        "name": { "formatted": "Ann Lee", "givenName": "Ann", "familyName": "Lee" },
        "displayName": "Ann Lee",
        "photos": [{ "value": "https://id.acme.example/avatar.png", "type": "photo" }],
        "locale": "en",
        "active": active,
        "emails": [{ "value": name, "type": "other", "primary": true }],
    })
}

fn group(name: &str) -> Value {
    json!({ "schemas": [GROUP], "displayName": name, "externalId": format!("uuid-{name}") })
}

/// Makes a group or finds that it is there, and brings it up to date, as each full sync does.
async fn sync_group(authentik: &Provider, name: &str, members: &[&str]) -> String {
    let made = authentik.post("/Groups", &group(name)).await;
    let id = if made.status == 201 {
        made.id()
    } else {
        made.error(409, "uniqueness");
        let lookup = format!("/Groups?filter=displayName eq \"{name}\"");
        let [id] = authentik.found(&lookup).await.try_into().unwrap();
        id
    };
    let path = format!("/Groups/{id}");
    // Up to 2026-07 with the id among the values, which is read-only, and a path that is null.
    let mut whole = group(name);
    whole["id"] = id.as_str().into();
    let update = json!([{ "op": "replace", "path": null, "value": whole }]);
    authentik.patch(&path, update).await.is(204);
    let present = authentik.get(&path).await.is(200).body;
    let present = shown_members(&present);
    let element = |id: &&str| json!({ "value": id });
    let missing: Vec<Value> = members
        .iter()
        .filter(|id| !present.contains(id))
        .map(element)
        .collect();
    let extra: Vec<Value> = present
        .iter()
        .filter(|id| !members.contains(id))
        .map(element)
        .collect();
    for (op, elements) in [("add", missing), ("remove", extra)] {
        if !elements.is_empty() {
            let change = json!([{ "op": op, "path": "members", "value": elements }]);
            authentik.patch(&path, change).await.is(204);
        }
    }
    id
}

/// Makes a user or adopts the one that is there.
async fn sync_user(authentik: &Provider, body: &Value) -> String {
    let name = body["userName"].as_str().unwrap();
    let made = authentik.post("/Users", body).await;
    if made.status == 201 {
        return whole_user(&made, name, true);
    }
    made.error(409, "uniqueness");
    let [id] = authentik
        .found(&format!("/Users?filter=userName eq \"{name}\""))
        .await
        .try_into()
        .unwrap();
    let put = authentik.put(&format!("/Users/{id}"), body).await.is(200);
    whole_user(&put, name, true)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_cycle_of_full_syncs() {
    let world = World::start().await;
    let acme = world.acme().await;
    let authentik = Provider::new(&acme, HEADERS);
    // Were one of these missing, it would believe that there is neither PATCH nor filter, and tell nobody.
    let config = authentik.get("/ServiceProviderConfig").await.is(200).body;
    for (feature, numbers) in [
        ("patch", &[][..]),
        ("bulk", &["maxOperations", "maxPayloadSize"]),
        ("filter", &["maxResults"]),
        ("sort", &[]),
        ("etag", &[]),
        ("changePassword", &[]),
    ] {
        assert!(config[feature]["supported"].is_boolean(), "{feature}");
        for number in numbers {
            assert!(config[feature][number].is_u64(), "{feature}.{number}");
        }
    }
    let schemes = config["authenticationSchemes"].as_array().unwrap();
    for scheme in schemes {
        assert_eq!(scheme["type"], "oauthbearertoken");
        assert!(scheme["name"].is_string() && scheme["description"].is_string());
    }

    let (ann, bob) = (
        user("ann@acme.example", true),
        user("bob@acme.example", true),
    );
    let (mut ann_id, mut bob_id, mut group_id) = Default::default();
    for round in 0..3 {
        ann_id = sync_user(&authentik, &ann).await;
        bob_id = sync_user(&authentik, &bob).await;
        group_id = sync_group(&authentik, ANALYSTS, &[&ann_id, &bob_id]).await;
        for name in ["ann@acme.example", "bob@acme.example"] {
            assert_eq!(acme.rpc.roles(name).await, ["Analyst"]);
        }
        // From the second one on a sync finds everything as it left it.
        let events = acme.rpc.events().await.len();
        if round > 0 {
            sync_user(&authentik, &ann).await;
            sync_group(&authentik, ANALYSTS, &[&ann_id, &bob_id]).await;
            assert_eq!(acme.rpc.events().await.len(), events);
        }
    }
    let emails = authentik.get(&format!("/Users/{ann_id}")).await.is(200);
    assert_eq!(emails.body["emails"][0]["type"], "other");

    // One leaves the group, one is deactivated and comes back.
    assert_eq!(sync_group(&authentik, ANALYSTS, &[&bob_id]).await, group_id);
    assert_eq!(
        acme.rpc.roles("ann@acme.example").await,
        Vec::<String>::new()
    );
    let bob_path = format!("/Users/{bob_id}");
    for (active, roles) in [(false, vec![]), (true, vec!["Analyst"])] {
        let put = authentik
            .put(&bob_path, &user("bob@acme.example", active))
            .await;
        whole_user(&put.is(200), "bob@acme.example", active);
        assert_eq!(acme.rpc.roles("bob@acme.example").await, roles);
    }

    authentik.delete(&format!("/Users/{ann_id}")).await.is(204);
    authentik
        .get(&format!("/Users/{ann_id}"))
        .await
        .error(404, "");
    authentik
        .delete(&format!("/Groups/{group_id}"))
        .await
        .is(204);
    assert_eq!(
        acme.rpc.roles("bob@acme.example").await,
        Vec::<String>::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_groups_are_refused_or_kept_as_the_site_wants() {
    let world = World::start().await;
    let acme = world.acme().await;
    let authentik = Provider::new(&acme, HEADERS);
    let ann = sync_user(&authentik, &user("ann@acme.example", true)).await;
    // It syncs every group that it has, unless it is told to filter.
    let detail = authentik
        .post("/Groups", &group("authentik Admins"))
        .await
        .error(400, "invalidValue");
    assert!(detail.contains("CB/acme/ROLE/"), "{detail}");
    acme.set_outside_groups(OutsideGroups::Keep).await;
    let first = sync_group(&authentik, "authentik Admins", &[&ann]).await;
    assert_eq!(
        sync_group(&authentik, "authentik Admins", &[&ann]).await,
        first
    );
    assert_eq!(acme.scim.members(&first).await, [ann.as_str()]);
    assert_eq!(
        acme.rpc.roles("ann@acme.example").await,
        Vec::<String>::new()
    );
    sync_group(&authentik, AGENTS, &[&ann]).await;
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Sales Agent"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_patch_it_would_put_groups_and_that_works_too() {
    let world = World::start().await;
    let acme = world.acme().await;
    let authentik = Provider::new(&acme, HEADERS);
    let ann = sync_user(&authentik, &user("ann@acme.example", true)).await;
    let id = sync_group(&authentik, ANALYSTS, &[]).await;
    let mut whole = group(ANALYSTS);
    whole["id"] = id.as_str().into();
    whole["members"] = json!([{ "value": ann }]);
    let put = authentik
        .put(&format!("/Groups/{id}"), &whole)
        .await
        .is(200);
    assert_eq!(shown_members(&put.body), [ann.as_str()]);
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Analyst"]);
}
