//! Calls that nobody makes on purpose get an answer that says what is wrong, and never a fault of ours.

use identity_proto::v1 as pb;
use identity_tests::{
    rpc::{by_user_name, role},
    scim::user,
    world::{BOOTSTRAP, Settings, World},
    writes::refused,
};
use roster_stack::grpc::reason;
use serde_json::json;
use tonic::{Code, Request, Status, client::Grpc, codegen::http::uri::PathAndQuery};

/// Calls any path with a message of another kind.
async fn call(world: &World, path: &'static str, message: pb::Receipt) -> Status {
    let caller = world.caller(BOOTSTRAP);
    let mut grpc = Grpc::new(caller.channel());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<pb::Receipt, pb::Receipt>::default();
    let request: Request<pb::Receipt> = caller.request(message);
    grpc.unary(request, PathAndQuery::from_static(path), codec)
        .await
        .unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_reaches_a_method_is_refused_with_a_reason_too() {
    let world = World::start().await;
    for path in [
        "/identity.v1.MemberService/Promote",
        "/identity.v1.WishService/Wish",
    ] {
        let status = call(&world, path, pb::Receipt::default()).await;
        assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
        assert_eq!(reason(&status).as_deref(), Some("METHOD_UNKNOWN"));
    }
    // Field 1 of a receipt is a number, that of this request a message.
    let number = pb::Receipt {
        revision: 7,
        ..Default::default()
    };
    let status = call(&world, "/identity.v1.MemberService/GetMember", number).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert_eq!(reason(&status).as_deref(), Some("MESSAGE_MALFORMED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nul_is_in_no_domain() {
    let world = World::start().await;
    world.acme().await;
    let bootstrap = world.caller(BOOTSTRAP);
    let request = pb::IssueCredentialRequest {
        all_sites: true,
        label: "every site".to_owned(),
        scopes: vec![pb::Scope::Provision.into()],
        ..Default::default()
    };
    let issued = bootstrap
        .credentials()
        .issue_credential(bootstrap.request(request))
        .await;
    let token = format!("Bearer {}", issued.unwrap().into_inner().token);
    world.scim("acme", &token).get("/Users").await.is(200);
    world
        .scim("acme%00", &token)
        .get("/Users")
        .await
        .error(401, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_have_their_trace_whatever_is_logged() {
    let world = World::with(Settings {
        identity: vec![("ROSTER_LOG", "error".to_owned())],
        ..Settings::default()
    })
    .await;
    let acme = world.acme().await;
    let made = acme
        .scim
        .post("/Users", &user("ann@acme.example"))
        .await
        .is(201);
    let events = acme.rpc.events().await;
    assert_eq!(events.last().unwrap().trace_id, made.trace_id());
}

#[tokio::test(flavor = "multi_thread")]
async fn over_scim_an_owner_keeps_the_user_name_whatever_the_token_may_do_besides() {
    let world = World::start().await;
    let acme = world.acme().await;
    let scim = world.scim("acme", &format!("Bearer {}", acme.service_token));
    let owner = acme
        .rpc
        .list_member_access(by_user_name("owner@acme.example"))
        .await
        .unwrap();
    let path = format!("/Users/{}", owner.member_id);
    let rename = |name: &str| json!([{ "op": "replace", "path": "userName", "value": name }]);
    let detail = scim
        .patch(&path, rename("eve@evil.example"))
        .await
        .error(403, "");
    assert!(detail.contains("Owner"), "{detail}");
    scim.patch(&path, rename("Owner@acme.example"))
        .await
        .is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_members_are_found_by_fits_an_index_or_is_refused_with_the_limit() {
    let world = World::start().await;
    let acme = world.acme().await;
    // Random enough not to be compressed in the index.
    let random: String = (0..200)
        .map(|_| uuid::Uuid::new_v4().simple().to_string())
        .collect();
    let with = |display_name: &str, email: &str| {
        let mut body = user("ann@acme.example");
        body["displayName"] = json!(display_name);
        body["emails"] = json!([{ "value": email, "type": "work" }]);
        body
    };
    let before = world.database.snapshot();
    let detail = acme
        .scim
        .post("/Users", &with(&random[..1025], "a@b"))
        .await
        .error(400, "invalidValue");
    assert!(detail.contains("1024"), "{detail}");
    let detail = acme
        .scim
        .post("/Users", &with("Ann", &random[..1025]))
        .await
        .error(400, "invalidValue");
    assert!(detail.contains("1024"), "{detail}");
    let folding = "\u{fdfa}".repeat(330);
    acme.scim
        .post("/Users", &with(&folding, "a@b"))
        .await
        .error(400, "invalidValue");
    assert_eq!(world.database.snapshot(), before);
    acme.scim
        .post("/Users", &with(&random[..1024], &random[..1024]))
        .await
        .is(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_that_nobody_asked_for_is_in_nobodys_way() {
    let world = World::start().await;
    let acme = world.acme().await;
    let caller = &acme.rpc.caller;
    let make = |name: &str| {
        let entity = pb::BusinessEntity {
            name: name.to_owned(),
            ..Default::default()
        };
        caller.request(pb::CreateBusinessEntityRequest {
            business_entity: Some(entity),
            ..Default::default()
        })
    };
    let made = caller
        .business_entities()
        .create_business_entity(make("EU-GmbH"))
        .await
        .unwrap();
    let made = made.into_inner().business_entity.unwrap();
    assert_eq!(made.handle, made.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_administers_one_site_makes_no_other() {
    let world = World::start().await;
    let acme = world.acme().await;
    let sites = || world.database.number("SELECT count(*) AS n FROM sites");
    let make = |caller: &roster_stack::grpc::Caller, domain: &str| {
        caller.request(pb::CreateSiteRequest {
            domain: domain.to_owned(),
            owner: Some(pb::NewOwner {
                user_name: "eve@evil.example".to_owned(),
                given_name: "Eve".to_owned(),
                family_name: "Evil".to_owned(),
            }),
            ..Default::default()
        })
    };
    let caller = &acme.rpc.caller;
    let evil = caller
        .sites()
        .create_site(make(caller, "evil"))
        .await
        .unwrap_err();
    assert_eq!(evil.code(), Code::PermissionDenied, "{evil:?}");
    assert_eq!(reason(&evil).as_deref(), Some("SCOPE_MISSING"));
    assert_eq!(sites(), 1);

    let bootstrap = world.caller(BOOTSTRAP);
    let request = pb::IssueCredentialRequest {
        all_sites: true,
        label: "every site".to_owned(),
        scopes: vec![pb::Scope::Administer.into()],
        ..Default::default()
    };
    let issued = bootstrap
        .credentials()
        .issue_credential(bootstrap.request(request))
        .await;
    let everywhere = world.caller(&issued.unwrap().into_inner().token);
    everywhere
        .sites()
        .create_site(make(&everywhere, "good"))
        .await
        .unwrap();
    assert_eq!(sites(), 2);
}

/// A moment of a year that protobuf's own moments don't reach.
fn beyond() -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: 253_402_300_800,
        nanos: 0,
    }
}

fn long_before() -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: -210_000_000_000,
        nanos: 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_is_of_a_year_that_everybody_can_read() {
    let world = World::start().await;
    let acme = world.acme().await;
    acme.rpc.make_member("ann@acme.example").await;
    let caller = &acme.rpc.caller;
    let request = |end| pb::CreateGrantRequest {
        member: by_user_name("ann@acme.example"),
        target: role("Admin"),
        reason: "for ever and a day".to_owned(),
        end_time: Some(end),
        ..Default::default()
    };
    let outcome = acme
        .rpc
        .grants()
        .create_grant(caller.request(request(beyond())))
        .await;
    assert_eq!(
        refused(outcome, Code::InvalidArgument).1["field"],
        "end_time"
    );
    // The last moment that there is.
    let last = prost_types::Timestamp {
        seconds: beyond().seconds - 1,
        nanos: 999_000_000,
    };
    acme.rpc
        .grants()
        .create_grant(caller.request(request(last)))
        .await
        .unwrap();
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Admin"]);

    let as_of = |moment| pb::ListMemberAccessRequest {
        member: by_user_name("ann@acme.example"),
        as_of: Some(pb::AsOf { moment }),
        ..Default::default()
    };
    let time = Some(pb::as_of::Moment::Time(long_before()));
    let outcome = caller
        .access()
        .list_member_access(caller.request(as_of(time)))
        .await;
    assert_eq!(
        refused(outcome, Code::InvalidArgument).1["field"],
        "as_of.time"
    );
    // Whoever lost the moment is not answered about the present.
    let outcome = caller
        .access()
        .list_member_access(caller.request(as_of(None)))
        .await;
    assert_eq!(refused(outcome, Code::InvalidArgument).1["field"], "as_of");
    let request = pb::ListEventsRequest {
        from_time: Some(long_before()),
        ..Default::default()
    };
    let outcome = acme
        .rpc
        .events_client()
        .list_events(caller.request(request))
        .await;
    assert_eq!(
        refused(outcome, Code::InvalidArgument).1["field"],
        "from_time"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nul_is_in_no_label() {
    let world = World::start().await;
    let acme = world.acme().await;
    let caller = &acme.rpc.caller;
    let request = pb::ListGrantsRequest {
        actor: "a\0b".to_owned(),
        ..Default::default()
    };
    let found = acme.rpc.grants().list_grants(caller.request(request)).await;
    assert!(found.unwrap().into_inner().grants.is_empty());
    let request = pb::ListEventsRequest {
        actor_label: "a\0b".to_owned(),
        ..Default::default()
    };
    let found = acme
        .rpc
        .events_client()
        .list_events(caller.request(request))
        .await;
    assert!(found.unwrap().into_inner().events.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_about_a_huge_value_has_its_beginning_and_its_end() {
    let world = World::start().await;
    let acme = world.acme().await;
    let mut huge = user("ann@acme.example");
    huge["roles"] = json!([{ "value": "x".repeat(300_000) }]);
    let detail = acme
        .scim
        .post("/Users", &huge)
        .await
        .error(400, "invalidValue");
    assert!(detail.len() < 5000, "{}", detail.len());
    assert!(detail.contains("no role with the id"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_called_as_the_service_calls_itself() {
    let world = World::start().await;
    let acme = world.acme().await;
    let caller = &acme.rpc.caller;
    for label in ["bootstrap", " Roster "] {
        let request = pb::IssueCredentialRequest {
            label: label.to_owned(),
            scopes: vec![pb::Scope::Read.into()],
            ..Default::default()
        };
        let outcome = caller
            .credentials()
            .issue_credential(caller.request(request))
            .await;
        assert_eq!(refused(outcome, Code::InvalidArgument).1["field"], "label");
    }
}
