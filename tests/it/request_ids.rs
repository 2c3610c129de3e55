//! Requests with an id: sent again, they have one effect and one answer, whatever happened in between.

use std::{future::Future, time::Duration};

use futures_util::future::join_all;
use identity_proto::v1 as pb;
use identity_tests::{
    database::statements,
    faults::Proxy,
    locks::eventually,
    rpc::{by_user_name, role},
    world::{BOOTSTRAP, OWNER, Site, World},
    writes::{member, new_trace_id, reason, refused, traced},
};
use prost::Message;
use roster_stack::grpc::{Caller, site};
use tonic::{Code, Response, Status};

/// Everything that can be made, as requests with an id.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Site,
    Member,
    Role,
    Entity,
    Group,
    Grant,
    Credential,
    AllSitesCredential,
}

const KINDS: [Kind; 8] = [
    Kind::Site,
    Kind::Member,
    Kind::Role,
    Kind::Entity,
    Kind::Group,
    Kind::Grant,
    Kind::Credential,
    Kind::AllSitesCredential,
];

impl Kind {
    /// Whether it belongs to no site when it is asked for.
    fn is_outside(self) -> bool {
        matches!(self, Self::Site | Self::AllSitesCredential)
    }
}

/// Asks for one of a kind; `what` tells one request from another. Answers with the message's bytes and, of
/// a credential, the token, which is not in them.
async fn make(
    caller: &Caller,
    kind: Kind,
    what: &str,
    request_id: &str,
    validate_only: bool,
) -> Result<(Vec<u8>, String), Status> {
    let request_id = request_id.to_owned();
    let bytes = |message: Vec<u8>| (message, String::new());
    macro_rules! ask {
        ($client:expr, $method:ident, $message:expr) => {
            $client
                .$method(caller.request($message))
                .await
                .map(|answer| bytes(answer.into_inner().encode_to_vec()))
        };
    }
    match kind {
        Kind::Site => ask!(
            caller.sites(),
            create_site,
            pb::CreateSiteRequest {
                domain: format!("site-{what}"),
                owner: Some(pb::NewOwner {
                    user_name: OWNER.to_owned(),
                    given_name: "O".to_owned(),
                    family_name: "W".to_owned(),
                }),
                request_id,
                validate_only,
                ..Default::default()
            }
        ),
        Kind::Member => ask!(
            caller.members(),
            create_member,
            pb::CreateMemberRequest {
                member: Some(member(&format!("{what}@acme.example"))),
                request_id,
                validate_only,
                ..Default::default()
            }
        ),
        Kind::Role => ask!(
            caller.roles(),
            create_role,
            pb::CreateRoleRequest {
                role: Some(pb::Role {
                    name: format!("Role {what}"),
                    permissions: vec!["invoices.view".to_owned()],
                    ..Default::default()
                }),
                request_id,
                validate_only,
                ..Default::default()
            }
        ),
        Kind::Entity => {
            ask!(
                caller.business_entities(),
                create_business_entity,
                pb::CreateBusinessEntityRequest {
                    business_entity: Some(pb::BusinessEntity {
                        name: format!("Entity {what}"),
                        ..Default::default()
                    }),
                    request_id,
                    validate_only,
                    ..Default::default()
                }
            )
        }
        Kind::Group => {
            let mut client = pb::group_service_client::GroupServiceClient::new(caller.channel());
            let name = if what == "a" { "Admin" } else { "Analyst" };
            ask!(
                client,
                create_group,
                pb::CreateGroupRequest {
                    display_name: format!("CB/acme/ROLE/{name}"),
                    target: Some(pb::TargetByName {
                        kind: pb::TargetKind::Role.into(),
                        name: name.to_owned(),
                        ..Default::default()
                    }),
                    request_id,
                    validate_only,
                    ..Default::default()
                }
            )
        }
        Kind::Grant => {
            let mut client = pb::grant_service_client::GrantServiceClient::new(caller.channel());
            ask!(
                client,
                create_grant,
                pb::CreateGrantRequest {
                    member: by_user_name(OWNER),
                    target: role(if what == "a" {
                        "Analyst"
                    } else {
                        "Tech Support"
                    }),
                    reason: "a test".to_owned(),
                    request_id,
                    validate_only,
                    ..Default::default()
                }
            )
        }
        Kind::Credential | Kind::AllSitesCredential => {
            let all_sites = kind == Kind::AllSitesCredential;
            let request = caller.request(pb::IssueCredentialRequest {
                site: if all_sites { None } else { site("acme") },
                all_sites,
                label: what.to_owned(),
                scopes: vec![pb::Scope::Provision.into()],
                request_id,
                validate_only,
                ..Default::default()
            });
            let answer = caller.credentials().issue_credential(request).await?;
            let mut answer = answer.into_inner();
            let token = std::mem::take(&mut answer.token);
            Ok((answer.encode_to_vec(), token))
        }
    }
}

/// How much of everything there is.
fn census(world: &World) -> String {
    let tables = [
        "sites",
        "members",
        "roles",
        "business_entities",
        "groups",
        "grants",
        "credentials",
        "all_site_credentials",
        "events",
    ];
    let counts = tables.map(|table| {
        world
            .database
            .number(&format!("SELECT count(*) AS n FROM {table}"))
    });
    format!("{counts:?}")
}

fn callers(world: &World, acme: &Site, kind: Kind) -> Caller {
    if kind.is_outside() {
        world.caller(BOOTSTRAP)
    } else {
        acme.rpc.caller.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_again_has_one_effect_and_one_answer() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    for kind in KINDS {
        let caller = &callers(&world, &acme, kind);
        let id = format!("{kind:?}-1");
        let before = world.database.snapshot();
        // A dry run uses no id, and is no request that another one repeats.
        make(caller, kind, "a", &id, true).await.unwrap();
        assert_eq!(world.database.snapshot(), before, "{kind:?}");
        let (first, token) = make(caller, kind, "a", &id, false).await.unwrap();
        assert_eq!(
            token.is_empty(),
            !matches!(kind, Kind::Credential | Kind::AllSitesCredential)
        );
        let after = census(&world);
        for _ in 0..2 {
            let (again, token) = make(caller, kind, "a", &id, false).await.unwrap();
            assert_eq!(again, first, "{kind:?}");
            assert_eq!(token, "", "a token is shown once");
        }
        assert_eq!(census(&world), after, "{kind:?}");
        // Another request with that id, of the same method or of another one.
        let outcome = make(caller, kind, "b", &id, false).await;
        let (why, metadata) = refused(outcome, Code::FailedPrecondition);
        assert_eq!(
            (why.as_str(), metadata["request_id"].as_str()),
            ("REQUEST_ID_REUSED", id.as_str())
        );
        let other = KINDS
            .into_iter()
            .find(|other| *other != kind && other.is_outside() == kind.is_outside());
        let outcome = make(caller, other.unwrap(), "b", &id, false).await;
        assert_eq!(
            reason(outcome, Code::FailedPrecondition),
            "REQUEST_ID_REUSED"
        );
        assert_eq!(census(&world), after, "{kind:?}");
        // The same without the id is a request of its own.
        if !matches!(kind, Kind::Credential | Kind::AllSitesCredential) {
            let (why, _) = refused(
                make(caller, kind, "a", "", false).await,
                Code::AlreadyExists,
            );
            assert!(why.ends_with("TAKEN") || why == "GRANT_EXISTS", "{why}");
        }
    }
    // No token is in what was kept.
    let kept = world.database.number(
        "SELECT count(*) AS n FROM requests WHERE position('roster_'::bytea IN response) > 0",
    );
    assert_eq!(kept, 0);
    assert_eq!(
        world.database.number("SELECT count(*) AS n FROM requests"),
        KINDS.len() as i64
    );
    world.database.check_events(&acme.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_the_credentials_own_and_of_visible_ascii() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let caller = &acme.rpc.caller;
    let (token, _) = world.issue("acme", &[pb::Scope::Write]).await;
    let other = world.caller(&token);
    make(caller, Kind::Member, "ann", "1", false).await.unwrap();
    // Somebody else's request of the same id is another request.
    make(&other, Kind::Member, "bob", "1", false).await.unwrap();
    let longest = "~".repeat(64);
    make(caller, Kind::Member, "cid", &longest, false)
        .await
        .unwrap();
    let before = census(&world);
    for bad in ["a b", "ä", "\n", &"x".repeat(65), "\u{7f}"] {
        for validate_only in [false, true] {
            let outcome = make(caller, Kind::Member, "dan", bad, validate_only).await;
            assert_eq!(
                refused(outcome, Code::InvalidArgument).1["field"],
                "request_id"
            );
        }
    }
    assert_eq!(census(&world), before);
    // What was refused is not kept: the same request may succeed later.
    let refusal = make(caller, Kind::Member, "ann", "2", false).await;
    assert_eq!(reason(refusal, Code::AlreadyExists), "USER_NAME_TAKEN");
    let ann = acme
        .rpc
        .get_member(by_user_name("ann@acme.example"))
        .await
        .unwrap();
    acme.rpc.delete_member(&ann.id).await.unwrap();
    make(caller, Kind::Member, "ann", "2", false).await.unwrap();
    // The first answer stays the answer, though its member is gone, and makes nobody anew.
    let before = census(&world);
    let (first, _) = make(caller, Kind::Member, "ann", "1", false).await.unwrap();
    let first = pb::CreateMemberResponse::decode(first.as_slice()).unwrap();
    assert_eq!(first.member.unwrap().id, ann.id);
    assert_eq!(census(&world), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_many_times_at_once_is_done_once() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let other = world.another_identity().await;
    let other = format!("127.0.0.1:{}", other.port());
    for kind in KINDS {
        let token = if kind.is_outside() {
            BOOTSTRAP
        } else {
            &acme.service_token
        };
        let callers = [world.caller(token), Caller::new(&other, token).unwrap()];
        let before = world.database.number("SELECT count(*) AS n FROM events");
        let credentials = "SELECT count(*) AS n FROM all_site_credentials";
        let id = &format!("{kind:?}");
        let issued = world.database.number(credentials);
        let outcomes = join_all((0..12).map(|n| make(&callers[n % 2], kind, "a", id, false))).await;
        let mut tokens = 0;
        let mut answers: Vec<Vec<u8>> = Vec::new();
        for outcome in outcomes {
            let (answer, token) = outcome.unwrap_or_else(|status| panic!("{kind:?}: {status:?}"));
            answers.push(answer);
            tokens += usize::from(!token.is_empty());
        }
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "{kind:?}"
        );
        assert!(tokens <= 1, "{kind:?}");
        let after = world.database.number("SELECT count(*) AS n FROM events");
        let expected = i64::from(kind != Kind::AllSitesCredential);
        assert_eq!(after - before, expected, "{kind:?}");
        let issued = world.database.number(credentials) - issued;
        assert_eq!(issued, 1 - expected, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_between_its_commit_and_its_answer_answers_the_next_time() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let proxy = Proxy::before(world.identity.port()).await;
    let address = format!("127.0.0.1:{}", proxy.port());
    let through = Caller::new(&address, &acme.service_token).unwrap();
    // The connection is there, and takes one request more; no byte of an answer comes back.
    make(&through, Kind::Member, "first", "", false)
        .await
        .unwrap();
    proxy.mute();
    let asked =
        tokio::spawn(async move { make(&through, Kind::Member, "ann", "killed", false).await });
    let kept = "SELECT count(*) AS n FROM requests";
    eventually("the commit", || world.database.number(kept) == 1).await;
    world.identity.kill();
    proxy.cut();
    assert!(asked.await.unwrap().is_err(), "nobody was told");
    let after = census(&world);
    world.identity.restart().unwrap();
    let (answer, _) = make(&acme.rpc.caller, Kind::Member, "ann", "killed", false)
        .await
        .unwrap();
    let made = pb::CreateMemberResponse::decode(answer.as_slice()).unwrap();
    let ann = acme
        .rpc
        .get_member(by_user_name("ann@acme.example"))
        .await
        .unwrap();
    assert_eq!(made.member.as_ref(), Some(&ann));
    assert_eq!(made.receipt.unwrap().revision, ann.version);
    assert_eq!(census(&world), after);
}

/// How many statements a call takes, the end of its transaction among them.
async fn cost<A, F: Future<Output = Result<Response<A>, Status>>>(
    call: impl FnOnce(String) -> F,
) -> usize {
    let trace_id = new_trace_id();
    call(trace_id.clone()).await.unwrap();
    statements(&trace_id).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_costs_one_statement_and_its_answer_is_kept_for_a_day() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let caller = &acme.rpc.caller;
    let create = |name: &str, request_id: &str| {
        let request = caller.request(pb::CreateMemberRequest {
            member: Some(member(&format!("{name}@acme.example"))),
            request_id: request_id.to_owned(),
            ..Default::default()
        });
        let mut client = caller.members();
        move |trace_id: String| async move { client.create_member(traced(request, &trace_id)).await }
    };
    let without = cost(create("ann", "")).await;
    assert_eq!(cost(create("bob", "bob")).await, without + 1);
    for hours in [23, 25] {
        let name = format!("of-{hours}");
        cost(create(&name, &name)).await;
        world.database.execute(&format!(
            "UPDATE requests SET answered_at = now() - interval '{hours} hours' WHERE request_id = '{name}'"
        ));
    }
    // More than one statement deletes at once.
    world.database.execute(
        "INSERT INTO requests SELECT site_id, 'old-' || n, credential_id, method, fingerprint, response, \
         now() - interval '2 days' FROM requests, generate_series(1, 2500) n WHERE request_id = 'bob'",
    );
    // Old answers are deleted when a process begins, and now and then.
    let _other = world.another_identity().await;
    let left = "SELECT count(*) AS n FROM requests";
    eventually("old answers to be deleted", || {
        world.database.number(left) == 2
    })
    .await;
    let outcome = create("of-25", "of-25")(new_trace_id()).await;
    assert_eq!(reason(outcome, Code::AlreadyExists), "USER_NAME_TAKEN");
    create("of-23", "of-23")(new_trace_id()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.database.number(left), 2);
}
