//! A SCIM client that says nothing of its own: what a test sends is what goes out.

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

/// The core User schema.
pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// The core Group schema.
pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// The enterprise extension of User.
pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
/// The message of a PATCH.
pub const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
/// The message of a list.
pub const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
/// The message of an error.
pub const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// A caller of the facade.
#[derive(Clone, Debug)]
pub struct Scim {
    /// The Site URL.
    pub url: String,
    /// What stands in `Authorization`.
    pub authorization: String,
    client: reqwest::Client,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; null where there was none.
    pub body: Value,
}

impl Answer {
    /// A header's value; empty where it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The trace id.
    pub fn trace_id(&self) -> &str {
        self.header("x-trace-id")
    }

    /// The `id` of the resource.
    pub fn id(&self) -> String {
        self.body["id"].as_str().expect("an id").to_owned()
    }

    /// The resources of a list.
    pub fn resources(&self) -> Vec<Value> {
        self.body["Resources"].as_array().expect("a list").clone()
    }

    /// Asserts the status.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{:#}", self.body);
        self
    }

    /// Asserts a SCIM error of this status and `scimType` (empty: none), complete as the RFC and
    /// design.md want it; answers with its `detail`.
    #[track_caller]
    pub fn error(self, status: u16, scim_type: &str) -> String {
        assert_eq!(self.status.as_u16(), status, "{:#}", self.body);
        assert_eq!(self.body["schemas"], json!([ERROR]), "{:#}", self.body);
        assert_eq!(
            self.body["status"],
            json!(status.to_string()),
            "{:#}",
            self.body
        );
        let expected = if scim_type.is_empty() {
            Value::Null
        } else {
            scim_type.into()
        };
        assert_eq!(self.body["scimType"], expected, "{:#}", self.body);
        assert!(
            self.header("content-type")
                .starts_with("application/scim+json")
        );
        let detail = self.body["detail"].as_str().expect("a detail").to_owned();
        assert_eq!(self.trace_id().len(), 32);
        assert!(
            detail.contains(self.trace_id()),
            "{detail} lacks {}",
            self.trace_id()
        );
        detail
    }
}

impl Scim {
    /// Calls `url` (a Site URL) with this in `Authorization`.
    pub fn new(url: &str, authorization: &str) -> Self {
        // A pool of connections a caller, as an identity provider has.
        let client = reqwest::Client::builder().build().unwrap();
        Self {
            url: url.to_owned(),
            authorization: authorization.to_owned(),
            client,
        }
    }

    /// A request to be filled in further.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        if self.authorization.is_empty() {
            return request;
        }
        request.header("authorization", &self.authorization)
    }

    /// Sends a request. Whatever comes back must name its trace.
    pub async fn send(request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let headers = response.headers().clone();
        let trace_id = headers.get("x-trace-id").map(|id| id.as_bytes());
        assert!(
            trace_id.is_some_and(|id| id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit)),
            "every response names its trace: {status} {headers:?}"
        );
        let body = response.bytes().await.expect("a whole answer");
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()))
        };
        Answer {
            status,
            headers,
            body,
        }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        Self::send(self.request(Method::GET, path)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        Self::send(self.request(Method::DELETE, path)).await
    }

    /// A method with a JSON body.
    pub async fn with_body(&self, method: Method, path: &str, body: &Value) -> Answer {
        let request = self
            .request(method, path)
            .header("content-type", "application/scim+json; charset=utf-8")
            .body(body.to_string());
        Self::send(request).await
    }

    /// POST.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.with_body(Method::POST, path, body).await
    }

    /// PUT.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.with_body(Method::PUT, path, body).await
    }

    /// PATCH with these operations.
    pub async fn patch(&self, path: &str, operations: Value) -> Answer {
        let body = json!({ "schemas": [PATCH_OP], "Operations": operations });
        self.with_body(Method::PATCH, path, &body).await
    }

    /// Makes a user as Okta's create does; answers with its id.
    pub async fn make_user(&self, user_name: &str) -> String {
        self.post("/Users", &user(user_name)).await.is(201).id()
    }

    /// Makes a group with these members; answers with its id.
    pub async fn make_group(&self, name: &str, members: &[&str]) -> String {
        self.post("/Groups", &group(name, members))
            .await
            .is(201)
            .id()
    }

    /// The id of a role or business entity, as its endpoint lists it.
    pub async fn id_of(&self, endpoint: &str, name: &str) -> String {
        let filter = encode(&format!("displayName eq \"{name}\""));
        let page = self
            .get(&format!("{endpoint}?filter={filter}"))
            .await
            .is(200);
        let [one]: [Value; 1] = page.resources().try_into().expect("one of this name");
        one["id"].as_str().expect("an id").to_owned()
    }

    /// The ids of a group's members, sorted.
    pub async fn members(&self, group: &str) -> Vec<String> {
        let group = self.get(&format!("/Groups/{group}")).await.is(200);
        let mut ids: Vec<String> = group.body["members"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
            .iter()
            .map(|member| member["value"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    }
}

/// The body of Okta's create.
pub fn user(user_name: &str) -> Value {
    json!({
        "schemas": [USER],
        "userName": user_name,
        "name": { "givenName": "Given", "familyName": "Family" },
        "emails": [{ "primary": true, "value": user_name, "type": "work" }],
        "displayName": "Given Family",
        "locale": "en-US",
        "externalId": format!("00u{user_name}"),
        "groups": [],
        "password": crate::canaries::PASSWORD,
        "active": true,
    })
}

/// The body of a group's create.
pub fn group(name: &str, members: &[&str]) -> Value {
    let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
    json!({ "schemas": [GROUP], "displayName": name, "members": members })
}

/// Percent-encodes a query value.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
