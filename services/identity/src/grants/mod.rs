//! Direct grants: roles and business entities given by a service or an operator.

pub(crate) mod rpc;
mod store;

use serde_json::json;

pub(crate) use self::store::end_all;
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
) -> Result<GrantId, Error> {
    let id = GrantId::new();
    match store::insert(tx, id, member, target, reason)? {
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
        let target = store::resolve(tx, &new.target)?;
        let held = member.targets().any(|had| had.id == target.id);
        let id = insert(tx, member.id, target.id, &new.reason)?;
        let mut effect = Effect::of_one_member();
        if member.active && !held {
            effect.push(target.clone(), vec![member.id], vec![]);
        }
        tx.record(NewEvent {
            kind: "grant.created",
            subject: id.uuid(),
            before: json!({}),
            after: described(&target, member.id, &new.reason),
            effect: &effect,
        })?;
        let grant = Grant {
            target,
            source: Source::Direct {
                id,
                actor: tx.caller.label().to_owned(),
                reason: new.reason.clone(),
                ends_at: None,
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
    input: Result<GrantId, Error>,
) -> Result<((), Receipt), Error> {
    identity
        .write(context, input, |tx, id| {
            let kept = store::get(tx, *id)?.ok_or(Error::NotFound(Kind::Grant))?;
            if kept.is_owner && kept.member_active {
                keep_an_owner(tx, kept.member)?;
            }
            store::end(tx, *id)?;
            let mut effect = Effect::of_one_member();
            if kept.member_active && !kept.held_otherwise {
                effect.push(kept.target.clone(), vec![], vec![kept.member]);
            }
            tx.record(NewEvent {
                kind: "grant.ended",
                subject: id.uuid(),
                before: described(&kept.target, kept.member, &kept.reason),
                after: json!({}),
                effect: &effect,
            })?;
            Ok(((), effect))
        })
        .await
}

fn described(target: &Target, member: MemberId, reason: &str) -> serde_json::Value {
    json!({
        "member_id": member.uuid(),
        "target": { "kind": target.id.kind_name(), "id": target.id.uuid(), "name": target.name },
        "reason": reason,
    })
}
