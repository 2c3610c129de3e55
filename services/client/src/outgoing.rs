//! What whoever calls identity has to know of a call on its way out.

use std::error::Error;

use http::HeaderMap;
use opentelemetry_http::HeaderInjector;
use tonic::ConnectError;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Writes the current span's context into the headers of a call.
pub fn carry_trace(headers: &mut HeaderMap) {
    let context = Span::current().context();
    opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut HeaderInjector(headers));
    });
}

/// Whether a call failed because there was no connection to send it on.
#[must_use]
pub fn is_unreachable(failure: &(dyn Error + 'static)) -> bool {
    causes(failure).any(|error| error.is::<ConnectError>())
}

/// Whether a call failed before anybody looked at it, so that it may be made again, also a write: there was no
/// connection, or it came to its end just then, as each does after a while. Other gRPC libraries take another
/// connection by themselves. Of a call that was under way, the server's GOAWAY tells that it was not looked at
/// (RFC 9113 section 6.8), as REFUSED_STREAM does (section 8.7).
#[must_use]
pub fn is_unsent(failure: &(dyn Error + 'static)) -> bool {
    let cancelled = |error: &(dyn Error + 'static)| {
        error
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_canceled)
    };
    let passed_by = |error: &(dyn Error + 'static)| {
        error.downcast_ref::<h2::Error>().is_some_and(|error| {
            let going = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            error.is_remote() && (going || error.reason() == Some(h2::Reason::REFUSED_STREAM))
        })
    };
    is_unreachable(failure) || causes(failure).any(|error| cancelled(error) || passed_by(error))
}

/// A failure, and what is behind it.
pub(crate) fn causes<'a>(
    failure: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(failure), |error| (**error).source())
}
