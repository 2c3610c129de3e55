//! What identity counts.

use identity_runtime::metrics::Metrics;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
};

/// The label of a refused token.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(crate) struct FaultLabels {
    pub(crate) cause: &'static str,
}

/// What watches of events count. Clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct WatchMetrics {
    pub(crate) watchers: Gauge,
    pub(crate) behind: Gauge,
    pub(crate) lags: Counter,
    pub(crate) delay: Histogram,
}

impl WatchMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            watchers: metrics.register(
                "identity_watchers",
                "Watches of events that are open",
                Gauge::default(),
            ),
            behind: metrics.register(
                "identity_watchers_behind",
                "Open watches that read on by themselves to catch up",
                Gauge::default(),
            ),
            lags: metrics.register(
                "identity_watch_lags",
                "Times that a watch fell behind because its client reads too slowly",
                Counter::default(),
            ),
            delay: metrics.register(
                "identity_watch_delay_seconds",
                "From the moment of an event to when it was sent, in watches that are not behind",
                Histogram::new(exponential_buckets(0.002, 2.0, 12)),
            ),
        }
    }
}

/// What identity counts. Clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct IdentityMetrics {
    pub(crate) pool_wait: Histogram,
    pub(crate) retries: Counter,
    pub(crate) refused_tokens: Family<FaultLabels, Counter>,
    pub(crate) refused_handshakes: Counter,
    pub(crate) unknown_members: Counter,
    pub(crate) events: Counter,
}

impl IdentityMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            pool_wait: metrics.register(
                "identity_db_pool_wait_seconds",
                "How long calls waited for their turn at the database",
                Histogram::new(exponential_buckets(0.000_5, 4.0, 8)),
            ),
            retries: metrics.register(
                "identity_db_retries",
                "Transactions that were run again because they lost a race",
                Counter::default(),
            ),
            refused_tokens: metrics.register(
                "identity_tokens_refused",
                "Tokens that were not accepted, by cause",
                Family::default(),
            ),
            refused_handshakes: metrics.register(
                "identity_tls_handshakes_refused",
                "Connections that did not come to speak TLS: no acceptable certificate, or no TLS at all",
                Counter::default(),
            ),
            unknown_members: metrics.register(
                "identity_unknown_members",
                "Ids in membership changes that were no members of the site",
                Counter::default(),
            ),
            events: metrics.register(
                "identity_events",
                "Events written: changes made",
                Counter::default(),
            ),
        }
    }
}
