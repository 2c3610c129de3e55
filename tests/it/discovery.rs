//! The discovery resources: readable by anybody, and true.

use std::collections::BTreeMap;

use identity_tests::{
    scim::{GROUP, LIST, Scim, USER, group},
    world::{Settings, World},
};
use reqwest::Method;
use serde_json::{Map, Value, json};

async fn list(scim: &Scim, path: &str) -> Vec<Value> {
    let answer = scim.get(path).await.is(200);
    assert_eq!(answer.body["schemas"], json!([LIST]));
    let entries = answer.body["Resources"].as_array().unwrap().clone();
    for counter in ["totalResults", "itemsPerPage"] {
        assert_eq!(answer.body[counter], json!(entries.len()));
    }
    entries
}

/// Conformance: 105, 106, 107, 108.
#[tokio::test(flavor = "multi_thread")]
async fn anybody_may_read_it_and_nobody_may_change_it() {
    let world = World::start().await;
    let acme = world.acme().await;
    // Nobody, a stranger, and somebody at a site that is none: all read the same.
    let callers = [
        world.scim("acme", ""),
        world.scim("acme", "Bearer nonsense"),
        acme.scim.clone(),
    ];
    for caller in &callers {
        let config = caller.get("/ServiceProviderConfig").await.is(200);
        assert!(
            config
                .header("content-type")
                .starts_with("application/scim+json")
        );
        assert_eq!(config.trace_id().len(), 32);
        for (path, count) in [("/ResourceTypes", 4), ("/Schemas", 9)] {
            let entries = list(caller, path).await;
            assert_eq!(entries.len(), count, "{path}");
            assert_eq!(
                list(
                    caller,
                    &format!("{path}/?startIndex=2&count=0&attributes=id&sortBy=id")
                )
                .await,
                entries
            );
            for entry in entries {
                let location = entry["meta"]["location"].as_str().unwrap();
                let single = location.strip_prefix(&acme.scim.url).unwrap();
                assert_eq!(caller.get(single).await.is(200).body, entry);
                let id = entry["id"].as_str().unwrap();
                let coded = format!("{path}/{}", id.to_uppercase().replace(':', "%3A"));
                assert_eq!(caller.get(&coded).await.is(200).body, entry);
            }
            caller.get(&format!("{path}/nothing")).await.error(404, "");
            caller
                .get(&format!("{path}?filter=id+pr"))
                .await
                .error(403, "");
        }
        for path in [
            "/ServiceProviderConfig",
            "/ResourceTypes",
            "/Schemas",
            "/ResourceTypes/User",
        ] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                let answer = caller.with_body(method, path, &json!({})).await;
                assert!(answer.header("allow").contains("GET"), "{path}");
                answer.error(405, "");
            }
            let head = Scim::send(caller.request(Method::HEAD, path)).await.is(200);
            assert_eq!(head.body, Value::Null);
        }
    }
    // A site that is none is not told from one that is.
    let nowhere = world
        .scim("nowhere", "")
        .get("/ServiceProviderConfig")
        .await
        .is(200);
    let here = callers[0].get("/ServiceProviderConfig").await.is(200);
    let there = nowhere.body.to_string().replace("/nowhere/", "/acme/");
    assert_eq!(there, here.body.to_string());
}

/// Conformance: 104, 109, 122.
#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_tells_the_truth() {
    let world = World::start().await;
    let acme = world.acme().await;
    let config = acme.scim.get("/ServiceProviderConfig").await.is(200).body;
    assert_eq!(
        config["schemas"],
        json!(["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"])
    );
    let supported = |feature: &str| config[feature]["supported"].as_bool().unwrap();
    for number in ["maxOperations", "maxPayloadSize"] {
        assert!(config["bulk"][number].is_i64());
    }
    let id = acme.scim.make_user("ann@acme.example").await;
    let path = format!("/Users/{id}");

    assert!(supported("patch"));
    acme.scim
        .patch(
            &path,
            json!([{ "op": "replace", "path": "title", "value": "T" }]),
        )
        .await
        .is(200);

    assert!(supported("bulk"));
    acme.scim
        .post("/Bulk", &json!({}))
        .await
        .error(400, "invalidSyntax");
    acme.scim.post("/Me", &json!({})).await.error(501, "");

    assert!(supported("etag"));
    let stale = acme
        .scim
        .request(Method::DELETE, &path)
        .header("if-match", "W/\"1\"");
    Scim::send(stale).await.error(412, "");

    assert!(!supported("changePassword"));
    assert!(supported("sort"));
    let order = async |query: &str| {
        let users = acme.scim.get(&format!("/Users{query}")).await.is(200).body;
        let users = users["Resources"].as_array().unwrap().iter();
        users.map(|user| user["id"].clone()).collect::<Vec<_>>()
    };
    let mut ascending = order("?sortBy=userName&sortOrder=ascending").await;
    let descending = order("?sortBy=userName&sortOrder=descending").await;
    assert_ne!(ascending, descending);
    ascending.reverse();
    assert_eq!(ascending, descending);

    assert!(supported("filter"));
    let most = config["filter"]["maxResults"].as_u64().unwrap();
    world
        .database
        .seed_members(&acme.id, u32::try_from(most).unwrap() + 1);
    let page = acme.scim.get("/Users?count=100000").await.is(200).body;
    assert_eq!(page["Resources"].as_array().unwrap().len() as u64, most);
    assert_eq!(page["totalResults"], json!(most + 3));

    let schemes = config["authenticationSchemes"].as_array().unwrap();
    assert_eq!(schemes.len(), 1);
    assert_eq!(schemes[0]["type"], "oauthbearertoken");
    let bearer = world.scim("acme", &format!("Bearer {}", acme.scim_token));
    bearer.get(&path).await.is(200);
}

/// Conformance: 106, 108.
#[tokio::test(flavor = "multi_thread")]
async fn every_resource_type_is_served_under_a_schema_that_is_listed() {
    let world = World::start().await;
    let acme = world.acme().await;
    let schemas: BTreeMap<String, Value> = list(&acme.scim, "/Schemas")
        .await
        .into_iter()
        .map(|schema| (schema["id"].as_str().unwrap().to_owned(), schema))
        .collect();
    let id = acme.scim.make_user("ann@acme.example").await;
    acme.scim.make_group("CB/acme/ROLE/Analyst", &[&id]).await;
    let mut named = Vec::new();
    for kind in list(&acme.scim, "/ResourceTypes").await {
        assert_eq!(kind["id"], kind["name"]);
        named.push(kind["schema"].as_str().unwrap().to_owned());
        for extension in kind["schemaExtensions"].as_array().into_iter().flatten() {
            assert!(extension["required"].is_boolean());
            named.push(extension["schema"].as_str().unwrap().to_owned());
        }
        let resources = acme
            .scim
            .get(kind["endpoint"].as_str().unwrap())
            .await
            .is(200)
            .body;
        for resource in resources["Resources"].as_array().unwrap() {
            assert_eq!(resource["meta"]["resourceType"], kind["name"]);
            assert!(
                resource["schemas"]
                    .as_array()
                    .unwrap()
                    .contains(&kind["schema"])
            );
        }
    }
    // The schemas of discovery itself describe no resource type.
    for name in ["ResourceType", "Schema", "ServiceProviderConfig"] {
        named.push(format!("urn:ietf:params:scim:schemas:core:2.0:{name}"));
    }
    named.sort();
    assert_eq!(named, schemas.keys().cloned().collect::<Vec<_>>());
    for schema in schemas.values() {
        characterised(schema["attributes"].as_array().unwrap());
    }
}

/// Every attribute says all that RFC 7643 section 7 has of it, in its spelling, and nothing is null.
#[track_caller]
fn characterised(attributes: &[Value]) {
    assert!(!attributes.is_empty());
    for attribute in attributes {
        let one_of = |key: &str, words: &[&str]| {
            let word = attribute[key].as_str().unwrap_or_default();
            assert!(words.contains(&word), "{key}: {attribute:#}");
        };
        one_of(
            "type",
            &[
                "string",
                "boolean",
                "decimal",
                "integer",
                "dateTime",
                "reference",
                "complex",
                "binary",
            ],
        );
        one_of(
            "mutability",
            &["readOnly", "readWrite", "immutable", "writeOnly"],
        );
        one_of("returned", &["always", "never", "default", "request"]);
        if attribute["type"] == "complex" {
            characterised(attribute["subAttributes"].as_array().unwrap());
        } else {
            assert!(attribute["caseExact"].is_boolean(), "{attribute:#}");
            one_of("uniqueness", &["none", "server", "global"]);
        }
        for flag in ["multiValued", "required"] {
            assert!(attribute[flag].is_boolean(), "{attribute:#}");
        }
        for text in ["name", "description"] {
            assert!(
                !attribute[text].as_str().unwrap_or_default().is_empty(),
                "{attribute:#}"
            );
        }
        assert!(
            attribute
                .as_object()
                .unwrap()
                .values()
                .all(|value| !value.is_null())
        );
    }
}

/// A value that the definition allows; none for what a client can't write.
fn example(attribute: &Value) -> Option<Value> {
    if attribute["mutability"] == "readOnly" {
        return None;
    }
    let one = match attribute["type"].as_str().unwrap() {
        "boolean" => json!(true),
        "binary" => json!("AAAA"),
        "reference" => json!("https://example.test/x"),
        "complex" => {
            let parts = attribute["subAttributes"].as_array().unwrap().iter();
            let parts =
                parts.filter_map(|part| Some((part["name"].as_str()?.to_owned(), example(part)?)));
            Value::Object(parts.collect())
        }
        "string" => match attribute["canonicalValues"].as_array() {
            Some(words) => words[0].clone(),
            None => json!(format!("a text for {}", attribute["name"])),
        },
        other => panic!("no example of {other}"),
    };
    Some(if attribute["multiValued"] == true {
        json!([one])
    } else {
        one
    })
}

/// Conformance: 109.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_schemas_say_is_writable_is_kept_and_what_is_shown_they_declare() {
    let world = World::start().await;
    let acme = world.acme().await;
    let schemas = list(&acme.scim, "/Schemas").await;
    let mut body = Map::new();
    let of_user = |schema: &&Value| {
        let id = schema["id"].as_str().unwrap();
        id == USER || id.ends_with(":User")
    };
    for schema in schemas.iter().filter(of_user) {
        let attributes = schema["attributes"].as_array().unwrap().iter();
        let values: Map<String, Value> = attributes
            .filter_map(|attribute| {
                Some((attribute["name"].as_str()?.to_owned(), example(attribute)?))
            })
            .collect();
        if schema["id"] == USER {
            body.extend(values);
        } else if !values.is_empty() {
            body.insert(
                schema["id"].as_str().unwrap().to_owned(),
                Value::Object(values),
            );
        }
    }
    body.insert("userName".to_owned(), json!("ann@acme.example"));
    // What these name must be there: `entitlements.rs` has them.
    body.remove("roles");
    body.remove("entitlements");
    body.insert("schemas".to_owned(), json!([USER]));
    let body = Value::Object(body);
    let made = acme.scim.post("/Users", &body).await.is(201);
    acme.scim
        .post("/Groups", &group("CB/acme/ROLE/Analyst", &[&made.id()]))
        .await
        .is(201);
    let shown = acme
        .scim
        .get(&format!("/Users/{}", made.id()))
        .await
        .is(200)
        .body;
    for (name, value) in body.as_object().unwrap() {
        match name.as_str() {
            "schemas" => {}
            "password" => assert!(shown.get(name).is_none()),
            _ => assert_eq!(shown[name], *value, "{name}"),
        }
    }
    // The other way round: nothing shows that no schema declares.
    let of = |urn: &str| {
        schemas
            .iter()
            .find(|schema| schema["id"] == urn)
            .map(|schema| &schema["attributes"])
    };
    let read = acme.scim.get("/Groups").await.is(200).body;
    for (resource, urn) in [(&shown, USER), (&read["Resources"][0], GROUP)] {
        for (name, value) in resource.as_object().unwrap() {
            match of(name) {
                Some(attributes) => declared(attributes, value),
                None if ["schemas", "id", "externalId", "meta"].contains(&name.as_str()) => {}
                None => declared(of(urn).unwrap(), &json!({ name: value })),
            }
        }
        for urn in resource["schemas"].as_array().unwrap() {
            assert!(of(urn.as_str().unwrap()).is_some(), "{urn}");
        }
    }
}

/// Asserts that all of an object is declared.
#[track_caller]
fn declared(attributes: &Value, value: &Value) {
    for (name, value) in value.as_object().unwrap() {
        let attribute = attributes
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["name"] == *name);
        let attribute = attribute.unwrap_or_else(|| panic!("{name} is declared nowhere"));
        assert_ne!(attribute["returned"], "never", "{name}");
        let elements = match value {
            Value::Array(elements) if attribute["multiValued"] == true => elements.as_slice(),
            one => std::slice::from_ref(one),
        };
        for element in elements {
            match attribute["type"].as_str().unwrap() {
                "complex" => declared(&attribute["subAttributes"], element),
                "boolean" => assert!(element.is_boolean(), "{name}"),
                _ => assert!(element.is_string(), "{name}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_begin_with_the_public_url_whatever_the_request_says() {
    let world = World::with(Settings {
        facade: vec![("ROSTER_PUBLIC_URL", "https://scim.example/x/".to_owned())],
        ..Settings::default()
    })
    .await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    let base = "https://scim.example/x/acme/scim/v2";
    for (path, at) in [
        (format!("/Users/{ann}"), format!("/Users/{ann}")),
        (format!("/Groups/{group}/"), format!("/Groups/{group}")),
        (
            "/ServiceProviderConfig".to_owned(),
            "/ServiceProviderConfig".to_owned(),
        ),
    ] {
        let request = acme
            .scim
            .request(Method::GET, &path)
            .header("host", "other.example")
            .header("x-forwarded-host", "other.example");
        let answer = Scim::send(request).await.is(200);
        let location = format!("{base}{at}");
        assert_eq!(answer.body["meta"]["location"], location);
        assert!(["", location.as_str()].contains(&answer.header("location")));
        assert!(!answer.body.to_string().contains("other.example"));
    }
    let group = acme.scim.get(&format!("/Groups/{group}")).await.body;
    assert_eq!(
        group["members"][0]["$ref"],
        format!("{base}/Users/{ann}").as_str()
    );
    let detail = acme.scim.get("/Nope").await.error(404, "");
    assert!(detail.contains("https://scim.example/x/<domain>/scim/v2"));
}
