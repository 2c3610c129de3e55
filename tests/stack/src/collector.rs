//! A collector of OpenTelemetry traces: what the services export goes into memory. For tests and development.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::Span,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

/// A span, and the service that it is of.
#[derive(Clone, Debug)]
pub struct Exported {
    /// `facade` or `identity`.
    pub service: String,
    /// The version of the service.
    pub version: String,
    /// The commit that it was built from.
    pub commit: String,
    /// The span.
    pub span: Span,
}

impl Exported {
    /// The trace's id, as it is written.
    pub fn trace_id(&self) -> String {
        hex(&self.span.trace_id)
    }

    /// The text of an attribute; empty where it has none.
    pub fn attribute(&self, name: &str) -> String {
        let mut attributes = self.span.attributes.iter();
        let found = attributes.find(|attribute| attribute.key == name);
        match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
            Some(Value::StringValue(text)) => text.clone(),
            Some(Value::IntValue(number)) => number.to_string(),
            Some(Value::BoolValue(value)) => value.to_string(),
            Some(other) => format!("{other:?}"),
            None => String::new(),
        }
    }
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A trace as a tree: a line a span, below the one that it is part of, in the order of their beginnings.
pub fn tree(spans: &[Exported]) -> String {
    let mut lines = String::new();
    let known: Vec<&[u8]> = spans.iter().map(|span| &span.span.span_id[..]).collect();
    let mut roots: Vec<&Exported> = spans
        .iter()
        .filter(|span| !known.contains(&&span.span.parent_span_id[..]))
        .collect();
    roots.sort_by_key(|span| span.span.start_time_unix_nano);
    for root in roots {
        branch(root, spans, 0, &mut lines);
    }
    lines
}

fn branch(at: &Exported, spans: &[Exported], depth: usize, lines: &mut String) {
    let span = &at.span;
    let nanoseconds = span
        .end_time_unix_nano
        .saturating_sub(span.start_time_unix_nano);
    let outcome = ["http.response.status_code", "rpc.response.status_code"]
        .map(|name| at.attribute(name))
        .join("");
    let line = format!(
        "  {:indent$}{} [{}] {:.1} ms {outcome} {}",
        "",
        span.name,
        at.service,
        nanoseconds as f64 / 1e6,
        at.attribute("error.type"),
        indent = 2 * depth,
    );
    lines.push_str(line.trim_end());
    lines.push('\n');
    let mut below: Vec<&Exported> = spans
        .iter()
        .filter(|other| other.span.parent_span_id == span.span_id)
        .collect();
    below.sort_by_key(|span| span.span.start_time_unix_nano);
    for child in below {
        branch(child, spans, depth + 1, lines);
    }
}

/// A running collector. Clones share it.
#[derive(Clone, Debug)]
pub struct Collector {
    port: u16,
    spans: Arc<Mutex<Vec<Exported>>>,
}

impl Collector {
    /// Starts a collector on a port of its own.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let collector = Self {
            port: listener.local_addr()?.port(),
            spans: Arc::default(),
        };
        let server = Server::builder().add_service(TraceServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok(collector)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens, for OTLP over gRPC.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What a service's environment needs to export here, and soon.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", self.endpoint()),
            ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()),
        ]
    }

    /// Everything exported so far.
    pub fn spans(&self) -> Vec<Exported> {
        self.lock().clone()
    }

    /// The spans of a trace, once there are as many of them (or after five seconds).
    pub async fn trace(&self, trace_id: &str, count: usize) -> Vec<Exported> {
        for _ in 0..100 {
            let of_trace = self.of_trace(trace_id);
            if of_trace.len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // One more batch, so that a span too many is seen too.
        tokio::time::sleep(Duration::from_millis(150)).await;
        self.of_trace(trace_id)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Exported>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of_trace(&self, trace_id: &str) -> Vec<Exported> {
        let mut spans = self.spans();
        spans.retain(|span| span.trace_id() == trace_id);
        spans
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut spans = self.lock();
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            let named = Exported {
                service: String::new(),
                version: String::new(),
                commit: String::new(),
                span: Span {
                    attributes,
                    ..Span::default()
                },
            };
            let service = named.attribute("service.name");
            let version = named.attribute("service.version");
            let commit = named.attribute("vcs.ref.head.revision");
            let of_resource = resource
                .scope_spans
                .into_iter()
                .flat_map(|scope| scope.spans);
            spans.extend(of_resource.map(|span| Exported {
                service: service.clone(),
                version: version.clone(),
                commit: commit.clone(),
                span,
            }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_a_tree_in_the_order_of_beginnings() {
        let span = |id: u8, parent: &[u8], name: &str, start| Exported {
            service: "facade".to_owned(),
            version: String::new(),
            commit: String::new(),
            span: Span {
                span_id: vec![id],
                parent_span_id: parent.to_vec(),
                name: name.to_owned(),
                start_time_unix_nano: start,
                end_time_unix_nano: start + 1_500_000,
                ..Span::default()
            },
        };
        let spans = [
            span(3, &[1], "second", 30),
            span(2, &[1], "first", 20),
            span(4, &[2], "below", 25),
            span(1, &[9], "root", 10),
        ];
        let expected = "  root [facade] 1.5 ms\n    first [facade] 1.5 ms\n      below [facade] 1.5 ms\n    second [facade] 1.5 ms\n";
        assert_eq!(tree(&spans), expected);
    }
}
