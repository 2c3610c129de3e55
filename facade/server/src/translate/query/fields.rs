//! Which field of the contract holds what a SCIM attribute shows: by a rule from the schema's spelling, and a
//! table of what differs.

use scim_protocol::{
    entitlement::BUSINESS_ENTITY,
    group::GROUP,
    schema::{Attribute, ResourceType, Schema, Type},
    user::{ACCESS_USER, CORE_USER, ENTERPRISE_USER},
};

use crate::translate::{Site, snake};

/// Where what an attribute shows comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A field.
    Field(String),
    /// An id, shown as the URL that `prefix` and it make.
    Url {
        /// The field of the id.
        field: String,
        /// What stands before it.
        prefix: String,
    },
    /// The same text wherever it is shown.
    Constant(&'static str),
    /// The URNs of the schemas that describe the resource.
    Schemas,
    /// It is not to be asked for, and why.
    Withheld(&'static str),
    /// It is always there, and not to be compared, and why.
    Uncompared(&'static str),
    /// It is never there.
    Nothing,
}

/// Core attributes that are no part of a member's profile.
const ODD: [(&str, &str, &str); 11] = [
    ("User", "id", "id"),
    ("User", "externalId", "external_id"),
    ("User", "userName", "user_name"),
    ("User", "active", "active"),
    ("User", "groups", "groups"),
    ("User", "roles", "entitlements.roles"),
    ("User", "entitlements", "entitlements.business_entities"),
    ("Group", "id", "id"),
    ("Group", "externalId", "external_id"),
    ("Group", "displayName", "display_name"),
    ("Group", "members", "members"),
];

/// Lists whose entries are things of the site: the `value` is an id.
const REFERENCES: [(&str, &str); 6] = [
    ("groups", "display_name"),
    ("members", ""),
    ("access.roles", "name"),
    ("access.business_entities", "name"),
    ("entitlements.roles", "name"),
    ("entitlements.business_entities", "name"),
];

/// The source of a whole attribute, or of a single one's part.
pub(super) fn source(
    resource_type: &ResourceType,
    extension: Option<&Schema>,
    attribute: &Attribute,
    sub: Option<&Attribute>,
    site: &Site,
) -> Source {
    match (extension, attribute.name, sub.map(|sub| sub.name)) {
        (None, "schemas", _) => return Source::Schemas,
        (None, "password", _) => {
            return Source::Withheld("is never shown, and nothing can be asked of it");
        }
        (None, "meta", Some(part)) => return meta(resource_type, part, site),
        _ => {}
    }
    let field = field(resource_type, extension, attribute);
    match sub {
        None => Source::Field(field),
        Some(sub) => match part(&field, sub, site) {
            Source::Field(part) => Source::Field(format!("{field}.{part}")),
            Source::Url {
                field: part,
                prefix,
            } => Source::Url {
                field: format!("{field}.{part}"),
                prefix,
            },
            other => other,
        },
    }
}

/// The source of an entry's part, among the parts of the same entry.
pub(super) fn part(list: &str, sub: &Attribute, site: &Site) -> Source {
    let Some((_, name)) = REFERENCES.iter().find(|(known, _)| *known == list) else {
        return Source::Field(snake(sub.name));
    };
    let url = |prefix: String| Source::Url {
        field: "id".to_owned(),
        prefix,
    };
    match sub.name {
        "value" => Source::Field("id".to_owned()),
        "$ref" if list == "groups" => url(site.group("")),
        "$ref" => url(site.user("")),
        "type" if list == "groups" => Source::Constant("direct"),
        "type" if list == "entitlements.business_entities" => {
            Source::Constant(BUSINESS_ENTITY.name)
        }
        "display" if list == "members" => Source::Nothing,
        "type" => Source::Constant("User"),
        "primary" => Source::Field("primary".to_owned()),
        _ => Source::Field((*name).to_owned()),
    }
}

/// The field of a whole attribute.
pub(super) fn field(
    resource_type: &ResourceType,
    extension: Option<&Schema>,
    attribute: &Attribute,
) -> String {
    let name = snake(attribute.name);
    match extension.map(|schema| schema.id) {
        Some(id) if id == ACCESS_USER.id => format!("access.{name}"),
        Some(_) => format!("profile.enterprise.{name}"),
        None => ODD
            .iter()
            .find(|(of, odd, _)| *of == resource_type.name && *odd == attribute.name)
            .map_or_else(
                || format!("profile.{name}"),
                |(_, _, field)| (*field).to_owned(),
            ),
    }
}

/// The source of a whole extension: a field that is there where the extension is shown, or none where it always is.
pub(super) fn extension(schema: &Schema) -> Option<&'static str> {
    (schema.id == ENTERPRISE_USER.id).then_some("profile.enterprise")
}

fn meta(resource_type: &ResourceType, part: &str, site: &Site) -> Source {
    let is_user = resource_type.schema.id == CORE_USER.id;
    match part {
        "resourceType" if is_user => Source::Constant("User"),
        "resourceType" => Source::Constant(GROUP.name),
        "created" => Source::Field("create_time".to_owned()),
        "lastModified" => Source::Field("update_time".to_owned()),
        "location" => Source::Url {
            field: "id".to_owned(),
            prefix: if is_user {
                site.user("")
            } else {
                site.group("")
            },
        },
        _ => Source::Uncompared(
            "can't be compared in a list: send it in If-Match or If-None-Match instead",
        ),
    }
}

/// The part that speaks for an entry where none is named: the `value`, or of an address the whole of it.
pub(super) fn default_part(attribute: &Attribute) -> Option<&'static Attribute> {
    attribute
        .sub_attribute("value")
        .or_else(|| attribute.sub_attribute("formatted"))
        .filter(|_| attribute.multi_valued && attribute.kind == Type::Complex)
}

#[cfg(test)]
mod tests {
    use scim_protocol::user::USER;

    use super::*;

    /// Every leaf of a resource type: its SCIM name, and its source.
    fn sources(resource_type: &'static ResourceType) -> Vec<(String, Source)> {
        let site = Site::new("https://x", "acme");
        let mut all = Vec::new();
        let own = resource_type
            .schema
            .attributes
            .iter()
            .map(|one| (None, one));
        let common = scim_protocol::schema::COMMON.iter().map(|one| (None, one));
        let extended = resource_type
            .extensions
            .iter()
            .flat_map(|schema| schema.attributes.iter().map(|one| (Some(*schema), one)));
        for (extension, attribute) in common.chain(own).chain(extended) {
            let parts: Vec<Option<&Attribute>> = match attribute.sub_attributes {
                [] => vec![None],
                parts => parts.iter().map(Some).collect(),
            };
            for sub in parts {
                let name = sub.map_or_else(
                    || attribute.name.to_owned(),
                    |sub| format!("{}.{}", attribute.name, sub.name),
                );
                let source = source(resource_type, extension, attribute, sub, &site);
                all.push((name, source));
            }
        }
        all
    }

    #[test]
    fn every_attribute_has_its_field() {
        let field = |name: &str| Source::Field(name.to_owned());
        let of = |sources: &[(String, Source)], name: &str| {
            let mut found = sources.iter().filter(|(known, _)| known == name);
            found.next_back().unwrap().1.clone()
        };
        let users = sources(&USER);
        for (name, expected) in [
            ("id", "id"),
            ("userName", "user_name"),
            ("name.givenName", "profile.name.given_name"),
            ("timezone", "profile.time_zone"),
            ("ims.type", "profile.instant_messengers.type"),
            ("x509Certificates.value", "profile.certificates.value"),
            (
                "addresses.streetAddress",
                "profile.addresses.street_address",
            ),
            ("groups.value", "groups.id"),
            ("groups.display", "groups.display_name"),
            ("manager.$ref", "profile.enterprise.manager.ref"),
            ("employeeNumber", "profile.enterprise.employee_number"),
            ("businessEntities.value", "access.business_entities.id"),
            ("entitlements.value", "entitlements.business_entities.id"),
            ("roles.display", "access.roles.name"),
            ("reach", "access.reach"),
            ("meta.lastModified", "update_time"),
        ] {
            assert_eq!(of(&users, name), field(expected), "{name}");
        }
        assert_eq!(of(&users, "groups.type"), Source::Constant("direct"));
        let groups = sources(&GROUP);
        assert_eq!(of(&groups, "displayName"), field("display_name"));
        assert_eq!(of(&groups, "members.value"), field("members.id"));
        assert_eq!(
            of(&groups, "members.$ref"),
            Source::Url {
                field: "members.id".to_owned(),
                prefix: "https://x/acme/scim/v2/Users/".to_owned(),
            }
        );
        assert_eq!(of(&groups, "meta.resourceType"), Source::Constant("Group"));
        for (name, source) in users.iter().chain(&groups) {
            if let Source::Field(field) | Source::Url { field, .. } = source {
                assert!(
                    !field.is_empty() && !field.ends_with('.'),
                    "{name}: {field}"
                );
                assert!(
                    field
                        .bytes()
                        .all(|byte| byte.is_ascii_lowercase() || b"._".contains(&byte)),
                    "{name}: {field}"
                );
            }
        }
    }
}
