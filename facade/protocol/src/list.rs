//! The list message (RFC 7644 section 3.4.2).

use serde_json::{Value, json};

/// The URN of the list message.
pub const LIST_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// One page of resources. All three counters are there and are integers, whatever the page holds: Okta
/// gives up silently otherwise.
pub fn response(resources: Vec<Value>, total_results: i64, start_index: i64) -> Value {
    json!({
        "schemas": [LIST_SCHEMA],
        "totalResults": total_results,
        "startIndex": start_index,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_page_is_whole() {
        assert_eq!(
            response(Vec::new(), 0, 1),
            json!({
                "schemas": [LIST_SCHEMA],
                "totalResults": 0,
                "startIndex": 1,
                "itemsPerPage": 0,
                "Resources": [],
            })
        );
    }
}
