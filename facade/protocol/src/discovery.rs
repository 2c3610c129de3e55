//! The discovery resources (RFC 7643 sections 5 to 7), made from the definitions that everything runs on.

use serde_json::{Value, json};

use crate::schema::{ResourceType, Schema};

/// The URN of the service provider's configuration.
pub const CONFIG_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";
/// The URN of a resource type.
pub const RESOURCE_TYPE_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";
/// The URN of a schema.
pub const SCHEMA_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";

/// What the service can do beside reading and writing single resources. Bulk, sorting and passwords it can't.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// How many resources one page may hold.
    pub max_results: i64,
}

/// `/ServiceProviderConfig`. `base` is the URL that the endpoints stand below.
pub fn service_provider_config(base: &str, features: Features) -> Value {
    json!({
        "schemas": [CONFIG_SCHEMA],
        "patch": {"supported": true},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": true, "maxResults": features.max_results},
        "changePassword": {"supported": false},
        "sort": {"supported": false},
        "etag": {"supported": true},
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

/// Every schema that describes one of the resource types, each once.
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
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{group::GROUP, user::USER};

    #[test]
    fn every_resource_type_names_schemas_that_are_listed() {
        let ids: Vec<&str> = schemas_of(&[&USER, &GROUP])
            .into_iter()
            .map(|schema| schema.id)
            .collect();
        for described in [&USER, &GROUP] {
            let entry = resource_type("https://x/acme/scim/v2", described);
            assert!(ids.contains(&entry["schema"].as_str().unwrap()));
        }
        assert_eq!(ids.len(), 4);
    }

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
        for described in schemas_of(&[&USER, &GROUP]) {
            let entry = schema("https://x", described);
            assert!(!entry.to_string().contains("null"));
            entry["attributes"]
                .as_array()
                .unwrap()
                .iter()
                .for_each(check);
        }
        let user = schema("https://x", USER.schema);
        assert_eq!(user["attributes"][0]["mutability"], "readWrite");
    }

    #[test]
    fn the_configuration_has_what_is_required_even_of_what_is_not_supported() {
        let config = service_provider_config("https://x", Features { max_results: 7 });
        assert_eq!(config["bulk"]["maxOperations"], 0);
        assert_eq!(config["filter"]["maxResults"], 7);
        assert_eq!(
            config["authenticationSchemes"][0]["type"],
            "oauthbearertoken"
        );
    }
}
