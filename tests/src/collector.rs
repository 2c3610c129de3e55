//! A collector of OpenTelemetry traces: what the services export goes into memory.

use std::{
    sync::{Arc, Mutex},
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

/// A running collector. Clones share it.
#[derive(Clone, Debug)]
pub struct Collector {
    port: u16,
    spans: Arc<Mutex<Vec<Exported>>>,
}

impl Collector {
    /// Starts a collector on a port of its own.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let collector = Self {
            port: listener.local_addr().unwrap().port(),
            spans: Arc::default(),
        };
        let server = Server::builder().add_service(TraceServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        collector
    }

    /// What a service's environment needs to export here, and soon.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                format!("http://127.0.0.1:{}", self.port),
            ),
            ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()),
        ]
    }

    /// Everything exported so far.
    pub fn spans(&self) -> Vec<Exported> {
        self.spans.lock().unwrap().clone()
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
        let mut spans = self.spans.lock().unwrap();
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
