//! Many objects read at once: in the order asked, with the unknown ones named, in one statement.

use identity_proto::v1 as pb;
use identity_tests::{
    database::statements,
    grants::get,
    rpc::{Rpc, by_id, by_user_name, entity, role},
    world::{BOOTSTRAP, OWNER, World},
    writes::{new_trace_id, reason, refused, traced},
};
use roster_stack::grpc::{Caller, site};
use tonic::{Code, Response, Status};

async fn members(
    rpc: &Rpc,
    members: Vec<Option<pb::MemberRef>>,
) -> Result<pb::BatchGetMembersResponse, Status> {
    let request = rpc.caller.request(pb::BatchGetMembersRequest {
        members: members.into_iter().map(Option::unwrap_or_default).collect(),
        ..Default::default()
    });
    let answer = rpc.caller.members().batch_get_members(request).await;
    answer.map(Response::into_inner)
}

async fn groups(rpc: &Rpc, ids: &[&str]) -> Result<pb::BatchGetGroupsResponse, Status> {
    let request = rpc.caller.request(pb::BatchGetGroupsRequest {
        group_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..Default::default()
    });
    let answer = rpc.groups().batch_get_groups(request).await;
    answer.map(Response::into_inner)
}

async fn roles(rpc: &Rpc, ids: &[&str]) -> Result<pb::BatchGetRolesResponse, Status> {
    let request = rpc.caller.request(pb::BatchGetRolesRequest {
        role_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..Default::default()
    });
    let answer = rpc.caller.roles().batch_get_roles(request).await;
    answer.map(Response::into_inner)
}

async fn grants(rpc: &Rpc, ids: &[&str]) -> Result<pb::BatchGetGrantsResponse, Status> {
    let request = rpc.caller.request(pb::BatchGetGrantsRequest {
        grant_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..Default::default()
    });
    let answer = rpc.grants().batch_get_grants(request).await;
    answer.map(Response::into_inner)
}

async fn credentials(
    caller: &Caller,
    site: Option<pb::SiteRef>,
    all_sites: bool,
    ids: &[&str],
) -> Result<pb::BatchGetCredentialsResponse, Status> {
    let request = caller.request(pb::BatchGetCredentialsRequest {
        site,
        all_sites,
        credential_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..Default::default()
    });
    let answer = caller.credentials().batch_get_credentials(request).await;
    answer.map(Response::into_inner)
}

async fn sites(
    caller: &Caller,
    sites: Vec<pb::SiteRef>,
) -> Result<pb::BatchGetSitesResponse, Status> {
    let request = caller.request(pb::BatchGetSitesRequest { sites });
    let answer = caller.sites().batch_get_sites(request).await;
    answer.map(Response::into_inner)
}

async fn entities(rpc: &Rpc, ids: &[&str]) -> Result<pb::BatchGetBusinessEntitiesResponse, Status> {
    let request = rpc.caller.request(pb::BatchGetBusinessEntitiesRequest {
        business_entity_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..Default::default()
    });
    let mut client = rpc.caller.business_entities();
    let answer = client.batch_get_business_entities(request).await;
    answer.map(Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_answer_in_the_order_asked_and_name_what_is_unknown() {
    let world = World::start().await;
    let acme = world.acme().await;
    let other = world.site("bolt").await;
    let rpc = &acme.rpc;
    let ann = rpc.make_member("Ann@acme.example").await;
    let bob = rpc.make_member("bob@acme.example").await;
    let gone = rpc.make_member("gone@acme.example").await;
    rpc.delete_member(&gone).await.unwrap();
    let foreign = other.rpc.make_member("ann@bolt.example").await;
    let nobody = uuid::Uuid::new_v4().to_string();

    let asked = vec![
        by_user_name("bob@ACME.example"),
        by_id("no id"),
        by_id(&ann),
        by_id(&foreign),
        by_user_name(OWNER),
        by_user_name("gone@acme.example"),
        by_id(&bob),
        by_id(&gone),
    ];
    let answer = members(rpc, asked.clone()).await.unwrap();
    let names: Vec<&str> = answer
        .members
        .iter()
        .map(|m| m.user_name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "bob@acme.example",
            "Ann@acme.example",
            OWNER,
            "bob@acme.example"
        ]
    );
    let unknown: Vec<_> = [1, 3, 5, 7]
        .map(|at: usize| asked[at].clone().unwrap())
        .into();
    assert_eq!(answer.unknown_members, unknown);
    assert_eq!(answer.revision, rpc.get_site().await.revision);
    // A member in a batch is the whole member.
    assert_eq!(
        answer.members[1],
        rpc.get_member(by_id(&ann)).await.unwrap()
    );
    let nameless = members(rpc, vec![by_id(&ann), None]).await;
    assert_eq!(
        refused(nameless, Code::InvalidArgument).1["field"],
        "members"
    );
    assert!(members(rpc, vec![]).await.unwrap().members.is_empty());

    let analysts = acme
        .scim
        .make_group("CB/acme/ROLE/Analyst", &[&ann, &bob])
        .await;
    let eu = acme.scim.make_group("CB/acme/BE/EU GmbH", &[&bob]).await;
    let answer = groups(rpc, &[&eu, &nobody, &analysts, &eu, ""])
        .await
        .unwrap();
    let names: Vec<&str> = answer
        .groups
        .iter()
        .map(|g| g.display_name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "CB/acme/BE/EU GmbH",
            "CB/acme/ROLE/Analyst",
            "CB/acme/BE/EU GmbH"
        ]
    );
    assert!(
        answer
            .groups
            .iter()
            .all(|group| group.member_ids.is_empty())
    );
    assert_eq!(answer.unknown_group_ids, [nobody.as_str(), ""]);

    let all = rpc.list_roles().await;
    let (first, last) = (&all[0], all.last().unwrap());
    let foreign = &other.rpc.list_roles().await[0].id;
    let answer = roles(rpc, &[&last.id, foreign, &first.id]).await.unwrap();
    assert_eq!(answer.roles, [last.clone(), first.clone()]);
    assert_eq!(answer.unknown_role_ids, [foreign.as_str()]);

    let all = rpc.list_entities().await;
    let answer = entities(rpc, &[&all[1].id, &nobody, &all[0].id])
        .await
        .unwrap();
    assert_eq!(answer.business_entities, [all[1].clone(), all[0].clone()]);
    assert_eq!(answer.unknown_business_entity_ids, [nobody.as_str()]);

    // One alone is read by its id too.
    let get = rpc.caller.request(pb::GetRoleRequest {
        role_id: first.id.clone(),
        ..Default::default()
    });
    let role = rpc.caller.roles().get_role(get).await.unwrap().into_inner();
    assert_eq!(role.role.as_ref(), Some(first));
    let get = |id: &str| {
        let request = rpc.caller.request(pb::GetBusinessEntityRequest {
            business_entity_id: id.to_owned(),
            ..Default::default()
        });
        let mut client = rpc.caller.business_entities();
        async move { client.get_business_entity(request).await }
    };
    let entity = get(&all[0].id).await.unwrap().into_inner().business_entity;
    assert_eq!(entity.as_ref(), Some(&all[0]));
    assert_eq!(
        refused(get(foreign).await, Code::NotFound).0,
        "BUSINESS_ENTITY_NOT_FOUND"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_five_hundred_is_one_statement_and_one_more_is_refused() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let rpc = &acme.rpc;
    let ids = world.database.seed_members(&acme.id, 501);
    let ask = |count: usize| {
        let members = ids[..count].iter().rev().map(|id| by_id(id).unwrap());
        let trace_id = new_trace_id();
        let request = rpc.caller.request(pb::BatchGetMembersRequest {
            members: members.collect(),
            ..Default::default()
        });
        let request = traced(request, &trace_id);
        let mut client = rpc.caller.members();
        async move { (client.batch_get_members(request).await, trace_id) }
    };
    let (answer, trace_id) = ask(500).await;
    let answer = answer.unwrap().into_inner();
    let read: Vec<&str> = answer
        .members
        .iter()
        .map(|member| member.id.as_str())
        .collect();
    let asked: Vec<&str> = ids[..500].iter().rev().map(String::as_str).collect();
    assert_eq!(read, asked);
    // The sign-in, the members, and the end.
    assert_eq!(statements(&trace_id).len(), 3);
    let (answer, _) = ask(501).await;
    assert!(answer.as_ref().unwrap_err().message().contains("500"));
    assert_eq!(refused(answer, Code::InvalidArgument).1["field"], "members");
    let many = vec!["x"; 501];
    for (outcome, field) in [
        (groups(rpc, &many).await.map(drop), "group_ids"),
        (roles(rpc, &many).await.map(drop), "role_ids"),
        (entities(rpc, &many).await.map(drop), "business_entity_ids"),
        (grants(rpc, &many).await.map(drop), "grant_ids"),
        (
            credentials(&rpc.caller, None, false, &many).await.map(drop),
            "credential_ids",
        ),
    ] {
        assert_eq!(refused(outcome, Code::InvalidArgument).1["field"], field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_read_in_a_batch_those_that_ended_too() {
    let world = World::start().await;
    let acme = world.acme().await;
    let other = world.site("bolt").await;
    let rpc = &acme.rpc;
    rpc.make_member("ann@acme.example").await;
    let analyst = rpc
        .grant("ann@acme.example", role("Analyst"))
        .await
        .unwrap();
    let eu = rpc
        .grant("ann@acme.example", entity("EU GmbH"))
        .await
        .unwrap();
    rpc.end_grant(&eu).await.unwrap();
    other.rpc.make_member("ann@bolt.example").await;
    let foreign = other.rpc.grant("ann@bolt.example", role("Analyst")).await;
    let foreign = foreign.unwrap();
    let trace_id = new_trace_id();
    let named = [&eu, "no id", &analyst, &foreign, &eu];
    let request = rpc.caller.request(pb::BatchGetGrantsRequest {
        grant_ids: named.map(str::to_owned).into(),
        ..Default::default()
    });
    let answer = rpc
        .grants()
        .batch_get_grants(traced(request, &trace_id))
        .await;
    let answer = answer.unwrap().into_inner();
    let (ended, held) = (get(rpc, &eu).await, get(rpc, &analyst).await);
    assert!(ended.ending.is_some());
    assert_eq!(answer.grants, [ended.clone(), held, ended]);
    assert_eq!(answer.unknown_grant_ids, ["no id", foreign.as_str()]);
    assert_eq!(answer.revision, rpc.get_site().await.revision);
    // The sign-in, the grants, and the end.
    assert_eq!(statements(&trace_id).len(), 3);
    let early = rpc.caller.request(pb::BatchGetGrantsRequest {
        min_revision: answer.revision + 1,
        ..Default::default()
    });
    let early = rpc.grants().batch_get_grants(early).await;
    assert_eq!(reason(early, Code::Unavailable), "REVISION_NOT_REACHED");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_read_in_a_batch_of_a_site_or_of_those_of_all() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let other = world.bare_site("bolt").await;
    let bootstrap = world.caller(BOOTSTRAP);
    let (_, first) = world.issue("acme", &[pb::Scope::Read]).await;
    let (_, second) = world.issue("acme", &[pb::Scope::Check]).await;
    let (_, foreign) = world.issue("bolt", &[pb::Scope::Read]).await;
    let (reader, of_all) = world.issue_for_all(&[pb::Scope::Read]).await;
    let revoke = bootstrap.request(pb::RevokeCredentialRequest {
        site: site("acme"),
        credential_id: first.clone(),
        ..Default::default()
    });
    let revoked = bootstrap.credentials().revoke_credential(revoke).await;
    let revoked = revoked.unwrap().into_inner().credential.unwrap();
    let named = ["", &second, &foreign, &of_all, &first, &second];
    let answer = credentials(&acme.rpc.caller, None, false, &named)
        .await
        .unwrap();
    let ids: Vec<&str> = answer.credentials.iter().map(|c| c.id.as_str()).collect();
    assert_eq!(ids, [&second, &first, &second].map(String::as_str));
    assert_eq!(
        answer.credentials[1], revoked,
        "revoked ones too, and whole"
    );
    assert_eq!(answer.unknown_credential_ids, ["", &foreign, &of_all]);
    assert_eq!(answer.revision, acme.rpc.get_site().await.revision);

    let answer = credentials(&bootstrap, None, true, &[&first, &of_all])
        .await
        .unwrap();
    assert_eq!(answer.credentials.len(), 1);
    assert_eq!((&answer.credentials[0].id, answer.revision), (&of_all, 0));
    assert_eq!(answer.unknown_credential_ids, [first.as_str()]);
    // Those of all sites are no site's business, and who reads is no administrator.
    let denied = credentials(&other.rpc.caller, None, true, &[&of_all]).await;
    assert_eq!(reason(denied, Code::PermissionDenied), "SCOPE_MISSING");
    let denied = credentials(&world.caller(&reader), site("acme"), false, &[&first]).await;
    assert_eq!(reason(denied, Code::PermissionDenied), "SCOPE_MISSING");
}

#[tokio::test(flavor = "multi_thread")]
async fn sites_are_read_in_a_batch_by_id_and_domain_for_all_of_them_only() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let bolt = world.bare_site("bolt").await;
    let (token, _) = world.issue_for_all(&[pb::Scope::Read]).await;
    let reader = world.caller(&token);
    let by = |id: &str| pb::SiteRef {
        r#ref: Some(pb::site_ref::Ref::Id(id.to_owned())),
    };
    let domain = |name: &str| site(name).unwrap();
    let named = vec![
        domain(" BOLT"),
        by(&acme.id),
        domain("nobody"),
        by("no id"),
        by(&bolt.id),
        by(&acme.id.to_uppercase()),
    ];
    let trace_id = new_trace_id();
    let request = reader.request(pb::BatchGetSitesRequest {
        sites: named.clone(),
    });
    let answer = reader
        .sites()
        .batch_get_sites(traced(request, &trace_id))
        .await;
    let answer = answer.unwrap().into_inner();
    let (a, b) = (acme.rpc.get_site().await, bolt.rpc.get_site().await);
    assert_eq!(answer.sites, [b.clone(), a, b]);
    assert_eq!(
        answer.unknown_sites,
        [2, 3, 5].map(|at: usize| named[at].clone())
    );
    assert_eq!(statements(&trace_id).len(), 3);
    let nameless = sites(&reader, vec![pb::SiteRef::default()]).await;
    assert_eq!(refused(nameless, Code::InvalidArgument).1["field"], "sites");
    let many = sites(&reader, vec![domain("acme"); 501]).await;
    assert_eq!(refused(many, Code::InvalidArgument).1["field"], "sites");
    assert!(sites(&reader, vec![]).await.unwrap().sites.is_empty());
    for caller in [&acme.rpc.caller, &world.caller(BOOTSTRAP)] {
        let denied = sites(caller, vec![domain("acme")]).await;
        assert_eq!(reason(denied, Code::PermissionDenied), "SCOPE_MISSING");
    }
}
