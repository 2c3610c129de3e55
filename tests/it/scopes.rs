//! What a credential may call: every method of the contract with every scope, against the published table.

use std::collections::{BTreeMap, BTreeSet};

use identity_proto::{FILE_DESCRIPTOR_SET, v1 as pb};
use identity_tests::{
    rpc::{Rpc, role},
    world::{BOOTSTRAP, World},
    writes::{member, reason, refused},
};
use prost::Message;
use roster_stack::grpc::Caller;
use tonic::{Code, Status, codegen::http::uri::PathAndQuery};
use tonic_types::StatusExt;

const ALL: [pb::Scope; 11] = [
    pb::Scope::Provision,
    pb::Scope::Read,
    pb::Scope::Write,
    pb::Scope::Administer,
    pb::Scope::Check,
    pb::Scope::Watch,
    pb::Scope::WriteMembers,
    pb::Scope::WriteGroups,
    pb::Scope::WriteRoles,
    pb::Scope::WriteBusinessEntities,
    pb::Scope::WriteGrants,
];

fn name(scope: pb::Scope) -> String {
    scope
        .as_str_name()
        .trim_start_matches("SCOPE_")
        .to_lowercase()
}

/// All methods of the contract, `<service>/<method>`.
fn contract() -> BTreeSet<String> {
    let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let services = set.file.iter().flat_map(|file| &file.service);
    services
        .flat_map(|service| {
            let methods = service.method.iter();
            methods.map(|method| format!("{}/{}", service.name(), method.name()))
        })
        .collect()
}

/// A row of the published table.
struct Row {
    /// None for any credential.
    scopes: BTreeSet<String>,
    all_sites: bool,
    bootstrap: bool,
}

/// The published table.
fn published() -> BTreeMap<String, Row> {
    include_str!("../../docs/scopes.md")
        .lines()
        .filter(|line| {
            line.split('|')
                .nth(1)
                .is_some_and(|cell| cell.ends_with("Service "))
        })
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let scopes = cells[3].split('`').skip(1).step_by(2);
            let scopes = scopes.map(str::to_owned).collect();
            let row = Row {
                scopes,
                all_sites: cells[4] == "yes",
                bootstrap: cells[5] == "yes",
            };
            (format!("{}/{}", cells[1], cells[2]), row)
        })
        .collect()
}

/// Calls a method with an empty message; a stream only as far as its first message.
async fn call(caller: &Caller, method: &str) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(caller.channel());
    client.ready().await.unwrap();
    let path = PathAndQuery::try_from(format!("/identity.v1.{method}")).unwrap();
    // Every message of the contract can be read as one without fields.
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let answer = client
        .server_streaming(caller.request(()), path, codec)
        .await?;
    if method == "EventService/WatchEvents" {
        return Ok(());
    }
    answer.into_inner().message().await.map(drop)
}

/// Whether a call was refused for want of a scope, whatever else became of it.
fn lacks_scope(outcome: Result<(), Status>) -> bool {
    let Err(status) = outcome else { return false };
    let info = status
        .get_details_error_info()
        .unwrap_or_else(|| panic!("{status:?}"));
    info.reason == "SCOPE_MISSING"
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_takes_exactly_the_scopes_of_the_published_table() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let table = published();
    let listed: BTreeSet<String> = table.keys().cloned().collect();
    assert_eq!(listed, contract(), "the table has every method");
    let mut callers = Vec::new();
    for scope in ALL {
        let (token, _) = world.issue(&acme.domain, &[scope]).await;
        let (of_all, _) = world.issue_for_all(&[scope]).await;
        callers.push((
            name(scope),
            [token, of_all].map(|token| world.caller(&token)),
        ));
    }
    let bootstrap = world.caller(BOOTSTRAP);
    for (method, row) in &table {
        for (scope, [of_site, of_all]) in &callers {
            let may = row.scopes.is_empty() || row.scopes.contains(scope);
            let refused = lacks_scope(call(of_site, method).await);
            assert_eq!(refused, !may || row.all_sites, "{method} with {scope}");
            if row.all_sites {
                let refused = lacks_scope(call(of_all, method).await);
                assert_eq!(refused, !may, "{method} with {scope} of all sites");
            }
        }
        // It speaks for no site, so what it may not do may also fail at the site that is not named.
        let outcome = call(&bootstrap, method).await;
        if row.bootstrap {
            assert!(!lacks_scope(outcome), "{method} with the bootstrap token");
        } else {
            assert!(outcome.is_err(), "{method} with the bootstrap token");
        }
        let stranger = call(&world.caller("nobody's"), method).await;
        assert_eq!(
            reason(stranger, Code::Unauthenticated),
            "TOKEN_INVALID",
            "{method}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gives_away_a_scope_that_they_do_not_hold() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let issue = |token: &str, scope: pb::Scope| {
        let caller = world.caller(token);
        let request = pb::IssueCredentialRequest {
            label: "given".to_owned(),
            scopes: vec![scope.into()],
            validate_only: true,
            ..Default::default()
        };
        async move {
            let request = caller.request(request);
            caller.credentials().issue_credential(request).await
        }
    };
    let kinds: Vec<pb::Scope> = ALL
        .into_iter()
        .filter(|scope| name(*scope).starts_with("write_"))
        .collect();
    // Each holder, and what it holds besides the two that every administrator may give.
    let mut holders = vec![
        (
            pb::Scope::Write,
            [kinds.clone(), vec![pb::Scope::Write]].concat(),
        ),
        (pb::Scope::Read, vec![pb::Scope::Read, pb::Scope::Check]),
        (pb::Scope::Check, vec![pb::Scope::Check]),
        (pb::Scope::Watch, vec![pb::Scope::Watch]),
    ];
    holders.extend(kinds.into_iter().map(|kind| (kind, vec![kind])));
    for (holder, mut gives) in holders {
        gives.extend([pb::Scope::Provision, pb::Scope::Administer]);
        let (token, _) = world
            .issue(&acme.domain, &[pb::Scope::Administer, holder])
            .await;
        for scope in ALL {
            let outcome = issue(&token, scope).await;
            if gives.contains(&scope) {
                assert!(outcome.is_ok(), "{holder:?} gives {scope:?}: {outcome:?}");
            } else {
                let (said, metadata) = refused(outcome, Code::PermissionDenied);
                assert_eq!(said, "SCOPE_MISSING");
                assert_eq!(metadata["scope"], name(scope));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owners_user_name_is_changed_only_by_who_may_give_owner() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let owner = acme
        .rpc
        .list_member_access(identity_tests::rpc::by_user_name("owner@acme.example"));
    let owner = owner.await.unwrap().member_id;
    let rpc = async |scopes: &[pb::Scope]| Rpc {
        caller: world.caller(&world.issue("acme", scopes).await.0),
        site: None,
    };
    let rename =
        async |rpc: &Rpc, to: &str| rpc.update_member(&owner, member(to), &["user_name"]).await;
    for scopes in [
        vec![pb::Scope::WriteMembers],
        vec![pb::Scope::Provision],
        vec![pb::Scope::Provision, pb::Scope::WriteGroups],
    ] {
        let rpc = rpc(&scopes).await;
        let outcome = rename(&rpc, "mallory@acme.example").await;
        assert_eq!(
            reason(outcome, Code::PermissionDenied),
            "OWNER_USER_NAME",
            "{scopes:?}"
        );
        // Only the case: the same name.
        rename(&rpc, "OWNER@acme.example").await.unwrap();
    }
    // With the power to make anybody an Owner it adds nothing.
    let both = rpc(&[pb::Scope::WriteMembers, pb::Scope::WriteGrants]).await;
    rename(&both, "olivia@acme.example").await.unwrap();
    acme.scim.make_user("ann@acme.example").await;
    let grants = rpc(&[pb::Scope::WriteGrants]).await;
    grants
        .grant("ann@acme.example", role("Owner"))
        .await
        .unwrap();
    // Whoever writes members over gRPC says who they are, an identity provider need not.
    let mut nameless = member("nameless@acme.example");
    nameless.profile = None;
    let members = rpc(&[pb::Scope::WriteMembers]).await;
    let outcome = members.create_member(nameless.clone()).await;
    assert_eq!(reason(outcome, Code::InvalidArgument), "FIELD_INVALID");
    let provisioning = rpc(&[pb::Scope::Provision]).await;
    provisioning.create_member(nameless).await.unwrap();
}
