//! How access is read from what is kept.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::{Grant, Source, Target, TargetId};
use crate::{
    db::sql,
    error::Error,
    ids::{BusinessEntityId, GrantId, GroupId, MemberId, RoleId},
    site_tx::SiteTx,
};

#[derive(QueryableByName)]
struct GrantRow {
    #[diesel(sql_type = Nullable<SqlUuid>)]
    role_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    business_entity_id: Option<Uuid>,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    group_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    grant_id: Option<Uuid>,
    #[diesel(sql_type = Bool)]
    entitled: bool,
    #[diesel(sql_type = Text)]
    source: String,
    #[diesel(sql_type = Text)]
    reason: String,
    #[diesel(sql_type = BigInt)]
    since_event: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    ends_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Timestamptz)]
    since: DateTime<Utc>,
}

/// Every grant of a member, whether the member is active or not. A group grants since the member is in
/// it or since it has its target, whichever came later.
pub(super) fn grants_of(tx: &mut SiteTx<'_, '_>, member: MemberId) -> Result<Vec<Grant>, Error> {
    let statement = sql(
        "list grants of member",
        "WITH held AS ( \
           SELECT t.role_id, t.business_entity_id, g.group_id, NULL::uuid AS grant_id, false AS entitled, \
                  g.display_name AS source, '' AS reason, greatest(gm.from_event, t.from_event) AS since_event, NULL::timestamptz AS ends_at \
           FROM group_members gm \
           JOIN groups g USING (site_id, group_id) \
           JOIN group_targets t USING (site_id, group_id) \
           WHERE gm.site_id = ? AND gm.member_id = ? AND gm.to_event IS NULL AND t.to_event IS NULL \
           UNION ALL \
           SELECT d.role_id, d.business_entity_id, NULL, d.grant_id, d.source = 'entitlement', d.actor, d.reason, d.from_event, d.ends_at \
           FROM grants d WHERE d.site_id = ? AND d.member_id = ? AND d.to_event IS NULL) \
         SELECT h.*, coalesce(r.name, b.name) AS name, e.occurred_at AS since \
         FROM held h \
         JOIN events e ON e.site_id = ? AND e.number = h.since_event \
         LEFT JOIN roles r ON r.site_id = ? AND r.role_id = h.role_id \
         LEFT JOIN business_entities b ON b.site_id = ? AND b.business_entity_id = h.business_entity_id \
         ORDER BY h.role_id IS NULL, coalesce(r.name_key, b.name_key), h.group_id IS NULL, h.since_event",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(member.uuid())
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(member.uuid())
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(tx.site_id());
    tx.load::<GrantRow>(statement)?
        .into_iter()
        .map(|row| {
            let id = match (row.role_id, row.business_entity_id) {
                (Some(id), None) => TargetId::Role(RoleId::from(id)),
                (None, Some(id)) => TargetId::BusinessEntity(BusinessEntityId::from(id)),
                _ => return Err(Error::bug("a grant has not exactly one target")),
            };
            let source = match (row.group_id, row.grant_id) {
                (Some(id), _) => Source::Group {
                    id: GroupId::from(id),
                    display_name: row.source,
                },
                (None, Some(_)) if row.entitled => Source::Entitlement,
                (None, Some(id)) => Source::Direct {
                    id: GrantId::from(id),
                    actor: row.source,
                    reason: row.reason,
                    ends_at: row.ends_at,
                },
                (None, None) => return Err(Error::bug("a grant has no source")),
            };
            Ok(Grant {
                target: Target { id, name: row.name },
                source,
                since: row.since,
                since_event: row.since_event,
            })
        })
        .collect()
}

#[derive(QueryableByName)]
struct PermissionRow {
    #[diesel(sql_type = Text)]
    permission: String,
}

/// The permissions of all of these roles together, sorted.
pub(super) fn permissions(tx: &mut SiteTx<'_, '_>, roles: &[Target]) -> Result<Vec<String>, Error> {
    let statement = sql(
        "list permissions of roles",
        "SELECT DISTINCT permission FROM role_permissions \
         WHERE site_id = ? AND role_id = ANY(?) AND to_event IS NULL ORDER BY permission",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<Array<SqlUuid>, _>(roles.iter().map(|role| role.id.uuid()).collect::<Vec<_>>());
    let rows: Vec<PermissionRow> = tx.load(statement)?;
    Ok(rows.into_iter().map(|row| row.permission).collect())
}
