//! The database: the only place that blocks a thread, begins a transaction or knows a connection.
//!
//! A call waits for a permit (as many as there are connections) without holding a thread, then does its
//! whole transaction on a blocking thread. The permit goes with the work: a caller that leaves frees it
//! only when the thread is done, so the threads never outnumber the connections.

mod error;
mod migrate;
mod pool;
mod readiness;
mod sql;
mod tx;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use diesel::{PgConnection, QueryableByName, RunQueryDsl, pg::Pg};
use rand::RngExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout_at,
};
use tracing::{Span, field};

pub(crate) use self::migrate::needed_migrations;
pub use self::migrate::{migrate, restored};
use self::pool::{Manager, PooledPg};
use self::readiness::Readiness;
pub(crate) use self::{
    error::classify,
    pool::explain,
    readiness::{Look, NotReady},
    sql::{Sql, sql},
    tx::Tx,
};
use crate::{context::RequestContext, error::Error, metrics::DbMetrics};

/// How long a call waits for its turn, and then for a connection, before it is told to come back.
const WAIT: Duration = Duration::from_secs(3);
/// How often a transaction that lost a race is run again.
const RETRIES: u32 = 3;

/// What becomes of a transaction that succeeded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Finish {
    /// It changed something that is to stay.
    Commit,
    /// It changed nothing, or nothing that is to stay.
    Rollback,
}

/// What a transaction does.
type Work<'a, T> = &'a dyn Fn(&mut Tx<'_>) -> Result<(T, Finish), Error>;

/// The database. Clones share the connections.
#[derive(Clone)]
pub(crate) struct Db {
    url: Arc<str>,
    pool: r2d2::Pool<Manager>,
    permits: Arc<Semaphore>,
    readiness: Readiness,
    size: u32,
    pub(crate) metrics: DbMetrics,
}

impl Db {
    /// A database of at most `size` connections. Does not connect yet.
    pub(crate) fn new(url: &str, size: u32, metrics: DbMetrics) -> Self {
        Self {
            url: url.into(),
            pool: pool::build(url, size, WAIT),
            permits: Arc::new(Semaphore::new(size as usize)),
            readiness: Readiness::new(),
            size,
            metrics,
        }
    }

    /// Runs one transaction for `context` and answers with what `work` gave. `work` may run again
    /// where it lost a race, so it must have no effect but on the transaction.
    pub(crate) async fn transact<T, F>(
        &self,
        context: RequestContext,
        read_only: bool,
        work: F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<(T, Finish), Error> + Send + 'static,
    {
        self.check_schema()?;
        let (deadline, grace) = (context.deadline, context.grace);
        let permit = self.permit(deadline).await?;
        let gone = CallerGone::default();
        let left = gone.gone.clone();
        let db = self.clone();
        let span = tracing::info_span!(
            "db.transaction",
            otel.name = match context.purpose {
                Some(purpose) => purpose.to_owned(),
                None => format!("{:?}", context.method),
            },
            db.system.name = "postgresql",
            db.statements = field::Empty,
            db.attempts = field::Empty,
        );
        let work = spawn_blocking(move || {
            span.in_scope(|| db.attempts(permit, &left, &context, read_only, &work))
        });
        let outcome = timeout_at((deadline + grace).into(), work).await;
        drop(gone);
        match outcome {
            Ok(Ok(result)) => result,
            Ok(Err(panicked)) => Err(Error::Internal(Box::new(panicked))),
            Err(_elapsed) => Err(Error::DeadlineExceeded),
        }
    }

    async fn permit(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, Error> {
        let waiting = self.metrics.wait();
        let permit = timeout_at(
            deadline.min(Instant::now() + WAIT).into(),
            self.permits.clone().acquire_owned(),
        )
        .await;
        drop(waiting);
        if permit.is_err() {
            self.metrics.timed_out();
        }
        match permit {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(closed)) => Err(Error::Internal(Box::new(closed))),
            Err(_elapsed) if Instant::now() >= deadline => Err(Error::DeadlineExceeded),
            Err(_elapsed) => Err(Error::Unavailable("all connections are busy".to_owned())),
        }
    }

    fn attempts<T>(
        &self,
        _permit: OwnedSemaphorePermit,
        caller_left: &AtomicBool,
        context: &RequestContext,
        read_only: bool,
        work: Work<'_, T>,
    ) -> Result<T, Error> {
        let mut attempt = 0;
        let mut stale = 0;
        loop {
            // Work whose caller has gone is not begun.
            if caller_left.load(Ordering::Acquire) {
                return Err(Error::DeadlineExceeded);
            }
            let wait = WAIT.min(context.remaining()?);
            let mut connection = self
                .pool
                .get_timeout(wait)
                .inspect_err(|_| self.metrics.timed_out())?;
            match attempt_once(&mut connection, context, read_only, &self.metrics, work) {
                Attempt::Begun(Err(Error::Contended)) if attempt < RETRIES => {
                    attempt += 1;
                    self.metrics.retries.inc();
                    Span::current().record("db.attempts", attempt + 1);
                    drop(connection);
                    let most = 10u64 << attempt;
                    std::thread::sleep(Duration::from_millis(rand::rng().random_range(1..=most)));
                }
                Attempt::Begun(result) => return result,
                // A connection that died in the pool (the server restarted): nothing was done yet, so
                // another one may do it. Each may be stale, then a new one is made.
                Attempt::NotBegun(Error::Unavailable(_)) if stale < self.size => stale += 1,
                Attempt::NotBegun(error) => return Err(error),
            }
        }
    }

    /// A connection outside the pool, for work that lasts as long as the process. Blocks.
    pub(crate) fn connect_apart(&self) -> Result<PgConnection, Error> {
        self.check_schema()?;
        Manager::new(&self.url)
            .establish()
            .map_err(|error| Error::Unavailable(explain(&error)))
    }

    /// Counts the connections for the metrics.
    pub(crate) fn count_connections(&self) {
        let state = self.pool.state();
        let used = state.connections.saturating_sub(state.idle_connections);
        self.metrics
            .set_connections(used, state.idle_connections, self.size);
    }

    /// How many transactions at once each kind of work may have that nobody waits for: a quarter of all.
    pub(crate) fn spare(&self) -> usize {
        (self.size as usize / 4).max(1)
    }

    /// Runs one statement that only looks, outside any transaction and any trace: for what looks again and
    /// again.
    pub(crate) async fn peek<R>(&self, statement: Sql) -> Result<Vec<R>, Error>
    where
        R: QueryableByName<Pg> + Send + 'static,
    {
        self.check_schema()?;
        let permit = self.permit(Instant::now() + WAIT).await?;
        let pool = self.pool.clone();
        let look = spawn_blocking(move || {
            let _permit = permit;
            let mut connection = pool.get_timeout(WAIT)?;
            let rows = statement.load(&mut connection.pg);
            connection.broken = rows.is_err();
            rows.map_err(error::classify)
        });
        look.await
            .unwrap_or_else(|panicked| Err(Error::Internal(Box::new(panicked))))
    }

    /// What looks whether the database can be worked with; one a process.
    pub(crate) fn look(&self) -> Look {
        Look::new(&self.url, self.readiness.clone())
    }

    /// Whether the database could be worked with when it was last looked at.
    pub(crate) fn ready(&self) -> Result<(), NotReady> {
        self.readiness.last()
    }

    /// Refuses work that a database without our schema can't do. Where it is away, each attempt finds that out by
    /// itself.
    fn check_schema(&self) -> Result<(), Error> {
        match self.readiness.last() {
            Err(why @ NotReady::Behind(_)) => Err(Error::Unavailable(why.to_string())),
            Ok(()) | Err(NotReady::Away(_) | NotReady::ReadOnly | NotReady::Unreadable(_)) => {
                Ok(())
            }
        }
    }

    /// Tries one connection outside the pool, to say at start what is wrong with the address.
    pub(crate) fn probe(url: &str) -> Result<(), String> {
        Manager::new(url)
            .establish()
            .map(drop)
            .map_err(|error| explain(&error))
    }
}

enum Attempt<T> {
    /// `BEGIN` failed: nothing was done.
    NotBegun(Error),
    /// The transaction ran to this end.
    Begun(Result<T, Error>),
}

fn attempt_once<T>(
    connection: &mut PooledPg,
    context: &RequestContext,
    read_only: bool,
    metrics: &DbMetrics,
    work: Work<'_, T>,
) -> Attempt<T> {
    // Nothing wrong with the connection: it was asked nothing.
    if let Err(late) = context.remaining() {
        return Attempt::NotBegun(late);
    }
    let mut tx = match Tx::begin(&mut connection.pg, context, read_only, metrics) {
        Ok(tx) => tx,
        Err(error) => {
            connection.broken = true;
            return Attempt::NotBegun(error);
        }
    };
    let outcome = work(&mut tx);
    Span::current().record("db.statements", tx.statements);
    let (result, closed) = match outcome {
        Ok((value, Finish::Commit)) => match tx.commit() {
            Ok(()) => (Ok(value), Ok(())),
            // It may or may not be done; the caller is told to come back, and finds out.
            Err(error) => (Err(error), Err(())),
        },
        Ok((value, Finish::Rollback)) => (Ok(value), tx.rollback().map_err(drop)),
        Err(error) => (Err(error), tx.rollback().map_err(drop)),
    };
    // Also where it is to a server that takes no writes: another connection may be to one that does.
    connection.broken = closed.is_err() || matches!(result, Err(Error::Unavailable(_)));
    Attempt::Begun(result)
}

/// Dropped with the future of a call: tells the thread that nobody waits for its answer any more.
#[derive(Default)]
struct CallerGone {
    gone: Arc<AtomicBool>,
}

impl Drop for CallerGone {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Release);
    }
}
