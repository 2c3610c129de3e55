//! A SCIM filter as one of the contract: comparisons with `eq`, joined with `and`.

use identity_proto::v1::{self as pb, FilterList, comparison, filter::Node};
use scim_protocol::{
    ScimError,
    filter::{Filter, Literal, Operator},
    path::AttrPath,
    schema::{ResourceType, Target},
};

/// The most comparisons that identity takes is 256 nodes, the joining one included.
const MAX_COMPARISONS: usize = 200;

/// What a user can be found by: SCIM's name and the contract's.
pub(crate) const USER_FIELDS: &[(&str, &str)] = &[
    ("userName", "user_name"),
    ("externalId", "external_id"),
    ("displayName", "display_name"),
    ("emails.value", "emails.value"),
    ("id", "id"),
];

/// What a group can be found by.
pub(crate) const GROUP_FIELDS: &[(&str, &str)] = &[
    ("displayName", "display_name"),
    ("externalId", "external_id"),
    ("id", "id"),
];

/// Translates a filter, or says what is supported. It never lets anything through that was not understood:
/// a list of everybody would answer another question.
pub(crate) fn to_identity(
    filter: &Filter,
    resource_type: &ResourceType,
    fields: &[(&str, &str)],
) -> Result<pb::Filter, ScimError> {
    let mut comparisons = Vec::new();
    collect(filter, resource_type, fields, &mut comparisons)?;
    if comparisons.len() > MAX_COMPARISONS {
        return Err(ScimError::invalid_filter(format!(
            "The filter has more than {MAX_COMPARISONS} comparisons."
        )));
    }
    Ok(match comparisons.len() {
        1 => comparisons.swap_remove(0),
        _ => pb::Filter {
            node: Some(Node::All(FilterList {
                filters: comparisons,
            })),
        },
    })
}

fn collect(
    filter: &Filter,
    resource_type: &ResourceType,
    fields: &[(&str, &str)],
    comparisons: &mut Vec<pb::Filter>,
) -> Result<(), ScimError> {
    let unsupported = || {
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        ScimError::invalid_filter(format!(
            "The filter is not supported: {} can be compared with eq to a text, joined with and.",
            names.join(", ")
        ))
    };
    match filter {
        Filter::And(parts) => parts
            .iter()
            .try_for_each(|part| collect(part, resource_type, fields, comparisons)),
        Filter::Compare(path, Operator::Eq, Literal::Text(text)) => {
            let name = name_of(path, resource_type).ok_or_else(unsupported)?;
            let field = fields
                .iter()
                .find(|(known, _)| *known == name)
                .ok_or_else(unsupported)?
                .1;
            comparisons.push(pb::Filter {
                node: Some(Node::Comparison(pb::Comparison {
                    field: field.to_owned(),
                    operator: pb::Operator::Equal.into(),
                    value: Some(comparison::Value::Text(text.clone())),
                })),
            });
            Ok(())
        }
        Filter::Compare(..)
        | Filter::Or(_)
        | Filter::Not(_)
        | Filter::Present(_)
        | Filter::Element(..) => Err(unsupported()),
    }
}

/// The attribute in the schema's spelling; a list of complex values stands for its `value`.
fn name_of(path: &AttrPath, resource_type: &ResourceType) -> Option<String> {
    match resource_type.resolve(path)? {
        Target::Attribute {
            extension: None,
            attribute,
            sub,
        } => match sub {
            Some(sub) => Some(format!("{}.{}", attribute.name, sub.name)),
            None if attribute.multi_valued && !attribute.sub_attributes.is_empty() => {
                Some(format!("{}.value", attribute.name))
            }
            None => Some(attribute.name.to_owned()),
        },
        Target::Attribute { .. } | Target::Extension(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use scim_protocol::{ScimType, group::GROUP, user::USER};

    use super::*;

    fn fields(text: &str) -> Result<Vec<(String, String)>, ScimError> {
        let filter = to_identity(&Filter::parse(text)?, &USER, USER_FIELDS)?;
        let nodes = match filter.node.unwrap() {
            Node::All(list) => list
                .filters
                .into_iter()
                .map(|filter| filter.node.unwrap())
                .collect(),
            one => vec![one],
        };
        Ok(nodes
            .into_iter()
            .map(|node| match node {
                Node::Comparison(comparison) => match comparison.value.unwrap() {
                    comparison::Value::Text(text) => (comparison.field, text),
                },
                Node::All(_) => panic!("nested"),
            })
            .collect())
    }

    #[test]
    fn what_identity_providers_ask_for_is_understood() {
        for (text, field) in [
            ("USERNAME Eq \"x\"", "user_name"),
            (
                "urn:ietf:params:scim:schemas:core:2.0:User:userName eq \"x\"",
                "user_name",
            ),
            ("externalId eq \"x\"", "external_id"),
            ("emails eq \"x\"", "emails.value"),
            ("emails.value eq \"x\"", "emails.value"),
            ("id eq \"x\"", "id"),
        ] {
            assert_eq!(
                fields(text).unwrap(),
                [(field.to_owned(), "x".to_owned())],
                "{text}"
            );
        }
        let both = fields("userName eq \"a\" and (externalId eq \"b\" and id eq \"c\")").unwrap();
        assert_eq!(both.len(), 3);
        let group = Filter::parse("displayName eq \"x\"").unwrap();
        assert!(to_identity(&group, &GROUP, GROUP_FIELDS).is_ok());
    }

    #[test]
    fn anything_else_is_refused_and_says_what_is_supported() {
        let many = vec!["id eq \"x\""; 201].join(" and ");
        for text in [
            "userName co \"x\"",
            "userName eq 1",
            "userName eq null",
            "userName pr",
            "not (userName eq \"x\")",
            "userName eq \"a\" or userName eq \"b\"",
            "emails[type eq \"work\" and value eq \"x\"]",
            "emails[type eq \"work\"].value eq \"x\"",
            "emails.type eq \"work\"",
            "password eq \"x\"",
            "nope eq \"x\"",
            "title eq \"x\"",
            "userName eq \"a\" and title eq \"x\"",
            &many,
        ] {
            let error = fields(text).unwrap_err();
            assert_eq!(error.scim_type, Some(ScimType::InvalidFilter), "{text}");
        }
        assert!(
            fields("title pr")
                .unwrap_err()
                .detail
                .contains("userName, externalId")
        );
    }
}
