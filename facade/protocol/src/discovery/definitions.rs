//! The schemas of the discovery resources themselves (RFC 7643 section 8.7.2, RFC 9865 section 4).

use crate::schema::{Attribute, Schema, Type};

const fn flag(name: &'static str, description: &'static str) -> Attribute {
    Attribute::new(Type::Boolean, name, description)
        .required()
        .read_only()
}

const fn number(name: &'static str, description: &'static str) -> Attribute {
    Attribute::new(Type::Integer, name, description)
        .required()
        .read_only()
}

const fn text(name: &'static str, description: &'static str) -> Attribute {
    Attribute::text(name, description).required().read_only()
}

const fn url(name: &'static str, description: &'static str) -> Attribute {
    Attribute::reference(name, &["external"], description).read_only()
}

const SUPPORTED: Attribute = flag("supported", "Whether it is supported.");

/// What the service provider can do.
pub(super) const CONFIG: Schema = Schema {
    id: "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig",
    name: "ServiceProviderConfig",
    description: "What the service provider can do.",
    attributes: &[
        url(
            "documentationUri",
            "Where people can read about the service.",
        ),
        Attribute::complex("patch", &[SUPPORTED], "Changing parts of a resource.")
            .required()
            .read_only(),
        Attribute::complex(
            "bulk",
            &[
                SUPPORTED,
                number("maxOperations", "How many operations a request may hold."),
                number("maxPayloadSize", "How many bytes a request may have."),
            ],
            "Many operations in one request.",
        )
        .required()
        .read_only(),
        Attribute::complex(
            "filter",
            &[
                SUPPORTED,
                number("maxResults", "How many resources an answer may hold."),
            ],
            "Asking for some resources.",
        )
        .required()
        .read_only(),
        Attribute::complex("changePassword", &[SUPPORTED], "Changing passwords.")
            .required()
            .read_only(),
        Attribute::complex("sort", &[SUPPORTED], "Asking for an order.")
            .required()
            .read_only(),
        Attribute::complex("etag", &[SUPPORTED], "Versions of resources.")
            .required()
            .read_only(),
        Attribute::complex(
            "pagination",
            &[
                flag("cursor", "Whether there is paging by cursor."),
                flag("index", "Whether there is paging by index."),
                Attribute::text(
                    "defaultPaginationMethod",
                    "How is paged where the client does not say.",
                )
                .usually(&["cursor", "index"])
                .read_only(),
                Attribute::new(
                    Type::Integer,
                    "defaultPageSize",
                    "How many resources a page holds where the client does not say.",
                )
                .read_only(),
                Attribute::new(
                    Type::Integer,
                    "maxPageSize",
                    "How many resources a page may hold.",
                )
                .read_only(),
                Attribute::new(
                    Type::Integer,
                    "cursorTimeout",
                    "For how many seconds a cursor is good; for ever where it is not given.",
                )
                .read_only(),
            ],
            "Reading long lists.",
        )
        .read_only(),
        Attribute::list(
            "authenticationSchemes",
            &[
                text("type", "The scheme.").usually(&[
                    "oauth",
                    "oauth2",
                    "oauthbearertoken",
                    "httpbasic",
                    "httpdigest",
                ]),
                text("name", "What it is called."),
                text("description", "What it is."),
                url("specUri", "Where it is specified."),
                url("documentationUri", "Where people can read about its use."),
                Attribute::new(Type::Boolean, "primary", "Whether it is the preferred one.")
                    .read_only(),
            ],
            "How clients say who they are.",
        )
        .required()
        .read_only(),
    ],
};

/// A resource type.
pub(super) const RESOURCE_TYPE: Schema = Schema {
    id: "urn:ietf:params:scim:schemas:core:2.0:ResourceType",
    name: "ResourceType",
    description: "A kind of resource.",
    attributes: &[
        text("name", "The name, which meta.resourceType shows."),
        Attribute::text("description", "What it is.").read_only(),
        Attribute::reference("endpoint", &["uri"], "The path below the base URL.")
            .required()
            .read_only(),
        Attribute::reference("schema", &["uri"], "The URN of its own schema.")
            .required()
            .read_only(),
        Attribute::list(
            "schemaExtensions",
            &[
                Attribute::reference("schema", &["uri"], "The URN of the extension.")
                    .required()
                    .read_only(),
                flag("required", "Whether every resource has it."),
            ],
            "The extensions of its schema.",
        )
        .read_only(),
    ],
};

/// The characteristics of an attribute. Those of its parts are the same again, which no schema can say.
macro_rules! characteristics {
    ($($parts:expr)?) => {
        &[
            text("name", "The name.").case_exact(),
            text("type", "The kind of its values.").usually(&[
                "string", "complex", "boolean", "decimal", "integer", "dateTime", "reference", "binary",
            ]),
            flag("multiValued", "Whether it is a list."),
            Attribute::text("description", "What it means.").read_only(),
            flag("required", "Whether a resource must have it."),
            Attribute {
                multi_valued: true,
                ..Attribute::text("canonicalValues", "Usual values.").case_exact()
            }
            .read_only(),
            Attribute::new(Type::Boolean, "caseExact", "Whether case matters in comparisons.").read_only(),
            text("mutability", "Who may write it.").case_exact().usually(&[
                "readOnly", "readWrite", "immutable", "writeOnly",
            ]),
            text("returned", "When it is shown.").case_exact().usually(&[
                "always", "never", "default", "request",
            ]),
            Attribute::text("uniqueness", "Among what its values are unique.")
                .case_exact()
                .read_only()
                .usually(&["none", "server", "global"]),
            Attribute {
                multi_valued: true,
                ..Attribute::text("referenceTypes", "What it may refer to.").case_exact()
            }
            .read_only(),
            $($parts,)?
        ]
    };
}

/// A schema.
pub(super) const SCHEMA: Schema = Schema {
    id: "urn:ietf:params:scim:schemas:core:2.0:Schema",
    name: "Schema",
    description: "The attributes of a resource.",
    attributes: &[
        Attribute::text("name", "A short name.").read_only(),
        Attribute::text("description", "What it describes.").read_only(),
        Attribute::list(
            "attributes",
            characteristics!(
                Attribute::list(
                    "subAttributes",
                    characteristics!(),
                    "The parts of a complex attribute."
                )
                .read_only()
            ),
            "The attributes.",
        )
        .required()
        .read_only(),
    ],
};
