//! PATCH.

use identity_tests::scim::{Answer, ENTERPRISE, PATCH_OP, Scim, USER, user};
use reqwest::Method;
use serde_json::{Value, json};

use super::Place;

/// A user with a title, a name and two addresses.
async fn ann(scim: &Scim) -> String {
    let mut body = user("ann@acme.example");
    body["title"] = json!("T");
    body["emails"] = json!([
        {"value": "ann@work.example", "type": "work", "primary": true},
        {"value": "ann@home.example", "type": "home"},
    ]);
    format!("/Users/{}", scim.post("/Users", &body).await.is(201).id())
}

/// Conformance: 73, 75, 77, 82, 83, 84.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_patch_may_not_do_is_refused_by_its_type() {
    let place = Place::new().await;
    let scim = place.scim();
    let path = ann(scim).await;
    let before = scim.get(&path).await.is(200);
    for (operations, scim_type) in [
        (json!([]), "invalidSyntax"),
        (
            json!([{"op": "move", "path": "title", "value": "x"}]),
            "invalidSyntax",
        ),
        (json!([{"op": "remove"}]), "noTarget"),
        (
            json!([{"op": "replace", "path": "emails[type eq \"pager\"]", "value": {"value": "x"}}]),
            "noTarget",
        ),
        (
            json!([{"op": "remove", "path": "emails[type eq \"pager\"]"}]),
            "noTarget",
        ),
        (
            json!([{"op": "add", "path": "id", "value": "x"}]),
            "mutability",
        ),
        (
            json!([{"op": "replace", "path": "meta.created", "value": "x"}]),
            "mutability",
        ),
        (
            json!([{"op": "add", "path": "groups", "value": [{"value": "x"}]}]),
            "mutability",
        ),
        (json!([{"op": "remove", "path": "userName"}]), "mutability"),
        (json!([{"op": "remove", "path": "id"}]), "mutability"),
        (
            json!([{"op": "replace", "path": "a b", "value": "x"}]),
            "invalidPath",
        ),
        (
            json!([{"op": "replace", "path": "emails[", "value": "x"}]),
            "invalidFilter",
        ),
        (
            json!([{"op": "replace", "path": "emails[type foo \"x\"].value", "value": "x"}]),
            "invalidFilter",
        ),
        (
            json!([{"op": "replace", "path": "nope", "value": "x"}]),
            "invalidPath",
        ),
        (
            json!([{"op": "replace", "path": "name.nope", "value": "x"}]),
            "invalidPath",
        ),
        (
            json!([{"op": "replace", "path": "title", "value": 7}]),
            "invalidValue",
        ),
        (json!([{"op": "replace", "value": "x"}]), "invalidValue"),
        (
            json!([{"op": "replace", "path": "profileUrl", "value": "no uri"}]),
            "invalidValue",
        ),
    ] {
        let answer = scim.patch(&path, operations.clone()).await;
        assert_eq!(answer.status.as_u16(), 400, "{operations}");
        assert_eq!(
            answer.body["scimType"], scim_type,
            "{operations}: {:#}",
            answer.body
        );
        // What stood before it in the same request is undone.
        let Value::Array(mut all) = operations.clone() else {
            unreachable!()
        };
        if all.is_empty() {
            continue;
        }
        all.insert(
            0,
            json!({"op": "replace", "path": "title", "value": "other"}),
        );
        scim.patch(&path, json!(all)).await;
        let after = scim.get(&path).await.is(200);
        assert_eq!(after.body, before.body, "{operations}");
    }
    // Without a path the same is passed over, in whatever case `op` and the list are written.
    let body = json!({"schemas": [PATCH_OP], "operations": [
        {"op": "Replace", "value": {"id": "x", "meta": {}, "groups": [], "nobody": 1, "title": "New"}},
    ]});
    let done = scim.with_body(Method::PATCH, &path, &body).await.is(200);
    assert_eq!(done.body["title"], "New");
    assert_eq!(done.body["id"], before.body["id"]);
    let own = json!([{"op": "replace", "value": {USER: {"title": "Newer"}}}]);
    assert_eq!(scim.patch(&path, own).await.is(200).body["title"], "Newer");
    let password = json!([{"op": "add", "path": "password", "value": "never shown 7"}]);
    let done = scim.patch(&path, password).await.is(200);
    assert!(!done.body.to_string().contains("never shown"));
    // Who is a member stays that member.
    let id = done.id();
    let group = scim.make_group("CB/acme/ROLE/Analyst", &[&id]).await;
    let other = json!([{"op": "replace", "path": format!("members[value eq \"{id}\"].value"), "value": "x"}]);
    let group = format!("/Groups/{group}");
    scim.patch(&group, other).await.error(400, "mutability");
    let before = scim.get(&group).await.is(200).body;
    let same = json!([{"op": "replace", "path": format!("members[value eq \"{id}\"]"), "value": {"value": id}}]);
    scim.patch(&group, same).await.is(204);
    assert_eq!(scim.get(&group).await.is(200).body, before);
    let name = json!([{"op": "remove", "path": "displayName"}]);
    scim.patch(&group, name).await.error(400, "mutability");
}

/// Conformance: 74, 27.
#[tokio::test(flavor = "multi_thread")]
async fn a_patch_is_done_in_order_or_not_at_all() {
    let place = Place::new().await;
    let scim = place.scim();
    let path = ann(scim).await;
    let before = scim.get(&path).await.is(200);
    let failing = json!([
        {"op": "replace", "path": "title", "value": "other"},
        {"op": "add", "path": "emails", "value": [{"value": "x@y", "type": "other"}]},
        {"op": "remove", "path": "emails[type eq \"pager\"]"},
    ]);
    scim.patch(&path, failing).await.error(400, "noTarget");
    let after = scim.get(&path).await.is(200);
    assert_eq!(
        (&after.body, after.header("etag")),
        (&before.body, before.header("etag"))
    );
    // Each sees what those before it did.
    let steps = json!([
        {"op": "add", "path": "emails", "value": [{"value": "x@y", "type": "other"}]},
        {"op": "replace", "path": "emails[value eq \"x@y\"].display", "value": "seen"},
        {"op": "remove", "path": "emails[type eq \"home\"]"},
        {"op": "replace", "path": "title", "value": "first"},
        {"op": "replace", "path": "title", "value": "last"},
    ]);
    let done = scim.patch(&path, steps).await.is(200);
    assert_eq!(done.body["title"], "last");
    assert_eq!(
        done.body["emails"],
        json!([
            {"value": "ann@work.example", "type": "work", "primary": true},
            {"value": "x@y", "type": "other", "display": "seen"},
        ])
    );
}

async fn emails(scim: &Scim, path: &str, operation: Value) -> Value {
    let body = json!([operation]);
    scim.patch(path, body).await.is(200).body["emails"].clone()
}

/// Conformance: 78, 79, 80, 81, 85, 97.
#[tokio::test(flavor = "multi_thread")]
async fn lists_change_by_what_an_operation_names() {
    let place = Place::new().await;
    let scim = place.scim();
    let path = ann(scim).await;
    let work = json!({"value": "ann@work.example", "type": "work", "primary": true});
    let home = json!({"value": "ann@home.example", "type": "home"});
    let start = json!({"op": "replace", "path": "emails", "value": [work, home]});
    let plain = json!({"value": "ann@work.example", "type": "work", "primary": false});
    let new = json!({"value": "n@x", "type": "other", "primary": true});
    let moved = json!({"value": "ann@home.example", "type": "home", "primary": true});
    for (operation, left) in [
        (
            json!({"op": "add", "path": "emails", "value": home}),
            json!([work, home]),
        ),
        (
            json!({"op": "add", "path": "emails", "value": [new]}),
            json!([plain, home, new]),
        ),
        (
            json!({"op": "add", "value": {"emails": [new]}}),
            json!([plain, home, new]),
        ),
        (
            json!({"op": "replace", "path": "emails", "value": new}),
            json!([new]),
        ),
        (
            json!({"op": "replace", "path": "emails[type eq \"home\"].primary", "value": true}),
            json!([plain, moved]),
        ),
        (
            json!({"op": "replace", "path": "emails[value ew \".example\"].display", "value": "D"}),
            json!([
                {"value": "ann@work.example", "type": "work", "primary": true, "display": "D"},
                {"value": "ann@home.example", "type": "home", "display": "D"},
            ]),
        ),
        (
            json!({"op": "remove", "path": "emails[type eq \"work\" or type eq \"x\"]"}),
            json!([home]),
        ),
        (
            json!({"op": "remove", "path": "emails", "value": [{"value": "ann@home.example"}]}),
            json!([work]),
        ),
        (
            json!({"op": "add", "path": "emails[type eq \"other\"].value", "value": "n@x"}),
            json!([work, home, {"value": "n@x", "type": "other"}]),
        ),
    ] {
        assert_eq!(
            emails(scim, &path, start.clone()).await,
            json!([work, home])
        );
        assert_eq!(
            emails(scim, &path, operation.clone()).await,
            left,
            "{operation}"
        );
    }
    let two = json!([{"op": "add", "path": "emails", "value": [new, moved]}]);
    scim.patch(&path, two).await.error(400, "invalidValue");
    // A single value is replaced, an object merged, and what was not there is there.
    let done = scim
        .patch(
            &path,
            json!([
                {"op": "add", "path": "title", "value": "U"},
                {"op": "replace", "path": "name", "value": {"givenName": "G"}},
                {"op": "replace", "path": "nickName", "value": "N"},
            ]),
        )
        .await
        .is(200);
    assert_eq!(
        (&done.body["title"], &done.body["nickName"]),
        (&json!("U"), &json!("N"))
    );
    assert_eq!(
        done.body["name"],
        json!({"givenName": "G", "familyName": "Family"})
    );
}

/// Conformance: 76, 88.
#[tokio::test(flavor = "multi_thread")]
async fn keys_without_a_path_may_be_dotted_or_qualified() {
    let place = Place::new().await;
    let scim = place.scim();
    let path = ann(scim).await;
    let done = scim
        .patch(
            &path,
            json!([{"op": "Add", "value": {
                "name.familyName": "Lee",
                "urn:ietf:params:scim:schemas:core:2.0:User:nickName": "N",
                format!("{ENTERPRISE}:employeeNumber"): "7",
                ENTERPRISE: {"department": "D"},
                "active": "False",
            }}]),
        )
        .await
        .is(200);
    assert_eq!(
        done.body["name"],
        json!({"givenName": "Given", "familyName": "Lee"})
    );
    assert_eq!(done.body["nickName"], "N");
    assert_eq!(
        done.body[ENTERPRISE],
        json!({"employeeNumber": "7", "department": "D"})
    );
    assert_eq!(done.body["active"], false);
    for wrong in [
        json!({"active": "no"}),
        json!({"active": 1}),
        json!({"title": true}),
    ] {
        let body = json!([{"op": "replace", "value": wrong}]);
        scim.patch(&path, body).await.error(400, "invalidValue");
    }
}

fn is_told(answer: &Answer, path: &str, url: &str) {
    assert!(answer.header("etag").starts_with("W/\""));
    assert_eq!(answer.header("location"), format!("{url}{path}"));
}

/// Conformance: 41, 87, 28.
#[tokio::test(flavor = "multi_thread")]
async fn success_is_a_resource_or_no_content_with_its_tag() {
    let place = Place::new().await;
    let scim = place.scim();
    let user = ann(scim).await;
    let id = user.rsplit('/').next().unwrap();
    let group = format!(
        "/Groups/{}",
        scim.make_group("CB/acme/ROLE/Analyst", &[]).await
    );
    let title = json!([{"op": "replace", "path": "title", "value": "x"}]);
    let whole = scim.patch(&user, title.clone()).await.is(200);
    is_told(&whole, &user, &scim.url);
    assert_eq!(whole.body["userName"], "ann@acme.example");
    let part = scim
        .patch(&format!("{user}?attributes=title"), title)
        .await
        .is(200);
    is_told(&part, &user, &scim.url);
    assert_eq!(
        (part.body.get("userName"), &part.body["title"]),
        (None, &json!("x"))
    );
    let add = json!([{"op": "add", "path": "members", "value": [{"value": id}]}]);
    let none = scim.patch(&group, add.clone()).await.is(204);
    is_told(&none, &group, &scim.url);
    assert_eq!(none.body, Value::Null);
    let part = scim
        .patch(&format!("{group}?attributes=members"), add)
        .await
        .is(200);
    is_told(&part, &group, &scim.url);
    assert_eq!(part.body["members"][0]["value"], id);
    assert_eq!(part.body.get("displayName"), None);
}

/// Conformance: 89, 91, 98.
#[tokio::test(flavor = "multi_thread")]
async fn members_are_users_and_what_is_nobody_is_passed_over_alike() {
    let place = Place::new().await;
    let scim = place.scim();
    let ann = scim.make_user("ann@acme.example").await;
    let group = scim.make_group("CB/acme/ROLE/Analyst", &[]).await;
    let path = format!("/Groups/{group}");
    let nobody = "00000000-0000-7000-8000-000000000000";
    let members = json!([
        {"value": ann, "$ref": null, "display": "Ann"}, {"value": nobody, "type": "User"},
    ]);
    let whole = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": "CB/acme/ROLE/Analyst", "members": members,
    });
    let mut other = whole.clone();
    other["displayName"] = json!("CB/acme/ROLE/Admin");
    for answer in [
        scim.put(&path, &whole).await.is(200),
        scim.patch(
            &path,
            json!([{"op": "replace", "path": "members", "value": members}]),
        )
        .await
        .is(204),
        scim.patch(
            &path,
            json!([{"op": "add", "path": "members", "value": members}]),
        )
        .await
        .is(204),
        scim.post("/Groups", &other).await.is(201),
    ] {
        assert!(
            answer.header("roster-effect").contains("skipped=1"),
            "{:?}",
            answer.headers
        );
        assert_eq!(scim.members(&group).await, std::slice::from_ref(&ann));
    }
    let shown = scim.get(&path).await.is(200).body["members"][0].clone();
    let reference = format!("{}/Users/{ann}", scim.url);
    assert_eq!(
        shown,
        json!({"value": ann, "$ref": reference, "type": "User"})
    );
    // A group, itself included, is no member; nor is what has no form.
    for bad in [
        json!([{"value": group}]),
        json!([{"value": ann, "type": "Group"}]),
        json!([{"value": ann, "$ref": "no uri"}]),
        json!([{"display": "Ann"}]),
    ] {
        let mut body = whole.clone();
        body["members"] = bad.clone();
        scim.put(&path, &body).await.error(400, "invalidValue");
        for op in ["add", "replace"] {
            let patch = json!([{"op": op, "path": "members", "value": bad}]);
            scim.patch(&path, patch).await.error(400, "invalidValue");
        }
    }
    assert_eq!(scim.members(&group).await, std::slice::from_ref(&ann));
}
