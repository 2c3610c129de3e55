//! Roles: named sets of permissions. The built-in ones come with the site; custom ones are made.

pub(crate) mod rpc;
mod store;

use chrono::{DateTime, Utc};
use serde_json::json;

pub(crate) use self::store::insert_built_in;
use crate::{
    access::{Target, TargetId},
    batch::Batch,
    context::RequestContext,
    error::{Error, Kind, Taken},
    events::NewEvent,
    filter::{Listed, Query},
    grants,
    ids::RoleId,
    names::Name,
    receipt::{Effect, Receipt},
    requests::Answer,
    site_tx::{Identity, SiteTx},
    wire,
};

/// A role.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) id: RoleId,
    pub(crate) name: Name,
    pub(crate) built_in: bool,
    /// Sorted.
    pub(crate) permissions: Vec<String>,
    pub(crate) version: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// A custom role to make.
#[derive(Clone, Debug)]
pub(crate) struct NewRole {
    pub(crate) name: Name,
    /// Sorted, each once.
    pub(crate) permissions: Vec<String>,
}

/// Attributes to change; what is absent stays.
#[derive(Clone, Debug)]
pub(crate) struct RoleChange {
    pub(crate) id: RoleId,
    pub(crate) name: Option<Name>,
    pub(crate) permissions: Option<Vec<String>>,
    pub(crate) if_versions: Vec<i64>,
}

/// A role to delete.
#[derive(Clone, Debug)]
pub(crate) struct RoleDeletion {
    pub(crate) id: RoleId,
    pub(crate) if_versions: Vec<i64>,
    /// Whether the members' own grants of it may be ended.
    pub(crate) end_grants: bool,
}

/// Makes a custom role.
pub(crate) async fn create<M: Answer>(
    identity: &Identity,
    context: RequestContext,
    input: Result<NewRole, Error>,
    answer: fn(Role, Receipt) -> M,
) -> Result<M, Error> {
    let make = |tx: &mut SiteTx<'_, '_>, new: &NewRole| {
        let maximum = i64::from(tx.site.custom_role_limit);
        if store::count_custom(tx)? >= maximum {
            return Err(Error::LimitExceeded {
                limit: "custom roles of a site",
                maximum,
            });
        }
        check_permissions(tx, &new.permissions)?;
        let id = RoleId::new();
        if let Some(taken) = store::insert(tx, id, new)? {
            return Err(name_taken(taken));
        }
        let role = Role {
            id,
            name: new.name.clone(),
            built_in: false,
            permissions: new.permissions.clone(),
            version: tx.next_event(),
            created_at: tx.now,
            updated_at: tx.now,
        };
        tx.record(NewEvent {
            kind: "role.created",
            subject: id.uuid(),
            before: json!({}),
            after: summary(&role),
            effect: &Effect::default(),
        })?;
        Ok((role, Effect::default()))
    };
    identity.make(context, input, make, answer).await
}

fn name_taken(id: RoleId) -> Error {
    Error::AlreadyExists {
        what: Taken::RoleName,
        id: id.uuid(),
        display_name: None,
    }
}

fn check_permissions(tx: &mut SiteTx<'_, '_>, permissions: &[String]) -> Result<(), Error> {
    match store::first_unfit_permission(tx, permissions)? {
        None => Ok(()),
        Some((unknown, false)) => Err(Error::invalid(
            "permissions",
            format!("names \"{unknown}\", which is not in the catalogue"),
        )),
        // Else a group or an entitlement would give what only an Owner has.
        Some((of_owner, true)) => Err(Error::invalid(
            "permissions",
            format!("names \"{of_owner}\", which the Owner role alone has"),
        )),
    }
}

fn summary(role: &Role) -> serde_json::Value {
    json!({ "name": role.name.as_str(), "permissions": role.permissions })
}

/// Reads a role; and the site's revision.
pub(crate) async fn get(
    identity: &Identity,
    context: RequestContext,
    input: Result<RoleId, Error>,
) -> Result<(Role, i64), Error> {
    identity
        .read(context, input, |tx, id| {
            Ok((require(tx, *id)?, tx.site.revision))
        })
        .await
}

/// Reads several roles: those that are there, and the ids of the others; and the site's revision.
pub(crate) async fn get_several(
    identity: &Identity,
    context: RequestContext,
    input: Result<Batch<String, RoleId>, Error>,
) -> Result<((Vec<Role>, Vec<String>), i64), Error> {
    identity
        .read(context, input, |tx, named| {
            let ids = named.keys().copied().collect();
            let found = store::get_several(tx, ids)?;
            Ok((named.arrange(found, |role| [role.id]), tx.site.revision))
        })
        .await
}

/// Lists roles; and tells the site's revision.
pub(crate) async fn list(
    identity: &Identity,
    context: RequestContext,
    input: Result<Query, Error>,
) -> Result<(Listed<Role>, i64), Error> {
    identity
        .read(context, input, |tx, query| {
            let page = query.page(
                tx,
                tx.site_id(),
                |role: &Role| role.id.uuid(),
                |tx, rows| store::list(tx, query, rows),
                |tx| store::count(tx, query),
            )?;
            Ok((page, tx.site.revision))
        })
        .await
}

/// A permission of the catalogue.
#[derive(Clone, Debug)]
pub(crate) struct Permission {
    pub(crate) name: String,
    pub(crate) description: String,
    /// The names of the built-in roles that carry it, sorted.
    pub(crate) built_in_roles: Vec<String>,
}

/// The catalogue of permissions, which is the same for all sites.
pub(crate) async fn permissions(
    identity: &Identity,
    context: RequestContext,
) -> Result<Vec<Permission>, Error> {
    identity
        .anywhere(context, true, Ok(()), |tx, _, ()| store::permissions(tx))
        .await
}

fn require(tx: &mut SiteTx<'_, '_>, id: RoleId) -> Result<Role, Error> {
    store::get_several(tx, vec![id])?
        .pop()
        .ok_or(Error::NotFound(Kind::Role))
}

/// A role that a caller may change or delete.
fn require_custom(tx: &mut SiteTx<'_, '_>, id: RoleId) -> Result<Role, Error> {
    let role = require(tx, id)?;
    if role.built_in {
        return Err(Error::Immutable {
            field: "role",
            why: "a built-in role stays as it is",
        });
    }
    Ok(role)
}

/// Changes a custom role. Groups and grants stay bound to it by its id.
pub(crate) async fn update(
    identity: &Identity,
    context: RequestContext,
    input: Result<RoleChange, Error>,
) -> Result<(Role, Receipt), Error> {
    identity
        .write(context, input, |tx, change| {
            let before = require_custom(tx, change.id)?;
            wire::check_version(before.version, &change.if_versions)?;
            let mut after = before.clone();
            after.name = change.name.clone().unwrap_or(after.name);
            after.permissions = change.permissions.clone().unwrap_or(after.permissions);
            if summary(&before) == summary(&after) {
                return Ok((before, Effect::default()));
            }
            let new = after.permissions.iter();
            let new = new.filter(|name| !before.permissions.contains(name));
            check_permissions(tx, &new.cloned().collect::<Vec<_>>())?;
            if let Some(taken) = store::update(tx, &after)? {
                return Err(name_taken(taken));
            }
            after.version = tx.next_event();
            after.updated_at = tx.now;
            let mut effect = Effect::default();
            if before.permissions != after.permissions {
                effect.members = store::count_holders(tx, after.id)?;
            }
            tx.record(NewEvent {
                kind: "role.updated",
                subject: after.id.uuid(),
                before: summary(&before),
                after: summary(&after),
                effect: &effect,
            })?;
            Ok((after, effect))
        })
        .await
}

/// Deletes a custom role that nothing gives, or whose grants to members it may end.
pub(crate) async fn delete(
    identity: &Identity,
    context: RequestContext,
    input: Result<RoleDeletion, Error>,
) -> Result<((), Receipt), Error> {
    identity
        .write(context, input, |tx, deletion| {
            let id = deletion.id;
            let role = require_custom(tx, id)?;
            wire::check_version(role.version, &deletion.if_versions)?;
            let (groups, grants) = store::count_uses(tx, id)?;
            if groups > 0 || (grants > 0 && !deletion.end_grants) {
                return Err(Error::StillGrants {
                    kind: Kind::Role,
                    groups,
                    grants,
                });
            }
            let target = TargetId::Role(id);
            let mut effect = Effect::default();
            if grants > 0 {
                let ended = grants::end_of_target(tx, target)?;
                effect.members = ended.members;
                let name = role.name.as_str().to_owned();
                effect.push(Target { id: target, name }, vec![], ended.lost);
            }
            store::delete(tx, id)?;
            tx.record(NewEvent {
                kind: "role.deleted",
                subject: id.uuid(),
                before: summary(&role),
                after: json!({}),
                effect: &effect,
            })?;
            Ok(((), effect))
        })
        .await
}
