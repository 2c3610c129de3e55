//! What surrounds every call: its span in the caller's trace, its metrics, and its one log line.

use std::{collections::HashSet, sync::LazyLock, time::Instant};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use identity_proto::FILE_DESCRIPTOR_SET;
use identity_runtime::{
    propagation,
    rpc::{code_name, is_fault},
    telemetry::record_failure,
};
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tracing::{Instrument, Span, field};

use crate::{
    context::{Arrival, Known, Who},
    filter::DEPTH_MAX,
    metrics::{CallLabels, IdentityMetrics},
    status::with_details,
};

/// The methods of the contract, as they stand in a path: `identity.v1.SiteService/GetSite`.
static METHODS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    // The contract is compiled in: it can be read, or no test passes.
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default();
    let of_file = files.file.iter().flat_map(|file| {
        let services = file.service.iter();
        services.flat_map(|service| {
            let of = |name: &str| format!("{}.{}/{name}", file.package(), service.name());
            service.method.iter().map(move |method| of(method.name()))
        })
    });
    of_file.collect()
});

/// The one method whose answer goes on after its beginning.
const WATCH: &str = "identity.v1.EventService/WatchEvents";

/// A call's method, where it is one: what a client made up must not become a label.
fn known(path: &str) -> &'static str {
    METHODS.get(path).map_or("_OTHER", String::as_str)
}

/// Puts a call into its span, a child of the caller's, counts it, and logs one line about it.
pub(crate) async fn call(
    State(metrics): State<IdentityMetrics>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    if path.starts_with("grpc.health") || path.starts_with("grpc.reflection") {
        return next.run(request).await;
    }
    let method = known(path);
    // At the level of errors, so that there is a trace whatever the log's filter leaves out: its id
    // stands in every event and at the end of every fault's message.
    let span = tracing::error_span!(
        "rpc.server",
        otel.name = method,
        otel.kind = "server",
        rpc.system.name = "grpc",
        rpc.method = method,
        rpc.response.status_code = field::Empty,
        site.domain = field::Empty,
        roster.credential.id = field::Empty,
    );
    propagation::continue_trace(&span, request.headers());
    let begun = Instant::now();
    let who = Who::default();
    request.extensions_mut().insert(Arrival {
        at: begun,
        who: who.clone(),
    });
    async {
        let mut told = Told {
            metrics: &metrics,
            method,
            who,
            begun,
            ended: false,
        };
        let mut response = next.run(request).await;
        // A failed unary call carries its status in the headers, a good one in the trailers.
        let mut code = Code::Ok;
        let mut reason = String::new();
        if let Some(mut refused) = Status::from_header_map(response.headers()) {
            code = refused.code();
            if code != Code::Ok {
                if refused.details().is_empty() {
                    refused = with_details(code, &with_limit(refused.message()));
                    code = refused.code();
                    response = refused.clone().into_http();
                }
                reason = reason_of(&refused);
            }
        }
        told.end(code, reason);
        response
    }
    .instrument(span)
    .await
}

/// Tells how the call of the present span ended: to the span, the log and the metrics. A call whose caller leaves is
/// dropped in its middle, and ends as cancelled.
struct Told<'a> {
    metrics: &'a IdentityMetrics,
    method: &'static str,
    who: Who,
    begun: Instant,
    ended: bool,
}

impl Told<'_> {
    fn end(&mut self, code: Code, reason: String) {
        self.ended = true;
        let (method, elapsed) = (self.method, self.begun.elapsed());
        let status = code_name(code);
        // A watch has only begun then; it tells its end itself.
        if code != Code::Ok || method != WATCH {
            Span::current().record("rpc.response.status_code", status);
        }
        if code != Code::Ok {
            record_failure(&reason, is_fault(code));
        }
        let Known { credential, site } = self.who.known();
        if let Some(credential) = &credential {
            Span::current().record("roster.credential.id", credential);
        }
        if let Some(site) = &site {
            Span::current().record("site.domain", site);
        }
        tracing::info!(
            rpc = method,
            site.domain = site,
            credential,
            code = status,
            reason = (!reason.is_empty()).then_some(reason.as_str()),
            duration_ms = elapsed.as_secs_f64() * 1000.0,
            "call"
        );
        self.metrics.calls.observe(
            &CallLabels {
                rpc_system_name: "grpc",
                rpc_method: method,
                rpc_response_status_code: status,
                error_type: reason,
            },
            elapsed,
        );
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let code = match std::thread::panicking() {
                true => Code::Internal,
                false => Code::Cancelled,
            };
            self.end(code, code_name(code).to_owned());
        }
    }
}

/// Says on the present span, a watch's, how it ended; without a status its caller left.
pub(crate) fn end_of_watch(status: Option<&Status>) {
    let code = status.map_or(Code::Cancelled, Status::code);
    Span::current().record("rpc.response.status_code", code_name(code));
    if let Some(status) = status {
        record_failure(&reason_of(status), is_fault(code));
    }
}

/// The reason in a refusal's details; where another wrote it, its code.
fn reason_of(status: &Status) -> String {
    status.get_error_details().error_info().map_or_else(
        || code_name(status.code()).to_owned(),
        |info| info.reason.clone(),
    )
}

/// What the library says of a message that it can't read, and of one that nests too deep which limit that is: only
/// filters nest.
fn with_limit(message: &str) -> String {
    if message.contains("recursion limit") {
        format!("{message}: a filter may have at most {DEPTH_MAX} levels around a condition")
    } else {
        message.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_methods_of_the_contract_are_named() {
        let method = "identity.v1.AccessService/CheckAccess";
        assert_eq!(known(method), method);
        for other in [
            "",
            "identity.v1.AccessService/ann@acme.example",
            "identity.v1.AccessService",
        ] {
            assert_eq!(known(other), "_OTHER", "{other}");
        }
    }
}
