//! Whether one element of a list satisfies a filter, as PATCH's value paths need it, or a whole resource, for
//! lists that are short and at hand.

use std::cmp::Ordering;

use roster_folding::fold;
use serde_json::Value;

use super::{Filter, Literal, Operator};
use crate::{
    ScimError, moment,
    path::AttrPath,
    schema::{Attribute, ResourceType, Returned, Target, Type},
};

impl Filter {
    /// Whether `element`, a value of `attribute`, satisfies the filter. The names in the filter are those
    /// of the attribute's parts.
    pub fn matches(&self, element: &Value, attribute: &Attribute) -> Result<bool, ScimError> {
        // Every part is looked at, so that a wrong name is found whatever the others say.
        Ok(match self {
            Self::And(parts) => {
                let mut all = true;
                for part in parts {
                    all &= part.matches(element, attribute)?;
                }
                all
            }
            Self::Or(parts) => {
                let mut any = false;
                for part in parts {
                    any |= part.matches(element, attribute)?;
                }
                any
            }
            Self::Not(inner) => !inner.matches(element, attribute)?,
            Self::Present(path) => {
                let part = part_of(attribute, path)?;
                element.get(part.name).is_some_and(is_present)
            }
            Self::Compare(path, operator, literal) => {
                let part = part_of(attribute, path)?;
                let actual = element.get(part.name).filter(|value| is_present(value));
                compare(part, actual, *operator, literal)?
            }
            Self::Element(path, _) => {
                return Err(ScimError::invalid_filter(format!(
                    "{path}[...] can't stand within brackets."
                )));
            }
        })
    }
}

impl Filter {
    /// Whether a resource, as it is shown, satisfies the filter. For what is at hand in full only.
    pub fn matches_resource(
        &self,
        resource: &Value,
        resource_type: &ResourceType,
    ) -> Result<bool, ScimError> {
        self.matches_among(resource, resource_type, &[])
    }

    /// Like [`Filter::matches_resource`], where other types are asked too: what only those have, this one has no
    /// value of (RFC 7644 section 3.4.2.1).
    pub fn matches_among(
        &self,
        resource: &Value,
        resource_type: &ResourceType,
        beside: &[&ResourceType],
    ) -> Result<bool, ScimError> {
        Ok(match self {
            Self::And(parts) => {
                let mut all = true;
                for part in parts {
                    all &= part.matches_among(resource, resource_type, beside)?;
                }
                all
            }
            Self::Or(parts) => {
                let mut any = false;
                for part in parts {
                    any |= part.matches_among(resource, resource_type, beside)?;
                }
                any
            }
            Self::Not(inner) => !inner.matches_among(resource, resource_type, beside)?,
            Self::Present(path) => values_of(resource, resource_type, beside, path)?
                .is_some_and(|(_, values)| values.into_iter().any(is_present)),
            Self::Compare(path, operator, literal) => {
                let found = values_of(resource, resource_type, beside, path)?;
                let Some((attribute, values)) = found else {
                    return Ok(match literal {
                        Literal::Null => *operator == Operator::Eq,
                        _ => *operator == Operator::Ne,
                    });
                };
                if attribute.kind == Type::Complex {
                    return Err(ScimError::invalid_filter(format!(
                        "{path} has parts: compare one of them, or ask with pr whether it is there."
                    )));
                }
                // Of several values one is enough; "differs" means that none is equal.
                let (operator, negated) = match operator {
                    Operator::Ne => (Operator::Eq, true),
                    other => (*other, false),
                };
                let mut holds = values.is_empty() && compare(attribute, None, operator, literal)?;
                for value in values {
                    holds |= compare(attribute, Some(value), operator, literal)?;
                }
                holds != negated
            }
            Self::Element(path, inner) => {
                let found = values_of(resource, resource_type, beside, path)?;
                let Some((attribute, values)) = found else {
                    return Ok(false);
                };
                if attribute.kind != Type::Complex {
                    return Err(ScimError::invalid_filter(format!(
                        "{path} has no parts that brackets could ask for."
                    )));
                }
                // Run once for its errors, as in PATCH.
                inner.matches(&Value::Null, attribute)?;
                let mut any = false;
                for value in values {
                    any |= inner.matches(value, attribute)?;
                }
                any
            }
        })
    }
}

/// What a path leads to in a resource: its definition, and its values, each of a list by itself. None where only a
/// type beside it has such an attribute.
fn values_of<'a>(
    resource: &'a Value,
    resource_type: &ResourceType,
    beside: &[&ResourceType],
    path: &AttrPath,
) -> Result<Option<(&'static Attribute, Vec<&'a Value>)>, ScimError> {
    let Some(Target::Attribute {
        extension,
        attribute,
        sub,
    }) = resource_type.resolve(path)
    else {
        if beside.iter().any(|other| other.resolve(path).is_some()) {
            return Ok(None);
        }
        return Err(ScimError::invalid_filter(format!(
            "{} has no attribute {path}.",
            resource_type.name
        )));
    };
    let container = match extension {
        None => Some(resource),
        Some(schema) => resource.get(schema.id),
    };
    let value = container.and_then(|container| container.get(attribute.name));
    let values: Vec<&Value> = match value {
        Some(Value::Array(values)) => values.iter().collect(),
        one => one.into_iter().collect(),
    };
    Ok(Some(match sub {
        None => (attribute, values),
        Some(sub) => (
            sub,
            values
                .into_iter()
                .filter_map(|value| value.get(sub.name))
                .collect(),
        ),
    }))
}

fn part_of(attribute: &Attribute, path: &AttrPath) -> Result<&'static Attribute, ScimError> {
    match (&path.schema, &path.sub) {
        (None, None) => attribute.sub_attribute(&path.name),
        _ => None,
    }
    // What is never shown can't be asked for either.
    .filter(|part| part.returned != Returned::Never)
    .ok_or_else(|| {
        ScimError::invalid_filter(format!("{} has no sub-attribute {path}.", attribute.name))
    })
}

/// Null, an empty text and an empty list are no value (RFC 7643 section 2.5).
fn is_present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => list.iter().any(is_present),
        Value::Object(parts) => parts.values().any(is_present),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// Whether a simple value compares like this, by its definition; `actual` is none where there is no value. Also
/// tells whether the comparison has a meaning at all (400 `invalidFilter`).
pub fn compare(
    part: &Attribute,
    actual: Option<&Value>,
    operator: Operator,
    literal: &Literal,
) -> Result<bool, ScimError> {
    let unfit = || {
        ScimError::invalid_filter(format!(
            "{} can't be compared like this: {} {literal}.",
            part.name,
            operator.as_str()
        ))
    };
    // Null, an empty text and absence are one state (RFC 7643 section 2.5).
    let nothing = match literal {
        Literal::Null => true,
        Literal::Text(text) => {
            text.is_empty()
                && part.kind != Type::Boolean
                && matches!(operator, Operator::Eq | Operator::Ne)
        }
        Literal::Bool(_) | Literal::Number(_) => false,
    };
    if nothing {
        return match operator {
            Operator::Eq => Ok(actual.is_none()),
            Operator::Ne => Ok(actual.is_some()),
            _ => Err(unfit()),
        };
    }
    let ordering = match (part.kind, literal) {
        (Type::Boolean, literal) => {
            let wanted = match literal {
                Literal::Bool(wanted) => *wanted,
                // Entra: `roles[primary eq "True"]`.
                Literal::Text(text) if text.eq_ignore_ascii_case("true") => true,
                Literal::Text(text) if text.eq_ignore_ascii_case("false") => false,
                _ => return Err(unfit()),
            };
            if !matches!(operator, Operator::Eq | Operator::Ne) {
                return Err(unfit());
            }
            // A value that is not said to be primary is not (RFC 7643 section 2.4).
            let otherwise = (part.name == "primary").then_some(false);
            let actual = actual.and_then(Value::as_bool).or(otherwise);
            actual.map(|actual| actual.cmp(&wanted))
        }
        (Type::Integer | Type::Decimal, Literal::Number(wanted)) => {
            if matches!(operator, Operator::Co | Operator::Sw | Operator::Ew) {
                return Err(unfit());
            }
            actual
                .and_then(Value::as_f64)
                .zip(wanted.as_f64())
                .and_then(|(actual, wanted)| actual.partial_cmp(&wanted))
        }
        (Type::DateTime, Literal::Text(wanted)) => {
            let wanted = moment::parse(wanted).ok_or_else(|| {
                ScimError::invalid_filter(format!(
                    "{} compares with a time like \"2026-01-31T23:59:59Z\".",
                    part.name
                ))
            })?;
            if matches!(operator, Operator::Co | Operator::Sw | Operator::Ew) {
                return Err(unfit());
            }
            let actual = actual.and_then(Value::as_str).and_then(moment::parse);
            actual.map(|actual| actual.cmp(&wanted))
        }
        (Type::String | Type::Reference | Type::Binary, Literal::Text(wanted)) => {
            let equality = matches!(operator, Operator::Eq | Operator::Ne);
            if part.kind == Type::Binary && !equality {
                return Err(unfit());
            }
            let actual = actual.and_then(Value::as_str);
            // As identity folds, so that the same filter means the same in a list and in a PATCH.
            let form = |text: &str| {
                if part.case_exact {
                    text.to_owned()
                } else {
                    fold(text)
                }
            };
            let (actual, wanted) = (actual.map(form), form(wanted));
            let found = |test: fn(&str, &str) -> bool| {
                Ok(actual
                    .as_deref()
                    .is_some_and(|actual| test(actual, &wanted)))
            };
            match operator {
                Operator::Co => return found(|actual, wanted| actual.contains(wanted)),
                Operator::Sw => return found(|actual, wanted| actual.starts_with(wanted)),
                Operator::Ew => return found(|actual, wanted| actual.ends_with(wanted)),
                _ => actual.map(|actual| actual.cmp(&wanted)),
            }
        }
        _ => return Err(unfit()),
    };
    Ok(match (operator, ordering) {
        (Operator::Ne, None) => true,
        (_, None) => false,
        (Operator::Eq, Some(ordering)) => ordering == Ordering::Equal,
        (Operator::Ne, Some(ordering)) => ordering != Ordering::Equal,
        (Operator::Gt, Some(ordering)) => ordering == Ordering::Greater,
        (Operator::Ge, Some(ordering)) => ordering != Ordering::Less,
        (Operator::Lt, Some(ordering)) => ordering == Ordering::Less,
        (Operator::Le, Some(ordering)) => ordering != Ordering::Greater,
        (Operator::Co | Operator::Sw | Operator::Ew, Some(_)) => return Err(unfit()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{ScimType, entitlement::ROLE, user::USER};

    fn matches(filter: &str) -> Result<bool, ScimError> {
        let element = json!({"value": "Ann@Example.com", "type": "work", "primary": true});
        let emails = USER.core_attribute("emails").unwrap();
        Filter::parse(filter).unwrap().matches(&element, emails)
    }

    #[test]
    fn holds_by_the_attributes_definition() {
        for filter in [
            r#"type eq "WORK""#,
            r#"TYPE eq "work" and value ew "@example.com""#,
            r#"primary eq true"#,
            r#"primary eq "True""#,
            "display ne \"x\"",
            "display eq null",
            r#"display eq """#,
            r#"type ne """#,
            "not (display pr)",
            r#"type eq "home" or value co "ANN""#,
            r#"value gt "a" and value le "b""#,
        ] {
            assert_eq!(matches(filter), Ok(true), "{filter}");
        }
        for filter in [
            r#"type eq "home""#,
            "display pr",
            r#"type eq """#,
            "primary eq false",
        ] {
            assert_eq!(matches(filter), Ok(false), "{filter}");
        }
    }

    #[test]
    fn a_whole_resource_is_held_against_a_filter() {
        let role = json!({
            "schemas": [ROLE.schema.id], "id": "r1", "displayName": "Sales Agent",
            "meta": {"resourceType": "Role", "created": "2026-01-31T12:00:00Z"},
        });
        let matches = |text: &str| {
            let filter = Filter::parse(text).unwrap();
            filter.matches_among(&role, &ROLE, &[&USER])
        };
        for filter in [
            r#"id eq "r1""#,
            r#"DISPLAYNAME eq "sales agent""#,
            r#"urn:okta:scim:schemas:core:1.0:Role:displayName sw "S" and not (description pr)"#,
            r#"schemas eq "urn:okta:scim:schemas:core:1.0:Role""#,
            r#"schemas ne "urn:other" and meta.resourceType eq "Role""#,
            r#"description ne "x" and description eq null and meta pr"#,
            r#"meta[resourceType eq "Role"] or id eq "r2""#,
            // What only users have.
            r#"userName ne "x" and userName eq null and not (emails[value pr] or userName pr)"#,
            // Times by the clock, whatever the zone and the fraction.
            r#"meta.created eq "2026-01-31T13:00:00.0+01:00""#,
            r#"meta.created gt "2026-01-31T12:59:59+01:00""#,
        ] {
            assert_eq!(matches(filter), Ok(true), "{filter}");
        }
        for filter in [
            r#"id eq "R1""#,
            r#"id ne "r1""#,
            "externalId pr",
            r#"userName eq "x""#,
            "userName ne null",
        ] {
            assert_eq!(matches(filter), Ok(false), "{filter}");
        }
        for filter in [
            "nope pr",
            r#"meta eq "x""#,
            "id[value pr]",
            "id gt 1",
            r#"meta.created gt "yesterday""#,
            r#"meta.created sw "2026""#,
            r#"meta[nope eq 1]"#,
        ] {
            let error = matches(filter).unwrap_err();
            assert_eq!(error.scim_type, Some(ScimType::InvalidFilter), "{filter}");
        }
    }

    /// Conformance: 46.
    #[test]
    fn what_has_no_meaning_is_refused() {
        for filter in [
            "nope eq 1",
            "type eq 1",
            "primary gt true",
            "primary co \"t\"",
            "type gt null",
            "type.x pr",
        ] {
            assert!(matches(filter).is_err(), "{filter}");
        }
    }
}
