//! Filters, orders and pages.

use identity_tests::scim::{Answer, ENTERPRISE, Scim, encode, user};
use serde_json::{Value, json};

use super::{Place, found};

/// Three users with different things, and a group with one of them.
async fn people(scim: &Scim) -> [String; 4] {
    let mut ids = Vec::new();
    for (name, title, extra) in [
        (
            "ann",
            json!("Chief"),
            json!({"department": "D1", "manager": {"value": "M1"}}),
        ),
        ("bob", json!("50%_off"), json!(null)),
        ("cem", json!(null), json!({"department": "D2"})),
    ] {
        let mut body = user(&format!("{name}@acme.example"));
        body["title"] = title;
        body[ENTERPRISE] = extra;
        body["externalId"] = json!(format!("Ext-{name}"));
        body["emails"] = json!([
            {"value": format!("{name}@work.example"), "type": "work", "primary": true},
            {"value": format!("{name}@home.example"), "type": "home"},
        ]);
        ids.push(scim.post("/Users", &body).await.is(201).id());
    }
    let group = scim.make_group("CB/acme/ROLE/Analyst", &[&ids[0]]).await;
    ids.push(group);
    ids.try_into().unwrap()
}

/// Conformance: 42, 43, 44, 45, 46, 47, 48, 49, 50, 52, 54, 55.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_means_what_the_rfc_says() {
    let place = Place::new().await;
    let scim = place.scim();
    let [ann, _, cem, group] = people(scim).await;
    let made = scim.get(&format!("/Users/{cem}")).await.is(200).body["meta"]["created"].clone();
    let made = made.as_str().unwrap().to_owned();
    let elsewhere = chrono::DateTime::parse_from_rfc3339(&made).unwrap();
    let elsewhere = elsewhere.with_timezone(&chrono::FixedOffset::east_opt(5 * 3600).unwrap());
    for (filter, names) in [
        ("userName Eq \"ANN@acme.example\"".to_owned(), "ann"),
        ("  title   PR  ".to_owned(), "ann bob"),
        // Precedence: not, and, or.
        (
            "userName sw \"ann\" or userName sw \"bob\" and title sw \"C\"".to_owned(),
            "ann",
        ),
        (
            "(userName sw \"ann\" or userName sw \"bob\") and title sw \"5\"".to_owned(),
            "bob",
        ),
        ("not (title pr) and userName sw \"c\"".to_owned(), "cem"),
        (
            "not(title pr)And not(userName sw \"owner\")".to_owned(),
            "cem",
        ),
        ("title eq \"\\u0043hief\"".to_owned(), "ann"),
        // Case.
        ("title eq \"CHIEF\"".to_owned(), "ann"),
        ("externalId co \"ext\"".to_owned(), ""),
        ("externalId co \"Ext\"".to_owned(), "ann bob cem"),
        (format!("{ENTERPRISE}:manager.value eq \"m1\""), ""),
        // Order, and the clock.
        (
            "userName gt \"bob\" and userName lt \"d\"".to_owned(),
            "bob cem",
        ),
        (
            format!("meta.created ge \"{}\"", elsewhere.to_rfc3339()),
            "cem",
        ),
        (format!("meta.created eq \"{made}\""), "cem"),
        // Lists, and one entry of them.
        ("emails co \"ann@home\"".to_owned(), "ann"),
        (
            "emails[type eq \"work\" and value sw \"bob\"]".to_owned(),
            "bob",
        ),
        (
            "emails[type eq \"home\" and primary eq true]".to_owned(),
            "",
        ),
        (
            "emails.type eq \"home\" and emails.primary eq true".to_owned(),
            "ann bob cem",
        ),
        (
            "emails.value ne \"bob@work.example\" and userName sw \"b\"".to_owned(),
            "",
        ),
        // What is there.
        ("name pr and not (title ne null)".to_owned(), "owner cem"),
        ("title ne \"Chief\"".to_owned(), "owner bob cem"),
        ("title eq null".to_owned(), "owner cem"),
        ("phoneNumbers pr".to_owned(), ""),
        // Anything can be asked for.
        (format!("schemas eq \"{ENTERPRISE}\""), "ann cem"),
        (
            "meta.resourceType eq \"User\" and userName co \"an\"".to_owned(),
            "ann",
        ),
        (format!("groups.value eq \"{group}\""), "ann"),
        (
            format!("groups.$ref eq \"{}/Groups/{group}\"", scim.url),
            "ann",
        ),
        (format!("{ENTERPRISE}:department eq \"d2\""), "cem"),
        (
            "urn:ietf:params:scim:schemas:core:2.0:User:name.givenName pr and active eq true"
                .to_owned(),
            "owner ann bob cem",
        ),
        // Signs that a database might take for its own.
        ("title co \"%\"".to_owned(), "bob"),
        ("title co \"_\"".to_owned(), "bob"),
        ("title co \"' OR 1=1 --\"".to_owned(), ""),
    ] {
        assert_eq!(found(scim, &filter).await, names, "{filter}");
    }
    for (filter, total) in [
        (format!("members[value eq \"{ann}\"]"), 1),
        (format!("members.value eq \"{cem}\""), 0),
        ("members pr".to_owned(), 1),
    ] {
        let page = scim
            .get(&format!("/Groups?filter={}", encode(&filter)))
            .await
            .is(200);
        assert_eq!(page.body["totalResults"], total, "{filter}");
    }
}

/// Conformance: 46, 51, 53, 54, 56.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_means_nothing_is_refused() {
    let place = Place::new().await;
    for filter in [
        "",
        " ",
        "userName xx \"a\"",
        "userName eq 'a'",
        "userName eq a",
        "userName eq \"a\" foo",
        "userName eq",
        "nope eq \"a\"",
        "name eq \"a\"",
        "active gt true",
        "active co \"t\"",
        "meta.created sw \"2026\"",
        "x509Certificates.value gt \"AAAA\"",
        "password eq \"x\"",
        "password pr",
        "not title pr",
        "(title pr",
        "title pr)",
    ] {
        for path in ["/Users", "/"] {
            let answer = place
                .scim()
                .get(&format!("{path}?filter={}", encode(filter)))
                .await;
            let detail = answer.error(400, "invalidFilter");
            assert!(detail.len() > 20, "{filter}: {detail}");
        }
    }
}

/// Conformance: 13, 55.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_nests_too_deep_is_refused_by_the_limit_wherever_it_comes() {
    let place = Place::new().await;
    let scim = place.scim();
    let [ann, .., group] = people(scim).await;
    let refused = |answer: Answer, limit: &str| {
        let detail = answer.error(400, "invalidFilter");
        assert!(detail.contains(limit), "{detail}");
    };
    let brackets = |inner: &str| format!("{}{inner}{}", "(".repeat(65), ")".repeat(65));
    let levels = (0..49).fold("id pr".to_owned(), |filter, level| {
        format!("(externalId pr {} {filter})", ["and", "or"][level % 2])
    });
    let search = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";
    for path in ["/Users", "/Groups", "/"] {
        for (filter, limit) in [
            (brackets("id pr"), "64 levels"),
            (levels.clone(), "48 levels"),
        ] {
            let listed = scim
                .get(&format!("{path}?filter={}", encode(&filter)))
                .await;
            refused(listed, limit);
            let body = json!({"schemas": [search], "filter": filter});
            let path = format!("{}/.search", path.trim_end_matches('/'));
            refused(scim.post(&path, &body).await, limit);
        }
    }
    let roles = format!("/Roles?filter={}", encode(&brackets("id pr")));
    refused(scim.get(&roles).await, "64 levels");
    for (path, list) in [
        (format!("/Users/{ann}"), "emails"),
        (format!("/Groups/{group}"), "members"),
    ] {
        let inner = brackets("value eq \"x\"");
        let remove = json!([{"op": "remove", "path": format!("{list}[{inner}]")}]);
        refused(scim.patch(&path, remove.clone()).await, "64 levels");
        let bulk = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
            "Operations": [{"method": "PATCH", "path": path, "data": remove}],
        });
        let done = scim.post("/Bulk", &bulk).await.is(200).body["Operations"][0].clone();
        assert_eq!(done["response"]["scimType"], "invalidFilter", "{done:#}");
        assert!(done["response"]["detail"].to_string().contains("64 levels"));
    }
}

/// Conformance: 57, 58, 59, 60, 61, 62.
#[tokio::test(flavor = "multi_thread")]
async fn pages_count_from_one_and_tell_how_many_there_are() {
    let place = Place::new().await;
    let scim = place.scim();
    people(scim).await;
    // The Owner, and three more.
    for (query, start, shown) in [
        ("", 1, 4),
        ("startIndex=0&count=2", 1, 2),
        ("startIndex=-3", 1, 4),
        ("startIndex=3&count=100000", 3, 2),
        ("startIndex=5", 5, 0),
        ("count=0", 1, 0),
        ("count=-7", 1, 0),
    ] {
        let page = scim.get(&format!("/Users?{query}")).await.is(200).body;
        for (name, value) in [
            ("totalResults", 4),
            ("startIndex", start),
            ("itemsPerPage", shown),
        ] {
            assert_eq!(page[name], json!(value), "{query}: {name}");
        }
        assert_eq!(
            page["Resources"].as_array().unwrap().len(),
            usize::try_from(shown).unwrap()
        );
    }
    for query in ["startIndex=x", "count=1.5", "startIndex="] {
        scim.get(&format!("/Users?{query}"))
            .await
            .error(400, "invalidValue");
    }
    let none = scim
        .get("/Users?filter=userName%20eq%20%22x%22")
        .await
        .is(200)
        .body;
    assert_eq!(
        (&none["totalResults"], &none["Resources"]),
        (&json!(0), &json!([]))
    );
    let mut walked = Vec::new();
    for start in 1..=4 {
        let page = scim
            .get(&format!("/Users?startIndex={start}&count=1"))
            .await;
        walked.extend(page.resources());
    }
    assert_eq!(walked, scim.get("/Users").await.resources());
}

/// Conformance: 33, 34, 35, 36, 38, 39.
#[tokio::test(flavor = "multi_thread")]
async fn a_projection_shows_what_it_names_and_what_is_always_shown() {
    let place = Place::new().await;
    let scim = place.scim();
    let [ann, ..] = people(scim).await;
    let shows = async |query: &str| -> Vec<String> {
        let one = scim
            .get(&format!("/Users/{ann}?{query}"))
            .await
            .is(200)
            .body;
        let listed = scim
            .get(&format!("/Users?filter=userName%20sw%20%22ann%22&{query}"))
            .await;
        assert_eq!(
            listed.is(200).resources(),
            std::slice::from_ref(&one),
            "{query}"
        );
        one.as_object().unwrap().keys().cloned().collect()
    };
    for (query, names) in [
        ("attributes=USERNAME", vec!["id", "schemas", "userName"]),
        (
            "attributes=%20title%20,nope,%20meta.version",
            vec!["id", "meta", "schemas", "title"],
        ),
        ("attributes=password", vec!["id", "schemas"]),
        (
            "attributes=urn:ietf:params:scim:schemas:core:2.0:User:name.givenName",
            vec!["id", "name", "schemas"],
        ),
        (
            "attributes=urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
            vec!["id", "schemas", ENTERPRISE],
        ),
    ] {
        assert_eq!(shows(query).await, names, "{query}");
    }
    let all = shows("").await;
    assert!(!all.iter().any(|name| name == "password"));
    assert_eq!(shows("excludedAttributes=id,schemas,nope").await, all);
    let fewer = shows("excludedAttributes=emails,name").await;
    assert_eq!(fewer.len(), all.len() - 2);
    let one = scim
        .get(&format!(
            "/Users/{ann}?attributes=emails.value,{ENTERPRISE}:manager"
        ))
        .await;
    assert_eq!(
        one.body["emails"],
        json!([{"value": "ann@work.example"}, {"value": "ann@home.example"}])
    );
    assert_eq!(one.body[ENTERPRISE], json!({"manager": {"value": "M1"}}));
    for path in [format!("/Users/{ann}"), "/Users".to_owned()] {
        let both = scim
            .get(&format!("{path}?attributes=id&excludedAttributes=id"))
            .await;
        both.error(400, "invalidValue");
    }
    let sorted = scim.get("/Users?sortBy=password").await;
    sorted.error(400, "invalidValue");
    let made = scim
        .post("/Users?attributes=title", &user("dan@acme.example"))
        .await
        .is(201);
    let keys: Vec<&String> = made.body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["id", "schemas"]);
    let no: Option<&Value> = made.body.get("password");
    assert_eq!(no, None);
}
