//! Filters from end to end: the whole grammar, on every attribute that the schemas declare.

use identity_tests::{
    scim::{ENTERPRISE, GROUP, Scim, USER, encode, user},
    world::{OWNER, Site, World},
};
use serde_json::{Value, json};

const ACCESS: &str = "urn:roster:params:scim:schemas:extension:access:2.0:User";

async fn found(scim: &Scim, path: &str, filter: &str, shown: &str) -> Vec<String> {
    let query = format!("{path}?count=1000&filter={}", encode(filter));
    let answer = scim.get(&query).await;
    assert_eq!(answer.status.as_u16(), 200, "{filter}: {:#}", answer.body);
    let resources = answer.body["Resources"].as_array().unwrap();
    assert_eq!(answer.body["totalResults"], resources.len(), "{filter}");
    let mut names: Vec<String> = resources
        .iter()
        .map(|one| one[shown].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// The local parts of the user names that a filter finds.
async fn users(scim: &Scim, filter: &str) -> String {
    let names = found(scim, "/Users", filter, "userName").await;
    let names: Vec<&str> = names
        .iter()
        .map(|name| name.split('@').next().unwrap())
        .collect();
    names.join(" ")
}

/// Ann has everything, Bob a little, Cem nothing; and there is the Owner.
async fn populate(acme: &Site) -> (String, String) {
    let ann = json!({
        "schemas": [USER, ENTERPRISE],
        "userName": "Ann@Acme.example", "externalId": "Ext-A", "displayName": "Ann \"the\\ Änne\" Ärger",
        "nickName": "100%_ann", "profileUrl": "https://x.example/Ann", "title": "Lead",
        "userType": "Employee", "preferredLanguage": "tr", "locale": "tr-TR", "timezone": "Europe/Istanbul",
        "name": {
            "formatted": "Dr. Ann M. Ärger", "familyName": "Ärger", "givenName": "Ann", "middleName": "M.",
            "honorificPrefix": "Dr.", "honorificSuffix": "III",
        },
        "emails": [
            {"value": "ann@work.example", "type": "work", "primary": true, "display": "Office"},
            {"value": "ann@home.example", "type": "home"},
        ],
        "phoneNumbers": [{"value": "+49 1", "type": "mobile"}],
        "ims": [{"value": "ann1", "type": "xmpp"}],
        "photos": [{"value": "https://x.example/ann.jpg", "type": "photo"}],
        "addresses": [{
            "formatted": "1 Street\nTown", "streetAddress": "1 Street", "locality": "Town", "region": "R",
            "postalCode": "12345", "country": "DE", "type": "work", "primary": true,
        }],
        "x509Certificates": [{"value": "QUJDRA=="}],
        ENTERPRISE: {
            "employeeNumber": "701984", "costCenter": "4130", "organization": "Acme", "division": "D",
            "department": "Tours", "manager": {"value": "Boss-1", "displayName": "Big Boss", "$ref": "../Users/b"},
        },
    });
    let ann = acme.scim.post("/Users", &ann).await.is(201).id();
    let mut bob = user("bob@acme.example");
    bob["title"] = json!("Analyst");
    bob["emails"] = json!([{"value": "bob@home.example", "type": "work"}, {"value": "bob@work.example", "type": "home"}]);
    bob["active"] = json!(false);
    let bob = acme.scim.post("/Users", &bob).await.is(201).id();
    let cem = json!({"schemas": [USER], "userName": "cem@acme.example"});
    acme.scim.post("/Users", &cem).await.is(201);
    (ann, bob)
}

/// Conformance: 42, 45, 46.
#[tokio::test(flavor = "multi_thread")]
async fn every_operator_and_their_logic() {
    let world = World::start().await;
    let acme = world.acme().await;
    let (ann, _) = populate(&acme).await;
    let scim = &acme.scim;
    for (filter, names) in [
        // Equality, by the attribute's rule of case.
        (r#"userName eq "ann@acme.example""#, "Ann"),
        (r#"USERNAME EQ "ANN@ACME.EXAMPLE""#, "Ann"),
        (r#"userName ne "ann@acme.example""#, "bob cem owner"),
        (r#"externalId eq "Ext-A""#, "Ann"),
        (r#"externalId eq "ext-a""#, ""),
        (r#"title eq "LEAD""#, "Ann"),
        (r#"title ne "lead""#, "bob cem owner"),
        // Parts of texts; what is a wildcard in SQL is none.
        (r#"title co "ea""#, "Ann"),
        (r#"title co "%""#, ""),
        (r#"nickName co "0%_A""#, "Ann"),
        (r#"nickName co "_00""#, ""),
        (r#"title sw "l""#, "Ann"),
        (r#"title ew "ST""#, "bob"),
        (r#"userName ew "@ACME.example""#, "Ann bob cem owner"),
        (r#"displayName co "\"the\\""#, "Ann"),
        (r#"displayName co "\u00e4rger""#, "Ann"),
        (r#"name.familyName eq "ÄRGER""#, "Ann"),
        (r#"profileUrl eq "https://x.example/ann""#, ""),
        (r#"title eq "'; DROP TABLE members; --""#, ""),
        // Order.
        (r#"title gt "b""#, "Ann"),
        (r#"title ge "LEAD""#, "Ann"),
        (r#"title lt "b""#, "bob"),
        (r#"title le "analyst""#, "bob"),
        // Presence.
        ("title pr", "Ann bob"),
        ("not (title pr)", "cem owner"),
        ("title eq null", "cem owner"),
        ("title ne null", "Ann bob"),
        (r#"title eq """#, "cem owner"),
        ("name pr", "Ann bob owner"),
        ("emails pr", "Ann bob cem owner"),
        ("phoneNumbers pr", "Ann"),
        ("password.x pr or title pr", "!"),
        ("members pr", "!"),
        // Booleans.
        ("active eq true", "Ann cem owner"),
        ("active eq \"False\"", "bob"),
        ("active ne true", "bob"),
        // Precedence.
        (
            r#"title eq "Lead" or title eq "Analyst" and active eq true"#,
            "Ann",
        ),
        (
            r#"(title eq "Lead" or title eq "Analyst") and active eq false"#,
            "bob",
        ),
        (r#"not (title eq "Lead") and active eq true"#, "cem owner"),
        (r#"not(title eq "Lead" or active eq true)"#, "bob"),
        // Lists: any entry; brackets: one and the same.
        (r#"emails eq "ANN@home.example""#, "Ann"),
        (r#"emails.value eq "ann@work.example""#, "Ann"),
        (
            r#"emails.type eq "home" and emails.value co "work""#,
            "Ann bob",
        ),
        (r#"emails[type eq "home" and value co "work"]"#, "bob"),
        (
            r#"emails[type eq "work"].value eq "ann@work.example""#,
            "Ann",
        ),
        (r#"emails[not (type eq "work")]"#, "Ann bob"),
        (r#"emails.value ne "ann@work.example""#, "bob cem owner"),
        ("emails.display pr", "Ann"),
        ("emails[primary eq true]", "Ann cem owner"),
        ("emails[primary eq false]", "Ann bob"),
        // A derived address is found as it is shown.
        (r#"emails.value eq "cem@acme.example""#, "cem"),
        (r#"emails[type eq "work" and value sw "cem"]"#, "cem"),
        // The rest of the core schema.
        (r#"userType eq "employee""#, "Ann"),
        (r#"timezone sw "Europe/""#, "Ann"),
        (r#"name[givenName eq "ann" and middleName eq "m."]"#, "Ann"),
        (
            r#"phoneNumbers[type eq "mobile" and value eq "+49 1"]"#,
            "Ann",
        ),
        (r#"ims.value eq "ANN1""#, "Ann"),
        (r#"photos.value ew "ann.jpg""#, "Ann"),
        (r#"addresses co "1 street""#, "Ann"),
        (
            r#"addresses[postalCode eq "12345" and country eq "de"]"#,
            "Ann",
        ),
        (r#"x509Certificates.value eq "QUJDRA==""#, "Ann"),
        // What every resource shows alike.
        (r#"meta.resourceType eq "User""#, "Ann bob cem owner"),
        (r#"meta.resourceType ne "User""#, ""),
        (r#"roles pr or entitlements pr"#, ""),
    ] {
        if names == "!" {
            let answer = scim.get(&format!("/Users?filter={}", encode(filter))).await;
            answer.error(400, "invalidFilter");
        } else {
            assert_eq!(users(scim, filter).await, names, "{filter}");
        }
    }
    assert_eq!(users(scim, &format!("id eq \"{ann}\"")).await, "Ann");
    assert_eq!(users(scim, "id eq \"no-uuid\"").await, "");
    let location = format!("{}/Users/{ann}", scim.url);
    assert_eq!(
        users(scim, &format!("meta.location eq \"{location}\"")).await,
        "Ann"
    );
    assert_eq!(
        users(scim, &format!("meta.location ew \"{}\"", &ann[30..])).await,
        "Ann"
    );
}

/// Conformance: 46, 52.
#[tokio::test(flavor = "multi_thread")]
async fn extensions_times_and_groups() {
    let world = World::start().await;
    let acme = world.acme().await;
    let (ann, bob) = populate(&acme).await;
    let scim = &acme.scim;
    let analysts = scim.make_group("CB/acme/ROLE/Analyst", &[&ann, &bob]).await;
    let entity = scim.make_group("CB/acme/BE/EU GmbH", &[&ann]).await;
    for (path, names) in [
        ("employeeNumber eq \"701984\"", "Ann"),
        ("department co \"OUR\"", "Ann"),
        ("manager.value eq \"Boss-1\"", "Ann"),
        ("manager.value eq \"boss-1\"", ""),
        ("manager.displayName sw \"big\"", "Ann"),
        ("manager pr", "Ann"),
        ("manager.$ref pr", "Ann"),
    ] {
        assert_eq!(
            users(scim, &format!("{ENTERPRISE}:{path}")).await,
            names,
            "{path}"
        );
    }
    for (path, names) in [
        ("roles.display eq \"analyst\"", "Ann"),
        ("roles.display eq \"Owner\"", "owner"),
        ("businessEntities.display co \"gmbh\"", "Ann"),
        ("businessEntities pr", "Ann"),
        ("reach eq \"listed\"", "Ann"),
        ("reach eq \"all\"", "owner"),
        ("reach eq \"none\"", "bob cem"),
    ] {
        assert_eq!(
            users(scim, &format!("{ACCESS}:{path}")).await,
            names,
            "{path}"
        );
    }
    for (filter, names) in [
        (format!("schemas eq \"{ENTERPRISE}\""), "Ann"),
        (format!("schemas ne \"{ENTERPRISE}\""), "bob cem owner"),
        (format!("{ENTERPRISE} pr"), "Ann"),
        (format!("{USER}:title eq \"lead\""), "Ann"),
        (format!("groups.value eq \"{analysts}\""), "Ann bob"),
        (format!("groups eq \"{entity}\""), "Ann"),
        (
            format!("groups[value eq \"{entity}\" and type eq \"direct\"]"),
            "Ann",
        ),
        (
            format!("groups.$ref eq \"{}/Groups/{entity}\"", scim.url),
            "Ann",
        ),
        ("groups.display co \"be/eu\"".to_owned(), "Ann"),
        ("groups.type eq \"direct\"".to_owned(), "Ann bob"),
        ("not (groups pr)".to_owned(), "cem owner"),
        // The address that is shown in the place of none.
        ("emails.value pr".to_owned(), "Ann bob cem owner"),
        ("emails.type ne null".to_owned(), "Ann bob cem owner"),
        ("emails[value eq null]".to_owned(), ""),
        ("emails[type pr and value sw \"cem\"]".to_owned(), "cem"),
        ("emails.display pr".to_owned(), "Ann"),
        // What the brackets need of an address, and what they only allow.
        (
            "emails[type eq \"WORK\" and value eq \"Cem@ACME.example\"]".to_owned(),
            "cem",
        ),
        (
            "emails[type eq \"work\"].value eq \"bob@work.example\"".to_owned(),
            "",
        ),
        (
            "emails[type eq \"home\" and not (value eq \"bob@work.example\")]".to_owned(),
            "Ann",
        ),
        (
            "emails[value eq \"bob@work.example\" or display pr]".to_owned(),
            "Ann bob",
        ),
        (
            "not (emails[type eq \"home\" and value eq \"bob@work.example\"])".to_owned(),
            "Ann cem owner",
        ),
    ] {
        assert_eq!(users(scim, &filter).await, names, "{filter}");
    }

    let groups = async |filter: &str| {
        found(scim, "/Groups", filter, "displayName")
            .await
            .join(" ")
    };
    let (role, be) = ("CB/acme/ROLE/Analyst", "CB/acme/BE/EU GmbH");
    for (filter, names) in [
        (
            format!("displayName eq \"{}\"", role.to_lowercase()),
            role.to_owned(),
        ),
        ("displayName co \"/be/\"".to_owned(), be.to_owned()),
        (format!("members.value eq \"{bob}\""), role.to_owned()),
        (format!("members eq \"{ann}\""), format!("{be} {role}")),
        (format!("members[value eq \"{bob}\"]"), role.to_owned()),
        (format!("members.value ne \"{bob}\""), be.to_owned()),
        (
            format!("members.$ref eq \"{}/Users/{bob}\"", scim.url),
            role.to_owned(),
        ),
        (format!("id eq \"{analysts}\""), role.to_owned()),
        (
            format!("{GROUP}:displayName sw \"CB\" and members pr"),
            format!("{be} {role}"),
        ),
        (
            "meta.resourceType eq \"Group\" and externalId pr".to_owned(),
            String::new(),
        ),
        (
            "members.type eq \"User\"".to_owned(),
            format!("{be} {role}"),
        ),
    ] {
        assert_eq!(groups(&filter).await, names, "{filter}");
    }

    let shown = scim.get(&format!("/Users/{ann}")).await.is(200).body;
    let created = shown["meta"]["created"].as_str().unwrap();
    let names = |filter: String| async move { users(scim, &filter).await };
    assert_eq!(names(format!("meta.created eq \"{created}\"")).await, "Ann");
    assert_eq!(
        names(format!("meta.created gt \"{created}\"")).await,
        "bob cem"
    );
    assert_eq!(
        names(format!("meta.created le \"{created}\"")).await,
        "Ann owner"
    );
    let elsewhere = "2011-05-13T04:42:34+14:00";
    let all = "Ann bob cem owner";
    assert_eq!(
        names(format!("meta.lastModified gt \"{elsewhere}\"")).await,
        all
    );
    assert_eq!(
        names(format!("meta.lastModified lt \"{elsewhere}\"")).await,
        ""
    );
}

/// Conformance: 52.
#[tokio::test(flavor = "multi_thread")]
async fn every_attribute_of_discovery_can_be_asked_for() {
    let world = World::start().await;
    let acme = world.acme().await;
    populate(&acme).await;
    let scim = &acme.scim;
    let types = scim.get("/ResourceTypes").await.is(200).body;
    for entry in types["Resources"].as_array().unwrap() {
        let path = entry["endpoint"].as_str().unwrap();
        let core = entry["schema"].as_str().unwrap();
        let extensions = entry["schemaExtensions"].as_array();
        let urns = extensions.into_iter().flatten();
        let urns = urns.map(|one| one["schema"].as_str().unwrap());
        for urn in urns.chain([core]) {
            let schema = scim.get(&format!("/Schemas/{urn}")).await.is(200).body;
            for attribute in schema["attributes"].as_array().unwrap() {
                let name = attribute["name"].as_str().unwrap();
                ask(scim, path, &format!("{urn}:{name}"), attribute).await;
                for part in attribute["subAttributes"].as_array().into_iter().flatten() {
                    let sub = part["name"].as_str().unwrap();
                    ask(scim, path, &format!("{urn}:{name}.{sub}"), part).await;
                }
            }
        }
    }
}

/// Asks with each operator that the attribute's type has, and with one that it has not.
async fn ask(scim: &Scim, path: &str, name: &str, attribute: &Value) {
    let (fits, unfit): (&[&str], &str) = match attribute["type"].as_str().unwrap() {
        "complex" => (&["pr"], "gt true"),
        "boolean" => (&["pr", "eq true", "ne false", "eq null"], "gt true"),
        "dateTime" => (&["pr", "ge \"2011-05-13T04:42:34Z\""], "co \"2011\""),
        "binary" => (&["pr", "eq \"QQ==\"", "ne \"QQ==\""], "gt \"QQ==\""),
        _ => (
            &[
                "pr", "eq \"x\"", "ne \"x\"", "co \"x\"", "sw \"x\"", "ew \"x\"", "gt \"x\"",
                "le \"x\"",
            ],
            "eq 1",
        ),
    };
    let never_shown = attribute["returned"] == "never";
    // What a password is can't be asked; of what is not kept the answer is known.
    let withheld = attribute["name"] == "password";
    for test in fits {
        let filter = encode(&format!("{name} {test}"));
        let answer = scim.get(&format!("{path}?count=1&filter={filter}")).await;
        let expected = if withheld { 400 } else { 200 };
        assert_eq!(
            answer.status.as_u16(),
            expected,
            "{name} {test}: {:#}",
            answer.body
        );
        if attribute["type"] != "complex" && !never_shown {
            let sorted = scim.get(&format!("{path}?count=2&sortBy={name}")).await;
            assert_eq!(sorted.status.as_u16(), 200, "{name}: {:#}", sorted.body);
        }
    }
    let filter = encode(&format!("{name} {unfit}"));
    scim.get(&format!("{path}?filter={filter}"))
        .await
        .error(400, "invalidFilter");
}

/// Conformance: 13, 51, 53, 55, 56.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_finds_nobody() {
    let world = World::start().await;
    let acme = world.acme().await;
    let deep = |levels: usize| {
        let mut text = "title pr".to_owned();
        for level in 0..levels {
            let word = ["and", "or"][level % 2];
            text = format!("(locale pr {word} {text})");
        }
        text
    };
    for filter in [
        "",
        "userName",
        "userName eq",
        "userName foo \"x\"",
        "userName eq x",
        "userName eq 'x'",
        "userName eq \"a\" foo",
        "userName eq \"\\ud800\"",
        "nope eq \"x\"",
        "password eq \"x\"",
        "meta.version eq \"1\"",
        "name eq \"x\"",
        "active gt true",
        "meta.created gt \"yesterday\"",
        &"(".repeat(70),
        &deep(49),
    ] {
        let answer = acme
            .scim
            .get(&format!("/Users?filter={}", encode(filter)))
            .await;
        let detail = answer.error(400, "invalidFilter");
        assert!(!detail.is_empty());
    }
    // As deep as it may be, and as many conditions.
    assert_eq!(users(&acme.scim, &deep(48)).await, "");
    // Too long for an address, not for a search.
    let search = |filter: String| {
        let urn = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";
        json!({ "schemas": [urn], "filter": filter })
    };
    let many = search(vec!["title pr"; 999].join(" or "));
    let answer = acme.scim.post("/Users/.search", &many).await.is(200);
    assert_eq!(answer.body["totalResults"], 0);
    for filter in [
        vec!["title pr"; 1001].join(" or "),
        format!("title eq \"{}\"", "x".repeat(33_000)),
    ] {
        let answer = acme.scim.post("/Users/.search", &search(filter)).await;
        answer.error(400, "invalidFilter");
    }
    assert_eq!(
        found(&acme.scim, "/Users", "userName pr", "userName").await,
        [OWNER]
    );
}
