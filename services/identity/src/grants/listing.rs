//! Direct grants, those that have ended too: to whom, by whom, why, from when and until when.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::{
    TargetName,
    store::{VERSION, resolve, target},
};
use crate::{
    access::{Grant, Source},
    batch::Batch,
    context::RequestContext,
    db::{Sql, sql},
    error::{Error, Kind},
    filter::{Page, PageToken},
    ids::{GrantId, MemberId},
    members::{self, MemberName},
    site_tx::{Identity, SiteTx},
};

/// A direct grant, to whom it was given, and how it ended where it did.
#[derive(Clone, Debug)]
pub(super) struct DirectGrant {
    pub(super) grant: Grant,
    id: GrantId,
    pub(super) member: MemberId,
    pub(super) user_name: String,
    pub(super) ending: Option<Ending>,
    pub(super) version: i64,
}

/// How a grant ended.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) at: DateTime<Utc>,
    pub(super) event: i64,
    pub(super) actor: String,
    pub(super) credential: Option<Uuid>,
    /// Why; empty where nothing was said.
    pub(super) reason: String,
}

/// Which grants a list shows, and which part of them.
#[derive(Clone, Debug)]
pub(super) struct GrantQuery {
    pub(super) member: Option<MemberName>,
    pub(super) target: Option<TargetName>,
    pub(super) actor: Option<String>,
    pub(super) include_ended: bool,
    pub(super) page: Page,
    pub(super) limit: i64,
    /// What its page tokens are bound to besides the site.
    pub(super) digest: String,
}

/// A page of grants.
pub(super) struct GrantPage {
    pub(super) grants: Vec<DirectGrant>,
    /// Asks for the next page; none on the last one.
    pub(super) next: Option<PageToken>,
    pub(super) revision: i64,
}

/// Reads a direct grant, and tells the site's revision.
pub(super) async fn get(
    identity: &Identity,
    context: RequestContext,
    input: Result<GrantId, Error>,
) -> Result<(DirectGrant, i64), Error> {
    identity
        .read(context, input, |tx, id| {
            Ok((require(tx, *id)?, tx.site.revision))
        })
        .await
}

/// Reads several direct grants: those that are there, and the ids of the others; and the site's revision.
pub(super) async fn get_several(
    identity: &Identity,
    context: RequestContext,
    input: Result<Batch<String, GrantId>, Error>,
) -> Result<((Vec<DirectGrant>, Vec<String>), i64), Error> {
    identity
        .read(context, input, |tx, named| {
            let found = find(tx, named.keys().copied())?;
            Ok((named.arrange(found, |direct| [direct.id]), tx.site.revision))
        })
        .await
}

/// The direct grant of this id, also one that has ended.
pub(super) fn require(tx: &mut SiteTx<'_, '_>, id: GrantId) -> Result<DirectGrant, Error> {
    find(tx, [id])?.pop().ok_or(Error::NotFound(Kind::Grant))
}

fn find(
    tx: &mut SiteTx<'_, '_>,
    ids: impl IntoIterator<Item = GrantId>,
) -> Result<Vec<DirectGrant>, Error> {
    let mut statement = select(tx);
    statement.push(" AND d.grant_id = ANY(?)");
    let ids = ids.into_iter().map(|id| id.uuid());
    statement.push_bind::<Array<SqlUuid>, _>(ids.collect::<Vec<_>>());
    let rows: Vec<Row> = tx.load(statement)?;
    rows.into_iter().map(Row::into_grant).collect()
}

/// Lists direct grants.
pub(super) async fn list(
    identity: &Identity,
    context: RequestContext,
    input: Result<GrantQuery, Error>,
) -> Result<GrantPage, Error> {
    identity
        .read(context, input, |tx, query| {
            let bound_to = query.page.bound_to(tx.site_id(), &query.digest);
            let after = query.page.after(&bound_to)?;
            let mut statement = select(tx);
            if !query.include_ended {
                statement.push(" AND ");
                statement.push(tx.grant_holds());
            }
            if let Some(name) = &query.member {
                statement.push(" AND d.member_id = ?");
                let member = find_member(tx, name, query.include_ended)?;
                statement.push_bind::<SqlUuid, _>(member.uuid());
            }
            if let Some(name) = &query.target {
                let (target, _) = resolve(tx, name, query.include_ended)?;
                statement.push(match target.id.role() {
                    Some(_) => " AND d.role_id = ?",
                    None => " AND d.business_entity_id = ?",
                });
                statement.push_bind::<SqlUuid, _>(target.id.uuid());
            }
            if let Some(actor) = &query.actor {
                statement.push(" AND d.actor = ?");
                statement.push_bind::<Text, _>(actor.clone());
            }
            if let Some(after) = after {
                statement.push(" AND d.grant_id > ?");
                statement.push_bind::<SqlUuid, _>(after.id);
            }
            statement.push(" ORDER BY d.grant_id LIMIT ?");
            // One more than is shown tells whether there is more.
            statement.push_bind::<BigInt, _>(query.limit + 1);
            let rows: Vec<Row> = tx.load(statement)?;
            let grants = rows
                .into_iter()
                .map(Row::into_grant)
                .collect::<Result<Vec<_>, _>>()?;
            let (grants, next) = query.page.cut(grants, query.limit, |grant| {
                PageToken::new(bound_to.clone(), None, grant.id.uuid())
            });
            Ok(GrantPage {
                grants,
                next,
                revision: tx.site.revision,
            })
        })
        .await
}

/// The member that is meant, by id also one who was deleted, where that is asked for.
fn find_member(
    tx: &mut SiteTx<'_, '_>,
    name: &MemberName,
    deleted_too: bool,
) -> Result<MemberId, Error> {
    match name {
        MemberName::Id(id) if deleted_too => members::was_ever(tx, *id)?
            .then_some(*id)
            .ok_or(Error::NotFound(Kind::Member)),
        name => Ok(members::require(tx, name)?.id),
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    grant_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    member_id: Uuid,
    #[diesel(sql_type = Text)]
    user_name: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    role_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    business_entity_id: Option<Uuid>,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    actor: String,
    #[diesel(sql_type = Text)]
    reason: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    ends_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = BigInt)]
    from_event: i64,
    #[diesel(sql_type = Timestamptz)]
    since: DateTime<Utc>,
    #[diesel(sql_type = Nullable<BigInt>)]
    to_event: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    ended_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    ended_by: Option<String>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    ended_with: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    end_reason: Option<String>,
    #[diesel(sql_type = BigInt)]
    version: i64,
}

/// Begins a query for direct grants `d` of the site.
fn select(tx: &SiteTx<'_, '_>) -> Sql {
    sql(
        "list grants",
        format!(
        "SELECT {VERSION}, d.grant_id, d.member_id, m.user_name, d.role_id, d.business_entity_id, \
                coalesce(r.name, b.name) AS name, d.actor, d.reason, d.ends_at, \
                d.from_event, s.occurred_at AS since, \
                d.to_event, e.occurred_at AS ended_at, e.actor AS ended_by, e.credential_id AS ended_with, \
                e.after ->> 'end_reason' AS end_reason \
         FROM grants d JOIN members m USING (site_id, member_id) \
         JOIN events s ON s.site_id = d.site_id AND s.number = d.from_event \
         LEFT JOIN events e ON e.site_id = d.site_id AND e.number = d.to_event \
         LEFT JOIN roles r ON r.site_id = d.site_id AND r.role_id = d.role_id \
         LEFT JOIN business_entities b \
           ON b.site_id = d.site_id AND b.business_entity_id = d.business_entity_id \
         WHERE d.source = 'direct' AND d.site_id = ?"),
    )
    .bind::<SqlUuid, _>(tx.site_id())
}

impl Row {
    fn into_grant(self) -> Result<DirectGrant, Error> {
        let id = GrantId::from(self.grant_id);
        let ending = match (self.to_event, self.ended_at, self.ended_by) {
            (Some(event), Some(at), Some(actor)) => Some(Ending {
                at,
                event,
                actor,
                credential: self.ended_with,
                reason: self.end_reason.unwrap_or_default(),
            }),
            (None, ..) => None,
            _ => return Err(Error::bug("a grant's end has no event")),
        };
        Ok(DirectGrant {
            grant: Grant {
                target: target(self.role_id, self.business_entity_id, self.name)?,
                source: Source::Direct {
                    id,
                    actor: self.actor,
                    reason: self.reason,
                    ends_at: self.ends_at,
                },
                since: self.since,
                since_event: self.from_event,
            },
            id,
            member: MemberId::from(self.member_id),
            user_name: self.user_name,
            ending,
            version: self.version,
        })
    }
}
