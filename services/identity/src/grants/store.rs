//! How direct grants are kept.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::{EndedGrants, TargetName};
use crate::{
    access::{Target, TargetId},
    db::{Sql, sql},
    error::{Error, Kind},
    ids::{BusinessEntityId, GrantId, MemberId, RoleId},
    site_tx::SiteTx,
};

#[derive(QueryableByName)]
struct NamedRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    is_owner: bool,
}

/// The role or business entity that is meant, by id also a deleted one where that is asked for, and whether it is the Owner role.
pub(super) fn resolve(
    tx: &mut SiteTx<'_, '_>,
    name: &TargetName,
    deleted_too: bool,
) -> Result<(Target, bool), Error> {
    let (kind, is_role) = match name {
        TargetName::Id(TargetId::Role(_)) | TargetName::Role(_) => (Kind::Role, true),
        TargetName::Id(TargetId::BusinessEntity(_)) | TargetName::BusinessEntity(_) => {
            (Kind::BusinessEntity, false)
        }
    };
    let mut statement = sql(
        "find target",
        if is_role {
            "SELECT role_id AS id, name, coalesce(built_in = 'owner', false) AS is_owner FROM roles WHERE site_id = ?"
        } else {
            "SELECT business_entity_id AS id, name, false AS is_owner FROM business_entities \
             WHERE site_id = ?"
        },
    )
    .bind::<SqlUuid, _>(tx.site_id());
    match name {
        TargetName::Id(id) => {
            statement.push(if is_role {
                " AND role_id = ?"
            } else {
                " AND business_entity_id = ?"
            });
            statement.push_bind::<SqlUuid, _>(id.uuid());
            if !deleted_too {
                statement.push(" AND deleted_event IS NULL");
            }
        }
        TargetName::Role(key) | TargetName::BusinessEntity(key) => {
            statement.push(" AND deleted_event IS NULL AND name_key = ?");
            statement.push_bind::<Text, _>(key.clone());
        }
    }
    let row: NamedRow = tx.first(statement)?.ok_or(Error::NotFound(kind))?;
    let id = if is_role {
        TargetId::Role(RoleId::from(row.id))
    } else {
        TargetId::BusinessEntity(BusinessEntityId::from(row.id))
    };
    let target = Target { id, name: row.name };
    Ok((target, row.is_owner))
}

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// Makes the grant; answers with the one that is there already, if so.
pub(super) fn insert(
    tx: &mut SiteTx<'_, '_>,
    id: GrantId,
    member: MemberId,
    target: TargetId,
    reason: &str,
    ends_at: Option<DateTime<Utc>>,
) -> Result<Option<GrantId>, Error> {
    let statement = sql(
        "insert grant",
        "INSERT INTO grants (site_id, grant_id, member_id, role_id, business_entity_id, source, actor, reason, \
                             from_event, ends_at) \
         VALUES (?, ?, ?, ?, ?, 'direct', ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(id.uuid())
    .bind::<SqlUuid, _>(member.uuid())
    .bind::<Nullable<SqlUuid>, _>(target.role())
    .bind::<Nullable<SqlUuid>, _>(target.business_entity())
    .bind::<Text, _>(tx.caller.label().to_owned())
    .bind::<Text, _>(reason.to_owned())
    .bind::<BigInt, _>(tx.next_event())
    .bind::<Nullable<Timestamptz>, _>(ends_at);
    if tx.execute(statement)? == 1 {
        return Ok(None);
    }
    let statement = sql(
        "find grant",
        "SELECT grant_id AS id FROM grants WHERE site_id = ? AND member_id = ? AND to_event IS NULL AND source = 'direct' \
           AND (role_id = ? OR business_entity_id = ?)",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(member.uuid())
    .bind::<Nullable<SqlUuid>, _>(target.role())
    .bind::<Nullable<SqlUuid>, _>(target.business_entity());
    tx.first::<IdRow>(statement)?
        .map(|row| Some(GrantId::from(row.id)))
        .ok_or(Error::Contended)
}

/// A direct grant that holds, and what its end depends on.
pub(super) struct KeptGrant {
    pub(super) id: GrantId,
    pub(super) member: MemberId,
    pub(super) member_active: bool,
    pub(super) target: Target,
    pub(super) reason: String,
    pub(super) ends_at: Option<DateTime<Utc>>,
    pub(super) is_owner: bool,
    /// Whether the member has the target by another grant too.
    pub(super) held_otherwise: bool,
    pub(super) version: i64,
}

#[derive(QueryableByName)]
struct GrantRow {
    #[diesel(sql_type = SqlUuid)]
    grant_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    member_id: Uuid,
    #[diesel(sql_type = Bool)]
    active: bool,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    role_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    business_entity_id: Option<Uuid>,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    reason: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    ends_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Bool)]
    is_owner: bool,
    #[diesel(sql_type = Bool)]
    held_otherwise: bool,
    #[diesel(sql_type = BigInt)]
    version: i64,
}

/// The version of a grant `d`: the event that last changed it, or that gave it.
pub(super) const VERSION: &str = "\
    coalesce((SELECT max(t.to_event) FROM grant_terms t \
              WHERE t.site_id = d.site_id AND t.grant_id = d.grant_id), d.from_event) AS version";

/// What is selected, after [`VERSION`], of grants `d` that hold.
const KEPT: &str = "\
    d.grant_id, d.member_id, m.active, d.role_id, d.business_entity_id, coalesce(r.name, b.name) AS name, \
           d.reason, d.ends_at, coalesce(r.built_in = 'owner', false) AS is_owner, \
           (EXISTS (SELECT FROM group_members gm JOIN groups g USING (site_id, group_id) \
                    WHERE gm.site_id = d.site_id AND gm.member_id = d.member_id AND gm.to_event IS NULL \
                      AND (g.role_id = d.role_id OR g.business_entity_id = d.business_entity_id)) \
            OR EXISTS (SELECT FROM grants o \
                       WHERE o.site_id = d.site_id AND o.member_id = d.member_id AND o.to_event IS NULL \
                         AND o.grant_id <> d.grant_id \
                         AND (o.role_id = d.role_id OR o.business_entity_id = d.business_entity_id))) \
             AS held_otherwise \
    FROM grants d JOIN members m USING (site_id, member_id) \
    LEFT JOIN roles r ON r.site_id = d.site_id AND r.role_id = d.role_id \
    LEFT JOIN business_entities b \
      ON b.site_id = d.site_id AND b.business_entity_id = d.business_entity_id \
    WHERE d.to_event IS NULL";

impl GrantRow {
    fn into_kept(self) -> Result<KeptGrant, Error> {
        Ok(KeptGrant {
            id: GrantId::from(self.grant_id),
            member: MemberId::from(self.member_id),
            member_active: self.active,
            target: target(self.role_id, self.business_entity_id, self.name)?,
            reason: self.reason,
            ends_at: self.ends_at,
            is_owner: self.is_owner,
            held_otherwise: self.held_otherwise,
            version: self.version,
        })
    }
}

/// What a grant with these ids gives.
pub(super) fn target(
    role: Option<Uuid>,
    entity: Option<Uuid>,
    name: String,
) -> Result<Target, Error> {
    let id = match (role, entity) {
        (Some(id), None) => TargetId::Role(RoleId::from(id)),
        (None, Some(id)) => TargetId::BusinessEntity(BusinessEntityId::from(id)),
        _ => return Err(Error::bug("a grant has not exactly one target")),
    };
    Ok(Target { id, name })
}

/// The direct grant of that id that holds now.
pub(super) fn get(tx: &mut SiteTx<'_, '_>, id: GrantId) -> Result<Option<KeptGrant>, Error> {
    let statement = sql(
        "get grant",
        format!(
            "SELECT {VERSION}, {KEPT} AND d.source = 'direct' AND d.site_id = ? AND d.grant_id = ?"
        ),
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(id.uuid());
    let row: Option<GrantRow> = tx.first(statement)?;
    row.map(GrantRow::into_kept).transpose()
}

/// The grants that hold and should not any more, the first ones by their end.
pub(super) fn due(tx: &mut SiteTx<'_, '_>, limit: i64) -> Result<Vec<KeptGrant>, Error> {
    let statement = sql(
        "list grants that have run out",
        format!(
            "SELECT {VERSION}, {KEPT} AND d.site_id = ? AND d.ends_at <= ? ORDER BY d.ends_at, d.grant_id LIMIT ?"
        ),
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<Timestamptz, _>(tx.now)
    .bind::<BigInt, _>(limit);
    let rows: Vec<GrantRow> = tx.load(statement)?;
    rows.into_iter().map(GrantRow::into_kept).collect()
}

#[derive(QueryableByName)]
pub(super) struct SiteIdRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) site_id: Uuid,
}

/// The sites where an ending is due, the longest waiting ones first.
pub(super) fn due_sites(limit: i64) -> Sql {
    sql(
        "list sites where grants have run out",
        "SELECT site_id FROM site_clocks WHERE next_end_at <= clock_timestamp() \
         ORDER BY next_end_at LIMIT ?",
    )
    .bind::<BigInt, _>(limit)
}

/// Ends these grants, each by the event of its place, from `first` on.
pub(super) fn end_all(
    tx: &mut SiteTx<'_, '_>,
    ending: &[KeptGrant],
    first: i64,
) -> Result<(), Error> {
    let statement = sql(
        "end grants",
        "UPDATE grants d SET to_event = ? + e.place - 1 \
         FROM unnest(?::uuid[]) WITH ORDINALITY e (grant_id, place) \
         WHERE d.site_id = ? AND d.grant_id = e.grant_id",
    )
    .bind::<BigInt, _>(first)
    .bind::<Array<SqlUuid>, _>(ending.iter().map(|kept| kept.id.uuid()).collect::<Vec<_>>())
    .bind::<SqlUuid, _>(tx.site_id());
    tx.execute(statement).map(drop)
}

/// Writes the reason and the end of a grant, and keeps what they were.
pub(super) fn update(
    tx: &mut SiteTx<'_, '_>,
    kept: &KeptGrant,
    reason: &str,
    ends_at: Option<DateTime<Utc>>,
) -> Result<(), Error> {
    let statement = sql(
        "update grant",
        "WITH this AS (SELECT ?::uuid AS site_id, ?::uuid AS grant_id), \
         past AS (INSERT INTO grant_terms (site_id, grant_id, reason, ends_at, from_event, to_event) \
                  SELECT d.site_id, d.grant_id, d.reason, d.ends_at, ?, ? \
                  FROM grants d JOIN this USING (site_id, grant_id)) \
         UPDATE grants d SET reason = ?, ends_at = ? FROM this \
         WHERE d.site_id = this.site_id AND d.grant_id = this.grant_id",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(kept.id.uuid())
    .bind::<BigInt, _>(kept.version)
    .bind::<BigInt, _>(tx.next_event())
    .bind::<Text, _>(reason.to_owned())
    .bind::<Nullable<Timestamptz>, _>(ends_at);
    tx.execute(statement).map(drop)
}

pub(super) fn end(tx: &mut SiteTx<'_, '_>, id: GrantId) -> Result<(), Error> {
    let statement = sql(
        "end grant",
        "UPDATE grants SET to_event = ? WHERE site_id = ? AND grant_id = ? AND to_event IS NULL",
    )
    .bind::<BigInt, _>(tx.next_event())
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(id.uuid());
    tx.execute(statement).map(drop)
}

#[derive(QueryableByName)]
struct EndedRow {
    #[diesel(sql_type = Array<SqlUuid>)]
    members: Vec<Uuid>,
    #[diesel(sql_type = Array<SqlUuid>)]
    lost: Vec<Uuid>,
}

/// Ends every grant of the target to members themselves. No group may give it: who had it, loses it.
pub(crate) fn end_of_target(
    tx: &mut SiteTx<'_, '_>,
    target: TargetId,
) -> Result<EndedGrants, Error> {
    let statement = sql(
        "end grants of target",
        "WITH ended AS (UPDATE grants SET to_event = ? \
                        WHERE site_id = ? AND to_event IS NULL AND (role_id = ? OR business_entity_id = ?) \
                        RETURNING site_id, member_id) \
         SELECT ARRAY(SELECT DISTINCT member_id FROM ended) AS members, \
                ARRAY(SELECT DISTINCT e.member_id FROM ended e JOIN members m USING (site_id, member_id) \
                      WHERE m.active ORDER BY e.member_id) AS lost",
    )
    .bind::<BigInt, _>(tx.next_event())
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<Nullable<SqlUuid>, _>(target.role())
    .bind::<Nullable<SqlUuid>, _>(target.business_entity());
    let row: EndedRow = tx.one(statement)?;
    Ok(EndedGrants {
        members: row.members.len(),
        lost: row.lost.into_iter().map(MemberId::from).collect(),
    })
}
