//! Grants that end by themselves: each ending is an event of its own, stamped with that end, written by
//! whoever comes first: a write or a read of the site, or the task here.
//!
//! What holds for every site: a grant whose end is at or before the site's clock has been ended by its
//! event. So what reads access looks at no clock, and the answer of a revision is always the same; but for the
//! present while a slow write keeps an ending from being written, when it leaves out what has run out
//! ([`SiteTx::ended_by`]).

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio_util::sync::CancellationToken;
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
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        match identity.db.peek(store::due_sites(SITES)).await {
            Ok(sites) => {
                stream::iter(sites)
                    .for_each_concurrent(identity.db.spare(), |store::SiteIdRow { site_id }| {
                        end_of_site(&identity, SiteId::from(site_id))
                    })
                    .await;
            }
            Err(error) => tracing::warn!(%error, "could not look for grants that have run out"),
        }
    }
}

async fn end_of_site(identity: &Identity, site: SiteId) {
    // A trace of its own, which its events name.
    let span = tracing::error_span!(parent: None, "grants.end", otel.name = "end grants");
    async {
        let context = RequestContext::of_nobody("end grants", PATIENCE);
        // Where somebody writes, the next look finds out: no site waits for another one's lock.
        if let Err(error) = identity.end_due(&context, site, false).await {
            tracing::warn!(%error, site = %site, "could not end the grants that have run out");
        }
    }
    .instrument(span)
    .await;
}
