//! The connections, and how many may work at once.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use diesel::{
    Connection, ConnectionError, ConnectionResult, PgConnection, connection::SimpleConnection,
};

use crate::error::Error;

/// One connection, and whether it has been seen to fail.
pub(crate) struct PooledPg {
    pub(crate) pg: PgConnection,
    /// Set where the connection can't be trusted any more; the pool then drops it.
    pub(crate) broken: bool,
}

/// Makes connections for r2d2. diesel's own manager can't be told that a connection is broken, and
/// asks the server about each one before its use, a round trip a request.
#[derive(Debug)]
pub(crate) struct Manager {
    url: String,
}

impl Manager {
    pub(crate) fn new(url: &str) -> Self {
        // Bounds for a server that does not answer; what the URL says itself comes last and wins.
        let bounds = [
            ("connect_timeout", "3"),
            ("tcp_user_timeout", "20000"),
            ("keepalives_idle", "10"),
            ("keepalives_interval", "5"),
            ("keepalives_count", "3"),
            ("application_name", "identity"),
        ];
        let mut url = url.to_owned();
        for (name, value) in bounds {
            if url.contains(&format!("{name}=")) {
                continue;
            }
            if url.contains("://") {
                let separator = if url.contains('?') { '&' } else { '?' };
                url.push_str(&format!("{separator}{name}={value}"));
            } else {
                url.push_str(&format!(" {name}={value}"));
            }
        }
        Self { url }
    }

    pub(crate) fn establish(&self) -> ConnectionResult<PgConnection> {
        PgConnection::establish(&self.url)
    }
}

impl r2d2::ManageConnection for Manager {
    type Connection = PooledPg;
    type Error = ConnectionError;

    fn connect(&self) -> Result<PooledPg, ConnectionError> {
        Ok(PooledPg {
            pg: self.establish()?,
            broken: false,
        })
    }

    fn is_valid(&self, connection: &mut PooledPg) -> Result<(), ConnectionError> {
        connection
            .pg
            .batch_execute("SELECT 1")
            .map_err(ConnectionError::CouldntSetupConfiguration)
    }

    fn has_broken(&self, connection: &mut PooledPg) -> bool {
        connection.broken
    }
}

/// r2d2 reports each failed attempt to connect, of each connection; one line a second is enough of them.
#[derive(Debug, Default)]
struct ConnectFailures {
    told: Mutex<Option<Instant>>,
}

impl ConnectFailures {
    /// Whether one that fails at `now` is told.
    fn is_due(&self, now: Instant) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let due = told.is_none_or(|last| now.duration_since(last) >= Duration::from_secs(1));
        if due {
            *told = Some(now);
        }
        due
    }
}

impl r2d2::HandleError<ConnectionError> for ConnectFailures {
    fn handle_error(&self, error: ConnectionError) {
        if self.is_due(Instant::now()) {
            tracing::warn!(error = %explain(&error), "can't connect to the database");
        }
    }
}

/// A pool of at most `size` connections, which connects when it is first asked.
pub(crate) fn build(url: &str, size: u32, wait: Duration) -> r2d2::Pool<Manager> {
    r2d2::Pool::builder()
        .max_size(size)
        .min_idle(Some(1))
        .connection_timeout(wait)
        .max_lifetime(Some(Duration::from_secs(1800)))
        .idle_timeout(Some(Duration::from_secs(600)))
        .test_on_check_out(false)
        .error_handler(Box::new(ConnectFailures::default()))
        .build_unchecked(Manager::new(url))
}

/// Why no connection could be made, in words for an operator. Never the URL, which holds the password.
pub(crate) fn explain(error: &ConnectionError) -> String {
    let text = match error {
        ConnectionError::BadConnection(text) => text.trim().to_owned(),
        ConnectionError::InvalidConnectionUrl(_) => "DATABASE_URL is not an address".to_owned(),
        other => other.to_string(),
    };
    let demands_tls = text.contains("SSL support is not compiled in")
        || text.contains("does not support SSL")
        || text.contains("no encryption")
        || text.contains("SSL off");
    if cfg!(not(feature = "tls")) && demands_tls {
        return format!(
            "the database demands TLS, and this build of identity has none: \
             build it with `--features tls`, as the images are ({text})"
        );
    }
    text
}

impl From<r2d2::Error> for Error {
    fn from(_: r2d2::Error) -> Self {
        Self::Unavailable("no connection to the database".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_a_second_is_told() {
        let failures = ConnectFailures::default();
        let began = Instant::now();
        let told = |milliseconds| failures.is_due(began + Duration::from_millis(milliseconds));
        assert!(told(0));
        assert!(!told(100) && !told(999));
        assert!(told(1000) && !told(1999));
        assert!(told(60_000));
    }
}
