//! Grants that end by themselves: each ending is an event of its own, stamped with that end, written by
//! whoever comes first: a write or a read of the site, or the task here.
//!
//! What holds for every site: a grant whose end is at or before the site's clock has been ended by its
//! event. So what reads access looks at no clock, and the answer of a revision is always the same; but for the
//! present while a slow write keeps an ending from being written, when it leaves out what has run out
//! ([`SiteTx::ended_by`]).

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{Instrument, Span};

use super::{described, store};
use crate::{
    caller::Caller,
    context::RequestContext,
    error::Error,
    events::{self, NewEvent},
    ids::SiteId,
    receipt::Effect,
    site_read::BETWEEN_BATCHES,
    site_tx::{Identity, SiteTx},
};

/// How many endings one go writes.
const BATCH: i64 = 500;
/// How often the task looks. An ending is written within a second.
const EVERY: Duration = Duration::from_millis(250);
/// How many sites it looks after in one go.
const SITES: i64 = 1000;
/// How long writing the endings of one batch may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one site's endings are written before other sites have their turn.
const ROUND: Duration = Duration::from_millis(250);
/// How long a site's lock is waited for, and a batch is then written.
const WAIT: Duration = Duration::from_secs(5);

/// Writes the endings of the site that are due at this moment, the first ones by time; tells whether there
/// may be more. The caller holds the site's lock.
pub(crate) fn end_due(tx: &mut SiteTx<'_, '_>) -> Result<bool, Error> {
    if !tx.is_ending_due() {
        return Ok(false);
    }
    let due = store::due(tx, BATCH)?;
    let first = tx.next_event();
    store::end_all(tx, &due, first)?;
    let effects: Vec<Effect> = due
        .iter()
        .map(|kept| {
            let mut effect = Effect::of_one_member();
            if kept.member_active && !kept.held_otherwise {
                effect.push(kept.target.clone(), vec![], vec![kept.member]);
            }
            effect
        })
        .collect();
    // A release that knows no ends may have written past one: its time is taken then.
    let mut clock = tx.site.ticked_at;
    let endings: Vec<(DateTime<Utc>, NewEvent<'_>)> = due
        .iter()
        .zip(&effects)
        .map(|(kept, effect)| {
            clock = clock.max(kept.ends_at.unwrap_or(clock));
            let ending = NewEvent {
                kind: "grant.ended",
                subject: kept.id.uuid(),
                before: described(&kept.target, kept.member, &kept.reason, kept.ends_at),
                after: json!({}),
                effect,
            };
            (clock, ending)
        })
        .collect();
    // Also where nothing is due after all: the clock then learns when something is.
    events::append(tx, &Caller::Roster, &endings)?;
    Ok(tx.is_ending_due())
}

/// Ends what is over on all sites, until the process stops. Every process does: whoever comes second finds
/// nothing left to end.
pub(crate) async fn end_grants_in_time(identity: Identity, stop: CancellationToken) {
    let mut waiting: HashMap<SiteId, AbortOnDropHandle<()>> = HashMap::new();
    // Those that are to be waited for, those first that were not for the longest time.
    let mut passed_over: VecDeque<SiteId> = VecDeque::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        match identity.db.peek(store::due_sites(SITES)).await {
            Ok(sites) => {
                // No site waits for another one's lock.
                let locked: Vec<SiteId> = stream::iter(sites)
                    .map(|row: store::SiteIdRow| {
                        end_of_site(identity.clone(), SiteId::from(row.site_id))
                    })
                    .buffer_unordered(identity.db.spare())
                    .filter_map(std::future::ready)
                    .collect()
                    .await;
                passed_over.retain(|site| locked.contains(site));
                for site in locked {
                    if !passed_over.contains(&site) && !waiting.contains_key(&site) {
                        passed_over.push_back(site);
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "could not look for grants that have run out"),
        }
        // Where writes follow each other that come to nothing, the lock is never free and nobody else ends anything: it is
        // waited for.
        waiting.retain(|_, task| !task.is_finished());
        while waiting.len() < identity.db.spare()
            && let Some(site) = passed_over.pop_front()
        {
            let waits = tokio::spawn(wait_for_site(identity.clone(), site));
            waiting.insert(site, AbortOnDropHandle::new(waits));
        }
    }
}

/// Ends what is over on a site, for a while; answers with it where somebody else has its lock.
async fn end_of_site(identity: Identity, site: SiteId) -> Option<SiteId> {
    let begun = Instant::now();
    async {
        let context = RequestContext::of_nobody("end grants", PATIENCE);
        loop {
            match identity.end_batch(&context, site, false).await {
                // What is left is for the next time: other sites have endings, too.
                Ok(Some(batch)) if batch.more && begun.elapsed() < ROUND => {
                    tokio::time::sleep(BETWEEN_BATCHES).await;
                }
                Ok(Some(_)) => return None,
                Ok(None) => return Some(site),
                Err(error) => {
                    tracing::warn!(%error, site = %site, "could not end the grants that have run out");
                    return None;
                }
            }
        }
    }
    .instrument(trace())
    .await
}

/// Ends some of what is over on a site, once its lock is to be had.
async fn wait_for_site(identity: Identity, site: SiteId) {
    async {
        let context = RequestContext::of_nobody("end grants", WAIT);
        match identity.end_batch(&context, site, true).await {
            Ok(_) => {}
            // A long write: it is waited for again.
            Err(Error::DeadlineExceeded) => {
                tracing::info!(site = %site, "grants have run out, and a write keeps their endings waiting");
            }
            Err(error) => {
                tracing::warn!(%error, site = %site, "could not end the grants that have run out");
            }
        }
    }
    .instrument(trace())
    .await;
}

/// A trace of its own, which the events name.
fn trace() -> Span {
    tracing::error_span!(parent: None, "grants.end", otel.name = "end grants")
}
