//! A PATCH of a group, folded into one change: a new name, a new external id, and what becomes of the membership.
//!
//! Nearly every PATCH says what it changes without knowing the group: add these, remove those, have exactly
//! these. It is folded blind, and costs one call. Only a filter on members that is not just a list of ids needs
//! the present members; then the caller reads the group and folds again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use identity_proto::v1::{ExactMembership, MembershipDelta, update_group_request::Membership};
use scim_protocol::{
    ScimError,
    filter::{Filter, Literal, Operator},
    group::GROUP,
    patch::{self, Op, Operation},
    path::Path,
    schema::{Mutability, Target},
};
use serde_json::Value;

use super::{
    Site,
    group::{element, member_ids},
};

/// What a PATCH makes of a group. What is none stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct GroupChange {
    pub(crate) display_name: Option<String>,
    /// Empty to clear it.
    pub(crate) external_id: Option<String>,
    members: Members,
}

#[derive(Clone, Debug, Default, PartialEq)]
enum Members {
    /// Nobody spoke of them.
    #[default]
    Same,
    /// In (`true`) or out, by id; the last word counts.
    Delta(BTreeMap<String, bool>),
    /// Exactly these.
    Exactly(BTreeSet<String>),
}

impl GroupChange {
    /// What becomes of the membership, as the contract says it.
    pub(crate) fn membership(&self) -> Option<Membership> {
        match &self.members {
            Members::Same => None,
            Members::Delta(changes) => {
                let ids = |wanted: bool| {
                    changes
                        .iter()
                        .filter(move |change| *change.1 == wanted)
                        .map(|change| change.0.clone())
                };
                Some(Membership::Delta(MembershipDelta {
                    add_member_ids: ids(true).collect(),
                    remove_member_ids: ids(false).collect(),
                }))
            }
            Members::Exactly(ids) => Some(Membership::Exactly(ExactMembership {
                member_ids: ids.iter().cloned().collect(),
            })),
        }
    }

    fn set(&mut self, ids: Vec<String>, inside: bool) {
        match &mut self.members {
            Members::Exactly(all) if inside => all.extend(ids),
            Members::Exactly(all) => {
                for id in ids {
                    all.remove(&id);
                }
            }
            Members::Delta(changes) => changes.extend(ids.into_iter().map(|id| (id, inside))),
            Members::Same if ids.is_empty() => {}
            Members::Same => {
                self.members = Members::Delta(ids.into_iter().map(|id| (id, inside)).collect());
            }
        }
    }

    fn replace(&mut self, ids: Vec<String>) {
        self.members = Members::Exactly(ids.into_iter().collect());
    }
}

/// How many conditions members may be held against: each is held against all of them. A condition with a long
/// literal counts as several.
const MAX_LOOKS: usize = 100;

/// A PATCH while it is folded.
struct Fold<'a> {
    change: GroupChange,
    site: &'a Site,
    /// What filters look at, by id, made once for all of them.
    elements: HashMap<String, Value>,
    looks: usize,
}

/// Folds the operations, in order. None where that needs `present`, the members that the group has.
pub(crate) fn fold(
    operations: &[Operation],
    site: &Site,
    present: Option<&[String]>,
) -> Result<Option<GroupChange>, ScimError> {
    let mut fold = Fold {
        change: GroupChange::default(),
        site,
        elements: HashMap::new(),
        looks: 0,
    };
    if let Some(present) = present {
        fold.change.replace(present.to_vec());
    }
    for operation in operations {
        let folded = match (&operation.path, &operation.value) {
            (Some(path), value) => fold.one(path, operation.op, value.as_ref(), true)?,
            (None, Some(Value::Object(entries))) => {
                let mut folded = true;
                for (name, value) in patch::without_path(&GROUP, entries)? {
                    // What is no path names nothing that is known here.
                    let Ok(path) = Path::parse(name) else {
                        continue;
                    };
                    folded &= fold.one(&path, operation.op, Some(value), false)?;
                }
                folded
            }
            (None, _) => return Err(ScimError::no_target("The operation needs a path.")),
        };
        if !folded {
            return Ok(None);
        }
    }
    Ok(Some(fold.change))
}

impl Fold<'_> {
    /// Folds one operation on one attribute; false where it needs to know the members. Where the client did not
    /// write the path itself (`explicit` is false), what is unknown or read-only is passed over: Okta sends `id`.
    fn one(
        &mut self,
        path: &Path,
        op: Op,
        value: Option<&Value>,
        explicit: bool,
    ) -> Result<bool, ScimError> {
        let Some(Target::Attribute { attribute, .. }) = GROUP.resolve(&path.attribute) else {
            if explicit {
                return Err(ScimError::invalid_path(format!(
                    "Group has no attribute {path}."
                )));
            }
            return Ok(true);
        };
        if attribute.mutability == Mutability::ReadOnly {
            if explicit {
                return Err(ScimError::mutability(format!("{path} is read-only.")));
            }
            return Ok(true);
        }
        match attribute.name {
            "members" => return self.members(path, op, value),
            _ if path.filter.is_some() || path.sub.is_some() => {
                return Err(ScimError::invalid_path(format!(
                    "{} is a text.",
                    attribute.name
                )));
            }
            "displayName" => match (op, text("displayName", value)?) {
                (Op::Remove, _) => return Err(ScimError::mutability("displayName is required.")),
                (Op::Add | Op::Replace, None) => {
                    return Err(ScimError::invalid_value("displayName is required."));
                }
                (Op::Add | Op::Replace, name) => self.change.display_name = name,
            },
            "externalId" => match (op, text("externalId", value)?) {
                (Op::Remove, _) | (Op::Replace, None) => {
                    self.change.external_id = Some(String::new())
                }
                (Op::Add, None) => {}
                (Op::Add | Op::Replace, id) => self.change.external_id = id,
            },
            other => return Err(ScimError::mutability(format!("{other} can't change."))),
        }
        Ok(true)
    }

    fn members(&mut self, path: &Path, op: Op, value: Option<&Value>) -> Result<bool, ScimError> {
        if let Some(sub) = &path.sub {
            let known = GROUP
                .core_attribute("members")
                .and_then(|members| members.sub_attribute(sub));
            return Err(match known {
                Some(_) => {
                    ScimError::mutability(format!("{path} can't change; add or remove members."))
                }
                None => ScimError::invalid_path(format!("Group has no attribute {path}.")),
            });
        }
        match (op, &path.filter) {
            (Op::Add, None) => self
                .change
                .set(member_ids(value.unwrap_or(&Value::Null))?, true),
            (Op::Replace, None) => self
                .change
                .replace(member_ids(value.unwrap_or(&Value::Null))?),
            (Op::Remove, None) => match value {
                // Beside a value, even an empty one, the path alone does not mean everybody (Entra).
                Some(value) if !value.is_null() => self.change.set(member_ids(value)?, false),
                _ => self.change.replace(Vec::new()),
            },
            (Op::Remove, Some(filter)) => match named_ids(filter) {
                Some(ids) => self.change.set(ids, false),
                None => return self.remove_selected(filter),
            },
            (Op::Replace, Some(filter)) if is_the_same(filter, value) => {
                // Whether there is such a member, only the present ones tell.
                let Members::Exactly(all) = &self.change.members else {
                    return Ok(false);
                };
                if !named_ids(filter).is_some_and(|ids| ids.iter().all(|id| all.contains(id))) {
                    return Err(ScimError::no_target(format!("No member is {path}.")));
                }
            }
            (Op::Add | Op::Replace, Some(_)) => {
                return Err(ScimError::invalid_path(format!(
                    "{path} can't be written to; add or replace members without a filter."
                )));
            }
        }
        Ok(true)
    }

    /// Removes whom the filter selects; false where that needs to know the members.
    fn remove_selected(&mut self, filter: &Filter) -> Result<bool, ScimError> {
        let Some(members) = GROUP.core_attribute("members") else {
            return Ok(true);
        };
        self.looks += filter.weight();
        if self.looks > MAX_LOOKS {
            return Err(ScimError::new(
                413,
                format!(
                    "One PATCH of a group may hold at most {MAX_LOOKS} conditions in filters that are not just \
                     'value eq \"...\"'."
                ),
            ));
        }
        // A filter that can't hold for anybody is wrong whoever is in the group.
        filter.matches(&element("", self.site), members)?;
        let Members::Exactly(all) = &mut self.change.members else {
            return Ok(false);
        };
        let mut selected = Vec::new();
        for id in all.iter() {
            if !self.elements.contains_key(id) {
                self.elements.insert(id.clone(), element(id, self.site));
            }
            if filter.matches(&self.elements[id], members)? {
                selected.push(id.clone());
            }
        }
        for id in &selected {
            all.remove(id);
        }
        Ok(true)
    }
}

fn text(name: &str, value: Option<&Value>) -> Result<Option<String>, ScimError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok((!text.is_empty()).then(|| text.clone())),
        Some(_) => Err(ScimError::invalid_value(format!("{name} must be a text."))),
    }
}

/// The ids of a filter that only lists them: `value eq "u1" or value eq "u2"`.
fn named_ids(filter: &Filter) -> Option<Vec<String>> {
    match filter {
        Filter::Compare(path, Operator::Eq, Literal::Text(id))
            if path.schema.is_none()
                && path.sub.is_none()
                && path.name.eq_ignore_ascii_case("value") =>
        {
            Some(vec![id.clone()])
        }
        Filter::Or(parts) => {
            let ids: Option<Vec<Vec<String>>> = parts.iter().map(named_ids).collect();
            ids.map(|ids| ids.concat())
        }
        _ => None,
    }
}

/// Whether what is to stand in the place of the one member that a filter names is that member.
fn is_the_same(filter: &Filter, value: Option<&Value>) -> bool {
    match (named_ids(filter).as_deref(), value.map(member_ids)) {
        (Some([before]), Some(Ok(after))) => after == [before.as_str()],
        _ => false,
    }
}

#[cfg(test)]
mod tests;
