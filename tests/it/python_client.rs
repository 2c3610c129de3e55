//! The contract from another language: a service in Python, with stubs made from the `.proto` files.

use std::{path::Path, process::Command};

use identity_proto::v1 as pb;
use identity_tests::{
    python::{done, environment},
    rpc::{entity, role},
    world::World,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_in_python_asks_who_may_do_what() {
    let world = World::start().await;
    let acme = world.acme().await;
    let member = acme.scim.make_user("ada@acme.example").await;
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[]).await;
    for target in [role("Sales Manager"), entity("EU GmbH")] {
        acme.rpc.grant("ada@acme.example", target).await.unwrap();
    }
    let scopes = [pb::Scope::Read, pb::Scope::Write, pb::Scope::Watch];
    let (token, _) = world.issue(&acme.domain, &scopes).await;
    let address = world.grpc_addr();
    let said = tokio::task::spawn_blocking(move || {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let here = tests.join("python_client");
        let requirements = here.join("requirements.txt");
        let python = environment(env!("CARGO_TARGET_TMPDIR"), "python-client", &requirements);
        let stubs = tempfile::tempdir().unwrap();
        let mut service = Command::new(python);
        service
            .arg("-I")
            .arg(here.join("ask.py"))
            .env("ROSTER_GRPC_ADDR", address)
            .env("ROSTER_TOKEN", token)
            .env("ROSTER_GROUP", group)
            .env("ROSTER_MEMBER", member)
            .env("ROSTER_PROTO", tests.join("../proto"))
            .env("ROSTER_STUBS", stubs.path());
        done(&mut service, "the service in Python failed").stdout
    })
    .await
    .unwrap();
    assert_eq!(String::from_utf8_lossy(&said), "done\n");
}

#[test]
fn the_function_in_the_docs_is_the_one_that_runs_here() {
    let docs = include_str!("../../docs/internal-api.md");
    let (_, rest) = docs.split_once("```python\ndef follow").unwrap();
    let (function, _) = rest.split_once("```").unwrap();
    let service = include_str!("../python_client/ask.py");
    assert!(service.contains(&format!("def follow{function}")));
}
