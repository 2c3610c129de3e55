//! Many clients at once: nothing is lost, nothing is half done, and nobody lands in another site.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use identity_proto::v1 as pb;
use identity_tests::{
    rpc::{Rpc, by_id},
    scim::{self, ENTERPRISE},
    world::World,
    writes::{member, reason},
};
use serde_json::{Value, json};
use tonic::Code;

fn add(id: &str) -> Value {
    json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }])
}

fn remove(id: &str) -> Value {
    json!([{ "op": "remove", "path": format!("members[value eq \"{id}\"]") }])
}

fn rename(name: &str) -> Value {
    json!([{ "op": "replace", "path": "displayName", "value": name }])
}

/// Conformance: 90.
#[tokio::test(flavor = "multi_thread")]
async fn parallel_patches_of_one_group_lose_no_member() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ids = world.database.seed_members(&acme.id, 90);
    let (stay, come) = ids.split_at(30);
    let (leave, come) = (&stay[..15], &come[..60]);
    let group = acme
        .scim
        .make_group(
            "CB/acme/ROLE/Analyst",
            &stay.iter().map(String::as_str).collect::<Vec<_>>(),
        )
        .await;
    let path = format!("/Groups/{group}");
    let patches = come
        .iter()
        .map(|id| add(id))
        .chain(leave.iter().map(|id| remove(id)));
    let answers = join_all(patches.map(|operations| acme.scim.patch(&path, operations))).await;
    for answer in answers {
        answer.is(204);
    }
    let expected: BTreeSet<&String> = stay[15..].iter().chain(come).collect();
    let found = acme.scim.members(&group).await;
    assert_eq!(found.iter().collect::<BTreeSet<_>>(), expected);
    let last = world.database.check_events(&acme.id);
    let changes = acme.rpc.events().await;
    let updates = changes
        .iter()
        .filter(|event| event.kind == "group.updated")
        .count();
    assert_eq!(updates, 75, "an event a change, {last} in all");
}

/// Conformance: 90.
#[tokio::test(flavor = "multi_thread")]
async fn parallel_patches_of_one_members_attributes_lose_none() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let path = format!("/Users/{ann}");
    for round in 0..2 {
        let text = |name: &str| Value::from(format!("{name} {round}"));
        let changes = [
            ("title", text("title")),
            ("nickName", text("nick")),
            ("displayName", text("shown")),
            ("userType", text("type")),
            ("locale", json!(["en-US", "de-DE"][round])),
            ("timezone", json!(["Europe/Berlin", "Asia/Tokyo"][round])),
            ("externalId", text("external")),
            ("name.middleName", text("middle")),
            ("name.honorificSuffix", text("suffix")),
            ("active", json!(round == 1)),
        ];
        let patches = changes
            .iter()
            .map(|(path, value)| json!([{ "op": "replace", "path": path, "value": value }]));
        let language = ["en", "de"][round];
        let department = format!("{ENTERPRISE}:department");
        let patches = patches.chain([
            json!([{ "op": "replace", "path": department, "value": text("department") }]),
            json!([{ "op": "replace", "value": { "preferredLanguage": language } }]),
        ]);
        let answers = join_all(patches.map(|operations| acme.scim.patch(&path, operations))).await;
        for answer in answers {
            answer.is(200);
        }
        let user = acme.scim.get(&path).await.is(200).body;
        for (path, value) in &changes {
            let found = path.split('.').fold(&user, |value, part| &value[part]);
            assert_eq!(found, value, "{path}");
        }
        assert_eq!(user[ENTERPRISE]["department"], text("department"));
        assert_eq!(user["preferredLanguage"], language);
    }
    world.database.check_events(&acme.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_creates_of_one_user_name_make_one_member() {
    let world = World::start().await;
    let acme = world.acme().await;
    for round in 0..20 {
        let (lower, upper) = (
            scim::user(&format!("ann{round}@acme.example")),
            scim::user(&format!("ANN{round}@Acme.Example")),
        );
        let over_grpc = member(&format!("Ann{round}@ACME.example"));
        let (one, two, three) = tokio::join!(
            acme.scim.post("/Users", &lower),
            acme.scim.post("/Users", &upper),
            acme.rpc.create_member(over_grpc),
        );
        let mut statuses = vec![one.status.as_u16(), two.status.as_u16()];
        statuses.push(match three {
            Ok(_) => 201,
            Err(status) => {
                let taken = reason(Err::<(), _>(status), Code::AlreadyExists);
                assert_eq!(taken, "USER_NAME_TAKEN");
                409
            }
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409]);
    }
    assert_eq!(acme.scim.get("/Users").await.body["totalResults"], 21);
    // And one site of a domain, also in different case.
    for round in 0..5 {
        let bootstrap = world.caller(identity_tests::world::BOOTSTRAP);
        let create = |domain: String| {
            let request = pb::CreateSiteRequest {
                owner: Some(pb::NewOwner {
                    user_name: format!("owner@{domain}.example"),
                    given_name: "Olivia".to_owned(),
                    family_name: "Owner".to_owned(),
                }),
                domain,
                ..Default::default()
            };
            let request = bootstrap.request(request);
            let mut client = bootstrap.sites();
            async move { client.create_site(request).await }
        };
        let (one, two) = tokio::join!(
            create(format!("bolt{round}")),
            create(format!("BOLT{round}"))
        );
        let lost = if one.is_ok() { two } else { one };
        assert_eq!(reason(lost, Code::AlreadyExists), "SITE_DOMAIN_TAKEN");
    }
    world.database.check_events(&acme.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_renames_end_in_one_whole_state() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ids = world.database.seed_members(&acme.id, 20);
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let group = acme
        .scim
        .make_group("CB/acme/ROLE/Analyst", &ids[..10])
        .await;
    let path = format!("/Groups/{group}");
    for round in 0..8 {
        let (first, second) = ["Sales Agent", "Tech Support", "Admin"].split_at(1 + round % 2);
        let (first, second) = (first[0], second[0]);
        let moved = ids[10 + round];
        let (one, two, three) = tokio::join!(
            acme.scim
                .patch(&path, rename(&format!("CB/acme/ROLE/{first}"))),
            acme.scim
                .patch(&path, rename(&format!("CB/acme/ROLE/{second}"))),
            acme.scim.patch(&path, add(moved)),
        );
        one.is(204);
        two.is(204);
        three.is(204);
        let name = acme.scim.get(&path).await.body["displayName"].clone();
        let name = name.as_str().unwrap().trim_start_matches("CB/acme/ROLE/");
        assert!(name == first || name == second, "{name}");
        for id in &ids[..=10 + round] {
            let access = acme.rpc.list_member_access(by_id(id)).await.unwrap();
            let roles: Vec<String> = access
                .roles
                .iter()
                .map(|role| identity_tests::rpc::target_name(role.target.as_ref()))
                .collect();
            assert_eq!(roles, [name]);
        }
    }
    // One target at a time, without a gap or an overlap, over the whole history.
    let torn = world.database.number(
        "SELECT count(*) AS n FROM (SELECT from_event, lag(to_event) OVER (ORDER BY from_event) AS ended \
         FROM group_targets) t WHERE ended IS DISTINCT FROM from_event",
    );
    assert_eq!(torn, 1, "only the first follows on nothing");

    // Two groups, one target: one gets it.
    let other = acme.scim.make_group("CB/acme/ROLE/Analyst", &[]).await;
    let other_path = format!("/Groups/{other}");
    let target = rename("CB/acme/ROLE/Finance Executive");
    let (one, two) = tokio::join!(
        acme.scim.patch(&path, target.clone()),
        acme.scim.patch(&other_path, target.clone()),
    );
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 409]);
    world.database.check_events(&acme.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sites_in_parallel_never_mix() {
    let world = World::start().await;
    let (acme, bolt) = tokio::join!(world.site("acme"), world.site("bolt"));
    let work = |site: &'static str, scim: identity_tests::scim::Scim| async move {
        let group = scim
            .make_group(&format!("CB/{site}/ROLE/Analyst"), &[])
            .await;
        let path = format!("/Groups/{group}");
        let made = join_all((0..25).map(|n| {
            let (scim, path) = (&scim, &path);
            async move {
                // The same names on both sites.
                let id = scim.make_user(&format!("m{n}@both.example")).await;
                scim.patch(path, add(&id)).await.is(204);
                let title = json!([{ "op": "replace", "path": "title", "value": site }]);
                scim.patch(&format!("/Users/{id}"), title).await.is(200);
                id
            }
        }))
        .await;
        (group, made)
    };
    let ((acme_group, acme_ids), (bolt_group, bolt_ids)) = tokio::join!(
        work("acme", acme.scim.clone()),
        work("bolt", bolt.scim.clone())
    );
    for (site, own, ids, group, foreign, foreign_group) in [
        (
            "acme",
            &acme,
            &acme_ids,
            &acme_group,
            &bolt_ids,
            &bolt_group,
        ),
        (
            "bolt",
            &bolt,
            &bolt_ids,
            &bolt_group,
            &acme_ids,
            &acme_group,
        ),
    ] {
        let users = own.scim.get("/Users?count=100").await.is(200).body;
        let users = users["Resources"].as_array().unwrap();
        assert_eq!(users.len(), 26);
        let owner = format!("owner@{site}.example");
        for user in users.iter().filter(|user| user["userName"] != *owner) {
            assert_eq!(user["title"], site);
            assert!(ids.contains(&user["id"].as_str().unwrap().to_owned()));
        }
        let mut sorted = ids.clone();
        sorted.sort();
        assert_eq!(own.scim.members(group).await, sorted);
        own.scim
            .get(&format!("/Users/{}", foreign[0]))
            .await
            .error(404, "");
        own.scim
            .get(&format!("/Groups/{foreign_group}"))
            .await
            .error(404, "");
        // Another site's members are nobody.
        let answer = own
            .scim
            .patch(&format!("/Groups/{group}"), add(&foreign[0]))
            .await
            .is(204);
        assert_eq!(
            answer.header("roster-effect"),
            "members=0, skipped=1, gained=0, lost=0"
        );
        world.database.check_events(&own.id);
        for event in own.rpc.events().await {
            assert_eq!(event.site_id, own.id);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_changes_of_two_settings_keep_both() {
    let world = World::start().await;
    let acme = world.acme().await;
    let lock = world.database.lock_site(&acme.id);
    let limit = pb::Site {
        custom_role_limit: 20,
        ..Default::default()
    };
    let outside = pb::Site {
        outside_groups: pb::OutsideGroups::Keep.into(),
        ..Default::default()
    };
    let reach = pb::Site {
        unassigned_reach: pb::Reach::All.into(),
        ..Default::default()
    };
    let (one, two, three, ()) = tokio::join!(
        acme.rpc.update_site(limit, &["custom_role_limit"]),
        acme.rpc.update_site(outside, &["outside_groups"]),
        acme.rpc.update_site(reach, &["unassigned_reach"]),
        async {
            world.database.wait_until_waiting(3).await;
            lock.release();
        },
    );
    for outcome in [one, two, three] {
        assert!(outcome.unwrap().receipt.unwrap().changed);
    }
    let site = acme.rpc.get_site().await;
    assert_eq!(
        (
            site.custom_role_limit,
            site.outside_groups(),
            site.unassigned_reach()
        ),
        (20, pb::OutsideGroups::Keep, pb::Reach::All)
    );
    world.database.check_events(&acme.id);
}

/// The number of the only event of this kind after that of `number`; none where there is none.
async fn number_of(rpc: &Rpc, kind: &str, number: i64) -> Option<i64> {
    let events = rpc.events().await;
    let mut of_kind = events
        .iter()
        .filter(|event| event.kind == kind && event.number > number);
    of_kind.next().map(|event| event.number)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_waited_goes_by_what_is_so_when_its_turn_comes() {
    let world = World::start().await;
    let acme = world.acme().await;
    let bootstrap = world.caller(identity_tests::world::BOOTSTRAP);
    // Those who wait get the lock in the order in which they came, but for a rare one that is faster than the
    // one before: what counts is who came before whom in the events. Once at least all have to be in order.
    for round in 0..10 {
        acme.set_outside_groups(pb::OutsideGroups::Keep).await;
        let (token, credential) = world.issue("acme", &[pb::Scope::Provision]).await;
        let doomed = world.scim("acme", &token);
        let before = acme.rpc.get_site().await.revision;
        let revoke = bootstrap.request(pb::RevokeCredentialRequest {
            site: roster_stack::grpc::site("acme"),
            credential_id: credential,
            ..Default::default()
        });
        // The setting, the revocation, and two writes that would have been right before them.
        let lock = world.database.lock_site(&acme.id);
        let refuse = pb::Site {
            outside_groups: pb::OutsideGroups::Refuse.into(),
            ..Default::default()
        };
        let (outside, late) = (
            scim::group(&format!("Everyone {round}"), &[]),
            scim::user(&format!("late{round}@acme.example")),
        );
        let mut credentials = bootstrap.credentials();
        let (setting, revoked, group, user, ()) = tokio::join!(
            acme.rpc.update_site(refuse, &["outside_groups"]),
            async {
                world.database.wait_until_waiting(1).await;
                credentials.revoke_credential(revoke).await
            },
            async {
                world.database.wait_until_waiting(2).await;
                acme.scim.post("/Groups", &outside).await
            },
            async {
                world.database.wait_until_waiting(3).await;
                doomed.post("/Users", &late).await
            },
            async {
                world.database.wait_until_waiting(4).await;
                lock.release();
            },
        );
        setting.unwrap();
        revoked.unwrap();
        world.database.check_events(&acme.id);
        let set = number_of(&acme.rpc, "site.updated", before).await;
        let ended = number_of(&acme.rpc, "credential.revoked", before).await;
        let grouped = number_of(&acme.rpc, "group.created", before).await;
        let joined = number_of(&acme.rpc, "member.created", before).await;
        match grouped {
            Some(_) => assert!(grouped < set, "{grouped:?} {set:?}"),
            None => drop(group.error(400, "invalidValue")),
        }
        match joined {
            Some(_) => assert!(joined < ended, "{joined:?} {ended:?}"),
            None => drop(user.error(401, "")),
        }
        if grouped.is_none() && joined.is_none() {
            return;
        }
    }
    panic!("never was each write's turn after what would refuse it");
}
