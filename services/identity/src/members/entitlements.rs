//! Roles and business entities granted by standing in an attribute of the member. The attribute shows
//! and sets only these: what groups and direct decisions grant is neither shown there nor ended by it.

use super::{Member, store};
use crate::{
    access::{Target, TargetId},
    error::Error,
    ids::{BusinessEntityId, RoleId},
    site_tx::SiteTx,
};

/// The most ids of one kind.
const IDS_MAX: usize = 1000;

/// A role or business entity that the attribute grants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Entitled {
    pub(crate) target: Target,
    /// Whether the member has it by another grant too.
    pub(crate) otherwise: bool,
    pub(crate) is_admin: bool,
}

/// What the attribute is to grant from now on; what is absent stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct EntitlementChange {
    /// Exactly these roles.
    pub(crate) roles: Option<Vec<RoleId>>,
    /// Exactly these business entities.
    pub(crate) business_entities: Option<Vec<BusinessEntityId>>,
}

/// Reads ids as they were sent: what is no id is nothing of the site.
pub(super) fn read_ids<T: Ord>(
    field: &'static str,
    texts: impl Iterator<Item = String>,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Error> {
    let mut ids = texts
        .map(|text| parse(&text).ok_or_else(|| unknown(field, &text)))
        .collect::<Result<Vec<T>, Error>>()?;
    ids.sort_unstable();
    ids.dedup();
    if ids.len() > IDS_MAX {
        return Err(Error::invalid(
            field,
            format!("has {} ids; the limit is {IDS_MAX}", ids.len()),
        ));
    }
    Ok(ids)
}

fn unknown(field: &'static str, id: &str) -> Error {
    Error::invalid(
        field,
        format!("names the id \"{id}\", which the site does not have"),
    )
}

impl EntitlementChange {
    /// Works the change into `member`, in memory and in the database; answers whether anything changed.
    pub(super) fn apply(
        &self,
        tx: &mut SiteTx<'_, '_>,
        member: &mut Member,
    ) -> Result<bool, Error> {
        let roles = self
            .roles
            .as_ref()
            .map(|ids| ids.iter().map(|id| TargetId::Role(*id)));
        let entities = self
            .business_entities
            .as_ref()
            .map(|ids| ids.iter().map(|id| TargetId::BusinessEntity(*id)));
        let mut adding = Vec::new();
        let mut ending = Vec::new();
        if let Some(wanted) = roles {
            let is_role = |id: TargetId| id.role().is_some();
            compare(
                member,
                &wanted.collect::<Vec<_>>(),
                is_role,
                &mut adding,
                &mut ending,
            );
        }
        if let Some(wanted) = entities {
            let is_entity = |id: TargetId| id.business_entity().is_some();
            compare(
                member,
                &wanted.collect::<Vec<_>>(),
                is_entity,
                &mut adding,
                &mut ending,
            );
        }
        if adding.is_empty() && ending.is_empty() {
            return Ok(false);
        }
        if !ending.is_empty() {
            store::end_entitlements(tx, member.id, &ending)?;
            for id in &ending {
                leave(member, *id);
            }
        }
        if !adding.is_empty() {
            for found in grantable(tx, &adding)? {
                enter(member, found);
            }
            store::add_entitlements(tx, member.id, &adding)?;
        }
        Ok(true)
    }
}

/// What is wanted of one kind and not there, and what is there and not wanted.
fn compare(
    member: &Member,
    wanted: &[TargetId],
    of_kind: impl Fn(TargetId) -> bool,
    adding: &mut Vec<TargetId>,
    ending: &mut Vec<TargetId>,
) {
    let present: Vec<TargetId> = member
        .entitled
        .iter()
        .map(|entitled| entitled.target.id)
        .filter(|id| of_kind(*id))
        .collect();
    adding.extend(wanted.iter().filter(|id| !present.contains(id)));
    ending.extend(present.iter().filter(|id| !wanted.contains(id)));
}

/// The roles and business entities of these ids, all of which the site must have and none of which may
/// be Owner.
fn grantable(tx: &mut SiteTx<'_, '_>, ids: &[TargetId]) -> Result<Vec<Entitled>, Error> {
    let found = store::find_targets(tx, ids)?;
    for id in ids {
        let Some((_, built_in)) = found.iter().find(|(target, _)| target.id == *id) else {
            let field = match id {
                TargetId::Role(_) => "entitlements.roles",
                TargetId::BusinessEntity(_) => "entitlements.business_entities",
            };
            return Err(unknown(field, &id.uuid().to_string()));
        };
        if built_in.as_deref() == Some("owner") {
            return Err(Error::OwnerNotGrantable {
                site_domain: tx.site.domain.clone(),
            });
        }
    }
    Ok(found
        .into_iter()
        .map(|(target, built_in)| Entitled {
            target,
            otherwise: false,
            is_admin: built_in.as_deref() == Some("admin"),
        })
        .collect())
}

fn list(member: &mut Member, id: TargetId) -> &mut Vec<Target> {
    match id {
        TargetId::Role(_) => &mut member.roles,
        TargetId::BusinessEntity(_) => &mut member.business_entities,
    }
}

fn enter(member: &mut Member, mut entitled: Entitled) {
    let id = entitled.target.id;
    let held = list(member, id);
    entitled.otherwise = held.iter().any(|target| target.id == id);
    if !entitled.otherwise {
        held.push(entitled.target.clone());
        held.sort_by_cached_key(|target| crate::names::key(&target.name));
    }
    member.is_admin |= entitled.is_admin;
    member.entitled.push(entitled);
    member
        .entitled
        .sort_by_cached_key(|entitled| crate::names::key(&entitled.target.name));
}

fn leave(member: &mut Member, id: TargetId) {
    let Some(at) = member
        .entitled
        .iter()
        .position(|entitled| entitled.target.id == id)
    else {
        return;
    };
    let entitled = member.entitled.remove(at);
    if !entitled.otherwise {
        list(member, id).retain(|target| target.id != id);
        member.is_admin &= !entitled.is_admin;
    }
}
