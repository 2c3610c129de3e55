//! What surrounds every request: its span in the caller's trace, its metrics, its one log line, and the body of
//! an error, which ends in the trace id.

use std::{any::Any, time::Instant};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use identity_runtime::{
    propagation,
    telemetry::{current_trace_id, record_failure},
};
use scim_protocol::{MEDIA_TYPE, ScimError};
use tracing::{Instrument, Span, field};

use crate::{
    admission,
    app::App,
    effect::{self, Effect},
    metrics::{ActiveLabels, Fault, Meters, RequestLabels},
    refusal::Refusal,
    reply::content_type,
};

/// The response header that names the trace.
const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// The media type of an answer to a client that asks for this one.
const PLAIN_JSON: &str = "application/json; charset=utf-8";

/// The status of a request whose client went away: nobody sees it, and nginx made it known.
const CLIENT_GONE: u16 = 499;

/// The outermost layer.
pub(crate) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    // A method that a client made up must not become a label.
    let method = known_method(request.method().as_str());
    let scheme = match app.config.public_url.split(':').next() {
        Some("https") => "https",
        _ => "http",
    };
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", |path| path.as_str().trim_end_matches('/'))
        .to_owned();
    let site = site_domain(request.uri().path());
    let wants_plain_json = wants_plain_json(request.headers());
    // Else a rehearsal's line would tell of an effect that nothing had.
    let dry_run = effect::is_dry_run(request.headers())
        .is_ok_and(|asked| asked)
        .then_some(true);
    // Of the highest level, so that no log filter takes the trace id from the answers.
    let span = tracing::error_span!(
        "http.request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = field::Empty,
        url.scheme = scheme,
        network.protocol.version = match request.version() {
            Version::HTTP_10 => "1.0",
            _ => "1.1",
        },
        site.domain = site,
    );
    propagation::continue_trace(&span, request.headers());
    let _answering = app.meters.answering(ActiveLabels {
        http_request_method: method,
        url_scheme: scheme,
    });
    let mut told = Told {
        meters: app.meters.clone(),
        method,
        route,
        scheme,
        site,
        dry_run,
        began,
        ended: false,
    };
    async move {
        let mut response = match admission::check_head(&request) {
            Ok(()) => next.run(request).await,
            Err(error) => Refusal::from(error).into_response(),
        };
        let trace_id = current_trace_id();
        let (outcome, fault) = finish(&mut response, &trace_id);
        if wants_plain_json
            && response.status().is_success()
            && let Some(media_type) = response.headers_mut().get_mut(header::CONTENT_TYPE)
        {
            *media_type = HeaderValue::from_static(PLAIN_JSON);
        }
        let effect = response.extensions().get::<Effect>();
        told.end(
            response.status().as_u16(),
            outcome,
            fault,
            effect.map(ToString::to_string),
        );
        response
    }
    .instrument(span)
    .await
}

/// Tells how the request of the present span ended: to the span, the log and the metrics. A request whose client goes
/// away is dropped in its middle, and is told of as any other.
struct Told {
    meters: Meters,
    method: &'static str,
    route: String,
    scheme: &'static str,
    site: Option<String>,
    dry_run: Option<bool>,
    began: Instant,
    ended: bool,
}

impl Told {
    fn end(&mut self, status: u16, outcome: String, fault: Fault, effect: Option<String>) {
        self.ended = true;
        Span::current().record("http.response.status_code", status);
        if fault != Fault::None {
            record_failure(&outcome, fault == Fault::Service);
        }
        let elapsed = self.began.elapsed();
        tracing::info!(
            http.request.method = self.method,
            http.route = self.route,
            http.response.status_code = status,
            site.domain = self.site,
            outcome,
            effect,
            dry_run = self.dry_run,
            duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            "request"
        );
        self.meters.ended(self.method, &self.route, &outcome, fault);
        let error_type = match fault {
            Fault::None => String::new(),
            Fault::Client | Fault::Service => outcome,
        };
        self.meters.answered(
            &RequestLabels {
                http_request_method: self.method,
                http_route: std::mem::take(&mut self.route),
                http_response_status_code: status,
                url_scheme: self.scheme,
                error_type,
            },
            elapsed,
        );
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if !self.ended {
            self.end(CLIENT_GONE, "CLIENT_GONE".to_owned(), Fault::Client, None);
        }
    }
}

/// A request's method; one that a client made up must not become a label.
fn known_method(method: &str) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let known = KNOWN.into_iter().find(|known| *known == method);
    known.unwrap_or("_OTHER")
}

/// The site in the address, where it could be one: anything else in an address may be personal.
fn site_domain(path: &str) -> Option<String> {
    let label = path.split('/').nth(1)?;
    let good = (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    good.then(|| label.to_ascii_lowercase())
}

/// Whether a client asks for JSON and not for SCIM's own media type, nor for anything (RFC 7644 section 3.8):
/// OneLogin's documents want it so. An error is SCIM's in any case.
fn wants_plain_json(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).into_iter();
    let ranges = accepted.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    let (mut names_it, mut names_scim) = (false, false);
    for range in ranges {
        let range = range.split(';').next().unwrap_or_default().trim();
        let is = |media_type: &str| range.eq_ignore_ascii_case(media_type);
        names_it |= is("application/json");
        names_scim |= is(MEDIA_TYPE) || is("application/*") || is("*/*");
    }
    names_it && !names_scim
}

/// Writes what every response has, and the body of an error. Gives the outcome in a word, and whose fault it is.
fn finish(response: &mut Response, trace_id: &str) -> (String, Fault) {
    let status = response.status();
    let outcome = if status.is_client_error() || status.is_server_error() {
        let refusal = response
            .extensions_mut()
            .remove::<Refusal>()
            .unwrap_or_else(|| {
                let reason = status
                    .canonical_reason()
                    .unwrap_or("The request was refused");
                ScimError::new(status.as_u16(), format!("{reason}.")).into()
            });
        write_error(response, &refusal, trace_id);
        let fault = refusal.whose_fault();
        (refusal.cause, fault)
    } else {
        ("ok".to_owned(), Fault::None)
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(trace_id) = HeaderValue::from_str(trace_id) {
        headers.insert(TRACE_ID, trace_id);
    }
    outcome
}

fn write_error(response: &mut Response, refusal: &Refusal, trace_id: &str) {
    let body = refusal.body(trace_id).to_string();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type());
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    if refusal.error.status == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = refusal.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    *response.body_mut() = Body::from(body);
}

/// The answer where a handler panicked.
pub(crate) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    // Ours to read: panics are about code, and `unwrap` on a client's text is not in it.
    tracing::error!(panic = message, "a handler panicked");
    let status = StatusCode::INTERNAL_SERVER_ERROR.as_u16();
    let mut refusal = Refusal::from(ScimError::new(
        status,
        "The service has a fault. Report the trace id.",
    ));
    refusal.cause = "PANIC".to_owned();
    refusal.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_could_be_a_site_is_logged() {
        assert_eq!(
            site_domain("/ACME-1/scim/v2/Users").as_deref(),
            Some("acme-1")
        );
        for path in ["/", "/a@b.c/scim/v2", "/%61/x", "/a b", ""] {
            assert_eq!(site_domain(path), None, "{path}");
        }
    }

    #[test]
    fn plain_json_is_for_those_who_ask_for_nothing_else() {
        let wants = |accept: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(header::ACCEPT, value.parse().unwrap());
            }
            wants_plain_json(&headers)
        };
        for accept in [
            &["application/json"][..],
            &["Application/JSON; charset=utf-8"],
            &["text/html, application/json;q=0.9"],
            &["text/html", "application/json"],
        ] {
            assert!(wants(accept), "{accept:?}");
        }
        for accept in [
            &[][..],
            &[""],
            &["*/*"],
            &["application/scim+json"],
            &["application/json, application/scim+json"],
            &["application/json", "application/*;q=0.1"],
            &["application/json, text/plain, */*"],
            &["text/html"],
        ] {
            assert!(!wants(accept), "{accept:?}");
        }
    }

    /// Conformance: 4, 130.
    #[test]
    fn a_panic_is_a_fault_and_says_nothing_of_the_inside() {
        let answer = panicked(Box::new("the inside"));
        assert_eq!(answer.status(), 500);
        let refusal = answer.extensions().get::<Refusal>().unwrap();
        assert!(!refusal.error.detail.contains("inside"));
    }
}
