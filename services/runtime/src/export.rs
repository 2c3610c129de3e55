//! What becomes of spans on their way to the collector: counted, and told where they begin to be lost. A process
//! whose traces go nowhere works as well as any other, so nobody would see it by anything else. All of it is told by
//! the exporter's own thread, outside any span, and so makes no span itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};

use crate::metrics::Metrics;

/// Why spans were lost.
const FAILED: &str = "failed";
const TIMEOUT: &str = "timeout";
const QUEUE_FULL: &str = "queue_full";
/// How many spans go in one message at the most. A few of them may have a megabyte, the effect of a large write, and
/// collectors refuse a message that is too large whole: one of more than 4 MiB, where nothing else is set.
const BATCH: usize = 16;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Labels {
    /// Why they were lost; empty where they were not.
    error_type: &'static str,
}

/// What is counted of spans, by OpenTelemetry's names. Clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct SpanMeters {
    exported: Family<Labels, Counter>,
    processed: Family<Labels, Counter>,
}

impl SpanMeters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let this = Self {
            exported: metrics.register(
                "otel_sdk_exporter_span_exported",
                "Spans that were sent to the collector, or were lost when they should have been",
                Family::default(),
            ),
            processed: metrics.register(
                "otel_sdk_processor_span_processed",
                "Spans that were taken to be sent, or were dropped because too many waited",
                Family::default(),
            ),
        };
        // From the start, so that the first one is an increase.
        for error_type in ["", FAILED, TIMEOUT] {
            count(&this.exported, error_type, 0);
        }
        for error_type in ["", QUEUE_FULL] {
            count(&this.processed, error_type, 0);
        }
        this
    }
}

fn count(family: &Family<Labels, Counter>, error_type: &'static str, spans: usize) {
    let spans = u64::try_from(spans).unwrap_or(u64::MAX);
    family.get_or_create(&Labels { error_type }).inc_by(spans);
}

/// Spans in batches to `exporter`, all of them counted, of which so many may wait.
pub(crate) fn counted<E: SpanExporter + 'static>(
    exporter: E,
    room: usize,
    batches: BatchConfigBuilder,
    meters: SpanMeters,
) -> impl SpanProcessor + use<E> {
    let queue = Arc::new(Queue {
        room,
        waiting: AtomicUsize::new(0),
        dropped: AtomicU64::new(0),
    });
    let exporter = Counted {
        exporter,
        meters: meters.clone(),
        queue: queue.clone(),
        lost: AtomicU64::new(0),
        told_of_dropped: AtomicBool::new(false),
    };
    let batches = batches
        .with_max_queue_size(room)
        .with_max_export_batch_size(BATCH.min(room))
        .build();
    Bounded {
        batches: BatchSpanProcessor::builder(exporter)
            .with_batch_config(batches)
            .build(),
        meters,
        queue,
    }
}

/// The spans that wait.
#[derive(Debug)]
struct Queue {
    room: usize,
    waiting: AtomicUsize,
    /// How many found no room, ever.
    dropped: AtomicU64,
}

/// Keeps the queue of the batches within its room. They do that by themselves as well, but tell nobody.
#[derive(Debug)]
struct Bounded {
    batches: BatchSpanProcessor,
    meters: SpanMeters,
    queue: Arc<Queue>,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        let Queue {
            room,
            waiting,
            dropped,
        } = &*self.queue;
        let one_more = |waiting| (waiting < *room).then_some(waiting + 1);
        match waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more) {
            Ok(_) => self.batches.on_end(span),
            // Told by the exporter: here a span of somebody's is being closed.
            Err(_) => {
                dropped.fetch_add(1, Ordering::AcqRel);
                count(&self.meters.processed, QUEUE_FULL, 1);
            }
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// Counts what is sent and what is lost.
#[derive(Debug)]
struct Counted<E> {
    exporter: E,
    meters: SpanMeters,
    queue: Arc<Queue>,
    /// How many were lost since the last that were sent.
    lost: AtomicU64,
    told_of_dropped: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.queue.waiting.fetch_sub(spans, Ordering::AcqRel);
        count(&self.meters.processed, "", spans);
        let outcome = self.exporter.export(batch).await;
        match &outcome {
            Ok(()) => {
                count(&self.meters.exported, "", spans);
                let lost = self.lost.swap(0, Ordering::AcqRel);
                if lost > 0 {
                    tracing::info!(lost, "spans are sent again");
                }
            }
            Err(error) => {
                let error_type = match error {
                    OTelSdkError::Timeout(_) => TIMEOUT,
                    OTelSdkError::AlreadyShutdown | OTelSdkError::InternalFailure(_) => FAILED,
                };
                count(&self.meters.exported, error_type, spans);
                let spans = u64::try_from(spans).unwrap_or(u64::MAX);
                if self.lost.fetch_add(spans, Ordering::AcqRel) == 0 {
                    tracing::warn!(%error, "spans can't be sent, and are lost until they can be");
                }
            }
        }
        // Once: how many it is, the metrics tell.
        if self.queue.dropped.load(Ordering::Acquire) > 0
            && !self.told_of_dropped.swap(true, Ordering::AcqRel)
        {
            let room = self.queue.room;
            tracing::warn!(
                room,
                "spans were dropped: more than there is room for waited to be sent"
            );
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        let lost = self.lost.load(Ordering::Acquire);
        if lost > 0 {
            tracing::warn!(lost, "the last spans were lost");
        }
        self.exporter.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on stops")]
mod tests {
    use std::sync::{Mutex, mpsc};

    use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;
    use crate::metrics::Format;

    const ROOM: usize = 2048;

    /// Says that it has begun, and waits to be told how it ends.
    #[derive(Debug)]
    struct Told {
        begun: mpsc::Sender<usize>,
        outcomes: Mutex<mpsc::Receiver<OTelSdkResult>>,
    }

    impl SpanExporter for Told {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.begun.send(batch.len()).unwrap();
            let outcomes = self.outcomes.lock().unwrap();
            outcomes.recv().unwrap_or(Ok(()))
        }
    }

    #[test]
    fn every_span_is_counted_by_what_became_of_it() {
        let metrics = Metrics::new("facade");
        let meters = SpanMeters::new(&metrics);
        let (begun, begins) = mpsc::channel();
        let (tell, outcomes) = mpsc::channel();
        let exporter = Told {
            begun,
            outcomes: Mutex::new(outcomes),
        };
        let provider = SdkTracerProvider::builder()
            .with_span_processor(counted(
                exporter,
                ROOM,
                BatchConfigBuilder::default(),
                meters,
            ))
            .build();
        let tracer = provider.tracer("test");
        let spans = |count: usize| (0..count).for_each(|_| tracer.start("span").end());
        // The first batch is on its way; behind it there is room for so many and not for five more.
        spans(BATCH);
        let first = begins.recv().unwrap();
        spans(ROOM + 5 - (BATCH - first));
        let counted = |name: &str, error_type: &str| {
            let text = metrics.encode(Format::Text);
            let series = format!("otel_sdk_{name}_total{{error_type=\"{error_type}\"}} ");
            let value = text.lines().find_map(|line| line.strip_prefix(&series));
            value.unwrap().parse::<usize>().unwrap()
        };
        assert_eq!(counted("processor_span_processed", QUEUE_FULL), 5);
        let failure = |text: &str| Err(OTelSdkError::InternalFailure(text.to_owned()));
        tell.send(failure("nobody is there")).unwrap();
        let second = begins.recv().unwrap();
        tell.send(Err(OTelSdkError::Timeout(Duration::from_secs(1))))
            .unwrap();
        let third = begins.recv().unwrap();
        drop(tell);
        provider.shutdown().unwrap();
        assert_eq!(counted("exporter_span_exported", FAILED), first);
        assert_eq!(counted("exporter_span_exported", TIMEOUT), second);
        let sent = counted("exporter_span_exported", "");
        assert!(sent >= third);
        assert_eq!(first + second + sent, BATCH + ROOM - (BATCH - first));
        assert_eq!(
            counted("processor_span_processed", ""),
            first + second + sent
        );
    }
}
