//! A database that takes connections over TLS only: the usual build says what is wrong in a sentence,
//! the build with the feature `tls` (`make test-tls`) works.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
    process::{Command, Output},
};

use diesel::{Connection, PgConnection, RunQueryDsl};
use identity_tests::database::server;
use roster_stack::{
    guard::program,
    postgres::{Cluster, ClusterOptions},
};

/// A cluster of its own that takes nothing but TLS, and the certificate to know it by; none where this
/// PostgreSQL was built without TLS.
fn tls_only() -> Option<(Cluster, String)> {
    let cluster = Cluster::start(ClusterOptions::temporary().unwrap(), &server().guard).unwrap();
    cluster.create_database("roster", None).unwrap();
    let data = cluster.folder().join("data");
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = certified.cert.pem();
    keep(&data, "server.crt", &certificate);
    keep(&data, "server.key", &certified.signing_key.serialize_pem());
    let mut connection = PgConnection::establish(&cluster.url("postgres")).unwrap();
    if let Err(error) = diesel::sql_query("ALTER SYSTEM SET ssl = on").execute(&mut connection) {
        println!("skipped: this PostgreSQL has no TLS ({error})");
        return None;
    }
    let access = fs::read_to_string(data.join("pg_hba.conf")).unwrap();
    keep(
        &data,
        "pg_hba.conf",
        &access.replace("\nhost ", "\nhostssl "),
    );
    diesel::sql_query("SELECT pg_reload_conf()")
        .execute(&mut connection)
        .unwrap();
    drop(connection);
    // The server reads its settings when it gets to it: until then it still takes plain connections.
    let plain = cluster.url("postgres");
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while PgConnection::establish(&plain).is_ok() {
        assert!(
            std::time::Instant::now() < patience,
            "plain connections are still taken"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Some((cluster, certificate))
}

/// Writes a file that belongs to the server's account and to nobody else.
fn keep(data: &Path, name: &str, text: &str) {
    let owner = fs::metadata(data).unwrap();
    let path = data.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
}

fn migrate(program: &Path, url: &str) -> Output {
    Command::new(program)
        .arg("migrate")
        .env("DATABASE_URL", url)
        .output()
        .unwrap()
}

#[test]
fn without_tls_a_database_that_demands_it_is_refused_in_a_sentence() {
    let Some((cluster, _)) = tls_only() else {
        return;
    };
    let plain = cluster.url("roster");
    for url in [plain.clone(), format!("{plain}?sslmode=require")] {
        let output = migrate(&program("identity").unwrap(), &url);
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains("the database demands TLS, and this build of identity has none"),
            "{said}"
        );
        assert!(said.contains("--features tls"), "{said}");
        let password = plain.split([':', '@']).nth(2).unwrap();
        assert!(!said.contains(password), "{said}");
    }
}

#[test]
fn with_tls_the_database_is_reached_and_its_certificate_checked() {
    let Some(with_tls) = std::env::var_os("ROSTER_TLS_IDENTITY") else {
        println!(
            "skipped: `make test-tls` builds identity with the feature and sets ROSTER_TLS_IDENTITY"
        );
        return;
    };
    let Some((cluster, certificate)) = tls_only() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let known = folder.path().join("known.crt");
    fs::write(&known, certificate).unwrap();
    let known = known.display();
    let url = cluster.url("roster");
    let checked = format!("{url}?sslmode=verify-full&sslrootcert={known}");
    for url in [&url, &checked] {
        let output = migrate(with_tls.as_ref(), url);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let strange = folder.path().join("strange.crt");
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(&strange, other.cert.pem()).unwrap();
    let unknown = format!(
        "{url}?sslmode=verify-full&sslrootcert={}",
        strange.display()
    );
    let output = migrate(with_tls.as_ref(), &unknown);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("certificate"));
}
