//! Business entities: the legal entities and brands inside a site. Making or deleting one never
//! divides the site; that is a step of its own.

pub(crate) mod rpc;
mod store;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::{
    access::{Target, TargetId},
    batch::Batch,
    context::RequestContext,
    error::{Error, Kind, Taken},
    events::NewEvent,
    filter::{Listed, Query},
    grants,
    ids::BusinessEntityId,
    names::{Handle, Name},
    receipt::{Effect, Receipt},
    requests::Answer,
    site_tx::{Identity, SiteTx},
    wire,
};

/// A business entity.
#[derive(Clone, Debug)]
pub(crate) struct BusinessEntity {
    pub(crate) id: BusinessEntityId,
    pub(crate) name: Name,
    pub(crate) handle: String,
    pub(crate) version: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// A business entity to make.
#[derive(Clone, Debug)]
pub(crate) struct NewBusinessEntity {
    pub(crate) name: Name,
    /// None: made from the name.
    pub(crate) handle: Option<Handle>,
}

/// A new name for a business entity.
#[derive(Clone, Debug)]
pub(crate) struct BusinessEntityChange {
    pub(crate) id: BusinessEntityId,
    pub(crate) name: Option<Name>,
    pub(crate) if_versions: Vec<i64>,
}

/// A business entity to delete.
#[derive(Clone, Debug)]
pub(crate) struct BusinessEntityDeletion {
    pub(crate) id: BusinessEntityId,
    pub(crate) if_versions: Vec<i64>,
    /// Whether the members' own grants of it may be ended.
    pub(crate) end_grants: bool,
}

/// Makes a business entity.
pub(crate) async fn create<M: Answer>(
    identity: &Identity,
    context: RequestContext,
    input: Result<NewBusinessEntity, Error>,
    answer: fn(BusinessEntity, Receipt) -> M,
) -> Result<M, Error> {
    let make = |tx: &mut SiteTx<'_, '_>, new: &NewBusinessEntity| {
        let id = BusinessEntityId::new();
        // A name of no Latin letter or digit gets its id as handle.
        let handle = match &new.handle {
            Some(handle) => handle.as_str().to_owned(),
            None => Handle::from_name(&new.name)
                .map_or_else(|| id.to_string(), |handle| handle.as_str().to_owned()),
        };
        let mut taken = store::insert(tx, id, &new.name, &handle)?;
        let mut handle = handle;
        if new.handle.is_none() && matches!(taken, Some((Taken::BusinessEntityHandle, _))) {
            // Nobody asked for this handle; the entity's own id is in nobody's way.
            handle = id.to_string();
            taken = store::insert(tx, id, &new.name, &handle)?;
        }
        if let Some((what, taken)) = taken {
            return Err(Error::AlreadyExists {
                what,
                id: taken.uuid(),
                display_name: None,
            });
        }
        let entity = BusinessEntity {
            id,
            name: new.name.clone(),
            handle,
            version: tx.next_event(),
            created_at: tx.now,
            updated_at: tx.now,
        };
        tx.record(NewEvent {
            kind: "business_entity.created",
            subject: id.uuid(),
            before: json!({}),
            after: summary(&entity),
            effect: &Effect::default(),
        })?;
        Ok((entity, Effect::default()))
    };
    identity.make(context, input, make, answer).await
}

fn summary(entity: &BusinessEntity) -> serde_json::Value {
    json!({ "name": entity.name.as_str(), "handle": entity.handle })
}

/// Reads a business entity; and the site's revision.
pub(crate) async fn get(
    identity: &Identity,
    context: RequestContext,
    input: Result<BusinessEntityId, Error>,
) -> Result<(BusinessEntity, i64), Error> {
    identity
        .read(context, input, |tx, id| {
            Ok((require(tx, *id)?, tx.site.revision))
        })
        .await
}

/// Reads several business entities: those that are there, and the ids of the others; and the site's
/// revision.
pub(crate) async fn get_several(
    identity: &Identity,
    context: RequestContext,
    input: Result<Batch<String, BusinessEntityId>, Error>,
) -> Result<((Vec<BusinessEntity>, Vec<String>), i64), Error> {
    identity
        .read(context, input, |tx, named| {
            let ids = named.keys().copied().collect();
            let found = store::get_several(tx, ids)?;
            Ok((named.arrange(found, |entity| [entity.id]), tx.site.revision))
        })
        .await
}

/// Lists business entities; and tells the site's revision.
pub(crate) async fn list(
    identity: &Identity,
    context: RequestContext,
    input: Result<Query, Error>,
) -> Result<(Listed<BusinessEntity>, i64), Error> {
    identity
        .read(context, input, |tx, query| {
            let page = query.page(
                tx,
                tx.site_id(),
                |entity: &BusinessEntity| entity.id.uuid(),
                |tx, rows| store::list(tx, query, rows),
                |tx| store::count(tx, query),
            )?;
            Ok((page, tx.site.revision))
        })
        .await
}

fn require(tx: &mut SiteTx<'_, '_>, id: BusinessEntityId) -> Result<BusinessEntity, Error> {
    store::get_several(tx, vec![id])?
        .pop()
        .ok_or(Error::NotFound(Kind::BusinessEntity))
}

/// Renames a business entity. Groups and grants stay bound to it by its id.
pub(crate) async fn update(
    identity: &Identity,
    context: RequestContext,
    input: Result<BusinessEntityChange, Error>,
) -> Result<(BusinessEntity, Receipt), Error> {
    identity
        .write(context, input, |tx, change| {
            let before = require(tx, change.id)?;
            wire::check_version(before.version, &change.if_versions)?;
            let mut after = before.clone();
            after.name = change.name.clone().unwrap_or(after.name);
            if before.name == after.name {
                return Ok((before, Effect::default()));
            }
            if let Some(taken) = store::rename(tx, &after)? {
                return Err(Error::AlreadyExists {
                    what: Taken::BusinessEntityName,
                    id: taken.uuid(),
                    display_name: None,
                });
            }
            after.version = tx.next_event();
            after.updated_at = tx.now;
            tx.record(NewEvent {
                kind: "business_entity.updated",
                subject: after.id.uuid(),
                before: summary(&before),
                after: summary(&after),
                effect: &Effect::default(),
            })?;
            Ok((after, Effect::default()))
        })
        .await
}

/// Deletes a business entity that nothing gives, or whose grants to members it may end.
pub(crate) async fn delete(
    identity: &Identity,
    context: RequestContext,
    input: Result<BusinessEntityDeletion, Error>,
) -> Result<((), Receipt), Error> {
    identity
        .write(context, input, |tx, deletion| {
            let id = deletion.id;
            let entity = require(tx, id)?;
            wire::check_version(entity.version, &deletion.if_versions)?;
            let (groups, grants) = store::count_uses(tx, id)?;
            if groups > 0 || (grants > 0 && !deletion.end_grants) {
                return Err(Error::StillGrants {
                    kind: Kind::BusinessEntity,
                    groups,
                    grants,
                });
            }
            let target = TargetId::BusinessEntity(id);
            let mut effect = Effect::default();
            if grants > 0 {
                let ended = grants::end_of_target(tx, target)?;
                effect.members = ended.members;
                let name = entity.name.as_str().to_owned();
                effect.push(Target { id: target, name }, vec![], ended.lost);
            }
            store::delete(tx, id)?;
            tx.record(NewEvent {
                kind: "business_entity.deleted",
                subject: id.uuid(),
                before: summary(&entity),
                after: json!({}),
                effect: &effect,
            })?;
            Ok(((), effect))
        })
        .await
}
