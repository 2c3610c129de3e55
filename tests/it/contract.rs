//! The gRPC contract from outside: health, reflection, and what every refusal carries.

use std::collections::BTreeSet;

use identity_proto::v1 as pb;
use identity_tests::{
    rpc::{by_id, by_user_name, role},
    watch::{resume, watch},
    world::{OWNER, Settings, World},
    writes::{mask, member, reason, refused},
};
use tokio_stream::StreamExt;
use tonic::{Code, Request, Response, Status, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use tonic_types::StatusExt;

const SERVICES: [&str; 10] = [
    "identity.v1.AccessService",
    "identity.v1.BusinessEntityService",
    "identity.v1.CredentialService",
    "identity.v1.DiagnosisService",
    "identity.v1.EventService",
    "identity.v1.GrantService",
    "identity.v1.GroupService",
    "identity.v1.MemberService",
    "identity.v1.RoleService",
    "identity.v1.SiteService",
];

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_tell_of_every_service_without_a_token() {
    let world = World::start().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", world.grpc_addr())).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let mut health = HealthClient::new(channel.clone());
    for service in [""].iter().chain(&SERVICES) {
        let request = HealthCheckRequest {
            service: (*service).to_owned(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status().as_str_name(), "SERVING", "{service}");
    }
    let unknown = HealthCheckRequest {
        service: "identity.v1.Nothing".to_owned(),
    };
    let unknown = health.check(unknown).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    let mut reflection = ServerReflectionClient::new(channel);
    let ask = |message_request| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message_request),
    };
    let questions = vec![
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol(
            "identity.v1.GroupService.UpdateGroup".to_owned(),
        )),
    ];
    let mut answers = reflection
        .server_reflection_info(tokio_stream::iter(questions))
        .await
        .unwrap()
        .into_inner();
    let listed = answers.next().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = listed else {
        panic!("{listed:?}")
    };
    let names: BTreeSet<&str> = list
        .service
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    assert!(SERVICES.iter().all(|service| names.contains(service)));
    assert!(names.contains("grpc.health.v1.Health"));
    let file = answers.next().await.unwrap().unwrap().message_response;
    assert!(matches!(
        file,
        Some(MessageResponse::FileDescriptorResponse(_))
    ));
}

/// What each failing way answers, by its reason; every one is whole.
#[derive(Debug, Default)]
struct Seen(BTreeSet<String>);

impl Seen {
    #[track_caller]
    fn refusal<T: std::fmt::Debug>(
        &mut self,
        outcome: Result<T, Status>,
        code: Code,
        expected: &str,
    ) {
        if let Err(status) = &outcome {
            assert!(!status.message().is_empty());
            if expected == "FIELD_INVALID" {
                let details = status.get_error_details();
                let violations = &details
                    .bad_request()
                    .expect("a BadRequest")
                    .field_violations;
                let field = &details.error_info().unwrap().metadata["field"];
                assert!(violations.iter().any(|violation| violation.field == *field));
            }
        }
        assert_eq!(reason(outcome, code), expected);
        self.0.insert(expected.to_owned());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_fail_says_why_to_a_machine() {
    let world = World::start().await;
    let acme = world.acme().await;
    let rpc = &acme.rpc;
    let ann = rpc.make_member("ann@acme.example").await;
    let analysts = acme.scim.make_group("CB/acme/ROLE/Analyst", &[]).await;
    let nobody = uuid::Uuid::new_v4().to_string();
    let mut seen = Seen::default();
    let target = |kind: pb::TargetKind, name: &str, domain: &str| {
        Some(pb::TargetByName {
            kind: kind.into(),
            name: name.to_owned(),
            site_domain: domain.to_owned(),
        })
    };
    let create = |name: &str, target, ids: &[&str]| {
        let request = rpc.caller.request(pb::CreateGroupRequest {
            display_name: name.to_owned(),
            target,
            member_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            ..Default::default()
        });
        let mut groups = rpc.groups();
        async move { groups.create_group(request).await }
    };
    use pb::TargetKind::{BusinessEntity, None as NoTarget, Role, Unspecified};
    let (invalid, missing, taken) = (Code::InvalidArgument, Code::NotFound, Code::AlreadyExists);

    seen.refusal(
        create("x", target(Role, "Analist", ""), &[]).await,
        invalid,
        "TARGET_UNKNOWN",
    );
    seen.refusal(
        create("x", target(BusinessEntity, "UK", ""), &[]).await,
        invalid,
        "TARGET_UNKNOWN",
    );
    seen.refusal(
        create("x", target(Role, "Admin", "bolt"), &[]).await,
        invalid,
        "TARGET_OF_ANOTHER_SITE",
    );
    seen.refusal(
        create("x", target(NoTarget, "", ""), &[]).await,
        invalid,
        "TARGET_MISSING",
    );
    seen.refusal(
        create("x", target(Unspecified, "", ""), &[]).await,
        invalid,
        "TARGET_MISSING",
    );
    seen.refusal(
        create("x", target(Role, "Owner", ""), &[]).await,
        invalid,
        "OWNER_NOT_GRANTABLE",
    );
    seen.refusal(
        create("x", target(Role, "Admin", ""), &[&ann, &analysts]).await,
        invalid,
        "MEMBER_IS_GROUP",
    );
    seen.refusal(
        create("", target(Role, "Admin", ""), &[]).await,
        invalid,
        "FIELD_INVALID",
    );
    seen.refusal(
        create("x", target(Role, "Analyst", ""), &[]).await,
        taken,
        "GROUP_TARGET_TAKEN",
    );
    seen.refusal(
        create("cb/ACME/role/analyst", target(Role, "Admin", ""), &[]).await,
        taken,
        "GROUP_NAME_TAKEN",
    );
    let (_, metadata) = refused(create("x", target(Role, "Analist", ""), &[]).await, invalid);
    assert_eq!(metadata["closest"].lines().next(), Some("Analyst"));
    assert_eq!(
        (metadata["kind"].as_str(), metadata["name"].as_str()),
        ("ROLE", "Analist")
    );

    seen.refusal(
        rpc.get_member(by_id(&nobody)).await,
        missing,
        "MEMBER_NOT_FOUND",
    );
    seen.refusal(
        rpc.update_role(&nobody, pb::Role::default(), &[]).await,
        missing,
        "ROLE_NOT_FOUND",
    );
    seen.refusal(
        rpc.delete_entity(&nobody).await,
        missing,
        "BUSINESS_ENTITY_NOT_FOUND",
    );
    seen.refusal(rpc.end_grant("x").await, missing, "GRANT_NOT_FOUND");
    let get = rpc.caller.request(pb::GetGroupRequest {
        group_id: nobody.clone(),
        ..Default::default()
    });
    seen.refusal(
        rpc.groups().get_group(get).await,
        missing,
        "GROUP_NOT_FOUND",
    );
    let revoke = rpc.caller.request(pb::RevokeCredentialRequest {
        credential_id: nobody,
        ..Default::default()
    });
    seen.refusal(
        rpc.caller.credentials().revoke_credential(revoke).await,
        missing,
        "CREDENTIAL_NOT_FOUND",
    );
    let foreign = rpc.caller.request(pb::GetSiteRequest {
        site: roster_stack::grpc::site("bolt"),
        ..Default::default()
    });
    seen.refusal(
        rpc.caller.sites().get_site(foreign).await,
        missing,
        "SITE_NOT_FOUND",
    );

    let bootstrap = world.caller(identity_tests::world::BOOTSTRAP);
    let found = |domain: &str| {
        let request = bootstrap.request(pb::CreateSiteRequest {
            domain: domain.to_owned(),
            owner: Some(pb::NewOwner {
                user_name: "o@x.example".to_owned(),
                given_name: "O".to_owned(),
                family_name: "X".to_owned(),
            }),
            ..Default::default()
        });
        let mut sites = bootstrap.sites();
        async move { sites.create_site(request).await }
    };
    seen.refusal(found("ACME").await, taken, "SITE_DOMAIN_TAKEN");
    for bad in ["", "-a", "a-", "a.b", "a b", &"a".repeat(64), "ä"] {
        seen.refusal(found(bad).await, invalid, "FIELD_INVALID");
    }
    seen.refusal(
        rpc.create_member(member("ANN@acme.example")).await,
        taken,
        "USER_NAME_TAKEN",
    );
    seen.refusal(
        rpc.create_role("admin", &[]).await,
        taken,
        "ROLE_NAME_TAKEN",
    );
    seen.refusal(
        rpc.create_entity("EU gmbh", "").await,
        taken,
        "BUSINESS_ENTITY_NAME_TAKEN",
    );
    seen.refusal(
        rpc.create_entity("EU", "eu-gmbh").await,
        taken,
        "BUSINESS_ENTITY_HANDLE_TAKEN",
    );
    rpc.grant("ann@acme.example", role("Admin")).await.unwrap();
    seen.refusal(
        rpc.grant("ann@acme.example", role("Admin")).await,
        taken,
        "GRANT_EXISTS",
    );
    let hour = std::time::Duration::from_secs(3600);
    seen.refusal(
        rpc.grant_for(by_user_name("ann@acme.example"), role("Owner"), hour)
            .await,
        Code::InvalidArgument,
        "OWNER_GRANT_WITH_END",
    );

    let precondition = Code::FailedPrecondition;
    let roles = rpc.list_roles().await;
    seen.refusal(
        rpc.delete_role(&roles[0].id).await,
        precondition,
        "FIELD_IMMUTABLE",
    );
    let custom = acme.make_role("Custom", &[]).await;
    rpc.grant("ann@acme.example", role("Custom")).await.unwrap();
    seen.refusal(rpc.delete_role(&custom).await, precondition, "STILL_GRANTS");
    seen.refusal(
        rpc.divide(pb::Reach::All).await,
        precondition,
        "SITE_DIVIDED",
    );
    let bolt = world.bare_site("bolt").await;
    let reach = pb::Site {
        unassigned_reach: pb::Reach::All.into(),
        ..Default::default()
    };
    seen.refusal(
        bolt.rpc.update_site(reach, &["unassigned_reach"]).await,
        precondition,
        "SITE_UNDIVIDED",
    );
    let elsewhere_from = rpc.caller.request(pb::ListMembersRequest {
        page_token: "e30".to_owned(),
        ..Default::default()
    });
    seen.refusal(
        rpc.caller.members().list_members(elsewhere_from).await,
        Code::InvalidArgument,
        "PAGE_TOKEN_INVALID",
    );
    let (token, _) = world.issue("acme", &[pb::Scope::Watch]).await;
    seen.refusal(
        watch(&world.caller(&token), resume("e30")).await,
        Code::InvalidArgument,
        "RESUME_TOKEN_INVALID",
    );
    let stale = rpc.caller.request(pb::DeleteMemberRequest {
        member_id: ann.clone(),
        if_versions: vec![1, 2],
        ..Default::default()
    });
    seen.refusal(
        rpc.caller.members().delete_member(stale).await,
        Code::Aborted,
        "VERSION_MISMATCH",
    );

    let denied = Code::PermissionDenied;
    let owner = rpc.get_member(by_user_name(OWNER)).await.unwrap().id;
    seen.refusal(rpc.delete_member(&owner).await, denied, "LAST_OWNER");
    let provisioning = identity_tests::rpc::Rpc {
        caller: world.caller(&acme.scim_token),
        site: None,
    };
    seen.refusal(
        provisioning.delete_role(&custom).await,
        denied,
        "SCOPE_MISSING",
    );
    let renamed = provisioning.update_member(&owner, member("x@acme.example"), &["user_name"]);
    seen.refusal(renamed.await, denied, "OWNER_USER_NAME");

    // Without a token, with two, with half of one, or with one that nobody issued: all the same.
    let mut messages = BTreeSet::new();
    let with = |authorization: &[&str]| {
        let mut request = Request::new(pb::GetCallerRequest::default());
        for value in authorization {
            request
                .metadata_mut()
                .append("authorization", value.parse().unwrap());
        }
        let mut client = rpc.caller.credentials();
        async move { client.get_caller(request).await }
    };
    let good = format!("Bearer {}", acme.scim_token);
    let unknown = {
        let other = World::start().await;
        format!("Bearer {}", other.bare_site("acme").await.scim_token)
    };
    for authorization in [
        &[][..],
        &["Bearer"],
        &["Basic x"],
        &["Bearer x"],
        &[&good, &good],
        &[&unknown],
    ] {
        let outcome = with(authorization).await;
        messages.insert(outcome.as_ref().unwrap_err().message().to_owned());
        seen.refusal(outcome, Code::Unauthenticated, "TOKEN_INVALID");
    }
    assert_eq!(messages.len(), 1);
    with(&[&good]).await.unwrap();

    seen.refusal(rpc.create_role("R", &["x"]).await, invalid, "FIELD_INVALID");
    let limited = pb::Site {
        custom_role_limit: 0,
        ..Default::default()
    };
    rpc.update_site(limited, &["custom_role_limit"])
        .await
        .unwrap();
    seen.refusal(
        rpc.create_role("R", &[]).await,
        Code::ResourceExhausted,
        "LIMIT_EXCEEDED",
    );
    // A fault of ours: a table that is not as the code knows it.
    world
        .database
        .execute("ALTER TABLE roles RENAME COLUMN name TO label");
    let outcome = provisioning
        .caller
        .roles()
        .list_roles(provisioning.caller.request(pb::ListRolesRequest::default()))
        .await;
    let status = outcome.as_ref().unwrap_err();
    let trace_id = status.get_details_error_info().unwrap().metadata["trace_id"].clone();
    assert!(status.message().contains(&trace_id), "{status:?}");
    assert!(!format!("{status:?}").contains("column"), "{status:?}");
    assert!(world.log().contains(&trace_id));
    seen.refusal(outcome, Code::Internal, "INTERNAL");

    // The rest needs a bad day (see `faults`), many calls (below) or what no client of ours can send.
    let elsewhere = [
        "UNSPECIFIED",
        "RATE_LIMITED",
        "UNAVAILABLE",
        // See `request_ids` and `revisions`.
        "REQUEST_ID_REUSED",
        "REVISION_NOT_REACHED",
        "DEADLINE_EXCEEDED",
        "CONTENDED",
        "WATCH_ENDED",
        "METHOD_UNKNOWN",
        "MESSAGE_MALFORMED",
        "MESSAGE_TOO_LARGE",
    ];
    let unseen: Vec<&str> = (0..=200)
        .filter_map(|number| pb::ErrorReason::try_from(number).ok())
        .map(|reason| reason.as_str_name().trim_start_matches("ERROR_REASON_"))
        .filter(|name| !seen.0.contains(*name) && !elsewhere.contains(name))
        .collect();
    assert!(unseen.is_empty(), "{unseen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_are_told_when_to_come_back() {
    let world = World::with(Settings {
        identity: vec![("ROSTER_RATE_LIMIT", "5".to_owned())],
        ..Settings::default()
    })
    .await;
    let acme = world.bare_site("acme").await;
    let mut refusals = 0;
    for _ in 0..30 {
        if let Err(status) = acme.rpc.get_member(by_user_name(OWNER)).await {
            let details = status.get_error_details();
            let delay = details.retry_info().unwrap().retry_delay.unwrap();
            assert!(delay.as_secs() >= 1);
            assert_eq!(
                reason(Err::<(), _>(status), Code::ResourceExhausted),
                "RATE_LIMITED"
            );
            refusals += 1;
        }
    }
    assert!(refusals > 10, "{refusals}");
    // Another credential is not held up by it.
    acme.scim.get("/Users").await.is(200);
}

/// Conformance: 55.
#[tokio::test(flavor = "multi_thread")]
async fn pages_and_masks_have_bounds() {
    let world = World::start().await;
    let acme = world.acme().await;
    let rpc = &acme.rpc;
    world.database.seed_members(&acme.id, 1004);
    let list = |page_size, skip, filter| {
        let request = rpc.caller.request(pb::ListMembersRequest {
            page_size,
            skip,
            filter,
            ..Default::default()
        });
        let mut client = rpc.caller.members();
        async move {
            let answer = client.list_members(request).await?.into_inner();
            Ok::<_, Status>((answer.members.len(), answer.total_size))
        }
    };
    for (page_size, skip, expected) in [
        (None, 0, (100, 1005)),
        (Some(0), 0, (0, 1005)),
        (Some(1), 0, (1, 1005)),
        (Some(1000), 0, (1000, 1005)),
        (Some(1000), 1000, (5, 1005)),
        (Some(10), 1005, (0, 1005)),
        (Some(10), i64::MAX, (0, 1005)),
    ] {
        assert_eq!(list(page_size, skip, None).await.unwrap(), expected);
    }
    for (page_size, skip) in [(Some(-1), 0), (Some(1001), 0), (None, -1)] {
        let (why, metadata) = refused(list(page_size, skip, None).await, Code::InvalidArgument);
        assert_eq!(why, "FIELD_INVALID");
        assert!(["page_size", "skip"].contains(&metadata["field"].as_str()));
    }
    let groups = |page_size, skip| {
        let request = rpc.caller.request(pb::ListGroupsRequest {
            page_size,
            skip,
            ..Default::default()
        });
        let mut client = rpc.groups();
        async move { client.list_groups(request).await.map(Response::into_inner) }
    };
    acme.scim.make_group("CB/acme/ROLE/Admin", &[]).await;
    assert_eq!(groups(Some(0), 0).await.unwrap().total_size, 1);
    for (page_size, skip) in [(Some(-1), 0), (Some(1001), 0), (None, -1)] {
        refused(groups(page_size, skip).await, Code::InvalidArgument);
    }

    // Filters: a tree of comparisons, with bounds too.
    let equal = |field: &str, value: &str| pb::Filter {
        node: Some(pb::filter::Node::Comparison(pb::Comparison {
            field: field.to_owned(),
            operator: pb::Operator::Equal.into(),
            value: Some(pb::comparison::Value::Text(value.to_owned())),
            ..Default::default()
        })),
    };
    let all = |filters: Vec<pb::Filter>| pb::Filter {
        node: Some(pb::filter::Node::All(pb::FilterList { filters })),
    };
    let user_name = || equal("user_name", "M1@many.example");
    for (filter, expected) in [
        (user_name(), 1),
        (all(vec![]), 1005),
        (all(vec![user_name(), all(vec![user_name()])]), 1),
        (all(vec![user_name(), equal("user_name", "x")]), 0),
        (equal("id", "no id"), 0),
        (equal("profile.emails.value", "m2@MANY.example"), 1),
        (equal("user_name", "nul\0"), 0),
    ] {
        let (_, total) = list(Some(0), 0, Some(filter.clone())).await.unwrap();
        assert_eq!(total, expected, "{filter:?}");
    }
    let deep = |levels: usize| (0..levels).fold(user_name(), |filter, _| all(vec![filter]));
    let wide = all(vec![user_name(); 1000]);
    let (_, total) = list(Some(0), 0, Some(deep(48))).await.unwrap();
    assert_eq!(total, 1, "a filter may nest");
    // Also where the message nests deeper than a decoder reads it.
    for levels in [49, 50, 60, 1000] {
        let refused = list(None, 0, Some(deep(levels))).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{levels}");
        assert!(refused.message().contains("48 levels"), "{refused}");
    }
    for filter in [equal("title", "x"), pb::Filter { node: None }, wide] {
        let outcome = list(None, 0, Some(filter)).await;
        assert_eq!(refused(outcome, Code::InvalidArgument).1["field"], "filter");
    }

    // A mask that names what can't change, or nothing at all.
    let ann = rpc.make_member("ann@acme.example").await;
    for path in ["id", "version", "groups", "profile.name", "*", ""] {
        let outcome = rpc
            .update_member(&ann, member("x@acme.example"), &[path])
            .await;
        assert_eq!(
            refused(outcome, Code::InvalidArgument).1["field"],
            "update_mask",
            "{path}"
        );
    }
    let before = world.database.snapshot();
    let nothing = rpc.update_member(&ann, member("x@acme.example"), &[]).await;
    assert!(!nothing.unwrap().receipt.unwrap().changed);
    let site = rpc.caller.request(pb::UpdateSiteRequest {
        values: Some(pb::Site {
            domain: "other".to_owned(),
            ..Default::default()
        }),
        update_mask: mask(&["domain"]),
        ..Default::default()
    });
    let outcome = rpc.caller.sites().update_site(site).await;
    assert_eq!(
        refused(outcome, Code::InvalidArgument).1["field"],
        "update_mask"
    );
    assert_eq!(world.database.snapshot(), before);
}
