//! What a handler answers with, as an HTTP response. The body of an error is written by `observe`, which knows
//! the trace.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use scim_protocol::MEDIA_TYPE;
use serde_json::Value;

use crate::{
    conditions::entity_tag,
    effect::{EFFECT, Effect},
    refusal::Refusal,
};

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    body: Option<Value>,
    headers: Vec<(HeaderName, String)>,
    effect: Option<Effect>,
}

impl Reply {
    /// An answer with a body.
    pub(crate) fn json(status: StatusCode, body: Value) -> Self {
        Self {
            body: Some(body),
            ..Self::empty(status)
        }
    }

    /// An answer without one.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self {
            status,
            body: None,
            headers: Vec::new(),
            effect: None,
        }
    }

    /// Where the resource is.
    pub(crate) fn at(mut self, location: String) -> Self {
        self.headers.push((header::LOCATION, location));
        self
    }

    /// Which representation, or which version, of the resource it is.
    pub(crate) fn tagged(mut self, opaque: impl std::fmt::Display) -> Self {
        self.headers.push((header::ETAG, entity_tag(opaque)));
        self
    }

    /// After how many seconds what was not done can be repeated.
    pub(crate) fn repeat_after(mut self, seconds: u64) -> Self {
        self.headers
            .push((header::RETRY_AFTER, seconds.to_string()));
        self
    }

    /// What the write did.
    pub(crate) fn with_effect(mut self, effect: Effect) -> Self {
        self.effect = Some(effect);
        self
    }
}

impl Reply {
    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The body.
    pub(crate) fn body(&self) -> Option<&Value> {
        self.body.as_ref()
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The same, as the answer to what made the resource.
    pub(crate) fn created(self) -> Self {
        Self {
            status: StatusCode::CREATED,
            ..self
        }
    }

    /// What the write did.
    pub(crate) fn effect(&self) -> Option<Effect> {
        self.effect
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let body = self
            .body
            .map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let has_body =
            self.status != StatusCode::NO_CONTENT && self.status != StatusCode::NOT_MODIFIED;
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if has_body {
            headers.insert(header::CONTENT_TYPE, content_type());
        }
        for (name, value) in self.headers {
            // Ids, versions and percent-encoded URLs are visible ASCII.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        if let Some(effect) = self.effect {
            if let Ok(value) = HeaderValue::try_from(effect.to_string()) {
                headers.insert(EFFECT, value);
            }
            response.extensions_mut().insert(effect);
        }
        response
    }
}

/// A response that carries the refusal to where its body is written.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() =
            StatusCode::from_u16(self.error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.extensions_mut().insert(self);
        response
    }
}

/// The media type of every body.
pub(crate) fn content_type() -> HeaderValue {
    let value = HeaderValue::from_static("application/scim+json; charset=utf-8");
    debug_assert!(
        value
            .to_str()
            .is_ok_and(|value| value.starts_with(MEDIA_TYPE))
    );
    value
}
