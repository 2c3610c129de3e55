//! What a failed statement means.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::error::Error;

/// Reads diesel's error: `Contended` where the same transaction may well succeed when it is run again,
/// `Unavailable` where the connection is gone, `DeadlineExceeded` where the statement ran out of time.
pub(crate) fn classify(error: DieselError) -> Error {
    match error {
        DieselError::DatabaseError(kind, information) => {
            let message = information.message();
            match kind {
                DatabaseErrorKind::SerializationFailure => Error::Contended,
                DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand => {
                    Error::Unavailable("the database went away".to_owned())
                }
                DatabaseErrorKind::ReadOnlyTransaction => {
                    Error::Unavailable("the database is read-only".to_owned())
                }
                _ if message.contains("deadlock detected") => Error::Contended,
                _ if message.contains("statement timeout") || message.contains("lock timeout") => {
                    Error::DeadlineExceeded
                }
                // An operator did, or the recovery of a standby.
                _ if message.contains("canceling statement") => {
                    Error::Unavailable("the database cancelled the work".to_owned())
                }
                _ if is_server_leaving(message) => {
                    Error::Unavailable("the database went away".to_owned())
                }
                // The message names the constraint; the detail, which holds the values, stays out.
                _ => Error::bug(format!("database: {message}")),
            }
        }
        other => Error::Internal(Box::new(other)),
    }
}

/// What PostgreSQL and libpq say when a server stops, restarts, fails over or is full. diesel hands
/// out no SQLSTATE for these.
fn is_server_leaving(message: &str) -> bool {
    [
        "terminating connection",
        "server closed the connection",
        "connection to server",
        "could not receive data",
        "could not send data",
        "the database system is",
        "connection not open",
        "no connection to the server",
        "Connection timed out",
        "remaining connection slots",
        "No space left on device",
        "SSL connection has been closed",
        "SSL SYSCALL",
    ]
    .iter()
    .any(|part| message.contains(part))
}
