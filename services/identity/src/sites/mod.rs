//! Sites: the tenants, their settings, and how they are divided.

pub(crate) mod rpc;
pub(crate) mod store;

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

pub(crate) use self::store::{open, open_itself, version};
use crate::{
    batch::Batch,
    caller::Caller,
    context::RequestContext,
    db::Tx,
    error::{Error, Taken},
    events::NewEvent,
    filter::{Listed, Query},
    grants,
    ids::{MemberId, SiteId},
    members::{self, Member, NewMember},
    names::Name,
    receipt::{Effect, Receipt},
    requests::Answer,
    roles,
    site_tx::{Identity, SiteTx},
    wire,
};

/// How many custom roles a new site may have.
const CUSTOM_ROLE_LIMIT: i32 = 10;
/// The most custom roles that the setting can allow.
pub(crate) const CUSTOM_ROLE_LIMIT_MAX: i32 = 1000;

/// What members without a business entity reach on a divided site.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum UnassignedReach {
    All,
    None,
}

impl UnassignedReach {
    /// Reads what is kept.
    pub(crate) fn parse(kept: &str) -> Result<Self, Error> {
        match kept {
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            other => Err(Error::bug(format!(
                "site_divisions.unassigned_reach is {other}"
            ))),
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::None => "none",
        }
    }
}

/// What happens to a group whose name names no target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum OutsideGroups {
    Refuse,
    Keep,
}

impl OutsideGroups {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Keep => "keep",
        }
    }
}

/// A site.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) id: SiteId,
    pub(crate) domain: String,
    pub(crate) domain_key: String,
    pub(crate) outside_groups: OutsideGroups,
    pub(crate) custom_role_limit: i32,
    /// None: the site is not divided.
    pub(crate) division: Option<UnassignedReach>,
    /// The number of its newest event.
    pub(crate) revision: i64,
    /// The time of its newest event.
    pub(crate) ticked_at: DateTime<Utc>,
    /// When the next of its grants ends by itself.
    pub(crate) next_end: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
}

/// The person who owns a new site.
#[derive(Clone, Debug)]
pub(crate) struct NewSite {
    pub(crate) domain: Name,
    pub(crate) owner: NewMember,
    pub(crate) outside_groups: OutsideGroups,
}

/// Settings to change; what is absent stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct SiteChange {
    pub(crate) unassigned_reach: Option<UnassignedReach>,
    pub(crate) outside_groups: Option<OutsideGroups>,
    pub(crate) custom_role_limit: Option<i32>,
    pub(crate) if_versions: Vec<i64>,
}

/// Makes a site, its built-in roles and its first Owner: one event each for the site and the Owner
/// would leave a moment without an Owner, so the site's own event tells of all three.
pub(crate) async fn create<M: Answer>(
    identity: &Identity,
    context: RequestContext,
    input: Result<NewSite, Error>,
    answer: fn((Site, Member), Receipt) -> M,
) -> Result<M, Error> {
    identity
        .found(
            context,
            input,
            |tx, caller, new| {
                let (mut tx, owner) = found(tx, caller, new)?;
                let mut effect = Effect::of_one_member();
                for role in &owner.roles {
                    effect.push(role.clone(), vec![owner.id], vec![]);
                }
                tx.record(NewEvent {
                    kind: "site.created",
                    subject: tx.site_id(),
                    before: json!({}),
                    after: json!({
                        "domain": new.domain.as_str(),
                        "outside_groups": new.outside_groups.as_str(),
                        "custom_role_limit": CUSTOM_ROLE_LIMIT,
                        "owner": owner.summary(),
                    }),
                    effect: &effect,
                })?;
                let site = tx.site.clone();
                Ok((tx, (site, owner), effect))
            },
            answer,
        )
        .await
}

fn found<'x, 'y>(
    tx: &'x mut Tx<'y>,
    caller: Caller,
    new: &NewSite,
) -> Result<(SiteTx<'x, 'y>, Member), Error> {
    let id = SiteId::new();
    let created_at = match store::insert(tx, id, new, CUSTOM_ROLE_LIMIT)? {
        Ok(created_at) => created_at,
        Err(taken) => {
            return Err(Error::AlreadyExists {
                what: Taken::SiteDomain,
                id: taken,
                display_name: None,
            });
        }
    };
    let site = Site {
        id,
        domain: new.domain.as_str().to_owned(),
        domain_key: new.domain.key().to_owned(),
        outside_groups: new.outside_groups,
        custom_role_limit: CUSTOM_ROLE_LIMIT,
        division: None,
        revision: 0,
        ticked_at: created_at,
        next_end: None,
        created_at,
    };
    let mut tx = SiteTx::new(tx, site, caller, created_at);
    let owner_role = roles::insert_built_in(&mut tx)?;
    let mut owner = members::insert(&mut tx, &new.owner)?;
    grants::insert(
        &mut tx,
        owner.id,
        owner_role.id,
        "the site's first Owner",
        None,
    )?;
    owner.roles.push(owner_role);
    owner.is_owner = true;
    Ok((tx, owner))
}

/// A site, and its version.
pub(crate) type Versioned = (Site, i64);

/// How a site is known.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum SiteKey {
    Id(SiteId),
    Domain(String),
}

/// Reads a site.
pub(crate) async fn get(identity: &Identity, context: RequestContext) -> Result<Versioned, Error> {
    identity
        .read(context, Ok(()), |tx, ()| {
            Ok((tx.site.clone(), version(tx)?))
        })
        .await
}

/// Reads several sites: those that there are, and how the others were named.
pub(crate) async fn get_several<N: Clone + Send + Sync + 'static>(
    identity: &Identity,
    context: RequestContext,
    input: Result<Batch<N, SiteKey>, Error>,
) -> Result<(Vec<Versioned>, Vec<N>), Error> {
    identity
        .anywhere(context, true, input, |tx, _, named| {
            let found = store::get_several(tx, named.keys())?;
            Ok(named.arrange(found, |(site, _)| {
                [
                    SiteKey::Id(site.id),
                    SiteKey::Domain(site.domain_key.clone()),
                ]
            }))
        })
        .await
}

/// Lists sites.
pub(crate) async fn list(
    identity: &Identity,
    context: RequestContext,
    input: Result<Query, Error>,
) -> Result<Listed<Versioned>, Error> {
    identity
        .anywhere(context, true, input, |tx, _, query| {
            query.page(
                tx,
                Uuid::nil(),
                |(site, _): &Versioned| site.id.uuid(),
                |tx, rows| store::list(tx, query, rows),
                |tx| store::count(tx, query),
            )
        })
        .await
}

/// Changes settings.
pub(crate) async fn update(
    identity: &Identity,
    context: RequestContext,
    input: Result<SiteChange, Error>,
) -> Result<(Versioned, Receipt), Error> {
    identity
        .write(context, input, |tx, change| {
            let before = tx.site.clone();
            let version = version(tx)?;
            wire::check_version(version, &change.if_versions)?;
            let mut after = before.clone();
            if let Some(reach) = change.unassigned_reach {
                after.division = Some(before.division.map(|_| reach).ok_or(Error::SiteUndivided)?);
            }
            after.outside_groups = change.outside_groups.unwrap_or(before.outside_groups);
            after.custom_role_limit = change.custom_role_limit.unwrap_or(before.custom_role_limit);
            if settings(&before) == settings(&after) {
                return Ok(((before, version), Effect::default()));
            }
            store::update(tx, &after)?;
            let mut effect = Effect::default();
            if before.division != after.division
                && let Some(reach) = after.division
            {
                store::divide(tx, reach)?;
                effect.members = store::count_unassigned(tx)?;
            }
            tx.record(NewEvent {
                kind: "site.updated",
                subject: tx.site_id(),
                before: settings(&before),
                after: settings(&after),
                effect: &effect,
            })?;
            after.revision = tx.site.revision;
            tx.site = after.clone();
            Ok(((after, tx.site.revision), effect))
        })
        .await
}

/// Divides the site into its business entities.
pub(crate) async fn divide(
    identity: &Identity,
    context: RequestContext,
    input: Result<UnassignedReach, Error>,
) -> Result<(Versioned, Receipt), Error> {
    identity
        .write(context, input, |tx, reach| {
            let before = tx.site.clone();
            // Looked at again under the lock: another division may just have been waited for.
            if before.division.is_some() || !store::divide_first(tx, *reach)? {
                return Err(Error::SiteDivided);
            }
            let effect = Effect {
                members: store::count_divided(tx, *reach)?,
                ..Effect::default()
            };
            let mut after = before.clone();
            after.division = Some(*reach);
            tx.record(NewEvent {
                kind: "site.divided",
                subject: tx.site_id(),
                before: settings(&before),
                after: settings(&after),
                effect: &effect,
            })?;
            after.revision = tx.site.revision;
            tx.site = after.clone();
            Ok(((after, tx.site.revision), effect))
        })
        .await
}

fn settings(site: &Site) -> serde_json::Value {
    json!({
        "outside_groups": site.outside_groups.as_str(),
        "custom_role_limit": site.custom_role_limit,
        "divided": site.division.is_some(),
        "unassigned_reach": site.division.map(UnassignedReach::as_str),
    })
}

/// Refuses to leave the site without an active Owner other than `member`.
pub(crate) fn keep_an_owner(tx: &mut SiteTx<'_, '_>, member: MemberId) -> Result<(), Error> {
    if store::has_other_active_owner(tx, member)? {
        return Ok(());
    }
    Err(Error::LastOwner {
        site_domain: tx.site.domain.clone(),
    })
}
