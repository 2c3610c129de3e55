//! The discovery resources (RFC 7643 sections 5 to 7), made from the definitions that everything runs on.

mod definitions;

use serde_json::{Value, json};

use crate::schema::{ResourceType, Schema};

/// The URN of the service provider's configuration.
pub const CONFIG_SCHEMA: &str = definitions::CONFIG.id;
/// The URN of a resource type.
pub const RESOURCE_TYPE_SCHEMA: &str = definitions::RESOURCE_TYPE.id;
/// The URN of a schema.
pub const SCHEMA_SCHEMA: &str = definitions::SCHEMA.id;

/// What the service can do beside reading and writing single resources. Passwords it can't change.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// How many resources one page may hold.
    pub max_results: i64,
    /// How many it holds where the client says nothing.
    pub page_size: i64,
    /// How many operations a bulk request may hold.
    pub max_operations: usize,
    /// How many bytes a bulk request may have.
    pub max_payload_size: usize,
}

/// `/ServiceProviderConfig`. `base` is the URL that the endpoints stand below.
pub fn service_provider_config(base: &str, features: Features) -> Value {
    json!({
        "schemas": [CONFIG_SCHEMA],
        "patch": {"supported": true},
        "bulk": {
            "supported": true,
            "maxOperations": features.max_operations,
            "maxPayloadSize": features.max_payload_size,
        },
        "filter": {"supported": true, "maxResults": features.max_results},
        "changePassword": {"supported": false},
        "sort": {"supported": true},
        "etag": {"supported": true},
        // RFC 9865 section 4. There is no cursorTimeout: a cursor is good for as long as its query is.
        "pagination": {
            "cursor": true,
            "index": true,
            "defaultPaginationMethod": "index",
            "defaultPageSize": features.page_size,
            "maxPageSize": features.max_results,
        },
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "The site's SCIM token in the Authorization header (RFC 6750).",
            "specUri": "https://www.rfc-editor.org/info/rfc6750",
            "primary": true,
        }],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": format!("{base}/ServiceProviderConfig"),
        },
    })
}

/// One entry of `/ResourceTypes`.
pub fn resource_type(base: &str, resource_type: &ResourceType) -> Value {
    let extensions: Vec<Value> = resource_type
        .extensions
        .iter()
        .map(|schema| json!({"schema": schema.id, "required": false}))
        .collect();
    let mut entry = json!({
        "schemas": [RESOURCE_TYPE_SCHEMA],
        "id": resource_type.name,
        "name": resource_type.name,
        "endpoint": resource_type.endpoint,
        "description": resource_type.description,
        "schema": resource_type.schema.id,
        "meta": {
            "resourceType": "ResourceType",
            "location": format!("{base}/ResourceTypes/{}", resource_type.name),
        },
    });
    if !extensions.is_empty() {
        entry["schemaExtensions"] = json!(extensions);
    }
    entry
}

/// One entry of `/Schemas`.
pub fn schema(base: &str, schema: &Schema) -> Value {
    json!({
        "schemas": [SCHEMA_SCHEMA],
        "id": schema.id,
        "name": schema.name,
        "description": schema.description,
        "attributes": schema.attributes,
        "meta": {
            "resourceType": "Schema",
            "location": format!("{base}/Schemas/{}", schema.id),
        },
    })
}

/// Every schema that describes one of the resource types or discovery itself, each once.
pub fn schemas_of(resource_types: &[&ResourceType]) -> Vec<&'static Schema> {
    let mut all: Vec<&'static Schema> = Vec::new();
    for resource_type in resource_types {
        for schema in [resource_type.schema]
            .into_iter()
            .chain(resource_type.extensions.iter().copied())
        {
            if all.iter().all(|known| known.id != schema.id) {
                all.push(schema);
            }
        }
    }
    all.extend([
        &definitions::CONFIG,
        &definitions::RESOURCE_TYPE,
        &definitions::SCHEMA,
    ]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        entitlement::{BUSINESS_ENTITY, ROLE},
        group::GROUP,
        user::USER,
    };

    const ALL: [&ResourceType; 4] = [&USER, &GROUP, &ROLE, &BUSINESS_ENTITY];

    #[test]
    fn every_resource_type_names_schemas_that_are_listed() {
        let ids: Vec<&str> = schemas_of(&ALL)
            .into_iter()
            .map(|schema| schema.id)
            .collect();
        for described in ALL {
            let entry = resource_type("https://x/acme/scim/v2", described);
            assert!(ids.contains(&entry["schema"].as_str().unwrap()));
        }
        assert_eq!(ids.len(), 9);
    }

    /// Conformance: 110.
    #[test]
    fn an_attribute_has_every_characteristic_and_no_null() {
        fn check(attribute: &Value) {
            for name in [
                "name",
                "type",
                "multiValued",
                "description",
                "required",
                "caseExact",
                "mutability",
                "returned",
                "uniqueness",
            ] {
                assert!(
                    attribute.get(name).is_some_and(|value| !value.is_null()),
                    "{attribute}"
                );
            }
            for part in attribute["subAttributes"].as_array().into_iter().flatten() {
                check(part);
            }
        }
        for described in schemas_of(&ALL) {
            let entry = schema("https://x", described);
            assert!(!entry.to_string().contains(":null"));
            entry["attributes"]
                .as_array()
                .unwrap()
                .iter()
                .for_each(check);
        }
        let user = schema("https://x", USER.schema);
        assert_eq!(user["attributes"][0]["mutability"], "readWrite");
    }

    const FEATURES: Features = Features {
        max_results: 7,
        page_size: 3,
        max_operations: 5,
        max_payload_size: 9,
    };

    /// Conformance: 104, 122.
    #[test]
    fn the_configuration_says_what_there_is() {
        let config = service_provider_config("https://x", FEATURES);
        assert_eq!(
            config["bulk"],
            json!({"supported": true, "maxOperations": 5, "maxPayloadSize": 9})
        );
        assert_eq!(config["filter"]["maxResults"], 7);
        assert_eq!(config["pagination"]["defaultPageSize"], 3);
        assert_eq!(
            config["authenticationSchemes"][0]["type"],
            "oauthbearertoken"
        );
    }

    /// Whether an object has what its definition requires and nothing that it does not know.
    fn fits(attributes: &[crate::schema::Attribute], object: &Value, at: &str) {
        let object = object.as_object().unwrap();
        for attribute in attributes {
            let value = object.get(attribute.name);
            assert!(
                value.is_some() || !attribute.required,
                "{at}.{}",
                attribute.name
            );
            let elements = match value {
                Some(Value::Array(elements)) if attribute.multi_valued => elements.as_slice(),
                Some(one) => {
                    assert!(!attribute.multi_valued, "{at}.{}", attribute.name);
                    std::slice::from_ref(one)
                }
                None => &[],
            };
            for element in elements {
                let at = format!("{at}.{}", attribute.name);
                match attribute.kind {
                    // The attributes of a schema have parts of parts, which no definition can say.
                    crate::schema::Type::Complex if attribute.name != "subAttributes" => {
                        fits(attribute.sub_attributes, element, &at);
                    }
                    crate::schema::Type::Complex => assert!(element.is_object()),
                    crate::schema::Type::Boolean => assert!(element.is_boolean(), "{at}"),
                    crate::schema::Type::Integer => assert!(element.is_u64(), "{at}"),
                    _ => assert!(element.is_string(), "{at}"),
                }
            }
        }
        for name in object.keys() {
            let known = attributes.iter().any(|attribute| attribute.name == name);
            assert!(
                known || ["schemas", "id", "meta"].contains(&name.as_str()),
                "{at}: {name}"
            );
        }
    }

    #[test]
    fn discovery_is_as_it_describes_itself() {
        let config = service_provider_config("https://x", FEATURES);
        fits(definitions::CONFIG.attributes, &config, "config");
        for described in ALL {
            let entry = resource_type("https://x", described);
            fits(
                definitions::RESOURCE_TYPE.attributes,
                &entry,
                described.name,
            );
        }
        for described in schemas_of(&ALL) {
            let entry = schema("https://x", described);
            fits(definitions::SCHEMA.attributes, &entry, described.name);
        }
    }
}
