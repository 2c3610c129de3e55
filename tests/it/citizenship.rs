//! Good citizenship on the gRPC port: connections that move on, compression, health of every service, and
//! a published list of the ways to be refused.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use identity_proto::{FILE_DESCRIPTOR_SET, v1 as pb};
use identity_tests::{
    faults::Proxy,
    scim::Scim,
    world::{Settings, Site, World},
    writes::{member, reason, refused},
};
use prost::Message;
use tonic::{Code, codec::CompressionEncoding};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;

fn contract() -> prost_types::FileDescriptorSet {
    prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_move_on_after_their_time_and_no_call_is_lost_by_it() {
    let world = World::with(Settings {
        identity: vec![("ROSTER_MAX_CONNECTION_AGE_MS", "300".to_owned())],
        ..Settings::default()
    })
    .await;
    let acme = world.bare_site("acme").await;
    let slow = world.bare_site("slow").await;
    let proxy = Proxy::before(world.identity.port()).await;
    let facade = world.another_facade(proxy.port()).await;
    let scim = |site: &Site| {
        let url = format!("http://127.0.0.1:{}/{}/scim/v2", facade.port(), site.domain);
        Scim::new(&url, &format!("Bearer {}", site.scim_token))
    };
    // One call lasts as long as several connections.
    let lock = world.database.lock_site(&slow.id);
    let client = scim(&slow);
    let slow = tokio::spawn(async move { client.make_user("ann@slow.example").await });
    let client = scim(&acme);
    let begun = Instant::now();
    let mut calls = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        client.make_user(&format!("m{calls}@acme.example")).await;
        client.get("/Users?count=1").await.is(200);
        calls += 1;
    }
    lock.release();
    slow.await.unwrap();
    assert!(calls > 10, "{calls}");
    let connections = proxy.connections();
    assert!((4..=20).contains(&connections), "{connections}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_compressed_answers_gets_them_and_may_send_such_requests() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    world.database.seed_members(&acme.id, 300);
    let caller = &acme.rpc.caller;
    let list = || {
        caller.request(pb::ListMembersRequest {
            page_size: Some(300),
            ..Default::default()
        })
    };
    let plain = caller.members().list_members(list()).await.unwrap();
    assert_eq!(plain.metadata().get("grpc-encoding"), None);
    for (encoding, name) in [
        (CompressionEncoding::Gzip, "gzip"),
        (CompressionEncoding::Zstd, "zstd"),
    ] {
        let mut client = caller
            .members()
            .accept_compressed(encoding)
            .send_compressed(encoding);
        let answer = client.list_members(list()).await.unwrap();
        assert_eq!(answer.metadata().get("grpc-encoding").unwrap(), name);
        assert_eq!(answer.get_ref(), plain.get_ref());
    }
    // What unpacks to more than a message may be is refused like one that came so.
    let mut client = caller.members().send_compressed(CompressionEncoding::Gzip);
    let mut large = member("ann@acme.example");
    large.external_id = "x".repeat(8 << 20);
    let request = caller.request(pb::CreateMemberRequest {
        member: Some(large),
        ..Default::default()
    });
    let outcome = client.create_member(request).await;
    assert_eq!(
        reason(outcome, Code::ResourceExhausted),
        "MESSAGE_TOO_LARGE"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_of_the_contract_tells_its_health() {
    let world = World::start().await;
    let caller = world.caller("none");
    let mut health = HealthClient::new(caller.channel());
    let contract = contract();
    let services = contract.file.iter().flat_map(|file| {
        let package = file.package().to_owned();
        let services = file.service.iter();
        services.map(move |service| format!("{package}.{}", service.name()))
    });
    for service in services {
        let request = HealthCheckRequest {
            service: service.clone(),
        };
        let answer = health.check(request).await;
        let answer = answer.unwrap_or_else(|status| panic!("{service}: {status:?}"));
        assert_eq!(
            answer.into_inner().status().as_str_name(),
            "SERVING",
            "{service}"
        );
    }
}

/// The reasons of the contract with what is said of them: number, name, code, words.
fn reasons() -> Vec<(i32, String, String, String)> {
    let contract = contract();
    let file = contract
        .file
        .iter()
        .find(|file| file.name() == "identity/v1/error_reason.proto")
        .unwrap();
    let values = &file.enum_type[0].value;
    let comments = &file.source_code_info.as_ref().unwrap().location;
    values
        .iter()
        .enumerate()
        .filter(|(_, value)| value.number() != 0)
        .map(|(at, value)| {
            let at = i32::try_from(at).unwrap();
            // The path of a value: the first enum of the file, its value of that place.
            let comment = comments
                .iter()
                .find(|location| location.path == [5, 0, 2, at]);
            let words: Vec<&str> = comment
                .unwrap()
                .leading_comments()
                .split_whitespace()
                .collect();
            let words = words.join(" ");
            let (code, words) = words.split_once(". ").unwrap_or_default();
            let name = value.name().trim_start_matches("ERROR_REASON_").to_owned();
            (value.number(), name, code.to_owned(), words.to_owned())
        })
        .collect()
}

#[test]
fn the_published_list_of_reasons_is_the_contracts() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- table -->\n").unwrap();
    let (table, after) = rest.split_once("<!-- end -->").unwrap();
    let mut rendered = String::from("| reason | code | what it means |\n|---|---|---|\n");
    for (_, name, code, words) in reasons() {
        let known = (0..17).map(|number| format!("{:?}", Code::from_i32(number)));
        let known: BTreeSet<String> = known.map(|name| name.to_lowercase()).collect();
        assert!(
            known.contains(&code.replace('_', "").to_lowercase()),
            "{name}: {code:?}"
        );
        rendered += &format!("| `{name}` | {code} | {words} |\n");
    }
    if std::env::var_os("ROSTER_REWRITE_DOCS").is_some() {
        let text = format!("{before}<!-- table -->\n{rendered}<!-- end -->{after}");
        fs::write(&path, text).unwrap();
        return;
    }
    assert!(
        table == rendered,
        "docs/errors.md has another table: run this test with ROSTER_REWRITE_DOCS=1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_taken_is_named_to_a_machine() {
    let world = World::start().await;
    let acme = world.acme().await;
    let rpc = &acme.rpc;
    let ann = rpc.make_member("ann@acme.example").await;
    let status = rpc
        .create_member(member("ann@acme.example"))
        .await
        .unwrap_err();
    let resource = status.get_details_resource_info().unwrap();
    assert_eq!(
        (resource.resource_type.as_str(), &resource.resource_name),
        ("member", &ann)
    );
    assert_eq!(
        refused(Err::<(), _>(status), Code::AlreadyExists).1["id"],
        ann
    );
    let eu = rpc
        .list_entities()
        .await
        .into_iter()
        .find(|entity| entity.name == "EU GmbH");
    let status = rpc.create_entity("EU GmbH", "").await.unwrap_err();
    let resource = status.get_details_resource_info().unwrap();
    assert_eq!(resource.resource_type, "business entity");
    assert_eq!(resource.resource_name, eu.unwrap().id);
    let status = rpc
        .delete_member(&uuid::Uuid::new_v4().to_string())
        .await
        .unwrap_err();
    assert_eq!(
        status.get_details_resource_info().unwrap().resource_type,
        "member"
    );
}
