//! What identity counts. docs/metrics.md explains each of them; a test compares the two.

use std::time::Duration;

use identity_runtime::{
    metrics::{DATABASE_SECONDS, Durations, Metrics, NETWORK_SECONDS, NoLabels},
    tls::OwnCertificate,
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use crate::error::TokenFault;

/// The bounds of the buckets of delays to watchers, in seconds: 50 ms is what is aimed at, 1 s what is promised.
const DELAY_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// What the pool is called in its metrics.
pub(crate) const POOL: PoolLabels = PoolLabels {
    db_client_connection_pool_name: "identity",
};

/// The label of a refused token.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(crate) struct FaultLabels {
    pub(crate) cause: &'static str,
}

/// The labels of an answered call.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(crate) struct CallLabels {
    pub(crate) rpc_system_name: &'static str,
    /// A method of the contract, or `_OTHER`.
    pub(crate) rpc_method: &'static str,
    /// gRPC's name of the code: `OK`, `NOT_FOUND`.
    pub(crate) rpc_response_status_code: &'static str,
    /// The reason of a refusal; empty where there was none.
    pub(crate) error_type: String,
}

/// The labels of a statement.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(crate) struct StatementLabels {
    pub(crate) db_system_name: &'static str,
    pub(crate) db_operation_name: &'static str,
    pub(crate) db_query_summary: &'static str,
    /// Why it failed; empty where it did not.
    pub(crate) error_type: &'static str,
}

/// The label of everything about the pool.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(crate) struct PoolLabels {
    db_client_connection_pool_name: &'static str,
}

/// The labels of connections.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ConnectionLabels {
    db_client_connection_pool_name: &'static str,
    db_client_connection_state: &'static str,
}

/// The label of counted sites.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(crate) struct ContactLabels {
    pub(crate) last_contact: &'static str,
}

/// The label of counted credentials.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(crate) struct ExpiryLabels {
    pub(crate) within: &'static str,
}

/// What is counted at the database. Clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct DbMetrics {
    /// 1 while the database answers and has our schema.
    pub(crate) up: Gauge,
    pub(crate) retries: Counter,
    pub(crate) statements: Durations<StatementLabels>,
    pool_wait: Durations<PoolLabels>,
    connections: Family<ConnectionLabels, Gauge>,
    most_connections: Family<PoolLabels, Gauge>,
    pending: Family<PoolLabels, Gauge>,
    timeouts: Family<PoolLabels, Counter>,
}

impl DbMetrics {
    fn new(metrics: &Metrics) -> Self {
        let this = Self {
            up: metrics.register(
                "identity_database_up",
                "Whether the database answers, takes writes and has the schema of this process, looked at every two seconds",
                Gauge::default(),
            ),
            retries: metrics.register(
                "identity_db_retries",
                "Transactions that were run again because they lost a race",
                Counter::default(),
            ),
            statements: metrics.durations(
                "db_client_operation_duration",
                "How long statements took, by what they are for",
                DATABASE_SECONDS,
            ),
            pool_wait: metrics.durations(
                "db_client_connection_wait_time",
                "How long calls waited for a connection to the database",
                DATABASE_SECONDS,
            ),
            connections: metrics.register(
                "db_client_connection_count",
                "Open connections to the database, by state",
                Family::default(),
            ),
            most_connections: metrics.register(
                "db_client_connection_max",
                "The most connections that may be open",
                Family::default(),
            ),
            pending: metrics.register(
                "db_client_connection_pending_requests",
                "Calls that wait for a connection to the database",
                Family::default(),
            ),
            timeouts: metrics.register(
                "db_client_connection_timeouts",
                "Calls that were sent away because no connection was to be had in time",
                Family::default(),
            ),
        };
        // So that they are there before anything happens.
        drop(this.pending.get_or_create(&POOL));
        drop(this.timeouts.get_or_create(&POOL));
        this
    }

    /// Sets how many connections are in use, how many are not, and how many there may be.
    pub(crate) fn set_connections(&self, used: u32, idle: u32, most: u32) {
        for (state, count) in [("used", used), ("idle", idle)] {
            self.connections
                .get_or_create(&ConnectionLabels {
                    db_client_connection_pool_name: POOL.db_client_connection_pool_name,
                    db_client_connection_state: state,
                })
                .set(count.into());
        }
        self.most_connections.get_or_create(&POOL).set(most.into());
    }

    /// Counts a call that begins to wait for a connection.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.pending.get_or_create(&POOL).inc();
        Waiting {
            metrics: self,
            begun: std::time::Instant::now(),
        }
    }

    /// Counts a call that was sent away.
    pub(crate) fn timed_out(&self) {
        self.timeouts.get_or_create(&POOL).inc();
    }
}

/// What is counted of turns to write to a site. Clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct TurnMetrics {
    waiting: Gauge,
    pub(crate) timeouts: Counter,
}

impl TurnMetrics {
    fn new(metrics: &Metrics) -> Self {
        Self {
            waiting: metrics.register(
                "identity_turns_waiting",
                "Writes that wait for a turn to write to their site",
                Gauge::default(),
            ),
            timeouts: metrics.register(
                "identity_turn_timeouts",
                "Writes that were sent away because too many to their site waited already",
                Counter::default(),
            ),
        }
    }

    /// Counts a write that waits for its turn, until this is dropped.
    pub(crate) fn wait(&self) -> impl Drop + use<> {
        self.waiting.inc();
        WaitingForTurn(self.waiting.clone())
    }
}

struct WaitingForTurn(Gauge);

impl Drop for WaitingForTurn {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A call that waits for a connection; its wait is counted when this is dropped, also where the caller leaves.
pub(crate) struct Waiting<'a> {
    metrics: &'a DbMetrics,
    begun: std::time::Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.metrics.pending.get_or_create(&POOL).dec();
        self.metrics.pool_wait.observe(&POOL, self.begun.elapsed());
    }
}

/// What watches of events count. Clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct WatchMetrics {
    pub(crate) watchers: Gauge,
    pub(crate) behind: Gauge,
    /// For how long the watch that is furthest behind has had something to send.
    pub(crate) behind_seconds: Gauge<f64, std::sync::atomic::AtomicU64>,
    pub(crate) lags: Counter,
    delay: Durations<NoLabels>,
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
            behind_seconds: metrics.register(
                "identity_watch_behind_seconds",
                "For how long the watch that is furthest behind has not caught up; up to 5 where none is behind",
                Gauge::default(),
            ),
            lags: metrics.register(
                "identity_watch_lags",
                "Times that a watch fell behind because its client reads too slowly",
                Counter::default(),
            ),
            delay: metrics.durations(
                "identity_watch_delay",
                "From the moment of an event to when it was sent, in watches that are not behind",
                DELAY_SECONDS,
            ),
        }
    }

    /// Counts an event that was sent so long after its moment.
    pub(crate) fn sent_after(&self, delay: Duration) {
        self.delay.observe(&NoLabels {}, delay);
    }
}

/// What is counted in the database again and again: how fresh the sites are. Every process counts the same.
#[derive(Clone, Debug)]
pub(crate) struct CensusMetrics {
    pub(crate) sites: Family<ContactLabels, Gauge>,
    pub(crate) silent_sites: Gauge,
    pub(crate) expiring: Family<ExpiryLabels, Gauge>,
    /// When the last census was, in seconds since 1970.
    pub(crate) taken_at: Gauge,
}

impl CensusMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            sites: metrics.register(
                "identity_sites",
                "Sites by how long ago their identity provider last called with a token that works",
                Family::default(),
            ),
            silent_sites: metrics.register(
                "identity_sites_silent",
                "Sites whose identity provider has called before, has a token that was not revoked, and has been silent \
                 for longer than ROSTER_SILENT_AFTER_HOURS",
                Gauge::default(),
            ),
            expiring: metrics.register(
                "identity_credentials_expiring",
                "Credentials that work now, are used, and will expire within that time with no newer one beside them",
                Family::default(),
            ),
            taken_at: metrics.register(
                "identity_census_timestamp_seconds",
                "When sites and credentials were last counted, in seconds since 1970",
                Gauge::default(),
            ),
        }
    }
}

/// What identity counts. Clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct IdentityMetrics {
    pub(crate) db: DbMetrics,
    pub(crate) turns: TurnMetrics,
    pub(crate) calls: Durations<CallLabels>,
    pub(crate) refused_tokens: Family<FaultLabels, Counter>,
    pub(crate) refused_handshakes: Counter,
    pub(crate) certificate: OwnCertificate,
    pub(crate) unknown_members: Counter,
    pub(crate) events: Counter,
}

impl IdentityMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let this = Self {
            db: DbMetrics::new(metrics),
            turns: TurnMetrics::new(metrics),
            calls: metrics.durations(
                "rpc_server_call_duration",
                "How long calls took, by method and how they ended",
                NETWORK_SECONDS,
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
            certificate: OwnCertificate::new(metrics, "server"),
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
        };
        // From the start, so that the first one is an increase.
        for fault in TokenFault::ALL {
            let cause = fault.as_str();
            drop(this.refused_tokens.get_or_create(&FaultLabels { cause }));
        }
        this
    }
}
