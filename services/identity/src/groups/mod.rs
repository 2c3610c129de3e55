//! Groups: sets of members as the identity provider pushed them, each bound to at most one target.

mod fields;
mod membership;
pub(crate) mod rpc;
mod store;
mod target;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use self::membership::Moved;
pub(crate) use self::{
    membership::{MemberIds, Membership},
    store::target_names,
    target::TargetByName,
};
use crate::{
    access::Target,
    batch::Batch,
    context::RequestContext,
    error::{Error, Kind, Taken},
    events::NewEvent,
    filter::{Listed, Query},
    ids::{GroupId, MemberId},
    names::Name,
    receipt::{Effect, Receipt},
    requests::Answer,
    site_tx::{Identity, SiteTx},
    wire,
};

/// A group. `members` is empty where they were not asked for.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) display_name: String,
    pub(crate) external_id: Option<String>,
    pub(crate) target: Option<Target>,
    pub(crate) version: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) members: Vec<MemberId>,
}

/// A group to make.
#[derive(Clone, Debug)]
pub(crate) struct NewGroup {
    pub(crate) display_name: Name,
    pub(crate) target: TargetByName,
    pub(crate) external_id: Option<String>,
    pub(crate) members: MemberIds,
}

/// What to change of a group; what is absent stays.
#[derive(Clone, Debug)]
pub(crate) struct GroupChange {
    pub(crate) id: GroupId,
    pub(crate) display_name: Option<(Name, TargetByName)>,
    pub(crate) external_id: Option<Option<String>>,
    pub(crate) membership: Option<Membership>,
    pub(crate) if_versions: Vec<i64>,
    /// Whether the answer is to hold the members.
    pub(crate) with_members: bool,
}

impl Group {
    fn attributes(&self) -> Map<String, Value> {
        let target = self.target.as_ref().map(|target| {
            json!({ "kind": target.id.kind_name(), "id": target.id.uuid(), "name": target.name })
        });
        let mut attributes = Map::new();
        attributes.insert("display_name".to_owned(), self.display_name.as_str().into());
        attributes.insert("external_id".to_owned(), json!(self.external_id));
        attributes.insert("target".to_owned(), json!(target));
        attributes
    }
}

/// Makes a group.
pub(crate) async fn create<M: Answer>(
    identity: &Identity,
    context: RequestContext,
    input: Result<NewGroup, Error>,
    answer: fn(Group, Receipt) -> M,
) -> Result<M, Error> {
    let make = |tx: &mut SiteTx<'_, '_>, new: &NewGroup| {
        let target = target::resolve(tx, &new.target, None)?;
        let mut group = Group {
            id: GroupId::new(),
            display_name: new.display_name.as_str().to_owned(),
            external_id: new.external_id.clone(),
            target,
            version: tx.next_event(),
            created_at: tx.now,
            updated_at: tx.now,
            members: Vec::new(),
        };
        if let Some(other) = store::insert(tx, &group, &new.display_name)? {
            return Err(name_taken(other));
        }
        let moved = membership::add(tx, &group, &new.members)?;
        let mut effect = Effect {
            members: moved.touched(),
            unknown: moved.unknown.clone(),
            ..Effect::default()
        };
        if let Some(target) = &group.target {
            effect.push(target.clone(), moved.gained.clone(), vec![]);
        }
        let mut after = group.attributes();
        describe(&moved, &mut after);
        tx.record(NewEvent {
            kind: "group.created",
            subject: group.id.uuid(),
            before: json!({}),
            after: after.into(),
            effect: &effect,
        })?;
        group.members = moved.added;
        group.members.sort_unstable();
        Ok((group, effect))
    };
    identity.make(context, input, make, answer).await
}

fn name_taken((id, display_name): (GroupId, String)) -> Error {
    Error::AlreadyExists {
        what: Taken::GroupName,
        id: id.uuid(),
        display_name: Some(display_name),
    }
}

/// Puts who came and who left into an event.
fn describe(moved: &Moved, after: &mut Map<String, Value>) {
    let ids =
        |members: &[MemberId]| -> Vec<String> { members.iter().map(ToString::to_string).collect() };
    if !moved.added.is_empty() {
        after.insert("added_member_ids".to_owned(), json!(ids(&moved.added)));
    }
    if !moved.removed.is_empty() {
        after.insert("removed_member_ids".to_owned(), json!(ids(&moved.removed)));
    }
}

fn require(tx: &mut SiteTx<'_, '_>, id: GroupId) -> Result<Group, Error> {
    store::get(tx, id, false)?.ok_or(Error::NotFound(Kind::Group))
}

/// Reads a group; and the site's revision.
pub(crate) async fn get(
    identity: &Identity,
    context: RequestContext,
    input: Result<(GroupId, bool), Error>,
) -> Result<(Group, i64), Error> {
    identity
        .read(context, input, |tx, (id, with_members)| {
            let group = store::get(tx, *id, *with_members)?.ok_or(Error::NotFound(Kind::Group))?;
            Ok((group, tx.site.revision))
        })
        .await
}

/// Reads several groups, without their members: those that are there, and the ids of the others; and the
/// site's revision.
pub(crate) async fn get_several(
    identity: &Identity,
    context: RequestContext,
    input: Result<Batch<String, GroupId>, Error>,
) -> Result<((Vec<Group>, Vec<String>), i64), Error> {
    identity
        .read(context, input, |tx, named| {
            let found = store::get_several(tx, named)?;
            Ok((named.arrange(found, |group| [group.id]), tx.site.revision))
        })
        .await
}

/// Lists groups, with their members or without; and tells the site's revision.
pub(crate) async fn list(
    identity: &Identity,
    context: RequestContext,
    input: Result<(Query, bool), Error>,
) -> Result<(Listed<Group>, i64), Error> {
    identity
        .read(context, input, |tx, (query, with_members)| {
            let page = query.page(
                tx,
                tx.site_id(),
                |group: &Group| group.id.uuid(),
                |tx, rows| store::list(tx, query, rows, *with_members),
                |tx| store::count(tx, query),
            )?;
            Ok((page, tx.site.revision))
        })
        .await
}

/// Changes a group: its name and target, its external id, its membership; all of it or nothing. What
/// is as asked already changes nothing.
pub(crate) async fn update(
    identity: &Identity,
    context: RequestContext,
    input: Result<GroupChange, Error>,
) -> Result<(Group, Receipt), Error> {
    identity
        .write(context, input, |tx, change| {
            let before = require(tx, change.id)?;
            wire::check_version(before.version, &change.if_versions)?;
            let mut after = before.clone();
            // A name equal to the stored one is never read again, whatever was renamed since: it comes
            // with every membership push.
            let renamed = change
                .display_name
                .as_ref()
                .filter(|(name, _)| name.as_str() != before.display_name);
            if let Some((name, by_name)) = renamed {
                after.target = target::resolve(tx, by_name, Some(before.id))?;
                after.display_name = name.as_str().to_owned();
            }
            if let Some(external_id) = &change.external_id {
                after.external_id = external_id.clone();
            }
            let moved = match &change.membership {
                Some(membership) => membership::apply(tx, &before, membership)?,
                None => Moved::default(),
            };
            let same_attributes = before.attributes() == after.attributes();
            if !same_attributes
                && let Some(other) =
                    store::update(tx, &before, &after, renamed.map(|(name, _)| name))?
            {
                return Err(name_taken(other));
            }
            let effect = if !same_attributes || moved.touched() > 0 {
                let effect = record_update(tx, &before, &after, &moved)?;
                after.version = tx.site.revision;
                after.updated_at = tx.now;
                effect
            } else {
                Effect {
                    unknown: moved.unknown,
                    ..Effect::default()
                }
            };
            if change.with_members {
                after.members = store::member_ids(tx, after.id)?;
            }
            Ok((after, effect))
        })
        .await
}

/// Writes the event of an update and answers with its effect.
fn record_update(
    tx: &mut SiteTx<'_, '_>,
    before: &Group,
    after: &Group,
    moved: &Moved,
) -> Result<Effect, Error> {
    let old = before.target.as_ref().map(|target| target.id);
    let new = after.target.as_ref().map(|target| target.id);
    let mut effect = Effect {
        members: moved.touched(),
        unknown: moved.unknown.clone(),
        ..Effect::default()
    };
    if old == new {
        if let Some(target) = &after.target {
            effect.push(target.clone(), moved.gained.clone(), moved.lost.clone());
        }
    } else {
        // The whole membership moves: who was in loses the old target, who is in gains the new one.
        let now_in = store::member_ids(tx, after.id)?;
        let was_in = moved.undo(&now_in);
        if let Some(target) = &before.target {
            let lost = store::with_no_other_grant(tx, &was_in, target.id)?;
            effect.push(target.clone(), vec![], lost);
        }
        if let Some(target) = &after.target {
            let gained = store::with_no_other_grant(tx, &now_in, target.id)?;
            effect.push(target.clone(), gained, vec![]);
        }
        effect.members = now_in.len() + moved.removed.len();
    }
    let (mut was, mut is) = (before.attributes(), after.attributes());
    was.retain(|name, value| after.attributes().get(name) != Some(value));
    is.retain(|name, _| was.contains_key(name));
    describe(moved, &mut is);
    tx.record(NewEvent {
        kind: "group.updated",
        subject: after.id.uuid(),
        before: was.into(),
        after: is.into(),
        effect: &effect,
    })?;
    Ok(effect)
}

/// Deletes a group: ends what it granted and leaves the members.
pub(crate) async fn delete(
    identity: &Identity,
    context: RequestContext,
    input: Result<(GroupId, Vec<i64>), Error>,
) -> Result<((), Receipt), Error> {
    identity
        .write(context, input, |tx, (id, if_versions)| {
            let group = require(tx, *id)?;
            wire::check_version(group.version, if_versions)?;
            let members = store::delete(tx, group.id)?;
            let mut effect = Effect {
                members: members.len(),
                ..Effect::default()
            };
            if let Some(target) = &group.target {
                let lost = store::with_no_other_grant(tx, &members, target.id)?;
                effect.push(target.clone(), vec![], lost);
            }
            let moved = Moved {
                removed: members,
                ..Moved::default()
            };
            let mut after = Map::new();
            describe(&moved, &mut after);
            tx.record(NewEvent {
                kind: "group.deleted",
                subject: id.uuid(),
                before: group.attributes().into(),
                after: after.into(),
                effect: &effect,
            })?;
            Ok(((), effect))
        })
        .await
}
