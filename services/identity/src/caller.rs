//! Who is calling, once the token was looked up.

use crate::{authz::Scope, credentials::Credential};

/// An authenticated caller.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// The bootstrap token of the environment.
    Bootstrap,
    /// A credential.
    Credential(Credential),
}

impl Caller {
    /// The name of the caller in events and grants.
    pub(crate) fn label(&self) -> &str {
        match self {
            Self::Bootstrap => "bootstrap",
            Self::Credential(credential) => &credential.label,
        }
    }

    /// The credential that was used; none for the bootstrap token.
    pub(crate) fn credential(&self) -> Option<&Credential> {
        match self {
            Self::Bootstrap => None,
            Self::Credential(credential) => Some(credential),
        }
    }

    /// Whether it speaks for an identity provider and for nothing more.
    pub(crate) fn only_provisions(&self) -> bool {
        self.credential()
            .is_some_and(|credential| !credential.scopes.contains(&Scope::Write))
    }
}
