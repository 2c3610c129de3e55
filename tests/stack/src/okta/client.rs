//! One request as Okta sends it, and what it makes of the answer.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{
    Client, Method,
    header::{HeaderMap, HeaderName},
};
use serde_json::{Value, json};

use super::{AppKind, PATCH_OP};

/// Okta gives up on a request after this time.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often Okta repeats a request that was answered with 429.
const ATTEMPTS: usize = 10;

/// Okta, as one app of one tenant.
#[derive(Clone, Debug)]
pub struct Okta {
    http: Client,
    site_url: String,
    authorization: String,
    pub(super) kind: AppKind,
}

/// What the server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; null where there was none.
    pub body: Value,
}

impl Answer {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name.parse::<HeaderName>().ok()?)?
            .to_str()
            .ok()
    }

    /// What an administrator would read in Okta's list of tasks.
    pub fn reason(&self) -> String {
        match self.body["detail"].as_str() {
            Some(detail) => format!(
                "{}. Errors reported by remote server: {detail}",
                self.status
            ),
            None => format!("{} with no detail", self.status),
        }
    }

    /// The body, where the request was done.
    pub fn done(self, action: &str) -> Result<Value> {
        if !(200..300).contains(&self.status) {
            bail!("{action}: {}", self.reason());
        }
        Ok(self.body)
    }
}

impl Okta {
    /// An app with the Site URL and the token that its administrator typed in.
    pub fn new(site_url: &str, token: &str) -> Result<Self> {
        let http = Client::builder()
            .user_agent("Okta SCIM Client 1.0.0")
            .timeout(TIMEOUT)
            .http1_only()
            // Proxies of this machine are not meant for loopback.
            .no_proxy()
            .build()
            .context("no HTTP client")?;
        Ok(Self {
            http,
            site_url: site_url.trim_end_matches('/').to_owned(),
            authorization: format!("Bearer {token}"),
            kind: AppKind::default(),
        })
    }

    /// The same as another kind of app.
    #[must_use]
    pub fn as_app(mut self, kind: AppKind) -> Self {
        self.kind = kind;
        self
    }

    /// The same with the `Authorization` header as it is given here, without a scheme's word: what
    /// Okta's header mode sends.
    #[must_use]
    pub fn with_authorization(mut self, value: &str) -> Self {
        value.clone_into(&mut self.authorization);
        self
    }

    /// Sends one request, once.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let url = format!("{}{path}", self.site_url);
        let mut request = self
            .http
            .request(method.clone(), &url)
            .header("Accept", "application/scim+json")
            .header("Accept-Charset", "utf-8")
            .header("Accept-Encoding", "gzip,deflate")
            .header("Authorization", &self.authorization)
            .header("Connection", "Keep-Alive");
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/scim+json; charset=utf-8")
                .body(serde_json::to_vec(body)?);
        }
        let response = request
            .send()
            .await
            .with_context(|| format!("{method} {url}"))?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let bytes = response
            .bytes()
            .await
            .with_context(|| format!("{method} {url}"))?;
        let body = match bytes.is_empty() {
            true => Value::Null,
            // Okta shows a parser's complaint in place of the cause.
            false => serde_json::from_slice(&bytes)
                .with_context(|| format!("{method} {url}: {status} with a body that is no JSON"))?,
        };
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    /// Sends a request, and again after the time that a 429 asks for. Okta repeats nothing else.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let mut attempt = 1;
        loop {
            let answer = self.send(method.clone(), path, body).await?;
            if answer.status != 429 || attempt == ATTEMPTS {
                return Ok(answer);
            }
            let seconds = answer
                .header("retry-after")
                .and_then(|value| value.parse().ok());
            let Some(seconds) = seconds else {
                bail!("429 without a Retry-After in whole seconds: Okta would wait five minutes");
            };
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            attempt += 1;
        }
    }

    /// What the button `Test API Credentials` sends.
    pub async fn test_credentials(&self) -> Result<()> {
        for path in [
            "/Users?startIndex=1&count=2",
            "/Groups?startIndex=1&count=100",
        ] {
            let answer = self.call(Method::GET, path, None).await?;
            counters(&answer.done("Error authenticating")?)?;
        }
        Ok(())
    }

    /// Everything of a kind, page by page, as an import reads it.
    pub async fn import(&self, endpoint: &str) -> Result<Vec<Value>> {
        let mut resources = Vec::new();
        let mut start = 1;
        loop {
            let path = format!("/{endpoint}?startIndex={start}&count=100");
            let page = self
                .call(Method::GET, &path, None)
                .await?
                .done("Import failed")?;
            let total = counters(&page)?;
            resources.extend(page["Resources"].as_array().into_iter().flatten().cloned());
            start += 100;
            if start > total {
                return Ok(resources);
            }
        }
    }

    /// The resources that have this value.
    pub(super) async fn find(
        &self,
        endpoint: &str,
        attribute: &str,
        value: &str,
    ) -> Result<Vec<Value>> {
        let filter = percent_encode(&format!("{attribute} eq \"{}\"", escape(value)));
        let path = format!("/{endpoint}?filter={filter}&startIndex=1&count=100");
        let list = self
            .call(Method::GET, &path, None)
            .await?
            .done("Lookup failed")?;
        counters(&list)?;
        Ok(list["Resources"].as_array().cloned().unwrap_or_default())
    }

    /// Sends a PATCH of these operations.
    pub(super) async fn patch(&self, path: &str, operations: Value) -> Result<Answer> {
        let body = json!({"schemas": [PATCH_OP], "Operations": operations});
        self.call(Method::PATCH, path, Some(&body)).await
    }
}

/// Holds a list to what Okta needs of it; answers `totalResults`.
fn counters(list: &Value) -> Result<u64> {
    for name in ["totalResults", "startIndex", "itemsPerPage"] {
        if !list[name].is_u64() {
            bail!("{name} of a list is no integer: Okta's job would fail without a reason");
        }
    }
    list["totalResults"].as_u64().context("no totalResults")
}

/// A text inside the quotes of a filter.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Everything but the unreserved characters, a space too, as Okta encodes a filter.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_encoded_as_okta_does() {
        assert_eq!(
            percent_encode("userName eq \"a@b\""),
            "userName%20eq%20%22a%40b%22"
        );
        assert_eq!(percent_encode("é"), "%C3%A9");
        assert_eq!(escape(r#"a"b\c"#), r#"a\"b\\c"#);
    }

    #[test]
    fn counters_are_integers_or_the_job_fails() {
        let good = json!({"totalResults": 3, "startIndex": 1, "itemsPerPage": 3});
        assert_eq!(counters(&good).unwrap(), 3);
        let bad = json!({"totalResults": 3, "startIndex": "1", "itemsPerPage": 3});
        assert!(counters(&bad).is_err());
        assert!(counters(&json!([])).is_err());
    }

    #[test]
    fn an_administrator_reads_the_detail() {
        let answer = Answer {
            status: 409,
            headers: HeaderMap::new(),
            body: json!({"detail": "taken", "status": "409"}),
        };
        let error = answer
            .done("Error while creating user x")
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "Error while creating user x: 409. Errors reported by remote server: taken"
        );
    }
}
