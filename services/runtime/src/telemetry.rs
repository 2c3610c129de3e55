//! Logs and traces: one subscriber that writes log lines to standard error, each with its trace id,
//! and hands spans to OpenTelemetry.

use std::{collections::BTreeMap, error::Error, fmt, io, time::Duration};

use clap::{Args, ValueEnum};
use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{Status, TraceContextExt, TraceId, TracerProvider},
};
use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{BatchConfigBuilder, ParentBasedSampler, Sampler, SdkTracerProvider},
};
use tonic::transport::ClientTlsConfig;
use tracing::{
    Event, Span, Subscriber,
    field::{Field, Visit},
};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};
use uuid::Uuid;

use crate::{
    export,
    metrics::Metrics,
    settings::{number, url},
    version,
};

/// Libraries that say at `info` what nobody asked for, and whose spans would trace the exporter itself.
const QUIET: [&str; 4] = [
    "h2=warn",
    "hyper=warn",
    "hyper_util=warn",
    "opentelemetry=warn",
];

/// The version of OpenTelemetry's semantic conventions by which spans, attributes and metrics are named.
const CONVENTIONS: &str = "https://opentelemetry.io/schemas/1.42.0";

/// The attribute by which the processes of one service are told apart.
const INSTANCE: &str = "service.instance.id";

/// Who calls the process, and with it what a caller's "not sampled" counts for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Callers {
    /// Processes of ours: what they decided about a trace is kept, so that a trace is kept whole or not at all.
    Inside,
    /// Anybody: who asks for a trace gets one, but nobody may switch off what we see of a request.
    Outside,
}

/// What a log line looks like.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// One readable line an event.
    Text,
    /// One JSON object an event.
    Json,
}

/// The settings of logs and traces, the same for every process.
#[derive(Args, Clone, Debug)]
pub struct TelemetryArgs {
    /// Which events are logged and traced: a level (error, warn, info, debug, trace), or directives such as
    /// `info,scim_facade=debug`.
    #[arg(
        long = "log",
        global = true,
        env = "ROSTER_LOG",
        default_value = "info",
        value_parser = filter,
        value_name = "FILTER"
    )]
    pub filter: String,
    /// What a log line looks like.
    #[arg(
        long,
        global = true,
        env = "ROSTER_LOG_FORMAT",
        value_enum,
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
    /// Where spans go, an OTLP/gRPC address such as http://collector:4317, or one that begins with https://, with
    /// the system's authorities. Unset: nowhere.
    #[arg(long, global = true, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_parser = url, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// The share of traces begun here that is exported, 0.0 to 1.0. A caller's decision to export is kept; at the
    /// facade, which anybody can call, its decision not to is no decision.
    #[arg(long, global = true, env = "ROSTER_TRACE_RATIO", default_value = "1.0", value_parser = ratio, value_name = "RATIO")]
    pub trace_ratio: f64,
    /// What else the spans of this process say of it, such as `k8s.pod.name=facade-1,deployment.environment.name=live`.
    /// Unset: nothing. Its name and its build can't be changed; a service.instance.id is made up where none is given.
    #[arg(long, global = true, env = "OTEL_RESOURCE_ATTRIBUTES", value_parser = pairs, value_name = "PAIRS")]
    pub resource_attributes: Option<String>,
    /// How many spans may wait to be sent, 1 to 1000000. Those that find no room are dropped, and counted.
    #[arg(long, global = true, env = "OTEL_BSP_MAX_QUEUE_SIZE", default_value = "2048", value_parser = number::<usize>(1..=1_000_000), value_name = "N")]
    pub span_queue: usize,
    /// How long a span waits at the most for others to be sent with, 1 to 600000 milliseconds.
    #[arg(long, global = true, env = "OTEL_BSP_SCHEDULE_DELAY", default_value = "5000", value_parser = number::<u64>(1..=600_000), value_name = "MS")]
    pub span_delay: u64,
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("must be a number, 0.0 to 1.0".to_owned()),
    }
}

fn pairs(text: &str) -> Result<String, String> {
    let good = |pair: &str| {
        pair.split_once('=')
            .is_some_and(|(key, _)| !key.trim().is_empty())
    };
    match text.split_terminator(',').all(good) {
        true => Ok(text.to_owned()),
        false => Err("must be key=value, or several, separated by commas".to_owned()),
    }
}

fn filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "must be a level or directives such as info,scim_facade=debug: {error}"
        )),
    }
}

/// The running telemetry of a process.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

/// Starts logs and traces for `service`, the process's name in every span, and counts in `metrics` what becomes of
/// its spans. Once a process, inside a tokio runtime.
///
/// # Errors
/// A filter that does not parse, an endpoint that is no address, or a second call.
pub fn init(
    service: &'static str,
    args: &TelemetryArgs,
    callers: Callers,
    metrics: &Metrics,
) -> Result<Telemetry, Box<dyn Error + Send + Sync>> {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let meters = export::SpanMeters::new(metrics);
    let mut provider = SdkTracerProvider::builder()
        .with_resource(resource(service, args.resource_attributes.as_deref()))
        .with_sampler(sampler(callers, args.trace_ratio));
    if let Some(endpoint) = &args.otlp_endpoint {
        let mut exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint);
        if endpoint.starts_with("https://") {
            exporter = exporter.with_tls_config(ClientTlsConfig::new().with_native_roots());
        }
        let batches = BatchConfigBuilder::default()
            .with_scheduled_delay(Duration::from_millis(args.span_delay));
        let spans = export::counted(exporter.build()?, args.span_queue, batches, meters);
        provider = provider.with_span_processor(spans);
    }
    let provider = provider.build();

    let filter = EnvFilter::try_new(format!("{},{}", QUIET.join(","), args.filter))?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .event_format(Line {
            format: args.log_format,
        });
    let scope = InstrumentationScope::builder(service)
        .with_version(version::VERSION)
        .with_schema_url(CONVENTIONS)
        .build();
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer_with_scope(scope))
        .with_threads(false)
        .with_location(false)
        .with_tracked_inactivity(false);
    tracing_subscriber::registry()
        .with(lines.and_then(spans).with_filter(filter))
        .try_init()?;
    tracing::info!(
        service,
        version = version::VERSION,
        commit = version::COMMIT,
        "starting"
    );
    Ok(Telemetry { provider })
}

/// What every span says of the process. What the environment says of it does not go before what it knows better:
/// its name, by which rules and dashboards look for it, and its build.
fn resource(service: &'static str, given: Option<&str>) -> Resource {
    let pairs = given.unwrap_or_default().split_terminator(',');
    let given = pairs
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| KeyValue::new(key.trim().to_owned(), value.trim().to_owned()));
    Resource::builder()
        .with_attribute(KeyValue::new(INSTANCE, Uuid::new_v4().to_string()))
        .with_attributes(given)
        .with_service_name(service)
        .with_attribute(KeyValue::new("service.version", version::VERSION))
        .with_attribute(KeyValue::new("vcs.ref.head.revision", version::COMMIT))
        .build()
}

fn sampler(callers: Callers, ratio: f64) -> ParentBasedSampler {
    let begun_here = Sampler::TraceIdRatioBased(ratio);
    let sampler = Sampler::parent_based(begun_here.clone());
    match callers {
        Callers::Inside => sampler,
        Callers::Outside => sampler.with_remote_parent_not_sampled(begun_here),
    }
}

impl Telemetry {
    /// Sends what spans are left. Blocks for at most five seconds where the collector is away.
    pub fn shutdown(self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "spans were left unsent");
        }
    }
}

/// The trace id of the current span, 32 hexadecimal digits; all zeros outside any span.
#[must_use]
pub fn current_trace_id() -> String {
    opentelemetry::Context::current()
        .span()
        .span_context()
        .trace_id()
        .to_string()
}

/// The id of the current span, 16 hexadecimal digits, where its trace is sampled.
#[must_use]
pub fn sampled_span_id() -> Option<String> {
    let context = opentelemetry::Context::current();
    let span = context.span();
    let span = span.span_context();
    span.is_sampled().then(|| span.span_id().to_string())
}

/// Puts an attribute on the current span, for the trace alone: it is in no log line.
pub fn set_attribute(name: &'static str, value: impl Into<opentelemetry::Value>) {
    Span::current().set_attribute(name, value);
}

/// Says on the current span why its work was not done: `error.type` in any case, and the status of an error where
/// the fault is ours. A refusal that is right leaves the status alone, so that errors can be looked for.
pub fn record_failure(error_type: &str, is_fault: bool) {
    let span = Span::current();
    span.set_attribute("error.type", error_type.to_owned());
    if is_fault {
        span.set_status(Status::error(error_type.to_owned()));
    }
}

/// Writes an event as one line, its fields and the trace id among them.
struct Line {
    format: LogFormat,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let trace = opentelemetry::Context::current()
            .span()
            .span_context()
            .trace_id();
        let time = now();
        let level = event.metadata().level();
        let target = event.metadata().target();
        match self.format {
            LogFormat::Text => {
                write!(writer, "{time} {level:>5} {target}: {}", fields.message)?;
                for (name, value) in &fields.values {
                    match value {
                        serde_json::Value::String(text) if !text.contains([' ', '"', '=']) => {
                            write!(writer, " {name}={text}")?;
                        }
                        other => write!(writer, " {name}={other}")?,
                    }
                }
                if trace != TraceId::INVALID {
                    write!(writer, " trace_id={trace}")?;
                }
                writeln!(writer)
            }
            LogFormat::Json => {
                let mut object = serde_json::Map::new();
                object.insert("timestamp".to_owned(), time.into());
                object.insert("level".to_owned(), level.as_str().into());
                object.insert("target".to_owned(), target.into());
                object.insert("message".to_owned(), fields.message.into());
                if trace != TraceId::INVALID {
                    object.insert("trace_id".to_owned(), trace.to_string().into());
                }
                object.extend(
                    fields
                        .values
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value)),
                );
                writeln!(writer, "{}", serde_json::Value::Object(object))
            }
        }
    }
}

/// The present moment in RFC 3339 with milliseconds, by tracing-subscriber's own clock.
fn now() -> String {
    use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
    let mut text = String::new();
    // Writing into a String can't fail.
    let _written = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

#[derive(Default)]
struct Fields {
    message: String,
    values: BTreeMap<&'static str, serde_json::Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: serde_json::Value) {
        if field.name() == "message" {
            self.message = match value {
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
        } else {
            self.values.insert(field.name(), value);
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::{
        Context, Key, SpanId, TraceFlags,
        trace::{SpanContext, SpanKind, TraceState},
    };
    use opentelemetry_sdk::trace::{SamplingDecision, ShouldSample};

    use super::*;

    #[test]
    fn what_the_environment_says_of_a_process_is_in_its_spans() {
        let of = |given, key: &'static str| {
            let value = resource("facade", given).get(&Key::new(key));
            value.map(|value| value.to_string()).unwrap_or_default()
        };
        let given = Some("k8s.pod.name = facade-1,service.instance.id=i=1,service.name=other,");
        assert_eq!(of(given, "k8s.pod.name"), "facade-1");
        assert_eq!(of(given, INSTANCE), "i=1");
        assert_eq!(of(given, "service.name"), "facade");
        assert_eq!(of(given, "service.version"), version::VERSION);
        assert_eq!(of(None, "service.name"), "facade");
        let made_up = [of(None, INSTANCE), of(None, INSTANCE)];
        assert!(made_up[0].len() == 36 && made_up[0] != made_up[1]);
        assert!(pairs("a=1, b=").is_ok());
        for wrong in ["a", "=1", "a=1,b"] {
            assert!(pairs(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn at_the_edge_nobody_switches_a_trace_off_and_inside_the_decision_is_kept() {
        let trace_id = TraceId::from(u128::MAX / 3);
        let sampled = |callers, ratio, flags| {
            let parent = SpanContext::new(
                trace_id,
                SpanId::from(7),
                flags,
                true,
                TraceState::default(),
            );
            let parent = Context::new().with_remote_span_context(parent);
            let decided = sampler(callers, ratio).should_sample(
                Some(&parent),
                trace_id,
                "GET",
                &SpanKind::Server,
                &[],
                &[],
            );
            decided.decision == SamplingDecision::RecordAndSample
        };
        let (yes, no) = (TraceFlags::SAMPLED, TraceFlags::default());
        for (callers, ratio, flags, expected) in [
            (Callers::Outside, 1.0, no, true),
            (Callers::Outside, 0.0, no, false),
            (Callers::Outside, 0.0, yes, true),
            (Callers::Inside, 1.0, no, false),
            (Callers::Inside, 0.0, yes, true),
        ] {
            assert_eq!(
                sampled(callers, ratio, flags),
                expected,
                "{callers:?} {ratio} {flags:?}"
            );
        }
    }
}
