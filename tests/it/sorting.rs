//! Sorting from end to end.

use identity_tests::{
    scim::{ENTERPRISE, Scim, USER},
    world::World,
};
use serde_json::json;

async fn sorted(scim: &Scim, query: &str) -> String {
    let answer = scim.get(&format!("/Users?{query}")).await.is(200);
    let names: Vec<&str> = answer.body["Resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["userName"].as_str().unwrap().split('@').next().unwrap())
        .collect();
    names.join(" ")
}

/// Conformance: 63, 64.
#[tokio::test(flavor = "multi_thread")]
async fn lists_are_in_the_order_that_was_asked_for() {
    let world = World::start().await;
    let acme = world.acme().await;
    for (name, title, family, number, emails) in [
        (
            "b",
            json!("beta"),
            "Zed",
            "10",
            json!([{"value": "z@x"}, {"value": "a@x", "primary": true}]),
        ),
        (
            "C",
            json!("Alpha"),
            "ärger",
            "9",
            json!([{"value": "m@x"}, {"value": "0@x"}]),
        ),
        ("a", json!(null), "Ärger", "9", json!([{"value": "zz@x"}])),
    ] {
        let body = json!({
            "schemas": [USER, ENTERPRISE], "userName": format!("{name}@acme.example"), "title": title,
            "name": {"familyName": family}, "emails": emails, "externalId": name,
            ENTERPRISE: {"employeeNumber": number},
        });
        acme.scim.post("/Users", &body).await.is(201);
    }
    let number = format!("sortBy={ENTERPRISE}:employeeNumber");
    for (query, names) in [
        ("", "owner b C a"),
        ("sortBy=userName", "a b C owner"),
        ("sortBy=USERNAME&sortOrder=Descending", "owner C b a"),
        ("sortOrder=descending", "owner b C a"),
        // Without a value: last, and first when descending.
        ("sortBy=title", "C b owner a"),
        ("sortBy=title&sortOrder=descending", "owner a b C"),
        // By the primary value, else by the first.
        ("sortBy=emails", "b C owner a"),
        ("sortBy=emails.value&sortOrder=descending", "a owner C b"),
        // Case counts where the attribute says so.
        ("sortBy=externalId", "C a b owner"),
        ("sortBy=meta.created&sortOrder=descending", "a C b owner"),
        ("sortBy=active", "owner b C a"),
        (number.as_str(), "b C a owner"),
        ("sortBy=userName&startIndex=2&count=2", "b C"),
        ("sortBy=meta.resourceType", "owner b C a"),
    ] {
        assert_eq!(sorted(&acme.scim, query).await, names, "{query}");
    }
    for query in [
        "sortBy=nope",
        "sortBy=name",
        "sortBy=password",
        "sortBy=userName&sortOrder=down",
        "sortBy=a%20b",
    ] {
        let answer = acme.scim.get(&format!("/Users?{query}")).await;
        answer.error(400, "invalidValue");
    }
}
