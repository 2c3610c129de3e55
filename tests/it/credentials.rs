//! Credentials: what is kept of them, what they may do, and when they stop.

use std::time::{Duration, Instant, SystemTime};

use identity_proto::v1 as pb;
use identity_tests::{
    locks::eventually,
    rpc::{Rpc, by_user_name, role},
    scim,
    world::{BOOTSTRAP, OWNER, World},
    writes::{member, reason, refused},
};
use prost_types::Timestamp;
use roster_stack::grpc::{Caller, site};
use serde_json::json;
use tonic::{Code, Response, Status};

async fn issue(
    caller: &Caller,
    request: pb::IssueCredentialRequest,
) -> Result<pb::IssueCredentialResponse, Status> {
    let request = caller.request(request);
    let answer = caller.credentials().issue_credential(request).await;
    answer.map(Response::into_inner)
}

async fn revoke(caller: &Caller, id: &str, domain: &str) -> Result<pb::Credential, Status> {
    let request = caller.request(pb::RevokeCredentialRequest {
        site: site(domain),
        credential_id: id.to_owned(),
        ..Default::default()
    });
    let answer = caller.credentials().revoke_credential(request).await?;
    Ok(answer.into_inner().credential.unwrap())
}

async fn who(caller: &Caller, site: Option<pb::SiteRef>) -> Result<pb::GetCallerResponse, Status> {
    let request = caller.request(pb::GetCallerRequest {
        site,
        ..Default::default()
    });
    let answer = caller.credentials().get_caller(request).await;
    answer.map(Response::into_inner)
}

async fn list(caller: &Caller, domain: &str) -> Vec<pb::Credential> {
    let request = caller.request(pb::ListCredentialsRequest {
        site: site(domain),
        all_sites: false,
        ..Default::default()
    });
    let answer = caller.credentials().list_credentials(request).await;
    answer.unwrap().into_inner().credentials
}

fn spare(domain: &str, scopes: &[pb::Scope]) -> pb::IssueCredentialRequest {
    pb::IssueCredentialRequest {
        site: site(domain),
        label: "spare".to_owned(),
        scopes: scopes.iter().map(|scope| i32::from(*scope)).collect(),
        ..Default::default()
    }
}

fn is_base62(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Conformance: 128.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once_and_only_its_hash_is_kept() {
    let world = World::start().await;
    let acme = world.acme().await;
    let token = &acme.scim_token;
    // roster_<site>_<secret><checksum>
    let parts: Vec<&str> = token.split('_').collect();
    let [prefix, id, secret] = parts.as_slice() else {
        panic!("a token has three parts")
    };
    assert_eq!((*prefix, id.len(), secret.len()), ("roster", 22, 43 + 6));
    assert!(is_base62(id) && is_base62(secret));
    let other: Vec<&str> = acme.service_token.split('_').collect();
    assert_eq!(*id, other[1], "the site's public id");

    // It is good, was used, and stands nowhere: no table has it, nor its secret part.
    acme.scim.get("/Users").await.is(200);
    let tables = world.database.texts(
        "SELECT format('%I.%I', schemaname, tablename) AS t FROM pg_tables \
         WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
    );
    assert!(tables.len() > 12);
    let hidden = &secret[..20];
    for table in &tables {
        let found = world.database.number(&format!(
            "SELECT count(*) AS n FROM {table} r WHERE r::text LIKE '%{hidden}%' OR r::text LIKE \
             '%' || encode('{hidden}', 'hex') || '%'"
        ));
        assert_eq!(found, 0, "{table}");
    }
    let hashes = world
        .database
        .number("SELECT count(*) AS n FROM credentials WHERE octet_length(secret_hash) = 32");
    assert_eq!(hashes, 2);
    // Nor is it in an event, a list or a log.
    let listed = format!("{:?}", list(&acme.rpc.caller, "acme").await);
    let events = format!("{:?}", acme.rpc.events().await);
    for text in [&listed, &events, &world.log()] {
        assert!(!text.contains(hidden));
    }

    // A wrong digit is noticed by the checksum, without a look-up.
    let last = if token.ends_with('x') { 'y' } else { 'x' };
    let wrong = format!("{}{last}", &token[..token.len() - 1]);
    let answer = world.scim("acme", &wrong).get("/Users").await;
    let trace_id = answer.trace_id().to_owned();
    answer.error(401, "");
    let log = std::fs::read_to_string(world.identity.log()).unwrap();
    let line = log
        .lines()
        .find(|line| line.contains(&trace_id) && line.contains("token refused"));
    assert!(line.unwrap().contains("cause=malformed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tokens_overlap_and_a_revoked_one_stops_everywhere_within_a_second() {
    let world = World::start().await;
    let acme = world.acme().await;
    let second = world.another_identity().await;
    let address = format!("127.0.0.1:{}", second.port());
    let (token, id) = world.issue("acme", &[pb::Scope::Provision]).await;
    let bootstrap = world.caller(BOOTSTRAP);
    let (new, old) = (world.scim("acme", &token), acme.scim.clone());
    for scim in [&new, &old] {
        scim.get("/Users").await.is(200);
    }
    let here = world.caller(&token);
    let there = Caller::new(&address, &token).unwrap();
    for caller in [&here, &there] {
        let info = who(caller, None).await.unwrap();
        assert_eq!(info.credential.unwrap().id, id);
        assert_eq!(info.site.unwrap().domain, "acme");
    }

    let revoked = revoke(&bootstrap, &id, "acme").await.unwrap();
    let since = Instant::now();
    assert!(revoked.revoke_time.is_some());
    for caller in [&here, &there] {
        let outcome = who(caller, None).await;
        assert_eq!(reason(outcome, Code::Unauthenticated), "TOKEN_INVALID");
    }
    let answer = new.get("/Users").await;
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    answer.error(401, "");
    assert!(since.elapsed() < Duration::from_secs(1));
    old.get("/Users").await.is(200);
    // Again it changes nothing.
    let again = revoke(&bootstrap, &id, "acme").await.unwrap();
    assert_eq!(again.revoke_time, revoked.revoke_time);
    let unknown = revoke(&bootstrap, &uuid::Uuid::new_v4().to_string(), "acme").await;
    assert_eq!(reason(unknown, Code::NotFound), "CREDENTIAL_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_stops_by_itself_when_its_time_is_over() {
    let world = World::start().await;
    let acme = world.acme().await;
    let bootstrap = world.caller(BOOTSTRAP);
    let at = |from_now: i64| {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        Some(Timestamp {
            seconds: now.as_secs() as i64 + from_now,
            nanos: 0,
        })
    };
    for (expire_time, scopes, label) in [
        (at(-1), &[pb::Scope::Read][..], "label"),
        (None, &[], "label"),
        (None, &[pb::Scope::Unspecified], "label"),
        (None, &[pb::Scope::Read, pb::Scope::Read], "label"),
        (None, &[pb::Scope::Read], " "),
        (None, &[pb::Scope::Read], "a\nb"),
        (None, &[pb::Scope::Read], &"x".repeat(101)),
    ] {
        let mut request = spare("acme", scopes);
        request.expire_time = expire_time;
        request.label = label.to_owned();
        let outcome = issue(&bootstrap, request).await;
        assert_eq!(reason(outcome, Code::InvalidArgument), "FIELD_INVALID");
    }
    let mut request = spare("acme", &[pb::Scope::Provision]);
    request.expire_time = at(2);
    let issued = issue(&bootstrap, request.clone()).await.unwrap();
    assert_eq!(issued.credential.unwrap().expire_time, request.expire_time);
    let scim = world.scim("acme", &issued.token);
    scim.get("/Users").await.is(200);
    let mut stopped = false;
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let answer = scim.get("/Users").await;
        if answer.status == 401 {
            answer.error(401, "");
            stopped = true;
            break;
        }
    }
    assert!(stopped, "two seconds are over");
    acme.scim.get("/Users").await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn last_use_is_written_once_a_minute_and_outside_the_request() {
    let world = World::start().await;
    let acme = world.acme().await;
    let (token, id) = world.issue("acme", &[pb::Scope::Provision]).await;
    let scim = world.scim("acme", &token);
    let used = format!(
        "SELECT count(*) AS n FROM credentials WHERE credential_id = '{id}' AND last_used_at"
    );
    let is = |condition: &str| world.database.number(&format!("{used} {condition}")) == 1;
    assert!(is("IS NULL"));
    let trace = scim.get("/Users").await.is(200).trace_id().to_owned();
    eventually("the first use is written", || is("IS NOT NULL")).await;
    let own = identity_tests::database::statements(&trace);
    assert!(!own.iter().any(|sql| sql.contains("last_used_at =")));
    let written = || {
        world.database.texts(&format!(
            "SELECT xmin::text || last_used_at AS t FROM credentials WHERE credential_id = '{id}'"
        ))
    };
    let first = written();
    for _ in 0..10 {
        scim.get("/Users").await.is(200);
    }
    // In another process too, which has not written it itself.
    let second = world.another_identity().await;
    let there = Caller::new(&format!("127.0.0.1:{}", second.port()), &token).unwrap();
    who(&there, None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(written(), first);
    let shown = list(&acme.rpc.caller, "acme").await;
    let shown = shown.iter().find(|credential| credential.id == id).unwrap();
    assert!(shown.last_use_time.is_some());

    // A minute later it is written again. (By the other process: this one remembers.)
    world
        .database
        .execute("UPDATE credentials SET last_used_at = last_used_at - interval '61 seconds'");
    who(&there, None).await.unwrap();
    eventually("the later use is written", || {
        is("> clock_timestamp() - interval '30 seconds'")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_does_what_its_scopes_say_and_no_more() {
    let world = World::start().await;
    world.acme().await;
    let mut callers = Vec::new();
    for scope in [
        pb::Scope::Provision,
        pb::Scope::Read,
        pb::Scope::Write,
        pb::Scope::Administer,
    ] {
        let (token, _) = world.issue("acme", &[scope]).await;
        callers.push((
            scope,
            Rpc {
                caller: world.caller(&token),
                site: None,
            },
        ));
    }
    let before = world.database.snapshot();
    for (scope, rpc) in &callers {
        use pb::Scope::{Administer, Provision, Read, Write};
        /// Whether a call came past the look at its scopes.
        fn passed<T: std::fmt::Debug>(outcome: Result<T, Status>) -> bool {
            match outcome {
                Err(status) if status.code() == Code::PermissionDenied => {
                    let (why, metadata) = refused(Err::<(), _>(status), Code::PermissionDenied);
                    assert_eq!(why, "SCOPE_MISSING");
                    assert!(!metadata["scope"].is_empty());
                    false
                }
                _ => true,
            }
        }
        let nobody = "none";
        let dry_site = rpc.caller.request(pb::UpdateSiteRequest::default());
        let list_roles = rpc.caller.request(pb::ListRolesRequest::default());
        let list_credentials = rpc.caller.request(pb::ListCredentialsRequest::default());
        for (what, did, allowed) in [
            (
                "get a member",
                passed(rpc.get_member(by_user_name(OWNER)).await),
                &[Provision, Read][..],
            ),
            (
                "change a member",
                passed(rpc.set_active(nobody, true).await),
                &[Provision, Write],
            ),
            (
                "make a bad member",
                passed(rpc.create_member(pb::Member::default()).await),
                &[Provision, Write],
            ),
            (
                "list roles",
                passed(rpc.caller.roles().list_roles(list_roles).await),
                &[Provision, Read],
            ),
            (
                "make a role",
                passed(rpc.create_role("", &[]).await),
                &[Write],
            ),
            (
                "grant",
                passed(rpc.grant(OWNER, role("None")).await),
                &[Write],
            ),
            (
                "access",
                passed(rpc.list_member_access(by_user_name(OWNER)).await),
                &[Read],
            ),
            (
                "settings",
                passed(rpc.caller.sites().update_site(dry_site).await),
                &[Administer],
            ),
            (
                "credentials",
                passed(
                    rpc.caller
                        .credentials()
                        .list_credentials(list_credentials)
                        .await,
                ),
                &[Administer],
            ),
            (
                "who",
                passed(who(&rpc.caller, None).await),
                &[Provision, Read, Write, Administer],
            ),
        ] {
            assert_eq!(did, allowed.contains(scope), "{scope:?}: {what}");
        }
    }
    // Nobody gives away what they do not hold, and a site's administrator has no say beyond it.
    let (_, administrator) = &callers[3];
    for scope in [pb::Scope::Read, pb::Scope::Write] {
        let outcome = issue(&administrator.caller, spare("acme", &[scope])).await;
        assert_eq!(reason(outcome, Code::PermissionDenied), "SCOPE_MISSING");
    }
    let mut all = spare("acme", &[pb::Scope::Administer]);
    all.all_sites = true;
    let outcome = issue(&administrator.caller, all).await;
    assert_eq!(reason(outcome, Code::PermissionDenied), "SCOPE_MISSING");
    assert_eq!(world.database.snapshot(), before);
    // Over SCIM a token without the scope is told so, and not that it is wrong.
    let (token, _) = world.issue("acme", &[pb::Scope::Read]).await;
    let reader = world.scim("acme", &token);
    reader.get("/Users").await.is(200);
    let detail = reader
        .post("/Users", &scim::user("ann@acme.example"))
        .await
        .error(403, "");
    assert!(detail.contains("provision"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bootstrap_token_makes_sites_and_credentials_and_nothing_else() {
    let world = World::start().await;
    world.acme().await;
    let bootstrap = Rpc {
        caller: world.caller(BOOTSTRAP),
        site: site("acme"),
    };
    let before = world.database.snapshot();
    let denied = Code::PermissionDenied;
    for why in [
        reason(bootstrap.get_member(by_user_name(OWNER)).await, denied),
        reason(bootstrap.create_member(member("a@b")).await, denied),
        reason(bootstrap.grant(OWNER, role("Admin")).await, denied),
        reason(
            bootstrap.list_member_access(by_user_name(OWNER)).await,
            denied,
        ),
        reason(bootstrap.divide(pb::Reach::All).await, denied),
        reason(bootstrap.create_role("x", &[]).await, denied),
    ] {
        assert_eq!(why, "SCOPE_MISSING");
    }
    assert_eq!(world.database.snapshot(), before);
    world
        .scim("acme", &format!("Bearer {BOOTSTRAP}"))
        .get("/Users")
        .await
        .error(403, "");
    assert!(
        who(&bootstrap.caller, None)
            .await
            .unwrap()
            .credential
            .is_none()
    );
    assert_eq!(list(&bootstrap.caller, "acme").await.len(), 2);

    // Unset, it does not exist; too short, the process does not start.
    let database = identity_tests::database::Database::create();
    let options = World::identity_options(
        database.url(),
        roster_stack::ports::free_port().unwrap(),
        &world.logs().join("identity-3.log"),
    );
    let guard = &identity_tests::database::server().guard;
    let short = options
        .clone()
        .variable("ROSTER_BOOTSTRAP_TOKEN", "short-one");
    let failure =
        tokio::task::block_in_place(|| roster_stack::services::Service::start(short, guard));
    let failure = format!("{:#}", failure.unwrap_err());
    assert!(
        failure.contains("32 up to 256") && !failure.contains("short-one"),
        "{failure}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_site_knows_no_other_and_one_of_all_names_its_own() {
    let world = World::start().await;
    let (acme, bolt) = tokio::join!(world.acme(), world.bare_site("bolt"));
    let id = |id: &str| {
        Some(pb::SiteRef {
            r#ref: Some(pb::site_ref::Ref::Id(id.to_owned())),
        })
    };
    // Naming its own site is as good as not to.
    for named in [None, site("acme"), site(" ACME "), id(&acme.id)] {
        let info = who(&acme.rpc.caller, named).await.unwrap();
        assert_eq!(info.site.unwrap().id, acme.id);
    }
    for named in [site("bolt"), id(&bolt.id), site("nobody"), id("x"), id("")] {
        let mut rpc = acme.rpc.clone();
        rpc.site = named.clone();
        let outcome = rpc.get_member(by_user_name(OWNER)).await;
        assert_eq!(
            reason(outcome, Code::NotFound),
            "SITE_NOT_FOUND",
            "{named:?}"
        );
        let outcome = rpc.create_member(member("x@acme.example")).await;
        assert_eq!(
            reason(outcome, Code::NotFound),
            "SITE_NOT_FOUND",
            "{named:?}"
        );
    }
    // Over SCIM it is as if the token were wrong, for every method, before any look at the body.
    for domain in ["bolt", "nobody", "a%20b"] {
        let foreign = world.scim(domain, &acme.scim_token);
        foreign.get("/Users").await.error(401, "");
        foreign
            .post("/Users", &json!("no object"))
            .await
            .error(401, "");
        foreign.patch("/Groups/x", json!([])).await.error(401, "");
        foreign.delete("/Users/x").await.error(401, "");
    }
    // The site's domain in any case is the site.
    world
        .scim("ACME", &acme.scim_token)
        .get("/Users")
        .await
        .is(200);

    let bootstrap = world.caller(BOOTSTRAP);
    let mut all = spare("acme", &[pb::Scope::Read, pb::Scope::Administer]);
    all.all_sites = true;
    all.site = None;
    let issued = issue(&bootstrap, all).await.unwrap();
    assert!(issued.token.starts_with("roster_all_"));
    assert!(issued.receipt.is_none());
    let credential = issued.credential.unwrap();
    assert_eq!(credential.site_id, "");
    let caller = world.caller(&issued.token);
    for (named, domain) in [
        (site("acme"), "acme"),
        (site("bolt"), "bolt"),
        (id(&bolt.id), "bolt"),
    ] {
        let rpc = Rpc {
            caller: caller.clone(),
            site: named,
        };
        assert_eq!(rpc.get_site().await.domain, domain);
    }
    let nameless = Rpc {
        caller: caller.clone(),
        site: None,
    };
    let outcome = nameless.get_member(by_user_name(OWNER)).await;
    assert_eq!(refused(outcome, Code::InvalidArgument).1["field"], "site");
    let mut unknown = nameless.clone();
    unknown.site = site("nobody");
    let outcome = unknown.get_member(by_user_name(OWNER)).await;
    assert_eq!(reason(outcome, Code::NotFound), "SITE_NOT_FOUND");

    let request = caller.request(pb::RevokeCredentialRequest {
        all_sites: true,
        credential_id: credential.id,
        ..Default::default()
    });
    caller
        .credentials()
        .revoke_credential(request)
        .await
        .unwrap();
    let outcome = who(&caller, None).await;
    assert_eq!(reason(outcome, Code::Unauthenticated), "TOKEN_INVALID");
}
