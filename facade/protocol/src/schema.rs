//! Schemas as data (RFC 7643 section 7), and finding an attribute in them by name.

use serde::Serialize;

use crate::path::AttrPath;

/// The kind of an attribute's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Type {
    /// Text.
    String,
    /// `true` or `false`.
    Boolean,
    /// A number.
    Decimal,
    /// A whole number.
    Integer,
    /// A moment, as `xsd:dateTime`.
    DateTime,
    /// Bytes in base64.
    Binary,
    /// A URI.
    Reference,
    /// An object with sub-attributes.
    Complex,
}

/// Who may write an attribute, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Mutability {
    /// The server only.
    ReadOnly,
    /// The client, at any time.
    ReadWrite,
    /// The client, once.
    Immutable,
    /// The client, who never reads it.
    WriteOnly,
}

/// When an attribute is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Returned {
    /// Always, whatever was asked for.
    Always,
    /// Never.
    Never,
    /// Unless something else was asked for.
    Default,
    /// Only when it was asked for.
    Request,
}

/// Among which resources a value is unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Uniqueness {
    /// None.
    None,
    /// Those of the site.
    Server,
    /// All there are.
    Global,
}

/// The definition of one attribute.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribute {
    /// The name, as it is spelt in replies.
    pub name: &'static str,
    /// The kind of its values.
    #[serde(rename = "type")]
    pub kind: Type,
    /// Whether it is a list.
    pub multi_valued: bool,
    /// What it means.
    pub description: &'static str,
    /// Whether a resource must have it.
    pub required: bool,
    /// Whether case matters when values are compared.
    pub case_exact: bool,
    /// Who may write it.
    pub mutability: Mutability,
    /// When it is shown.
    pub returned: Returned,
    /// Among which resources a value is unique.
    pub uniqueness: Uniqueness,
    /// Suggested values.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub canonical_values: &'static [&'static str],
    /// What a reference may point to.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub reference_types: &'static [&'static str],
    /// The parts of a complex attribute.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub sub_attributes: &'static [Attribute],
}

// Definitions read as sentences: `Attribute::text("title", "..").read_only()`.
impl Attribute {
    /// An optional, readable and writable, single attribute of a kind.
    pub const fn new(kind: Type, name: &'static str, description: &'static str) -> Self {
        Self {
            name,
            kind,
            multi_valued: false,
            description,
            required: false,
            case_exact: false,
            mutability: Mutability::ReadWrite,
            returned: Returned::Default,
            uniqueness: Uniqueness::None,
            canonical_values: &[],
            reference_types: &[],
            sub_attributes: &[],
        }
    }

    /// Text.
    pub const fn text(name: &'static str, description: &'static str) -> Self {
        Self::new(Type::String, name, description)
    }

    /// A URI, which may point to `types`.
    pub const fn reference(
        name: &'static str,
        types: &'static [&'static str],
        description: &'static str,
    ) -> Self {
        Self {
            reference_types: types,
            case_exact: true,
            ..Self::new(Type::Reference, name, description)
        }
    }

    /// An object.
    pub const fn complex(
        name: &'static str,
        parts: &'static [Attribute],
        description: &'static str,
    ) -> Self {
        Self {
            sub_attributes: parts,
            ..Self::new(Type::Complex, name, description)
        }
    }

    /// A list of objects.
    pub const fn list(
        name: &'static str,
        parts: &'static [Attribute],
        description: &'static str,
    ) -> Self {
        Self {
            multi_valued: true,
            ..Self::complex(name, parts, description)
        }
    }

    /// It must be there.
    pub const fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    /// Case matters.
    pub const fn case_exact(self) -> Self {
        Self {
            case_exact: true,
            ..self
        }
    }

    /// Only the server writes it.
    pub const fn read_only(self) -> Self {
        Self {
            mutability: Mutability::ReadOnly,
            ..self
        }
    }

    /// It is written once.
    pub const fn immutable(self) -> Self {
        Self {
            mutability: Mutability::Immutable,
            ..self
        }
    }

    /// It is written and never shown.
    pub const fn write_only(self) -> Self {
        Self {
            mutability: Mutability::WriteOnly,
            ..self.never()
        }
    }

    /// It is never shown.
    pub const fn never(self) -> Self {
        Self {
            returned: Returned::Never,
            ..self
        }
    }

    /// It is shown whatever was asked for.
    pub const fn always(self) -> Self {
        Self {
            returned: Returned::Always,
            ..self
        }
    }

    /// No two resources of the site share a value.
    pub const fn unique(self) -> Self {
        Self {
            uniqueness: Uniqueness::Server,
            ..self
        }
    }

    /// These values are usual.
    pub const fn usually(self, values: &'static [&'static str]) -> Self {
        Self {
            canonical_values: values,
            ..self
        }
    }

    /// The part of this name, in any case.
    pub fn sub_attribute(&self, name: &str) -> Option<&'static Attribute> {
        find(self.sub_attributes, name)
    }
}

/// A named set of attributes.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The URN.
    pub id: &'static str,
    /// A short name.
    pub name: &'static str,
    /// What it describes.
    pub description: &'static str,
    /// The attributes, without those that every resource has.
    pub attributes: &'static [Attribute],
}

/// A kind of resource, with the schemas that describe it.
#[derive(Clone, Copy, Debug)]
pub struct ResourceType {
    /// The name, which is also its id.
    pub name: &'static str,
    /// The path below the base URL.
    pub endpoint: &'static str,
    /// What it is.
    pub description: &'static str,
    /// The core schema.
    pub schema: &'static Schema,
    /// The extensions; none is required.
    pub extensions: &'static [&'static Schema],
}

/// What a name in a path, a filter or a projection leads to.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// A whole extension.
    Extension(&'static Schema),
    /// An attribute.
    Attribute {
        /// The extension that it belongs to; none for the core schema.
        extension: Option<&'static Schema>,
        /// The attribute.
        attribute: &'static Attribute,
        /// The part of it, where one was named.
        sub: Option<&'static Attribute>,
    },
}

impl ResourceType {
    /// The attribute of the core schema, or that every resource has, of this name in any case.
    pub fn core_attribute(&self, name: &str) -> Option<&'static Attribute> {
        find(COMMON, name).or_else(|| find(self.schema.attributes, name))
    }

    /// The extension of this URN in any case.
    pub fn extension(&self, urn: &str) -> Option<&'static Schema> {
        self.extensions
            .iter()
            .copied()
            .find(|schema| schema.id.eq_ignore_ascii_case(urn))
    }

    /// What a name leads to; none where it names nothing.
    pub fn resolve(&self, path: &AttrPath) -> Option<Target> {
        let (extension, attribute) = match &path.schema {
            None => (None, self.core_attribute(&path.name)?),
            Some(urn) if urn.eq_ignore_ascii_case(self.schema.id) => {
                (None, self.core_attribute(&path.name)?)
            }
            Some(urn) => match self.extension(urn) {
                Some(extension) => (Some(extension), find(extension.attributes, &path.name)?),
                // The URN of an extension itself reads as a schema and a last name.
                None if path.sub.is_none() => {
                    return self
                        .extension(&format!("{urn}:{}", path.name))
                        .map(Target::Extension);
                }
                None => return None,
            },
        };
        let sub = match &path.sub {
            Some(name) => Some(attribute.sub_attribute(name)?),
            None => None,
        };
        Some(Target::Attribute {
            extension,
            attribute,
            sub,
        })
    }
}

fn find(attributes: &'static [Attribute], name: &str) -> Option<&'static Attribute> {
    attributes
        .iter()
        .find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

/// The attributes that every resource has (RFC 7643 section 3.1); `/Schemas` does not list them.
pub const COMMON: &[Attribute] = &[
    Attribute {
        multi_valued: true,
        ..Attribute::text("schemas", "The URNs of the schemas of the resource.").case_exact()
    }
    .read_only()
    .always(),
    Attribute::text("id", "The identifier, given by the service.")
        .case_exact()
        .read_only()
        .always(),
    Attribute::text(
        "externalId",
        "What the provisioning client calls the resource.",
    )
    .case_exact(),
    Attribute::complex(
        "meta",
        &[
            Attribute::text("resourceType", "The name of the resource type.")
                .case_exact()
                .read_only(),
            Attribute::new(Type::DateTime, "created", "When the resource was made.").read_only(),
            Attribute::new(
                Type::DateTime,
                "lastModified",
                "When the resource last changed.",
            )
            .read_only(),
            Attribute::reference("location", &["uri"], "The URI of the resource.").read_only(),
            Attribute::text("version", "The entity tag of the resource.")
                .case_exact()
                .read_only(),
        ],
        "Facts about the resource.",
    )
    .read_only(),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::{ENTERPRISE_USER, USER};

    fn resolve(text: &str) -> Option<String> {
        Some(match USER.resolve(&AttrPath::parse(text).unwrap())? {
            Target::Extension(schema) => schema.id.to_owned(),
            Target::Attribute {
                extension,
                attribute,
                sub,
            } => format!(
                "{}/{}/{}",
                extension.map_or("", |schema| schema.name),
                attribute.name,
                sub.map_or("", |sub| sub.name)
            ),
        })
    }

    #[test]
    fn names_are_found_in_any_case_and_with_their_urn() {
        assert_eq!(resolve("USERNAME").unwrap(), "/userName/");
        assert_eq!(resolve("Name.GivenName").unwrap(), "/name/givenName");
        assert_eq!(resolve("externalid").unwrap(), "/externalId/");
        let core = "urn:ietf:params:scim:schemas:core:2.0:User";
        assert_eq!(
            resolve(&format!("{core}:name.familyName")).unwrap(),
            "/name/familyName"
        );
        let enterprise = ENTERPRISE_USER.id.to_uppercase();
        assert_eq!(resolve(&enterprise).unwrap(), ENTERPRISE_USER.id);
        assert_eq!(
            resolve(&format!("{enterprise}:Manager.displayname")).unwrap(),
            "EnterpriseUser/manager/displayName"
        );
        for unknown in [
            "nope",
            "name.nope",
            "userName.nope",
            "urn:x:y:userName",
            "employeeNumber",
        ] {
            assert_eq!(resolve(unknown), None, "{unknown}");
        }
    }
}
