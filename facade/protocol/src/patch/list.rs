//! PATCH on a list: which of its values an operation touches, and the one preferred value.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Op, Place, assign, removable};
use crate::{
    ScimError,
    filter::{Filter, Literal, Operator},
    path::Path,
    resource::{
        Distinct, MAX_VALUES, accept, holds_something, is_primary, named, names_something,
        read_parts,
    },
    schema::{Attribute, Mutability},
};

/// Whether a path only says how the one thing that a user is given is labelled, which the service knows by itself:
/// Entra writes `roles[primary eq "True"].display` and `.type` beside `.value`.
pub(super) fn only_labels_the_one(attribute: &Attribute, path: &Path) -> bool {
    let labels = ["display", "type", "primary"];
    let is_the_one = |filter| is_the_one(attribute, filter);
    path.filter.as_ref().is_some_and(is_the_one)
        && path
            .sub
            .as_ref()
            .is_some_and(|sub| labels.iter().any(|label| sub.eq_ignore_ascii_case(label)))
}

/// Applies one operation to a list in `container`.
pub(super) fn change(
    container: &mut Map<String, Value>,
    place: &Place<'_>,
    op: Op,
    value: Option<&Value>,
) -> Result<(), ScimError> {
    let attribute = place.attribute;
    let mut elements = match container.remove(attribute.name) {
        Some(Value::Array(elements)) => elements,
        _ => Vec::new(),
    };
    let held = elements.iter().map(bytes).sum();
    place.looks.spend(held)?;
    // What the operation set; its preferred value, if any, wins over those that it did not touch.
    let touched = match (&place.path.filter, place.sub, op) {
        (None, Some(sub), _) => {
            return Err(ScimError::invalid_path(format!(
                "{name} may have several values: say which, as in {name}[type eq \"work\"].{sub}.",
                name = place.name(),
                sub = sub.name,
            )));
        }
        (None, None, Op::Remove) => {
            remove(&mut elements, held, place, value)?;
            BTreeSet::new()
        }
        (None, None, _) => {
            let sent = listed(place, value)?;
            if op == Op::Replace {
                elements.clear();
            }
            let (all, indices) = Distinct::of(attribute, elements).with(sent);
            elements = all;
            indices.into_iter().collect()
        }
        (Some(filter), sub, Op::Remove) => {
            place.looks.spend(held.saturating_mul(filter.weight()))?;
            let selected = select(&elements, attribute, filter)?;
            if selected.is_empty() {
                return Err(nothing_selected(place));
            }
            match sub {
                None => keep(&mut elements, |index, _| !selected.contains(&index)),
                // What names something is nothing without its value.
                Some(sub) if sub.name == "value" && names_something(attribute) => {
                    keep(&mut elements, |index, _| !selected.contains(&index));
                }
                Some(sub) => {
                    removable(sub, place)?;
                    for index in selected {
                        if let Some(parts) = elements[index].as_object_mut() {
                            parts.remove(sub.name);
                        }
                    }
                }
            }
            BTreeSet::new()
        }
        (Some(filter), sub, _) => {
            place.looks.spend(held.saturating_mul(filter.weight()))?;
            let value = value.unwrap_or(&Value::Null);
            set_selected(&mut elements, place, filter, sub, op, value)?
        }
    };
    prefer(&mut elements, &touched, place)?;
    let elements = merged(elements, &touched, place);
    if elements.len() > MAX_VALUES {
        return Err(ScimError::invalid_value(format!(
            "{} would have more than {MAX_VALUES} values.",
            place.name()
        )));
    }
    if !elements.is_empty() {
        container.insert(attribute.name.to_owned(), Value::Array(elements));
    }
    Ok(())
}

/// How much there is to look through in a value, in bytes; what is small costs, too.
fn bytes(value: &Value) -> usize {
    16 + match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(bytes).sum(),
        Value::Object(parts) => parts.values().map(bytes).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Sweeps out what holds nothing, and makes one of the elements that an operation through a filter made the same, as
/// if they had come together; what it touched says last how they are.
fn merged(elements: Vec<Value>, touched: &BTreeSet<usize>, place: &Place<'_>) -> Vec<Value> {
    let attribute = place.attribute;
    let holds = |element: &Value| {
        element
            .as_object()
            .is_none_or(|parts| holds_something(attribute, parts))
    };
    let mut kept: Vec<(bool, Value)> = elements
        .into_iter()
        .enumerate()
        .filter(|(_, element)| holds(element))
        .map(|(index, element)| (touched.contains(&index), element))
        .collect();
    let some_repeat = place.path.filter.is_some()
        && !Distinct::are(attribute, kept.iter().map(|(_, element)| element));
    if some_repeat {
        kept.sort_by_key(|(is_touched, _)| *is_touched);
    }
    let kept = kept.into_iter().map(|(_, element)| element).collect();
    if some_repeat {
        Distinct::of(attribute, Vec::new()).with(kept).0
    } else {
        kept
    }
}

/// The values that an operation carries; a single one may stand without a list around it.
fn listed(place: &Place<'_>, value: Option<&Value>) -> Result<Vec<Value>, ScimError> {
    let list = match value {
        Some(list @ Value::Array(_)) => list.clone(),
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(one) => Value::Array(vec![one.clone()]),
    };
    match accept(place.attribute, list, &place.name())? {
        Some(Value::Array(elements)) => Ok(elements),
        _ => Ok(Vec::new()),
    }
}

/// Takes out the whole list, or only the values that came with the operation (Entra).
fn remove(
    elements: &mut Vec<Value>,
    held: usize,
    place: &Place<'_>,
    value: Option<&Value>,
) -> Result<(), ScimError> {
    removable(place.attribute, place)?;
    if value.is_none_or(Value::is_null) {
        elements.clear();
        return Ok(());
    }
    let unwanted = listed(place, value)?;
    place.looks.spend(held.saturating_mul(unwanted.len()))?;
    keep(elements, |_, element| {
        !unwanted.iter().any(
            |unwanted| match (unwanted.as_object(), element.as_object()) {
                (Some(unwanted), Some(parts)) => unwanted
                    .iter()
                    .all(|(name, value)| parts.get(name) == Some(value)),
                _ => unwanted == element,
            },
        )
    });
    Ok(())
}

fn keep(elements: &mut Vec<Value>, mut wanted: impl FnMut(usize, &Value) -> bool) {
    let mut index = 0;
    elements.retain(|element| {
        index += 1;
        wanted(index - 1, element)
    });
}

fn select(
    elements: &[Value],
    attribute: &Attribute,
    filter: &Filter,
) -> Result<BTreeSet<usize>, ScimError> {
    // Run once for its errors: a wrong filter is wrong also where the list is empty.
    filter.matches(&Value::Null, attribute)?;
    let mut selected = BTreeSet::new();
    for (index, element) in elements.iter().enumerate() {
        if filter.matches(element, attribute)? {
            selected.insert(index);
        }
    }
    Ok(selected)
}

fn nothing_selected(place: &Place<'_>) -> ScimError {
    ScimError::no_target(format!("{} selects no value.", place.path))
}

/// Add and replace on the elements that a filter selects; gives their indices.
fn set_selected(
    elements: &mut Vec<Value>,
    place: &Place<'_>,
    filter: &Filter,
    sub: Option<&'static Attribute>,
    op: Op,
    value: &Value,
) -> Result<BTreeSet<usize>, ScimError> {
    let attribute = place.attribute;
    let mut selected = select(elements, attribute, filter)?;
    // Each of them gets a copy.
    place
        .looks
        .spend(selected.len().saturating_mul(bytes(value)))?;
    let at = place.path.to_string();
    let Some(sub) = sub else {
        if selected.is_empty() {
            return Err(nothing_selected(place));
        }
        let parts = match value {
            Value::Null => Map::new(),
            value => read_parts(attribute, value.clone(), &at)?,
        };
        for &index in &selected {
            match elements[index].as_object_mut() {
                Some(existing) if op == Op::Add => existing.extend(parts.clone()),
                // What is replaced by nothing is swept out with all that holds nothing.
                _ => elements[index] = Value::Object(parts.clone()),
            }
        }
        return Ok(selected);
    };
    let unwrapped;
    let value = if sub.name == "value" && names_something(attribute) {
        if op == Op::Replace && (value.is_null() || value.as_str() == Some("")) {
            keep(elements, |index, _| !selected.contains(&index));
            return Ok(BTreeSet::new());
        }
        unwrapped = named(value.clone());
        &unwrapped
    } else {
        value
    };
    if selected.is_empty() {
        let (label, said) = match labelled(filter) {
            Some(label) => ("type", Value::from(label)),
            None if elements.is_empty() && is_the_one(attribute, filter) => {
                ("primary", Value::Bool(true))
            }
            None => return Err(nothing_selected(place)),
        };
        let mut parts = Map::new();
        assign(&mut parts, sub, op, Some(value), &at)?;
        if !parts.is_empty() {
            // What the service says by itself is not kept: the type of an entitlement.
            let is_kept = attribute
                .sub_attribute(label)
                .is_some_and(|part| label != "type" || part.mutability != Mutability::ReadOnly);
            if is_kept {
                parts.insert(label.to_owned(), said);
            }
            elements.push(Value::Object(parts));
            selected.insert(elements.len() - 1);
        }
        return Ok(selected);
    }
    for &index in &selected {
        if let Some(parts) = elements[index].as_object_mut() {
            assign(parts, sub, op, Some(value), &at)?;
        }
    }
    Ok(selected)
}

/// The label in `type eq "work"`; an empty one is none.
fn labelled(filter: &Filter) -> Option<&str> {
    match filter {
        Filter::Compare(path, Operator::Eq, Literal::Text(label))
            if !label.is_empty()
                && path.schema.is_none()
                && path.sub.is_none()
                && path.name.eq_ignore_ascii_case("type") =>
        {
            Some(label)
        }
        _ => None,
    }
}

/// Whether a filter on things that the service has selects the one that stands there alone: `primary eq true`, or
/// Entra's `primary eq "True"`.
fn is_the_one(attribute: &Attribute, filter: &Filter) -> bool {
    match filter {
        Filter::Compare(path, Operator::Eq, literal)
            if names_something(attribute)
                && attribute.sub_attribute("primary").is_some()
                && path.schema.is_none()
                && path.sub.is_none()
                && path.name.eq_ignore_ascii_case("primary") =>
        {
            match literal {
                Literal::Bool(wanted) => *wanted,
                Literal::Text(text) => text.eq_ignore_ascii_case("true"),
                Literal::Null | Literal::Number(_) => false,
            }
        }
        _ => false,
    }
}

/// Where the operation set a preferred value, no other stays preferred (RFC 7644 section 3.5.2).
fn prefer(
    elements: &mut [Value],
    touched: &BTreeSet<usize>,
    place: &Place<'_>,
) -> Result<(), ScimError> {
    let preferred = touched
        .iter()
        .filter(|&&index| is_primary(&elements[index]))
        .count();
    if preferred > 1 {
        return Err(ScimError::invalid_value(format!(
            "{} would have more than one primary value.",
            place.name()
        )));
    }
    if preferred == 1 {
        for (index, element) in elements.iter_mut().enumerate() {
            if !touched.contains(&index)
                && is_primary(element)
                && let Some(parts) = element.as_object_mut()
            {
                parts.insert("primary".to_owned(), Value::Bool(false));
            }
        }
    }
    Ok(())
}
