//! Direct grants that are changed: another reason, another end, and the same grant all the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use identity_proto::v1::{self as pb, access_question::Ability, as_of::Moment, grant::Source};
use identity_tests::{
    grants::{direct, endings, get, until},
    rpc::{Rpc, by_id, by_user_name, moment, role, timestamp},
    world::{OWNER, World},
    writes::{mask, reason, refused},
};
use tonic::{Code, Response, Status};

/// What an update changes: the reason, the end, or both.
fn change(
    grant_id: &str,
    reason: Option<&str>,
    end: Option<Option<DateTime<Utc>>>,
) -> pb::UpdateGrantRequest {
    let mut paths = Vec::new();
    paths.extend(reason.map(|_| "reason"));
    paths.extend(end.map(|_| "end_time"));
    pb::UpdateGrantRequest {
        grant_id: grant_id.to_owned(),
        values: Some(pb::DirectSource {
            reason: reason.unwrap_or_default().to_owned(),
            end_time: end.flatten().map(timestamp),
            ..Default::default()
        }),
        update_mask: mask(&paths),
        ..Default::default()
    }
}

async fn update(
    rpc: &Rpc,
    request: pb::UpdateGrantRequest,
) -> Result<pb::UpdateGrantResponse, Status> {
    let request = rpc.caller.request(request);
    let answer = rpc.grants().update_grant(request).await;
    answer.map(Response::into_inner)
}

/// In so many milliseconds, as exact as an end is kept.
fn later(milliseconds: i64) -> DateTime<Utc> {
    (Utc::now() + TimeDelta::milliseconds(milliseconds)).trunc_subsecs(3)
}

fn end_of(given: &pb::DirectGrant) -> Option<DateTime<Utc>> {
    let grant = given.grant.as_ref().unwrap();
    direct(grant).end_time.as_ref().map(moment)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_moved_taken_off_and_set_again_and_only_the_last_one_comes() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.rpc.make_member("ann@acme.example").await;
    let short = Duration::from_millis(900);
    let (id, first) = acme
        .rpc
        .grant_for(by_id(&ann), role("Analyst"), short)
        .await
        .unwrap();
    // Later: the first end passes, and nothing ends.
    let hour = later(3_600_000);
    let answer = update(&acme.rpc, change(&id, None, Some(Some(hour))))
        .await
        .unwrap();
    assert_eq!(end_of(answer.grant.as_ref().unwrap()), Some(hour));
    world.database.check_events(&acme.id);
    until(first, TimeDelta::milliseconds(400)).await;
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Analyst"]);
    assert!(endings(&acme.rpc, &id).await.is_empty());

    // Off: the clock waits for nothing.
    update(&acme.rpc, change(&id, None, Some(None)))
        .await
        .unwrap();
    assert_eq!(end_of(&get(&acme.rpc, &id).await), None);
    world.database.check_events(&acme.id);
    let waits = "SELECT count(next_end_at) AS n FROM site_clocks";
    assert_eq!(world.database.number(waits), 0);

    // On again, and sooner: it ends then, at that very time.
    let soon = later(60_000);
    update(&acme.rpc, change(&id, None, Some(Some(soon))))
        .await
        .unwrap();
    let sooner = later(700);
    update(&acme.rpc, change(&id, None, Some(Some(sooner))))
        .await
        .unwrap();
    world.database.check_events(&acme.id);
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Analyst"]);
    until(sooner, TimeDelta::milliseconds(1000)).await;
    let written = world.database.number(&format!(
        "SELECT count(*) AS n FROM events WHERE kind = 'grant.ended' AND subject_id = '{id}'"
    ));
    assert_eq!(written, 1, "within a second, though nobody asks");
    let ended = endings(&acme.rpc, &id).await;
    assert_eq!(moment(ended[0].time.as_ref().unwrap()), sooner);
    assert!(acme.rpc.roles("ann@acme.example").await.is_empty());
    // What is over does not come back.
    let again = update(&acme.rpc, change(&id, None, Some(Some(hour)))).await;
    assert_eq!(reason(again, Code::NotFound), "GRANT_NOT_FOUND");
    world.database.check_events(&acme.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_has_what_a_grant_gives_all_the_while_it_is_changed() {
    let world = World::start().await;
    let acme = Arc::new(world.acme().await);
    let ann = acme.rpc.make_member("ann@acme.example").await;
    let id = acme
        .rpc
        .grant("ann@acme.example", role("Admin"))
        .await
        .unwrap();
    let given = get(&acme.rpc, &id).await.grant.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let asking: Vec<_> = (0..3)
        .map(|_| {
            let (acme, ann, done) = (acme.clone(), ann.clone(), done.clone());
            tokio::spawn(async move {
                let mut asked = 0;
                while !done.load(Ordering::Relaxed) {
                    let request = acme.rpc.caller.request(pb::CheckAccessRequest {
                        question: Some(pb::AccessQuestion {
                            member: by_id(&ann),
                            ability: Some(Ability::Permission("team.manage".to_owned())),
                            ..Default::default()
                        }),
                        ..Default::default()
                    });
                    let mut client = acme.rpc.caller.access();
                    let answer = client.check_access(request).await.unwrap().into_inner();
                    assert!(
                        answer.answer.unwrap().allowed,
                        "revision {}",
                        answer.revision
                    );
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    for round in 0..40_i64 {
        let end = (round % 3 > 0).then(|| later(60_000 + round));
        let why = format!("round {round}");
        let answer = update(&acme.rpc, change(&id, Some(&why), Some(end)))
            .await
            .unwrap();
        let receipt = answer.receipt.unwrap();
        assert_eq!(
            (receipt.changed, receipt.gained, receipt.lost),
            (true, 0, 0)
        );
        let grant = answer.grant.unwrap().grant.unwrap();
        assert_eq!(
            (grant.since, grant.since_revision),
            (given.since, given.since_revision),
            "it is the grant that it was"
        );
        assert_eq!(direct(&grant).actor, direct(&given).actor);
    }
    done.store(true, Ordering::Relaxed);
    for asked in asking {
        assert!(asked.await.unwrap() > 0);
    }
    world.database.check_events(&acme.id);
}

/// All that is answered about the reasons of Ann's access at a moment.
async fn reasons(
    rpc: &Rpc,
    as_of: Option<i64>,
) -> (pb::ListMemberAccessResponse, Vec<pb::Grant>, Vec<String>) {
    let as_of = as_of.map(|revision| pb::AsOf {
        moment: Some(Moment::Revision(revision)),
    });
    let caller = &rpc.caller;
    let member = by_user_name("ann@acme.example");
    let request = caller.request(pb::ListMemberAccessRequest {
        member: member.clone(),
        as_of,
        ..Default::default()
    });
    let access = caller.access().list_member_access(request).await.unwrap();
    let request = caller.request(pb::ListMembersWithRoleRequest {
        role: Some(pb::NamedRef {
            name: "Analyst".to_owned(),
            ..Default::default()
        }),
        as_of,
        ..Default::default()
    });
    let holders = caller.access().list_members_with_role(request).await;
    let holders = holders.unwrap().into_inner().members;
    let request = caller.request(pb::ExplainAccessRequest {
        question: Some(pb::AccessQuestion {
            member,
            ability: Some(Ability::Permission("metrics.view".to_owned())),
            ..Default::default()
        }),
        as_of,
        ..Default::default()
    });
    let explained = caller.access().explain_access(request).await.unwrap();
    (
        access.into_inner(),
        holders
            .into_iter()
            .flat_map(|holder| holder.grants)
            .collect(),
        explained.into_inner().sentences,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_answers_what_it_answered_before_the_update() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    acme.rpc.make_member("ann@acme.example").await;
    let id = acme
        .rpc
        .grant("ann@acme.example", role("Analyst"))
        .await
        .unwrap();
    let mut recorded = Vec::new();
    let mut record = async || {
        let answer = reasons(&acme.rpc, None).await;
        recorded.push((answer.0.revision, answer));
    };
    record().await;
    let steps = [
        (Some("stands in for Bob"), None),
        (None, Some(Some(later(3_600_000)))),
        (Some("Bob stays away"), Some(Some(later(7_200_000)))),
        (None, Some(None)),
        (Some("a test"), Some(Some(later(60_000)))),
    ];
    for (why, end) in steps {
        update(&acme.rpc, change(&id, why, end)).await.unwrap();
        record().await;
    }
    // Something else happens, it is taken back, and given anew for another reason.
    acme.rpc.make_member("bob@acme.example").await;
    record().await;
    acme.rpc.end_grant(&id).await.unwrap();
    record().await;
    acme.rpc
        .grant("ann@acme.example", role("Analyst"))
        .await
        .unwrap();
    record().await;
    assert_eq!(recorded.len(), 9);
    let different: std::collections::BTreeSet<String> = recorded
        .iter()
        .flat_map(|(_, answer)| &answer.1)
        .map(|grant| match &grant.source {
            Some(Source::Direct(direct)) => format!("{direct:?}"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(different.len(), 7, "each update shows");
    for (revision, answer) in &recorded {
        let again = reasons(&acme.rpc, Some(*revision)).await;
        assert_eq!((&again.1, &again.2), (&answer.1, &answer.2), "{revision}");
        assert_eq!(again.0.roles, answer.0.roles, "{revision}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_one_event_with_before_and_after_and_so_is_the_reason_of_an_end() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    let id = acme
        .rpc
        .grant("ann@acme.example", role("Analyst"))
        .await
        .unwrap();
    let by_group = async || {
        let access = acme.rpc.list_member_access(by_id(&ann)).await.unwrap();
        let grants = access.roles.into_iter().flat_map(|role| role.grants);
        let mut grants = grants.filter(|grant| matches!(grant.source, Some(Source::Group(_))));
        grants.next().unwrap()
    };
    let pushed = by_group().await;
    let end = later(3_600_000);
    let answer = update(
        &acme.rpc,
        change(&id, Some("  until Bob is back "), Some(Some(end))),
    )
    .await
    .unwrap();
    let receipt = answer.receipt.unwrap();
    let shown = answer.grant.unwrap();
    assert_eq!(shown, get(&acme.rpc, &id).await);
    assert_eq!(shown.version, receipt.revision);
    assert_eq!(receipt.members, 1);
    let events = acme.rpc.events().await;
    let event = events.last().unwrap();
    assert_eq!(
        (event.number, event.kind.as_str(), &event.subject_id),
        (receipt.revision, "grant.updated", &id)
    );
    assert_eq!(event.actor.as_ref().unwrap().label, "Okta of the tests");
    assert!(event.access_changes.is_empty());
    let text = |fields: &Option<prost_types::Struct>, name: &str| {
        let fields = &fields.as_ref().unwrap().fields;
        match fields.get(name).and_then(|value| value.kind.clone()) {
            Some(prost_types::value::Kind::StringValue(text)) => Some(text),
            None => None,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(text(&event.before, "reason").as_deref(), Some("a test"));
    assert_eq!(text(&event.before, "end_time"), None);
    let reason_now = text(&event.after, "reason");
    assert_eq!(reason_now.as_deref(), Some("until Bob is back"));
    let kept: DateTime<Utc> = text(&event.after, "end_time").unwrap().parse().unwrap();
    assert_eq!(kept, end);

    // The same again changes nothing.
    let same = update(
        &acme.rpc,
        change(&id, Some("until Bob is back"), Some(Some(end))),
    )
    .await
    .unwrap();
    assert!(!same.receipt.unwrap().changed);
    assert_eq!(same.grant.unwrap(), shown);

    // Taken back, with the reason in the event and beside the end.
    let request = acme.rpc.caller.request(pb::EndGrantRequest {
        grant_id: id.clone(),
        reason: " Bob is back\n".to_owned(),
        ..Default::default()
    });
    acme.rpc.grants().end_grant(request).await.unwrap();
    let events = endings(&acme.rpc, &id).await;
    let why = text(&events[0].after, "end_reason");
    assert_eq!(why.as_deref(), Some("Bob is back"));
    assert_eq!(
        text(&events[0].before, "reason").as_deref(),
        Some("until Bob is back")
    );
    let ended = get(&acme.rpc, &id).await;
    assert_eq!(ended.ending.unwrap().reason, "Bob is back");
    assert_eq!(ended.version, shown.version);
    // What the group gives was never touched.
    assert_eq!(by_group().await, pushed);
    assert_eq!(
        acme.scim
            .get(&format!("/Groups/{group}"))
            .await
            .is(200)
            .body["members"][0]["value"],
        ann.as_str()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_may_not_be_changes_nothing() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    acme.scim.make_group("CB/acme/ROLE/Admin", &[&ann]).await;
    let other = world.site("bolt").await;
    let id = acme
        .rpc
        .grant("ann@acme.example", role("Analyst"))
        .await
        .unwrap();
    let owner = acme.rpc.get_member(by_user_name(OWNER)).await.unwrap();
    let access = acme.rpc.list_member_access(by_id(&owner.id)).await.unwrap();
    let owners = direct(&access.roles[0].grants[0]).grant_id.clone();
    let before = world.database.snapshot();
    let rpc = &acme.rpc;

    for (request, expected) in [
        (change(&id, None, Some(Some(later(-1000)))), "end_time"),
        (change(&id, Some("  "), None), "reason"),
        (change(&id, Some(&"x".repeat(501)), None), "reason"),
        (change(&id, Some("a\0b"), None), "reason"),
        (
            pb::UpdateGrantRequest {
                update_mask: mask(&["actor"]),
                ..change(&id, Some("why"), None)
            },
            "update_mask",
        ),
    ] {
        let (name, metadata) = refused(update(rpc, request).await, Code::InvalidArgument);
        assert_eq!(
            (name.as_str(), metadata["field"].as_str()),
            ("FIELD_INVALID", expected)
        );
    }
    let ended = update(rpc, change(&owners, None, Some(Some(later(60_000))))).await;
    assert_eq!(reason(ended, Code::InvalidArgument), "OWNER_GRANT_WITH_END");
    for stranger in ["", "no id", &owner.id] {
        let outcome = update(rpc, change(stranger, Some("why"), None)).await;
        assert_eq!(reason(outcome, Code::NotFound), "GRANT_NOT_FOUND");
    }
    let foreign = update(&other.rpc, change(&id, Some("why"), None)).await;
    assert_eq!(reason(foreign, Code::NotFound), "GRANT_NOT_FOUND");
    let long = acme.rpc.caller.request(pb::EndGrantRequest {
        grant_id: id.clone(),
        reason: "x".repeat(501),
        ..Default::default()
    });
    let outcome = acme.rpc.grants().end_grant(long).await;
    assert_eq!(refused(outcome, Code::InvalidArgument).1["field"], "reason");
    // A grant's version is that of the event that gave it.
    let shown = get(rpc, &id).await;
    assert_eq!(shown.version, shown.grant.unwrap().since_revision);
    let stale = pb::UpdateGrantRequest {
        if_versions: vec![shown.version - 1, shown.version + 1],
        ..change(&id, Some("why"), None)
    };
    let (name, metadata) = refused(update(rpc, stale).await, Code::Aborted);
    assert_eq!(name, "VERSION_MISMATCH");
    assert_eq!(metadata["version"], shown.version.to_string());
    for scope in [
        pb::Scope::Provision,
        pb::Scope::WriteMembers,
        pb::Scope::Read,
    ] {
        let (token, _) = world.issue("acme", &[scope]).await;
        let outsider = Rpc {
            caller: world.caller(&token),
            site: None,
        };
        let outcome = update(&outsider, change(&id, Some("why"), None)).await;
        assert_eq!(reason(outcome, Code::PermissionDenied), "SCOPE_MISSING");
    }
    let unchanged = |snapshot: &str| {
        // Three credentials were issued meanwhile, which is three events.
        let grants = snapshot.split("\ngrants\n").nth(1).unwrap();
        grants.split("\nevents\n").next().unwrap().to_owned()
    };
    assert_eq!(unchanged(&world.database.snapshot()), unchanged(&before));

    // A dry run answers as the real one does.
    let before = world.database.snapshot();
    let end = later(60_000);
    let rehearsal = pb::UpdateGrantRequest {
        validate_only: true,
        if_versions: vec![shown.version],
        ..change(&id, Some("why"), Some(Some(end)))
    };
    let answer = update(rpc, rehearsal).await.unwrap();
    assert!(answer.receipt.unwrap().changed);
    assert_eq!(end_of(&answer.grant.unwrap()), Some(end));
    assert_eq!(world.database.snapshot(), before);
    // An Owner's reason may change.
    let renamed = update(rpc, change(&owners, Some("founded it"), None)).await;
    assert_eq!(
        direct(renamed.unwrap().grant.unwrap().grant.as_ref().unwrap()).reason,
        "founded it"
    );
}
