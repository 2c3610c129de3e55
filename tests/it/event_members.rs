//! The events that concern a member: everything that changed what the member has or may do, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::future::join_all;
use identity_proto::v1::{
    self as pb, access_target::Target, as_of::Moment, event_service_client::EventServiceClient,
    grant::Source,
};
use identity_tests::{
    random::Random,
    rpc::{Rpc, by_id, by_user_name, entity, role},
    world::{Site, World},
    writes::{mask, member},
};
use prost_types::{Value, value::Kind};
use serde_json::json;
use tonic::{Code, Status};

/// The numbers of the events that a request asks for, by pages of this size.
async fn numbers(site: &Site, request: &pb::ListEventsRequest, page_size: i32) -> Vec<i64> {
    let mut client = EventServiceClient::new(site.rpc.caller.channel());
    let mut numbers = Vec::new();
    loop {
        let request = pb::ListEventsRequest {
            after: numbers.last().copied().unwrap_or_default(),
            page_size: Some(page_size),
            ..request.clone()
        };
        let answer = client.list_events(site.rpc.caller.request(request)).await;
        let page = answer.unwrap().into_inner();
        assert!(page.events.len() == page_size as usize || !page.more);
        numbers.extend(page.events.iter().map(|event| event.number));
        if !page.more {
            return numbers;
        }
    }
}

fn concerning(id: &str) -> pb::ListEventsRequest {
    pb::ListEventsRequest {
        member: by_id(id),
        ..Default::default()
    }
}

/// Changes the reason of a direct grant.
async fn say_why(rpc: &Rpc, grant_id: &str, reason: &str) -> Result<(), Status> {
    let request = pb::UpdateGrantRequest {
        grant_id: grant_id.to_owned(),
        values: Some(pb::DirectSource {
            reason: reason.to_owned(),
            ..Default::default()
        }),
        update_mask: mask(&["reason"]),
        ..Default::default()
    };
    let request = rpc.caller.request(request);
    rpc.grants().update_grant(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_a_members_access_is_listed_whatever_it_happened_to() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let eu = acme.make_entity("EU GmbH").await;
    let ann = acme.rpc.make_member("ann@acme.example").await;
    let bob = acme.rpc.make_member("bob@acme.example").await;
    let custom = acme.make_role("Custom", &["invoices.view"]).await;
    // Each change with whether it concerns Ann, and whether Bob.
    let mut told: Vec<(i64, bool, bool)> = Vec::new();
    let mut tell = async |for_ann: bool, for_bob: bool| {
        let number = acme.rpc.get_site().await.revision;
        assert!(told.last().is_none_or(|last| last.0 < number));
        told.push((number, for_ann, for_bob));
    };
    let rename = async |group: &str, name: &str| {
        let operation = json!([{ "op": "replace", "value": { "id": group, "displayName": name } }]);
        let path = format!("/Groups/{group}");
        acme.scim.patch(&path, operation).await.is(204);
    };
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    tell(true, false).await;
    rename(&group, "CB/acme/ROLE/analyst").await;
    tell(false, false).await;
    rename(&group, "CB/acme/ROLE/Custom").await;
    tell(true, false).await;
    acme.rpc
        .update_role(
            &custom,
            pb::Role {
                permissions: vec!["invoices.view".to_owned(), "invoices.send".to_owned()],
                ..Default::default()
            },
            &["permissions"],
        )
        .await
        .unwrap();
    tell(true, false).await;
    let renamed = pb::Role {
        name: "Made to measure".to_owned(),
        ..Default::default()
    };
    acme.rpc
        .update_role(&custom, renamed, &["name"])
        .await
        .unwrap();
    tell(false, false).await;
    let given = acme.rpc.grant("ann@acme.example", entity("EU GmbH")).await;
    tell(true, false).await;
    say_why(&acme.rpc, &given.unwrap(), "for the autumn")
        .await
        .unwrap();
    tell(true, false).await;
    // Bob has no business entity: he reaches all that there is, before and after.
    acme.rpc.divide(pb::Reach::All).await.unwrap();
    tell(true, false).await;
    let none = pb::Site {
        unassigned_reach: pb::Reach::None.into(),
        ..Default::default()
    };
    acme.rpc
        .update_site(none, &["unassigned_reach"])
        .await
        .unwrap();
    tell(false, true).await;
    let request = pb::DeleteBusinessEntityRequest {
        business_entity_id: eu.clone(),
        end_grants: true,
        ..Default::default()
    };
    let request = acme.rpc.caller.request(request);
    let mut entities = acme.rpc.caller.business_entities();
    entities.delete_business_entity(request).await.unwrap();
    tell(true, false).await;
    acme.rpc
        .grant("bob@acme.example", role("Admin"))
        .await
        .unwrap();
    tell(false, true).await;
    let all = pb::Site {
        unassigned_reach: pb::Reach::All.into(),
        ..Default::default()
    };
    acme.rpc
        .update_site(all, &["unassigned_reach"])
        .await
        .unwrap();
    tell(true, false).await;
    acme.scim.delete(&format!("/Groups/{group}")).await.is(204);
    tell(true, false).await;
    acme.make_entity("JP KK").await;
    tell(false, false).await;
    acme.rpc.delete_member(&ann).await.unwrap();
    tell(true, false).await;

    let first = told[0].0 - 1;
    for (id, is_told) in [
        (&ann, (|told| told.1) as fn(&(i64, bool, bool)) -> bool),
        (&bob, |told| told.2),
    ] {
        let expected: Vec<i64> = told.iter().filter(|t| is_told(t)).map(|t| t.0).collect();
        let request = pb::ListEventsRequest {
            after: first,
            ..concerning(id)
        };
        let mut client = EventServiceClient::new(acme.rpc.caller.channel());
        let answer = client.list_events(acme.rpc.caller.request(request)).await;
        let listed: Vec<i64> = answer
            .unwrap()
            .into_inner()
            .events
            .iter()
            .map(|event| event.number)
            .collect();
        assert_eq!(listed, expected);
    }
    // With what they are about: what of the group's changes concerned her.
    let of_group = pb::ListEventsRequest {
        subject_id: group.clone(),
        ..concerning(&ann)
    };
    let expected = [told[0].0, told[2].0, told[12].0];
    assert_eq!(numbers(&acme, &of_group, 1).await, expected);
    // What is no member concerns no one, and what happened on another site no one here.
    for nobodys in [&custom, &acme.id, &uuid::Uuid::new_v4().to_string()] {
        assert!(numbers(&acme, &concerning(nobodys), 10).await.is_empty());
    }
    let bolt = world.bare_site("bolt").await;
    assert!(numbers(&bolt, &concerning(&bob), 10).await.is_empty());
}

/// What a member had at a revision; none where it was not there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Had {
    /// Each grant: what it gives, where it comes from with its reason, since when.
    grants: BTreeSet<(String, String, i64)>,
    roles: BTreeSet<String>,
    has_entity: bool,
}

async fn had(site: &Site, id: &str, revision: i64) -> Option<Had> {
    let request = pb::ListMemberAccessRequest {
        member: by_id(id),
        as_of: Some(pb::AsOf {
            moment: Some(Moment::Revision(revision)),
        }),
        ..Default::default()
    };
    let request = site.rpc.caller.request(request);
    let access = match site.rpc.caller.access().list_member_access(request).await {
        Err(status) if status.code() == Code::NotFound => return None,
        answer => answer.unwrap().into_inner(),
    };
    let listed = access.roles.iter().chain(&access.business_entities);
    let grants = listed
        .flat_map(|granted| &granted.grants)
        .chain(&access.suspended);
    let mut had = Had::default();
    for grant in grants {
        let target = match grant.target.clone().unwrap().target.unwrap() {
            Target::Role(named) => {
                had.roles.insert(named.id.clone());
                named.id
            }
            Target::BusinessEntity(named) => {
                had.has_entity = true;
                named.id
            }
        };
        let source = match grant.source.clone().unwrap() {
            Source::Group(group) => group.group_id,
            Source::Direct(direct) => format!("{} {}", direct.grant_id, direct.reason),
            Source::Entitlement(_) => "entitlement".to_owned(),
        };
        had.grants.insert((target, source, grant.since_revision));
    }
    Some(had)
}

fn text(value: Option<&Value>) -> Option<String> {
    match value?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    match value.and_then(|value| value.kind.as_ref()) {
        Some(Kind::ListValue(list)) => list.values.iter().filter_map(|v| text(Some(v))).collect(),
        _ => Vec::new(),
    }
}

/// How far what a member has reaches; none: the site is not divided.
fn reach<'a>(had: &Had, chiefs: &BTreeSet<String>, division: Option<&'a str>) -> &'a str {
    match division {
        None => "all",
        Some(_) if !had.roles.is_disjoint(chiefs) => "all",
        Some(_) if had.has_entity => "listed",
        Some(unassigned) => unassigned,
    }
}

const PERMISSIONS: [&str; 4] = [
    "invoices.view",
    "invoices.send",
    "customers.view",
    "coupons.view",
];
const ROLES: [&str; 4] = ["Admin", "Analyst", "Sales Agent", "Custom"];
const ENTITIES: [&str; 3] = ["EU GmbH", "US Inc", "JP KK"];

/// One random write; whatever the site's rules refuse of it is as well.
async fn write(site: &Site, random: &mut Random, ids: &mut Vec<String>, grants: &mut Vec<String>) {
    let rpc = &site.rpc;
    let id = random.one(ids).unwrap().clone();
    let some: Vec<String> = random.some(ids);
    let group_names: Vec<String> = ROLES
        .map(|name| format!("CB/acme/ROLE/{name}"))
        .into_iter()
        .chain(ENTITIES.map(|name| format!("CB/acme/BE/{name}")))
        .chain(["Everyone".to_owned(), "EVERYONE".to_owned()])
        .collect();
    let name = random.one(&group_names).unwrap().clone();
    let groups = site.scim.get("/Groups?attributes=id").await.resources();
    let group = random
        .one(&groups)
        .and_then(|group| group["id"].as_str().map(str::to_owned));
    let named = async |list: Vec<(String, String)>, name: &str| {
        list.into_iter()
            .find(|(own, _)| own == name)
            .map(|own| own.1)
    };
    let roles = || async {
        let all = rpc.list_roles().await;
        all.into_iter().map(|role| (role.name, role.id)).collect()
    };
    let entities = || async {
        let all = rpc.list_entities().await;
        all.into_iter().map(|own| (own.name, own.id)).collect()
    };
    let target = |random: &mut Random| match random.coin() {
        true => role(random.one(&ROLES).unwrap()),
        false => entity(random.one(&ENTITIES).unwrap()),
    };
    match random.below(20) {
        0 if ids.len() < 9 => {
            let mut new = member(&format!("m{}@acme.example", uuid::Uuid::new_v4().simple()));
            new.active = random.coin();
            ids.push(rpc.create_member(new).await.unwrap().member.unwrap().id);
        }
        1 | 2 => drop(rpc.set_active(&id, random.coin()).await),
        3 if random.below(3) == 0 => drop(rpc.delete_member(&id).await),
        4..=6 => {
            let some: Vec<&str> = some.iter().map(String::as_str).collect();
            let body = identity_tests::scim::group(&name, &some);
            site.scim.post("/Groups", &body).await;
        }
        7..=9 => {
            if let Some(group) = group {
                let value: Vec<_> = some.iter().map(|id| json!({ "value": id })).collect();
                let op = ["add", "remove", "replace"][random.below(3)];
                let mut operations = vec![json!({ "op": op, "path": "members", "value": value })];
                if random.below(3) == 0 {
                    operations.push(
                        json!({ "op": "replace", "path": "displayName", "value": name.clone() }),
                    );
                }
                let path = format!("/Groups/{group}");
                site.scim.patch(&path, json!(operations)).await;
            }
        }
        10 => {
            if let Some(group) = group {
                let path = format!("/Groups/{group}");
                let operation =
                    json!([{ "op": "replace", "path": "displayName", "value": name.clone() }]);
                site.scim.patch(&path, operation).await;
            }
        }
        11 => {
            if let Some(group) = group {
                site.scim.delete(&format!("/Groups/{group}")).await;
            }
        }
        12 | 13 => {
            let target = target(random);
            let made = if random.coin() {
                let time = Duration::from_millis(30);
                let made = rpc.grant_for(by_id(&id), target, time).await;
                made.map(|made| made.0)
            } else {
                let request = pb::CreateGrantRequest {
                    member: by_id(&id),
                    target,
                    reason: "a test".to_owned(),
                    ..Default::default()
                };
                let made = rpc.grants().create_grant(rpc.caller.request(request)).await;
                made.map(|made| {
                    let grant = made.into_inner().grant.unwrap();
                    identity_tests::grants::direct(&grant).grant_id.clone()
                })
            };
            grants.extend(made);
        }
        14 => {
            if let Some(grant) = random.one(grants) {
                if random.coin() {
                    drop(rpc.end_grant(grant).await);
                } else {
                    let reason = format!("reason {}", random.below(3));
                    drop(say_why(rpc, grant, &reason).await);
                }
            }
        }
        15 => match named(roles().await, "Custom").await {
            None => drop(rpc.create_role("Custom", &PERMISSIONS[..2]).await),
            Some(custom) if random.below(4) == 0 => {
                let request = pb::DeleteRoleRequest {
                    role_id: custom,
                    end_grants: true,
                    ..Default::default()
                };
                let request = rpc.caller.request(request);
                drop(rpc.caller.roles().delete_role(request).await);
            }
            Some(custom) => {
                let all = PERMISSIONS.map(str::to_owned);
                let values = pb::Role {
                    permissions: random.some(&all),
                    ..Default::default()
                };
                drop(rpc.update_role(&custom, values, &["permissions"]).await);
            }
        },
        16 => match named(entities().await, "JP KK").await {
            None => drop(rpc.create_entity("JP KK", "").await),
            Some(entity) => {
                let request = pb::DeleteBusinessEntityRequest {
                    business_entity_id: entity,
                    end_grants: true,
                    ..Default::default()
                };
                let request = rpc.caller.request(request);
                let mut client = rpc.caller.business_entities();
                drop(client.delete_business_entity(request).await);
            }
        },
        17 | 18 => {
            let reach = [pb::Reach::All, pb::Reach::None][random.below(2)];
            let values = pb::Site {
                unassigned_reach: reach.into(),
                ..Default::default()
            };
            if rpc
                .update_site(values, &["unassigned_reach"])
                .await
                .is_err()
                && random.coin()
            {
                drop(rpc.divide(reach).await);
            }
        }
        _ => {
            let name = *random.one(&ROLES).unwrap();
            if let Some(role) = named(roles().await, name).await {
                let value = if random.coin() {
                    json!([{ "value": role }])
                } else {
                    json!([])
                };
                let operation = json!([{ "op": "replace", "path": "roles", "value": value }]);
                site.scim.patch(&format!("/Users/{id}"), operation).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_random_writes_the_list_is_what_a_naive_look_at_every_event_finds() {
    for seed in [3, 71] {
        let world = World::start().await;
        check_random_site(&world.bare_site("acme").await, seed).await;
    }
}

async fn check_random_site(acme: &Site, seed: u64) {
    acme.set_outside_groups(pb::OutsideGroups::Keep).await;
    for name in &ENTITIES[..2] {
        acme.make_entity(name).await;
    }
    let owner = acme
        .rpc
        .get_member(by_user_name("owner@acme.example"))
        .await;
    let owner = owner.unwrap().id;
    let (mut ids, mut grants) = (vec![owner], Vec::new());
    let mut random = Random(seed);
    for n in 0..4 {
        ids.push(acme.rpc.make_member(&format!("m{n}@acme.example")).await);
    }
    for _ in 0..130 {
        write(acme, &mut random, &mut ids, &mut grants).await;
    }
    tokio::time::sleep(Duration::from_millis(400)).await;

    let events = acme.rpc.events().await;
    let roles = acme.rpc.list_roles().await.into_iter();
    let chiefs: BTreeSet<String> = roles
        .filter(|role| ["Owner", "Admin"].contains(&role.name.as_str()))
        .map(|role| role.id)
        .collect();
    let mut kinds = BTreeMap::<String, usize>::new();
    for id in &ids {
        let at_each = join_all((1..=events.len() as i64).map(|n| had(acme, id, n))).await;
        let mut expected = Vec::new();
        let mut division: Option<String> = None;
        for (place, event) in events.iter().enumerate() {
            let before = place.checked_sub(1).and_then(|n| at_each[n].as_ref());
            let now = at_each[place].as_ref();
            let attributes = |of: &Option<prost_types::Struct>| of.clone().unwrap().fields;
            let (was, is) = (attributes(&event.before), attributes(&event.after));
            let moved = ["added_member_ids", "removed_member_ids"]
                .iter()
                .any(|list| texts(is.get(*list)).contains(id));
            let of_grant = [&was, &is]
                .iter()
                .any(|side| text(side.get("member_id")).as_ref() == Some(id));
            let permissions = event.kind == "role.updated"
                && texts(was.get("permissions")) != texts(is.get("permissions"))
                && now.is_some_and(|had| had.roles.contains(&event.subject_id));
            let divided = match event.subject_kind.as_str() {
                "site" => text(is.get("unassigned_reach")).or(division.clone()),
                _ => division.clone(),
            };
            let reaches = before.zip(now).is_some_and(|(before, now)| {
                reach(before, &chiefs, division.as_deref())
                    != reach(now, &chiefs, divided.as_deref())
            });
            let site_reaches = reaches && event.subject_kind == "site";
            division = divided;
            if event.subject_id == *id
                || moved
                || of_grant
                || before != now
                || permissions
                || site_reaches
            {
                expected.push(event.number);
                *kinds.entry(event.kind.clone()).or_default() += 1;
            }
            // Whoever gained or lost by it is among them in any case.
            let effect = event.access_changes.iter();
            let touched = effect
                .flat_map(|change| {
                    change
                        .gained_member_ids
                        .iter()
                        .chain(&change.lost_member_ids)
                })
                .any(|touched| touched == id);
            assert!(!touched || expected.last() == Some(&event.number));
        }
        for page_size in [3, 1000] {
            let listed = numbers(acme, &concerning(id), page_size).await;
            assert_eq!(listed, expected, "{id}, seed {seed}");
        }
        let of_kind = pb::ListEventsRequest {
            kinds: vec!["group.*".to_owned()],
            ..concerning(id)
        };
        let of_groups: Vec<i64> = expected
            .iter()
            .copied()
            .filter(|number| events[*number as usize - 1].subject_kind == "group")
            .collect();
        assert_eq!(numbers(acme, &of_kind, 2).await, of_groups);
    }
    println!("{} events, concerning: {kinds:?}", events.len());
    for kind in [
        "group.created",
        "group.updated",
        "group.deleted",
        "grant.created",
        "grant.ended",
        "role.updated",
        "member.deactivated",
    ] {
        assert!(kinds.contains_key(kind), "{kind} concerned nobody: {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn among_many_members_and_events_those_of_one_are_found_by_an_index() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ids = world.database.seed_members(&acme.id, 20_000);
    let ann = acme.rpc.make_member("ann@acme.example").await;
    let all: Vec<&str> = ids
        .iter()
        .map(String::as_str)
        .chain([ann.as_str()])
        .collect();
    let analysts = acme.scim.make_group("CB/acme/ROLE/Analyst", &all).await;
    let remove = json!([{ "op": "remove", "path": format!("members[value eq \"{}\"]", ids[0]) }]);
    let path = format!("/Groups/{analysts}");
    acme.scim.patch(&path, remove).await.is(204);
    // Many more of others, as if they had been made one by one.
    world.database.execute(&format!(
        "WITH made AS (
           INSERT INTO events (site_id, number, occurred_at, kind, actor, subject_id, trace_id, before, after,
                               access_changes)
           SELECT site_id, revision + n, ticked_at, 'member.updated', 'many', gen_random_uuid(), '', '{{}}', '{{}}', '[]'
           FROM site_clocks, generate_series(1, 30000) n WHERE site_id = '{0}')
         UPDATE site_clocks SET revision = revision + 30000 WHERE site_id = '{0}'",
        acme.id
    ));
    world.database.execute("ANALYZE");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let read = |tables: &str| {
        world.database.number(&format!(
            "SELECT coalesce(sum(seq_tup_read), 0)::bigint AS n FROM pg_stat_user_tables \
             WHERE relname IN ({tables})"
        ))
    };
    let tables = "'events', 'group_members', 'members'";
    acme.rpc.get_site().await;
    let before = read(tables);
    for _ in 0..8 {
        assert_eq!(numbers(&acme, &concerning(&ann), 100).await.len(), 2);
    }
    // A backend reports what it read when it is next used a second later.
    tokio::time::sleep(Duration::from_millis(1300)).await;
    for _ in 0..20 {
        acme.rpc.get_site().await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(read(tables) - before < 1000, "{}", read(tables) - before);
}
