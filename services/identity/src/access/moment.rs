//! The moment that a question is about: now, or an earlier one of the site.

use chrono::{DateTime, Utc};

use super::store;
use crate::{error::Error, site_tx::SiteTx};

/// A moment as a request names it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AsOf {
    Now,
    Revision(i64),
    Time(DateTime<Utc>),
}

/// A moment of the site: just after the event of this number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) revision: i64,
    /// Whether nothing has happened since. The present has shorter ways to its answers.
    pub(crate) is_now: bool,
}

impl AsOf {
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
            Self::Time(time) if time > tx.now => {
                return Err(Error::invalid("as_of.time", "is in the future"));
            }
            Self::Time(time) => store::revision_at(tx, time)?
                .ok_or_else(|| Error::invalid("as_of.time", "is before the site was made"))?,
        };
        Ok(Moment {
            revision,
            is_now: revision == newest,
        })
    }
}
