//! PATCH (RFC 7644 section 3.5.2): reading the message, and applying it to a resource.
//!
//! What identity providers do beside the RFC and is understood here: `op` in any case (Entra), `"True"` and
//! `"False"` for booleans (Entra), path-less keys that are dotted, URN-qualified or value paths (Entra's
//! `aadOptscim062020`), path-less `id`, `schemas`, `meta` and `groups` (Okta), `remove` with the values to
//! remove beside the path (Entra), `emails[type eq "work"].value` where there is no such element yet (Entra),
//! and `roles[primary eq "True"].value` for the one role of a user, with `display` and `type` beside it (Entra).

mod list;

use std::cell::Cell;

use serde_json::{Map, Value};

use crate::{
    ScimError,
    path::Path,
    resource::{self, accept, schemas_of},
    schema::{Attribute, Mutability, ResourceType, Schema, Target, Type},
};

/// The URN of the PATCH message.
pub const PATCH_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// How many operations [`apply`] runs; each may look through a whole list.
pub const MAX_OPERATIONS: usize = 1000;

/// How many bytes of lists [`apply`] looks through and copies, each as often as there is a condition to hold
/// against it. Without this bound a body of a megabyte has a filter look at a text of half a megabyte thousands of
/// times, or puts that text into a thousand entries.
pub const MAX_LOOKS: usize = 8 << 20;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Puts a value in, beside those that are there.
    Add,
    /// Puts a value in the place of those that are there.
    Replace,
    /// Takes values out.
    Remove,
}

/// One operation of a PATCH message.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// What it does.
    pub op: Op,
    /// What it works on; none for the whole resource.
    pub path: Option<Path>,
    /// The value, where one was given.
    pub value: Option<Value>,
}

/// Reads the body of a PATCH.
pub fn parse(body: Value) -> Result<Vec<Operation>, ScimError> {
    let Value::Object(body) = body else {
        return Err(ScimError::invalid_syntax("The body must be a JSON object."));
    };
    if !schemas_of(&body)?
        .iter()
        .any(|urn| urn.eq_ignore_ascii_case(PATCH_SCHEMA))
    {
        return Err(ScimError::invalid_syntax(format!(
            "\"schemas\" must contain {PATCH_SCHEMA:?}."
        )));
    }
    let operations = body
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("Operations"))
        .map(|(_, operations)| operations);
    match operations {
        Some(Value::Array(operations)) if !operations.is_empty() => operations
            .into_iter()
            .enumerate()
            .map(|(index, one)| read(index, one))
            .collect(),
        _ => Err(ScimError::invalid_syntax(
            "\"Operations\" must be a list with at least one operation.",
        )),
    }
}

fn read(index: usize, operation: Value) -> Result<Operation, ScimError> {
    let refused = |what: &str| ScimError::invalid_syntax(format!("Operations[{index}]: {what}."));
    let Value::Object(operation) = operation else {
        return Err(refused("must be an object"));
    };
    let (mut op, mut path, mut value) = (None, None, None);
    for (name, part) in operation {
        match (name.to_ascii_lowercase().as_str(), part) {
            ("op", Value::String(word)) => {
                op = Some(match word.to_ascii_lowercase().as_str() {
                    "add" => Op::Add,
                    "replace" => Op::Replace,
                    "remove" => Op::Remove,
                    _ => return Err(refused("\"op\" must be add, replace or remove")),
                });
            }
            ("path", Value::String(text)) if text.is_empty() => {}
            ("path", Value::String(text)) => path = Some(Path::parse(&text)?),
            ("path", Value::Null) => {}
            ("path", _) => return Err(refused("\"path\" must be a text")),
            ("value", part) => value = Some(part),
            _ => {}
        }
    }
    let op = op.ok_or_else(|| refused("\"op\" must be add, replace or remove"))?;
    match (op, &path, &value) {
        (Op::Remove, None, _) => Err(ScimError::no_target(format!(
            "Operations[{index}]: remove needs a path that says what to remove."
        ))),
        (Op::Add | Op::Replace, _, None) => Err(ScimError::invalid_value(format!(
            "Operations[{index}]: add and replace need a value."
        ))),
        (Op::Add | Op::Replace, None, Some(value)) if !value.is_object() => {
            Err(ScimError::invalid_value(format!(
                "Operations[{index}]: without a path the value must be an object."
            )))
        }
        _ => Ok(Operation { op, path, value }),
    }
}

/// Applies the operations in order to a copy of `resource` (canonical, read-only attributes may stand in it):
/// all of them, or none.
pub fn apply(
    resource_type: &ResourceType,
    resource: &Map<String, Value>,
    operations: &[Operation],
) -> Result<Map<String, Value>, ScimError> {
    if operations.len() > MAX_OPERATIONS {
        return Err(ScimError::new(
            413,
            format!("One PATCH may hold at most {MAX_OPERATIONS} operations here."),
        ));
    }
    let mut changed = resource.clone();
    let looks = Looks(Cell::new(MAX_LOOKS));
    for operation in operations {
        match (&operation.path, &operation.value) {
            (Some(path), value) => {
                one(
                    resource_type,
                    &mut changed,
                    path,
                    operation.op,
                    value.as_ref(),
                    true,
                    &looks,
                )?;
            }
            (None, Some(Value::Object(entries))) => {
                for (name, value) in without_path(resource_type, entries)? {
                    // A key that is no path names nothing that is known here.
                    let Ok(path) = Path::parse(name) else {
                        continue;
                    };
                    one(
                        resource_type,
                        &mut changed,
                        &path,
                        operation.op,
                        Some(value),
                        false,
                        &looks,
                    )?;
                }
            }
            // `parse` lets nothing else through.
            (None, _) => return Err(ScimError::no_target("The operation needs a path.")),
        }
    }
    resource::require(resource_type, &changed)?;
    Ok(changed)
}

/// What an operation without a path names: its entries, and in the place of the core schema's URN what stands
/// under it, as those are the resource's own attributes.
pub fn without_path<'a>(
    resource_type: &ResourceType,
    entries: &'a Map<String, Value>,
) -> Result<Vec<(&'a String, &'a Value)>, ScimError> {
    let mut named = Vec::new();
    for (name, value) in entries {
        if !name.eq_ignore_ascii_case(resource_type.schema.id) {
            named.push((name, value));
        } else if let Value::Object(own) = value {
            named.extend(own);
        } else {
            return Err(ScimError::invalid_value(format!(
                "{name} must be an object."
            )));
        }
    }
    Ok(named)
}

/// What is left of [`MAX_LOOKS`].
struct Looks(Cell<usize>);

impl Looks {
    fn spend(&self, bytes: usize) -> Result<(), ScimError> {
        let left = self.0.get().checked_sub(bytes).ok_or_else(|| {
            let detail = "The operations look through too much together: send fewer of them, with simpler \
                          filters, or shorter texts.";
            ScimError::new(413, detail)
        })?;
        self.0.set(left);
        Ok(())
    }
}

/// Where in a container an operation works.
struct Place<'a> {
    looks: &'a Looks,
    extension: Option<&'static Schema>,
    attribute: &'static Attribute,
    sub: Option<&'static Attribute>,
    path: &'a Path,
}

impl Place<'_> {
    /// What messages call the attribute: with its URN where it is one of an extension.
    fn name(&self) -> String {
        match self.extension {
            Some(schema) => format!("{}:{}", schema.id, self.attribute.name),
            None => self.attribute.name.to_owned(),
        }
    }
}

/// Applies one operation to what `path` names. Where the client did not write the path itself
/// (`explicit` is false), what is unknown or read-only is passed over: Okta sends `id` that way.
fn one(
    resource_type: &ResourceType,
    resource: &mut Map<String, Value>,
    path: &Path,
    op: Op,
    value: Option<&Value>,
    explicit: bool,
    looks: &Looks,
) -> Result<(), ScimError> {
    let unknown = || {
        if explicit {
            Err(ScimError::invalid_path(format!(
                "{} has no attribute {path}.",
                resource_type.name
            )))
        } else {
            Ok(())
        }
    };
    let read_only = || {
        if explicit {
            Err(ScimError::mutability(format!("{path} is read-only.")))
        } else {
            Ok(())
        }
    };
    match resource_type.resolve(&path.attribute) {
        None => unknown(),
        Some(Target::Extension(schema)) => {
            if schema
                .attributes
                .iter()
                .all(|part| part.mutability == Mutability::ReadOnly)
            {
                return read_only();
            }
            if path.filter.is_some() || path.sub.is_some() {
                return unknown();
            }
            whole_extension(resource, schema, op, value, looks)
        }
        Some(Target::Attribute {
            extension,
            attribute,
            ..
        }) => {
            if list::only_labels_the_one(attribute, path) {
                return Ok(());
            }
            let sub = match &path.sub {
                None => None,
                Some(name) => match attribute.sub_attribute(name) {
                    Some(sub) => Some(sub),
                    None => return unknown(),
                },
            };
            let is_read_only = |part: &Attribute| part.mutability == Mutability::ReadOnly;
            if is_read_only(attribute) || sub.is_some_and(is_read_only) {
                return read_only();
            }
            let place = Place {
                looks,
                extension,
                attribute,
                sub,
                path,
            };
            match extension {
                None => change(resource, &place, op, value),
                Some(schema) => within(resource, schema, |container| {
                    change(container, &place, op, value)
                }),
            }
        }
    }
}

/// Works on an extension's object, which is there exactly while it holds something.
fn within(
    resource: &mut Map<String, Value>,
    schema: &Schema,
    work: impl FnOnce(&mut Map<String, Value>) -> Result<(), ScimError>,
) -> Result<(), ScimError> {
    let mut container = match resource.remove(schema.id) {
        Some(Value::Object(container)) => container,
        _ => Map::new(),
    };
    work(&mut container)?;
    if !container.is_empty() {
        resource.insert(schema.id.to_owned(), Value::Object(container));
    }
    Ok(())
}

fn whole_extension(
    resource: &mut Map<String, Value>,
    schema: &'static Schema,
    op: Op,
    value: Option<&Value>,
    looks: &Looks,
) -> Result<(), ScimError> {
    match (op, value) {
        (Op::Remove, _) | (Op::Replace, Some(Value::Null)) => {
            resource.remove(schema.id);
            Ok(())
        }
        (_, Some(Value::Object(entries))) => within(resource, schema, |container| {
            for (name, value) in entries {
                let Ok(path) = Path::parse(name) else {
                    continue;
                };
                let known = schema
                    .attributes
                    .iter()
                    .find(|attribute| attribute.name.eq_ignore_ascii_case(&path.attribute.name));
                let Some(attribute) = known else { continue };
                let sub = match &path.sub {
                    None => None,
                    Some(name) => match attribute.sub_attribute(name) {
                        Some(sub) => Some(sub),
                        None => continue,
                    },
                };
                change(
                    container,
                    &Place {
                        looks,
                        extension: Some(schema),
                        attribute,
                        sub,
                        path: &path,
                    },
                    op,
                    Some(value),
                )?;
            }
            Ok(())
        }),
        (Op::Add, Some(Value::Null)) => Ok(()),
        _ => Err(ScimError::invalid_value(format!(
            "{} must be an object.",
            schema.id
        ))),
    }
}

/// Applies one operation to one attribute of `container`.
fn change(
    container: &mut Map<String, Value>,
    place: &Place<'_>,
    op: Op,
    value: Option<&Value>,
) -> Result<(), ScimError> {
    let attribute = place.attribute;
    if attribute.multi_valued {
        return list::change(container, place, op, value);
    }
    if place.path.filter.is_some() {
        return Err(ScimError::invalid_path(format!(
            "{} has one value; {} has a filter.",
            place.name(),
            place.path
        )));
    }
    match place.sub {
        None if op == Op::Remove => {
            removable(attribute, place)?;
            container.remove(attribute.name);
        }
        None if attribute.kind == Type::Complex => {
            merge_parts(container, place, op, value.unwrap_or(&Value::Null))?;
        }
        None => assign(container, attribute, op, value, &place.name())?,
        Some(sub) => {
            let mut parts = match container.remove(attribute.name) {
                Some(Value::Object(parts)) => parts,
                _ => Map::new(),
            };
            if op == Op::Remove {
                removable(sub, place)?;
                parts.remove(sub.name);
            } else {
                assign(
                    &mut parts,
                    sub,
                    op,
                    value,
                    &format!("{}.{}", place.name(), sub.name),
                )?;
            }
            if !parts.is_empty() {
                container.insert(attribute.name.to_owned(), Value::Object(parts));
            }
        }
    }
    Ok(())
}

fn removable(attribute: &Attribute, place: &Place<'_>) -> Result<(), ScimError> {
    if attribute.required {
        return Err(ScimError::mutability(format!(
            "{} is required.",
            place.path
        )));
    }
    Ok(())
}

/// Sets a simple value; an empty one takes it away, where the operation replaces.
fn assign(
    container: &mut Map<String, Value>,
    attribute: &Attribute,
    op: Op,
    value: Option<&Value>,
    at: &str,
) -> Result<(), ScimError> {
    match accept(attribute, value.cloned().unwrap_or(Value::Null), at)? {
        Some(value) => {
            let before = container.get(attribute.name);
            if attribute.mutability == Mutability::Immutable
                && before.is_some_and(|before| *before != value)
            {
                return Err(ScimError::mutability(format!("{at} can't change.")));
            }
            container.insert(attribute.name.to_owned(), value);
        }
        None if op == Op::Add => {}
        None if attribute.required => {
            return Err(ScimError::invalid_value(format!("{at} is required.")));
        }
        None => {
            container.remove(attribute.name);
        }
    }
    Ok(())
}

/// Add and replace on an object: the parts that are named change, the others stay.
fn merge_parts(
    container: &mut Map<String, Value>,
    place: &Place<'_>,
    op: Op,
    value: &Value,
) -> Result<(), ScimError> {
    let attribute = place.attribute;
    let accepted = accept(attribute, value.clone(), &place.name())?;
    let mut parts = match container.remove(attribute.name) {
        Some(Value::Object(parts)) => parts,
        _ => Map::new(),
    };
    match (value, op) {
        // A part that is named as empty is taken away.
        (Value::Object(sent), Op::Replace) => {
            for name in sent.keys() {
                if let Some(part) = attribute.sub_attribute(name) {
                    parts.remove(part.name);
                }
            }
        }
        (Value::Null, Op::Replace) => parts.clear(),
        (Value::String(text), Op::Replace) if text.is_empty() => parts.clear(),
        // A text stands for the whole (Entra's manager): what was said of another one does not fit it.
        (Value::String(_), _) => {
            if let Some(Value::Object(accepted)) = &accepted
                && accepted
                    .iter()
                    .any(|(name, value)| parts.get(name) != Some(value))
            {
                parts.clear();
            }
        }
        _ => {}
    }
    if let Some(Value::Object(accepted)) = accepted {
        parts.extend(accepted);
    }
    if !parts.is_empty() {
        container.insert(attribute.name.to_owned(), Value::Object(parts));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
