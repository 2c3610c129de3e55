//! Typed ids, so that a group's id is never taken for a member's.

use std::fmt;

use uuid::Uuid;

/// The UUID that `text` writes as we write it: in lower case, with hyphens and nothing around it. An id is
/// compared exactly, so that no other spelling of it is the same id.
pub(crate) fn as_written(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    let mut buffer = Uuid::encode_buffer();
    (id.hyphenated().encode_lower(&mut buffer) == text).then_some(id)
}

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

            /// The id that `text` writes; none where it writes no UUID as we write them.
            #[must_use]
            pub(crate) fn parse(text: &str) -> Option<Self> {
                as_written(text).map(Self)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Conformance: 19.
    #[test]
    fn an_id_is_written_in_one_way() {
        let id = MemberId::new();
        let text = id.to_string();
        assert_eq!(MemberId::parse(&text), Some(id));
        for other in [
            String::new(),
            text.to_uppercase(),
            text.replace('-', ""),
            format!("{{{text}}}"),
            format!("urn:uuid:{text}"),
            format!(" {}", &text[1..]),
            text.replace('-', "_"),
        ] {
            assert_eq!(MemberId::parse(&other), None, "{other}");
        }
    }
}
