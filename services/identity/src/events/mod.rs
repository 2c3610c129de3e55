//! Events: the record of every change, written in the transaction of the change, numbered per site
//! without gaps.

mod concern;
mod kinds;
pub(crate) mod rpc;
mod store;
mod watch;
mod wire;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use self::kinds::Kinds;
pub(crate) use self::{store::append, watch::Watches};
use crate::{
    context::RequestContext,
    error::Error,
    members::{self, MemberName},
    receipt::Effect,
    site_tx::Identity,
};

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
    pub(crate) site_domain: String,
    pub(crate) number: i64,
    pub(crate) occurred_at: DateTime<Utc>,
    pub(crate) kind: String,
    pub(crate) credential: Option<Uuid>,
    pub(crate) actor: String,
    pub(crate) subject: Uuid,
    pub(crate) trace_id: String,
    /// The span that wrote it, where its trace was sampled.
    pub(crate) span_id: Option<String>,
    pub(crate) before: Value,
    pub(crate) after: Value,
    pub(crate) access_changes: Value,
    /// How many members the change touched; none for events of before that was kept.
    pub(crate) members: Option<i64>,
    /// Ids in a membership change that were no members.
    pub(crate) unknown: Vec<String>,
}

/// Which events are asked for.
#[derive(Clone, Debug)]
pub(crate) struct EventQuery {
    pub(crate) after: i64,
    pub(crate) limit: i64,
    /// The newest `limit` ones instead of the first after `after`.
    pub(crate) newest: bool,
    pub(crate) kinds: Kinds,
    /// What they are about.
    pub(crate) subject: Option<Uuid>,
    /// Whom they concern.
    pub(crate) member: Option<MemberName>,
    pub(crate) credential: Option<Uuid>,
    /// The actor's label.
    pub(crate) actor: Option<String>,
    pub(crate) from: Option<DateTime<Utc>>,
    pub(crate) to: Option<DateTime<Utc>>,
}

/// A page of events.
#[derive(Clone, Debug)]
pub(crate) struct EventPage {
    /// Oldest first.
    pub(crate) events: Vec<Event>,
    /// The site's revision.
    pub(crate) revision: i64,
    /// Whether the query finds more.
    pub(crate) more: bool,
}

/// Lists events.
pub(crate) async fn list(
    identity: &Identity,
    context: RequestContext,
    input: Result<EventQuery, Error>,
) -> Result<EventPage, Error> {
    identity
        .read(context, input, |tx, query| {
            let member = match &query.member {
                None => None,
                // A deleted member is still found by its id.
                Some(MemberName::Id(id)) => Some(*id),
                Some(name) => Some(members::require(tx, name)?.id),
            };
            let (events, more) = store::list(tx, query, member)?;
            Ok(EventPage {
                events,
                revision: tx.site.revision,
                more,
            })
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
