//! Paging by cursor (RFC 9865) from end to end.

use identity_tests::{
    scim::{Scim, encode},
    world::{OWNER, World},
};
use serde_json::Value;

async fn make(scim: &Scim, numbers: std::ops::Range<usize>) {
    for number in numbers {
        scim.make_user(&name(number)).await;
    }
}

fn name(number: usize) -> String {
    format!("u{number:03}@acme.example")
}

async fn delete(scim: &Scim, user_name: &str) {
    let filter = encode(&format!("userName eq \"{user_name}\""));
    let found = scim.get(&format!("/Users?filter={filter}")).await.is(200);
    let id = found.body["Resources"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    scim.delete(&format!("/Users/{id}")).await.is(204);
}

fn names(page: &Value, of: &str) -> Vec<String> {
    let resources = page["Resources"].as_array().unwrap();
    resources
        .iter()
        .map(|one| one[of].as_str().unwrap().to_owned())
        .collect()
}

/// Conformance: 117, 121.
#[tokio::test(flavor = "multi_thread")]
async fn a_walk_repeats_and_skips_nothing_while_others_come_and_go() {
    let world = World::start().await;
    let acme = world.acme().await;
    let scim = &acme.scim;
    make(scim, 0..20).await;
    for sort in [
        "",
        "&sortBy=userName",
        "&sortBy=userName&sortOrder=descending",
        "&sortBy=title",
    ] {
        // Who comes back takes the old place only where the order is by name.
        let by_name = sort.contains("userName");
        let (mut seen, mut gone) = (Vec::new(), Vec::new());
        let mut cursor = String::new();
        loop {
            let query = format!("/Users?count=6{sort}&cursor={cursor}");
            let page = scim.get(&query).await.is(200).body;
            assert!(page.get("startIndex").is_none());
            let shown = names(&page, "userName");
            assert_eq!(page["itemsPerPage"], shown.len());
            // Others go, and come back as new ones.
            if let Some(victim) = shown.iter().find(|name| name.starts_with('u')) {
                delete(scim, victim).await;
                if by_name {
                    scim.make_user(victim).await;
                } else {
                    gone.push(victim.clone());
                }
            }
            seen.extend(shown);
            let Some(next) = page.get("nextCursor") else {
                break;
            };
            next.as_str().unwrap().clone_into(&mut cursor);
            let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            assert!(cursor.bytes().all(unreserved));
        }
        seen.sort();
        let everybody: Vec<String> = (0..20).map(name).collect();
        assert_eq!(seen[0], OWNER, "{sort}");
        assert_eq!(seen[1..], everybody, "{sort}");
        for name in gone {
            scim.make_user(&name).await;
        }
    }
}

/// Conformance: 118, 119, 120, 127.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_good_for_its_own_query() {
    let world = World::start().await;
    let acme = world.acme().await;
    let other = world.site("other").await;
    make(&acme.scim, 0..5).await;
    let first = acme
        .scim
        .get("/Users?cursor&count=2&sortBy=userName")
        .await
        .is(200)
        .body;
    assert_eq!(first["totalResults"], 6);
    let cursor = first["nextCursor"].as_str().unwrap();
    let path = |rest: &str| format!("/Users?cursor={cursor}{rest}");
    let page = acme
        .scim
        .get(&path("&count=100&sortBy=userName"))
        .await
        .is(200)
        .body;
    assert_eq!(
        (names(&page, "userName").len(), page.get("nextCursor")),
        (4, None)
    );
    for rest in [
        "",
        "&sortBy=title",
        "&sortBy=userName&sortOrder=descending",
        "&sortBy=userName&filter=title%20pr",
    ] {
        acme.scim.get(&path(rest)).await.error(400, "invalidCursor");
    }
    let elsewhere = path("&sortBy=userName");
    other.scim.get(&elsewhere).await.error(400, "invalidCursor");
    let groups = elsewhere
        .replace("Users", "Groups")
        .replace("userName", "displayName");
    acme.scim.get(&groups).await.error(400, "invalidCursor");
    for cursor in ["x", "%00", "e30"] {
        acme.scim
            .get(&format!("/Users?cursor={cursor}"))
            .await
            .error(400, "invalidCursor");
    }
    acme.scim
        .get("/Users?cursor&count=0")
        .await
        .error(400, "invalidCount");
    acme.scim
        .get("/Users?cursor&count=-1")
        .await
        .error(400, "invalidCount");
    acme.scim
        .get("/Users?cursor&startIndex=1")
        .await
        .error(400, "invalidValue");
    // By index is the default, and knows of no cursor.
    let page = acme.scim.get("/Users?count=2").await.is(200).body;
    assert_eq!(
        (page.get("nextCursor"), &page["startIndex"]),
        (None, &1.into())
    );
}
