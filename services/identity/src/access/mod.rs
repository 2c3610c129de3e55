//! Access: what follows from all of an active member's grants together.

mod candidates;
pub(crate) mod check;
pub(crate) mod explain;
mod facts;
pub(crate) mod listing;
mod moment;
mod reach;
pub(crate) mod rpc;
mod store;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use identity_proto::v1 as pb;
use uuid::Uuid;

use self::facts::{Holder, Wanted};
pub(crate) use self::{
    facts::Named,
    moment::{AsOf, Moment},
    reach::Extent,
};
use crate::{
    context::RequestContext,
    error::{Error, Kind},
    ids::{BusinessEntityId, GrantId, GroupId, RoleId},
    members::{Member, MemberName},
    site_tx::Identity,
    sites::UnassignedReach,
};

/// The id of what a grant gives.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum TargetId {
    Role(RoleId),
    BusinessEntity(BusinessEntityId),
}

impl TargetId {
    pub(crate) const fn uuid(self) -> Uuid {
        match self {
            Self::Role(id) => id.uuid(),
            Self::BusinessEntity(id) => id.uuid(),
        }
    }

    /// The kind as events keep it.
    pub(crate) const fn kind_name(self) -> &'static str {
        match self {
            Self::Role(_) => "role",
            Self::BusinessEntity(_) => "business_entity",
        }
    }

    pub(crate) const fn role(self) -> Option<Uuid> {
        match self {
            Self::Role(id) => Some(id.uuid()),
            Self::BusinessEntity(_) => None,
        }
    }

    pub(crate) const fn business_entity(self) -> Option<Uuid> {
        match self {
            Self::Role(_) => None,
            Self::BusinessEntity(id) => Some(id.uuid()),
        }
    }
}

/// What a grant gives, with its present name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Target {
    pub(crate) id: TargetId,
    pub(crate) name: String,
}

impl From<Target> for pb::AccessTarget {
    fn from(target: Target) -> Self {
        let named = pb::NamedRef {
            id: target.id.uuid().to_string(),
            name: target.name,
        };
        Self {
            target: Some(match target.id {
                TargetId::Role(_) => pb::access_target::Target::Role(named),
                TargetId::BusinessEntity(_) => pb::access_target::Target::BusinessEntity(named),
            }),
        }
    }
}

/// Where a grant comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Group {
        id: GroupId,
        display_name: String,
    },
    Direct {
        id: GrantId,
        actor: String,
        reason: String,
        /// None: it does not end by itself.
        ends_at: Option<DateTime<Utc>>,
    },
    Entitlement,
}

/// One reason why a member has a role or a business entity.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) target: Target,
    pub(crate) source: Source,
    pub(crate) since: DateTime<Utc>,
    pub(crate) since_event: i64,
}

/// A member's effective access, without the reasons.
pub(crate) fn effective(member: &Member, division: Option<UnassignedReach>) -> pb::EffectiveAccess {
    let named = |targets: &[Target]| -> Vec<pb::NamedRef> {
        if !member.active {
            return Vec::new();
        }
        targets
            .iter()
            .map(|target| pb::NamedRef {
                id: target.id.uuid().to_string(),
                name: target.name.clone(),
            })
            .collect()
    };
    let extent = Extent::of(
        division,
        member.is_owner || member.is_admin,
        !member.business_entities.is_empty(),
    );
    let reach = match member.active {
        true => pb::Reach::from(extent),
        false => pb::Reach::None,
    };
    pb::EffectiveAccess {
        roles: named(&member.roles),
        business_entities: named(&member.business_entities),
        reach: reach.into(),
    }
}

/// A member's access with every grant behind it.
pub(crate) struct MemberAccess {
    pub(crate) holder: Holder,
    /// The permissions of all roles together, sorted; none where the roles reach nothing.
    pub(crate) permissions: Vec<String>,
    pub(crate) reach: pb::Reach,
    pub(crate) moment: Moment,
}

/// What a member may do at a moment.
pub(crate) async fn of_member(
    identity: &Identity,
    context: RequestContext,
    input: Result<(MemberName, AsOf), Error>,
) -> Result<MemberAccess, Error> {
    let as_of = AsOf::of(&input, |(_, as_of)| *as_of);
    identity
        .read_as_of(context, as_of, input, |tx, (name, as_of)| {
            let moment = as_of.resolve(tx)?;
            let wanted = Wanted {
                members: vec![name.clone()],
                ..Wanted::default()
            };
            let mut facts = store::facts(tx, moment, &wanted)?;
            let holder = facts.holders.pop().flatten();
            let holder = holder.ok_or(Error::NotFound(Kind::Member))?;
            if !holder.active {
                return Ok(MemberAccess {
                    holder,
                    permissions: Vec::new(),
                    reach: pb::Reach::None,
                    moment,
                });
            }
            let reach = pb::Reach::from(facts.reach(&holder).extent);
            // What reaches nothing allows nothing: the same as the answer to each question by itself.
            let held =
                |id| reach != pb::Reach::None && !holder.role_grants(|role| role == id).is_empty();
            let permissions: BTreeSet<String> = facts
                .roles
                .iter()
                .filter(|role| held(role.id))
                .flat_map(|role| role.permissions.iter().cloned())
                .collect();
            Ok(MemberAccess {
                permissions: permissions.into_iter().collect(),
                holder,
                reach,
                moment,
            })
        })
        .await
}
