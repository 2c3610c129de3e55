//! Who is calling, once the token was looked up.

use uuid::Uuid;

use crate::{authz::Scope, credentials::Credential, error::Error};

/// An authenticated caller.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// The bootstrap token of the environment.
    Bootstrap,
    /// A credential.
    Credential(Credential),
    /// Nobody: the service itself ends what is over.
    Roster,
}

impl Caller {
    /// The name of the caller in events and grants.
    pub(crate) fn label(&self) -> &str {
        match self {
            Self::Bootstrap => "bootstrap",
            Self::Roster => "roster",
            Self::Credential(credential) => &credential.label,
        }
    }

    /// The credential that was used; none for the bootstrap token and for nobody.
    pub(crate) fn credential(&self) -> Option<&Credential> {
        match self {
            Self::Bootstrap | Self::Roster => None,
            Self::Credential(credential) => Some(credential),
        }
    }

    /// The id of the credential; the zero UUID for the bootstrap token.
    pub(crate) fn credential_id(&self) -> Uuid {
        self.credential()
            .map_or(Uuid::nil(), |credential| credential.id.uuid())
    }

    /// Refuses a caller with a credential of one site: it has no say over what belongs to all sites, nor
    /// over which sites there are.
    pub(crate) fn require_all_sites(&self, scope: Scope) -> Result<(), Error> {
        match self.credential() {
            Some(credential) if credential.site.is_some() => Err(Error::ScopeMissing {
                needed: scope.to_string(),
                all_sites: true,
            }),
            _ => Ok(()),
        }
    }

    /// Whether it may do what this scope allows.
    pub(crate) fn holds(&self, scope: Scope) -> bool {
        self.credential()
            .is_some_and(|credential| scope.is_held(&credential.scopes))
    }
}
