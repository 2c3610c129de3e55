//! Whose turn it is to write: a site's writes are done one after the other under its lock, and each that waits for
//! the lock holds a connection. At most half of a process's connections wait for one site, so that a large push into
//! one leaves the others theirs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout_at,
};

use crate::{authn::Presented, context::RequestContext, error::Error};

/// How many sites are kept before those that nobody writes to are forgotten.
const KEPT: usize = 1024;

/// Who writes to which site. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    each: usize,
    sites: Arc<Mutex<HashMap<String, Weak<Semaphore>>>>,
}

impl Turns {
    /// Lets half of so many connections be used for one site.
    pub(crate) fn of_half(connections: u32) -> Self {
        Self {
            each: (connections as usize / 2).max(1),
            sites: Arc::default(),
        }
    }

    /// Waits for a turn to write to the site that a call is about, for as long as its caller waits. It lasts until the
    /// answer is dropped. None is needed for what names no site.
    pub(crate) async fn take(
        &self,
        context: &RequestContext,
    ) -> Result<Option<OwnedSemaphorePermit>, Error> {
        let site = match (&context.presented, &context.site) {
            (Ok(Presented::Site(id, _)), _) => id.to_string(),
            (_, Some(name)) => name.to_string(),
            (_, None) => return Ok(None),
        };
        let turn = self.of(site).acquire_owned();
        match timeout_at(context.deadline.into(), turn).await {
            Ok(Ok(turn)) => Ok(Some(turn)),
            Ok(Err(closed)) => Err(Error::Internal(Box::new(closed))),
            Err(_elapsed) => Err(Error::DeadlineExceeded),
        }
    }

    /// The site's turns. One that is named by its id and by its domain has them twice, which does no harm.
    fn of(&self, site: String) -> Arc<Semaphore> {
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = sites.get(&site).and_then(Weak::upgrade) {
            return turns;
        }
        if sites.len() >= KEPT {
            sites.retain(|_, turns| turns.strong_count() > 0);
        }
        let turns = Arc::new(Semaphore::new(self.each));
        sites.insert(site, Arc::downgrade(&turns));
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_has_half_of_the_connections_and_is_forgotten_when_nobody_writes() {
        let turns = Turns::of_half(5);
        let acme = turns.of("acme".to_owned());
        assert_eq!(acme.available_permits(), 2);
        assert!(Arc::ptr_eq(&acme, &turns.of("acme".to_owned())));
        for n in 0..2 * KEPT {
            drop(turns.of(n.to_string()));
        }
        assert!(turns.sites.lock().is_ok_and(|sites| sites.len() <= KEPT));
        assert!(Arc::ptr_eq(&acme, &turns.of("acme".to_owned())));
        assert_eq!(Turns::of_half(1).each, 1);
    }
}
