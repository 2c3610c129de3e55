//! What a transaction may do: run statements, within the caller's deadline, counted and traced.

use std::time::{Duration, Instant};

use diesel::{PgConnection, QueryableByName, RunQueryDsl, connection::SimpleConnection, pg::Pg};
use identity_runtime::telemetry::record_failure;

use super::{error::classify, sql::Sql};
use crate::{
    context::RequestContext,
    error::Error,
    metrics::{DbMetrics, StatementLabels},
};

/// By how much a statement may outlive its deadline, to spare a round trip in a transaction without waits.
const SLACK: Duration = Duration::from_millis(250);

/// How long the server waits for the next statement of a transaction, before it undoes it: a process that
/// is cut off or stands still holds a site's lock no longer. Work between two statements takes far less.
const IDLE: Duration = Duration::from_secs(10);

/// The database, by OpenTelemetry's name.
const SYSTEM: &str = "postgresql";

/// An open transaction of one connection.
pub(crate) struct Tx<'a> {
    connection: &'a mut PgConnection,
    pub(crate) context: &'a RequestContext,
    /// The `statement_timeout` in force.
    timeout: Duration,
    pub(crate) statements: u32,
    metrics: &'a DbMetrics,
}

impl<'a> Tx<'a> {
    /// Begins a transaction. Everything that the server must know of the request goes with the same
    /// message: the trace, so that the server's log can be joined to it (`%a` in its line prefix), the
    /// site where the token named it, how long a statement may take, and how long we may.
    pub(crate) fn begin(
        connection: &'a mut PgConnection,
        context: &'a RequestContext,
        read_only: bool,
        metrics: &'a DbMetrics,
    ) -> Result<Self, Error> {
        let timeout = context.remaining()?;
        let mode = if read_only {
            " ISOLATION LEVEL REPEATABLE READ READ ONLY"
        } else {
            // Whatever the database's default is: rules and streams count on a snapshot a statement.
            " ISOLATION LEVEL READ COMMITTED"
        };
        let site = match context.presented {
            Ok(crate::authn::Presented::Site(site, _)) => site.to_string(),
            _ => String::new(),
        };
        let begin = format!(
            "BEGIN{mode}; SET LOCAL application_name = 'identity {}'; \
             SET LOCAL roster.site = '{site}'; SET LOCAL statement_timeout = {}; \
             SET LOCAL idle_in_transaction_session_timeout = {}",
            context.trace_id,
            timeout.as_millis(),
            IDLE.as_millis(),
        );
        observed(metrics, "BEGIN", "BEGIN", || {
            connection.batch_execute(&begin)
        })?;
        Ok(Self {
            connection,
            context,
            timeout,
            statements: 0,
            metrics,
        })
    }

    pub(crate) fn commit(self) -> Result<(), Error> {
        observed(self.metrics, "COMMIT", "COMMIT", || {
            self.connection.batch_execute("COMMIT")
        })
    }

    pub(crate) fn rollback(self) -> Result<(), Error> {
        observed(self.metrics, "ROLLBACK", "ROLLBACK", || {
            self.connection.batch_execute("ROLLBACK")
        })
    }

    /// All rows of a statement.
    pub(crate) fn load<R>(&mut self, statement: Sql) -> Result<Vec<R>, Error>
    where
        R: QueryableByName<Pg> + 'static,
    {
        self.timed(statement, |connection, statement| {
            statement.load(connection)
        })
    }

    /// The one row of a statement that answers with at most one.
    pub(crate) fn first<R>(&mut self, statement: Sql) -> Result<Option<R>, Error>
    where
        R: QueryableByName<Pg> + 'static,
    {
        Ok(self.load(statement)?.pop())
    }

    /// The one row of a statement that always answers with one.
    pub(crate) fn one<R>(&mut self, statement: Sql) -> Result<R, Error>
    where
        R: QueryableByName<Pg> + 'static,
    {
        let name = statement.name();
        self.first(statement)?
            .ok_or_else(|| Error::bug(format!("{name} answered with no row")))
    }

    /// Runs a statement for its effect; answers with the number of rows it touched.
    pub(crate) fn execute(&mut self, statement: Sql) -> Result<usize, Error> {
        self.timed(statement, |connection, statement| {
            statement.execute(connection)
        })
    }

    fn timed<T>(
        &mut self,
        statement: Sql,
        run: impl FnOnce(&mut PgConnection, Sql) -> diesel::QueryResult<T>,
    ) -> Result<T, Error> {
        let remaining = self.context.remaining()?;
        // The server's timeout is a statement's, the caller's deadline is the request's: where time has
        // passed (a wait for the site's lock), the server is told anew.
        if remaining + SLACK < self.timeout {
            self.timeout = remaining;
            let set = format!("SET LOCAL statement_timeout = {}", remaining.as_millis());
            observed(self.metrics, "SET statement_timeout", "SET", || {
                self.connection.batch_execute(&set)
            })?;
        }
        self.statements += 1;
        let (name, operation) = (statement.name(), statement.operation());
        observed(self.metrics, name, operation, || {
            run(self.connection, statement)
        })
    }
}

/// Runs a statement in a span of its own and counts how long it took. `name` says what it is for: nothing of a
/// request is in it.
fn observed<T>(
    metrics: &DbMetrics,
    name: &'static str,
    operation: &'static str,
    run: impl FnOnce() -> diesel::QueryResult<T>,
) -> Result<T, Error> {
    let span = tracing::info_span!(
        "db.statement",
        otel.name = name,
        otel.kind = "client",
        db.system.name = SYSTEM,
        db.operation.name = operation,
        db.query.summary = name,
    );
    span.in_scope(|| {
        let begun = Instant::now();
        let outcome = run().map_err(classify);
        let error_type = outcome.as_ref().err().map_or("", word);
        if !error_type.is_empty() {
            record_failure(error_type, true);
        }
        metrics.statements.observe(
            &StatementLabels {
                db_system_name: SYSTEM,
                db_operation_name: operation,
                db_query_summary: name,
                error_type,
            },
            begun.elapsed(),
        );
        outcome
    })
}

/// Why a statement failed, in a word.
fn word(error: &Error) -> &'static str {
    match error {
        Error::Contended => "contended",
        Error::Unavailable(_) => "unavailable",
        Error::DeadlineExceeded => "timeout",
        _ => "fault",
    }
}
