//! Events: the record of every change, written in the transaction of the change, numbered per site
//! without gaps.

pub(crate) mod rpc;
mod store;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) use self::store::append;
use crate::{context::RequestContext, error::Error, receipt::Effect, site_tx::Identity};

/// An event about to be written. Who did it, when, and in which trace is the transaction's to say.
pub(crate) struct NewEvent<'a> {
    /// `<subject kind>.<what happened>`, one of those listed in the contract.
    pub(crate) kind: &'static str,
    pub(crate) subject: Uuid,
    /// The changed attributes as they were.
    pub(crate) before: Value,
    /// The changed attributes as they are.
    pub(crate) after: Value,
    pub(crate) effect: &'a Effect,
}

/// An event as it was written.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) site: Uuid,
    pub(crate) number: i64,
    pub(crate) occurred_at: DateTime<Utc>,
    pub(crate) kind: String,
    pub(crate) credential: Option<Uuid>,
    pub(crate) actor: String,
    pub(crate) subject: Uuid,
    pub(crate) trace_id: String,
    pub(crate) before: Value,
    pub(crate) after: Value,
    pub(crate) access_changes: Value,
}

/// Which events are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventQuery {
    pub(crate) after: i64,
    pub(crate) limit: i64,
    /// The newest `limit` ones instead of the first after `after`.
    pub(crate) newest: bool,
}

/// Lists events, oldest first, and tells the site's revision.
pub(crate) async fn list(
    identity: &Identity,
    context: RequestContext,
    input: Result<EventQuery, Error>,
) -> Result<(Vec<Event>, i64), Error> {
    identity
        .read(context, input, |tx, query| {
            let after = if query.newest {
                tx.site.revision - query.limit
            } else {
                query.after
            };
            Ok((store::list(tx, after, query.limit)?, tx.site.revision))
        })
        .await
}

/// The effect as it is kept: who gained and lost what, in full.
pub(crate) fn kept(effect: &Effect) -> Value {
    let ids = |members: &[crate::ids::MemberId]| -> Vec<String> {
        members.iter().map(ToString::to_string).collect()
    };
    effect
        .changes
        .iter()
        .map(|change| {
            json!({
                "kind": change.target.id.kind_name(),
                "id": change.target.id.uuid(),
                "name": change.target.name,
                "gained": ids(&change.gained),
                "lost": ids(&change.lost),
            })
        })
        .collect()
}
