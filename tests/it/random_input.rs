//! Requests made at random of what the facade knows and what it does not.

use std::collections::BTreeMap;

use identity_tests::{
    scim::{Answer, GROUP, PATCH_OP, Scim, USER, encode},
    world::Settings,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::bad_input::{Scene, raw};

/// A small generator of numbers, the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len())]
    }

    /// Some JSON, made of what the facade knows and of what it does not.
    fn json(&mut self, names: &[&str], depth: usize) -> Value {
        match self.roll(if depth == 0 { 6 } else { 9 }) {
            0 => Value::Null,
            1 => json!(self.roll(2) == 0),
            2 => json!(self.roll(1000)),
            3 => json!(1.5e300),
            4 => json!(self.pick(&[
                "",
                "x",
                "a@b.example",
                "\u{0}",
                "😀",
                "CB/acme/ROLE/Admin",
                "True",
                "members",
                "\u{202e}"
            ])),
            5 => json!(self.pick(names)),
            6 => Value::Array(
                (0..self.roll(4))
                    .map(|_| self.json(names, depth - 1))
                    .collect(),
            ),
            _ => {
                let entries = (0..self.roll(5))
                    .map(|_| ((*self.pick(names)).to_owned(), self.json(names, depth - 1)));
                Value::Object(entries.collect())
            }
        }
    }
}

/// Conformance: 13, 130.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_provokes_a_fault() {
    let scene = Scene::set(Settings::default()).await;
    let scim = &scene.acme.scim;
    let mut dice = Dice(7);
    let names = [
        "userName",
        "USERNAME",
        "name",
        "givenName",
        "emails",
        "value",
        "type",
        "primary",
        "active",
        "members",
        "displayName",
        "externalId",
        "id",
        "meta",
        "groups",
        "schemas",
        "password",
        "roles",
        "manager",
        "addresses",
        "$ref",
        "",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
        "urn:",
        "name.givenName",
        "emails[type eq \"work\"].value",
        "😀",
    ];
    let paths = [
        "userName",
        "name",
        "name.givenName",
        "emails",
        "emails[type eq \"work\"]",
        "emails[type eq \"work\"].value",
        "emails[primary eq true]",
        "members",
        "members[value eq \"x\"]",
        "members[not (value pr)]",
        "members.value",
        "id",
        "active",
        "[",
        "]",
        "a[b",
        "emails[",
        "emails[]",
        "urn:x:y",
        "addresses[type sw \"w\" or not (locality co \"%\")].region",
        "x509Certificates",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value",
    ];
    let filters = [
        "",
        "(",
        ")",
        "userName",
        "userName eq",
        "userName eq \"",
        "userName eq \"\\",
        "userName eq \"\\ud800\"",
        "not",
        "not (",
        "a.b.c eq 1",
        "emails[type eq \"work\"",
        "userName eq \"x\" and",
        "and",
        "id eq id",
        "userName eq -",
        "userName eq 1e9999",
        "😀 eq \"😀\"",
    ];
    let mut statuses = BTreeMap::<u16, usize>::new();
    let mut count = |answer: Answer| {
        let status = answer.status.as_u16();
        *statuses.entry(status).or_default() += 1;
        assert_eq!(answer.trace_id().len(), 32);
        assert!(status < 500 && status != 429, "{:#}", answer.body);
        if status >= 400 {
            let scim_type = answer.body["scimType"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            answer.error(status, &scim_type);
        }
    };
    for _ in 0..250 {
        let (method, path) = dice.pick(&scene.writes()).clone();
        let mut body = if method == Method::PATCH {
            let operations: Vec<Value> = (0..1 + dice.roll(3))
                .map(|_| {
                    let op = *dice.pick(&["add", "replace", "remove", "Add"]);
                    let mut operation = json!({ "op": op, "value": dice.json(&names, 3) });
                    if dice.roll(4) > 0 {
                        operation["path"] = (*dice.pick(&paths)).into();
                    }
                    operation
                })
                .collect();
            json!({ "schemas": [PATCH_OP], "Operations": operations })
        } else {
            let mut body = dice.json(&names, 3);
            if !body.is_object() {
                body = json!({ "unknown": body });
            }
            for name in ["userName", "displayName"] {
                if dice.roll(3) > 0 {
                    body[name] = dice.json(&names, 1);
                }
            }
            body
        };
        if method != Method::PATCH {
            body["schemas"] = json!([USER, GROUP]);
        }
        count(scim.with_body(method, &path, &body).await);
        // Cut or bent somewhere, it is hardly JSON any more.
        let mut bytes = body.to_string().into_bytes();
        let place = dice.roll(bytes.len());
        bytes[place] = *dice.pick(b"\"{}[]:,\\\x00\xff 0");
        let (method, path) = dice.pick(&scene.writes()).clone();
        count(Scim::send(raw(scim, method, &path, bytes)).await);
    }
    for filter in filters {
        for kind in ["Users", "Groups"] {
            count(
                scim.get(&format!("/{kind}?filter={}", encode(filter)))
                    .await,
            );
        }
    }
    let nested = format!(
        "/Users?filter={}",
        encode(&format!("{}id pr{}", "(".repeat(2000), ")".repeat(2000)))
    );
    count(scim.get(&nested).await);
    for query in [
        "filter=%",
        "filter=%zz",
        "startIndex=%ff",
        "attributes=....,[,urn:",
        "excludedAttributes=%00",
        "&&&==&=",
        "count=99999999999999999999999",
        "startIndex=9223372036854775807&count=1000",
        "filter=x&filter=y",
    ] {
        count(scim.get(&format!("/Users?{query}")).await);
        count(scim.get(&format!("/Groups?{query}")).await);
    }
    for (name, value) in [
        ("if-match", "\u{e9}"),
        ("if-none-match", "W/\"\u{e9}\""),
        ("roster-dry-run", "\u{e9}"),
        ("traceparent", "nonsense"),
        (
            "traceparent",
            "00-00000000000000000000000000000000-0000000000000000-00",
        ),
        ("content-length", "5"),
        ("accept", "text/html"),
    ] {
        let request = scim
            .request(Method::GET, &format!("/Users/{}", scene.user))
            .header(name, value);
        if name != "content-length" {
            count(Scim::send(request).await);
        }
    }
    assert!(statuses.len() >= 4, "{statuses:?}");
    assert!(!scene.world.log().contains("panic"));
    assert!(scene.world.facade.ended().is_none() && scene.world.identity.ended().is_none());
    scim.get("/Users?startIndex=1&count=2").await.is(200);
}
