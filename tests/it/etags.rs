//! Entity tags, and the conditions that clients make of them.

use identity_proto::v1 as pb;
use identity_tests::{
    rpc::{entity, role},
    scim::{Answer, ENTERPRISE, GROUP, Scim, USER, group},
    world::World,
};
use reqwest::Method;
use serde_json::{Value, json};

/// A request under a condition.
async fn when(
    scim: &Scim,
    method: Method,
    path: &str,
    (header, tag): (&str, &str),
    body: Option<&Value>,
) -> Answer {
    let mut request = scim.request(method, path).header(header, tag);
    if let Some(body) = body {
        request = request
            .header("content-type", "application/scim+json")
            .body(body.to_string());
    }
    Scim::send(request).await
}

fn patch(operations: Value) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations })
}

/// The part of a tag that a write compares.
fn version(tag: &str) -> &str {
    let opaque = tag.strip_prefix("W/\"").unwrap().strip_suffix('"').unwrap();
    opaque.split('-').next().unwrap()
}

/// Conformance: 28, 29, 31.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_has_already_is_not_sent_again() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    for path in [format!("/Users/{ann}"), format!("/Groups/{group}")] {
        let read = acme.scim.get(&path).await.is(200);
        let tag = read.header("etag");
        assert!(tag.starts_with("W/\"") && tag.ends_with('"'), "{tag}");
        assert_eq!(read.body["meta"]["version"], tag);
        let strong = tag.strip_prefix("W/").unwrap();
        let among = format!("\"x\", {tag} , W/\"7-y\"");
        for same in [tag, strong, "*", &among] {
            for method in [Method::GET, Method::HEAD] {
                let answer = when(&acme.scim, method, &path, ("if-none-match", same), None)
                    .await
                    .is(304);
                assert_eq!(answer.header("etag"), tag);
                assert_eq!(answer.body, Value::Null);
                assert_eq!(answer.trace_id().len(), 32);
            }
        }
        for other in ["\"x\"", "", "nonsense", &format!("W/\"{}x\"", version(tag))] {
            let answer = when(
                &acme.scim,
                Method::GET,
                &path,
                ("if-none-match", other),
                None,
            )
            .await;
            assert_eq!(answer.is(200).body, read.body);
        }
        // A part of the whole has the tag of the whole.
        let part = acme
            .scim
            .get(&format!("{path}?attributes=id"))
            .await
            .is(200);
        assert_eq!(part.header("etag"), tag);
    }
    let absent = format!("/Users/{group}");
    when(
        &acme.scim,
        Method::GET,
        &absent,
        ("if-none-match", "*"),
        None,
    )
    .await
    .error(404, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_members_tag_changes_with_whatever_shows_and_its_row_only_with_itself() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let bob = acme.scim.make_user("bob@acme.example").await;
    let custom = acme.make_role("Reviewer", &["invoices.view"]).await;
    let path = format!("/Users/{ann}");
    let row = || {
        world
            .database
            .texts("SELECT members::text || xmin || ctid AS t FROM members ORDER BY 1")
    };
    let before = row();
    let first = acme.scim.get(&path).await.is(200);
    let mut seen = vec![(first.header("etag").to_owned(), first.body.clone())];
    let mut look = async |what: &str| {
        let read = acme.scim.get(&path).await.is(200);
        let tag = read.header("etag").to_owned();
        assert_eq!(version(&tag), version(&seen[0].0), "{what}");
        // Its own version and time have not moved.
        assert_eq!(
            read.body["meta"]["lastModified"], seen[0].1["meta"]["lastModified"],
            "{what}"
        );
        let mut shown = read.body.clone();
        shown["meta"] = Value::Null;
        for (other, body) in &seen {
            let mut body = body.clone();
            body["meta"] = Value::Null;
            assert_eq!(
                *other == tag,
                body == shown,
                "{what}: the tag follows what shows"
            );
        }
        // The list and the single resource agree.
        let list = acme
            .scim
            .get("/Users?filter=userName+eq+%22ann@acme.example%22")
            .await
            .is(200);
        assert_eq!(list.body["Resources"][0]["meta"]["version"], tag, "{what}");
        let is_new = seen.iter().all(|(other, _)| *other != tag);
        seen.push((tag, read.body.clone()));
        is_new
    };
    assert!(!look("nothing").await);
    let analysts = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    assert!(look("a group").await);
    let at = format!("/Groups/{analysts}");
    acme.scim
        .patch(
            &at,
            json!([{ "op": "add", "path": "members", "value": [{ "value": bob }] }]),
        )
        .await
        .is(204);
    assert!(!look("another member of its group").await);
    acme.scim
        .patch(
            &at,
            json!([{ "op": "replace", "path": "displayName", "value": "CB/acme/ROLE/ANALYST" }]),
        )
        .await
        .is(204);
    assert!(look("the group's spelling").await);
    acme.scim
        .patch(
            &at,
            json!([{ "op": "replace", "path": "displayName", "value": "CB/acme/ROLE/Reviewer" }]),
        )
        .await
        .is(204);
    assert!(look("the group's target").await);
    let caller = &acme.rpc.caller;
    let request = pb::UpdateRoleRequest {
        role_id: custom,
        values: Some(pb::Role {
            name: "Auditor".to_owned(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["name".to_owned()],
        }),
        ..Default::default()
    };
    caller
        .roles()
        .update_role(caller.request(request))
        .await
        .unwrap();
    assert!(look("the role's name").await);
    let grant = acme
        .rpc
        .grant("ann@acme.example", entity("EU GmbH"))
        .await
        .unwrap();
    assert!(look("a direct grant").await);
    acme.rpc.end_grant(&grant).await.unwrap();
    assert!(!look("that grant's end brings an earlier representation back").await);
    acme.rpc
        .grant("ann@acme.example", role("Admin"))
        .await
        .unwrap();
    assert!(look("a role that reaches everything").await);
    acme.scim.delete(&at).await.is(204);
    assert!(look("the group's end").await);
    assert_eq!(row(), before);

    // `If-Match` compares the first part: a change of groups makes no write fail.
    let change = patch(json!([{ "op": "replace", "value": { "title": "T" } }]));
    let first_tag = first.header("etag");
    let answer = when(
        &acme.scim,
        Method::PATCH,
        &path,
        ("if-match", first_tag),
        Some(&change),
    )
    .await
    .is(200);
    assert_ne!(version(answer.header("etag")), version(first_tag));
    assert_ne!(row(), before);
}

/// Conformance: 30.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_if_match_changes_nothing() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let bob = acme.scim.make_user("bob@acme.example").await;
    let analysts = "CB/acme/ROLE/Analyst";
    let group_id = acme.scim.make_group(analysts, &[&ann]).await;
    let whole_user = json!({ "schemas": [USER], "userName": "ann@acme.example", "title": "New",
        ENTERPRISE: { "department": "New" } });
    let off = patch(json!([{ "op": "replace", "value": { "active": false } }]));
    let titled = patch(json!([{ "op": "replace", "path": "title", "value": "Other" }]));
    let secret = patch(json!([{ "op": "replace", "value": { "password": "p" } }]));
    let add = patch(json!([{ "op": "add", "path": "members", "value": [{ "value": bob }] }]));
    let looks = patch(json!([{ "op": "remove", "path": "members[not (value eq \"x\")]" }]));
    let rename =
        patch(json!([{ "op": "replace", "value": { "displayName": "CB/acme/ROLE/Admin" } }]));
    let whole_group = group("CB/acme/ROLE/Admin", &[&bob]);
    for (path, change, writes) in [
        (
            format!("/Users/{ann}"),
            patch(json!([{ "op": "replace", "path": "nickName", "value": "A" }])),
            vec![
                (Method::PUT, Some(&whole_user)),
                (Method::PATCH, Some(&off)),
                (Method::PATCH, Some(&titled)),
                (Method::PATCH, Some(&secret)),
                (Method::DELETE, None),
            ],
        ),
        (
            format!("/Groups/{group_id}"),
            patch(json!([{ "op": "replace", "path": "externalId", "value": "x" }])),
            vec![
                (Method::PUT, Some(&whole_group)),
                (Method::PATCH, Some(&add)),
                (Method::PATCH, Some(&looks)),
                (Method::PATCH, Some(&rename)),
                (Method::DELETE, None),
            ],
        ),
    ] {
        let stale = acme.scim.get(&path).await.is(200).header("etag").to_owned();
        acme.scim.with_body(Method::PATCH, &path, &change).await;
        let fresh = acme.scim.get(&path).await.is(200).header("etag").to_owned();
        assert_ne!(version(&stale), version(&fresh));
        let before = world.database.snapshot();
        for (method, body) in &writes {
            for tag in [
                &stale,
                "W/\"0\"",
                "\"abc\"",
                "nonsense",
                "",
                "W/\"99999999999999999999\"",
            ] {
                let answer =
                    when(&acme.scim, method.clone(), &path, ("if-match", tag), *body).await;
                let detail = answer.error(412, "");
                assert!(detail.contains("If-Match"), "{method} {detail}");
            }
        }
        assert_eq!(world.database.snapshot(), before);
        // The present one, strong or weak, alone or among others, and any at all.
        let strong = fresh.strip_prefix("W/").unwrap();
        let (put, patch) = (&writes[0], &writes[1]);
        let send = async |(method, body): &(Method, Option<&Value>), tag: &str| {
            when(&acme.scim, method.clone(), &path, ("if-match", tag), *body).await
        };
        let answer = send(patch, strong).await;
        assert!(answer.status.is_success(), "{:#}", answer.body);
        send(patch, &fresh).await.error(412, "");
        let fresh = acme.scim.get(&path).await.is(200).header("etag").to_owned();
        send(put, &format!("{stale}, {fresh}")).await.is(200);
        let any = when(&acme.scim, Method::DELETE, &path, ("if-match", "*"), None).await;
        any.is(204);
        when(&acme.scim, Method::DELETE, &path, ("if-match", "*"), None)
            .await
            .error(404, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_what_the_client_has_already_changes_nothing() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    let group_id = acme.scim.make_group("CB/acme/ROLE/Analyst", &[]).await;
    let whole_user = json!({ "schemas": [USER], "userName": "ann@acme.example", "title": "New" });
    let off = patch(json!([{ "op": "replace", "value": { "active": false } }]));
    let titled = patch(json!([{ "op": "replace", "path": "title", "value": "Other" }]));
    let whole_group = group("CB/acme/ROLE/Admin", &[&ann]);
    let add = patch(json!([{ "op": "add", "path": "members", "value": [{ "value": ann }] }]));
    for (path, absent, writes) in [
        (
            format!("/Users/{ann}"),
            format!("/Users/{group_id}"),
            vec![
                (Method::PUT, Some(&whole_user)),
                (Method::PATCH, Some(&off)),
                (Method::PATCH, Some(&titled)),
                (Method::DELETE, None),
            ],
        ),
        (
            format!("/Groups/{group_id}"),
            format!("/Groups/{ann}"),
            vec![
                (Method::PUT, Some(&whole_group)),
                (Method::PATCH, Some(&add)),
                (Method::DELETE, None),
            ],
        ),
    ] {
        let tag = acme.scim.get(&path).await.is(200).header("etag").to_owned();
        let before = world.database.snapshot();
        for (method, body) in &writes {
            for same in ["*", &tag, &format!("\"x\", {tag}")] {
                let none = ("if-none-match", same);
                let answer = when(&acme.scim, method.clone(), &path, none, *body).await;
                let detail = answer.error(412, "");
                assert!(detail.contains("If-None-Match"), "{method} {detail}");
            }
            let none = ("if-none-match", "*");
            when(&acme.scim, method.clone(), &absent, none, *body)
                .await
                .error(404, "");
        }
        assert_eq!(world.database.snapshot(), before);
        for (method, body) in &writes {
            let none = ("if-none-match", "W/\"0\"");
            let answer = when(&acme.scim, method.clone(), &path, none, *body).await;
            assert!(answer.status.is_success(), "{method} {:#}", answer.body);
        }
    }
}

/// Conformance: 28.
#[tokio::test(flavor = "multi_thread")]
async fn every_write_answers_with_the_tag_that_a_read_then_gives() {
    let world = World::start().await;
    let acme = world.acme().await;
    let made = acme
        .scim
        .post(
            "/Users",
            &json!({ "schemas": [USER], "userName": "a@b.example" }),
        )
        .await
        .is(201);
    let path = format!("/Users/{}", made.id());
    let same = async |answer: &Answer, path: &str| {
        let read = acme.scim.get(path).await.is(200);
        assert_eq!(answer.header("etag"), read.header("etag"));
        assert_eq!(answer.header("location"), read.header("location"));
        read.header("etag").to_owned()
    };
    let mut tags = vec![same(&made, &path).await];
    let put = json!({ "schemas": [USER], "userName": "A@b.example" });
    tags.push(same(&acme.scim.put(&path, &put).await.is(200), &path).await);
    for value in [
        json!({ "title": "T" }),
        json!({ "active": false }),
        json!({ "active": true }),
    ] {
        let answer = acme
            .scim
            .patch(&path, json!([{ "op": "replace", "value": value }]))
            .await
            .is(200);
        tags.push(same(&answer, &path).await);
    }
    let made = acme
        .scim
        .post("/Groups", &group("CB/acme/ROLE/Analyst", &[]))
        .await
        .is(201);
    let path = format!("/Groups/{}", made.id());
    tags.push(same(&made, &path).await);
    let put = json!({ "schemas": [GROUP], "displayName": "CB/acme/ROLE/Admin" });
    tags.push(same(&acme.scim.put(&path, &put).await.is(200), &path).await);
    let rename = json!([{ "op": "replace", "value": { "displayName": "CB/acme/BE/US Inc" } }]);
    tags.push(same(&acme.scim.patch(&path, rename.clone()).await.is(204), &path).await);
    let count = tags.len();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), count, "each change has its own");
    // No change, no other tag.
    let again = acme.scim.patch(&path, rename).await.is(204);
    assert!(tags.contains(&same(&again, &path).await));
}
