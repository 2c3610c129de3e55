//! The list message (RFC 7644 section 3.4.2).

use serde_json::{Value, json};

/// The URN of the list message.
pub const LIST_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// One page of resources, from a number on. All three counters are there and are integers, whatever the page
/// holds: Okta gives up silently otherwise.
pub fn by_index(resources: Vec<Value>, total_results: i64, start_index: i64) -> Value {
    json!({
        "schemas": [LIST_SCHEMA],
        "totalResults": total_results,
        "startIndex": start_index,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    })
}

/// One page of resources, from a cursor on (RFC 9865 section 2); `next` is none on the last page.
pub fn by_cursor(resources: Vec<Value>, total_results: i64, next: Option<String>) -> Value {
    let mut page = json!({
        "schemas": [LIST_SCHEMA],
        "totalResults": total_results,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    });
    if let Some(next) = next {
        page["nextCursor"] = Value::String(next);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_page_is_whole() {
        assert_eq!(
            by_index(Vec::new(), 0, 1),
            json!({
                "schemas": [LIST_SCHEMA],
                "totalResults": 0,
                "startIndex": 1,
                "itemsPerPage": 0,
                "Resources": [],
            })
        );
    }

    #[test]
    fn a_page_by_cursor_has_no_index_and_the_last_one_no_cursor() {
        let page = by_cursor(vec![json!({})], 7, Some("c".to_owned()));
        assert_eq!(page["nextCursor"], "c");
        assert!(page.get("startIndex").is_none());
        assert!(by_cursor(Vec::new(), 7, None).get("nextCursor").is_none());
    }
}
