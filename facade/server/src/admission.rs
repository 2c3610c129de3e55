//! Whether a request comes in: its headers, its size, its token, in this order.

use std::{mem, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{FromRequestParts, RawPathParams, Request},
    http::{HeaderMap, HeaderValue, Method, header, request::Parts},
};
use http_body_util::BodyExt;
use scim_protocol::{MEDIA_TYPE, ScimError, query::Query};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};

use crate::{
    app::App,
    backend::Caller,
    budget::{self, Room},
    conditions::{self, IfMatch, IfNoneMatch},
    effect,
    refusal::Refusal,
    translate::Site,
};

/// Of a body that is too large, how much is read and thrown away, so that a client that sends before it
/// listens gets its answer and no broken connection.
const DISCARD: usize = 64 << 20;

/// How long that may take.
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// The longest token that is worth asking about.
const MAX_TOKEN: usize = 512;

/// The longest address.
const MAX_ADDRESS: usize = 16 << 10;

/// How many headers a request may have.
const MAX_HEADERS: usize = 100;

/// How large they may be together, with what stands between them.
const MAX_HEADER_BYTES: usize = 32 << 10;

/// Which of the two size limits applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodySize {
    /// Everything but groups.
    Ordinary,
    /// Groups, whose members may be many.
    Group,
    /// Bulk requests.
    Bulk,
}

/// An admitted request.
#[derive(Debug)]
pub(crate) struct Call {
    /// Who asks, and the way to identity in their name.
    pub(crate) caller: Caller,
    /// The site as the URL names it.
    pub(crate) site: Site,
    /// The path of the URL.
    pub(crate) path: String,
    /// The id in the URL; empty where the route has none.
    pub(crate) id: String,
    headers: HeaderMap,
    query: String,
    body: Bytes,
    /// The body's, where it is large.
    room: Room,
    deadline: Instant,
}

impl Call {
    /// One operation of this request as a request of its own: same caller, same deadline, same wish for a
    /// rehearsal.
    pub(crate) fn operation(
        &self,
        path: &str,
        id: &str,
        version: Option<&str>,
        data: &Value,
    ) -> Result<Self, ScimError> {
        let mut headers = HeaderMap::new();
        for rehearsal in self.headers.get_all(effect::DRY_RUN) {
            headers.append(effect::DRY_RUN, rehearsal.clone());
        }
        if let Some(version) = version {
            let version = HeaderValue::from_str(version).map_err(|_| conditions::mismatch())?;
            headers.insert(header::IF_MATCH, version);
        }
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Ok(Self {
            caller: self.caller.clone(),
            site: self.site.clone(),
            path: path.to_owned(),
            id: id.to_owned(),
            query: query.to_owned(),
            headers,
            body: match data {
                Value::Null => Bytes::new(),
                data => data.to_string().into(),
            },
            // A part of a body that has been read already.
            room: Room::default(),
            deadline: self.deadline,
        })
    }

    /// The query of the URL.
    pub(crate) fn query(&self) -> Result<Query, ScimError> {
        Query::parse(&self.query)
    }

    /// The body of a `.search`, which is all that it asks: a filter in its URL must not go unheard.
    pub(crate) async fn search(&mut self) -> Result<Query, Refusal> {
        if self.query()? != Query::default() {
            return Err(ScimError::invalid_value(
                "A search is asked for in its body; send the parameters there, not in the URL.",
            )
            .into());
        }
        Ok(Query::from_search(self.json().await?)?)
    }

    /// The body as JSON. It is there once.
    pub(crate) async fn json(&mut self) -> Result<Value, Refusal> {
        self.read(|value, _room| Ok(value)).await
    }

    /// Makes something of the body, with the room that it takes, where that holds up nobody: reading and
    /// throwing away a large one take their time, too.
    pub(crate) async fn read<T: Send + 'static>(
        &mut self,
        make: impl FnOnce(Value, Room) -> Result<T, ScimError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (body, room) = (mem::take(&mut self.body), mem::take(&mut self.room));
        budget::apart(body.len(), self.deadline, move || {
            let value = scim_protocol::json::read(&body)?;
            drop(body);
            make(value, room)
        })
        .await
    }

    /// Does other work on a large body, or on what it is about, where that holds up nobody.
    pub(crate) async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ScimError> + Send + 'static,
    ) -> Result<T, Refusal> {
        budget::apart(budget::NOT_HERE, self.deadline, work).await
    }

    /// The versions that the client will change.
    pub(crate) fn if_match(&self) -> Result<IfMatch, ScimError> {
        IfMatch::read(&self.headers)
    }

    /// The representation that the client has.
    pub(crate) fn if_none_match(&self) -> IfNoneMatch {
        IfNoneMatch::read(&self.headers)
    }

    /// Whether the client only wants to know what would happen.
    pub(crate) fn is_dry_run(&self) -> Result<bool, ScimError> {
        effect::is_dry_run(&self.headers)
    }
}

/// Lets a request in, or says why not.
pub(crate) async fn admit(app: &App, request: Request, size: BodySize) -> Result<Call, Refusal> {
    let (mut parts, body) = request.into_parts();
    let has_body = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
    let (body, room) = if has_body {
        check_content(&parts.headers)?;
        read_body(app, &parts.headers, body, size).await?
    } else {
        (Bytes::new(), Room::default())
    };
    let authorization = token(&parts.headers).ok_or_else(Refusal::unauthenticated)?;
    let Address { domain, id } = Address::from_request_parts(&mut parts, &()).await?;
    let deadline = Instant::now() + app.config.request_timeout;
    Ok(Call {
        caller: Caller::new(app.backend.clone(), authorization, domain.clone(), deadline),
        site: Site::new(&app.config.public_url, &domain),
        path: parts.uri.path().to_owned(),
        id,
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body,
        room,
        deadline,
    })
}

/// What a route of ours has in braces.
#[derive(Debug, Default)]
pub(crate) struct Address {
    /// The site as the URL names it.
    pub(crate) domain: String,
    /// The id; empty where the route has none.
    pub(crate) id: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Address {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| ScimError::new(404, "The address is not percent-encoded UTF-8."))?;
        let mut address = Self::default();
        for (name, value) in &params {
            match name {
                "domain" => value.clone_into(&mut address.domain),
                _ => value.clone_into(&mut address.id),
            }
        }
        Ok(address)
    }
}

/// The sizes of what comes before the body. hyper's own limits lie above them, since its answers have no body.
pub(crate) fn check_head(request: &Request) -> Result<(), ScimError> {
    let address = request
        .uri()
        .path_and_query()
        .map_or(0, |address| address.as_str().len());
    if address > MAX_ADDRESS {
        return Err(ScimError::new(
            414,
            format!("The address may have at most {MAX_ADDRESS} bytes."),
        ));
    }
    let headers = request.headers();
    if headers.len() > MAX_HEADERS {
        return Err(ScimError::new(
            431,
            format!("A request may have at most {MAX_HEADERS} headers."),
        ));
    }
    let size: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum();
    if size > MAX_HEADER_BYTES {
        return Err(ScimError::new(
            431,
            format!("The headers may have at most {MAX_HEADER_BYTES} bytes together."),
        ));
    }
    Ok(())
}

/// Both media types are taken, with any parameter (RFC 7644 section 3.8), and a body without one.
fn check_content(headers: &HeaderMap) -> Result<(), ScimError> {
    if let Some(value) = headers.get(header::CONTENT_TYPE) {
        let media_type = value
            .to_str()
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default();
        let known = [MEDIA_TYPE, "application/json"];
        if !known
            .iter()
            .any(|known| media_type.trim().eq_ignore_ascii_case(known))
        {
            return Err(ScimError::new(
                415,
                format!("Send the body as {MEDIA_TYPE} or application/json."),
            ));
        }
    }
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => Err(ScimError::new(
            415,
            "Send the body without a content encoding.",
        )),
        _ => Ok(()),
    }
}

/// Reads a body. What is larger than an ordinary one must have room first, for all that it may become; until then
/// it waits in the network.
async fn read_body(
    app: &App,
    headers: &HeaderMap,
    mut body: Body,
    size: BodySize,
) -> Result<(Bytes, Room), Refusal> {
    let limit = match size {
        BodySize::Ordinary => app.config.max_body,
        BodySize::Group => app.config.max_group_body,
        BodySize::Bulk => app.config.max_bulk_body,
    };
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let late = Instant::now() + app.config.body_timeout;
    let mut room = Room::default();
    let mut waited = false;
    // Capacity by what was announced, but not on the announcement alone.
    let mut bytes = Vec::with_capacity(announced.unwrap_or(0).min(limit).min(1 << 20));
    let refusal = loop {
        if announced.is_some_and(|length| length > limit) {
            break too_large(size, limit);
        }
        let data = match timeout_at(late, body.frame()).await {
            Ok(None) => return Ok((bytes.into(), room)),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            Ok(Some(Err(_))) => {
                return Err(ScimError::invalid_syntax("The body ended before its end.").into());
            }
            // It was not the client who was slow.
            Err(_) if waited => break Refusal::busy(),
            Err(_) => {
                let time = app.config.body_timeout;
                let detail = format!("The body did not arrive within {time:?}.");
                return Err(ScimError::new(408, detail).into());
            }
        };
        let length = bytes.len() + data.len();
        if length > limit {
            break too_large(size, limit);
        }
        if length > app.config.max_body && !room.is_some() {
            let most = announced.unwrap_or(limit).max(length);
            let asked = Instant::now();
            match Room::of(most, late).await {
                Ok(taken) => room = taken,
                Err(busy) => break busy,
            }
            waited = asked.elapsed() > Duration::from_millis(100);
            bytes.reserve_exact(most - bytes.len());
        }
        bytes.extend_from_slice(&data);
    };
    drop((bytes, room));
    // A client that waits for leave to send it has not sent it.
    if !headers.contains_key(header::EXPECT) {
        discard(body, Instant::now() + DISCARD_TIME).await;
    }
    Err(refusal)
}

pub(crate) fn too_large(size: BodySize, limit: usize) -> Refusal {
    let what = match size {
        BodySize::Ordinary => "A body",
        BodySize::Group => "The body of a group",
        BodySize::Bulk => "The body of a bulk request",
    };
    let detail = match size {
        // By the name that /ServiceProviderConfig gives it.
        BodySize::Bulk => format!("{what} may have at most {limit} bytes (maxPayloadSize)."),
        BodySize::Ordinary | BodySize::Group => format!("{what} may have at most {limit} bytes."),
    };
    ScimError::new(413, detail).into()
}

async fn discard(mut body: Body, until: Instant) {
    let mut left = DISCARD;
    while let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        if length > left {
            return;
        }
        left -= length;
    }
}

/// The caller's token as identity wants it: from `Bearer <token>` or, as Okta's header mode sends it, the
/// bare token. None where there is none, or more than one.
fn token(headers: &HeaderMap) -> Option<MetadataValue<Ascii>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    let text = value.to_str().ok()?.trim();
    let token = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        Some(_) => return None,
        None if text.eq_ignore_ascii_case("bearer") => return None,
        None => text,
    };
    let visible = token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.is_empty() || token.len() > MAX_TOKEN || !visible {
        return None;
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    MetadataValue::try_from(value.as_bytes())
        .ok()
        .map(|mut value: MetadataValue<Ascii>| {
            value.set_sensitive(true);
            value
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        token(&headers).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_token_comes_with_its_scheme_or_bare() {
        for value in ["Bearer t0k", "bearer  t0k", "BEARER t0k ", "t0k", " t0k "] {
            assert_eq!(read(&[value]).as_deref(), Some("Bearer t0k"), "{value}");
        }
    }

    #[test]
    fn anything_else_is_no_token() {
        let long = "x".repeat(MAX_TOKEN + 1);
        for values in [
            &[][..],
            &[""],
            &["Bearer"],
            &["Bearer "],
            &["Basic eDp5"],
            &["Bearer a b"],
            &["a", "a"],
            &[&long],
        ] {
            assert_eq!(read(values), None, "{values:?}");
        }
    }

    /// Conformance: 2, 3.
    #[test]
    fn both_media_types_pass_with_any_parameter() {
        let check = |value: &str| {
            let headers = HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                value.parse::<HeaderValue>().unwrap(),
            )]);
            check_content(&headers)
        };
        for value in [
            "application/json",
            "Application/SCIM+JSON; charset=utf-8",
            "application/json ;x=y",
        ] {
            assert!(check(value).is_ok(), "{value}");
        }
        for value in [
            "text/plain",
            "",
            "application/x-www-form-urlencoded",
            "application/jsonx",
        ] {
            assert_eq!(check(value).unwrap_err().status, 415, "{value}");
        }
        assert!(check_content(&HeaderMap::new()).is_ok());
        let zipped =
            HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))]);
        assert_eq!(check_content(&zipped).unwrap_err().status, 415);
    }
}
