//! A SCIM filter as one of the contract: every operator on every attribute of the schemas.
//!
//! Nothing goes through that was not understood: a list of everybody would answer another question. What every
//! resource shows alike (`schemas`, `meta.resourceType`) is decided here and never reaches identity.

use identity_proto::v1::{self as pb, comparison::Value};
use scim_protocol::{
    ScimError,
    filter::{self, Filter, Literal, Operator},
    path::AttrPath,
    schema::{Target, Type},
};
use serde_json::json;

use super::{
    Found, Leaf, Reading, Scope,
    fields::{self, Source},
    moment::moment,
    tree::{self, all, always, any, entry, never, not, present},
};

impl Reading<'_> {
    /// Translates a filter, or says what is wrong with it.
    pub(crate) fn filter(&self, filter: &Filter) -> Result<pb::Filter, ScimError> {
        let translated = self.node(filter, Scope::Resource)?;
        tree::check_size(&translated)?;
        Ok(translated)
    }

    // As deep as the parser lets a filter nest.
    fn node(&self, filter: &Filter, scope: Scope<'_>) -> Result<pb::Filter, ScimError> {
        let nodes = |parts: &[Filter]| -> Result<Vec<pb::Filter>, ScimError> {
            parts.iter().map(|part| self.node(part, scope)).collect()
        };
        match filter {
            Filter::And(parts) => Ok(all(nodes(parts)?)),
            Filter::Or(parts) => Ok(any(nodes(parts)?)),
            Filter::Not(inner) => Ok(not(self.node(inner, scope)?)),
            Filter::Present(path) => Ok(match self.find(path, scope)? {
                Found::Leaf(leaf) => is_present(&leaf, path)?,
                Found::Whole(is_there, _) => is_there,
                Found::Elsewhere => never(),
            }),
            Filter::Compare(path, operator, literal) => {
                self.comparison(path, *operator, literal, scope)
            }
            Filter::Element(path, inner) => self.element(path, inner, scope),
        }
    }

    fn comparison(
        &self,
        path: &AttrPath,
        operator: Operator,
        literal: &Literal,
        scope: Scope<'_>,
    ) -> Result<pb::Filter, ScimError> {
        let is_null = *literal == Literal::Null;
        match self.find(path, scope)? {
            Found::Leaf(leaf) => self.compared(&leaf, path, operator, literal),
            Found::Whole(is_there, Some(_)) if is_null && operator == Operator::Eq => {
                Ok(not(is_there))
            }
            Found::Whole(is_there, Some(_)) if is_null && operator == Operator::Ne => Ok(is_there),
            Found::Whole(_, Some(leaf)) => self.compared(&leaf, path, operator, literal),
            Found::Whole(_, None) => Err(ScimError::invalid_filter(format!(
                "{path} has parts: compare one of them, or ask with pr whether it is there."
            ))),
            Found::Elsewhere if is_null => Ok(known(operator == Operator::Eq)),
            Found::Elsewhere => Ok(known(operator == Operator::Ne)),
        }
    }

    /// `attr[..]`: one entry that satisfies all of it.
    fn element(
        &self,
        path: &AttrPath,
        inner: &Filter,
        scope: Scope<'_>,
    ) -> Result<pb::Filter, ScimError> {
        let Scope::Resource = scope else {
            return Err(ScimError::invalid_filter(format!(
                "{path}[...] can't stand within brackets."
            )));
        };
        let (extension, attribute) = match self.resolve(path)? {
            // What is in the brackets is checked for the type that has it.
            None => return Ok(never()),
            Some(Target::Attribute {
                extension,
                attribute,
                sub: None,
            }) if attribute.kind == Type::Complex => (extension, attribute),
            Some(_) => {
                return Err(ScimError::invalid_filter(format!(
                    "{path} has no parts that brackets could ask for."
                )));
            }
        };
        if !attribute.multi_valued {
            let Found::Whole(is_there, _) = self.find(path, Scope::Resource)? else {
                return Ok(never());
            };
            return Ok(all(vec![is_there, self.node(inner, Scope::Parts(path))?]));
        }
        match fields::source(self.resource_type, extension, attribute, None, self.site) {
            Source::Field(list) => {
                let inner = self.node(inner, Scope::Entry(attribute, &list))?;
                Ok(entry(list, inner))
            }
            // Read all the same, so that a wrong name is wrong also where nothing is kept.
            _ => self
                .node(inner, Scope::Entry(attribute, ""))
                .map(|_| never()),
        }
    }

    fn compared(
        &self,
        leaf: &Leaf,
        path: &AttrPath,
        operator: Operator,
        literal: &Literal,
    ) -> Result<pb::Filter, ScimError> {
        // Whether the comparison has a meaning at all.
        filter::compare(leaf.attribute, None, operator, literal)?;
        // No value, an empty text and absence are one state (RFC 7643 section 2.5).
        let is_nothing = match literal {
            Literal::Null => true,
            Literal::Text(text) => text.is_empty(),
            Literal::Bool(_) | Literal::Number(_) => false,
        };
        match operator {
            Operator::Eq if is_nothing => return Ok(not(is_present(leaf, path)?)),
            Operator::Ne if is_nothing => return is_present(leaf, path),
            _ => {}
        }
        let shows = |text: &str| {
            let text = json!(text);
            filter::compare(leaf.attribute, Some(&text), operator, literal)
        };
        Ok(match (&leaf.source, operator) {
            (Source::Withheld(why) | Source::Uncompared(why), _) => {
                return Err(withheld(path, why));
            }
            (Source::Nothing, operator) => known(operator == Operator::Ne),
            // Of a list, "differs" means "equals in no entry", as it does for identity.
            (Source::Constant(_) | Source::Schemas, Operator::Ne) => {
                not(self.compared(leaf, path, Operator::Eq, literal)?)
            }
            (Source::Constant(text), _) => match &leaf.list {
                _ if !shows(text)? => never(),
                Some(list) => present(list),
                None => always(),
            },
            (Source::Schemas, _) => {
                let mut described = vec![known(shows(self.resource_type.schema.id)?)];
                for schema in self.resource_type.extensions {
                    if shows(schema.id)? {
                        described.push(fields::extension(schema).map_or_else(always, present));
                    }
                }
                any(described)
            }
            (Source::Url { field, prefix }, _) => tree::comparison(pb::Comparison {
                field: field.clone(),
                operator: operator_of(operator).into(),
                value: text(literal),
                exact: true,
                prefix: prefix.clone(),
            }),
            (Source::Field(field), _) => field_compared(leaf, field, path, operator, literal)?,
        })
    }
}

fn field_compared(
    leaf: &Leaf,
    field: &str,
    path: &AttrPath,
    operator: Operator,
    literal: &Literal,
) -> Result<pb::Filter, ScimError> {
    let comparison = |operator, value| {
        tree::comparison(pb::Comparison {
            field: field.to_owned(),
            operator: operator_of(operator).into(),
            value,
            exact: leaf.attribute.case_exact && leaf.attribute.kind != Type::Boolean,
            prefix: String::new(),
        })
    };
    match leaf.attribute.kind {
        Type::Boolean => {
            let wanted = match literal {
                Literal::Bool(wanted) => *wanted,
                Literal::Text(text) => text.eq_ignore_ascii_case("true"),
                Literal::Null | Literal::Number(_) => false,
            };
            // What is not said to be primary is not (RFC 7643 section 2.4), and is stored as nothing.
            if leaf.attribute.name != "primary" || wanted {
                return Ok(comparison(operator, Some(Value::Flag(wanted))));
            }
            let is_other = |field: String| {
                not(tree::comparison(pb::Comparison {
                    field,
                    operator: pb::Operator::Equal.into(),
                    value: Some(Value::Flag(true)),
                    ..pb::Comparison::default()
                }))
            };
            let equal = match &leaf.list {
                Some(list) => entry(list.clone(), is_other("primary".to_owned())),
                None => is_other(field.to_owned()),
            };
            Ok(match operator {
                Operator::Ne => not(equal),
                _ => equal,
            })
        }
        Type::DateTime => {
            let moment = match literal {
                Literal::Text(text) => moment(text),
                Literal::Null | Literal::Bool(_) | Literal::Number(_) => None,
            };
            let moment = moment.ok_or_else(|| {
                ScimError::invalid_filter(format!(
                    "{path} compares with a time like \"2026-01-31T23:59:59Z\"."
                ))
            })?;
            Ok(comparison(operator, Some(Value::Moment(moment))))
        }
        Type::String
        | Type::Reference
        | Type::Binary
        | Type::Decimal
        | Type::Integer
        | Type::Complex => Ok(comparison(operator, text(literal))),
    }
}

fn is_present(leaf: &Leaf, path: &AttrPath) -> Result<pb::Filter, ScimError> {
    Ok(match (&leaf.source, &leaf.list) {
        (Source::Field(field) | Source::Url { field, .. }, _) => present(field),
        (Source::Constant(_), Some(list)) => present(list),
        (Source::Constant(_) | Source::Schemas | Source::Uncompared(_), _) => always(),
        (Source::Nothing, _) => never(),
        (Source::Withheld(why), _) => return Err(withheld(path, why)),
    })
}

fn known(holds: bool) -> pb::Filter {
    if holds { always() } else { never() }
}

fn withheld(path: &AttrPath, why: &str) -> ScimError {
    ScimError::invalid_filter(format!("{path} {why}."))
}

/// The text of a literal; nothing else compares with texts.
fn text(literal: &Literal) -> Option<Value> {
    match literal {
        Literal::Text(text) => Some(Value::Text(text.clone())),
        Literal::Null | Literal::Bool(_) | Literal::Number(_) => None,
    }
}

fn operator_of(operator: Operator) -> pb::Operator {
    match operator {
        Operator::Eq => pb::Operator::Equal,
        Operator::Ne => pb::Operator::NotEqual,
        Operator::Co => pb::Operator::Contains,
        Operator::Sw => pb::Operator::StartsWith,
        Operator::Ew => pb::Operator::EndsWith,
        Operator::Gt => pb::Operator::Greater,
        Operator::Ge => pb::Operator::GreaterOrEqual,
        Operator::Lt => pb::Operator::Less,
        Operator::Le => pb::Operator::LessOrEqual,
    }
}
