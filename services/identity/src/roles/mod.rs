//! Roles: named sets of permissions. The built-in ones come with the site; custom ones are made.

pub(crate) mod rpc;
mod store;

use chrono::{DateTime, Utc};
use serde_json::json;

pub(crate) use self::store::insert_built_in;
use crate::{
    context::RequestContext,
    error::{Error, Kind, Taken},
    events::NewEvent,
    ids::RoleId,
    names::Name,
    receipt::{Effect, Receipt},
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

/// Makes a custom role.
pub(crate) async fn create(
    identity: &Identity,
    context: RequestContext,
    input: Result<NewRole, Error>,
) -> Result<(Role, Receipt), Error> {
    identity
        .write(context, input, |tx, new| {
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
        })
        .await
}

fn name_taken(id: RoleId) -> Error {
    Error::AlreadyExists {
        what: Taken::RoleName,
        id: id.uuid(),
        display_name: None,
    }
}

fn check_permissions(tx: &mut SiteTx<'_, '_>, permissions: &[String]) -> Result<(), Error> {
    match store::first_unknown_permission(tx, permissions)? {
        None => Ok(()),
        Some(unknown) => Err(Error::invalid(
            "permissions",
            format!("names \"{unknown}\", which is not in the catalogue"),
        )),
    }
}

fn summary(role: &Role) -> serde_json::Value {
    json!({ "name": role.name.as_str(), "permissions": role.permissions })
}

/// All roles of the site, by name.
pub(crate) async fn list(identity: &Identity, context: RequestContext) -> Result<Vec<Role>, Error> {
    identity
        .read(context, Ok(()), |tx, ()| store::list(tx, None))
        .await
}

/// A role that a caller may change or delete.
fn require_custom(tx: &mut SiteTx<'_, '_>, id: RoleId) -> Result<Role, Error> {
    let role = store::list(tx, Some(id))?
        .pop()
        .ok_or(Error::NotFound(Kind::Role))?;
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
            check_permissions(tx, &after.permissions)?;
            if let Some(taken) = store::update(tx, &after)? {
                return Err(name_taken(taken));
            }
            after.version = tx.next_event();
            after.updated_at = tx.now;
            tx.record(NewEvent {
                kind: "role.updated",
                subject: after.id.uuid(),
                before: summary(&before),
                after: summary(&after),
                effect: &Effect::default(),
            })?;
            Ok((after, Effect::default()))
        })
        .await
}

/// Deletes a custom role that nothing gives.
pub(crate) async fn delete(
    identity: &Identity,
    context: RequestContext,
    input: Result<RoleId, Error>,
) -> Result<((), Receipt), Error> {
    identity
        .write(context, input, |tx, id| {
            let role = require_custom(tx, *id)?;
            let (groups, grants) = store::count_uses(tx, *id)?;
            if groups + grants > 0 {
                return Err(Error::StillGrants {
                    kind: Kind::Role,
                    groups,
                    grants,
                });
            }
            store::delete(tx, *id)?;
            tx.record(NewEvent {
                kind: "role.deleted",
                subject: id.uuid(),
                before: summary(&role),
                after: json!({}),
                effect: &Effect::default(),
            })?;
            Ok(((), Effect::default()))
        })
        .await
}
