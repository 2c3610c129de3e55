//! The User resource (RFC 7643 sections 4.1 and 4.3, and Roster's access extension).

use crate::schema::{Attribute, ResourceType, Schema, Type};

/// The `display`, `type` and `primary` that follow the value in most lists.
macro_rules! labelled {
    ($value:expr, $($kinds:literal),*) => {
        &[
            $value,
            Attribute::text("display", "How to show it."),
            Attribute::text("type", "What it is for.").usually(&[$($kinds),*]),
            Attribute::new(Type::Boolean, "primary", "Whether it is the preferred one; one at the most."),
        ]
    };
}

/// The core User schema.
pub const CORE_USER: Schema = Schema {
    id: "urn:ietf:params:scim:schemas:core:2.0:User",
    name: "User",
    description: "A member of the site's team.",
    attributes: &[
        Attribute::text(
            "userName",
            "The e-mail address that the member signs in by.",
        )
        .required()
        .unique(),
        Attribute::complex(
            "name",
            &[
                Attribute::text("formatted", "The whole name, ready to show."),
                Attribute::text("familyName", "The family name."),
                Attribute::text("givenName", "The given name."),
                Attribute::text("middleName", "The middle names."),
                Attribute::text("honorificPrefix", "What stands before the name."),
                Attribute::text("honorificSuffix", "What stands after the name."),
            ],
            "The parts of the name.",
        ),
        Attribute::text("displayName", "The name to show."),
        Attribute::text("nickName", "What friends say."),
        Attribute::reference("profileUrl", &["external"], "A page about the person."),
        Attribute::text("title", "A job title."),
        Attribute::text("userType", "The relation to the organisation."),
        Attribute::text(
            "preferredLanguage",
            "Preferred languages, as in Accept-Language.",
        ),
        Attribute::text("locale", "The locale for dates and currency."),
        Attribute::text("timezone", "The IANA time zone."),
        Attribute::new(
            Type::Boolean,
            "active",
            "An inactive member has no access and keeps its grants. Without a value the member is active.",
        ),
        Attribute::text(
            "password",
            "Accepted and not kept: members sign in elsewhere.",
        )
        .case_exact()
        .write_only(),
        Attribute::list(
            "emails",
            labelled!(
                Attribute::text("value", "The address."),
                "work",
                "home",
                "other"
            ),
            "E-mail addresses. Where there is none, the user name is the primary work address, until it is removed.",
        ),
        Attribute::list(
            "phoneNumbers",
            labelled!(
                Attribute::text("value", "The number."),
                "work",
                "home",
                "mobile",
                "fax",
                "pager",
                "other"
            ),
            "Phone numbers.",
        ),
        Attribute::list(
            "ims",
            labelled!(
                Attribute::text("value", "The address."),
                "aim",
                "gtalk",
                "icq",
                "xmpp",
                "msn",
                "skype",
                "qq",
                "yahoo"
            ),
            "Instant messaging addresses.",
        ),
        Attribute::list(
            "photos",
            labelled!(
                Attribute::reference("value", &["external"], "The URL."),
                "photo",
                "thumbnail"
            ),
            "Pictures.",
        ),
        Attribute::list(
            "addresses",
            &[
                Attribute::text("formatted", "The whole address, ready to print."),
                Attribute::text("streetAddress", "Street and house."),
                Attribute::text("locality", "City."),
                Attribute::text("region", "State or region."),
                Attribute::text("postalCode", "Postal code."),
                Attribute::text("country", "ISO 3166-1 alpha-2 country code."),
                Attribute::text("type", "What it is for.").usually(&["work", "home", "other"]),
                // RFC 7643 section 8.7.1 forgot it; section 4.1.2 has it.
                Attribute::new(Type::Boolean, "primary", "Whether it is the preferred one."),
            ],
            "Postal addresses.",
        ),
        Attribute::list(
            "groups",
            &[
                Attribute::text("value", "The group's id.")
                    .case_exact()
                    .read_only(),
                Attribute::reference("$ref", &["Group"], "The group's URI.").read_only(),
                Attribute::text("display", "The group's name.").read_only(),
                Attribute::text("type", "How the member belongs.")
                    .usually(&["direct"])
                    .read_only(),
            ],
            "The groups that the member is in. Changed through the groups.",
        )
        .read_only(),
        Attribute::list(
            "entitlements",
            &[
                Attribute::text(
                    "value",
                    "The id of a business entity, as /BusinessEntities lists it.",
                )
                .case_exact()
                .required(),
                Attribute::text("display", "The business entity's name.").read_only(),
                Attribute::text("type", "The resource type of what is named.")
                    .usually(&["BusinessEntity"])
                    .case_exact()
                    .read_only(),
            ],
            "The business entities granted by standing here, and no others: what groups or internal decisions \
             grant is neither shown here nor ended by it. A PUT without this attribute leaves it as it is; an \
             empty list clears it.",
        ),
        Attribute::list(
            "roles",
            &[
                Attribute::text("value", "The id of a role, as /Roles lists it.")
                    .case_exact()
                    .required(),
                Attribute::text("display", "The role's name.").read_only(),
                // Read-only, so that it needs no keeping: Entra, which gives one role through it, finds that role.
                Attribute::new(
                    Type::Boolean,
                    "primary",
                    "True where it is the only role that stands here.",
                )
                .read_only(),
            ],
            "The roles granted by standing here, and no others: what groups or internal decisions grant is \
             neither shown here nor ended by it. A PUT without this attribute leaves it as it is; an empty list \
             clears it. Owner can't be given.",
        ),
        Attribute::list(
            "x509Certificates",
            labelled!(
                Attribute::new(Type::Binary, "value", "The certificate, DER in base64.")
                    .case_exact(),
            ),
            "Certificates.",
        ),
    ],
};

/// The enterprise extension.
pub const ENTERPRISE_USER: Schema = Schema {
    id: "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
    name: "EnterpriseUser",
    description: "What an enterprise says of its people.",
    attributes: &[
        Attribute::text("employeeNumber", "The number of the employee."),
        Attribute::text("costCenter", "The cost centre."),
        Attribute::text("organization", "The organisation."),
        Attribute::text("division", "The division."),
        Attribute::text("department", "The department."),
        Attribute::complex(
            "manager",
            &[
                Attribute::text("value", "The manager's id, in the client's terms.").case_exact(),
                Attribute::reference("$ref", &["User"], "The manager's URI."),
                // Read-only in the RFC, which assumes that the service knows the manager. It is kept as given.
                Attribute::text("displayName", "The manager's name, as it was given."),
            ],
            "The member's manager.",
        ),
    ],
};

/// Roster's own extension: what the member may do.
pub const ACCESS_USER: Schema = Schema {
    id: "urn:roster:params:scim:schemas:extension:access:2.0:User",
    name: "UserAccess",
    description: "What follows from all the grants of the member. Read-only.",
    attributes: &[
        Attribute::list(
            "roles",
            &[
                Attribute::text("value", "The role's id.")
                    .case_exact()
                    .read_only(),
                Attribute::text("display", "The role's name.").read_only(),
            ],
            "The member's effective roles.",
        )
        .read_only(),
        Attribute::list(
            "businessEntities",
            &[
                Attribute::text("value", "The business entity's id.")
                    .case_exact()
                    .read_only(),
                Attribute::text("display", "The business entity's name.").read_only(),
            ],
            "The business entities that the member was granted.",
        )
        .read_only(),
        Attribute::text(
            "reach",
            "Whether the roles reach the whole site, nothing, or the listed entities.",
        )
        .usually(&["all", "none", "listed"])
        .case_exact()
        .read_only(),
    ],
};

/// The User resource type.
pub const USER: ResourceType = ResourceType {
    name: "User",
    endpoint: "/Users",
    description: "A member of the site's team.",
    schema: &CORE_USER,
    extensions: &[&ENTERPRISE_USER, &ACCESS_USER],
};
