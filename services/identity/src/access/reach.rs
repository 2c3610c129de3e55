//! How far the roles of an active member reach: the rule, for everything that follows it, here or in SQL.

use identity_proto::v1 as pb;

use crate::sites::UnassignedReach;

/// How far, and why.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Extent {
    /// All of a site that is not divided.
    Undivided,
    /// All, as Owner and Admin do.
    Chief,
    /// The business entities that the member was granted.
    Listed,
    /// All, because the member has no business entity.
    Unassigned,
    Nothing,
}

impl Extent {
    /// How far the roles reach, on a site with this division, of who is Owner or Admin or not, and has a
    /// business entity or not.
    pub(crate) const fn of(
        division: Option<UnassignedReach>,
        is_chief: bool,
        has_entity: bool,
    ) -> Self {
        match (division, is_chief, has_entity) {
            (None, ..) => Self::Undivided,
            (Some(_), true, _) => Self::Chief,
            (Some(_), false, true) => Self::Listed,
            (Some(UnassignedReach::All), false, false) => Self::Unassigned,
            (Some(UnassignedReach::None), false, false) => Self::Nothing,
        }
    }

    /// As members are filtered by it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Undivided | Self::Chief | Self::Unassigned => "all",
            Self::Listed => "listed",
            Self::Nothing => "none",
        }
    }
}

impl From<Extent> for pb::Reach {
    fn from(extent: Extent) -> Self {
        match extent {
            Extent::Undivided | Extent::Chief | Extent::Unassigned => Self::All,
            Extent::Listed => Self::Listed,
            Extent::Nothing => Self::None,
        }
    }
}
