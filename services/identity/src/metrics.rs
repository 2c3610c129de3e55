//! What identity counts.

use identity_runtime::metrics::Metrics;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
};

/// The label of a refused token.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(crate) struct FaultLabels {
    pub(crate) cause: &'static str,
}

/// What identity counts. Clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct IdentityMetrics {
    pub(crate) pool_wait: Histogram,
    pub(crate) retries: Counter,
    pub(crate) refused_tokens: Family<FaultLabels, Counter>,
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
