//! The registry of a process's metrics, written out on the admin port: as OpenMetrics, with exemplars that name
//! traces, or in Prometheus' older text format, which has none.

use std::{
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use opentelemetry::trace::TraceContextExt;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        exemplar::HistogramWithExemplars,
        family::{Family, MetricConstructor},
        info::Info,
    },
    registry::{Metric, Registry, Unit},
};

use crate::version;

/// The bounds of durations over a network, in seconds: those that OpenTelemetry advises for
/// `http.server.request.duration` and `rpc.server.call.duration`, and longer ones up to our deadlines.
pub const NETWORK_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0,
];

/// The bounds of durations at a database, in seconds: those that OpenTelemetry advises for
/// `db.client.operation.duration`.
pub const DATABASE_SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// How metrics are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// OpenMetrics 1.0, with exemplars.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
}

impl Format {
    /// The one that a scraper's `Accept` asks for.
    #[must_use]
    pub fn of(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    /// What stands in `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

type Look = Box<dyn Fn() + Send>;

/// A process's metrics. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    looks: Arc<Mutex<Vec<Look>>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// A registry that holds `target_info` and nothing else: which service this is, in which build.
    #[must_use]
    pub fn new(service: &'static str) -> Self {
        let mut registry = Registry::default();
        registry.register(
            "target",
            "The process that these metrics are of",
            Info::new([
                ("service_name", service),
                ("service_version", version::VERSION),
                ("vcs_ref_head_revision", version::COMMIT),
            ]),
        );
        Self {
            registry: Arc::new(Mutex::new(registry)),
            looks: Arc::default(),
        }
    }

    /// Registers `metric` and gives it back. `name` without unit suffix or `_total`, `help` a sentence
    /// without its full stop.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        lock(&self.registry).register(name, help, metric.clone());
        metric
    }

    /// Registers a histogram of durations; `_seconds` is put behind `name`. `bounds` are those of its buckets.
    #[must_use]
    pub fn durations<L>(&self, name: &str, help: &str, bounds: &'static [f64]) -> Durations<L>
    where
        L: Clone + fmt::Debug + Eq + Hash + EncodeLabelSet + Send + Sync + 'static,
    {
        let family = Family::new_with_constructor(Bounds(bounds));
        lock(&self.registry).register_with_unit(name, help, Unit::Seconds, family.clone());
        Durations { family }
    }

    /// Calls `look` before the metrics are written, each time: it sets those that nobody counts.
    pub fn before_each_scrape(&self, look: impl Fn() + Send + 'static) {
        lock(&self.looks).push(Box::new(look));
    }

    /// All metrics.
    #[must_use]
    pub fn encode(&self, format: Format) -> String {
        for look in lock(&self.looks).iter() {
            look();
        }
        let mut text = String::new();
        // Writing into a String can't fail.
        let _written = text::encode(&mut text, &lock(&self.registry));
        match format {
            Format::OpenMetrics => text,
            Format::Text => without_openmetrics(&text),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A histogram of durations for each set of labels. Clones share them.
#[derive(Clone, Debug)]
pub struct Durations<L> {
    family: Family<L, HistogramWithExemplars<Exemplar>, Bounds>,
}

impl<L: Clone + Eq + Hash> Durations<L> {
    /// Counts a duration. Where the present trace is sampled, it is the bucket's exemplar from now on.
    pub fn observe(&self, labels: &L, duration: Duration) {
        self.family.get_or_create(labels).observe(
            duration.as_secs_f64(),
            Exemplar::current(),
            Some(SystemTime::now()),
        );
    }
}

/// Labels of a metric that has none.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, EncodeLabelSet)]
pub struct NoLabels {}

#[derive(Clone, Copy, Debug)]
struct Bounds(&'static [f64]);

impl MetricConstructor<HistogramWithExemplars<Exemplar>> for Bounds {
    fn new_metric(&self) -> HistogramWithExemplars<Exemplar> {
        HistogramWithExemplars::new(self.0.iter().copied())
    }
}

/// The span that a count was made in, by the names that Prometheus and Grafana look for.
#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Exemplar {
    trace_id: String,
    span_id: String,
}

impl Exemplar {
    fn current() -> Option<Self> {
        let context = opentelemetry::Context::current();
        let span = context.span();
        let span = span.span_context();
        span.is_sampled().then(|| Self {
            trace_id: span.trace_id().to_string(),
            span_id: span.span_id().to_string(),
        })
    }
}

/// Rewrites OpenMetrics as Prometheus' text format: counters and infos are called what their samples are, and
/// there are no units, exemplars and end.
fn without_openmetrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut help = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let (end, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                other => ("", other),
            };
            out.push_str(&format!(
                "# HELP {name}{end} {help}\n# TYPE {name}{end} {kind}\n"
            ));
        } else if !line.starts_with('#') {
            // What follows is the exemplar; nothing before it could end so, as labels end in a brace.
            let sample = match line.rfind(" # {") {
                Some(at) if line[..at].ends_with(|c: char| c.is_ascii_digit()) => &line[..at],
                _ => line,
            };
            out.push_str(sample);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on stops")]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn a_scraper_that_asks_for_openmetrics_gets_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                          version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::of(prometheus), Format::OpenMetrics);
        for accept in ["", "*/*", "text/plain"] {
            assert_eq!(Format::of(accept), Format::Text, "{accept}");
        }
    }

    #[test]
    fn the_older_format_names_counters_as_their_samples() {
        let metrics = Metrics::new("facade");
        let counter: Counter = metrics.register("things", "Things", Counter::default());
        let looked = counter.clone();
        metrics.before_each_scrape(move || {
            looked.inc();
        });
        let durations = metrics.durations("work", "How long", &[1.0]);
        durations.observe(&NoLabels {}, Duration::from_millis(1500));
        let text = metrics.encode(Format::Text);
        assert!(text.contains(
            "# HELP things_total Things.\n# TYPE things_total counter\nthings_total 1\n"
        ));
        assert!(text.contains("# TYPE target_info gauge\ntarget_info{service_name=\"facade\""));
        assert!(
            text.contains(
                "work_seconds_bucket{le=\"1.0\"} 0\nwork_seconds_bucket{le=\"+Inf\"} 1\n"
            )
        );
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
        let open = metrics.encode(Format::OpenMetrics);
        assert!(open.contains("# TYPE things counter\nthings_total 2\n"));
        assert!(open.contains("# UNIT work_seconds seconds\n") && open.ends_with("# EOF\n"));
    }

    #[test]
    fn an_exemplar_is_cut_and_nothing_else() {
        let open = "# HELP a A.\n# TYPE a histogram\n\
                    a_bucket{le=\"1.0\",x=\" # {\"} 3 # {trace_id=\"4b\"} 0.5 1700000000.1\n\
                    a_bucket{le=\"2.0\",x=\" # {\"} 3\n# EOF\n";
        let text = without_openmetrics(open);
        assert_eq!(
            text,
            "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"1.0\",x=\" # {\"} 3\na_bucket{le=\"2.0\",x=\" # {\"} 3\n"
        );
    }
}
