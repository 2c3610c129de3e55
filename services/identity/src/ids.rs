//! Typed ids, so that a group's id is never taken for a member's.

use std::fmt;

use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub(crate) struct $name(Uuid);

        impl $name {
            /// A new id. Ids sort by the moment they were made (UUID version 7).
            #[must_use]
            pub(crate) fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id that `text` writes; none where it writes no UUID.
            #[must_use]
            pub(crate) fn parse(text: &str) -> Option<Self> {
                Uuid::try_parse(text).ok().map(Self)
            }

            /// The bare UUID, for SQL.
            #[must_use]
            pub(crate) const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

ids! {
    /// A site.
    SiteId,
    /// A member of a site.
    MemberId,
    /// A role of a site.
    RoleId,
    /// A business entity of a site.
    BusinessEntityId,
    /// A group of a site.
    GroupId,
    /// A direct grant.
    GrantId,
    /// A credential.
    CredentialId,
}
