//! Discovery from end to end: readable without a token, and true.

use identity_tests::{
    scim::{LIST, Scim, USER, encode},
    world::World,
};
use reqwest::Method;
use serde_json::{Value, json};

/// Conformance: 104, 105, 116, 122.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_is_so() {
    let world = World::start().await;
    let acme = world.acme().await;
    let anybody = Scim::new(&acme.scim.url, "");
    let config = anybody.get("/ServiceProviderConfig").await.is(200).body;
    for feature in ["patch", "bulk", "filter", "sort", "etag"] {
        assert_eq!(config[feature]["supported"], true, "{feature}");
    }
    assert_eq!(config["changePassword"]["supported"], false);
    let pagination = &config["pagination"];
    assert_eq!(
        (&pagination["cursor"], &pagination["index"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(pagination["defaultPaginationMethod"], "index");
    assert_eq!(config["filter"]["maxResults"], pagination["maxPageSize"]);
    for name in ["maxOperations", "maxPayloadSize"] {
        assert!(config["bulk"][name].as_u64().unwrap() > 0);
    }
    let location = &config["meta"]["location"];
    assert_eq!(*location, format!("{}/ServiceProviderConfig", anybody.url));

    let page = acme.scim.get("/Users").await.is(200).body;
    assert_eq!(page["schemas"], json!([LIST]));
    acme.scim.get("/Me").await.error(501, "");
    let patch = acme.scim.with_body(Method::PATCH, "/Me", &json!({})).await;
    patch.error(501, "");
    anybody.get("/Me").await.error(401, "");
}

/// Conformance: 106, 108.
#[tokio::test(flavor = "multi_thread")]
async fn every_urn_that_is_used_is_described() {
    let world = World::start().await;
    let acme = world.acme().await;
    let anybody = Scim::new(&acme.scim.url, "");
    let schemas = anybody.get("/Schemas").await.is(200).body;
    let listed: Vec<&Value> = schemas["Resources"].as_array().unwrap().iter().collect();
    assert_eq!(schemas["totalResults"], listed.len());
    let is_listed = |urn: &Value| listed.iter().any(|schema| schema["id"] == *urn);
    let types = anybody.get("/ResourceTypes").await.is(200).body;
    for entry in types["Resources"].as_array().unwrap() {
        assert!(is_listed(&entry["schema"]), "{entry:#}");
        for extension in entry["schemaExtensions"].as_array().into_iter().flatten() {
            assert!(is_listed(&extension["schema"]), "{entry:#}");
        }
        assert!(is_listed(&entry["schemas"][0]));
        let name = entry["name"].as_str().unwrap();
        let one = anybody.get(&format!("/ResourceTypes/{name}")).await.is(200);
        assert_eq!(one.body, *entry);
    }
    for schema in &listed {
        let urn = schema["id"].as_str().unwrap();
        for urn in [urn.to_owned(), encode(&urn.to_uppercase())] {
            let one = anybody.get(&format!("/Schemas/{urn}")).await.is(200);
            assert_eq!(one.body, **schema);
        }
        assert!(is_listed(&schema["schemas"][0]));
    }
    let user = acme.scim.get("/Users").await.is(200).body;
    for urn in user["Resources"][0]["schemas"].as_array().unwrap() {
        assert!(is_listed(urn), "{urn}");
    }

    for path in ["/Schemas", "/ResourceTypes"] {
        anybody
            .get(&format!("{path}?filter=id%20pr"))
            .await
            .error(403, "");
        anybody.get(&format!("{path}/nope")).await.error(404, "");
        let refused = anybody.post(path, &json!({"schemas": [USER]})).await;
        assert_eq!(refused.header("allow"), "GET,HEAD");
        refused.error(405, "");
        // Paging, sorting and projections do not apply.
        let query = format!("{path}?count=1&startIndex=2&sortBy=id&attributes=id");
        let paged = anybody.get(&query).await.is(200).body;
        assert_eq!(paged, anybody.get(path).await.is(200).body);
    }
}
