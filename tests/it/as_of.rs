//! The past: what was answered at each revision, recorded from outside while many wrote, is what a
//! question about that revision is answered with later, and what one about a time between two events is.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use identity_proto::v1::{self as pb, access_question::Ability, as_of::Moment};
use identity_tests::{
    rpc::{Rpc, by_id, entity, role},
    world::{Site, World},
    writes::{member, reason},
};
use prost_types::Timestamp;
use serde_json::json;
use tokio::sync::RwLock;
use tonic::Code;

const MEMBERS: usize = 12;
const PERMISSION: &str = "subscriptions.discount";

/// Active, roles, business entities, reach, permissions, how many reasons.
type Held = (bool, Vec<String>, Vec<String>, i32, Vec<String>, usize);

/// What was answered, without what is allowed to change: names of groups and people are today's.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Answers {
    /// Of each member who was there.
    access: Vec<Option<Held>>,
    checks: Vec<(bool, i32)>,
    holders: Vec<String>,
    permitted: Vec<String>,
    reaching: Vec<String>,
}

fn named(name: &str) -> pb::NamedRef {
    pb::NamedRef {
        name: name.to_owned(),
        ..Default::default()
    }
}

fn at(moment: Moment) -> Option<pb::AsOf> {
    Some(pb::AsOf {
        moment: Some(moment),
    })
}

/// Asks everything for one moment; none where the answers are of more than one revision, as they may be
/// where the moment is now.
async fn ask(rpc: &Rpc, ids: &[String], as_of: Option<pb::AsOf>) -> Option<(i64, Answers)> {
    let caller = &rpc.caller;
    let mut client = caller.access();
    let questions = ids.iter().flat_map(|id| {
        ["EU GmbH", "US Inc"].map(|place| pb::AccessQuestion {
            member: by_id(id),
            ability: Some(Ability::Permission(PERMISSION.to_owned())),
            business_entity: Some(named(place)),
        })
    });
    let request = pb::BatchCheckAccessRequest {
        questions: questions.collect(),
        as_of,
        ..Default::default()
    };
    let batch = client.batch_check_access(caller.request(request)).await;
    let batch = batch.unwrap().into_inner();
    let revision = batch.revision;
    let checks = batch
        .answers
        .iter()
        .map(|a| (a.allowed, a.denial))
        .collect();
    let mut access = Vec::new();
    for id in ids {
        let request = pb::ListMemberAccessRequest {
            member: by_id(id),
            as_of,
            ..Default::default()
        };
        access.push(
            match client.list_member_access(caller.request(request)).await {
                Err(status) if status.code() == Code::NotFound => None,
                answer => {
                    let answer = answer.unwrap().into_inner();
                    if answer.revision != revision {
                        return None;
                    }
                    let ids = |list: &[pb::GrantedTarget]| list.iter().map(target_id).collect();
                    let all = answer.roles.iter().chain(&answer.business_entities);
                    let reasons: usize = all.map(|granted| granted.grants.len()).sum();
                    Some((
                        answer.active,
                        ids(&answer.roles),
                        ids(&answer.business_entities),
                        answer.reach,
                        answer.permissions.clone(),
                        reasons + answer.suspended.len(),
                    ))
                }
            },
        );
    }
    let request = pb::ListMembersWithRoleRequest {
        role: Some(named("Sales Agent")),
        as_of,
        ..Default::default()
    };
    let holders = client.list_members_with_role(caller.request(request)).await;
    let holders = holders.unwrap().into_inner();
    let request = pb::ListMembersWithPermissionRequest {
        permission: PERMISSION.to_owned(),
        business_entity: Some(named("EU GmbH")),
        as_of,
        ..Default::default()
    };
    let permitted = client
        .list_members_with_permission(caller.request(request))
        .await;
    let permitted = permitted.unwrap().into_inner();
    let request = pb::ListMembersInBusinessEntityRequest {
        business_entity: Some(named("EU GmbH")),
        as_of,
        ..Default::default()
    };
    let reaching = client
        .list_members_in_business_entity(caller.request(request))
        .await;
    let reaching = reaching.unwrap().into_inner();
    let revisions = [holders.revision, permitted.revision, reaching.revision];
    let ids = |members: Vec<pb::MemberWithAccess>| {
        members.into_iter().map(|member| member.member_id).collect()
    };
    (revisions == [revision; 3]).then(|| {
        let answers = Answers {
            access,
            checks,
            holders: ids(holders.members),
            permitted: ids(permitted.members),
            reaching: ids(reaching.members),
        };
        (revision, answers)
    })
}

fn target_id(granted: &pb::GrantedTarget) -> String {
    match granted.target.as_ref().unwrap().target.as_ref().unwrap() {
        pb::access_target::Target::Role(named)
        | pb::access_target::Target::BusinessEntity(named) => named.id.clone(),
    }
}

/// Writes of every kind that access follows from, until told to stop; each one waits for its answer.
async fn write(site: &Site, ids: &[String], n: usize, stop: &AtomicBool, still: &RwLock<()>) {
    let mut held: Vec<String> = Vec::new();
    let mut round = n;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        let _moving = still.read().await;
        let id = &ids[(round * 7 + n) % ids.len()];
        let user = format!("/Users/{id}");
        match (round + n) % 5 {
            0 => {
                let active =
                    json!([{ "op": "replace", "value": { "active": !round.is_multiple_of(3) } }]);
                site.scim.patch(&user, active).await;
            }
            1 => {
                let target = [role("Analyst"), role("Sales Agent"), entity("US Inc")];
                let request = pb::CreateGrantRequest {
                    member: by_id(id),
                    target: target[round % 3].clone(),
                    reason: "load".to_owned(),
                    ..Default::default()
                };
                let request = site.rpc.caller.request(request);
                if let Ok(made) = site.rpc.grants().create_grant(request).await
                    && let Some(pb::grant::Source::Direct(direct)) =
                        made.into_inner().grant.unwrap().source
                {
                    held.push(direct.grant_id);
                }
            }
            2 if held.len() > 2 => {
                let _gone = site.rpc.end_grant(&held.remove(0)).await;
            }
            _ => {
                // A group with another membership, or another target altogether.
                let names = ["ROLE/Sales Agent", "ROLE/Admin", "BE/EU GmbH", "BE/US Inc"];
                let name = format!("CB/acme/{}", names[(round + n) % names.len()]);
                let members: Vec<&str> = ids
                    .iter()
                    .skip(round % 4)
                    .step_by(1 + n % 3)
                    .map(String::as_str)
                    .collect();
                let found = site
                    .scim
                    .get(&format!(
                        "/Groups?filter=displayName%20eq%20%22{}%22",
                        name.replace(' ', "%20").replace('/', "%2F")
                    ))
                    .await;
                match found.body["Resources"][0]["id"].as_str() {
                    None => {
                        let body = identity_tests::scim::group(&name, &members);
                        site.scim.post("/Groups", &body).await;
                    }
                    Some(group) if round.is_multiple_of(6) => {
                        site.scim.delete(&format!("/Groups/{group}")).await;
                    }
                    Some(group) => {
                        let operation = json!([{ "op": if round.is_multiple_of(2) { "add" } else { "remove" },
                            "path": "members", "value": [{ "value": id }] }]);
                        site.scim
                            .patch(&format!("/Groups/{group}"), operation)
                            .await;
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_present_answered_at_each_revision_is_what_the_past_answers() {
    let world = World::start().await;
    let acme = Arc::new(world.acme().await);
    let mut ids = Vec::new();
    for n in 0..MEMBERS {
        let made = acme
            .rpc
            .create_member(member(&format!("m{n}@acme.example")))
            .await;
        ids.push(made.unwrap().member.unwrap().id);
    }
    let ids = Arc::new(ids);
    let stop = Arc::new(AtomicBool::new(false));
    let still = Arc::new(RwLock::new(()));
    let writers: Vec<_> = (0..3)
        .map(|n| {
            let (acme, ids) = (acme.clone(), ids.clone());
            let (stop, still) = (stop.clone(), still.clone());
            tokio::spawn(async move { write(&acme, &ids, n, &stop, &still).await })
        })
        .collect();
    // One answer is recorded while all write, and now and then all of them while nobody does.
    let mut recorded: BTreeMap<i64, Answers> = BTreeMap::new();
    let mut partly: BTreeMap<i64, Vec<(bool, i32)>> = BTreeMap::new();
    let begun = std::time::Instant::now();
    let mut pauses = 0;
    // On however busy a machine, until enough was seen.
    while begun.elapsed() < Duration::from_secs(6) || partly.len() <= 20 {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{} seen",
            partly.len()
        );
        let request = pb::BatchCheckAccessRequest {
            questions: questions(&ids),
            ..Default::default()
        };
        let caller = &acme.rpc.caller;
        let batch = caller
            .access()
            .batch_check_access(caller.request(request))
            .await
            .unwrap()
            .into_inner();
        let checks = batch
            .answers
            .iter()
            .map(|a| (a.allowed, a.denial))
            .collect();
        if let Some(before) = partly.insert(batch.revision, checks) {
            assert_eq!(before, partly[&batch.revision], "one revision, one answer");
        }
        pauses += 1;
        if pauses % 6 == 0 {
            let _nobody = still.write().await;
            let (revision, answers) = ask(&acme.rpc, &ids, None).await.unwrap();
            recorded.insert(revision, answers);
        }
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    // Somebody leaves for good; the past does not change.
    acme.rpc.delete_member(&ids[3]).await.unwrap();
    let (last, now) = ask(&acme.rpc, &ids, None).await.unwrap();
    assert_eq!(now.access[3], None);
    recorded.insert(last, now);
    println!(
        "{} revisions in part, {} whole",
        partly.len(),
        recorded.len()
    );
    for (revision, answers) in &recorded {
        let (_, past) = ask(&acme.rpc, &ids, at(Moment::Revision(*revision)))
            .await
            .unwrap();
        assert_eq!(past, *answers, "at {revision}");
    }
    let events = acme.rpc.events().await;
    for (revision, checks) in &partly {
        // By number, by the time of the event, and by a time just before the next one.
        let time = events[*revision as usize - 1].time.unwrap();
        let mut moments = vec![Moment::Revision(*revision)];
        let next = events
            .get(*revision as usize)
            .map(|next| next.time.unwrap());
        if next != Some(time) {
            moments.push(Moment::Time(time));
            moments.push(Moment::Time(Timestamp {
                nanos: (time.nanos + 900_000).min(999_999_999),
                ..time
            }));
        }
        for moment in moments {
            let request = pb::BatchCheckAccessRequest {
                questions: questions(&ids),
                as_of: at(moment),
                ..Default::default()
            };
            let caller = &acme.rpc.caller;
            let batch = caller
                .access()
                .batch_check_access(caller.request(request))
                .await
                .unwrap()
                .into_inner();
            assert_eq!(batch.revision, *revision, "{moment:?}");
            let past: Vec<_> = batch
                .answers
                .iter()
                .map(|a| (a.allowed, a.denial))
                .collect();
            assert_eq!(past, *checks, "{moment:?}");
        }
    }
}

fn questions(ids: &[String]) -> Vec<pb::AccessQuestion> {
    ids.iter()
        .flat_map(|id| {
            [
                (
                    Ability::Permission(PERMISSION.to_owned()),
                    Some(named("EU GmbH")),
                ),
                (Ability::Role(named("Sales Agent")), None),
            ]
            .map(|(ability, business_entity)| pb::AccessQuestion {
                member: by_id(id),
                ability: Some(ability),
                business_entity,
            })
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_that_the_site_has_not_seen_is_refused_with_its_bounds() {
    let world = World::start().await;
    let acme = world.acme().await;
    let caller = &acme.rpc.caller;
    let ask = async |moment: Moment| {
        let request = pb::CheckAccessRequest {
            question: Some(questions(std::slice::from_ref(&acme.id))[0].clone()),
            as_of: at(moment),
            ..Default::default()
        };
        caller.access().check_access(caller.request(request)).await
    };
    let newest = acme.rpc.events().await.len() as i64;
    assert!(ask(Moment::Revision(newest)).await.is_ok());
    assert!(ask(Moment::Revision(1)).await.is_ok());
    for wrong in [-1, 0, newest + 1] {
        let refused = ask(Moment::Revision(wrong)).await.map(drop);
        let status = refused.clone().unwrap_err();
        assert!(
            status.message().contains(&format!("from 1 to {newest}")),
            "{status:?}"
        );
        assert_eq!(reason(refused, Code::InvalidArgument), "FIELD_INVALID");
    }
    let seconds = |of: i64| Timestamp {
        seconds: of,
        nanos: 0,
    };
    let today = acme.rpc.events().await[0].time.unwrap().seconds;
    for (time, why) in [
        (seconds(today - 3600), "before the site was made"),
        (seconds(today + 3600), "in the future"),
        (seconds(i64::MAX), "not a moment of the years 1 to 9999"),
    ] {
        let status = ask(Moment::Time(time)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(why), "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_events_at_one_time_the_later_one_has_not_happened_at_the_earlier() {
    let world = World::start().await;
    let acme = world.acme().await;
    // Later than the site, and all three at one time.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut made = Vec::new();
    for name in ["ann", "bob", "cy"] {
        let answer = acme
            .rpc
            .create_member(member(&format!("{name}@acme.example")));
        let answer = answer.await.unwrap();
        made.push((answer.member.unwrap().id, answer.receipt.unwrap().revision));
    }
    let (first, last) = (made[0].1, made[2].1);
    world.database.execute(&format!(
        "UPDATE events SET occurred_at = (SELECT occurred_at FROM events WHERE number = {last}) \
         WHERE number BETWEEN {first} AND {last}"
    ));
    world.database.execute(&format!(
        "UPDATE members SET created_at = (SELECT occurred_at FROM events WHERE number = {last}) \
         WHERE user_name <> 'owner@acme.example'"
    ));
    let caller = &acme.rpc.caller;
    let there = async |id: &str, moment: Moment| {
        let request = pb::ListMemberAccessRequest {
            member: by_id(id),
            as_of: at(moment),
            ..Default::default()
        };
        let request = caller.request(request);
        caller.access().list_member_access(request).await.is_ok()
    };
    for (asked, (_, revision)) in made.iter().enumerate() {
        for (place, (id, _)) in made.iter().enumerate() {
            let moment = Moment::Revision(*revision);
            assert_eq!(
                there(id, moment).await,
                place <= asked,
                "{place} at {asked}"
            );
        }
    }
    let events = acme.rpc.events().await;
    let time = events[last as usize - 1].time.unwrap();
    assert!(there(&made[2].0, Moment::Time(time)).await);
    let owner = acme
        .rpc
        .list_member_access(identity_tests::rpc::by_user_name("owner@acme.example"));
    let owner = owner.await.unwrap().member_id;
    assert!(
        there(&owner, Moment::Revision(1)).await,
        "made with the site"
    );
}
