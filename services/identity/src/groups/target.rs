//! From what a group's name says to the role or business entity that is meant.

use super::store;
use crate::{
    access::Target,
    error::{Error, Kind, Taken},
    ids::GroupId,
    names::{closest, key, lookup_key},
    site_tx::SiteTx,
    sites::OutsideGroups,
};

/// How many names a message about a missing target lists.
const NAMES_MAX: i64 = 50;

/// What a display name says of its target, as the caller read it.
#[derive(Clone, Debug)]
pub(crate) struct TargetByName {
    pub(crate) kind: TargetKind,
    pub(crate) name: String,
    /// The domain that stood beside it; empty is not checked.
    pub(crate) site_domain: String,
}

/// What kind of target a display name names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TargetKind {
    /// The caller can't accept the name as a new one.
    Unrecognised,
    None,
    Role,
    BusinessEntity,
}

/// Finds the target for `group` (none: for a new one), and refuses what the convention refuses.
pub(super) fn resolve(
    tx: &mut SiteTx<'_, '_>,
    by_name: &TargetByName,
    group: Option<GroupId>,
) -> Result<Option<Target>, Error> {
    let site_domain = tx.site.domain.clone();
    if !by_name.site_domain.is_empty() && key(&by_name.site_domain) != tx.site.domain_key {
        return Err(Error::TargetOfAnotherSite { site_domain });
    }
    let kind = match by_name.kind {
        TargetKind::None if tx.site.outside_groups == OutsideGroups::Keep => return Ok(None),
        TargetKind::None | TargetKind::Unrecognised => {
            let (roles, business_entities) = store::target_names(tx, NAMES_MAX)?;
            return Err(Error::TargetMissing {
                site_domain,
                roles,
                business_entities,
            });
        }
        TargetKind::Role => Kind::Role,
        TargetKind::BusinessEntity => Kind::BusinessEntity,
    };
    let name_key = lookup_key(&by_name.name);
    let Some(found) = store::find_target(tx, kind, &name_key)? else {
        let known = store::all_target_names(tx, kind)?;
        return Err(Error::TargetUnknown {
            site_domain,
            kind,
            closest: closest(&by_name.name, &known),
            name: by_name.name.clone(),
        });
    };
    if found.is_owner {
        return Err(Error::OwnerNotGrantable { site_domain });
    }
    match found.taken_by {
        Some((other, display_name)) if Some(other) != group => Err(Error::AlreadyExists {
            what: Taken::GroupTarget,
            id: other.uuid(),
            display_name: Some(display_name),
        }),
        _ => Ok(Some(found.target)),
    }
}
