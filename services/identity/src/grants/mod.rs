//! Direct grants: roles and business entities given by a service or an operator.

mod change;
mod ending;
mod listing;
pub(crate) mod rpc;
mod store;

use chrono::{DateTime, Utc};
use serde_json::json;

pub(crate) use self::{
    ending::{end_due, end_grants_in_time},
    store::end_of_target,
};
use crate::{
    access::{Grant, Source, Target, TargetId},
    context::RequestContext,
    error::{Error, Kind, Taken},
    events::NewEvent,
    ids::{GrantId, MemberId},
    members::{self, MemberName},
    receipt::{Effect, Receipt},
    requests::Answer,
    site_tx::{Identity, SiteTx},
    sites::keep_an_owner,
    wire,
};

/// What a request asks to grant: by id, or by the key of a name.
#[derive(Clone, Debug)]
pub(crate) enum TargetName {
    Id(TargetId),
    Role(String),
    BusinessEntity(String),
}

/// A direct grant to make.
#[derive(Clone, Debug)]
pub(crate) struct NewGrant {
    pub(crate) member: MemberName,
    pub(crate) target: TargetName,
    pub(crate) reason: String,
    pub(crate) ends_at: Option<DateTime<Utc>>,
}

/// A direct grant to take back.
#[derive(Clone, Debug)]
pub(crate) struct GrantEnd {
    pub(crate) id: GrantId,
    /// Why; empty where nothing is said.
    pub(crate) reason: String,
    pub(crate) if_versions: Vec<i64>,
}

/// What ending all grants of a role or business entity did.
#[derive(Clone, Debug)]
pub(crate) struct EndedGrants {
    /// How many members had one.
    pub(crate) members: usize,
    /// The active ones among them, sorted.
    pub(crate) lost: Vec<MemberId>,
}

/// Makes a direct grant in a transaction that records it.
pub(crate) fn insert(
    tx: &mut SiteTx<'_, '_>,
    member: MemberId,
    target: TargetId,
    reason: &str,
    ends_at: Option<DateTime<Utc>>,
) -> Result<GrantId, Error> {
    let id = GrantId::new();
    match store::insert(tx, id, member, target, reason, ends_at)? {
        None => Ok(id),
        Some(existing) => Err(Error::AlreadyExists {
            what: Taken::Grant,
            id: existing.uuid(),
            display_name: None,
        }),
    }
}

/// Gives a member a role or a business entity.
pub(crate) async fn create<M: Answer>(
    identity: &Identity,
    context: RequestContext,
    input: Result<NewGrant, Error>,
    answer: fn(Grant, Receipt) -> M,
) -> Result<M, Error> {
    let make = |tx: &mut SiteTx<'_, '_>, new: &NewGrant| {
        let member = members::require(tx, &new.member)?;
        let (target, is_owner) = store::resolve(tx, &new.target, false)?;
        check_end(new.ends_at, is_owner, tx.now)?;
        let held = member.targets().any(|had| had.id == target.id);
        let id = insert(tx, member.id, target.id, &new.reason, new.ends_at)?;
        let mut effect = Effect::of_one_member();
        if member.active && !held {
            effect.push(target.clone(), vec![member.id], vec![]);
        }
        tx.record(NewEvent {
            kind: "grant.created",
            subject: id.uuid(),
            before: json!({}),
            after: described(&target, member.id, &new.reason, new.ends_at),
            effect: &effect,
        })?;
        let grant = Grant {
            target,
            source: Source::Direct {
                id,
                actor: tx.caller.label().to_owned(),
                reason: new.reason.clone(),
                ends_at: new.ends_at,
            },
            since: tx.now,
            since_event: tx.site.revision,
        };
        Ok((grant, effect))
    };
    identity.make(context, input, make, answer).await
}

/// Takes a direct grant back.
pub(crate) async fn end(
    identity: &Identity,
    context: RequestContext,
    input: Result<GrantEnd, Error>,
) -> Result<((), Receipt), Error> {
    identity
        .write(context, input, |tx, end| {
            let kept = store::get(tx, end.id)?.ok_or(Error::NotFound(Kind::Grant))?;
            wire::check_version(kept.version, &end.if_versions)?;
            if kept.is_owner && kept.member_active {
                keep_an_owner(tx, kept.member)?;
            }
            store::end(tx, end.id)?;
            let mut effect = Effect::of_one_member();
            if kept.member_active && !kept.held_otherwise {
                effect.push(kept.target.clone(), vec![], vec![kept.member]);
            }
            tx.record(NewEvent {
                kind: "grant.ended",
                subject: end.id.uuid(),
                before: described(&kept.target, kept.member, &kept.reason, kept.ends_at),
                after: match end.reason.as_str() {
                    "" => json!({}),
                    reason => json!({ "end_reason": reason }),
                },
                effect: &effect,
            })?;
            Ok(((), effect))
        })
        .await
}

/// Refuses an end that a grant can't have.
fn check_end(
    ends_at: Option<DateTime<Utc>>,
    is_owner: bool,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    match ends_at {
        Some(_) if is_owner => Err(Error::OwnerGrantWithEnd),
        Some(at) if at <= now => Err(Error::invalid("end_time", "must be in the future")),
        _ => Ok(()),
    }
}

fn described(
    target: &Target,
    member: MemberId,
    reason: &str,
    ends_at: Option<DateTime<Utc>>,
) -> serde_json::Value {
    let mut described = json!({
        "member_id": member.uuid(),
        "target": { "kind": target.id.kind_name(), "id": target.id.uuid(), "name": target.name },
        "reason": reason,
    });
    if let Some(at) = ends_at {
        described["end_time"] = json!(at);
    }
    described
}
