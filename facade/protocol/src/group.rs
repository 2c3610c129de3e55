//! The Group resource (RFC 7643 section 4.2).

use crate::schema::{Attribute, ResourceType, Schema};

/// The core Group schema. Groups hold members only, no groups.
pub const CORE_GROUP: Schema = Schema {
    id: "urn:ietf:params:scim:schemas:core:2.0:Group",
    name: "Group",
    description: "A group, which gives its members one role or one business entity.",
    attributes: &[
        Attribute::text("displayName", "The name, which says what the group gives.")
            .required()
            .unique(),
        Attribute::list(
            "members",
            &[
                Attribute::text("value", "The member's id.")
                    .case_exact()
                    .required()
                    .immutable(),
                Attribute::reference("$ref", &["User"], "The member's URI.").immutable(),
                Attribute::text("type", "What the member is.")
                    .usually(&["User"])
                    .immutable(),
                // In the RFC's examples and in what Okta sends, though in none of its definitions. It is not shown:
                // a group would change with every change of a member's name.
                Attribute::text("display", "Not kept and not shown: the user has the name.")
                    .read_only()
                    .never(),
            ],
            "The members of the group.",
        ),
    ],
};

/// The Group resource type.
pub const GROUP: ResourceType = ResourceType {
    name: "Group",
    endpoint: "/Groups",
    description: "A group, which gives its members one role or one business entity.",
    schema: &CORE_GROUP,
    extensions: &[],
};
