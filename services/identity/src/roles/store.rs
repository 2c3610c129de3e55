//! How roles are kept.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::{NewRole, Permission, Role};
use crate::{
    access::{Target, TargetId},
    db::{Sql, Tx, sql},
    error::Error,
    filter::{Field, Fields, List, Query, Rows},
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
    #[diesel(sql_type = Nullable<Text>)]
    sort_key: Option<String>,
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

impl RoleRow {
    fn into_role(self) -> Result<Role, Error> {
        Ok(Role {
            id: RoleId::from(self.role_id),
            name: Name::named(&self.name, "name")?,
            built_in: self.is_built_in,
            permissions: self.permissions,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

/// Roles `r`; `sort_key` is an expression of ours.
fn select_roles(name: &'static str, sort_key: &str, tx: &SiteTx<'_, '_>) -> Sql {
    sql(
        name,
        format!(
            "SELECT {sort_key} AS sort_key, r.role_id, r.name, r.built_in IS NOT NULL AS is_built_in, r.version, \
               r.created_at, e.occurred_at AS updated_at, \
               ARRAY(SELECT p.permission FROM role_permissions p WHERE p.site_id = r.site_id \
                     AND p.role_id = r.role_id AND p.to_event IS NULL ORDER BY p.permission) AS permissions \
             FROM roles r JOIN events e ON e.site_id = r.site_id AND e.number = r.version \
             WHERE r.deleted_event IS NULL AND r.site_id = ?"
        ),
    )
    .bind::<SqlUuid, _>(tx.site_id())
}

/// Those of these roles that are there.
pub(super) fn get_several(tx: &mut SiteTx<'_, '_>, ids: Vec<RoleId>) -> Result<Vec<Role>, Error> {
    let ids: Vec<Uuid> = ids.into_iter().map(RoleId::uuid).collect();
    let mut statement = select_roles("get roles", "NULL::text", tx);
    statement.push(" AND r.role_id = ANY(?)");
    statement.push_bind::<Array<SqlUuid>, _>(ids);
    tx.load::<RoleRow>(statement)?
        .into_iter()
        .map(RoleRow::into_role)
        .collect()
}

/// The roles of a page, each with what it is ordered by.
pub(super) fn list(
    tx: &mut SiteTx<'_, '_>,
    query: &Query,
    rows: &Rows,
) -> Result<Vec<(Role, Option<String>)>, Error> {
    let key = query.sort_key(&RoleFields)?;
    let mut statement = select_roles("list roles", &key, tx);
    query.push_page(&mut statement, &RoleFields, rows)?;
    tx.load::<RoleRow>(statement)?
        .into_iter()
        .map(|mut row| {
            let key = row.sort_key.take();
            Ok((row.into_role()?, key))
        })
        .collect()
}

/// How many roles match.
pub(super) fn count(tx: &mut SiteTx<'_, '_>, query: &Query) -> Result<i64, Error> {
    let mut statement = sql(
        "count roles",
        "SELECT count(*) AS count \
         FROM roles r JOIN events e ON e.site_id = r.site_id AND e.number = r.version WHERE r.deleted_event IS NULL AND r.site_id = ?",
    )
    .bind::<SqlUuid, _>(tx.site_id());
    query.push_condition(&mut statement, &RoleFields)?;
    Ok(tx.one::<Count>(statement)?.count)
}

/// What roles can be found and ordered by; they are `r` in SQL.
struct RoleFields;

impl Fields for RoleFields {
    const ID: &'static str = "r.role_id";

    fn field(&self, name: &str) -> Option<Field> {
        Some(match name {
            "id" => Field::Id("r.role_id".to_owned()),
            "name" => Field::Key {
                exact: "r.name".to_owned(),
                key: "r.name_key".to_owned(),
            },
            "built_in" => Field::Flag("(r.built_in IS NOT NULL)".to_owned()),
            "create_time" => Field::Moment("r.created_at".to_owned()),
            "update_time" => Field::Moment("e.occurred_at".to_owned()),
            "permissions" => Field::List(List {
                rows: "FROM role_permissions p WHERE p.site_id = r.site_id \
                       AND p.role_id = r.role_id AND p.to_event IS NULL"
                    .to_owned(),
                // Their names are lower case.
                parts: vec![(
                    "name",
                    Field::Text {
                        exact: "p.permission".to_owned(),
                        folded: "p.permission".to_owned(),
                    },
                )],
                first: "p.permission",
                indexed: None,
            }),
            _ => return None,
        })
    }
}

#[derive(QueryableByName)]
struct PermissionRow {
    #[diesel(sql_type = Text)]
    permission: String,
    #[diesel(sql_type = Text)]
    description: String,
    #[diesel(sql_type = Array<Text>)]
    built_in_roles: Vec<String>,
}

/// The catalogue, by name.
pub(super) fn permissions(tx: &mut Tx<'_>) -> Result<Vec<Permission>, Error> {
    let rows: Vec<PermissionRow> = tx.load(sql(
        "list permissions",
        "SELECT p.permission, p.description, \
           ARRAY(SELECT b.name FROM built_in_role_permissions h JOIN built_in_roles b USING (built_in) \
                 WHERE h.permission = p.permission ORDER BY b.name COLLATE \"C\") AS built_in_roles \
         FROM permissions p ORDER BY p.permission COLLATE \"C\"",
    ))?;
    Ok(rows
        .into_iter()
        .map(|row| Permission {
            name: row.permission,
            description: row.description,
            built_in_roles: row.built_in_roles,
        })
        .collect())
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
struct UnfitRow {
    #[diesel(sql_type = Text)]
    permission: String,
    #[diesel(sql_type = Bool)]
    known: bool,
}

/// The first of these permissions that a custom role can't have; whether it is there, and so the Owner role's alone.
pub(super) fn first_unfit_permission(
    tx: &mut SiteTx<'_, '_>,
    permissions: &[String],
) -> Result<Option<(String, bool)>, Error> {
    let statement = sql(
        "find unfit permission",
        "SELECT asked.permission, p.permission IS NOT NULL AS known FROM unnest(?) AS asked (permission) \
         LEFT JOIN permissions p USING (permission) \
         WHERE NOT EXISTS (SELECT FROM built_in_role_permissions b \
                           WHERE b.permission = p.permission AND b.built_in <> 'owner') LIMIT 1",
    )
    .bind::<Array<Text>, _>(permissions.to_vec());
    let row = tx.first::<UnfitRow>(statement)?;
    Ok(row.map(|row| (row.permission, row.known)))
}

/// How many active members hold a role.
pub(super) fn count_holders(tx: &mut SiteTx<'_, '_>, id: RoleId) -> Result<usize, Error> {
    let statement = sql(
        "count holders of role",
        "SELECT count(*) AS count FROM ( \
           SELECT gm.member_id FROM groups g JOIN group_members gm USING (site_id, group_id) \
           WHERE g.site_id = ? AND g.role_id = ? AND gm.to_event IS NULL \
           UNION SELECT d.member_id FROM grants d \
           WHERE d.site_id = ? AND d.role_id = ? AND d.to_event IS NULL) h \
         JOIN members m ON m.site_id = ? AND m.member_id = h.member_id AND m.active",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(id.uuid())
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(id.uuid())
    .bind::<SqlUuid, _>(tx.site_id());
    let row: Count = tx.one(statement)?;
    Ok(usize::try_from(row.count).unwrap_or_default())
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

/// How many groups give the role, and how many grants of members' own.
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
