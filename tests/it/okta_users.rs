//! Users as Okta pushes them: catalogue apps with PATCH, wizard apps with PUT.

use identity_tests::{
    scim::{Answer, ENTERPRISE, LIST, PATCH_OP, Scim, USER, encode, user},
    world::World,
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// A lookup as Okta sends it.
fn lookup(filter: &str) -> String {
    format!("/Users?filter={}&startIndex=1&count=100", encode(filter))
}

/// Okta's own headers.
fn okta(request: RequestBuilder) -> RequestBuilder {
    request
        .header("accept", "application/scim+json")
        .header("accept-charset", "utf-8")
        .header("user-agent", "Okta SCIM Client 1.0.0")
        .header("content-type", "application/scim+json; charset=utf-8")
}

async fn found(scim: &Scim, filter: &str) -> Vec<String> {
    let list = scim.get(&lookup(filter)).await.is(200);
    let ids = list.body["Resources"].as_array().unwrap().iter();
    let ids: Vec<String> = ids
        .map(|user| user["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(list.body["totalResults"], json!(ids.len()));
    assert_eq!(list.body["itemsPerPage"], json!(ids.len()));
    ids
}

/// What Okta can't do without in every user that it is shown (KB-FAQ, SPEC).
#[track_caller]
fn is_whole(answer: &Answer) {
    let user = &answer.body;
    assert!(user["schemas"].as_array().unwrap().contains(&json!(USER)));
    assert!(user["id"].is_string() && user["active"].is_boolean());
    assert_eq!(user["meta"]["resourceType"], "User");
    assert_eq!(user["meta"]["location"], answer.header("location"));
    assert_eq!(user["meta"]["version"], answer.header("etag"));
    assert!(
        answer
            .header("content-type")
            .starts_with("application/scim+json")
    );
    assert!(user.get("password").is_none(), "{user:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn testing_the_credentials_lists_a_site_that_has_only_its_owner() {
    let world = World::start().await;
    let site = world.bare_site("fresh").await;
    let users = okta(
        site.scim
            .request(Method::GET, "/Users?startIndex=1&count=2"),
    );
    let users = Scim::send(users).await.is(200).body;
    assert_eq!(users["schemas"], json!([LIST]));
    assert_eq!(
        (
            &users["totalResults"],
            &users["startIndex"],
            &users["itemsPerPage"]
        ),
        (&json!(1), &json!(1), &json!(1))
    );
    let owner = &users["Resources"][0];
    assert_eq!(owner["userName"], "owner@fresh.example");
    assert_eq!(
        owner["name"],
        json!({ "givenName": "Olivia", "familyName": "Owner" })
    );
    assert_eq!(owner["emails"][0]["value"], "owner@fresh.example");

    let none = json!({
        "schemas": [LIST], "totalResults": 0, "startIndex": 1, "itemsPerPage": 0, "Resources": [],
    });
    let groups = site.scim.get("/Groups?startIndex=1&count=100").await;
    assert_eq!(groups.is(200).body, none);
    // The bare token, as the template for header authentication sends it, and any case of the scheme.
    for authorization in [
        site.scim_token.clone(),
        format!("bearer {}", site.scim_token),
        format!("BEARER  {}", site.scim_token),
    ] {
        let scim = world.scim("fresh", &authorization);
        let unknown = scim.get(&lookup("userName eq \"nobody@x.example\"")).await;
        assert_eq!(unknown.is(200).body, none);
        scim.make_user(&format!("u{}@x.example", authorization.len()))
            .await;
    }
    // A domain is a DNS label: its case does not matter.
    let shouted = world.scim("FRESH", &site.scim.authorization);
    shouted.get("/Users?startIndex=1&count=2").await.is(200);
}

/// Conformance: 2, 3, 14, 99.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_created_in_either_media_type_and_shown_as_it_was_sent() {
    let world = World::start().await;
    let acme = world.acme().await;
    let types = [
        "application/json",
        "application/scim+json",
        "application/scim+json; charset=utf-8",
        "application/json;charset=UTF-8;v=2",
    ];
    for (number, media_type) in types.into_iter().enumerate() {
        let name = format!("Mixed.Case+{number}@Acme.Example");
        let request = acme
            .scim
            .request(Method::POST, "/Users")
            .header("accept", "application/scim+json; charset=utf-8")
            .header("content-type", media_type)
            .body(user(&name).to_string());
        let made = Scim::send(request).await.is(201);
        is_whole(&made);
        let body = &made.body;
        assert_eq!(body["userName"], name.as_str());
        assert_eq!(
            body["name"],
            json!({ "givenName": "Given", "familyName": "Family" })
        );
        assert_eq!(
            body["emails"],
            json!([{ "value": name, "type": "work", "primary": true }])
        );
        assert_eq!(body["displayName"], "Given Family");
        assert_eq!(body["locale"], "en-US");
        assert_eq!(body["externalId"], format!("00u{name}"));
        assert_eq!(body["active"], true);
        assert_eq!(body["meta"]["created"], body["meta"]["lastModified"]);
        assert_eq!(
            made.header("roster-effect").split(',').next(),
            Some("members=1")
        );

        let path = format!("/Users/{}", made.id());
        let read = Scim::send(okta(acme.scim.request(Method::GET, &path))).await;
        assert_eq!(read.is(200).body, *body);
        // A lookup in another case finds it, and shows it as it is.
        let shouted = lookup(&format!("userName eq \"{}\"", name.to_uppercase()));
        let list = acme.scim.get(&shouted).await.is(200).body;
        assert_eq!(list["Resources"], json!([body]));
    }
    let detail = acme
        .scim
        .post("/Users", &user("mixed.case+0@ACME.example"))
        .await
        .error(409, "uniqueness");
    let first = found(&acme.scim, "userName eq \"mixed.case+0@acme.example\"").await;
    assert!(detail.contains(&first[0]), "{detail}");
}

/// Conformance: 36, 84, 102.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_taken_in_every_form_and_kept_nowhere() {
    const SECRET: &str = "Pa55-canary-word";
    let world = World::start().await;
    let acme = world.acme().await;
    let mut body = user("ann@acme.example");
    body["password"] = SECRET.into();
    body["groups"] = json!([]);
    let made = acme.scim.post("/Users", &body).await.is(201);
    is_whole(&made);
    let path = format!("/Users/{}", made.id());
    let before = world.database.snapshot();
    for operations in [
        json!([{ "op": "replace", "value": { "password": SECRET } }]),
        json!([{ "op": "replace", "path": "password", "value": SECRET }]),
        json!([{ "op": "add", "path": format!("{USER}:password"), "value": SECRET }]),
    ] {
        let answer = acme.scim.patch(&path, operations).await.is(200);
        assert_eq!(answer.body, made.body);
        assert!(answer.header("roster-effect").starts_with("members=0"));
    }
    let mut whole = made.body.clone();
    whole["password"] = SECRET.into();
    let put = acme.scim.put(&path, &whole).await.is(200);
    assert_eq!(put.body, made.body);
    assert_eq!(world.database.snapshot(), before);
    let asked = acme.scim.get(&format!("{path}?attributes=password")).await;
    assert!(asked.is(200).body.get("password").is_none());
    // No table at all has it, nor has a log.
    let tables = world
        .database
        .texts("SELECT tablename::text AS t FROM pg_tables WHERE schemaname = 'public'");
    assert!(tables.len() > 10);
    for table in tables {
        let rows =
            format!("SELECT count(*) AS n FROM \"{table}\" x WHERE x::text LIKE '%{SECRET}%'");
        assert_eq!(world.database.number(&rows), 0, "{table}");
    }
    assert!(!world.log().contains(SECRET));
}

/// Conformance: 132.
#[tokio::test(flavor = "multi_thread")]
async fn an_existing_user_is_found_read_and_put_under_the_same_id() {
    let world = World::start().await;
    let acme = world.acme().await;
    // Made over gRPC and not by Okta, and inactive.
    let seeded = world.database.seed_members(&acme.id, 2);
    let id = &seeded[0];
    let name = world.database.texts(&format!(
        "SELECT user_name AS t FROM members WHERE member_id = '{id}'"
    ));
    let path = format!("/Users/{id}");
    let off = json!([{ "op": "replace", "value": { "active": false } }]);
    let off = acme.scim.patch(&path, off).await.is(200);
    is_whole(&off);
    assert_eq!(off.body["active"], false);

    let filter = format!("userName eq \"{}\"", name[0]);
    assert_eq!(found(&acme.scim, &filter).await, [id.as_str()]);
    let read = acme.scim.get(&path).await.is(200);
    assert_eq!(read.body["active"], false);
    // Okta adopts: its whole body over ours.
    let mut whole = read.body.clone();
    for (key, value) in user(&name[0]).as_object().unwrap() {
        whole[key] = value.clone();
    }
    for _ in 0..2 {
        let put = acme.scim.put(&path, &whole).await.is(200);
        is_whole(&put);
        assert_eq!(put.id(), *id);
        assert_eq!(put.body["active"], true);
        assert_eq!(put.body["name"]["givenName"], "Given");
        assert_eq!(put.body["externalId"], whole["externalId"]);
    }
    assert_eq!(found(&acme.scim, &filter).await, [id.as_str()]);
    acme.scim
        .post("/Users", &user(&name[0]))
        .await
        .error(409, "uniqueness");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_kinds_of_app_deactivate_and_reactivate() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let path = format!("/Users/{ann}");
    let analysts = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    // The catalogue app, as Okta's own reference has the body.
    for (active, roles) in [(false, vec![]), (false, vec![]), (true, vec!["Analyst"])] {
        let operations = json!([{ "op": "replace", "value": { "active": active } }]);
        let body = json!({ "schemas": [PATCH_OP], "Operations": operations });
        let request = okta(acme.scim.request(Method::PATCH, &path)).body(body.to_string());
        let answer = Scim::send(request).await.is(200);
        is_whole(&answer);
        assert_eq!(answer.body["active"], active);
        assert_eq!(acme.rpc.roles("ann@acme.example").await, roles);
        // An inactive user stays in sight, with its groups.
        let read = acme.scim.get(&path).await.is(200);
        assert_eq!(read.body["active"], active);
        assert_eq!(read.body["groups"][0]["value"], analysts.as_str());
        assert_eq!(
            found(&acme.scim, "userName eq \"ann@acme.example\"").await,
            [ann.as_str()]
        );
    }
    // The wizard app: GET, then PUT of the whole.
    for (active, roles) in [(false, vec![]), (true, vec!["Analyst"])] {
        let mut whole = acme.scim.get(&path).await.is(200).body;
        whole["active"] = active.into();
        let put = acme.scim.put(&path, &whole).await.is(200);
        assert_eq!(put.body["active"], active);
        assert_eq!(acme.rpc.roles("ann@acme.example").await, roles);
    }
    // Who does not say whether the user is active does not change it.
    let mut whole = acme.scim.get(&path).await.is(200).body;
    whole.as_object_mut().unwrap().remove("active");
    acme.scim
        .patch(
            &path,
            json!([{ "op": "replace", "value": { "active": false } }]),
        )
        .await
        .is(200);
    assert_eq!(
        acme.scim.put(&path, &whole).await.is(200).body["active"],
        false
    );
}

/// A user with everything in it.
fn full_user(name: &str) -> Value {
    let mut body = user(name);
    for (key, value) in [
        (
            "name",
            json!({ "formatted": "Ms. Ann B. Clark Jr.", "givenName": "Ann", "middleName": "B.",
            "familyName": "Clark", "honorificPrefix": "Ms.", "honorificSuffix": "Jr." }),
        ),
        ("nickName", json!("Annie")),
        ("profileUrl", json!("https://people.example/ann")),
        ("title", json!("Head of Billing")),
        ("userType", json!("Employee")),
        ("preferredLanguage", json!("de-CH")),
        ("timezone", json!("Europe/Zurich")),
        (
            "emails",
            json!([{ "value": "a@one.example", "type": "work" },
            { "value": "A@two.example", "type": "home", "primary": true, "display": "Home" }]),
        ),
        (
            "phoneNumbers",
            json!([{ "value": "+41 44 000", "type": "mobile" }]),
        ),
        ("ims", json!([{ "value": "ann", "type": "xmpp" }])),
        (
            "photos",
            json!([{ "value": "https://people.example/ann.jpg", "type": "photo" }]),
        ),
        (
            "addresses",
            json!([{ "streetAddress": "Weg 1", "locality": "Zürich", "region": "ZH",
            "postalCode": "8001", "country": "CH", "type": "work", "formatted": "Weg 1\nZürich",
            "primary": true }]),
        ),
        (
            "x509Certificates",
            json!([{ "value": "MIIB", "type": "signing" }]),
        ),
        (
            ENTERPRISE,
            json!({ "employeeNumber": "7", "costCenter": "C", "organization": "O",
            "division": "D", "department": "P", "manager": { "value": "m-1",
            "displayName": "Max" } }),
        ),
    ] {
        body[key] = value;
    }
    body["schemas"] = json!([USER, ENTERPRISE]);
    body
}

/// Conformance: 27, 72.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_of_our_own_get_changes_nothing() {
    let world = World::start().await;
    let acme = world.acme().await;
    let full = acme
        .scim
        .post("/Users", &full_user("Full@acme.example"))
        .await
        .is(201);
    for (key, value) in full_user("Full@acme.example").as_object().unwrap() {
        match key.as_str() {
            "password" | "groups" | "schemas" => {}
            // The display name of a manager is ours to give.
            ENTERPRISE => assert_eq!(full.body[key]["manager"]["value"], "m-1"),
            _ => assert_eq!(full.body[key], *value, "{key}"),
        }
    }
    let bare = json!({ "schemas": [USER], "userName": "bare@acme.example" });
    let bare = acme.scim.post("/Users", &bare).await.is(201).id();
    let owner = found(&acme.scim, "userName eq \"owner@acme.example\"").await;
    acme.scim.make_group("CB/acme/ROLE/Analyst", &[&bare]).await;
    acme.scim.make_group("CB/acme/BE/EU GmbH", &[&bare]).await;
    let before = world.database.snapshot();
    for id in [&full.id(), &bare, &owner[0]] {
        let path = format!("/Users/{id}");
        let read = acme.scim.get(&path).await.is(200);
        let mut sent = read.body.clone();
        let put = acme.scim.put(&path, &sent).await.is(200);
        assert_eq!(put.body, read.body);
        assert_eq!(put.header("etag"), read.header("etag"));
        assert_eq!(
            put.header("roster-effect"),
            "members=0, skipped=0, gained=0, lost=0"
        );
        // With what Okta and others add to it, and with every read-only value turned around.
        sent["unknown"] = json!({ "deep": [{ "er": 1 }], "x": null });
        sent["urn:okta:custom:user:1.0"] = json!({ "shoe": 44 });
        sent["schemas"] = json!([USER, "urn:okta:custom:user:1.0", "urn:what:ever"]);
        sent["id"] = "another".into();
        sent["meta"] = json!({ "resourceType": "Group", "created": "1970-01-01T00:00:00Z" });
        sent["groups"] = json!([{ "value": "g" }]);
        sent["urn:roster:params:scim:schemas:extension:access:2.0:User"] =
            json!({ "reach": "all" });
        let put = acme.scim.put(&path, &sent).await.is(200);
        assert_eq!(put.body, read.body);
        assert_eq!(acme.scim.get(&path).await.is(200).body, read.body);
    }
    assert_eq!(world.database.snapshot(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_change_is_a_put_of_our_get_with_the_change() {
    let world = World::start().await;
    let acme = world.acme().await;
    let made = acme
        .scim
        .post("/Users", &full_user("ann@acme.example"))
        .await
        .is(201);
    let path = format!("/Users/{}", made.id());
    let mut sent = made.body.clone();
    sent["name"]["givenName"] = "Anna".into();
    sent["title"] = "".into();
    sent["nickName"] = Value::Null;
    sent["phoneNumbers"] = json!([{ "value": "", "type": "mobile" }]);
    sent["ims"] = json!([]);
    sent[ENTERPRISE]["department"] = "Sales".into();
    sent[ENTERPRISE]["costCenter"] = "".into();
    let put = acme.scim.put(&path, &sent).await.is(200);
    assert_eq!(put.body["name"]["givenName"], "Anna");
    assert_eq!(put.body["name"]["familyName"], "Clark");
    for gone in ["title", "nickName", "phoneNumbers", "ims"] {
        assert!(put.body.get(gone).is_none(), "{gone}: {:#}", put.body);
    }
    assert_eq!(put.body[ENTERPRISE]["department"], "Sales");
    assert!(put.body[ENTERPRISE].get("costCenter").is_none());
    assert!(put.body["meta"]["lastModified"].as_str() > made.body["meta"]["lastModified"].as_str());
    assert_eq!(put.body["meta"]["created"], made.body["meta"]["created"]);
    assert_ne!(put.header("etag"), made.header("etag"));
    assert_eq!(acme.scim.get(&path).await.is(200).body, put.body);
    // A new user name, the same id; the e-mail addresses stay.
    let mut sent = put.body.clone();
    sent["userName"] = "Ann.New@acme.example".into();
    let put = acme.scim.put(&path, &sent).await.is(200);
    assert_eq!(put.id(), made.id());
    assert_eq!(put.body["userName"], "Ann.New@acme.example");
    assert_eq!(put.body["emails"], made.body["emails"]);
    assert_eq!(
        found(&acme.scim, "userName eq \"ann@acme.example\"").await,
        [""; 0]
    );
    acme.scim.make_user("ann@acme.example").await;
    // What the whole leaves out is gone; what is not there can't be taken.
    let least = json!({ "schemas": [USER], "userName": "Ann.New@acme.example" });
    let put = acme.scim.put(&path, &least).await.is(200);
    for gone in [
        "name",
        "title",
        "displayName",
        "externalId",
        "addresses",
        ENTERPRISE,
    ] {
        assert!(put.body.get(gone).is_none(), "{gone}");
    }
    assert_eq!(put.body["schemas"].as_array().unwrap().len(), 2);
    assert_eq!(
        put.body["emails"],
        json!([{ "value": "Ann.New@acme.example", "type": "work", "primary": true }])
    );
    let taken = json!({ "schemas": [USER], "userName": "ANN@acme.example" });
    acme.scim.put(&path, &taken).await.error(409, "uniqueness");
    acme.scim
        .put(&format!("/Users/{}", uuid::Uuid::new_v4()), &least)
        .await
        .error(404, "");
}

/// Conformance: 22.
#[tokio::test(flavor = "multi_thread")]
async fn empty_values_are_no_values_and_no_error() {
    let world = World::start().await;
    let acme = world.acme().await;
    let mut body = user("ann@acme.example");
    for key in [
        "displayName",
        "locale",
        "title",
        "externalId",
        "nickName",
        "timezone",
        "profileUrl",
    ] {
        body[key] = "".into();
    }
    body["name"] = json!({ "givenName": "", "familyName": "Clark", "middleName": null });
    body["emails"] = json!([{ "value": "", "type": "work", "primary": true }]);
    body["addresses"] = json!([{ "type": "work", "locality": "" }]);
    body[ENTERPRISE] = json!({ "department": "", "manager": { "value": "" } });
    let made = acme.scim.post("/Users", &body).await.is(201);
    let shown = made.body.as_object().unwrap();
    for gone in [
        "displayName",
        "locale",
        "title",
        "externalId",
        "addresses",
        ENTERPRISE,
    ] {
        assert!(!shown.contains_key(gone), "{gone}");
    }
    assert_eq!(shown["name"], json!({ "familyName": "Clark" }));
    assert_eq!(shown["emails"][0]["value"], "ann@acme.example");
    let path = format!("/Users/{}", made.id());
    let emptied = json!([{ "op": "replace", "value": { "name.familyName": "", "title": "" } },
        { "op": "replace", "path": "displayName", "value": "" }]);
    let patched = acme.scim.patch(&path, emptied).await.is(200);
    assert!(patched.body.get("name").is_none());
    // A user name is needed.
    let before = world.database.snapshot();
    for name in [json!(""), json!(null), json!("  ")] {
        let mut body = user("x@y.example");
        body["userName"] = name.clone();
        let detail = acme
            .scim
            .post("/Users", &body)
            .await
            .error(400, "invalidValue");
        assert!(detail.starts_with("userName"), "{detail}");
        let detail = acme.scim.put(&path, &body).await.error(400, "invalidValue");
        assert!(detail.starts_with("userName"), "{detail}");
    }
    assert_eq!(world.database.snapshot(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalogue_app_that_patches_profiles_changes_just_what_it_names() {
    let world = World::start().await;
    let acme = world.acme().await;
    let made = acme
        .scim
        .post("/Users", &full_user("ann@acme.example"))
        .await
        .is(201);
    let path = format!("/Users/{}", made.id());
    let mut expected = made.body.clone();
    let operations = json!([
        { "op": "replace", "value": { "id": made.id(), "schemas": [USER], "meta": {}, "groups": [],
            "title": "Chief", "name": { "givenName": "Anna" }, "active": true, "password": "pw-x",
            "someday": { "x": 1 } } },
        { "op": "Replace", "path": "emails[type eq \"work\"].value", "value": "new@one.example" },
        { "op": "add", "path": "phoneNumbers", "value": [{ "value": "2", "type": "fax" }] },
        { "op": "remove", "path": "ims" },
        { "op": "add", "value": { format!("{ENTERPRISE}:department"): "Sales" } },
    ]);
    let patched = acme.scim.patch(&path, operations.clone()).await.is(200);
    expected["title"] = "Chief".into();
    expected["name"]["givenName"] = "Anna".into();
    expected["emails"][0]["value"] = "new@one.example".into();
    expected["phoneNumbers"] =
        json!([made.body["phoneNumbers"][0], { "value": "2", "type": "fax" }]);
    expected.as_object_mut().unwrap().remove("ims");
    expected[ENTERPRISE]["department"] = "Sales".into();
    expected["meta"] = patched.body["meta"].clone();
    assert_eq!(patched.body, expected);
    let before = world.database.snapshot();
    let again = json!([operations[0], operations[2]]);
    let again = acme.scim.patch(&path, again).await.is(200);
    assert_eq!(again.header("etag"), patched.header("etag"));
    // All or nothing.
    for (wrong, scim_type) in [
        (
            json!({ "op": "replace", "path": "id", "value": "x" }),
            "mutability",
        ),
        (
            json!({ "op": "replace", "path": "groups", "value": [] }),
            "mutability",
        ),
        (json!({ "op": "remove", "path": "userName" }), "mutability"),
        (json!({ "op": "remove" }), "noTarget"),
        (
            json!({ "op": "replace", "path": "emails[type eq", "value": "x" }),
            "invalidFilter",
        ),
        (
            json!({ "op": "replace", "path": "nope..x", "value": "x" }),
            "invalidPath",
        ),
        (
            json!({ "op": "move", "path": "title", "value": "x" }),
            "invalidSyntax",
        ),
        (
            json!({ "op": "replace", "path": "active", "value": "perhaps" }),
            "invalidValue",
        ),
        (
            json!({ "op": "replace", "value": { "userName": 7 } }),
            "invalidValue",
        ),
        (
            json!({ "op": "replace", "path": "userName", "value": "no address" }),
            "invalidValue",
        ),
    ] {
        let both = json!([{ "op": "replace", "value": { "title": "Lost" } }, wrong]);
        let answer = acme.scim.patch(&path, both).await;
        answer.error(400, scim_type);
    }
    assert_eq!(world.database.snapshot(), before);
}

/// Conformance: 59, 62.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_pages_through_all_users_once_in_a_stable_order() {
    let world = World::start().await;
    let acme = world.acme().await;
    let mut all = world.database.seed_members(&acme.id, 250);
    let owner = found(&acme.scim, "userName eq \"owner@acme.example\"").await;
    all.extend(owner.clone());
    all.sort();
    for round in 0..2 {
        let mut seen = Vec::new();
        loop {
            let start = seen.len() + 1;
            let page = acme
                .scim
                .get(&format!("/Users?startIndex={start}&count=100"))
                .await
                .is(200)
                .body;
            assert_eq!(page["schemas"], json!([LIST]));
            assert_eq!(page["totalResults"], json!(251));
            assert_eq!(page["startIndex"], json!(start));
            let users = page["Resources"].as_array().unwrap();
            assert_eq!(page["itemsPerPage"], json!(users.len()));
            seen.extend(
                users
                    .iter()
                    .map(|user| user["id"].as_str().unwrap().to_owned()),
            );
            if users.len() < 100 {
                break;
            }
            if round == 1 {
                // A change of somebody already seen moves nobody to another page.
                let changed = seen.iter().rfind(|id| **id != owner[0]).unwrap();
                let path = format!("/Users/{changed}");
                let change =
                    json!([{ "op": "replace", "value": { "title": "T", "active": false } }]);
                acme.scim.patch(&path, change).await.is(200);
            }
        }
        let mut sorted = seen.clone();
        sorted.sort();
        assert_eq!(sorted, all);
    }
    for (query, start, items) in [
        ("count=0", 1, 0),
        ("count=-1", 1, 0),
        ("startIndex=0&count=1", 1, 1),
        ("startIndex=-7&count=1", 1, 1),
        ("startIndex=251&count=100", 251, 1),
        ("startIndex=252&count=100", 252, 0),
        ("startIndex=99999999999&count=1", 99_999_999_999_i64, 0),
        ("count=100000", 1, 251),
        ("startIndex=1&count=2&", 1, 2),
    ] {
        let page = acme.scim.get(&format!("/Users?{query}")).await.is(200).body;
        assert_eq!(page["totalResults"], json!(251), "{query}");
        assert_eq!(page["startIndex"], json!(start), "{query}");
        assert_eq!(page["itemsPerPage"], json!(items), "{query}");
        assert_eq!(
            page["Resources"].as_array().unwrap().len(),
            items,
            "{query}"
        );
    }
    for query in ["startIndex=x", "count=1.5", "count="] {
        acme.scim
            .get(&format!("/Users?{query}"))
            .await
            .error(400, "invalidValue");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_find_by_each_attribute_that_okta_asks_for_joined_with_and() {
    let world = World::start().await;
    let acme = world.acme().await;
    let mut body = user("ann@acme.example");
    body["externalId"] = "Ext-1".into();
    body["displayName"] = "Ann O'Hara \"AO\" \\ %_".into();
    body["emails"] = json!([{ "value": "Other@Mail.example", "type": "home" },
        { "value": "work@mail.example", "type": "work", "primary": true }]);
    let ann = acme.scim.post("/Users", &body).await.is(201).id();
    let bob = acme.scim.make_user("bob@acme.example").await;
    for (filter, ids) in [
        ("userName eq \"Ann@ACME.example\"", vec![&ann]),
        ("USERNAME Eq \"ann@acme.example\"", vec![&ann]),
        ("externalId eq \"Ext-1\"", vec![&ann]),
        ("externalId eq \"ext-1\"", vec![]),
        (
            "displayName eq \"ann o'hara \\\"ao\\\" \\\\ %_\"",
            vec![&ann],
        ),
        ("emails.value eq \"other@mail.EXAMPLE\"", vec![&ann]),
        ("emails eq \"work@mail.example\"", vec![&ann]),
        ("emails.value eq \"ann@acme.example\"", vec![]),
        ("emails.value eq \"bob@acme.example\"", vec![&bob]),
        ("userName eq \"%\"", vec![]),
        ("userName eq \"' OR 1=1 --\"", vec![]),
        ("userName eq \"\\u0000\"", vec![]),
        ("externalId eq \"a\\u0000b\"", vec![]),
        ("id eq \"not-an-id\"", vec![]),
    ] {
        let ids: Vec<String> = ids.into_iter().cloned().collect();
        assert_eq!(found(&acme.scim, filter).await, ids, "{filter}");
    }
    assert_eq!(
        found(&acme.scim, &format!("id eq \"{ann}\"")).await,
        [ann.as_str()]
    );
    let both = format!(
        "userName eq \"ann@acme.example\" and (id eq \"{ann}\" and externalId eq \"Ext-1\")"
    );
    assert_eq!(found(&acme.scim, &both).await, [ann.as_str()]);
    let neither = format!("userName eq \"ann@acme.example\" and id eq \"{bob}\"");
    assert_eq!(found(&acme.scim, &neither).await, [""; 0]);
    // OneLogin's way of writing a query.
    let plus = acme
        .scim
        .get("/Users?filter=userName+eq+%22ann@acme.example%22&");
    assert_eq!(plus.await.is(200).body["totalResults"], 1);
    // What is not understood is never answered with everybody.
    for filter in [
        "nope eq \"x\"",
        "userName eq",
        "userName eq 'x'",
        "",
        "password eq \"x\"",
        "userName eq \"a\" foo",
    ] {
        let detail = acme
            .scim
            .get(&lookup(filter))
            .await
            .error(400, "invalidFilter");
        assert!(detail.len() > 60, "{detail}");
    }
}
