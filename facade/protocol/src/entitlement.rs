//! What the attributes `roles` and `entitlements` of a user can name, as read-only resources: the site's roles
//! and its business entities. The URNs are Okta's, which discovers them by these; the RFCs have no such types.

use crate::schema::{Attribute, ResourceType, Schema};

/// The longest `description` that Okta takes, in characters.
pub const DESCRIPTION_MAX: usize = 1000;

/// Okta's schema of a role.
pub const OKTA_ROLE: Schema = Schema {
    id: "urn:okta:scim:schemas:core:1.0:Role",
    name: "Role",
    description: "A role of the site, for the roles of a user. Owner is none of them. Read-only.",
    attributes: &[
        Attribute::text("displayName", "The role's name.")
            .required()
            .read_only(),
        Attribute::text("description", "What the role permits.").read_only(),
    ],
};

/// Okta's schema of an entitlement.
pub const OKTA_ENTITLEMENT: Schema = Schema {
    id: "urn:okta:scim:schemas:core:1.0:Entitlement",
    name: "Entitlement",
    description: "A business entity of the site, for the entitlements of a user. Read-only.",
    attributes: &[
        Attribute::text("displayName", "The business entity's name.")
            .required()
            .read_only(),
        Attribute::text("type", "The name of the resource type.")
            .required()
            .case_exact()
            .usually(&["BusinessEntity"])
            .read_only(),
        Attribute::text(
            "description",
            "The business entity's handle, its name for machines.",
        )
        .read_only(),
    ],
};

/// The Role resource type.
pub const ROLE: ResourceType = ResourceType {
    name: "Role",
    endpoint: "/Roles",
    description: "A role that the roles of a user can name. Read-only.",
    schema: &OKTA_ROLE,
    extensions: &[],
};

/// The BusinessEntity resource type.
pub const BUSINESS_ENTITY: ResourceType = ResourceType {
    name: "BusinessEntity",
    endpoint: "/BusinessEntities",
    description: "A business entity that the entitlements of a user can name. Read-only.",
    schema: &OKTA_ENTITLEMENT,
    extensions: &[],
};
