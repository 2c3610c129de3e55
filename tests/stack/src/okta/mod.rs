//! Acts as Okta's provisioning client does: its headers, its order of requests, its bodies. It knows a
//! Site URL and a token, and nothing of what is behind them.

mod client;
mod groups;
mod users;

pub use client::{Answer, Okta};
pub use groups::PushedGroup;
pub use users::Profile;

/// Which kind of Okta app acts. It decides what is sent as PUT and what as PATCH.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppKind {
    /// One from Okta's catalogue: profiles by PUT, everything else by PATCH.
    #[default]
    Catalogue,
    /// One made by the App Integration Wizard: everything by PUT.
    Wizard,
}

/// The core schema of users.
pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// The enterprise extension of users.
pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
/// The core schema of groups.
pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// The schema of a PATCH.
pub const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
