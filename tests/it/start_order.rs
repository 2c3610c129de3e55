//! What starts first does not matter: each process lives, says what it lacks, and goes on when it is there.

use std::time::Duration;

use identity_proto::v1 as pb;
use identity_tests::{
    database::{migrate, server},
    locks::eventually,
    scim::{Scim, user},
    world::BOOTSTRAP,
};
use roster_stack::{
    grpc::{Caller, site},
    ports::free_port,
    postgres::{Cluster, ClusterOptions},
    services::{Service, ServiceOptions},
};
use tokio::task::{block_in_place, spawn_blocking};

/// What `path` of an admin port answers.
async fn status(port: u16, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("http://127.0.0.1:{port}{path}")).await;
    let answer = answer.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_facade_comes_first_then_identity_and_the_database_last() {
    let guard = &server().guard;
    let cluster = block_in_place(|| {
        let cluster = Cluster::start(ClusterOptions::temporary().unwrap(), guard).unwrap();
        cluster.create_database("roster", None).unwrap();
        cluster.stop();
        cluster
    });
    let url = cluster.url("roster");
    let logs = tempfile::tempdir().unwrap();
    let ports = [(); 4].map(|()| free_port().unwrap());
    let [grpc, identity_admin, http, facade_admin] = ports;

    let facade_log = logs.path().join("facade.log");
    let options = ServiceOptions::facade(grpc, http, facade_admin, &facade_log);
    let facade = spawn_blocking(move || Service::start(options, &server().guard).unwrap());
    eventually("it listens", || {
        std::fs::read_to_string(&facade_log).is_ok_and(|log| log.contains("serving SCIM"))
    })
    .await;
    assert_eq!(status(facade_admin, "/livez").await.0, 200);
    let scim = |token: &str| {
        Scim::new(
            &format!("http://127.0.0.1:{http}/acme/scim/v2"),
            &format!("Bearer {token}"),
        )
    };
    let early = scim("nobody")
        .post("/Users", &user("ada@acme.example"))
        .await;
    early.error(429, "");
    // It would be taken for good, by whoever replaces one that reaches identity.
    let (code, why) = status(facade_admin, "/readyz").await;
    assert!(code == 503 && why.contains("never reached"), "{code} {why}");

    let log = logs.path().join("identity.log");
    let options = ServiceOptions::identity(&url, grpc, identity_admin, &log)
        .variable("ROSTER_BOOTSTRAP_TOKEN", BOOTSTRAP);
    let starting = spawn_blocking(move || Service::start(options, &server().guard).unwrap());
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(status(identity_admin, "/livez").await.0, 200);
    let (code, why) = status(identity_admin, "/readyz").await;
    assert!(code == 503 && why.contains("database"), "{code} {why}");
    // By itself, and though identity can do nothing yet: that it is there is all that the facade asks.
    let _facade = facade.await.unwrap();
    assert_eq!(status(facade_admin, "/readyz").await.0, 200);

    block_in_place(|| cluster.restart().unwrap());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (code, why) = status(identity_admin, "/readyz").await;
    assert!(
        code == 503 && why.contains("identity migrate"),
        "{code} {why}"
    );
    block_in_place(|| migrate(&url));
    let identity = starting.await.unwrap();

    let bootstrap = Caller::new(&format!("127.0.0.1:{grpc}"), BOOTSTRAP).unwrap();
    let request = pb::CreateSiteRequest {
        domain: "acme".to_owned(),
        owner: Some(pb::NewOwner {
            user_name: "owner@acme.example".to_owned(),
            given_name: "Olivia".to_owned(),
            family_name: "Owner".to_owned(),
        }),
        ..Default::default()
    };
    let made = bootstrap
        .sites()
        .create_site(bootstrap.request(request))
        .await;
    made.unwrap();
    let request = pb::IssueCredentialRequest {
        site: site("acme"),
        label: "Okta".to_owned(),
        scopes: vec![pb::Scope::Provision.into()],
        ..Default::default()
    };
    let issued = bootstrap
        .credentials()
        .issue_credential(bootstrap.request(request))
        .await;
    let token = issued.unwrap().into_inner().token;
    let made = scim(&token).post("/Users", &user("ada@acme.example")).await;
    made.is(201);

    // From then on it stays so, without identity too: its 429 is what identity providers repeat.
    block_in_place(|| identity.stop());
    let late = scim(&token).post("/Users", &user("bob@acme.example")).await;
    late.error(429, "");
    assert_eq!(status(facade_admin, "/readyz").await.0, 200);
}
