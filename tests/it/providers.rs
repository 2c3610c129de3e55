//! The life cycles of the identity providers beside Okta, in the shapes that each of them sends: its headers, the
//! order of its calls, its way of writing queries and bodies. What each checks of the answers is asserted as it does,
//! and after each step identity tells what access followed.

mod authentik;
mod entra;
mod entra_flag;
mod entra_groups;
mod entra_roles;
mod google;
mod jumpcloud;
mod keycloak;
mod onelogin;
mod ping;

use identity_tests::{
    scim::{Answer, ENTERPRISE, LIST, PATCH_OP, Scim, USER},
    world::Site,
};
use reqwest::Method;
use serde_json::{Value, json};

const ANALYSTS: &str = "CB/acme/ROLE/Analyst";
const AGENTS: &str = "CB/acme/ROLE/Sales Agent";

/// A provider: what it sends with every request.
struct Provider {
    scim: Scim,
    headers: &'static [(&'static str, &'static str)],
    content_type: &'static str,
    /// What its successful answers must be.
    answers: &'static str,
}

impl Provider {
    /// Of one that speaks SCIM's own media type.
    fn new(site: &Site, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self {
            scim: site.scim.clone(),
            headers,
            content_type: "application/scim+json",
            answers: "application/scim+json",
        }
    }

    /// Sends a request, with a body unless it is null.
    async fn send(&self, method: Method, path: &str, body: &Value) -> Answer {
        let mut request = self.scim.request(method, path);
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        if !body.is_null() {
            request = request.header("content-type", self.content_type);
            request = request.body(body.to_string());
        }
        let answer = Scim::send(request).await;
        match answer.status.as_u16() {
            204 => assert_eq!(
                (&answer.body, answer.header("content-type")),
                (&Value::Null, "")
            ),
            200 | 201 => assert!(answer.header("content-type").starts_with(self.answers)),
            _ => assert_eq!(
                answer.header("content-type"),
                "application/scim+json; charset=utf-8"
            ),
        }
        answer
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &Value::Null).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, body).await
    }

    async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, body).await
    }

    async fn patch(&self, path: &str, operations: Value) -> Answer {
        let body = json!({ "schemas": [PATCH_OP], "Operations": operations });
        self.send(Method::PATCH, path, &body).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &Value::Null).await
    }

    /// The ids that a list finds; that it is a whole one.
    async fn found(&self, path: &str) -> Vec<String> {
        let list = self.get(path).await.is(200);
        assert_eq!(list.body["schemas"], json!([LIST]));
        let ids: Vec<String> = list
            .resources()
            .iter()
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(list.body["totalResults"], json!(ids.len()));
        assert_eq!(list.body["itemsPerPage"], json!(ids.len()));
        assert!(list.body["startIndex"].is_u64());
        ids
    }
}

/// What every client reads of a user that it wrote or asked for; answers with its id.
#[track_caller]
fn whole_user(answer: &Answer, user_name: &str, is_active: bool) -> String {
    let user = &answer.body;
    assert!(user["schemas"].as_array().unwrap().contains(&json!(USER)));
    assert_eq!(user["userName"], user_name, "{user:#}");
    assert_eq!(user["active"], is_active, "{user:#}");
    assert_eq!(user["meta"]["resourceType"], "User");
    assert_eq!(user["meta"]["location"], answer.header("location"));
    assert!(user["meta"]["created"].is_string() && user["meta"]["lastModified"].is_string());
    assert_eq!(user.get("password"), None);
    answer.id()
}

/// The ids of a group's members as an answer shows them, sorted.
fn shown_members(group: &Value) -> Vec<&str> {
    let members = group["members"].as_array().expect("members");
    let mut ids: Vec<&str> = members
        .iter()
        .map(|member| member["value"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    ids
}
