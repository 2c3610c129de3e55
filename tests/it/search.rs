//! `.search` and the root, from end to end.

use identity_tests::{
    scim::{Scim, encode},
    world::World,
};
use serde_json::{Value, json};

const SEARCH: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

async fn search(scim: &Scim, path: &str, mut body: Value) -> Value {
    body["schemas"] = json!([SEARCH]);
    scim.post(path, &body).await.is(200).body
}

fn shown(page: &Value) -> Vec<&str> {
    let resources = page["Resources"].as_array().unwrap();
    resources
        .iter()
        .map(|one| {
            let name = one.get("userName").unwrap_or(&one["displayName"]);
            name.as_str().unwrap().split('@').next().unwrap()
        })
        .collect()
}

/// Conformance: 65, 66, 121.
#[tokio::test(flavor = "multi_thread")]
async fn both_types_are_searched_as_they_are_listed() {
    let world = World::start().await;
    let acme = world.acme().await;
    let scim = &acme.scim;
    let ann = scim.make_user("ann@acme.example").await;
    scim.make_user("bob@acme.example").await;
    let admins = scim.make_group("CB/acme/ROLE/Admin", &[&ann]).await;
    scim.make_group("CB/acme/ROLE/Analyst", &[]).await;

    let page = search(
        scim,
        "/Users/.search",
        json!({"filter": "userName co \"n@\"", "attributes": ["userName"], "startIndex": 1, "count": 5}),
    )
    .await;
    assert_eq!(shown(&page), ["ann"]);
    let user = page["Resources"][0].as_object().unwrap();
    let keys: Vec<&String> = user.keys().collect();
    assert_eq!(keys, ["id", "schemas", "userName"]);
    let page = search(
        scim,
        "/Groups/.search",
        json!({"sortBy": "displayName", "sortOrder": "descending", "excludedAttributes": ["members"]}),
    )
    .await;
    assert_eq!(shown(&page), ["CB/acme/ROLE/Analyst", "CB/acme/ROLE/Admin"]);
    assert!(page["Resources"][1].get("members").is_none());

    // The root: users, groups, roles, business entities.
    let all = [
        "owner",
        "ann",
        "bob",
        "CB/acme/ROLE/Admin",
        "CB/acme/ROLE/Analyst",
        "Admin",
        "Analyst",
        "Customer Support",
        "Finance Executive",
        "Sales Agent",
        "Sales Manager",
        "Tech Support",
        "EU GmbH",
        "US Inc",
    ];
    let listed = scim.get("/").await.is(200).body;
    assert_eq!(
        (shown(&listed), &listed["totalResults"]),
        (all.to_vec(), &json!(14))
    );
    for one in listed["Resources"].as_array().unwrap() {
        let location = one["meta"]["location"].as_str().unwrap();
        let path = location.strip_prefix(&scim.url).unwrap();
        assert_eq!(scim.get(path).await.is(200).body, *one);
    }
    for start in 1..=15 {
        let body = json!({"startIndex": start, "count": 2});
        let page = search(scim, "/.search", body).await;
        let expected: Vec<&str> = all.iter().skip(start - 1).take(2).copied().collect();
        assert_eq!(
            (shown(&page), &page["totalResults"]),
            (expected, &json!(14)),
            "{start}"
        );
    }
    let not_c = [&all[5..7], &all[8..]].concat();
    for (filter, names) in [
        ("meta.resourceType eq \"Group\"".to_owned(), &all[3..5]),
        ("meta.resourceType eq \"Role\"".to_owned(), &all[5..12]),
        (
            "type eq \"BusinessEntity\" or members pr".to_owned(),
            &["CB/acme/ROLE/Admin", "EU GmbH", "US Inc"],
        ),
        ("meta.resourceType eq \"User\"".to_owned(), &all[..3]),
        (
            format!("id eq \"{admins}\" or id eq \"{ann}\""),
            &["ann", "CB/acme/ROLE/Admin"],
        ),
        (format!("members.value eq \"{ann}\""), &all[3..4]),
        (
            "userName sw \"a\" or displayName ew \"analyst\"".to_owned(),
            &["ann", "CB/acme/ROLE/Analyst", "Analyst"],
        ),
        (
            "userName eq null and not (displayName sw \"C\")".to_owned(),
            &not_c,
        ),
        ("not (userName pr)".to_owned(), &all[3..]),
    ] {
        let page = scim
            .get(&format!("/?filter={}", encode(&filter)))
            .await
            .is(200)
            .body;
        assert_eq!(shown(&page), names, "{filter}");
    }
    scim.get("/?filter=nope%20pr")
        .await
        .error(400, "invalidFilter");

    // A cursor goes from each type on to the next.
    for count in [1, 2, 5] {
        let mut seen = Vec::new();
        let mut cursor = json!("");
        while cursor.is_string() {
            let page = search(scim, "/.search", json!({"count": count, "cursor": cursor})).await;
            assert_eq!(page["totalResults"], 14);
            seen.extend(shown(&page).into_iter().map(str::to_owned));
            cursor = page.get("nextCursor").cloned().unwrap_or_default();
            assert!(seen.len() <= all.len(), "{seen:?}");
        }
        assert_eq!(seen, all);
    }
    // An order holds within each type.
    let newest = "/?sortBy=meta.created&sortOrder=descending&attributes=userName,displayName";
    let newest = scim.get(newest).await.is(200).body;
    assert_eq!(
        shown(&newest)[..5],
        [
            "bob",
            "ann",
            "owner",
            "CB/acme/ROLE/Analyst",
            "CB/acme/ROLE/Admin"
        ]
    );

    let roles = json!({"filter": "displayName sw \"sales\"", "attributes": ["displayName"]});
    let page = search(scim, "/Roles/.search", roles).await;
    assert_eq!(shown(&page), ["Sales Agent", "Sales Manager"]);
    let entities = json!({"sortBy": "displayName", "sortOrder": "descending", "count": 1});
    let page = search(scim, "/BusinessEntities/.search", entities).await;
    assert_eq!(
        (shown(&page), &page["totalResults"]),
        (vec!["US Inc"], &json!(2))
    );
}

/// Conformance: 65.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_is_none_is_refused() {
    let world = World::start().await;
    let acme = world.acme().await;
    let scim = &acme.scim;
    let body = |extra: Value| {
        let mut body = json!({"schemas": [SEARCH]});
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        body
    };
    for path in [
        "/.search",
        "/Users/.search",
        "/Groups/.search",
        "/Roles/.search",
        "/BusinessEntities/.search",
    ] {
        scim.post(path, &json!({}))
            .await
            .error(400, "invalidSyntax");
        scim.post(path, &json!({"schemas": ["urn:x"]}))
            .await
            .error(400, "invalidSyntax");
        scim.post(path, &body(json!({"filter": "x"})))
            .await
            .error(400, "invalidFilter");
        scim.post(path, &body(json!({"count": "x"})))
            .await
            .error(400, "invalidValue");
        scim.post(path, &body(json!({"cursor": "nonsense"})))
            .await
            .error(400, "invalidCursor");
        let with_query = format!("{path}?filter=id%20pr");
        scim.post(&with_query, &body(json!({})))
            .await
            .error(400, "invalidValue");
        scim.get(path).await.error(405, "");
        let nobody = Scim::new(&scim.url, "Bearer nobody");
        nobody.post(path, &body(json!({}))).await.error(401, "");
    }
}
