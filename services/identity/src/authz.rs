//! Who may call what: one table, and nothing is allowed that does not stand in it.

use std::fmt;

use crate::error::Error;

/// What a credential may do. The scopes of a credential add up.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Scope {
    /// Members and groups, as a site's identity provider may.
    Provision,
    /// Reads everything of the site.
    Read,
    /// Writes members, groups, roles, business entities and direct grants.
    Write,
    /// Administers sites, their settings and their credentials.
    Administer,
}

impl Scope {
    pub(crate) const ALL: [Self; 4] = [Self::Provision, Self::Read, Self::Write, Self::Administer];

    /// The scope as it is kept and shown.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Read => "read",
            Self::Write => "write",
            Self::Administer => "administer",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A method of the API.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Method {
    CreateSite,
    GetSite,
    ListSites,
    UpdateSite,
    DivideSite,
    IssueCredential,
    ListCredentials,
    RevokeCredential,
    GetCaller,
    CreateMember,
    GetMember,
    BatchGetMembers,
    ListMembers,
    UpdateMember,
    DeleteMember,
    CreateRole,
    GetRole,
    BatchGetRoles,
    ListRoles,
    UpdateRole,
    DeleteRole,
    ListPermissions,
    CreateBusinessEntity,
    GetBusinessEntity,
    BatchGetBusinessEntities,
    ListBusinessEntities,
    UpdateBusinessEntity,
    DeleteBusinessEntity,
    CreateGroup,
    GetGroup,
    BatchGetGroups,
    ListGroups,
    UpdateGroup,
    DeleteGroup,
    CreateGrant,
    EndGrant,
    ListMemberAccess,
    ListEvents,
}

/// What a method asks of its caller.
struct Needs {
    /// One of these; none listed: any valid credential.
    any_of: &'static [Scope],
    /// Whether the bootstrap token may call it.
    bootstrap: bool,
}

impl Method {
    const fn needs(self) -> Needs {
        use Scope::{Administer, Provision, Read, Write};
        let (any_of, bootstrap): (&'static [Scope], bool) = match self {
            Self::CreateSite
            | Self::IssueCredential
            | Self::ListCredentials
            | Self::RevokeCredential => (&[Administer], true),
            Self::UpdateSite | Self::DivideSite => (&[Administer], false),
            Self::GetCaller => (&[], true),
            Self::CreateMember
            | Self::UpdateMember
            | Self::DeleteMember
            | Self::CreateGroup
            | Self::UpdateGroup
            | Self::DeleteGroup => (&[Provision, Write], false),
            Self::GetMember
            | Self::BatchGetMembers
            | Self::ListMembers
            | Self::GetGroup
            | Self::BatchGetGroups
            | Self::ListGroups
            | Self::GetRole
            | Self::BatchGetRoles
            | Self::ListRoles
            | Self::ListPermissions
            | Self::GetBusinessEntity
            | Self::BatchGetBusinessEntities
            | Self::ListBusinessEntities => (&[Provision, Read], false),
            Self::CreateRole
            | Self::UpdateRole
            | Self::DeleteRole
            | Self::CreateBusinessEntity
            | Self::UpdateBusinessEntity
            | Self::DeleteBusinessEntity
            | Self::CreateGrant
            | Self::EndGrant => (&[Write], false),
            Self::GetSite | Self::ListSites | Self::ListMemberAccess | Self::ListEvents => {
                (&[Read], false)
            }
        };
        Needs { any_of, bootstrap }
    }

    /// Lets a credential with `scopes` pass, or says which scope it lacks.
    pub(crate) fn allow(self, scopes: &[Scope]) -> Result<(), Error> {
        let needs = self.needs();
        if needs.any_of.is_empty() || needs.any_of.iter().any(|scope| scopes.contains(scope)) {
            return Ok(());
        }
        Err(Error::ScopeMissing {
            needed: self.scopes(),
        })
    }

    /// Lets the bootstrap token pass, or says which scope a credential would need.
    pub(crate) fn allow_bootstrap(self) -> Result<(), Error> {
        if self.needs().bootstrap {
            return Ok(());
        }
        Err(Error::ScopeMissing {
            needed: self.scopes(),
        })
    }

    fn scopes(self) -> String {
        let names: Vec<&str> = self
            .needs()
            .any_of
            .iter()
            .map(|scope| scope.as_str())
            .collect();
        names.join(" or ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bootstrap_token_only_makes_sites_and_administers_credentials() {
        for method in [
            Method::CreateSite,
            Method::IssueCredential,
            Method::GetCaller,
        ] {
            assert!(method.allow_bootstrap().is_ok(), "{method:?}");
        }
        for method in [
            Method::CreateMember,
            Method::GetMember,
            Method::CreateGrant,
            Method::ListEvents,
        ] {
            assert!(
                matches!(method.allow_bootstrap(), Err(Error::ScopeMissing { .. })),
                "{method:?}"
            );
        }
    }

    #[test]
    fn a_provisioning_credential_gives_no_direct_grants() {
        assert!(Method::UpdateGroup.allow(&[Scope::Provision]).is_ok());
        let Err(Error::ScopeMissing { needed }) = Method::CreateGrant.allow(&[Scope::Provision])
        else {
            panic!("allowed");
        };
        assert_eq!(needed, "write");
        assert!(Method::GetMember.allow(&[]).is_err());
    }
}
