//! Whose turn it is to write: a site's writes are done one after the other under its lock, and each that waits for
//! the lock holds a connection. At most half of a process's connections wait for one site, so that a large push into
//! one leaves the others theirs. Two sites that push at once can still take all: then calls wait for connections. So can
//! one that is named by its domain and by its id, until a process has opened it for the first time.
//!
//! Who calls is looked up after the turn, in the same transaction, before the lock. So a call with a forged token has
//! a turn for as long as that takes, and no longer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout_at,
};
use tracing::Instrument;

use crate::{
    authn::Presented,
    authz::Method,
    context::{RequestContext, SiteName},
    error::Error,
    ids::SiteId,
    metrics::TurnMetrics,
    sites::Site,
};

/// How long a write waits for its turn before it is told to come back: as long as for a connection.
const WAIT: Duration = Duration::from_secs(3);
/// How many sites are kept before those that nobody writes to are forgotten.
const KEPT: usize = 1024;
/// How many sites' domains are known before all are forgotten, to be learnt again.
const DOMAINS: usize = 65_536;

/// Who writes to which site. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    each: usize,
    shared: Arc<Mutex<Shared>>,
    metrics: TurnMetrics,
}

#[derive(Debug, Default)]
struct Shared {
    sites: HashMap<Whose, Weak<Semaphore>>,
    /// Of sites that were opened. Nothing that a caller made up gets here.
    domains: HashMap<String, SiteId>,
}

/// Whose turns they are.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Whose {
    /// A site's.
    Site(SiteId),
    /// Those of whatever has this domain, which no write has shown yet.
    Domain(String),
}

impl Turns {
    /// Lets half of so many connections be used for one site.
    pub(crate) fn of_half(connections: u32, metrics: TurnMetrics) -> Self {
        Self {
            each: (connections as usize / 2).max(1),
            shared: Arc::default(),
            metrics,
        }
    }

    /// Waits for a turn to write to the site that a call is about. It lasts until what is answered is dropped, which is to
    /// be where the connection is let go. None is needed for what names no site.
    pub(crate) async fn take(
        &self,
        context: &RequestContext,
    ) -> Result<Option<OwnedSemaphorePermit>, Error> {
        // A leaked token must not keep itself from being revoked by calling a lot.
        if context.method == Method::RevokeCredential {
            return Ok(None);
        }
        let site = match (&context.presented, &context.site) {
            (Ok(Presented::Site(id, _)), _) | (_, Some(SiteName::Id(Some(id)))) => Whose::Site(*id),
            (_, Some(SiteName::Domain(key))) => match self.shared().domains.get(key) {
                Some(id) => Whose::Site(*id),
                None => Whose::Domain(key.clone()),
            },
            (_, Some(SiteName::Id(None)) | None) => return Ok(None),
        };
        let turns = self.of(site);
        if let Ok(turn) = turns.clone().try_acquire_owned() {
            return Ok(Some(turn));
        }
        let until = context.deadline.min(Instant::now() + WAIT);
        let waiting = self.metrics.wait();
        let span = tracing::info_span!("turn", otel.name = "wait for a turn to write to the site");
        let turn = timeout_at(until.into(), turns.acquire_owned())
            .instrument(span)
            .await;
        drop(waiting);
        match turn {
            Ok(Ok(turn)) => Ok(Some(turn)),
            Ok(Err(closed)) => Err(Error::Internal(Box::new(closed))),
            Err(_elapsed) => {
                self.metrics.timeouts.inc();
                match Instant::now() >= context.deadline {
                    true => Err(Error::DeadlineExceeded),
                    false => Err(Error::Unavailable(
                        "too many writes to this site wait already".to_owned(),
                    )),
                }
            }
        }
    }

    /// Learns which site has a domain. Who has a turn by the domain has it as one of the site's, unless that has given
    /// some already.
    pub(crate) fn learn(&self, site: &Site) {
        let mut shared = self.shared();
        if shared.domains.get(&site.domain_key) == Some(&site.id) {
            return;
        }
        if shared.domains.len() >= DOMAINS {
            shared.domains.clear();
        }
        shared.domains.insert(site.domain_key.clone(), site.id);
        let by_domain = Whose::Domain(site.domain_key.clone());
        if let Some(turns) = shared.sites.remove(&by_domain) {
            let of_site = shared.sites.entry(Whose::Site(site.id)).or_default();
            if of_site.strong_count() == 0 {
                *of_site = turns;
            }
        }
    }

    fn of(&self, site: Whose) -> Arc<Semaphore> {
        let mut shared = self.shared();
        if let Some(turns) = shared.sites.get(&site).and_then(Weak::upgrade) {
            return turns;
        }
        if shared.sites.len() >= KEPT {
            shared.sites.retain(|_, turns| turns.strong_count() > 0);
        }
        let turns = Arc::new(Semaphore::new(self.each));
        shared.sites.insert(site, Arc::downgrade(&turns));
        turns
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use identity_runtime::metrics::Metrics;

    use super::*;
    use crate::metrics::IdentityMetrics;

    fn turns(connections: u32) -> Turns {
        let metrics = IdentityMetrics::new(&Metrics::new("identity"));
        Turns::of_half(connections, metrics.turns)
    }

    #[test]
    fn a_site_has_half_of_the_connections_and_is_forgotten_when_nobody_writes() {
        let five = turns(5);
        let acme = Whose::Site(SiteId::new());
        let of_acme = five.of(acme.clone());
        assert_eq!(of_acme.available_permits(), 2);
        assert!(Arc::ptr_eq(&of_acme, &five.of(acme.clone())));
        for _ in 0..2 * KEPT {
            drop(five.of(Whose::Site(SiteId::new())));
        }
        assert!(five.shared().sites.len() <= KEPT);
        assert!(Arc::ptr_eq(&of_acme, &five.of(acme)));
        assert_eq!(turns(1).each, 1);
    }
}
