//! What `/readyz` and the health service say where the database can't be worked with, and what callers get then.

use std::time::Duration;

use diesel::{Connection, PgConnection, connection::SimpleConnection};
use identity_proto::v1 as pb;
use identity_tests::{
    database::{Database, migrate, server},
    locks::eventually,
    metrics::Exposed,
    scim::{Scim, user},
    world::{BOOTSTRAP, World},
    writes::{member, reason},
};
use roster_stack::{
    grpc::Caller,
    ports::free_port,
    services::{Service, ServiceOptions},
};
use tokio::task::{block_in_place, spawn_blocking};
use tonic::Code;

/// What `/readyz` of an admin port says.
async fn readyz(port: u16) -> (u16, String) {
    let answer = reqwest::get(format!("http://127.0.0.1:{port}/readyz")).await;
    let answer = answer.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_database_without_the_schema_callers_are_told_to_come_back() {
    let database = Database::empty();
    let logs = tempfile::tempdir().unwrap();
    let [grpc, admin, http, facade_admin] = [(); 4].map(|()| free_port().unwrap());
    let options = ServiceOptions::identity(
        database.url(),
        grpc,
        admin,
        &logs.path().join("identity.log"),
    )
    .variable("ROSTER_BOOTSTRAP_TOKEN", BOOTSTRAP);
    let identity = spawn_blocking(move || Service::start(options, &server().guard).unwrap());
    let options = ServiceOptions::facade(grpc, http, facade_admin, &logs.path().join("facade.log"));
    let facade = spawn_blocking(move || Service::start(options, &server().guard).unwrap());
    let mut said = (0, String::new());
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let url = format!("http://127.0.0.1:{admin}/readyz");
        if let Ok(answer) = reqwest::get(url).await {
            said = (answer.status().as_u16(), answer.text().await.unwrap());
            if said.1.contains("migrate") {
                break;
            }
        }
    }
    assert!(
        said.0 == 503 && said.1.contains("create_roster first"),
        "{said:?}"
    );

    let caller = Caller::new(&format!("127.0.0.1:{grpc}"), BOOTSTRAP).unwrap();
    let request = caller.request(pb::ListCredentialsRequest {
        site: roster_stack::grpc::site("acme"),
        ..Default::default()
    });
    let outcome = caller.credentials().list_credentials(request).await;
    assert_eq!(reason(outcome, Code::Unavailable), "UNAVAILABLE");
    let scim = Scim::new(
        &format!("http://127.0.0.1:{http}/acme/scim/v2"),
        &format!("Bearer {BOOTSTRAP}"),
    );
    eventually("the facade listens", || {
        std::net::TcpStream::connect(("127.0.0.1", http)).is_ok()
    })
    .await;
    let detail = scim
        .post("/Users", &user("ada@acme.example"))
        .await
        .error(429, "");
    assert!(!detail.contains("fault"), "{detail}");

    block_in_place(|| migrate(database.url()));
    let identity = identity.await.unwrap();
    identity.is_ready().unwrap();
    drop(facade.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_no_writes_is_called_that() {
    let world = World::start().await;
    let acme = world.acme().await;
    let name = world
        .database
        .texts("SELECT current_database()::text AS t")
        .remove(0);
    let set = |value: &str| {
        world.database.execute(&format!(
            "ALTER DATABASE {name} SET default_transaction_read_only = {value}"
        ));
        // It holds for new connections.
        let mut connection = world.database.connect();
        connection
            .batch_execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .unwrap();
    };
    set("on");
    eventually("it was seen", || {
        world.log().contains("the database takes no writes")
    })
    .await;
    // Questions are answered all the same.
    let (code, why) = readyz(world.identity.admin_port()).await;
    assert_eq!(code, 200, "{why}");
    assert_eq!(acme.rpc.roles("owner@acme.example").await, ["Owner"]);
    let metrics = Exposed::of(&world.identity).await;
    assert!(
        metrics.sum("identity_database_up", &[]) < 0.5,
        "somebody is told"
    );
    let request = acme.rpc.caller.request(pb::GetDiagnosisRequest::default());
    let mut diagnoses =
        pb::diagnosis_service_client::DiagnosisServiceClient::new(acme.rpc.caller.channel());
    let diagnosis = diagnoses.get_diagnosis(request).await.unwrap().into_inner();
    assert!(diagnosis.not_ready.contains("no writes"), "{diagnosis:?}");
    let outcome = acme.rpc.create_member(member("a@acme.example")).await;
    assert_eq!(reason(outcome, Code::Unavailable), "UNAVAILABLE");
    let mut connection = PgConnection::establish(world.database.url()).unwrap();
    // Each by itself: a transaction that has begun stays as it is.
    for statement in [
        "SET default_transaction_read_only = off",
        &format!("ALTER DATABASE {name} RESET default_transaction_read_only"),
    ] {
        connection.batch_execute(statement).unwrap();
    }
    connection
        .batch_execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .unwrap();
    eventually("it takes writes again", || {
        world
            .log()
            .matches("identity_service::server: ready")
            .count()
            > 1
    })
    .await;
    acme.rpc.make_member("a@acme.example").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_is_found_without_a_restart() {
    let database = Database::create();
    let name = database
        .texts("SELECT current_database()::text AS t")
        .remove(0);
    let write = |statement: &str| {
        let mut connection = database.connect();
        for statement in ["SET default_transaction_read_only = off", statement] {
            connection.batch_execute(statement).unwrap();
        }
    };
    let alter = |what: &str| write(&format!("ALTER DATABASE {name} {what}"));
    // What a new connection leads to, as where a standby's address becomes the primary's.
    alter("SET default_transaction_read_only = on");
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("identity.log");
    let options = World::identity_options(database.url(), free_port().unwrap(), &log);
    let identity = spawn_blocking(move || Service::start(options, &server().guard).unwrap());
    let identity = identity.await.unwrap();
    let up = async || {
        let metrics = Exposed::of(&identity).await;
        metrics.sum("identity_database_up", &[]) > 0.5
    };
    assert!(!up().await);
    let boot = Caller::new(&format!("127.0.0.1:{}", identity.port()), BOOTSTRAP).unwrap();
    let make = async || {
        let request = boot.request(pb::CreateSiteRequest {
            domain: "acme".to_owned(),
            owner: Some(pb::NewOwner {
                user_name: "o@acme.example".to_owned(),
                given_name: "O".to_owned(),
                family_name: "A".to_owned(),
            }),
            ..Default::default()
        });
        boot.sites().create_site(request).await
    };
    assert_eq!(reason(make().await, Code::Unavailable), "UNAVAILABLE");
    alter("RESET default_transaction_read_only");
    // No connection is used again that a write was refused on: of six, each may refuse one.
    let mut refused = 0;
    while let Err(status) = make().await {
        assert_eq!(reason::<()>(Err(status), Code::Unavailable), "UNAVAILABLE");
        refused += 1;
        assert!(refused <= 6, "writes are refused for ever");
    }
    let begun = std::time::Instant::now();
    while !up().await {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "it is still missed"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    // What can't be read is told of before what can't be written.
    let why = async |what: &str| {
        let begun = std::time::Instant::now();
        loop {
            let said = readyz(identity.admin_port()).await;
            if said.0 == 503 && said.1.contains(what) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(5), "{said:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let cut = || {
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
    };
    alter("SET search_path = nowhere");
    cut();
    why("no schema").await;
    alter("RESET search_path");
    alter("SET default_transaction_read_only = on");
    write("ALTER TABLE public.__diesel_schema_migrations RENAME TO away");
    why("lacks migrations").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_serves_needs_no_right_to_change_the_schema() {
    let world = World::start().await;
    let acme = world.acme().await;
    let role = format!("serving_{}", uuid::Uuid::new_v4().simple());
    world
        .database
        .execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'serving'"));
    // As docs/operations.md says.
    for grant in [
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO",
        "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO",
    ] {
        world.database.execute(&format!("{grant} {role}"));
    }
    let (_, place) = world.database.url().split_once('@').unwrap();
    let identity = world
        .identity_at(&format!("postgres://{role}:serving@{place}"))
        .await;
    let caller = Caller::new(
        &format!("127.0.0.1:{}", identity.port()),
        &acme.service_token,
    )
    .unwrap();
    let rpc = identity_tests::rpc::Rpc { caller, site: None };
    let made = rpc.create_member(member("ann@acme.example")).await;
    assert!(
        made.is_ok(),
        "{}",
        std::fs::read_to_string(identity.log()).unwrap()
    );
    rpc.delete_member(&rpc.make_member("bob@acme.example").await)
        .await
        .unwrap();
    rpc.grant("ann@acme.example", identity_tests::rpc::role("Analyst"))
        .await
        .unwrap();
    assert_eq!(rpc.roles("ann@acme.example").await, ["Analyst"]);
    drop(identity);
    world.database.execute(&format!("DROP OWNED BY {role}"));
    world.database.execute(&format!("DROP ROLE {role}"));
}
