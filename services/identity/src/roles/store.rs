//! How roles are kept.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::{NewRole, Role};
use crate::{
    access::{Target, TargetId},
    db::sql,
    error::Error,
    ids::RoleId,
    names::Name,
    site_tx::SiteTx,
};

#[derive(QueryableByName)]
struct NamedRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    name: String,
}

/// Gives a new site the built-in roles with their permissions; answers with Owner.
pub(crate) fn insert_built_in(tx: &mut SiteTx<'_, '_>) -> Result<Target, Error> {
    let statement = sql(
        "insert built-in roles",
        "WITH made AS ( \
           INSERT INTO roles (site_id, role_id, name, name_key, built_in, version, created_at) \
           SELECT ?, gen_random_uuid(), name, name_key, built_in, ?, ? FROM built_in_roles \
           RETURNING site_id, role_id, name, built_in, version), \
         allowed AS ( \
           INSERT INTO role_permissions (site_id, role_id, permission, from_event) \
           SELECT m.site_id, m.role_id, p.permission, m.version \
           FROM made m JOIN built_in_role_permissions p USING (built_in)) \
         SELECT role_id AS id, name FROM made WHERE built_in = 'owner'",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<BigInt, _>(tx.next_event())
    .bind::<Timestamptz, _>(tx.now);
    let owner: NamedRow = tx.one(statement)?;
    Ok(Target {
        id: TargetId::Role(RoleId::from(owner.id)),
        name: owner.name,
    })
}

#[derive(QueryableByName)]
struct RoleRow {
    #[diesel(sql_type = SqlUuid)]
    role_id: Uuid,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    is_built_in: bool,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    updated_at: DateTime<Utc>,
    #[diesel(sql_type = Array<Text>)]
    permissions: Vec<String>,
}

/// All roles by name, or the one of that id.
pub(super) fn list(tx: &mut SiteTx<'_, '_>, only: Option<RoleId>) -> Result<Vec<Role>, Error> {
    let mut statement = sql(
        "list roles",
        "SELECT r.role_id, r.name, r.built_in IS NOT NULL AS is_built_in, r.version, \
           r.created_at, e.occurred_at AS updated_at, \
           ARRAY(SELECT p.permission FROM role_permissions p WHERE p.site_id = r.site_id \
                 AND p.role_id = r.role_id AND p.to_event IS NULL ORDER BY p.permission) AS permissions \
         FROM roles r JOIN events e ON e.site_id = r.site_id AND e.number = r.version \
         WHERE r.deleted_event IS NULL AND r.site_id = ?",
    )
    .bind::<SqlUuid, _>(tx.site_id());
    if let Some(id) = only {
        statement.push(" AND r.role_id = ?");
        statement.push_bind::<SqlUuid, _>(id.uuid());
    }
    statement.push(" ORDER BY r.name_key");
    tx.load::<RoleRow>(statement)?
        .into_iter()
        .map(|row| {
            Ok(Role {
                id: RoleId::from(row.role_id),
                name: Name::named(&row.name, "name")?,
                built_in: row.is_built_in,
                permissions: row.permissions,
                version: row.version,
                created_at: row.created_at,
                updated_at: row.updated_at,
            })
        })
        .collect()
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

pub(super) fn count_custom(tx: &mut SiteTx<'_, '_>) -> Result<i64, Error> {
    let statement = sql(
        "count custom roles",
        "SELECT count(*) AS count FROM roles \
         WHERE site_id = ? AND built_in IS NULL AND deleted_event IS NULL",
    )
    .bind::<SqlUuid, _>(tx.site_id());
    Ok(tx.one::<Count>(statement)?.count)
}

#[derive(QueryableByName)]
struct UnknownRow {
    #[diesel(sql_type = Text)]
    permission: String,
}

pub(super) fn first_unknown_permission(
    tx: &mut SiteTx<'_, '_>,
    permissions: &[String],
) -> Result<Option<String>, Error> {
    let statement = sql(
        "find unknown permission",
        "SELECT asked.permission FROM unnest(?) AS asked (permission) \
         WHERE NOT EXISTS (SELECT FROM permissions p WHERE p.permission = asked.permission) LIMIT 1",
    )
    .bind::<Array<Text>, _>(permissions.to_vec());
    Ok(tx.first::<UnknownRow>(statement)?.map(|row| row.permission))
}

#[derive(QueryableByName)]
struct WrittenRow {
    #[diesel(sql_type = Nullable<SqlUuid>)]
    taken: Option<Uuid>,
    #[diesel(sql_type = BigInt)]
    written: i64,
}

/// Makes the role; answers with who has the name where another one does.
pub(super) fn insert(
    tx: &mut SiteTx<'_, '_>,
    id: RoleId,
    new: &NewRole,
) -> Result<Option<RoleId>, Error> {
    let statement = sql(
        "insert role",
        "WITH made AS ( \
           INSERT INTO roles (site_id, role_id, name, name_key, version, created_at) \
           VALUES (?, ?, ?, ?, ?, ?) \
           ON CONFLICT (site_id, name_key) WHERE deleted_event IS NULL DO NOTHING \
           RETURNING site_id, role_id, version), \
         allowed AS ( \
           INSERT INTO role_permissions (site_id, role_id, permission, from_event) \
           SELECT m.site_id, m.role_id, p.permission, m.version \
           FROM made m CROSS JOIN unnest(?) AS p (permission)) \
         SELECT (SELECT count(*) FROM made) AS written, \
                (SELECT role_id FROM roles WHERE site_id = ? AND name_key = ? AND deleted_event IS NULL) AS taken",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(id.uuid())
    .bind::<Text, _>(new.name.as_str().to_owned())
    .bind::<Text, _>(new.name.key().to_owned())
    .bind::<BigInt, _>(tx.next_event())
    .bind::<Timestamptz, _>(tx.now)
    .bind::<Array<Text>, _>(new.permissions.clone())
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<Text, _>(new.name.key().to_owned());
    let row: WrittenRow = tx.one(statement)?;
    if row.written == 1 {
        Ok(None)
    } else {
        taken(row)
    }
}

fn taken(row: WrittenRow) -> Result<Option<RoleId>, Error> {
    row.taken
        .map(|id| Some(RoleId::from(id)))
        .ok_or(Error::Contended)
}

/// Writes name and permissions; answers with who has the name where another role does. A permission
/// that stays keeps its beginning.
pub(super) fn update(tx: &mut SiteTx<'_, '_>, role: &Role) -> Result<Option<RoleId>, Error> {
    let statement = sql(
        "update role",
        "WITH this AS (SELECT ?::uuid AS site_id, ?::uuid AS role_id, ?::bigint AS event, ?::text[] AS wanted), \
         clash AS (SELECT r.role_id FROM roles r JOIN this USING (site_id) \
                   WHERE r.name_key = ? AND r.role_id <> this.role_id AND r.deleted_event IS NULL), \
         changed AS (UPDATE roles r SET name = ?, name_key = ?, version = this.event FROM this \
                     WHERE r.site_id = this.site_id AND r.role_id = this.role_id \
                       AND NOT EXISTS (SELECT FROM clash) RETURNING r.role_id), \
         ended AS (UPDATE role_permissions p SET to_event = this.event FROM this \
                   WHERE p.site_id = this.site_id AND p.role_id = this.role_id AND p.to_event IS NULL \
                     AND p.permission <> ALL (this.wanted) AND EXISTS (SELECT FROM changed)), \
         began AS (INSERT INTO role_permissions (site_id, role_id, permission, from_event) \
                   SELECT this.site_id, this.role_id, w.permission, this.event \
                   FROM this CROSS JOIN unnest(this.wanted) AS w (permission) \
                   WHERE EXISTS (SELECT FROM changed) ON CONFLICT DO NOTHING) \
         SELECT (SELECT count(*) FROM changed) AS written, (SELECT role_id FROM clash) AS taken",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(role.id.uuid())
    .bind::<BigInt, _>(tx.next_event())
    .bind::<Array<Text>, _>(role.permissions.clone())
    .bind::<Text, _>(role.name.key().to_owned())
    .bind::<Text, _>(role.name.as_str().to_owned())
    .bind::<Text, _>(role.name.key().to_owned());
    let row: WrittenRow = tx.one(statement)?;
    if row.written == 1 {
        Ok(None)
    } else {
        taken(row)
    }
}

#[derive(QueryableByName)]
struct Uses {
    #[diesel(sql_type = BigInt)]
    groups: i64,
    #[diesel(sql_type = BigInt)]
    grants: i64,
}

/// How many groups and how many direct grants give the role.
pub(super) fn count_uses(tx: &mut SiteTx<'_, '_>, id: RoleId) -> Result<(i64, i64), Error> {
    let statement = sql(
        "count uses of role",
        "SELECT (SELECT count(*) FROM groups WHERE site_id = ? AND role_id = ? AND deleted_event IS NULL) AS groups, \
                (SELECT count(*) FROM grants WHERE site_id = ? AND role_id = ? AND to_event IS NULL) AS grants",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(id.uuid())
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(id.uuid());
    let uses: Uses = tx.one(statement)?;
    Ok((uses.groups, uses.grants))
}

pub(super) fn delete(tx: &mut SiteTx<'_, '_>, id: RoleId) -> Result<(), Error> {
    let statement = sql(
        "delete role",
        "WITH this AS (SELECT ?::uuid AS site_id, ?::uuid AS role_id, ?::bigint AS event), \
         ended AS (UPDATE role_permissions p SET to_event = this.event FROM this \
                   WHERE p.site_id = this.site_id AND p.role_id = this.role_id AND p.to_event IS NULL) \
         UPDATE roles r SET deleted_event = this.event, version = this.event FROM this \
         WHERE r.site_id = this.site_id AND r.role_id = this.role_id",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(id.uuid())
    .bind::<BigInt, _>(tx.next_event());
    tx.execute(statement).map(drop)
}
