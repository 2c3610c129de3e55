//! Grants that end by themselves: each ending is an event of its own, stamped with that end, written by
//! whoever comes first: a write or a read of the site, or the task here.
//!
//! What holds for every site: a grant whose end is at or before the site's clock has been ended by its
//! event. So what reads access looks at no clock, and the answer of a revision is always the same; but for the
//! present while a slow write keeps an ending from being written, when it leaves out what has run out
//! ([`SiteTx::ended_by`]).

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::json;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::Instrument;

use super::{described, store};
use crate::{
    caller::Caller,
    context::RequestContext,
    error::Error,
    events::{self, NewEvent},
    ids::SiteId,
    receipt::Effect,
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
/// How long it is waited for a site's lock, while those of other sites are waited for behind it.
const WAIT: Duration = Duration::from_secs(2);

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
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        waiting.retain(|_, task| !task.is_finished());
        match identity.db.peek(store::due_sites(SITES)).await {
            Ok(sites) => {
                // No site waits for another one's lock.
                let passed_over: Vec<SiteId> = stream::iter(sites)
                    .map(|row: store::SiteIdRow| {
                        end_of_site(identity.clone(), SiteId::from(row.site_id), false)
                    })
                    .buffer_unordered(identity.db.spare())
                    .filter_map(std::future::ready)
                    .collect()
                    .await;
                // Where writes follow each other that come to nothing, the lock is never free and nobody else ends
                // anything: it is waited for. Not for long, so that those that find no room have theirs next.
                for site in passed_over {
                    if waiting.len() < identity.db.spare() && !waiting.contains_key(&site) {
                        let waits = end_of_site(identity.clone(), site, true).map(drop);
                        waiting.insert(site, AbortOnDropHandle::new(tokio::spawn(waits)));
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "could not look for grants that have run out"),
        }
    }
}

/// Ends what is over on a site; answers with it where somebody else has its lock.
async fn end_of_site(identity: Identity, site: SiteId, wait: bool) -> Option<SiteId> {
    // A trace of its own, which its events name.
    let span = tracing::error_span!(parent: None, "grants.end", otel.name = "end grants");
    async {
        let patience = if wait { WAIT } else { PATIENCE };
        let context = RequestContext::of_nobody("end grants", patience);
        match identity.end_due(&context, site, wait).await {
            Ok(Some(_)) => None,
            Ok(None) => Some(site),
            // A long write: it is waited for again.
            Err(Error::DeadlineExceeded) if wait => {
                tracing::info!(site = %site, "grants have run out, and other writes keep their endings waiting");
                None
            }
            Err(error) => {
                tracing::warn!(%error, site = %site, "could not end the grants that have run out");
                None
            }
        }
    }
    .instrument(span)
    .await
}
