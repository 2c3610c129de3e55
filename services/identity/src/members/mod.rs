//! Members: the people on a site's team.

mod entitlements;
mod fields;
mod profile;
pub(crate) mod rpc;
mod store;

use chrono::{DateTime, Utc};
use identity_proto::v1 as pb;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(crate) use self::{
    entitlements::{Entitled, EntitlementChange},
    profile::Profile,
    store::{require, was_ever},
};
use crate::{
    access::{self, Target},
    batch::Batch,
    context::RequestContext,
    error::{Error, Kind, Taken},
    events::NewEvent,
    filter::{Listed, Query},
    ids::{GroupId, MemberId},
    names::{self, Name},
    receipt::{Effect, Receipt},
    requests::Answer,
    site_tx::{Identity, SiteTx},
    sites::{UnassignedReach, keep_an_owner},
    wire,
};

/// A member, with all that shows of groups and access.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) user_name: Name,
    pub(crate) external_id: Option<String>,
    pub(crate) active: bool,
    pub(crate) profile: Profile,
    pub(crate) version: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) groups: Vec<(GroupId, String)>,
    /// What the member's grants give; in force only while the member is active.
    pub(crate) roles: Vec<Target>,
    pub(crate) business_entities: Vec<Target>,
    /// What the member's own entitlement attribute gives, by name.
    pub(crate) entitled: Vec<Entitled>,
    pub(crate) is_owner: bool,
    pub(crate) is_admin: bool,
}

/// A member to make.
#[derive(Clone, Debug)]
pub(crate) struct NewMember {
    pub(crate) user_name: Name,
    pub(crate) external_id: Option<String>,
    pub(crate) active: bool,
    pub(crate) profile: Profile,
    pub(crate) entitlements: EntitlementChange,
}

/// Attributes to change; what is absent stays.
#[derive(Clone, Debug)]
pub(crate) struct MemberChange {
    pub(crate) id: MemberId,
    pub(crate) user_name: Option<Name>,
    pub(crate) external_id: Option<Option<String>>,
    pub(crate) active: Option<bool>,
    pub(crate) profile: Option<Profile>,
    pub(crate) entitlements: EntitlementChange,
    pub(crate) if_versions: Vec<i64>,
}

/// A member as a request names it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum MemberName {
    Id(MemberId),
    /// The key of a user name.
    UserName(String),
}

impl NewMember {
    pub(crate) fn read(member: pb::Member) -> Result<Self, Error> {
        let entitlements = member.entitlements.unwrap_or_default();
        let mut profile = Profile::read(member.profile.unwrap_or_default())?;
        if !member.active {
            profile.show_activity();
        }
        Ok(Self {
            entitlements: EntitlementChange {
                roles: Some(rpc::read_roles(entitlements.roles)?),
                business_entities: Some(rpc::read_entities(entitlements.business_entities)?),
            },
            user_name: Name::user_name(&member.user_name)?,
            external_id: names::external_id(&member.external_id)?,
            active: member.active,
            profile,
        })
    }

    /// Refuses a person without a name.
    pub(crate) fn require_name(&self) -> Result<(), Error> {
        if self.profile.has_full_name() {
            return Ok(());
        }
        Err(Error::invalid(
            "profile.name",
            "must have a given and a family name",
        ))
    }
}

impl Member {
    /// What an event says of a member who was made or deleted.
    pub(crate) fn summary(&self) -> Value {
        json!({
            "id": self.id.uuid(),
            "user_name": self.user_name.as_str(),
            "external_id": self.external_id,
            "active": self.active,
            "profile": self.profile.to_json(),
            "entitlements": self.entitlements(),
        })
    }

    fn entitlements(&self) -> Value {
        self.entitled
            .iter()
            .map(|Entitled { target, .. }| {
                json!({ "kind": target.id.kind_name(), "id": target.id.uuid(), "name": target.name })
            })
            .collect()
    }

    /// Everything the grants give.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.roles.iter().chain(&self.business_entities)
    }

    /// The part of the ETag that follows from groups and access, computed when read: a change of a
    /// group touches no member's row.
    fn digest(&self, access: &pb::EffectiveAccess) -> String {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        for (id, name) in &self.groups {
            add(&id.to_string());
            add(name);
        }
        for (kind, list) in [("r", &access.roles), ("e", &access.business_entities)] {
            for named in list {
                add(kind);
                add(&named.id);
                add(&named.name);
            }
        }
        add(&access.reach.to_string());
        for entitled in &self.entitled {
            add(&entitled.target.id.uuid().to_string());
            add(&entitled.target.name);
        }
        hash.finalize()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// As the contract shows it, on a site with this division.
    pub(crate) fn into_proto(self, division: Option<UnassignedReach>) -> pb::Member {
        let access = access::effective(&self, division);
        pb::Member {
            id: self.id.to_string(),
            etag: format!("{}-{}", self.version, self.digest(&access)),
            user_name: self.user_name.as_str().to_owned(),
            external_id: self.external_id.unwrap_or_default(),
            active: self.active,
            profile: Some(self.profile.into_proto()),
            version: self.version,
            create_time: Some(wire::timestamp(self.created_at)),
            update_time: Some(wire::timestamp(self.updated_at)),
            groups: self
                .groups
                .into_iter()
                .map(|(id, display_name)| pb::MemberGroup {
                    id: id.to_string(),
                    display_name,
                })
                .collect(),
            access: Some(access),
            entitlements: Some(show_entitlements(&self.entitled)),
        }
    }
}

fn show_entitlements(entitled: &[Entitled]) -> pb::Entitlements {
    let named = |of_role: bool| -> Vec<pb::NamedRef> {
        entitled
            .iter()
            .filter(|entitled| entitled.target.id.role().is_some() == of_role)
            .map(|Entitled { target, .. }| pb::NamedRef {
                id: target.id.uuid().to_string(),
                name: target.name.clone(),
            })
            .collect()
    };
    pb::Entitlements {
        roles: named(true),
        business_entities: named(false),
    }
}

/// Makes a member, in a transaction that records it.
pub(crate) fn insert(tx: &mut SiteTx<'_, '_>, new: &NewMember) -> Result<Member, Error> {
    let id = MemberId::new();
    if let Some(taken) = store::insert(tx, id, new)? {
        return Err(Error::AlreadyExists {
            what: Taken::UserName,
            id: taken.uuid(),
            display_name: None,
        });
    }
    Ok(Member {
        id,
        user_name: new.user_name.clone(),
        external_id: new.external_id.clone(),
        active: new.active,
        profile: new.profile.clone(),
        version: tx.next_event(),
        created_at: tx.now,
        updated_at: tx.now,
        groups: Vec::new(),
        roles: Vec::new(),
        business_entities: Vec::new(),
        entitled: Vec::new(),
        is_owner: false,
        is_admin: false,
    })
}

/// Makes a member.
pub(crate) async fn create<M: Answer>(
    identity: &Identity,
    context: RequestContext,
    input: Result<NewMember, Error>,
    answer: fn((Member, Option<UnassignedReach>), Receipt) -> M,
) -> Result<M, Error> {
    let make = |tx: &mut SiteTx<'_, '_>, new: &NewMember| {
        if !tx.provisions() {
            new.require_name()?;
        }
        let mut member = insert(tx, new)?;
        new.entitlements.apply(tx, &mut member)?;
        let mut effect = Effect::of_one_member();
        push_difference(&mut effect, None, Some(&member));
        tx.record(NewEvent {
            kind: "member.created",
            subject: member.id.uuid(),
            before: json!({}),
            after: member.summary(),
            effect: &effect,
        })?;
        Ok(((member, tx.site.division), effect))
    };
    identity.make(context, input, make, answer).await
}

/// What was read of members, and what else shows it.
pub(crate) struct Read<T> {
    pub(crate) value: T,
    pub(crate) division: Option<UnassignedReach>,
    pub(crate) revision: i64,
}

impl<T> Read<T> {
    fn of(tx: &SiteTx<'_, '_>, value: T) -> Self {
        Self {
            value,
            division: tx.site.division,
            revision: tx.site.revision,
        }
    }
}

/// Reads a member.
pub(crate) async fn get(
    identity: &Identity,
    context: RequestContext,
    input: Result<MemberName, Error>,
) -> Result<Read<Member>, Error> {
    identity
        .read(context, input, |tx, name| {
            let member = require(tx, name)?;
            Ok(Read::of(tx, member))
        })
        .await
}

/// Members as a request names them.
pub(crate) type Named = Batch<pb::MemberRef, MemberName>;

/// Reads several members: those who are there, and the names of the others.
pub(crate) async fn get_several(
    identity: &Identity,
    context: RequestContext,
    input: Result<Named, Error>,
) -> Result<Read<(Vec<Member>, Vec<pb::MemberRef>)>, Error> {
    identity
        .read(context, input, |tx, named| {
            let found = store::get_several(tx, named)?;
            let arranged = named.arrange(found, |member| {
                let user_name = member.user_name.key().to_owned();
                [MemberName::Id(member.id), MemberName::UserName(user_name)]
            });
            Ok(Read::of(tx, arranged))
        })
        .await
}

/// Lists members.
pub(crate) async fn list(
    identity: &Identity,
    context: RequestContext,
    input: Result<Query, Error>,
) -> Result<Read<Listed<Member>>, Error> {
    identity
        .read(context, input, |tx, query| {
            let page = query.page(
                tx,
                tx.site_id(),
                |member: &Member| member.id.uuid(),
                |tx, rows| store::list(tx, query, rows),
                |tx| store::count(tx, query),
            )?;
            Ok(Read::of(tx, page))
        })
        .await
}

/// Changes a member; what is as asked already changes nothing.
pub(crate) async fn update(
    identity: &Identity,
    context: RequestContext,
    input: Result<MemberChange, Error>,
) -> Result<((Member, Option<UnassignedReach>), Receipt), Error> {
    identity
        .write(context, input, |tx, change| {
            let before = require(tx, &MemberName::Id(change.id))?;
            wire::check_version(before.version, &change.if_versions)?;
            let mut after = before.clone();
            if let Some(user_name) = &change.user_name {
                after.user_name = user_name.clone();
            }
            if let Some(external_id) = &change.external_id {
                after.external_id = external_id.clone();
            }
            if let Some(active) = change.active {
                after.active = active;
            }
            if let Some(profile) = &change.profile {
                after.profile = profile
                    .clone()
                    .succeeding(&before.profile, &after.user_name);
                if change.active.is_none() {
                    after.profile.keep_activity_hidden(&before.profile);
                }
            }
            if change.active.is_some() && change.profile.is_none() {
                after.profile.show_activity();
            }
            change.entitlements.apply(tx, &mut after)?;
            let (was, is) = differences(&before, &after);
            if is.as_object().is_none_or(serde_json::Map::is_empty) {
                return Ok(((before, tx.site.division), Effect::default()));
            }
            check_owner(tx, &before, &after)?;
            if let Some(taken) = store::update(tx, &before, &after)? {
                return Err(Error::AlreadyExists {
                    what: Taken::UserName,
                    id: taken.uuid(),
                    display_name: None,
                });
            }
            after.version = tx.next_event();
            after.updated_at = tx.now;
            let kind = match (before.active, after.active) {
                (true, false) => "member.deactivated",
                (false, true) => "member.reactivated",
                _ => "member.updated",
            };
            let mut effect = Effect::of_one_member();
            push_difference(&mut effect, Some(&before), Some(&after));
            tx.record(NewEvent {
                kind,
                subject: after.id.uuid(),
                before: was,
                after: is,
                effect: &effect,
            })?;
            Ok(((after, tx.site.division), effect))
        })
        .await
}

/// Puts into an effect what a member has now and had not before, and the other way round; none is a
/// member that was not there.
fn push_difference(effect: &mut Effect, before: Option<&Member>, after: Option<&Member>) {
    let in_force = |member: Option<&Member>| -> Vec<Target> {
        member
            .filter(|member| member.active)
            .map(|member| member.targets().cloned().collect())
            .unwrap_or_default()
    };
    let (had, has) = (in_force(before), in_force(after));
    let Some(id) = after.or(before).map(|member| member.id) else {
        return;
    };
    for target in has.iter().filter(|target| !had.contains(target)) {
        effect.push(target.clone(), vec![id], vec![]);
    }
    for target in had.iter().filter(|target| !has.contains(target)) {
        effect.push(target.clone(), vec![], vec![id]);
    }
}

/// The attributes that differ, as they were and as they are.
fn differences(before: &Member, after: &Member) -> (Value, Value) {
    let mut was = serde_json::Map::new();
    let mut is = serde_json::Map::new();
    let mut compare = |name: &str, old: Value, new: Value| {
        if old != new {
            was.insert(name.to_owned(), old);
            is.insert(name.to_owned(), new);
        }
    };
    compare(
        "user_name",
        before.user_name.as_str().into(),
        after.user_name.as_str().into(),
    );
    compare(
        "external_id",
        json!(before.external_id),
        json!(after.external_id),
    );
    compare("active", before.active.into(), after.active.into());
    compare("entitlements", before.entitlements(), after.entitlements());
    compare("profile", before.profile.to_json(), after.profile.to_json());
    (was.into(), is.into())
}

/// The rules about Owners that a change of attributes can break.
fn check_owner(tx: &mut SiteTx<'_, '_>, before: &Member, after: &Member) -> Result<(), Error> {
    if !before.is_owner {
        return Ok(());
    }
    // Who signs in by an Owner's user name is that Owner: changing it is as much as giving the role.
    if !tx.gives_owner() && before.user_name.key() != after.user_name.key() {
        return Err(Error::OwnerUserName);
    }
    if before.active && !after.active {
        keep_an_owner(tx, before.id)?;
    }
    Ok(())
}

/// Deletes a member: ends all its grants and memberships, and frees its user name.
pub(crate) async fn delete(
    identity: &Identity,
    context: RequestContext,
    input: Result<(MemberId, Vec<i64>), Error>,
) -> Result<((), Receipt), Error> {
    identity
        .write(context, input, |tx, (id, if_versions)| {
            let member = require(tx, &MemberName::Id(*id))?;
            wire::check_version(member.version, if_versions)?;
            if member.is_owner && member.active {
                keep_an_owner(tx, member.id)?;
            }
            store::delete(tx, member.id)?;
            let mut effect = Effect::of_one_member();
            push_difference(&mut effect, Some(&member), None);
            tx.record(NewEvent {
                kind: "member.deleted",
                subject: id.uuid(),
                before: member.summary(),
                after: json!({}),
                effect: &effect,
            })?;
            Ok(((), effect))
        })
        .await
}

/// A member that must be there.
pub(crate) fn not_found() -> Error {
    Error::NotFound(Kind::Member)
}
