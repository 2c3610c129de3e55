//! Whether one element of a list satisfies a filter, as PATCH's value paths need it.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Filter, Literal, Operator};
use crate::{
    ScimError,
    path::AttrPath,
    schema::{Attribute, Type},
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

fn part_of(attribute: &Attribute, path: &AttrPath) -> Result<&'static Attribute, ScimError> {
    match (&path.schema, &path.sub) {
        (None, None) => attribute.sub_attribute(&path.name),
        _ => None,
    }
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
        (Type::String | Type::Reference | Type::DateTime | Type::Binary, Literal::Text(wanted)) => {
            let equality = matches!(operator, Operator::Eq | Operator::Ne);
            let ordered = matches!(
                operator,
                Operator::Gt | Operator::Ge | Operator::Lt | Operator::Le
            );
            match part.kind {
                Type::Binary if !equality => return Err(unfit()),
                Type::DateTime if !equality && !ordered => return Err(unfit()),
                _ => {}
            }
            let actual = actual.and_then(Value::as_str);
            let fold = |text: &str| {
                if part.case_exact {
                    text.to_owned()
                } else {
                    text.to_lowercase()
                }
            };
            let (actual, wanted) = (actual.map(fold), fold(wanted));
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
    use crate::user::USER;

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
