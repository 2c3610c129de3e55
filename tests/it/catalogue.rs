//! What Okta can give by entitlements, discovered in Okta's order: the site's roles and business entities.

use identity_proto::v1 as pb;
use identity_tests::{
    scim::{LIST, Scim, encode},
    world::World,
};
use reqwest::Method;
use serde_json::json;

const OKTA_ROLE: &str = "urn:okta:scim:schemas:core:1.0:Role";
const OKTA_ENTITLEMENT: &str = "urn:okta:scim:schemas:core:1.0:Entitlement";

#[tokio::test(flavor = "multi_thread")]
async fn discovery_goes_in_oktas_order() {
    let world = World::start().await;
    let acme = world.acme().await;
    acme.make_role("Auditor", &["data.export", "metrics.view"])
        .await;
    let types = acme.scim.get("/ResourceTypes").await.is(200);
    let schemas = acme.scim.get("/Schemas").await.is(200);
    let described = |urn: &str| schemas.resources().iter().any(|schema| schema["id"] == urn);
    let mut names = Vec::new();
    for entry in types.resources() {
        let urn = entry["schema"].as_str().unwrap();
        assert!(described(urn), "{urn}");
        if ![OKTA_ROLE, OKTA_ENTITLEMENT].contains(&urn) {
            continue;
        }
        let endpoint = entry["endpoint"].as_str().unwrap();
        let first = acme
            .scim
            .get(&format!("{endpoint}?startIndex=1&count=1"))
            .await
            .is(200);
        assert_eq!(first.body["schemas"], json!([LIST]));
        assert_eq!(
            (&first.body["startIndex"], &first.body["itemsPerPage"]),
            (&json!(1), &json!(1))
        );
        let total = first.body["totalResults"].as_u64().unwrap();
        let mut walked = Vec::new();
        for start in 1..=total {
            let page = acme
                .scim
                .get(&format!("{endpoint}?startIndex={start}&count=1"))
                .await;
            walked.extend(page.resources());
        }
        let all = acme.scim.get(endpoint).await.is(200);
        assert_eq!(walked, all.resources());
        for one in walked {
            assert_eq!(one["schemas"], json!([urn]));
            assert!(one["description"].as_str().unwrap().chars().count() <= 1000);
            if urn == OKTA_ENTITLEMENT {
                assert_eq!(one["type"], entry["name"]);
            }
            let id = one["id"].as_str().unwrap();
            let read = acme.scim.get(&format!("{endpoint}/{id}")).await.is(200);
            assert_eq!(read.body, one);
            let time = |name: &str| {
                chrono::DateTime::parse_from_rfc3339(one["meta"][name].as_str().unwrap()).unwrap()
            };
            assert_eq!(time("created"), time("lastModified"));
            let earlier = format!(
                "meta.created lt \"{}\"",
                one["meta"]["created"].as_str().unwrap()
            );
            let before = acme
                .scim
                .get(&format!("{endpoint}?filter={}", encode(&earlier)))
                .await;
            assert!(
                before
                    .is(200)
                    .resources()
                    .iter()
                    .all(|other| other["id"] != one["id"])
            );
            assert_eq!(
                read.header("location"),
                one["meta"]["location"].as_str().unwrap()
            );
            assert_eq!(
                read.header("etag"),
                one["meta"]["version"].as_str().unwrap()
            );
            let request = acme.scim.request(Method::GET, &format!("{endpoint}/{id}"));
            Scim::send(request.header("if-none-match", read.header("etag")))
                .await
                .is(304);
            names.push(one["displayName"].as_str().unwrap().to_owned());
        }
    }
    // Every role but Owner.
    assert_eq!(
        names,
        [
            "Admin",
            "Analyst",
            "Auditor",
            "Customer Support",
            "Finance Executive",
            "Sales Agent",
            "Sales Manager",
            "Tech Support",
            "EU GmbH",
            "US Inc",
        ]
    );
}

/// Conformance: 26.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_role_or_an_entity_shows_when_it_was() {
    let world = World::start().await;
    let acme = world.acme().await;
    let caller = &acme.rpc.caller;
    let entity = acme.scim.id_of("/BusinessEntities", "EU GmbH").await;
    let path = format!("/BusinessEntities/{entity}");
    let before = acme.scim.get(&path).await.is(200);
    let renamed = pb::BusinessEntity {
        name: "EU SE".to_owned(),
        ..Default::default()
    };
    let request = pb::UpdateBusinessEntityRequest {
        business_entity_id: entity,
        values: Some(renamed),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["name".to_owned()],
        }),
        ..Default::default()
    };
    let written = caller
        .business_entities()
        .update_business_entity(caller.request(request))
        .await;
    let written = written.unwrap().into_inner().business_entity.unwrap();
    let after = acme.scim.get(&path).await.is(200);
    let meta = &after.body["meta"];
    assert_eq!(meta["created"], before.body["meta"]["created"]);
    assert_eq!(
        meta["lastModified"],
        json!(written.update_time.unwrap().to_string())
    );
    assert_ne!(meta["lastModified"], before.body["meta"]["lastModified"]);
    assert_ne!(after.header("etag"), before.header("etag"));
    let newest = "sortBy=meta.lastModified&sortOrder=descending&count=1";
    let newest = acme.scim.get(&format!("/BusinessEntities?{newest}")).await;
    assert_eq!(newest.is(200).resources()[0]["displayName"], "EU SE");
}

/// Conformance: 127.
#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_named_is_read_only_and_of_the_site() {
    let world = World::start().await;
    let (acme, other) = (world.acme().await, world.site("other").await);
    let caller = &acme.rpc.caller;
    let roles = caller
        .roles()
        .list_roles(caller.request(pb::ListRolesRequest::default()))
        .await;
    let roles = roles.unwrap().into_inner().roles;
    let owner = roles.iter().find(|role| role.name == "Owner").unwrap();
    let theirs = other.scim.id_of("/BusinessEntities", "EU GmbH").await;
    for path in [
        format!("/Roles/{}", owner.id),
        format!("/BusinessEntities/{theirs}"),
        "/Roles/010101001010101011001010101011".to_owned(),
        "/BusinessEntities/nonsense".to_owned(),
    ] {
        acme.scim.get(&path).await.error(404, "");
    }
    let analyst = acme.scim.id_of("/Roles", "Analyst").await;
    for (method, path) in [
        (Method::POST, "/Roles".to_owned()),
        (Method::PUT, format!("/Roles/{analyst}")),
        (Method::PATCH, format!("/Roles/{analyst}")),
        (Method::DELETE, format!("/Roles/{analyst}")),
        (Method::POST, "/BusinessEntities".to_owned()),
        (Method::DELETE, "/BusinessEntities/x".to_owned()),
    ] {
        let answer = acme.scim.with_body(method, &path, &json!({})).await;
        assert!(answer.header("allow").contains("GET"));
        answer.error(405, "");
    }
    acme.scim
        .get("/Roles?filter=nope%20pr")
        .await
        .error(400, "invalidFilter");
    let none = acme
        .scim
        .get("/Roles?filter=displayName%20eq%20%22Owner%22")
        .await
        .is(200);
    assert_eq!(
        (&none.body["totalResults"], &none.body["Resources"]),
        (&json!(0), &json!([]))
    );
    let stranger = world.scim("acme", &format!("Bearer {}", other.scim_token));
    stranger.get("/Roles").await.error(401, "");
}
