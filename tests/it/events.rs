//! Events: one for each change and none without, numbered without gaps, saying who did what to whom.

use std::collections::BTreeSet;

use identity_proto::v1 as pb;
use identity_tests::{
    rpc::{by_user_name, entity, role, target_name},
    scim::{self, PATCH_OP},
    world::{OWNER, Site, World},
    writes::{mask, member, new_trace_id, reason, traced},
};
use prost_types::{Value, value::Kind};
use reqwest::Method;
use serde_json::json;
use tonic::Code;

/// The kinds of all events after this many.
async fn kinds_after(site: &Site, count: usize) -> Vec<String> {
    let events = site.rpc.events().await;
    events[count..]
        .iter()
        .map(|event| event.kind.clone())
        .collect()
}

fn text<'a>(fields: &'a Option<prost_types::Struct>, name: &str) -> Option<&'a str> {
    match fields.as_ref()?.fields.get(name)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_has_one_event_and_nothing_else_has() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let (_, spare) = world.issue("acme", &[pb::Scope::Read]).await;
    let rpc = &acme.rpc;
    let begun = rpc.events().await.len();

    let ann = acme.scim.make_user("ann@acme.example").await;
    let user = format!("/Users/{ann}");
    // What fails and what changes nothing takes no number.
    acme.scim
        .post("/Users", &scim::user("ANN@acme.example"))
        .await
        .error(409, "uniqueness");
    acme.scim
        .patch(
            &user,
            json!([{ "op": "replace", "value": { "active": true } }]),
        )
        .await
        .is(200);
    acme.scim
        .post("/Groups", &scim::group("CB/acme/ROLE/Nope", &[&ann]))
        .await
        .error(400, "invalidValue");
    acme.scim.get("/Users").await.is(200);
    let title = json!([{ "op": "replace", "path": "title", "value": "Head" }]);
    acme.scim.patch(&user, title.clone()).await.is(200);
    acme.scim.patch(&user, title).await.is(200);
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    let group = format!("/Groups/{group}");
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": ann }] }]);
    acme.scim.patch(&group, add).await.is(204);
    acme.scim
        .patch(
            &group,
            json!([{ "op": "replace", "path": "members", "value": [] }]),
        )
        .await
        .is(204);
    for active in [false, true] {
        rpc.set_active(&ann, active).await.unwrap();
    }
    let made = acme.make_role("Custom", &[]).await;
    let renamed = pb::Role {
        name: "Other".to_owned(),
        ..Default::default()
    };
    for _ in 0..2 {
        rpc.update_role(&made, renamed.clone(), &["name"])
            .await
            .unwrap();
    }
    let grant = rpc.grant("ann@acme.example", role("other")).await.unwrap();
    let refused = rpc.delete_role(&made).await;
    assert_eq!(reason(refused, Code::FailedPrecondition), "STILL_GRANTS");
    rpc.end_grant(&grant).await.unwrap();
    rpc.delete_role(&made).await.unwrap();
    let made = acme.make_entity("EU GmbH").await;
    let renamed = pb::BusinessEntity {
        name: "EU SE".to_owned(),
        ..Default::default()
    };
    for _ in 0..2 {
        rpc.update_entity(&made, renamed.clone(), &["name"])
            .await
            .unwrap();
    }
    rpc.delete_entity(&made).await.unwrap();
    rpc.divide(pb::Reach::None).await.unwrap();
    for _ in 0..2 {
        acme.set_outside_groups(pb::OutsideGroups::Keep).await;
    }
    acme.scim.delete(&group).await.is(204);
    acme.scim.delete(&user).await.is(204);
    acme.scim.delete(&user).await.error(404, "");
    for _ in 0..2 {
        let revoke = pb::RevokeCredentialRequest {
            credential_id: spare.clone(),
            ..Default::default()
        };
        let revoke = rpc.caller.request(revoke);
        rpc.caller
            .credentials()
            .revoke_credential(revoke)
            .await
            .unwrap();
    }

    assert_eq!(
        kinds_after(&acme, begun).await,
        [
            "member.created",
            "member.updated",
            "group.created",
            "group.updated",
            "member.deactivated",
            "member.reactivated",
            "role.created",
            "role.updated",
            "grant.created",
            "grant.ended",
            "role.deleted",
            "business_entity.created",
            "business_entity.updated",
            "business_entity.deleted",
            "site.divided",
            "site.updated",
            "group.deleted",
            "member.deleted",
            "credential.revoked",
        ]
    );
    let events = rpc.events().await;
    let first: Vec<&str> = events[..begun]
        .iter()
        .map(|event| event.kind.as_str())
        .collect();
    assert_eq!(
        first,
        [
            "site.created",
            "credential.issued",
            "credential.issued",
            "credential.issued"
        ]
    );
    for (event, number) in events.iter().zip(1..) {
        assert_eq!(event.number, number);
        assert_eq!(event.site_id, acme.id);
        assert_eq!(
            Some(event.subject_kind.as_str()),
            event.kind.split('.').next()
        );
        assert_eq!(event.trace_id.len(), 32);
        assert!(!event.subject_id.is_empty());
    }
    let last = world.database.check_events(&acme.id);
    assert_eq!(last as usize, events.len());
    assert_eq!(rpc.get_site().await.revision, last);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_says_who_did_what_to_whom_in_which_trace() {
    let world = World::start().await;
    let acme = world.acme().await;
    let made = acme
        .scim
        .post("/Users", &scim::user("ann@acme.example"))
        .await
        .is(201);
    let ann = made.id();
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    let path = format!("/Users/{ann}");
    let patched = acme
        .scim
        .patch(
            &path,
            json!([{ "op": "replace", "value": { "externalId": "x-1", "active": false } }]),
        )
        .await
        .is(200);
    let events = acme.rpc.events().await;
    let creation = events
        .iter()
        .find(|event| event.kind == "member.created")
        .unwrap();
    assert_eq!(creation.trace_id, made.trace_id());
    assert_eq!(text(&creation.after, "user_name"), Some("ann@acme.example"));
    assert!(creation.before.as_ref().unwrap().fields.is_empty());

    let last = events.last().unwrap();
    assert_eq!(
        (last.kind.as_str(), last.subject_id.as_str()),
        ("member.deactivated", ann.as_str())
    );
    assert_eq!(last.trace_id, patched.trace_id());
    let names = |fields: &Option<prost_types::Struct>| -> BTreeSet<String> {
        fields.as_ref().unwrap().fields.keys().cloned().collect()
    };
    let changed = BTreeSet::from(["active".to_owned(), "external_id".to_owned()]);
    assert_eq!(names(&last.before), changed, "only what changed");
    assert_eq!(names(&last.after), changed);
    assert_eq!(
        text(&last.before, "external_id"),
        Some("00uann@acme.example")
    );
    assert_eq!(text(&last.after, "external_id"), Some("x-1"));
    let active =
        |fields: &Option<prost_types::Struct>| fields.as_ref().unwrap().fields["active"].clone();
    assert_eq!(
        (active(&last.before), active(&last.after)),
        (Value::from(true), Value::from(false))
    );
    let [change] = last.access_changes.as_slice() else {
        panic!("{last:?}")
    };
    assert_eq!(target_name(change.target.as_ref()), "Analyst");
    assert_eq!(change.lost_member_ids, [ann.as_str()]);
    assert!(change.gained_member_ids.is_empty());

    // The actor is the credential, by its id and label.
    let actor = last.actor.clone().unwrap();
    let request = acme
        .rpc
        .caller
        .request(pb::ListCredentialsRequest::default());
    let mut client = acme.rpc.caller.credentials();
    let credentials = client.list_credentials(request).await.unwrap().into_inner();
    let used = credentials
        .credentials
        .iter()
        .find(|credential| credential.id == actor.credential_id)
        .unwrap();
    assert_eq!(used.label, actor.label);
    assert_eq!(used.scopes, [i32::from(pb::Scope::Provision)]);
    let founding = events[0].actor.clone().unwrap();
    assert_eq!(
        (founding.credential_id.as_str(), founding.label.as_str()),
        ("", "bootstrap")
    );

    // A rename tells the target that was and the one that is, and everybody whom it moved.
    acme.rpc.set_active(&ann, true).await.unwrap();
    let trace_id = new_trace_id();
    let request = pb::UpdateGroupRequest {
        group_id: group.clone(),
        display_name: Some("CB/acme/ROLE/Admin".to_owned()),
        target: Some(pb::TargetByName {
            kind: pb::TargetKind::Role.into(),
            name: "Admin".to_owned(),
            site_domain: String::new(),
        }),
        ..Default::default()
    };
    let request = traced(acme.rpc.caller.request(request), &trace_id);
    let answer = acme.rpc.groups().update_group(request).await.unwrap();
    let receipt = answer.into_inner().receipt.unwrap();
    let last = acme.rpc.events().await.pop().unwrap();
    assert_eq!((receipt.revision, &trace_id), (last.number, &last.trace_id));
    assert_eq!(receipt.access_changes, last.access_changes);
    assert_eq!(
        text(&last.before, "display_name"),
        Some("CB/acme/ROLE/Analyst")
    );
    assert_eq!(
        text(&last.after, "display_name"),
        Some("CB/acme/ROLE/Admin")
    );
    assert_eq!(last.access_changes.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_never_goes_back_within_a_site() {
    let world = World::start().await;
    let acme = world.acme().await;
    // As if the clock of the machine had been an hour ahead until a moment ago.
    world
        .database
        .execute("UPDATE site_clocks SET ticked_at = ticked_at + interval '1 hour'");
    world
        .database
        .execute("UPDATE events SET occurred_at = occurred_at + interval '1 hour' WHERE number = (SELECT max(number) FROM events)");
    acme.scim.make_user("ann@acme.example").await;
    acme.scim.make_user("bob@acme.example").await;
    world.database.check_events(&acme.id);
    let events = acme.rpc.events().await;
    let ann = acme
        .rpc
        .get_member(by_user_name("ann@acme.example"))
        .await
        .unwrap();
    assert_eq!(ann.create_time, events[events.len() - 2].time);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_read_page_by_page() {
    let world = World::start().await;
    let acme = world.acme().await;
    let list = |after, page_size, newest| {
        let request = pb::ListEventsRequest {
            after,
            page_size,
            newest,
            ..Default::default()
        };
        let request = acme.rpc.caller.request(request);
        let channel = acme.rpc.caller.channel();
        let mut client = pb::event_service_client::EventServiceClient::new(channel);
        async move {
            let answer = client.list_events(request).await?.into_inner();
            let numbers: Vec<i64> = answer.events.iter().map(|event| event.number).collect();
            Ok::<_, tonic::Status>((numbers, answer.revision))
        }
    };
    let (all, revision) = list(0, None, false).await.unwrap();
    assert_eq!(all, (1..=revision).collect::<Vec<_>>());
    assert_eq!(
        list(0, Some(2), false).await.unwrap(),
        (vec![1, 2], revision)
    );
    assert_eq!(
        list(2, Some(2), false).await.unwrap(),
        (vec![3, 4], revision)
    );
    assert_eq!(
        list(revision, Some(2), false).await.unwrap(),
        (vec![], revision)
    );
    assert_eq!(
        list(0, Some(2), true).await.unwrap(),
        (vec![revision - 1, revision], revision)
    );
    assert_eq!(list(0, Some(1000), true).await.unwrap(), (all, revision));
    for (after, page_size, newest) in [
        (-1, None, false),
        (0, Some(0), false),
        (0, Some(1001), false),
        (1, None, true),
    ] {
        let outcome = list(after, page_size, newest).await;
        assert_eq!(reason(outcome, Code::InvalidArgument), "FIELD_INVALID");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_over_scim_answers_as_the_write_would_and_changes_nothing() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let bob = acme.scim.make_user("bob@acme.example").await;
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    let owner = acme.rpc.get_member(by_user_name(OWNER)).await.unwrap().id;
    let patch =
        |operation: serde_json::Value| json!({ "schemas": [PATCH_OP], "Operations": [operation] });
    let (user, path) = (format!("/Users/{ann}"), format!("/Groups/{group}"));
    let nobody = uuid::Uuid::new_v4().to_string();
    for (method, path, body, status, effect) in [
        (
            Method::POST,
            "/Users",
            scim::user("new@acme.example"),
            201,
            "members=1, skipped=0, gained=0, lost=0",
        ),
        (
            Method::POST,
            "/Users",
            scim::user("ann@acme.example"),
            409,
            "",
        ),
        (
            Method::PATCH,
            &user,
            patch(json!({ "op": "replace", "value": { "active": false } })),
            200,
            "members=1, skipped=0, gained=0, lost=1",
        ),
        (
            Method::PATCH,
            &user,
            patch(json!({ "op": "replace", "path": "title", "value": "x" })),
            200,
            "members=1, skipped=0, gained=0, lost=0",
        ),
        (
            Method::PATCH,
            &path,
            patch(
                json!({ "op": "add", "path": "members", "value": [{ "value": bob }, { "value": nobody }] }),
            ),
            204,
            "members=1, skipped=1, gained=1, lost=0",
        ),
        (
            Method::PATCH,
            &path,
            patch(json!({ "op": "replace", "path": "displayName", "value": "CB/acme/BE/US Inc" })),
            204,
            "members=2, skipped=0, gained=1, lost=1",
        ),
        (
            Method::PATCH,
            &path,
            patch(json!({ "op": "replace", "path": "displayName", "value": "CB/acme/BE/UK Ltd" })),
            400,
            "",
        ),
        (
            Method::PUT,
            &path,
            scim::group("CB/acme/ROLE/Admin", &[&bob]),
            200,
            "",
        ),
        (
            Method::POST,
            "/Groups",
            scim::group("CB/acme/ROLE/Sales Agent", &[&ann, &bob]),
            201,
            "",
        ),
        (Method::DELETE, &path, serde_json::Value::Null, 204, ""),
        (Method::DELETE, &user, serde_json::Value::Null, 204, ""),
        (
            Method::DELETE,
            &format!("/Users/{owner}"),
            serde_json::Value::Null,
            403,
            "",
        ),
    ] {
        let send = |dry: &'static str| {
            let mut request = acme.scim.request(method.clone(), path);
            if !dry.is_empty() {
                request = request.header("roster-dry-run", dry);
            }
            if !body.is_null() {
                request = request
                    .header("content-type", "application/scim+json")
                    .body(body.to_string());
            }
            scim::Scim::send(request)
        };
        let before = world.database.snapshot();
        let rehearsed = send("true").await.is(status);
        assert_eq!(world.database.snapshot(), before, "{method} {path}");
        let done = send("").await.is(status);
        assert_eq!(
            rehearsed.header("roster-effect"),
            done.header("roster-effect"),
            "{method} {path}"
        );
        if !effect.is_empty() {
            assert_eq!(done.header("roster-effect"), effect, "{method} {path}");
        }
        if status == 200 || status == 201 {
            let mut bodies = [rehearsed.body, done.body];
            for body in &mut bodies {
                // New ids and the time are the only things that can't be known before.
                body["id"].take();
                body["meta"].take();
            }
            assert_eq!(bodies[0], bodies[1], "{method} {path}");
        }
    }
    let odd = acme
        .scim
        .request(Method::DELETE, &user)
        .header("roster-dry-run", "perhaps");
    scim::Scim::send(odd).await.error(400, "invalidValue");
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_only_answers_as_the_write_would_and_changes_nothing() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let ann = acme.rpc.make_member("ann@acme.example").await;
    let custom = acme.make_role("Custom", &[]).await;
    let eu = acme.make_entity("EU GmbH").await;
    acme.make_entity("US Inc").await;
    let grant = acme
        .rpc
        .grant("ann@acme.example", role("Analyst"))
        .await
        .unwrap();
    let (_, credential) = world.issue("acme", &[pb::Scope::Read]).await;
    let caller = &acme.rpc.caller;
    let target = Some(pb::TargetByName {
        kind: pb::TargetKind::Role.into(),
        name: "Admin".to_owned(),
        site_domain: String::new(),
    });
    let group = pb::CreateGroupRequest {
        display_name: "admins".to_owned(),
        target,
        member_ids: vec![ann.clone()],
        ..Default::default()
    };

    /// Runs one request dry and then for good, and holds the receipts against each other.
    macro_rules! both {
        ($client:expr, $method:ident, $request:expr) => {{
            let request = $request;
            let before = world.database.snapshot();
            let revision = acme.rpc.get_site().await.revision;
            let mut dry = request.clone();
            dry.validate_only = true;
            let rehearsed = $client
                .$method(caller.request(dry))
                .await
                .unwrap()
                .into_inner();
            assert_eq!(world.database.snapshot(), before, stringify!($method));
            let done = $client
                .$method(caller.request(request))
                .await
                .unwrap()
                .into_inner();
            assert_ne!(world.database.snapshot(), before, stringify!($method));
            let (rehearsal, mut receipt) = (
                rehearsed.receipt.clone().unwrap(),
                done.receipt.clone().unwrap(),
            );
            assert!(receipt.changed, stringify!($method));
            assert_eq!(receipt.revision, revision + 1, stringify!($method));
            assert_eq!(
                rehearsal.revision,
                revision,
                "{}: nothing has a number yet",
                stringify!($method)
            );
            receipt.revision = revision;
            assert_eq!(rehearsal, receipt, stringify!($method));
            (rehearsed, done)
        }};
    }

    both!(
        caller.members(),
        create_member,
        pb::CreateMemberRequest {
            member: Some(member("bob@acme.example")),
            ..Default::default()
        }
    );
    both!(
        caller.members(),
        update_member,
        pb::UpdateMemberRequest {
            member_id: ann.clone(),
            values: Some(pb::Member::default()),
            update_mask: mask(&["active"]),
            ..Default::default()
        }
    );
    both!(acme.rpc.groups(), create_group, group);
    let groups = acme.scim.get("/Groups").await.body;
    let group_id = groups["Resources"][0]["id"].as_str().unwrap().to_owned();
    both!(
        acme.rpc.groups(),
        update_group,
        pb::UpdateGroupRequest {
            group_id: group_id.clone(),
            external_id: Some("x".to_owned()),
            ..Default::default()
        }
    );
    both!(
        acme.rpc.groups(),
        delete_group,
        pb::DeleteGroupRequest {
            group_id,
            ..Default::default()
        }
    );
    both!(
        acme.rpc.grants(),
        create_grant,
        pb::CreateGrantRequest {
            member: by_user_name("bob@acme.example"),
            target: entity("EU GmbH"),
            reason: "why".to_owned(),
            ..Default::default()
        }
    );
    both!(
        acme.rpc.grants(),
        end_grant,
        pb::EndGrantRequest {
            grant_id: grant,
            ..Default::default()
        }
    );
    both!(
        caller.roles(),
        create_role,
        pb::CreateRoleRequest {
            role: Some(pb::Role {
                name: "Second".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }
    );
    both!(
        caller.roles(),
        update_role,
        pb::UpdateRoleRequest {
            role_id: custom.clone(),
            values: Some(pb::Role {
                permissions: vec!["data.export".to_owned()],
                ..Default::default()
            }),
            update_mask: mask(&["permissions"]),
            ..Default::default()
        }
    );
    both!(
        caller.roles(),
        delete_role,
        pb::DeleteRoleRequest {
            role_id: custom,
            ..Default::default()
        }
    );
    both!(
        caller.business_entities(),
        create_business_entity,
        pb::CreateBusinessEntityRequest {
            business_entity: Some(pb::BusinessEntity {
                name: "JP KK".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }
    );
    both!(
        caller.business_entities(),
        update_business_entity,
        pb::UpdateBusinessEntityRequest {
            business_entity_id: eu,
            values: Some(pb::BusinessEntity {
                name: "EU SE".to_owned(),
                ..Default::default()
            }),
            update_mask: mask(&["name"]),
            ..Default::default()
        }
    );
    let us = acme.rpc.list_entities().await.pop().unwrap();
    both!(
        caller.business_entities(),
        delete_business_entity,
        pb::DeleteBusinessEntityRequest {
            business_entity_id: us.id,
            ..Default::default()
        }
    );
    both!(
        caller.sites(),
        divide_site,
        pb::DivideSiteRequest {
            unassigned_reach: pb::Reach::None.into(),
            ..Default::default()
        }
    );
    both!(
        caller.sites(),
        update_site,
        pb::UpdateSiteRequest {
            values: Some(pb::Site {
                custom_role_limit: 3,
                ..Default::default()
            }),
            update_mask: mask(&["custom_role_limit"]),
            ..Default::default()
        }
    );
    both!(
        caller.members(),
        delete_member,
        pb::DeleteMemberRequest {
            member_id: ann,
            ..Default::default()
        }
    );
    let credentials = || {
        world
            .database
            .number("SELECT count(*) AS n FROM credentials WHERE revoked_at IS NULL")
    };
    let valid = credentials();
    let mut issue = pb::IssueCredentialRequest {
        label: "spare".to_owned(),
        scopes: vec![pb::Scope::Read.into()],
        validate_only: true,
        ..Default::default()
    };
    let rehearsed = caller
        .credentials()
        .issue_credential(caller.request(issue.clone()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((rehearsed.token.as_str(), credentials()), ("", valid));
    let mut revoke = pb::RevokeCredentialRequest {
        credential_id: credential,
        validate_only: true,
        ..Default::default()
    };
    caller
        .credentials()
        .revoke_credential(caller.request(revoke.clone()))
        .await
        .unwrap();
    assert_eq!(credentials(), valid);
    issue.validate_only = false;
    revoke.validate_only = false;
    let issued = caller
        .credentials()
        .issue_credential(caller.request(issue))
        .await
        .unwrap()
        .into_inner();
    assert!(!issued.token.is_empty());
    assert_eq!(credentials(), valid + 1);
    caller
        .credentials()
        .revoke_credential(caller.request(revoke))
        .await
        .unwrap();
    assert_eq!(credentials(), valid);

    // A site that is only rehearsed does not exist, and its domain stays free.
    let bootstrap = world.caller(identity_tests::world::BOOTSTRAP);
    let mut create = pb::CreateSiteRequest {
        domain: "bolt".to_owned(),
        owner: Some(pb::NewOwner {
            user_name: "owner@bolt.example".to_owned(),
            given_name: "O".to_owned(),
            family_name: "B".to_owned(),
        }),
        validate_only: true,
        ..Default::default()
    };
    let before = world.database.snapshot();
    bootstrap
        .sites()
        .create_site(bootstrap.request(create.clone()))
        .await
        .unwrap();
    assert_eq!(world.database.snapshot(), before);
    create.validate_only = false;
    bootstrap
        .sites()
        .create_site(bootstrap.request(create))
        .await
        .unwrap();
    world.database.check_events(&acme.id);
}
