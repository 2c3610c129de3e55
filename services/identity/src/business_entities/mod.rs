//! Business entities: the legal entities and brands inside a site. Making or deleting one never
//! divides the site; that is a step of its own.

pub(crate) mod rpc;
mod store;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::{
    context::RequestContext,
    error::{Error, Kind, Taken},
    events::NewEvent,
    ids::BusinessEntityId,
    names::{Handle, Name},
    receipt::{Effect, Receipt},
    site_tx::Identity,
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

/// Makes a business entity.
pub(crate) async fn create(
    identity: &Identity,
    context: RequestContext,
    input: Result<NewBusinessEntity, Error>,
) -> Result<(BusinessEntity, Receipt), Error> {
    identity
        .write(context, input, |tx, new| {
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
        })
        .await
}

fn summary(entity: &BusinessEntity) -> serde_json::Value {
    json!({ "name": entity.name.as_str(), "handle": entity.handle })
}

/// All business entities of the site, by name.
pub(crate) async fn list(
    identity: &Identity,
    context: RequestContext,
) -> Result<Vec<BusinessEntity>, Error> {
    identity
        .read(context, Ok(()), |tx, ()| store::list(tx, None))
        .await
}

/// Renames a business entity. Groups and grants stay bound to it by its id.
pub(crate) async fn update(
    identity: &Identity,
    context: RequestContext,
    input: Result<BusinessEntityChange, Error>,
) -> Result<(BusinessEntity, Receipt), Error> {
    identity
        .write(context, input, |tx, change| {
            let before = store::list(tx, Some(change.id))?
                .pop()
                .ok_or(Error::NotFound(Kind::BusinessEntity))?;
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

/// Deletes a business entity that nothing gives.
pub(crate) async fn delete(
    identity: &Identity,
    context: RequestContext,
    input: Result<BusinessEntityId, Error>,
) -> Result<((), Receipt), Error> {
    identity
        .write(context, input, |tx, id| {
            let entity = store::list(tx, Some(*id))?
                .pop()
                .ok_or(Error::NotFound(Kind::BusinessEntity))?;
            let (groups, grants) = store::count_uses(tx, *id)?;
            if groups + grants > 0 {
                return Err(Error::StillGrants {
                    kind: Kind::BusinessEntity,
                    groups,
                    grants,
                });
            }
            store::delete(tx, *id)?;
            tx.record(NewEvent {
                kind: "business_entity.deleted",
                subject: id.uuid(),
                before: summary(&entity),
                after: json!({}),
                effect: &Effect::default(),
            })?;
            Ok(((), Effect::default()))
        })
        .await
}
