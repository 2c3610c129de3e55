//! How a site is read: at one moment, for good, and behind no slow write.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    access::AsOf,
    caller::Caller,
    context::RequestContext,
    db::Finish,
    error::Error,
    grants,
    ids::SiteId,
    site_tx::{Identity, Input, SiteTx},
    sites,
};

/// After which waits a read that is to write endings first looks again whether another write still holds the
/// site: longer than most take, so that an answer hardly ever differs from what its revision says. It holds no
/// connection meanwhile.
const LOOKS: [Duration; 3] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(75),
];

/// Before how long nothing is under way any more: far longer than any call may take.
const UNDER_WAY: TimeDelta = TimeDelta::minutes(10);

/// How long a site's lock is let go between two batches of endings.
pub(crate) const BETWEEN_BATCHES: Duration = Duration::from_millis(20);

/// Endings that were written together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    /// When the site's lock was had.
    held: DateTime<Utc>,
    /// Whether more are due.
    pub(crate) more: bool,
}

/// What a read has come to know of what it was asked about.
#[derive(Clone, Copy, Debug)]
enum Settled {
    /// Nothing yet.
    Unknown,
    /// It gains no event any more.
    Yes,
    /// Endings are due that another write keeps from being written.
    No,
}

impl Identity {
    /// Reads the present of one site, all of it as of one moment. Where grants have run out whose endings no
    /// event tells of yet, those are written first, so that an answer is the one that its revision will always
    /// have. What runs out after that is not waited for: the answer is of a moment after the call came. Nor is
    /// a write that goes on for long: then the answer leaves out what has run out.
    pub(crate) async fn read<I, T, F>(
        &self,
        context: RequestContext,
        input: Result<I, Error>,
        work: F,
    ) -> Result<T, Error>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        F: Fn(&mut SiteTx<'_, '_>, &I) -> Result<T, Error> + Send + Sync + 'static,
    {
        self.read_as_of(context, AsOf::Now, input, work).await
    }

    /// Reads like [`Identity::read`] what was so at a moment, which `work` picks. A time that has just passed
    /// may still gain an event, by a write that is under way: that is waited for, so that a time has one answer
    /// for good.
    pub(crate) async fn read_as_of<I, T, F>(
        &self,
        context: RequestContext,
        as_of: AsOf,
        input: Result<I, Error>,
        work: F,
    ) -> Result<T, Error>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        F: Fn(&mut SiteTx<'_, '_>, &I) -> Result<T, Error> + Send + Sync + 'static,
    {
        self.admit(&context)?;
        let asked = Arc::new((Input::new(input), work));
        let mut settled = Settled::Unknown;
        let mut looks = LOOKS.iter();
        loop {
            let (identity, asked) = (self.clone(), asked.clone());
            let result = self
                .db
                .transact(context.clone(), true, move |tx| {
                    let mut tx = identity.enter(tx, false)?;
                    let unsettled = match as_of {
                        AsOf::Now => tx.is_ending_due(),
                        AsOf::Revision(_) => false,
                        AsOf::Time(time) => tx.may_gain_events(time),
                    };
                    match settled {
                        Settled::Unknown if unsettled => {
                            return Ok((Err(tx.site.id), Finish::Rollback));
                        }
                        Settled::No if unsettled => tx.ended_by = Some(tx.now),
                        _ => {}
                    }
                    let (input, work) = &*asked;
                    Ok((Ok(work(&mut tx, input.get()?)?), Finish::Rollback))
                })
                .await;
            let site = match self.counted(result)? {
                Ok(value) => return Ok(value),
                Err(site) => site,
            };
            settled = if let AsOf::Time(time) = as_of {
                self.settle(&context, site, time).await?;
                Settled::Yes
            } else if self.end_due(&context, site, false).await?.is_some() {
                Settled::Yes
            } else if let Some(look) = looks.next() {
                tokio::time::sleep(*look).await;
                Settled::Unknown
            } else {
                Settled::No
            };
        }
    }

    /// Waits until no event can come any more that is stamped with this time or an earlier one.
    async fn settle(
        &self,
        context: &RequestContext,
        site: SiteId,
        time: DateTime<Utc>,
    ) -> Result<(), Error> {
        // Who has the lock next stamps with the clock of then.
        while let Some(held) = self.end_due(context, site, true).await?
            && held <= time
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Writes all endings of a site that are due, if nobody else just did; answers with the moment at which
    /// it had the site's lock last. Where somebody else has that, it waits, or answers with none.
    async fn end_due(
        &self,
        context: &RequestContext,
        site: SiteId,
        wait: bool,
    ) -> Result<Option<DateTime<Utc>>, Error> {
        while let Some(batch) = self.end_batch(context, site, wait).await? {
            if !batch.more {
                return Ok(Some(batch.held));
            }
            // Whoever waits for the site's lock gets it in between: it goes to who asks first.
            tokio::time::sleep(BETWEEN_BATCHES).await;
        }
        Ok(None)
    }

    /// Writes the first of a site's endings that are due; none where somebody else has the site's lock, unless it waits
    /// for that.
    pub(crate) async fn end_batch(
        &self,
        context: &RequestContext,
        site: SiteId,
        wait: bool,
    ) -> Result<Option<Batch>, Error> {
        // Of a call: what is done for nobody names no site, and so takes none.
        let turn = match wait {
            true => self.turns.take(context).await?,
            false => None,
        };
        let (ended, batch) = self
            .db
            .transact(context.clone(), false, move |tx| {
                let _turn = &turn;
                let Some((site, held)) = sites::open_itself(tx, site, wait)? else {
                    return Ok(((0, None), Finish::Rollback));
                };
                let mut tx = SiteTx::new(tx, site, Caller::Roster, held);
                let was_due = tx.is_ending_due();
                let more = grants::end_due(&mut tx)?;
                // Where nothing was to be ended, the clock has learnt when something is.
                let close = if was_due {
                    Finish::Commit
                } else {
                    Finish::Rollback
                };
                Ok(((tx.written(), Some(Batch { held, more })), close))
            })
            .await?;
        if ended > 0 {
            self.metrics.events.inc_by(ended);
            self.watches.wake();
        }
        Ok(batch)
    }
}

impl SiteTx<'_, '_> {
    /// Whether a coming event may still be stamped with this time or an earlier one: where it is not before
    /// the last event, and either a write may have begun by then that is still under way, or a grant had run
    /// out by then. Not of a time to come.
    fn may_gain_events(&self, time: DateTime<Utc>) -> bool {
        (self.site.ticked_at..=self.now).contains(&time)
            && (self.now - time < UNDER_WAY || self.site.next_end.is_some_and(|at| at <= time))
    }
}
