//! The moment that a question is about: now, or an earlier one of the site.

use chrono::{DateTime, Utc};

use super::store;
use crate::{error::Error, site_tx::SiteTx, wire};

/// A moment as a request names it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AsOf {
    Now,
    Revision(i64),
    /// In whole milliseconds, like the times of events.
    Time(DateTime<Utc>),
}

/// A moment of the site: just after the event of this number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) revision: i64,
    /// Whether nothing has happened since. The present has shorter ways to its answers.
    pub(crate) is_now: bool,
    /// Grants that ran out by then are over too, although no event up to the revision tells of it.
    pub(crate) ended_by: Option<DateTime<Utc>>,
}

impl AsOf {
    /// The moment that a request asks about; any where it can't be read, which is refused in its turn.
    pub(super) fn of<I>(input: &Result<I, Error>, as_of: impl Fn(&I) -> Self) -> Self {
        input.as_ref().map_or(Self::Now, as_of)
    }

    /// Which moment that is on this site.
    pub(super) fn resolve(self, tx: &mut SiteTx<'_, '_>) -> Result<Moment, Error> {
        let newest = tx.site.revision;
        let revision = match self {
            Self::Now => newest,
            Self::Revision(revision) if (1..=newest).contains(&revision) => revision,
            Self::Revision(revision) => {
                return Err(Error::invalid(
                    "as_of.revision",
                    format!("is {revision}; the site's revisions go from 1 to {newest}"),
                ));
            }
            // Answered for good: the read has seen to it that nothing more comes to this time.
            Self::Time(time) if time > tx.now => {
                return Err(Error::invalid("as_of.time", "is in the future"));
            }
            Self::Time(time) => store::revision_at(tx, time)?
                .ok_or_else(|| Error::invalid("as_of.time", "is before the site was made"))?,
        };
        Ok(Moment {
            revision,
            is_now: revision == newest,
            ended_by: tx.ended_by,
        })
    }
}

impl Moment {
    /// As the contract shows `ended_by`.
    pub(super) fn shown_ended_by(self) -> Option<prost_types::Timestamp> {
        self.ended_by.map(wire::timestamp)
    }

    /// As a page token keeps it.
    pub(super) fn to_key(self) -> String {
        match self.ended_by {
            None => self.revision.to_string(),
            Some(at) => format!("{} {}", self.revision, at.timestamp_millis()),
        }
    }

    /// The moment that a page token has kept; none where it has none of this site.
    pub(super) fn from_key(key: &str, tx: &mut SiteTx<'_, '_>) -> Option<Self> {
        let (revision, ended_by) = match key.split_once(' ') {
            None => (key, None),
            Some((revision, at)) => {
                let at = at.parse().ok().and_then(DateTime::from_timestamp_millis);
                (revision, Some(at?))
            }
        };
        let moment = AsOf::Revision(revision.parse().ok()?).resolve(tx).ok()?;
        Some(Self { ended_by, ..moment })
    }
}
