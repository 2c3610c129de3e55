//! What reads answer while a write is under way: about the present at once, and without what has run out; about
//! a time that has just passed as they always will.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::connection::SimpleConnection;
use futures_util::future::join_all;
use identity_proto::v1::{self as pb, access_question::Ability, as_of::Moment};
use identity_tests::{
    grants::{endings, list, until},
    rpc::{Rpc, by_id, entity, moment, role, timestamp},
    world::World,
    writes::member,
};
use roster_stack::grpc::Caller;
use tonic::{Code, Status};

/// Longer than a read waits for a write, and shorter than these writes take.
const PROMPTLY: Duration = Duration::from_millis(1500);

fn named(name: &str) -> pb::NamedRef {
    pb::NamedRef {
        name: name.to_owned(),
        ..Default::default()
    }
}

fn at(time: DateTime<Utc>) -> Option<pb::AsOf> {
    Some(pb::AsOf {
        moment: Some(Moment::Time(timestamp(time))),
    })
}

/// The revision and the names of a member's roles as of a moment, asked for with so much time.
async fn roles(
    rpc: &Rpc,
    id: &str,
    as_of: Option<pb::AsOf>,
    patience: Duration,
) -> Result<(i64, Vec<String>), Status> {
    let request = pb::ListMemberAccessRequest {
        member: by_id(id),
        as_of,
        ..Default::default()
    };
    let mut request = rpc.caller.request(request);
    request.set_timeout(patience);
    let access = rpc.caller.access().list_member_access(request).await?;
    let access = access.into_inner();
    let names = access.roles.iter();
    let names = names.map(|role| identity_tests::rpc::target_name(role.target.as_ref()));
    Ok((access.revision, names.collect()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_just_passed_is_answered_when_the_write_that_may_have_begun_before_is_done() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.rpc.make_member("ann@acme.example").await;
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[]).await;
    let (before, _) = roles(&acme.rpc, &ann, None, PROMPTLY).await.unwrap();
    // A write that has the site's lock, and its time, and comes to a stand on the way.
    let mut holder = world.database.connect();
    holder
        .batch_execute(&format!(
            "BEGIN; SELECT FROM members WHERE member_id = '{ann}' FOR UPDATE"
        ))
        .unwrap();
    let begun = Utc::now();
    let writing = tokio::spawn({
        let (scim, ann, group) = (acme.scim.clone(), ann.clone(), group.clone());
        async move {
            let add = serde_json::json!([{ "op": "add", "path": "members", "value": [{ "value": ann }] }]);
            scim.patch(&format!("/Groups/{group}"), add).await.is(204)
        }
    });
    world.database.wait_until_waiting(1).await;
    until(begun, TimeDelta::milliseconds(300)).await;
    let asked = Utc::now() - TimeDelta::milliseconds(3);
    let status = roles(&acme.rpc, &ann, at(asked), Duration::from_millis(400)).await;
    assert_eq!(status.unwrap_err().code(), Code::DeadlineExceeded);
    // Neither the present nor what is settled waits for it.
    let first = acme.rpc.events().await[0].time.unwrap();
    for as_of in [
        None,
        Some(pb::AsOf {
            moment: Some(Moment::Revision(before)),
        }),
        at(moment(&first)),
    ] {
        let promptly = Instant::now();
        let (revision, roles) = match roles(&acme.rpc, &ann, as_of, PROMPTLY).await {
            Err(status) if status.code() == Code::NotFound => (before, Vec::new()),
            answer => answer.unwrap(),
        };
        assert_eq!((revision, roles), (before, Vec::new()));
        assert!(promptly.elapsed() < PROMPTLY, "{:?}", promptly.elapsed());
    }
    let asking = tokio::spawn({
        let (rpc, ann) = (acme.rpc.clone(), ann.clone());
        async move { roles(&rpc, &ann, at(asked), Duration::from_secs(20)).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!asking.is_finished());
    holder.batch_execute("ROLLBACK").unwrap();
    writing.await.unwrap();
    let answer = asking.await.unwrap().unwrap();
    assert_eq!(answer, (before + 1, vec!["Analyst".to_owned()]));
    let event = acme.rpc.events().await.pop().unwrap();
    assert!(
        moment(&event.time.unwrap()) <= asked,
        "it was the answer of then"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_has_the_time_at_which_its_write_got_the_sites_lock() {
    let world = World::start().await;
    let acme = world.acme().await;
    // Whoever has the lock first changes nothing, as a dry run does.
    let lock = world.database.lock_site(&acme.id);
    let writing = tokio::spawn({
        let rpc = acme.rpc.clone();
        async move { rpc.create_member(member("ann@acme.example")).await }
    });
    world.database.wait_until_waiting(1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let free = Utc::now();
    lock.release();
    writing.await.unwrap().unwrap();
    let event = acme.rpc.events().await.pop().unwrap();
    let time = moment(&event.time.unwrap());
    assert!(time >= free - TimeDelta::milliseconds(1), "{time} < {free}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_once_answered_never_gets_another_answer_whatever_is_being_written() {
    let world = World::start().await;
    let acme = Arc::new(world.acme().await);
    let second = world.another_identity().await;
    let ids = world.database.seed_members(&acme.id, 4_000);
    let ann = acme.rpc.make_member("ann@acme.example").await;
    let all: Vec<String> = ids.iter().chain([&ann]).cloned().collect();
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[]).await;
    let address = format!("127.0.0.1:{}", second.port());
    let other = Caller::new(&address, &acme.service_token).unwrap();
    let other = Rpc {
        caller: other,
        site: None,
    };
    let stop = Arc::<AtomicBool>::default();
    let pushes = Arc::<AtomicUsize>::default();
    let answers = Arc::<AtomicUsize>::default();
    let pushing = tokio::spawn({
        let (rpc, stop, pushes) = (other.clone(), stop.clone(), pushes.clone());
        async move {
            while !stop.load(Ordering::Relaxed) {
                let member_ids = match pushes.load(Ordering::Relaxed) % 2 {
                    0 => all.clone(),
                    _ => vec![],
                };
                let request = pb::UpdateGroupRequest {
                    group_id: group.clone(),
                    membership: Some(pb::update_group_request::Membership::Exactly(
                        pb::ExactMembership { member_ids },
                    )),
                    without_members: true,
                    ..Default::default()
                };
                let request = rpc.caller.request(request);
                rpc.groups().update_group(request).await.unwrap();
                pushes.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let giving = tokio::spawn({
        let (rpc, ann, stop) = (acme.rpc.clone(), ann.clone(), stop.clone());
        async move {
            while !stop.load(Ordering::Relaxed) {
                let time = Duration::from_millis(40);
                let made = rpc.grant_for(by_id(&ann), role("Admin"), time).await;
                // Where it waited for too long, its end is not to come any more.
                drop(made);
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
    });
    let asking = [acme.rpc.clone(), other.clone(), acme.rpc.clone()].map(|rpc| {
        let (ann, stop, answers) = (ann.clone(), stop.clone(), answers.clone());
        tokio::spawn(async move {
            let mut answered = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                for ago in [0, 1, 3, 10, 50] {
                    let asked = Utc::now() - TimeDelta::milliseconds(ago);
                    let answer = roles(&rpc, &ann, at(asked), Duration::from_secs(20)).await;
                    answered.push((asked, answer.unwrap()));
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            }
            answered
        })
    });
    let begun = Instant::now();
    while pushes.load(Ordering::Relaxed) < 8 || answers.load(Ordering::Relaxed) < 60 {
        assert!(begun.elapsed() < Duration::from_secs(90), "nothing goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.store(true, Ordering::Relaxed);
    pushing.await.unwrap();
    giving.await.unwrap();
    let answered: Vec<_> = join_all(asking)
        .await
        .into_iter()
        .flat_map(Result::unwrap)
        .collect();
    println!("{pushes:?} pushes, {} answers", answered.len());
    let seen = |name: &str| {
        let with = |(_, (_, roles)): &&(_, (_, Vec<String>))| roles.iter().any(|had| had == name);
        answered.iter().filter(with).count()
    };
    assert!((1..answered.len()).contains(&seen("Analyst")));
    tokio::time::sleep(Duration::from_millis(1300)).await;
    for (asked, answer) in answered.into_iter().take(1500) {
        let settled = roles(&acme.rpc, &ann, at(asked), Duration::from_secs(20)).await;
        assert_eq!(answer, settled.unwrap(), "{asked}");
    }
    world.database.check_events(&acme.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_runs_out_during_a_slow_write_gives_nothing_at_once() {
    let world = World::start().await;
    let acme = world.acme().await;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(acme.rpc.make_member(&format!("m{n}@acme.example")).await);
    }
    ids.sort();
    // The third keeps the role by another reason, the fourth by a grant of no end.
    let kept: Vec<&str> = ids[2..3].iter().map(String::as_str).collect();
    acme.scim.make_group("CB/acme/ROLE/Analyst", &kept).await;
    acme.rpc
        .grant("m0@acme.example", entity("US Inc"))
        .await
        .unwrap();
    let mut given = Vec::new();
    for (n, id) in ids.iter().enumerate() {
        for target in [role("Analyst"), entity("EU GmbH")] {
            let time = match n {
                3 => Duration::from_secs(3600),
                _ => Duration::from_secs(3),
            };
            given.push(acme.rpc.grant_for(by_id(id), target, time).await.unwrap());
        }
    }
    let ends = || {
        let ending = given.iter().enumerate().filter(|(n, _)| n / 2 != 3);
        ending.map(|(_, given)| given.1)
    };
    let (first, end) = (ends().min().unwrap(), ends().max().unwrap());
    let revision = acme.rpc.get_site().await.revision;
    let lock = world.database.lock_site(&acme.id);
    assert!(Utc::now() < first, "too slow a machine to see them run out");
    until(end, TimeDelta::milliseconds(1)).await;

    let begun = Instant::now();
    let caller = &acme.rpc.caller;
    let check = |ability: Ability| {
        let question = pb::AccessQuestion {
            member: by_id(&ids[0]),
            ability: Some(ability),
            business_entity: None,
        };
        let request = caller.request(pb::CheckAccessRequest {
            question: Some(question),
            ..Default::default()
        });
        async move {
            caller
                .access()
                .check_access(request)
                .await
                .unwrap()
                .into_inner()
        }
    };
    let denied = check(Ability::Role(named("Analyst"))).await;
    assert!(begun.elapsed() < PROMPTLY, "{:?}", begun.elapsed());
    let answer = denied.answer.unwrap();
    assert_eq!((answer.allowed, denied.revision), (false, revision));
    // It says that the revision by itself is not what it is of.
    assert!(moment(&denied.ended_by.unwrap()) >= end);
    let permission = Ability::Permission("invoices.view".to_owned());
    assert!(!check(permission).await.answer.unwrap().allowed);
    assert!(
        roles(&acme.rpc, &ids[0], None, PROMPTLY)
            .await
            .unwrap()
            .1
            .is_empty()
    );
    let shown = acme
        .rpc
        .get_member(by_id(&ids[0]))
        .await
        .unwrap()
        .access
        .unwrap();
    assert!(shown.roles.is_empty(), "{shown:?}");
    let user = acme.scim.get(&format!("/Users/{}", ids[0])).await.is(200);
    assert!(!user.body.to_string().contains("Analyst"));
    let reaches = |listed: &pb::Member| {
        let access = listed.access.clone().unwrap();
        access.roles.iter().any(|role| role.name == "Analyst")
    };
    let filter = pb::ListMembersRequest {
        site: None,
        filter: Some(pb::Filter {
            node: Some(pb::filter::Node::Comparison(pb::Comparison {
                field: "access.roles.name".to_owned(),
                operator: pb::Operator::Equal.into(),
                value: Some(pb::comparison::Value::Text("Analyst".to_owned())),
                ..Default::default()
            })),
        }),
        ..Default::default()
    };
    let found = caller.members().list_members(caller.request(filter)).await;
    let found = found.unwrap().into_inner().members;
    assert!(found.iter().all(reaches));
    let mut found: Vec<String> = found.into_iter().map(|member| member.id).collect();
    found.sort();
    assert_eq!(found, ids[2..4]);
    let grants = list(&acme.rpc, pb::ListGrantsRequest::default()).await;
    // The Owner's, the one of US Inc, and the two that end later.
    assert_eq!(grants.len(), 4, "{grants:?}");
    // All pages of a listing are of the same moment, also those asked for when the write is done.
    let page = async |token: String| {
        let request = pb::ListMembersWithRoleRequest {
            role: Some(named("Analyst")),
            page_size: Some(1),
            page_token: token,
            ..Default::default()
        };
        let answer = caller
            .access()
            .list_members_with_role(caller.request(request))
            .await;
        let answer = answer.unwrap().into_inner();
        let ids: Vec<String> = answer.members.into_iter().map(|m| m.member_id).collect();
        (ids, answer.next_page_token)
    };
    let (first, next) = page(String::new()).await;
    assert_eq!(first, ids[2..3]);
    // By number the past is exact: it was so just after that event.
    let as_of = Some(pb::AsOf {
        moment: Some(Moment::Revision(revision)),
    });
    let then = roles(&acme.rpc, &ids[0], as_of, PROMPTLY).await.unwrap();
    assert_eq!(then, (revision, vec!["Analyst".to_owned()]));

    lock.release();
    let (rest, next) = page(next).await;
    assert_eq!((rest, next.as_str()), (ids[3..4].to_vec(), ""));
    let settled = roles(&acme.rpc, &ids[0], None, PROMPTLY).await.unwrap();
    assert_eq!(settled, (revision + 10, Vec::new()));
    for (n, (id, end)) in given.iter().enumerate() {
        let events = endings(&acme.rpc, id).await;
        let times: Vec<_> = events
            .iter()
            .map(|event| moment(&event.time.unwrap()))
            .collect();
        let expected = if n / 2 == 3 { vec![] } else { vec![*end] };
        assert_eq!(times, expected);
    }
    world.database.check_events(&acme.id);
}
