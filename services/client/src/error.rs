//! What can go wrong, with what identity says about it.

use std::time::Duration;

use identity_proto::{ERROR_DOMAIN, v1::ErrorReason};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::outgoing::causes;

/// Why identity refused: the contract's `ErrorReason`.
pub type Reason = ErrorReason;

/// Everything that can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address, a token or a certificate that can't be one. Nothing was sent.
    #[error("{0}")]
    Settings(String),
    /// identity refused the call, or could not be reached (`Code::Unavailable`).
    #[error("identity answered {:?}: {}", .0.code(), .0.message())]
    Refused(Box<Status>),
    /// Nothing that a watch sent in [`Watch::REACHED_WITHIN`](crate::Watch::REACHED_WITHIN) was ever answered by
    /// identity: it is not there (yet), or the address, the authority or the certificate is wrong.
    #[error("identity was not reached: {}", told(.0))]
    Unreachable(Box<Status>),
}

/// What stands behind a failure, from the outside in.
fn told(status: &Status) -> String {
    let behind = causes(status).skip(1).map(ToString::to_string);
    let mut told = vec![status.message().to_owned()];
    for cause in behind {
        if told.last() != Some(&cause) {
            told.push(cause);
        }
    }
    told.join(": ")
}

impl Error {
    /// The gRPC code; none where nothing was sent.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Settings(_) => None,
            Self::Refused(status) => Some(status.code()),
            // Whatever the transport called it.
            Self::Unreachable(_) => Some(Code::Unavailable),
        }
    }

    /// The reason that identity gave; none where it gave none, or one that this release does not know.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        let Self::Refused(status) = self else {
            return None;
        };
        let info = status.get_details_error_info()?;
        (info.domain == ERROR_DOMAIN)
            .then(|| Reason::from_str_name(&format!("ERROR_REASON_{}", info.reason)))?
    }

    /// The same failure, of who was never reached at all.
    pub(crate) fn into_unreachable(self) -> Self {
        match self {
            Self::Refused(status) => Self::Unreachable(status),
            other => other,
        }
    }

    /// When to try again; none where that would not help by itself.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Settings(_) | Self::Unreachable(_) => None,
            Self::Refused(status) => status.get_details_retry_info()?.retry_delay,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}
