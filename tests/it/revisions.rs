//! Revisions: every write tells the one that it made, every read the one that it shows, and a read may
//! demand one.

use std::collections::BTreeSet;

use identity_proto::{FILE_DESCRIPTOR_SET, v1 as pb};
use identity_tests::{
    rpc::{Rpc, by_id, by_user_name, role},
    world::{BOOTSTRAP, OWNER, World},
    writes::{member, refused},
};
use prost::Message;
use roster_stack::grpc::site;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

/// The fields of a message of the contract.
fn fields(set: &prost_types::FileDescriptorSet, name: &str) -> BTreeSet<String> {
    let messages = set.file.iter().flat_map(|file| &file.message_type);
    let message = messages.into_iter().find(|message| message.name() == name);
    let fields = &message.unwrap().field;
    fields.iter().map(|field| field.name().to_owned()).collect()
}

#[test]
fn every_answer_about_a_site_tells_its_revision_and_every_creation_takes_an_id() {
    let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let services = set.file.iter().flat_map(|file| &file.service);
    let mut reads = 0;
    for method in services.flat_map(|service| &service.method) {
        let name = method.name();
        let request = fields(&set, &format!("{name}Request"));
        let response = fields(&set, &format!("{name}Response"));
        let makes = name.starts_with("Create") || name == "IssueCredential";
        assert_eq!(request.contains("request_id"), makes, "{name}");
        // A stream tells of each event's number.
        if method.server_streaming() {
            continue;
        }
        if request.contains("validate_only") {
            assert!(response.contains("receipt"), "{name}");
            assert!(!request.contains("min_revision"), "{name}");
        } else if request.contains("site") && name != "GetDiagnosis" {
            // A diagnosis is of the moment, and of more than the site.
            assert!(request.contains("min_revision"), "{name}");
            assert!(response.contains("revision"), "{name}");
            reads += 1;
        }
    }
    assert!(reads > 15, "{reads}");
}

/// Asks one read for at least `min_revision`; answers with the revision that it showed.
async fn read(rpc: &Rpc, ids: &Ids, method: &str, min_revision: i64) -> Result<i64, Status> {
    let caller = &rpc.caller;
    macro_rules! ask {
        ($client:expr, $method:ident, $request:ident { $($field:ident: $value:expr),* }) => {
            $client
                .$method(caller.request(pb::$request {
                    $($field: $value,)*
                    min_revision,
                    ..Default::default()
                }))
                .await
                .map(|answer| answer.into_inner().revision)
        };
    }
    let admin = || {
        Some(pb::NamedRef {
            name: "Admin".to_owned(),
            ..Default::default()
        })
    };
    let question = || pb::AccessQuestion {
        member: by_user_name(OWNER),
        ability: Some(pb::access_question::Ability::Permission(
            "team.view".to_owned(),
        )),
        ..Default::default()
    };
    match method {
        "GetSite" => ask!(caller.sites(), get_site, GetSiteRequest {}),
        "GetCaller" => ask!(caller.credentials(), get_caller, GetCallerRequest {}),
        "ListCredentials" => ask!(
            caller.credentials(),
            list_credentials,
            ListCredentialsRequest {}
        ),
        "GetMember" => ask!(
            caller.members(),
            get_member,
            GetMemberRequest {
                member: by_user_name(OWNER)
            }
        ),
        "BatchGetMembers" => ask!(
            caller.members(),
            batch_get_members,
            BatchGetMembersRequest { members: vec![] }
        ),
        "ListMembers" => ask!(caller.members(), list_members, ListMembersRequest {}),
        "GetGroup" => ask!(
            rpc.groups(),
            get_group,
            GetGroupRequest {
                group_id: ids.group.clone()
            }
        ),
        "BatchGetGroups" => ask!(rpc.groups(), batch_get_groups, BatchGetGroupsRequest {}),
        "ListGroups" => ask!(rpc.groups(), list_groups, ListGroupsRequest {}),
        "GetRole" => ask!(
            caller.roles(),
            get_role,
            GetRoleRequest {
                role_id: ids.role.clone()
            }
        ),
        "BatchGetRoles" => ask!(caller.roles(), batch_get_roles, BatchGetRolesRequest {}),
        "ListRoles" => ask!(caller.roles(), list_roles, ListRolesRequest {}),
        "GetBusinessEntity" => ask!(
            caller.business_entities(),
            get_business_entity,
            GetBusinessEntityRequest {
                business_entity_id: ids.entity.clone()
            }
        ),
        "BatchGetBusinessEntities" => ask!(
            caller.business_entities(),
            batch_get_business_entities,
            BatchGetBusinessEntitiesRequest {}
        ),
        "ListBusinessEntities" => ask!(
            caller.business_entities(),
            list_business_entities,
            ListBusinessEntitiesRequest {}
        ),
        "CheckAccess" => ask!(
            caller.access(),
            check_access,
            CheckAccessRequest {
                question: Some(question())
            }
        ),
        "BatchCheckAccess" => ask!(
            caller.access(),
            batch_check_access,
            BatchCheckAccessRequest {
                questions: vec![question()]
            }
        ),
        "ExplainAccess" => ask!(
            caller.access(),
            explain_access,
            ExplainAccessRequest {
                question: Some(question())
            }
        ),
        "ListMemberAccess" => ask!(
            caller.access(),
            list_member_access,
            ListMemberAccessRequest {
                member: by_user_name(OWNER)
            }
        ),
        "ListMembersWithRole" => ask!(
            caller.access(),
            list_members_with_role,
            ListMembersWithRoleRequest { role: admin() }
        ),
        "ListMembersInBusinessEntity" => ask!(
            caller.access(),
            list_members_in_business_entity,
            ListMembersInBusinessEntityRequest {
                business_entity: Some(pb::NamedRef {
                    id: ids.entity.clone(),
                    ..Default::default()
                })
            }
        ),
        "ListMembersWithPermission" => ask!(
            caller.access(),
            list_members_with_permission,
            ListMembersWithPermissionRequest {
                permission: "team.view".to_owned()
            }
        ),
        "GetCredential" => ask!(
            caller.credentials(),
            get_credential,
            GetCredentialRequest {
                credential_id: ids.credential.clone()
            }
        ),
        "GetGrant" => ask!(
            rpc.grants(),
            get_grant,
            GetGrantRequest {
                grant_id: ids.grant.clone()
            }
        ),
        "ListGrants" => ask!(rpc.grants(), list_grants, ListGrantsRequest {}),
        "ListEvents" => {
            let mut client = pb::event_service_client::EventServiceClient::new(caller.channel());
            ask!(client, list_events, ListEventsRequest {})
        }
        other => panic!("{other}"),
    }
}

struct Ids {
    group: String,
    role: String,
    entity: String,
    grant: String,
    credential: String,
}

const READS: [&str; 26] = [
    "GetCredential",
    "GetSite",
    "GetCaller",
    "ListCredentials",
    "GetMember",
    "BatchGetMembers",
    "ListMembers",
    "GetGroup",
    "BatchGetGroups",
    "ListGroups",
    "GetRole",
    "BatchGetRoles",
    "ListRoles",
    "GetBusinessEntity",
    "BatchGetBusinessEntities",
    "ListBusinessEntities",
    "CheckAccess",
    "BatchCheckAccess",
    "ExplainAccess",
    "ListMemberAccess",
    "ListMembersWithRole",
    "ListMembersInBusinessEntity",
    "ListMembersWithPermission",
    "GetGrant",
    "ListGrants",
    "ListEvents",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_read_of_a_site_shows_the_revision_that_it_was_asked_for_or_says_where_the_site_is() {
    let world = World::start().await;
    let acme = world.acme().await;
    let rpc = &acme.rpc;
    let ids = Ids {
        group: acme.scim.make_group("CB/acme/ROLE/Analyst", &[]).await,
        role: rpc.list_roles().await[0].id.clone(),
        entity: rpc.list_entities().await[0].id.clone(),
        credential: world.issue("acme", &[pb::Scope::Read]).await.1,
        grant: rpc.grant(OWNER, role("Analyst")).await.unwrap(),
    };
    let made = rpc.create_member(member("ann@acme.example")).await.unwrap();
    let revision = made.receipt.unwrap().revision;
    assert_eq!(rpc.events().await.len() as i64, revision);
    for method in READS {
        for min_revision in [0, 1, revision] {
            let shown = read(rpc, &ids, method, min_revision).await;
            assert_eq!(shown.unwrap(), revision, "{method}");
        }
        for min_revision in [revision + 1, i64::MAX] {
            let status = read(rpc, &ids, method, min_revision).await.unwrap_err();
            let delay = status
                .get_details_retry_info()
                .and_then(|info| info.retry_delay);
            assert!(delay.is_some_and(|delay| !delay.is_zero()), "{method}");
            let (why, metadata) = refused(Err::<(), _>(status), Code::Unavailable);
            assert_eq!(why, "REVISION_NOT_REACHED", "{method}");
            assert_eq!(metadata["revision"], revision.to_string());
            assert_eq!(metadata["min_revision"], min_revision.to_string());
        }
        let (_, metadata) = refused(read(rpc, &ids, method, -1).await, Code::InvalidArgument);
        assert_eq!(metadata["field"], "min_revision", "{method}");
    }
    // Another site's revision is no business of this one's; what is about no site has none.
    let all = world.caller(BOOTSTRAP);
    let who = |site, min_revision| {
        let request = all.request(pb::GetCallerRequest { site, min_revision });
        let mut client = all.credentials();
        async move { client.get_caller(request).await.map(Response::into_inner) }
    };
    world.bare_site("bolt").await;
    assert!(who(site("bolt"), revision).await.is_err());
    assert_eq!(
        who(site("acme"), revision).await.unwrap().revision,
        revision
    );
    assert_eq!(who(None, 0).await.unwrap().revision, 0);
    assert!(who(None, 1).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_wrote_another_one_shows_at_that_revision() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let other = world.another_identity().await;
    let elsewhere = Rpc {
        caller: roster_stack::grpc::Caller::new(
            &format!("127.0.0.1:{}", other.port()),
            &acme.service_token,
        )
        .unwrap(),
        site: None,
    };
    for n in 0..20 {
        let name = format!("m{n}@acme.example");
        let made = acme.rpc.create_member(member(&name)).await.unwrap();
        let made_at = made.receipt.unwrap().revision;
        acme.rpc.grant(&name, role("Analyst")).await.unwrap();
        let request = elsewhere.caller.request(pb::GetMemberRequest {
            member: by_id(&made.member.unwrap().id),
            min_revision: made_at + 1,
            ..Default::default()
        });
        let answer = elsewhere
            .caller
            .members()
            .get_member(request)
            .await
            .unwrap();
        let answer = answer.into_inner();
        assert_eq!(answer.revision, made_at + 1);
        assert_eq!(answer.member.unwrap().access.unwrap().roles.len(), 1);
    }
}
