//! TLS and mutual TLS between callers and identity. A certificate opens the connection; what a call may do
//! follows from its token, which may be pinned to a certificate's name.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use identity_proto::v1 as pb;
use identity_tests::{
    certificates::{Authority, Certified},
    database::server,
    metrics::Exposed,
    rosterctl::{Answer, Rosterctl},
    scim::Scim,
    world::{BOOTSTRAP, World},
    writes::{mask, reason, refused},
};
use roster_stack::{
    grpc::Caller,
    guard::program,
    ports::free_port,
    services::{Service, ServiceOptions, StopFlag},
};
use tempfile::TempDir;
use tonic::{
    Code, Status,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};

/// An identity that speaks TLS, beside the one of the world on the same database.
struct Secured {
    service: Service,
    folder: TempDir,
    authority: Authority,
}

impl Secured {
    /// Starts it; `clients` vouches for clients where they need a certificate.
    async fn start(world: &World, clients: Option<&Authority>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let certificate = authority.server();
        Self {
            service: world
                .identity_over_tls(&certificate, clients, folder.path())
                .await,
            folder,
            authority,
        }
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.service.port())
    }

    /// A caller that trusts `authority`, with a certificate of its own or none.
    fn caller(&self, authority: &str, own: Option<&Certified>, token: &str) -> Caller {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
        if let Some(own) = own {
            tls = tls.identity(Identity::from_pem(&own.pem, &own.key));
        }
        let endpoint = Endpoint::from_shared(self.url()).unwrap();
        Caller::over(endpoint.tls_config(tls).unwrap(), token).unwrap()
    }

    /// What a client needs to reach it, as variables.
    fn variables(&self, own: Option<&Certified>) -> Vec<(&'static str, String)> {
        let folder = self.folder.path();
        let file = folder.join("authority.crt");
        fs::write(&file, &self.authority.pem).unwrap();
        let mut variables = vec![("ROSTER_IDENTITY_CA", file.display().to_string())];
        if let Some(own) = own {
            let (certificate, key) = own.write(folder, "client");
            variables.push(("ROSTER_IDENTITY_CERT", certificate.display().to_string()));
            variables.push(("ROSTER_IDENTITY_KEY", key.display().to_string()));
        }
        variables
    }
}

/// Asks who is calling.
async fn who(caller: &Caller) -> Result<pb::GetCallerResponse, Status> {
    let request = caller.request(pb::GetCallerRequest::default());
    let answer = caller.credentials().get_caller(request).await?;
    Ok(answer.into_inner())
}

/// Asserts that no connection comes about.
#[track_caller]
fn cut_off(outcome: Result<pb::GetCallerResponse, Status>) {
    let status = outcome.expect_err("no connection");
    assert!(
        std::error::Error::source(&status).is_some(),
        "identity answered: {status:?}"
    );
}

/// Tries until it succeeds; ten seconds at the most.
async fn comes_about(what: &str, mut attempt: impl AsyncFnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !attempt().await {
        assert!(Instant::now() < patience, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn facade_options(
    folder: &Path,
    url: &str,
    admin_port: u16,
    variables: Vec<(&'static str, String)>,
) -> ServiceOptions {
    let log = folder.join("facade.log");
    let mut options = ServiceOptions::facade(1, free_port().unwrap(), admin_port, &log)
        .variable("ROSTER_IDENTITY_URL", url);
    for (name, value) in variables {
        options = options.variable(name, value);
    }
    options
}

async fn facade(folder: &Path, url: &str, variables: Vec<(&'static str, String)>) -> Service {
    let options = facade_options(folder, url, free_port().unwrap(), variables);
    let start = move || Service::start(options, &server().guard).unwrap();
    tokio::task::spawn_blocking(start).await.unwrap()
}

/// Until when the certificate of a process is good, as it tells; none where it tells nothing.
async fn not_after(service: &Service, kind: &str) -> Option<i64> {
    let exposed = Exposed::of(service).await;
    let mut samples = exposed.samples();
    let found = samples.find(|sample| {
        sample.name == "tls_certificate_not_after_seconds"
            && sample.labels.get("tls_certificate").map(String::as_str) == Some(kind)
    });
    found.map(|sample| sample.value as i64)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facade_that_trusts_another_authority_is_not_ready_and_says_why() {
    let world = World::start().await;
    let secured = Secured::start(&world, None).await;
    let folder = secured.folder.path();
    let strange = folder.join("strange.crt");
    fs::write(&strange, &Authority::new().pem).unwrap();
    let variables = vec![("ROSTER_IDENTITY_CA", strange.display().to_string())];
    let admin_port = free_port().unwrap();
    let stop = StopFlag::default();
    let options = facade_options(folder, &secured.url(), admin_port, variables);
    let options = options.interrupted_by(&stop);
    let starting =
        tokio::task::spawn_blocking(move || Service::start(options, &server().guard).is_err());
    let url = format!("http://127.0.0.1:{admin_port}/readyz");
    comes_about("it says why", async || {
        let Ok(answer) = reqwest::get(&url).await else {
            return false;
        };
        assert_eq!(answer.status(), 503);
        let why = answer.text().await.unwrap();
        why.contains("never reached") && why.contains("certificate")
    })
    .await;
    let log = fs::read_to_string(folder.join("facade.log")).unwrap();
    assert_eq!(log.matches("identity can't be reached").count(), 1, "{log}");
    stop.set();
    assert!(starting.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn until_when_certificates_are_good_is_told_before_they_are_not() {
    let world = World::start().await;
    let clients = Authority::new();
    let secured = Secured::start(&world, Some(&clients)).await;
    assert_eq!(not_after(&world.identity, "server").await, None);
    let own = clients.client("facade", "facade.internal", "spiffe://roster/facade");
    let folder = secured.folder.path();
    let facade = facade(folder, &secured.url(), secured.variables(Some(&own))).await;
    let year = 365 * 24 * 60 * 60;
    let now = || chrono::Utc::now().timestamp();
    assert!(not_after(&facade, "client").await.unwrap() > now() + year);
    assert!(not_after(&secured.service, "server").await.unwrap() > now() + year);
    let log = || fs::read_to_string(folder.join("identity.log")).unwrap();
    assert!(!log().contains("expire"), "{}", log());

    // The first midnight that is to come is less than a day away.
    Certified::good_until(chrono::Utc::now() + chrono::Duration::days(1)).write(folder, "server");
    comes_about(
        "a certificate that expires within a day is told of",
        async || log().contains("expires within a day"),
    )
    .await;
    let told = not_after(&secured.service, "server").await.unwrap();
    assert!((now()..now() + 86_400).contains(&told), "{told}");
    let expired = chrono::Utc::now() - chrono::Duration::days(2);
    Certified::good_until(expired).write(folder, "server");
    comes_about("one that has expired, too", async || {
        log().contains("has expired")
    })
    .await;
    assert!(not_after(&secured.service, "server").await.unwrap() < now());

    // What can't be used is told of once.
    let times = || log().matches("can't be used").count();
    let before = times();
    fs::write(folder.join("server.crt"), "no certificate").unwrap();
    comes_about("it can't be used", async || times() > before).await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(times(), before + 1, "{}", log());
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_all_is_as_without_and_only_over_tls() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let secured = Secured::start(&world, None).await;
    let token = &acme.service_token;
    let caller = secured.caller(&secured.authority.pem, None, token);
    let known = who(&caller).await.unwrap();
    assert_eq!(known.site.unwrap().domain, "acme");
    // The token is what counts.
    let stranger = secured.caller(&secured.authority.pem, None, "nobody's");
    assert_eq!(
        reason(who(&stranger).await, Code::Unauthenticated),
        "TOKEN_INVALID"
    );
    // Not without TLS, and not where its certificate is of nobody we trust.
    let plain = Caller::new(&format!("127.0.0.1:{}", secured.service.port()), token).unwrap();
    cut_off(who(&plain).await);
    cut_off(who(&secured.caller(&Authority::new().pem, None, token)).await);
    comes_about("both are counted", async || {
        let metrics = secured.service.metrics().unwrap();
        let mut lines = metrics.lines();
        let counted =
            lines.find_map(|line| line.strip_prefix("identity_tls_handshakes_refused_total "));
        counted.is_some_and(|count| count.parse::<u64>().unwrap() >= 2)
    })
    .await;

    // The facade and rosterctl go the same way.
    let variables = secured.variables(None);
    let facade = facade(secured.folder.path(), &secured.url(), variables.clone()).await;
    let url = format!("http://127.0.0.1:{}/acme/scim/v2", facade.port());
    let scim = Scim::new(&url, &format!("Bearer {}", acme.scim_token));
    scim.make_user("ann@acme.example").await;
    let list = move |address: String, variables: Vec<(&'static str, String)>, token: String| {
        let mut command = Command::new(program("rosterctl").unwrap());
        command
            .args(["credentials", "list"])
            .current_dir("/")
            .env_clear();
        command
            .env("ROSTER_GRPC_ADDR", address)
            .env("ROSTER_TOKEN", token);
        tokio::task::block_in_place(|| command.envs(variables).output().unwrap())
    };
    // With TLS set, an address without a scheme means TLS.
    let bare = secured.url().replace("https://", "");
    for address in [secured.url(), bare] {
        let output = list(address, variables.clone(), token.clone());
        assert!(output.status.success(), "{output:?}");
    }
    let output = list(
        format!("http://{}", world.grpc_addr()),
        variables,
        token.clone(),
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("does not begin with https://"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_authority_for_clients_nobody_connects_without_its_certificate() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let clients = Authority::new();
    let secured = Secured::start(&world, Some(&clients)).await;
    let trusted = &secured.authority.pem;
    let own = clients.client("billing", "billing.internal", "spiffe://roster/billing");
    let token = &acme.service_token;
    assert!(
        who(&secured.caller(trusted, Some(&own), token))
            .await
            .is_ok()
    );
    cut_off(who(&secured.caller(trusted, None, token)).await);
    let foreign = Authority::new().client("billing", "billing.internal", "spiffe://roster/billing");
    cut_off(who(&secured.caller(trusted, Some(&foreign), token)).await);
    // A certificate alone may nothing.
    let nobody = secured.caller(trusted, Some(&own), "nobody's");
    assert_eq!(
        reason(who(&nobody).await, Code::Unauthenticated),
        "TOKEN_INVALID"
    );

    let variables = secured.variables(Some(&own));
    let facade = facade(secured.folder.path(), &secured.url(), variables.clone()).await;
    let url = format!("http://127.0.0.1:{}/acme/scim/v2", facade.port());
    let scim = Scim::new(&url, &format!("Bearer {}", acme.scim_token));
    scim.make_user("ann@acme.example").await;

    // An operator's command line too, and its health checks.
    let folder = secured.folder.path();
    let ctl = Rosterctl::new(&world, token, folder).at(&secured.url());
    let strange = folder.join("strange.crt");
    fs::write(&strange, &Authority::new().pem).unwrap();
    for command in [&["members", "list"][..], &["doctor"]] {
        let run = |variables: &[(&'static str, String)]| {
            let mut command = ctl.command(command);
            command.envs(variables.iter().map(|(name, value)| (name, value)));
            let output = tokio::task::block_in_place(|| command.output().unwrap());
            Answer::of(output)
        };
        let with = run(&variables);
        assert_eq!(with.code, Some(0), "{with:?}");
        let only_trusting = run(&variables[..1]);
        let expected = if command[0] == "doctor" { 7 } else { 5 };
        assert_eq!(only_trusting.code, Some(expected), "{only_trusting:?}");
        let strange = run(&[("ROSTER_IDENTITY_CA", strange.display().to_string())]);
        assert!(
            format!("{}{}", strange.out, strange.err).contains("certificate"),
            "{strange:?}"
        );
        let half = run(&variables[..2]);
        assert_eq!(half.code, Some(2), "{half:?}");
        assert!(half.err.contains("go together"), "{half:?}");
    }
}

async fn update(
    caller: &Caller,
    id: &str,
    values: pb::Credential,
    paths: &[&str],
    dry: bool,
) -> Result<pb::UpdateCredentialResponse, Status> {
    let request = pb::UpdateCredentialRequest {
        credential_id: id.to_owned(),
        values: Some(values),
        update_mask: mask(paths),
        validate_only: dry,
        ..Default::default()
    };
    let answer = caller
        .credentials()
        .update_credential(caller.request(request))
        .await?;
    Ok(answer.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_token_works_with_its_certificate_only() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let clients = Authority::new();
    let secured = Secured::start(&world, Some(&clients)).await;
    let own = clients.client("billing", "billing.internal", "spiffe://roster/billing");
    let other = clients.client("shop", "shop.internal", "spiffe://roster/shop");
    let with = |certificate: &Certified, token: &str| {
        secured.caller(&secured.authority.pem, Some(certificate), token)
    };
    let bootstrap = world.caller(BOOTSTRAP);
    for name in ["billing", "billing.internal", "spiffe://roster/billing"] {
        for all_sites in [false, true] {
            let request = pb::IssueCredentialRequest {
                site: if all_sites {
                    None
                } else {
                    roster_stack::grpc::site("acme")
                },
                all_sites,
                label: "pinned".to_owned(),
                scopes: vec![pb::Scope::Read.into()],
                certificate_name: name.to_owned(),
                ..Default::default()
            };
            let request = bootstrap.request(request);
            let issued = bootstrap.credentials().issue_credential(request).await;
            let issued = issued.unwrap().into_inner();
            assert_eq!(issued.credential.unwrap().certificate_name, name);
            who(&with(&own, &issued.token)).await.unwrap();
            // With another's certificate, and with none on the plain port: as any bad token.
            for caller in [with(&other, &issued.token), world.caller(&issued.token)] {
                let outcome = who(&caller).await;
                assert_eq!(
                    reason(outcome, Code::Unauthenticated),
                    "TOKEN_INVALID",
                    "{name}"
                );
            }
        }
    }
    for service in [&secured.service, &world.identity] {
        let metrics = service.metrics().unwrap();
        assert!(
            metrics.contains("identity_tokens_refused_total{cause=\"certificate\"} 6"),
            "{metrics}"
        );
    }

    // Pinned later, and to another name, and not any more.
    let (token, id) = world.issue("acme", &[pb::Scope::Read]).await;
    let pin = async |name: &str, dry| {
        let values = pb::Credential {
            certificate_name: name.to_owned(),
            ..Default::default()
        };
        let writer = with(&own, &acme.service_token);
        update(&writer, &id, values, &["certificate_name"], dry)
            .await
            .unwrap()
    };
    who(&with(&other, &token)).await.unwrap();
    pin("billing.internal", true).await;
    who(&with(&other, &token)).await.unwrap();
    let pinned = pin("billing.internal", false).await;
    assert!(pinned.receipt.unwrap().changed);
    who(&with(&own, &token)).await.unwrap();
    reason(who(&with(&other, &token)).await, Code::Unauthenticated);
    pin("shop", false).await;
    reason(who(&with(&own, &token)).await, Code::Unauthenticated);
    pin("", false).await;
    who(&world.caller(&token)).await.unwrap();
    assert!(!pin("", false).await.receipt.unwrap().changed);
    let events = acme.rpc.events().await;
    let updates = events
        .iter()
        .filter(|event| event.kind == "credential.updated");
    assert_eq!(updates.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_changed_by_who_could_issue_it() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let admin = &acme.rpc.caller;
    let (token, id) = world
        .issue("acme", &[pb::Scope::Read, pb::Scope::Watch])
        .await;
    let labelled = |label: &str| pb::Credential {
        label: label.to_owned(),
        ..Default::default()
    };
    let hour = std::time::SystemTime::now() + Duration::from_secs(3600);
    let ending = pb::Credential {
        expire_time: Some(hour.into()),
        ..Default::default()
    };

    let renamed = update(admin, &id, labelled("  shop "), &["label"], false)
        .await
        .unwrap();
    assert_eq!(renamed.credential.unwrap().label, "shop");
    let request = pb::GetCredentialRequest {
        credential_id: id.clone(),
        ..Default::default()
    };
    let read = admin
        .credentials()
        .get_credential(admin.request(request))
        .await
        .unwrap();
    let read = read.into_inner().credential.unwrap();
    assert_eq!((read.label.as_str(), read.expire_time), ("shop", None));
    // It holds no `watch` to give away: not for longer, and not to others.
    for (values, path) in [
        (ending.clone(), "expire_time"),
        (
            pb::Credential {
                certificate_name: "x".to_owned(),
                ..Default::default()
            },
            "certificate_name",
        ),
    ] {
        let (name, metadata) = refused(
            update(admin, &id, values, &[path], false).await,
            Code::PermissionDenied,
        );
        assert_eq!(
            (name.as_str(), metadata["scope"].as_str()),
            ("SCOPE_MISSING", "watch")
        );
    }
    let bootstrap = world.caller(BOOTSTRAP);
    let by_bootstrap = async |values: pb::Credential, paths: &[&str]| {
        let request = pb::UpdateCredentialRequest {
            site: roster_stack::grpc::site("acme"),
            credential_id: id.clone(),
            values: Some(values),
            update_mask: mask(paths),
            ..Default::default()
        };
        let request = bootstrap.request(request);
        bootstrap.credentials().update_credential(request).await
    };
    by_bootstrap(ending, &["expire_time"]).await.unwrap();
    let soon = std::time::SystemTime::now() + Duration::from_millis(300);
    let soon = pb::Credential {
        expire_time: Some(soon.into()),
        ..Default::default()
    };
    by_bootstrap(soon, &["expire_time"]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    reason(who(&world.caller(&token)).await, Code::Unauthenticated);
    by_bootstrap(pb::Credential::default(), &["expire_time"])
        .await
        .unwrap();
    who(&world.caller(&token)).await.unwrap();

    let past = std::time::SystemTime::now() - Duration::from_secs(1);
    let past = pb::Credential {
        expire_time: Some(past.into()),
        ..Default::default()
    };
    for (values, paths) in [
        (past, vec!["expire_time"]),
        (labelled(" "), vec!["label"]),
        (labelled("x"), vec!["scopes"]),
        (
            pb::Credential {
                certificate_name: "x".repeat(254),
                ..Default::default()
            },
            vec!["certificate_name"],
        ),
    ] {
        let outcome = by_bootstrap(values, &paths).await;
        assert_eq!(
            reason(outcome, Code::InvalidArgument),
            "FIELD_INVALID",
            "{paths:?}"
        );
    }
    let request = pb::RevokeCredentialRequest {
        credential_id: id.clone(),
        ..Default::default()
    };
    admin
        .credentials()
        .revoke_credential(admin.request(request))
        .await
        .unwrap();
    let outcome = by_bootstrap(pb::Credential::default(), &["expire_time"]).await;
    assert!(outcome.is_ok(), "nothing to change");
    let outcome = by_bootstrap(labelled("again"), &["label"]).await;
    assert_eq!(reason(outcome, Code::FailedPrecondition), "FIELD_IMMUTABLE");
    let unknown = uuid::Uuid::new_v4().to_string();
    let outcome = update(admin, &unknown, labelled("x"), &["label"], false).await;
    assert_eq!(reason(outcome, Code::NotFound), "CREDENTIAL_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_change_are_in_use_without_a_restart() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let clients = Authority::new();
    let secured = Secured::start(&world, Some(&clients)).await;
    let own = clients.client("facade", "facade.internal", "spiffe://roster/facade");
    let variables = secured.variables(Some(&own));
    let folder = secured.folder.path();
    let facade = facade(folder, &secured.url(), variables).await;
    let url = format!("http://127.0.0.1:{}/acme/scim/v2", facade.port());
    let scim = Scim::new(&url, &format!("Bearer {}", acme.scim_token));
    scim.make_user("ann@acme.example").await;
    let early = secured.caller(&secured.authority.pem, Some(&own), &acme.service_token);
    who(&early).await.unwrap();

    // What can't be used changes nothing.
    fs::write(folder.join("server.crt"), "no certificate").unwrap();
    comes_about("the log tells of it", async || {
        let log = fs::read_to_string(folder.join("identity.log")).unwrap_or_default();
        log.contains("can't be used")
    })
    .await;
    who(&secured.caller(&secured.authority.pem, Some(&own), &acme.service_token))
        .await
        .unwrap();

    // New authorities on both sides.
    let (servers, clients) = (Authority::new(), Authority::new());
    servers.server().write(folder, "server");
    fs::write(folder.join("clients.crt"), &clients.pem).unwrap();
    fs::write(folder.join("authority.crt"), &servers.pem).unwrap();
    let renewed = clients.client("facade", "facade.internal", "spiffe://roster/facade");
    renewed.write(folder, "client");
    comes_about("identity uses its new files", async || {
        let caller = secured.caller(&servers.pem, Some(&renewed), &acme.service_token);
        who(&caller).await.is_ok()
    })
    .await;
    // Connections that are open stay; new ones of before do not come about.
    who(&early).await.unwrap();
    cut_off(who(&secured.caller(&secured.authority.pem, Some(&own), &acme.service_token)).await);
    cut_off(who(&secured.caller(&servers.pem, Some(&own), &acme.service_token)).await);
    tokio::task::block_in_place(|| {
        secured.service.kill();
        secured.service.restart().unwrap();
    });
    comes_about("the facade connects with its new files", async || {
        scim.get("/Users").await.status.is_success()
    })
    .await;
}

#[test]
fn settings_that_can_not_work_are_told_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = Authority::new().server().write(folder.path(), "one");
    let (_, other_key) = Authority::new().server().write(folder.path(), "two");
    let missing = folder.path().join("missing.crt");
    for (certificate, key, expected) in [
        (Some(&certificate), None, "go together"),
        (None, Some(&key), "go together"),
        (Some(&missing), Some(&key), "missing.crt"),
        (Some(&key), Some(&key), "has no certificate"),
        (Some(&certificate), Some(&certificate), "one.crt"),
        (Some(&certificate), Some(&other_key), "one.crt"),
    ] {
        let mut command = Command::new(program("identity").unwrap());
        command.arg("serve").env_clear();
        command.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
        command.env("ROSTER_IDENTITY_LISTEN", "127.0.0.1:0");
        command.env("ROSTER_IDENTITY_ADMIN_LISTEN", "127.0.0.1:0");
        command.envs(certificate.map(|file| ("ROSTER_TLS_CERT", file)));
        command.envs(key.map(|file| ("ROSTER_TLS_KEY", file)));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
        assert!(!said.contains("PRIVATE KEY"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_with_another_authority_says_why_it_never_began() {
    let world = World::start().await;
    world.acme().await;
    let secured = Secured::start(&world, None).await;
    let (token, _) = world.issue("acme", &[pb::Scope::Watch]).await;
    let roster = |authority: &Authority| {
        roster_client::Roster::at(&secured.url())
            .token(&token)
            .authority(authority.pem.as_bytes())
            .connect()
            .unwrap()
    };
    let stranger = Authority::new();
    let mut watch = roster(&stranger).watch(roster_client::From::Beginning, &[]);
    let begun = Instant::now();
    let error = watch.next().await.unwrap_err();
    assert!(
        matches!(error, roster_client::Error::Unreachable(_)),
        "{error:?}"
    );
    assert!(begun.elapsed() >= roster_client::Watch::REACHED_WITHIN);
    let told = error.to_string();
    assert!(told.contains("certificate"), "{told}");
    let mut watch = roster(&secured.authority).watch(roster_client::From::Beginning, &[]);
    assert_eq!(watch.next().await.unwrap().number, 1);
}
