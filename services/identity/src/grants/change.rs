//! Changing why a direct grant was given and until when. It stays the same grant: who has it has what it gives
//! all the time, and what was so before stays answerable.

use chrono::{DateTime, Utc};

use super::{
    check_end, described,
    listing::{self, DirectGrant},
    store,
};
use crate::{
    context::RequestContext,
    error::{Error, Kind},
    events::NewEvent,
    ids::GrantId,
    receipt::{Effect, Receipt},
    site_tx::Identity,
    wire,
};

/// What to change; what is absent stays.
#[derive(Clone, Debug)]
pub(super) struct GrantChange {
    pub(super) id: GrantId,
    pub(super) reason: Option<String>,
    pub(super) ends_at: Option<Option<DateTime<Utc>>>,
    pub(super) if_versions: Vec<i64>,
}

/// Changes a direct grant that holds.
pub(super) async fn update(
    identity: &Identity,
    context: RequestContext,
    input: Result<GrantChange, Error>,
) -> Result<(DirectGrant, Receipt), Error> {
    identity
        .write(context, input, |tx, change| {
            let kept = store::get(tx, change.id)?.ok_or(Error::NotFound(Kind::Grant))?;
            wire::check_version(kept.version, &change.if_versions)?;
            let reason = change.reason.as_ref().unwrap_or(&kept.reason);
            let ends_at = change.ends_at.unwrap_or(kept.ends_at);
            if (reason, ends_at) == (&kept.reason, kept.ends_at) {
                return Ok((listing::require(tx, change.id)?, Effect::default()));
            }
            if ends_at != kept.ends_at {
                check_end(ends_at, kept.is_owner, tx.now)?;
            }
            store::update(tx, &kept, reason, ends_at)?;
            let effect = Effect::of_one_member();
            tx.record(NewEvent {
                kind: "grant.updated",
                subject: change.id.uuid(),
                before: described(&kept.target, kept.member, &kept.reason, kept.ends_at),
                after: described(&kept.target, kept.member, reason, ends_at),
                effect: &effect,
            })?;
            Ok((listing::require(tx, change.id)?, effect))
        })
        .await
}
