//! `rosterctl doctor`: everything that it looks at is really broken, one thing at a time.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use identity_proto::v1 as pb;
use identity_tests::{
    certificates::Authority,
    faults::Proxy,
    rosterctl::{Answer, Rosterctl},
    world::{BOOTSTRAP, Settings, Site, World},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// A Roster in good health, and an operator who may read.
struct Ward {
    world: World,
    acme: Site,
    ctl: Rosterctl,
    facade: String,
    _folder: TempDir,
}

/// What the doctor found.
struct Report {
    code: Option<i32>,
    checks: Value,
}

impl Report {
    /// The verdict, the message and the remedy of a check.
    #[track_caller]
    fn of(&self, check: &str) -> (String, String, String) {
        let checks = self.checks["checks"].as_array().unwrap();
        let mut of_name = checks.iter().filter(|found| found["check"] == check);
        let found = of_name
            .next()
            .unwrap_or_else(|| panic!("{check}: {:#}", self.checks));
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        (text("verdict"), text("message"), text("remedy"))
    }

    #[track_caller]
    fn is(&self, check: &str, verdict: &str, part: &str) {
        let (found, message, remedy) = self.of(check);
        assert_eq!(found, verdict, "{check}: {message}");
        assert!(message.contains(part), "{check}: {message}");
        let needs_remedy = ["look", "wrong"].contains(&verdict);
        assert_eq!(!remedy.is_empty(), needs_remedy, "{check}: {message}");
    }

    /// The checks that are wrong.
    fn wrong(&self) -> Vec<String> {
        let checks = self.checks["checks"].as_array().unwrap();
        checks
            .iter()
            .filter(|found| found["verdict"] == "wrong")
            .map(|found| found["check"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Exactly these checks are wrong, and the exit code tells.
    #[track_caller]
    fn only(&self, wrong: &[&str]) {
        assert_eq!(self.wrong(), wrong, "{:#}", self.checks);
        assert_eq!(self.code, Some(if wrong.is_empty() { 0 } else { 7 }));
        assert_eq!(self.checks["healthy"], wrong.is_empty());
    }
}

impl Ward {
    async fn open(settings: Settings) -> Self {
        let world = World::with(settings).await;
        let acme = world.acme().await;
        let ann = acme.scim.make_user("ann@acme.example").await;
        acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
        let (token, _) = world.issue("acme", &[pb::Scope::Read]).await;
        let folder = tempfile::tempdir().unwrap();
        let ctl = Rosterctl::new(&world, &token, folder.path());
        let facade = format!("http://127.0.0.1:{}", world.facade.port());
        let ward = Self {
            world,
            acme,
            ctl,
            facade,
            _folder: folder,
        };
        // The last use of a credential is written beside the request.
        ward.comes("provider", "good").await;
        ward
    }

    async fn examine(&self) -> Report {
        self.examine_by(&self.ctl, &["--facade", &self.facade])
            .await
    }

    async fn examine_by(&self, ctl: &Rosterctl, arguments: &[&str]) -> Report {
        self.examine_with(ctl, arguments, &[]).await
    }

    async fn examine_with(
        &self,
        ctl: &Rosterctl,
        arguments: &[&str],
        variables: &[(&str, &Path)],
    ) -> Report {
        let all: Vec<&str> = ["--output", "json", "doctor"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        let mut command = ctl.command(&all);
        command.envs(variables.iter().copied());
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let answer = Answer::of(output.unwrap().unwrap());
        assert!(answer.err.is_empty(), "{answer:?}");
        Report {
            code: answer.code,
            checks: serde_json::from_str(&answer.out).unwrap(),
        }
    }

    /// Waits until a check has this verdict.
    async fn comes(&self, check: &str, verdict: &str) -> Report {
        for _ in 0..60 {
            let report = self.examine().await;
            if report.of(check).0 == verdict {
                return report;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!(
            "{check} is not {verdict}: {:#}",
            self.examine().await.checks
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_good_health_everything_is_good_and_stands_in_one_screen() {
    let ward = Ward::open(Settings::default()).await;
    let report = ward.examine().await;
    report.only(&[]);
    for (check, part) in [
        ("identity", "version 0."),
        ("database", "PostgreSQL 1"),
        ("migrations", "up to 20"),
        ("token", "may read"),
        ("site", "acme, divided into business entities, at revision "),
        ("clock", "the database agrees with identity"),
        (
            "convention",
            "1 group, and each gives a role or a business entity",
        ),
        ("provider", "\"Okta of the tests\" last called"),
        ("facade", "and reaches identity"),
    ] {
        report.is(check, "good", part);
    }
    let text = ward.ctl.run(&["doctor", "--facade", &ward.facade]).await;
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(text.out.lines().count() < 24 && text.out.ends_with("Nothing is wrong.\n"));

    // What was not asked for, or may not be seen, is no illness.
    let (provision, _) = ward.world.issue("acme", &[pb::Scope::Provision]).await;
    let report = ward.examine_by(&ward.ctl.with_token(&provision), &[]).await;
    report.only(&[]);
    for check in ["clock", "provider", "facade"] {
        assert_eq!(report.of(check).0, "not looked at", "{check}");
    }
    for check in ["identity", "database", "migrations", "token", "convention"] {
        assert_eq!(report.of(check).0, "good", "{check}");
    }
    let report = ward
        .examine_by(&ward.ctl.with_token(BOOTSTRAP), &["--site", "acme"])
        .await;
    report.only(&[]);
    report.is("token", "good", "the bootstrap token");
    report.is("provider", "good", "last called");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_does_not_work_is_told_apart_from_a_wrong_site() {
    let ward = Ward::open(Settings::default()).await;
    let facade = ["--facade", &ward.facade];
    let (token, id) = ward.world.issue("acme", &[pb::Scope::Read]).await;
    let ctl = ward.ctl.with_token(&token);
    ward.examine_by(&ctl, &facade).await.only(&[]);
    ward.acme
        .rpc
        .caller
        .credentials()
        .revoke_credential(ward.acme.rpc.caller.request(pb::RevokeCredentialRequest {
            credential_id: id,
            ..Default::default()
        }))
        .await
        .unwrap();
    let report = ward.examine_by(&ctl, &facade).await;
    report.only(&["token"]);
    report.is("token", "wrong", "revoked or expired");
    report.is("database", "good", "answers identity");
    report.is("migrations", "good", "all are there");

    let report = ward
        .examine_by(&ward.ctl.with_token("hunter2"), &facade)
        .await;
    report.only(&["token"]);
    report.is("token", "wrong", "by its form it is no token");
    let report = ward.examine_by(&ward.ctl.with_token(""), &facade).await;
    report.only(&["token"]);
    report.is("token", "wrong", "there is none");

    let report = ward
        .examine_by(&ward.ctl, &["--site", "beta", "--facade", &ward.facade])
        .await;
    report.only(&["site"]);
    report.is("token", "good", "identity takes it");
    report.is("site", "wrong", "speaks for another");

    // One that ends soon deserves a look.
    let soon = pb::IssueCredentialRequest {
        label: "soon over".to_owned(),
        scopes: vec![pb::Scope::Read.into()],
        expire_time: Some(
            (std::time::SystemTime::now() + Duration::from_secs(3 * 86_400 + 60)).into(),
        ),
        ..Default::default()
    };
    let caller = &ward.acme.rpc.caller;
    let issued = caller
        .credentials()
        .issue_credential(caller.request(soon))
        .await;
    let token = issued.unwrap().into_inner().token;
    let report = ward.examine_by(&ward.ctl.with_token(&token), &facade).await;
    report.only(&[]);
    report.is("token", "look", "ends in 3 days");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_grant_nothing_are_found() {
    let ward = Ward::open(Settings::default()).await;
    let service = ward.ctl.with_token(&ward.acme.service_token);
    ward.acme.set_outside_groups(pb::OutsideGroups::Keep).await;
    service.json(&["groups", "create", "Everyone"]).await;
    let report = ward.examine().await;
    report.only(&[]);
    report.is("convention", "look", "\"Everyone\"");
    // The site does not keep them any more, and has this one.
    ward.acme
        .set_outside_groups(pb::OutsideGroups::Refuse)
        .await;
    let report = ward.examine().await;
    report.only(&["convention"]);
    report.is("convention", "wrong", "not understood");
    ward.acme.set_outside_groups(pb::OutsideGroups::Keep).await;
    // Looks as if it gave something.
    let create = ["groups", "create", "CB/acme/ROLE/Admin", "--gives-nothing"];
    service.json(&create).await;
    let report = ward.examine().await;
    report.only(&["convention"]);
    report.is("convention", "wrong", "\"CB/acme/ROLE/Admin\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_provider_is_noticed() {
    let ward = Ward::open(Settings::default()).await;
    let database = &ward.world.database;
    let silent = |days: u32| {
        database.execute(&format!(
            "UPDATE credentials SET last_used_at = now() - interval '{days} days' \
             WHERE scopes = ARRAY['provision']"
        ));
    };
    silent(8);
    let report = ward.examine().await;
    report.only(&["provider"]);
    report.is("provider", "wrong", "last called 8 days ago");
    let patient = ["--silent-after", "9d", "--facade", &ward.facade];
    ward.examine_by(&ward.ctl, &patient).await.only(&[]);
    database.execute(
        "UPDATE credentials SET last_used_at = NULL, created_at = now() - interval '8 days', \
         expires_at = now() - interval '1 day' WHERE scopes = ARRAY['provision']",
    );
    let report = ward.examine().await;
    report.only(&["provider"]);
    report.is("provider", "wrong", "has expired");
    database.execute("DELETE FROM credentials WHERE scopes = ARRAY['provision']");
    let report = ward.examine().await;
    report.only(&[]);
    report.is("provider", "look", "no credential for an identity provider");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_or_behind_is_told_from_outside() {
    // The database server's port is known only once it runs.
    let port = identity_tests::database::server().cluster.port();
    let proxy = Proxy::before(port).await;
    let ward = Ward::open(Settings {
        database_port: Some(proxy.port()),
        ..Settings::default()
    })
    .await;
    proxy.cut();
    let report = ward.comes("database", "wrong").await;
    report.only(&["identity", "database"]);
    report.is("identity", "wrong", "not ready");
    report.is("database", "wrong", "does not answer identity");
    assert_eq!(report.of("migrations").0, "not looked at");
    assert_eq!(report.of("token").0, "not looked at");
    proxy.mend();
    ward.comes("identity", "good").await.only(&[]);

    // As a release finds it that was started before its migrations.
    let newest = "(SELECT max(version) FROM __diesel_schema_migrations)";
    let database = &ward.world.database;
    database.execute(&format!(
        "DELETE FROM __diesel_schema_migrations WHERE version = {newest}"
    ));
    let report = ward.comes("identity", "wrong").await;
    report.only(&["identity", "migrations"]);
    report.is("migrations", "wrong", "the database lacks some");
    assert_eq!(report.of("identity").2, "see below");
    assert!(report.of("migrations").2.contains("identity migrate"));
    // Without a word of the token's.
    let nobody = ward.ctl.with_token("hunter2");
    let report = ward.examine_by(&nobody, &["--facade", &ward.facade]).await;
    report.is("migrations", "wrong", "lacks some");
    report.is("database", "good", "answers identity");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_no_writes_is_told_from_one_that_is_away() {
    let ward = Ward::open(Settings::default()).await;
    let database = &ward.world.database;
    let name = database
        .texts("SELECT current_database()::text AS t")
        .remove(0);
    database.execute(&format!(
        "ALTER DATABASE {name} SET default_transaction_read_only = on"
    ));
    // New connections find it so.
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    let mut report = ward.comes("database", "wrong").await;
    // At first it is only seen that the connections are gone.
    for _ in 0..60 {
        if report.of("database").1.contains("takes no writes") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        report = ward.examine().await;
    }
    // Reads go on, and so does identity.
    report.only(&["database"]);
    report.is("database", "wrong", "takes no writes");
    assert!(report.of("database").2.contains("name the primary"));
    report.is("migrations", "good", "up to 20");
    // Whoever may not ask for a diagnosis is told what it may be.
    let nobody = ward.ctl.with_token("hunter2");
    let report = ward.examine_by(&nobody, &[]).await;
    report.is("database", "wrong", "or takes no writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_another_prefix_than_expected_are_noticed() {
    let ward = Ward::open(Settings::default()).await;
    let facade = ["--facade", &ward.facade, "--prefix", "Roster"];
    let report = ward.examine_by(&ward.ctl, &facade).await;
    report.only(&[]);
    report.is(
        "convention",
        "look",
        "begin with \"CB\", not with \"Roster\"",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facade_that_is_down_cut_off_or_set_wrongly_is_told() {
    let ward = Ward::open(Settings::default()).await;
    // A second facade that finds nobody behind it any more.
    let proxy = Proxy::before(ward.world.identity.port()).await;
    let lost = ward.world.another_facade(proxy.port()).await;
    proxy.cut();
    let url = format!("http://127.0.0.1:{}", lost.port());
    let report = ward.examine_by(&ward.ctl, &["--facade", &url]).await;
    report.only(&["facade"]);
    report.is("facade", "wrong", "does not reach identity");
    // Another name than the one that it tells clients.
    let alias = format!("http://localhost:{}", ward.world.facade.port());
    let report = ward.examine_by(&ward.ctl, &["--facade", &alias]).await;
    report.only(&["facade"]);
    report.is("facade", "wrong", "tells clients that it is at");
    // Both at once.
    let alias = format!("http://localhost:{}", lost.port());
    let report = ward.examine_by(&ward.ctl, &["--facade", &alias]).await;
    report.only(&["facade"]);
    report.is("facade", "wrong", "tells clients that it is at");
    report.is("facade", "wrong", "does not reach identity");
    let remedy = report.of("facade").2;
    for part in ["ROSTER_PUBLIC_URL", "ROSTER_IDENTITY_URL"] {
        assert!(remedy.contains(part), "{remedy}");
    }
    // No facade at all.
    let admin = format!("http://127.0.0.1:{}", ward.world.facade.admin_port());
    let report = ward.examine_by(&ward.ctl, &["--facade", &admin]).await;
    report.is("facade", "wrong", "not as a facade does");
    let facade = &ward.world.facade;
    tokio::task::block_in_place(|| facade.stop());
    let report = ward.examine().await;
    report.only(&["facade"]);
    report.is("facade", "wrong", "can't be reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_down_is_told_first() {
    let ward = Ward::open(Settings::default()).await;
    tokio::task::block_in_place(|| ward.world.identity.stop());
    let report = ward.examine().await;
    assert_eq!(report.code, Some(7));
    report.is("identity", "wrong", "can't be reached at");
    for check in [
        "database",
        "migrations",
        "token",
        "site",
        "clock",
        "convention",
        "provider",
    ] {
        assert_eq!(report.of(check).0, "not looked at", "{check}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_another_time_is_noticed() {
    let ward = Ward::open(Settings::default()).await;
    let database = &ward.world.database;
    database.execute(
        "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql \
         AS $$ SELECT pg_catalog.clock_timestamp() + interval '90 seconds' $$",
    );
    let name = database.url().rsplit('/').next().unwrap();
    let name = name.split('?').next().unwrap();
    database.execute(&format!(
        "ALTER DATABASE {name} SET search_path = public, pg_catalog"
    ));
    // New connections find the new clock.
    tokio::task::block_in_place(|| ward.world.identity.restart().unwrap());
    let report = ward.examine().await;
    report.only(&["clock"]);
    report.is("clock", "wrong", "the database is 90.");
    report.is("clock", "wrong", "s ahead of identity");
}

/// What stands before a facade: speaks TLS, and passes on what comes to the port that it is told.
async fn ingress(authority: &Authority) -> (u16, watch::Sender<u16>) {
    let certified = authority.server();
    let certificate = CertificateDer::from_pem_slice(certified.pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(certified.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (target, to) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, to) = (acceptor.clone(), *to.borrow());
            tokio::spawn(async move {
                // A client that does not trust it goes away.
                let Ok(mut client) = acceptor.accept(client).await else {
                    return;
                };
                let mut facade = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                copy_bidirectional(&mut client, &mut facade).await.ok();
            });
        }
    });
    (port, target)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facade_behind_tls_is_known_by_its_certificate() {
    let authority = Authority::new();
    let (port, target) = ingress(&authority).await;
    let url = format!("https://127.0.0.1:{port}");
    let ward = Ward::open(Settings {
        facade: vec![("ROSTER_PUBLIC_URL", url.clone())],
        ..Settings::default()
    })
    .await;
    target.send_replace(ward.world.facade.port());
    let folder = tempfile::tempdir().unwrap();
    let (trusted, strange) = (
        folder.path().join("own.pem"),
        folder.path().join("other.pem"),
    );
    fs::write(&trusted, &authority.pem).unwrap();
    fs::write(&strange, Authority::new().pem).unwrap();
    let examine = async |authority: &Path| {
        let arguments = ["--facade", &url];
        ward.examine_with(&ward.ctl, &arguments, &[("SSL_CERT_FILE", authority)])
            .await
    };
    let report = examine(&trusted).await;
    report.only(&[]);
    report.is("facade", "good", "and reaches identity");
    let report = examine(&strange).await;
    report.only(&["facade"]);
    report.is("facade", "wrong", "certificate");
}

/// A library that, loaded first, lets the clock of a process be 90 seconds ahead.
fn wrong_clock(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    let text = "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <time.h>\n\
        int clock_gettime(clockid_t id, struct timespec *at) {\n\
          int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, \"clock_gettime\");\n\
          int outcome = real(id, at);\n\
          if (id == CLOCK_REALTIME) at->tv_sec += 90;\n\
          return outcome;\n}\n";
    fs::write(&source, text).unwrap();
    let mut compiler = Command::new("cc");
    compiler
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl");
    let output = compiler.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    library
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_another_time_is_noticed() {
    let ward = Ward::open(Settings::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let clock = wrong_clock(folder.path());
    let arguments = ["--facade", &ward.facade];
    let report = ward
        .examine_with(&ward.ctl, &arguments, &[("LD_PRELOAD", &clock)])
        .await;
    report.only(&["clock"]);
    report.is("clock", "wrong", "behind this machine");
    report.is("clock", "wrong", "the database agrees with identity");
}
