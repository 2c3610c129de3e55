//! W3C Trace Context from a caller's headers. How it is passed on to identity stands in `roster-client`.

use http::HeaderMap;
use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId, global,
    propagation::Extractor,
    trace::{SpanContext, TraceContextExt, TraceState},
};
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

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }
    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
