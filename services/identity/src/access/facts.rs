//! What answers follow from, and the rules by which they do: pure, for any moment.

use uuid::Uuid;

use super::{Extent, Grant, TargetId, moment::Moment};
use crate::{
    error::Error,
    ids::{BusinessEntityId, MemberId, RoleId},
    members::MemberName,
    sites::UnassignedReach,
};

/// A role or business entity as a request names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Named {
    Id(Uuid),
    /// The key of a name.
    Key(String),
    /// What was sent is no id, and so nobody's.
    Nothing,
}

/// Whom and what questions are about.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) members: Vec<MemberName>,
    pub(super) roles: Vec<Named>,
    pub(super) entities: Vec<Named>,
    /// None: all permissions of the roles that the members hold.
    pub(super) permissions: Option<Vec<String>>,
}

/// A member with every grant, whether active or not.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) id: MemberId,
    pub(crate) user_name: String,
    pub(crate) active: bool,
    /// By kind and name of the target, then by source.
    pub(crate) grants: Vec<Grant>,
}

/// A role at the moment, with those of its permissions that were wanted.
#[derive(Clone, Debug)]
pub(super) struct Role {
    pub(super) id: RoleId,
    pub(super) name: String,
    pub(super) key: String,
    pub(super) is_owner: bool,
    /// Owner and Admin reach all of a divided site.
    pub(super) reaches_all: bool,
    pub(super) permissions: Vec<String>,
}

/// A business entity at the moment.
#[derive(Clone, Debug)]
pub(super) struct Entity {
    pub(super) id: BusinessEntityId,
    pub(super) name: String,
    pub(super) key: String,
}

/// What answers follow from.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) moment: Moment,
    /// In the order of the members wanted; none where there is no such one.
    pub(super) holders: Vec<Option<Holder>>,
    /// Owner, Admin, those held, those wanted, and those with a wanted permission.
    pub(super) roles: Vec<Role>,
    pub(super) entities: Vec<Entity>,
    pub(super) unknown_permissions: Vec<String>,
    /// None: the site is not divided.
    pub(super) division: Option<UnassignedReach>,
}

/// How far a member's roles reach, and by which grants: of Owner or Admin, or of business entities.
#[derive(Clone, Debug)]
pub(super) struct Reach<'a> {
    pub(super) extent: Extent,
    pub(super) grants: Vec<&'a Grant>,
}

impl Facts {
    /// The role of that name; of several that had it at that moment, by what they are called now, the one that is there
    /// now.
    pub(super) fn role(&self, name: &Named) -> Option<&Role> {
        self.roles.iter().find(|role| match name {
            Named::Id(id) => role.id.uuid() == *id,
            Named::Key(key) => role.key == *key,
            Named::Nothing => false,
        })
    }

    /// The business entity of that name, chosen likewise.
    pub(super) fn entity(&self, name: &Named) -> Option<&Entity> {
        self.entities.iter().find(|entity| match name {
            Named::Id(id) => entity.id.uuid() == *id,
            Named::Key(key) => entity.key == *key,
            Named::Nothing => false,
        })
    }

    /// The roles that carry a permission.
    pub(super) fn carrying<'a>(&'a self, permission: &'a str) -> impl Iterator<Item = &'a Role> {
        self.roles
            .iter()
            .filter(move |role| role.permissions.iter().any(|held| held == permission))
    }

    /// Whether it is Owner or Admin, who reach all of a divided site.
    pub(super) fn reaches_all(&self, id: RoleId) -> bool {
        self.roles
            .iter()
            .any(|role| role.id == id && role.reaches_all)
    }

    /// How far the roles of a member reach while active.
    pub(super) fn reach<'a>(&self, holder: &'a Holder) -> Reach<'a> {
        let of = |wanted: &dyn Fn(TargetId) -> bool| -> Vec<&Grant> {
            let grants = holder.grants.iter();
            grants.filter(|grant| wanted(grant.target.id)).collect()
        };
        let chief = of(&|target| matches!(target, TargetId::Role(id) if self.reaches_all(id)));
        let listed = of(&|target| matches!(target, TargetId::BusinessEntity(_)));
        let extent = Extent::of(self.division, !chief.is_empty(), !listed.is_empty());
        let grants = match extent {
            Extent::Chief => chief,
            Extent::Listed => listed,
            Extent::Undivided | Extent::Unassigned | Extent::Nothing => Vec::new(),
        };
        Reach { extent, grants }
    }

    /// Refuses a permission that is not in the catalogue; `fields` names, by the permission, the field that asked.
    pub(super) fn check_permissions(&self, field: impl Fn(&str) -> String) -> Result<(), Error> {
        match self.unknown_permissions.first() {
            None => Ok(()),
            Some(unknown) => Err(Error::invalid(
                field(unknown),
                format!("is \"{unknown}\", which is not in the catalogue of permissions"),
            )),
        }
    }
}

impl Holder {
    /// The grants of any of these roles.
    pub(super) fn role_grants(&self, wanted: impl Fn(RoleId) -> bool) -> Vec<&Grant> {
        self.grants
            .iter()
            .filter(|grant| matches!(grant.target.id, TargetId::Role(id) if wanted(id)))
            .collect()
    }
}

impl Reach<'_> {
    /// Whether it gets to this business entity; to anything, where none is asked about.
    pub(super) fn gets_to(&self, entity: Option<BusinessEntityId>) -> bool {
        match self.extent {
            Extent::Undivided | Extent::Chief | Extent::Unassigned => true,
            Extent::Listed => entity.is_none_or(|id| {
                let mut grants = self.grants.iter();
                grants.any(|grant| grant.target.id == TargetId::BusinessEntity(id))
            }),
            Extent::Nothing => false,
        }
    }
}
