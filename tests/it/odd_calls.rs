//! Calls that nobody makes on purpose get an answer that says what is wrong, and never a fault of ours.

use identity_proto::v1 as pb;
use identity_tests::{
    rpc::by_user_name,
    scim::user,
    world::{BOOTSTRAP, Settings, World},
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
    let refused = caller
        .sites()
        .create_site(make(caller, "evil"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    assert_eq!(reason(&refused).as_deref(), Some("SCOPE_MISSING"));
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
