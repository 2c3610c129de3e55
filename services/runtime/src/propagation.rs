//! W3C Trace Context over HTTP headers and gRPC metadata.

use http::HeaderMap;
use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId, global,
    propagation::{Extractor, Injector},
    trace::{SpanContext, TraceContextExt, TraceState},
};
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Makes `span` a child of the trace that a caller's headers name; the root of a trace of its own
/// where they name none. Call it before the span is entered.
pub fn continue_trace(span: &Span, headers: &HeaderMap) {
    let parent =
        global::get_text_map_propagator(|propagator| propagator.extract(&Headers(headers)));
    // Fails only where no OpenTelemetry layer is installed: then there is no trace to continue.
    let _without_layer = span.set_parent(parent);
}

/// Makes `span` a child of a span whose ids were kept as text, in a trace that is sampled. Where they can't be read it
/// is the root of a trace of its own. Call it before the span is entered.
pub fn continue_kept(span: &Span, trace_id: &str, span_id: &str) {
    if let (Ok(trace_id), Ok(span_id)) = (TraceId::from_hex(trace_id), SpanId::from_hex(span_id)) {
        let kept = SpanContext::new(
            trace_id,
            span_id,
            TraceFlags::SAMPLED,
            true,
            TraceState::default(),
        );
        // As above.
        let _without_layer = span.set_parent(Context::new().with_remote_span_context(kept));
    }
}

/// Says in `span` that `other`, of another trace, belongs to it.
pub fn link(span: &Span, other: &Span) {
    span.add_link(other.context().span().span_context().clone());
}

/// Writes the current span's context into the metadata of an outgoing gRPC call.
pub fn inject(metadata: &mut MetadataMap) {
    let context = Span::current().context();
    inject_context(&context, metadata);
}

fn inject_context(context: &Context, metadata: &mut MetadataMap) {
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(context, &mut Metadata(metadata));
    });
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }
    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

struct Metadata<'a>(&'a mut MetadataMap);

impl Injector for Metadata<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (
            MetadataKey::from_bytes(key.as_bytes()),
            MetadataValue::try_from(value),
        ) {
            self.0.insert(key, value);
        }
    }
}
