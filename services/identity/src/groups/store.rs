//! How groups are kept.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::{Group, fields::GroupFields, membership::Moved};
use crate::{
    access::{Target, TargetId},
    batch::Batch,
    db::{Sql, sql},
    error::{Error, Kind},
    filter::{Query, Rows},
    ids::{BusinessEntityId, GroupId, MemberId, RoleId},
    names::Name,
    site_tx::SiteTx,
};

fn uuids<T: Copy>(ids: &[T], uuid: impl Fn(T) -> Uuid) -> Vec<Uuid> {
    ids.iter().map(|id| uuid(*id)).collect()
}

fn member_ids_of(uuids: Vec<Uuid>) -> Vec<MemberId> {
    uuids.into_iter().map(MemberId::from).collect()
}

#[derive(QueryableByName)]
struct GroupRow {
    #[diesel(sql_type = Nullable<Text>)]
    sort_key: Option<String>,
    #[diesel(sql_type = SqlUuid)]
    group_id: Uuid,
    #[diesel(sql_type = Text)]
    display_name: String,
    #[diesel(sql_type = Nullable<Text>)]
    external_id: Option<String>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    role_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    business_entity_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    target_name: Option<String>,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    updated_at: DateTime<Utc>,
    #[diesel(sql_type = Array<SqlUuid>)]
    member_ids: Vec<Uuid>,
}

impl GroupRow {
    fn into_group(self) -> Group {
        let id = match (self.role_id, self.business_entity_id) {
            (Some(id), _) => Some(TargetId::Role(RoleId::from(id))),
            (None, Some(id)) => Some(TargetId::BusinessEntity(BusinessEntityId::from(id))),
            (None, None) => None,
        };
        Group {
            id: GroupId::from(self.group_id),
            display_name: self.display_name,
            external_id: self.external_id,
            target: id.map(|id| Target {
                id,
                name: self.target_name.unwrap_or_default(),
            }),
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
            members: member_ids_of(self.member_ids),
        }
    }
}

/// Groups `g`; `sort_key` is an expression of ours.
fn select_groups(name: &'static str, with_members: bool) -> Sql {
    let (shown, joined) = shown("NULL::text", with_members);
    sql(
        name,
        format!("{shown} FROM groups g {joined} WHERE g.deleted_event IS NULL"),
    )
}

/// What is selected of groups `g`, and what is joined to them; `sort_key` is an expression of ours.
fn shown(sort_key: &str, with_members: bool) -> (String, &'static str) {
    let members = if with_members {
        "ARRAY(SELECT gm.member_id FROM group_members gm WHERE gm.site_id = g.site_id \
           AND gm.group_id = g.group_id AND gm.to_event IS NULL ORDER BY gm.member_id)"
    } else {
        "ARRAY[]::uuid[]"
    };
    let shown = format!(
        "SELECT {sort_key} AS sort_key, g.group_id, g.display_name, g.external_id, g.role_id, g.business_entity_id, \
            coalesce(r.name, b.name) AS target_name, g.version, g.created_at, g.updated_at, \
            {members} AS member_ids"
    );
    let joined = "LEFT JOIN roles r ON r.site_id = g.site_id AND r.role_id = g.role_id \
                  LEFT JOIN business_entities b \
                    ON b.site_id = g.site_id AND b.business_entity_id = g.business_entity_id";
    (shown, joined)
}

/// The group of that id.
pub(super) fn get(
    tx: &mut SiteTx<'_, '_>,
    id: GroupId,
    with_members: bool,
) -> Result<Option<Group>, Error> {
    let mut statement = select_groups("get group", with_members);
    statement.push(" AND g.site_id = ? AND g.group_id = ?");
    statement.push_bind::<SqlUuid, _>(tx.site_id());
    statement.push_bind::<SqlUuid, _>(id.uuid());
    Ok(tx.first::<GroupRow>(statement)?.map(GroupRow::into_group))
}

/// Those of these groups that are there, without their members.
pub(super) fn get_several(
    tx: &mut SiteTx<'_, '_>,
    named: &Batch<String, GroupId>,
) -> Result<Vec<Group>, Error> {
    let ids: Vec<Uuid> = named.keys().map(|id| id.uuid()).collect();
    let mut statement = select_groups("get groups", false);
    statement.push(" AND g.site_id = ? AND g.group_id = ANY(?)");
    statement.push_bind::<SqlUuid, _>(tx.site_id());
    statement.push_bind::<Array<SqlUuid>, _>(ids);
    let rows: Vec<GroupRow> = tx.load(statement)?;
    Ok(rows.into_iter().map(GroupRow::into_group).collect())
}

/// The groups of a page, each with what it is ordered by.
pub(super) fn list(
    tx: &mut SiteTx<'_, '_>,
    query: &Query,
    rows: &Rows,
    with_members: bool,
) -> Result<Vec<(Group, Option<String>)>, Error> {
    // The page is cut first: of the groups that are passed over, no members are read.
    let (shown, joined) = shown(&query.sort_key(&GroupFields)?, with_members);
    let mut statement = sql(
        "list groups",
        format!(
            "{shown} FROM (SELECT g.* FROM groups g WHERE g.deleted_event IS NULL AND g.site_id = ?"
        ),
    )
    .bind::<SqlUuid, _>(tx.site_id());
    query.push_page(&mut statement, &GroupFields, rows)?;
    statement.push(") g ");
    statement.push(joined);
    query.push_order_again(&mut statement, &GroupFields)?;
    let rows: Vec<GroupRow> = tx.load(statement)?;
    Ok(rows
        .into_iter()
        .map(|mut row| {
            let key = row.sort_key.take();
            (row.into_group(), key)
        })
        .collect())
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// How many groups match.
pub(super) fn count(tx: &mut SiteTx<'_, '_>, query: &Query) -> Result<i64, Error> {
    let mut statement = sql(
        "count groups",
        "SELECT count(*) AS count FROM groups g WHERE g.deleted_event IS NULL AND g.site_id = ?",
    )
    .bind::<SqlUuid, _>(tx.site_id());
    query.push_condition(&mut statement, &GroupFields)?;
    Ok(tx.one::<Count>(statement)?.count)
}

#[derive(QueryableByName)]
struct MemberIdRow {
    #[diesel(sql_type = SqlUuid)]
    member_id: Uuid,
}

/// Everybody who is in the group, sorted.
pub(super) fn member_ids(tx: &mut SiteTx<'_, '_>, id: GroupId) -> Result<Vec<MemberId>, Error> {
    let statement = sql(
        "list members of group",
        "SELECT member_id FROM group_members \
         WHERE site_id = ? AND group_id = ? AND to_event IS NULL ORDER BY member_id",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(id.uuid());
    let rows: Vec<MemberIdRow> = tx.load(statement)?;
    Ok(rows
        .into_iter()
        .map(|row| MemberId::from(row.member_id))
        .collect())
}

#[derive(QueryableByName)]
struct OtherRow {
    #[diesel(sql_type = SqlUuid)]
    group_id: Uuid,
    #[diesel(sql_type = Text)]
    display_name: String,
}

fn who_has_name(tx: &mut SiteTx<'_, '_>, name: &Name) -> Result<Option<(GroupId, String)>, Error> {
    let statement = sql(
        "find group name",
        "SELECT group_id, display_name FROM groups \
         WHERE site_id = ? AND display_name_key = ? AND deleted_event IS NULL",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<Text, _>(name.key().to_owned());
    let row: Option<OtherRow> = tx.first(statement)?;
    Ok(row.map(|row| (GroupId::from(row.group_id), row.display_name)))
}

/// Makes the group and binds it to its target; answers with who has the name where another one does.
pub(super) fn insert(
    tx: &mut SiteTx<'_, '_>,
    group: &Group,
    name: &Name,
) -> Result<Option<(GroupId, String)>, Error> {
    let target = group.target.as_ref().map(|target| target.id);
    let statement = sql(
        "insert group",
        "WITH made AS ( \
           INSERT INTO groups (site_id, group_id, display_name, display_name_key, external_id, role_id, \
                               business_entity_id, version, created_at, updated_at) \
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
           ON CONFLICT (site_id, display_name_key) WHERE deleted_event IS NULL DO NOTHING \
           RETURNING site_id, group_id, role_id, business_entity_id, version), \
         bound AS ( \
           INSERT INTO group_targets (site_id, group_id, role_id, business_entity_id, from_event) \
           SELECT site_id, group_id, role_id, business_entity_id, version FROM made \
           WHERE num_nonnulls(role_id, business_entity_id) = 1) \
         SELECT count(*) AS count FROM made",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(group.id.uuid())
    .bind::<Text, _>(group.display_name.clone())
    .bind::<Text, _>(name.key().to_owned())
    .bind::<Nullable<Text>, _>(group.external_id.clone())
    .bind::<Nullable<SqlUuid>, _>(target.and_then(TargetId::role))
    .bind::<Nullable<SqlUuid>, _>(target.and_then(TargetId::business_entity))
    .bind::<BigInt, _>(group.version)
    .bind::<Timestamptz, _>(tx.now)
    .bind::<Timestamptz, _>(tx.now);
    if tx.one::<Count>(statement)?.count == 1 {
        return Ok(None);
    }
    who_has_name(tx, name)?.map(Some).ok_or(Error::Contended)
}

/// Writes name, external id and target. A new target ends the old binding and begins another; the
/// memberships are not touched. Answers with who has the name where another group does.
pub(super) fn update(
    tx: &mut SiteTx<'_, '_>,
    before: &Group,
    after: &Group,
    new_name: Option<&Name>,
) -> Result<Option<(GroupId, String)>, Error> {
    if let Some(name) = new_name
        && let Some(other) = who_has_name(tx, name)?
        && other.0 != after.id
    {
        return Ok(Some(other));
    }
    let (site, group, event) = (tx.site_id(), after.id.uuid(), tx.next_event());
    let old = before.target.as_ref().map(|target| target.id);
    let new = after.target.as_ref().map(|target| target.id);
    let mut statement = sql(
        "update group",
        "WITH changed AS ( \
           UPDATE groups SET display_name = ?, display_name_key = coalesce(?, display_name_key), \
                             external_id = ?, role_id = ?, business_entity_id = ?, version = ?, updated_at = ? \
           WHERE site_id = ? AND group_id = ? RETURNING group_id)",
    )
    .bind::<Text, _>(after.display_name.clone())
    .bind::<Nullable<Text>, _>(new_name.map(|name| name.key().to_owned()))
    .bind::<Nullable<Text>, _>(after.external_id.clone())
    .bind::<Nullable<SqlUuid>, _>(new.and_then(TargetId::role))
    .bind::<Nullable<SqlUuid>, _>(new.and_then(TargetId::business_entity))
    .bind::<BigInt, _>(event)
    .bind::<Timestamptz, _>(tx.now)
    .bind::<SqlUuid, _>(site)
    .bind::<SqlUuid, _>(group);
    if old != new {
        if old.is_some() {
            statement.push(
                ", unbound AS (UPDATE group_targets SET to_event = ? \
                   WHERE site_id = ? AND group_id = ? AND to_event IS NULL RETURNING group_id)",
            );
            statement.push_bind::<BigInt, _>(event);
            statement.push_bind::<SqlUuid, _>(site);
            statement.push_bind::<SqlUuid, _>(group);
        }
        if let Some(new) = new {
            // Reads what ended the old binding, so that it runs after it: one binding holds at a time.
            statement.push(
                ", bound AS (INSERT INTO group_targets \
                   (site_id, group_id, role_id, business_entity_id, from_event) SELECT ?, ?, ?, ?, ? ",
            );
            statement.push_bind::<SqlUuid, _>(site);
            statement.push_bind::<SqlUuid, _>(group);
            statement.push_bind::<Nullable<SqlUuid>, _>(new.role());
            statement.push_bind::<Nullable<SqlUuid>, _>(new.business_entity());
            statement.push_bind::<BigInt, _>(event);
            statement.push(if old.is_some() { "FROM unbound)" } else { ")" });
        }
    }
    statement.push(" SELECT count(*) AS count FROM changed");
    match tx.one::<Count>(statement)?.count {
        1 => Ok(None),
        rows => Err(Error::bug(format!("a group's update wrote {rows} rows"))),
    }
}

#[derive(QueryableByName)]
struct MovedRow {
    #[diesel(sql_type = Array<SqlUuid>)]
    added: Vec<Uuid>,
    #[diesel(sql_type = Array<SqlUuid>)]
    removed: Vec<Uuid>,
    #[diesel(sql_type = Array<SqlUuid>)]
    gained: Vec<Uuid>,
    #[diesel(sql_type = Array<SqlUuid>)]
    lost: Vec<Uuid>,
    #[diesel(sql_type = Array<SqlUuid>)]
    unknown: Vec<Uuid>,
}

/// Puts in and takes out, in one statement whose cost follows the change and not the group: every join
/// goes from the named ids through an index. The group's version moves where anybody did.
pub(super) fn change_members(
    tx: &mut SiteTx<'_, '_>,
    group: &Group,
    adding: &[MemberId],
    removing: &[MemberId],
) -> Result<Moved, Error> {
    let target = group.target.as_ref().map(|target| target.id);
    let statement = sql(
        "change members of group",
        "WITH this AS (SELECT ?::uuid AS site_id, ?::uuid AS group_id, ?::bigint AS event, ?::timestamptz AS at, \
                              ?::uuid AS role_id, ?::uuid AS business_entity_id), \
         added AS ( \
           INSERT INTO group_members (site_id, group_id, member_id, from_event) \
           SELECT this.site_id, this.group_id, m.member_id, this.event \
           FROM this CROSS JOIN unnest(?) AS asked (member_id) \
           JOIN members m ON m.site_id = this.site_id AND m.member_id = asked.member_id \
                         AND m.deleted_event IS NULL \
           ON CONFLICT (site_id, group_id, member_id) WHERE to_event IS NULL DO NOTHING \
           RETURNING site_id, member_id), \
         removed AS ( \
           UPDATE group_members gm SET to_event = this.event FROM this \
           WHERE gm.site_id = this.site_id AND gm.group_id = this.group_id AND gm.to_event IS NULL \
             AND gm.member_id = ANY(?) \
           RETURNING gm.site_id, gm.member_id), \
         touched AS ( \
           UPDATE groups g SET version = this.event, updated_at = this.at FROM this \
           WHERE g.site_id = this.site_id AND g.group_id = this.group_id \
             AND (EXISTS (SELECT FROM added) OR EXISTS (SELECT FROM removed))) \
         SELECT ARRAY(SELECT member_id FROM added) AS added, \
                ARRAY(SELECT member_id FROM removed) AS removed, \
                ARRAY(SELECT a.member_id FROM this CROSS JOIN added a JOIN members m ON m.site_id = a.site_id AND m.member_id = a.member_id \
                      WHERE m.active AND NOT EXISTS (SELECT FROM grants d \
                        WHERE d.site_id = a.site_id AND d.member_id = a.member_id AND d.to_event IS NULL \
                          AND (d.role_id = this.role_id OR d.business_entity_id = this.business_entity_id))) \
                  AS gained, \
                ARRAY(SELECT a.member_id FROM this CROSS JOIN removed a JOIN members m ON m.site_id = a.site_id AND m.member_id = a.member_id \
                      WHERE m.active AND NOT EXISTS (SELECT FROM grants d \
                        WHERE d.site_id = a.site_id AND d.member_id = a.member_id AND d.to_event IS NULL \
                          AND (d.role_id = this.role_id OR d.business_entity_id = this.business_entity_id))) \
                  AS lost, \
                ARRAY(SELECT asked.member_id FROM this CROSS JOIN unnest(?) AS asked (member_id) \
                      WHERE NOT EXISTS (SELECT FROM members m WHERE m.site_id = this.site_id \
                        AND m.member_id = asked.member_id AND m.deleted_event IS NULL)) AS unknown",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(group.id.uuid())
    .bind::<BigInt, _>(tx.next_event())
    .bind::<Timestamptz, _>(tx.now)
    .bind::<Nullable<SqlUuid>, _>(target.and_then(TargetId::role))
    .bind::<Nullable<SqlUuid>, _>(target.and_then(TargetId::business_entity))
    .bind::<Array<SqlUuid>, _>(uuids(adding, MemberId::uuid))
    .bind::<Array<SqlUuid>, _>(uuids(removing, MemberId::uuid))
    .bind::<Array<SqlUuid>, _>(uuids(&[adding, removing].concat(), MemberId::uuid));
    let row: MovedRow = tx.one(statement)?;
    Ok(Moved {
        added: member_ids_of(row.added),
        removed: member_ids_of(row.removed),
        gained: member_ids_of(row.gained),
        lost: member_ids_of(row.lost),
        unknown: row.unknown.iter().map(ToString::to_string).collect(),
    })
}

/// Those of `members` who are active and have the target by no grant but a group's: the ones for whom
/// a group's grant of it makes the difference.
pub(super) fn with_no_other_grant(
    tx: &mut SiteTx<'_, '_>,
    members: &[MemberId],
    target: TargetId,
) -> Result<Vec<MemberId>, Error> {
    let statement = sql(
        "find members with no other grant",
        "SELECT m.member_id FROM unnest(?) AS asked (member_id) \
         JOIN members m ON m.site_id = ? AND m.member_id = asked.member_id \
         WHERE m.active AND m.deleted_event IS NULL AND NOT EXISTS (SELECT FROM grants d \
           WHERE d.site_id = m.site_id AND d.member_id = m.member_id AND d.to_event IS NULL \
             AND (d.role_id = ? OR d.business_entity_id = ?)) \
         ORDER BY m.member_id",
    )
    .bind::<Array<SqlUuid>, _>(uuids(members, MemberId::uuid))
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<Nullable<SqlUuid>, _>(target.role())
    .bind::<Nullable<SqlUuid>, _>(target.business_entity());
    let rows: Vec<MemberIdRow> = tx.load(statement)?;
    Ok(rows
        .into_iter()
        .map(|row| MemberId::from(row.member_id))
        .collect())
}

#[derive(QueryableByName)]
struct GroupIdRow {
    #[diesel(sql_type = SqlUuid)]
    group_id: Uuid,
}

/// One of these ids that is a group's, if any is.
pub(super) fn first_group(
    tx: &mut SiteTx<'_, '_>,
    ids: &[GroupId],
) -> Result<Option<GroupId>, Error> {
    let statement = sql(
        "find group among members",
        "SELECT group_id FROM groups WHERE site_id = ? AND group_id = ANY(?) AND deleted_event IS NULL LIMIT 1",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<Array<SqlUuid>, _>(uuids(ids, GroupId::uuid));
    let row: Option<GroupIdRow> = tx.first(statement)?;
    Ok(row.map(|row| GroupId::from(row.group_id)))
}

#[derive(QueryableByName)]
struct Ended {
    #[diesel(sql_type = Array<SqlUuid>)]
    member_ids: Vec<Uuid>,
}

/// Ends the group, its target and its memberships; answers with who was in it.
pub(super) fn delete(tx: &mut SiteTx<'_, '_>, id: GroupId) -> Result<Vec<MemberId>, Error> {
    let statement = sql(
        "delete group",
        "WITH this AS (SELECT ?::uuid AS site_id, ?::uuid AS group_id, ?::bigint AS event, ?::timestamptz AS at), \
         gone AS (UPDATE groups g SET deleted_event = this.event, version = this.event, updated_at = this.at \
                  FROM this WHERE g.site_id = this.site_id AND g.group_id = this.group_id), \
         unbound AS (UPDATE group_targets t SET to_event = this.event FROM this \
                     WHERE t.site_id = this.site_id AND t.group_id = this.group_id AND t.to_event IS NULL), \
         left_group AS (UPDATE group_members gm SET to_event = this.event FROM this \
                        WHERE gm.site_id = this.site_id AND gm.group_id = this.group_id \
                          AND gm.to_event IS NULL RETURNING gm.member_id) \
         SELECT ARRAY(SELECT member_id FROM left_group) AS member_ids",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(id.uuid())
    .bind::<BigInt, _>(tx.next_event())
    .bind::<Timestamptz, _>(tx.now);
    Ok(member_ids_of(tx.one::<Ended>(statement)?.member_ids))
}

/// A role or business entity that a name led to.
pub(super) struct FoundTarget {
    pub(super) target: Target,
    pub(super) is_owner: bool,
    /// The group that has it already.
    pub(super) taken_by: Option<(GroupId, String)>,
}

#[derive(QueryableByName)]
struct FoundRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    is_owner: bool,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    group_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    display_name: Option<String>,
}

pub(super) fn find_target(
    tx: &mut SiteTx<'_, '_>,
    kind: Kind,
    name_key: &str,
) -> Result<Option<FoundTarget>, Error> {
    let is_role = kind == Kind::Role;
    let statement = sql(
        "find target by name",
        if is_role {
            "SELECT r.role_id AS id, r.name, coalesce(r.built_in = 'owner', false) AS is_owner, \
                    g.group_id, g.display_name \
             FROM roles r LEFT JOIN groups g \
               ON g.site_id = r.site_id AND g.role_id = r.role_id AND g.deleted_event IS NULL \
             WHERE r.site_id = ? AND r.name_key = ? AND r.deleted_event IS NULL"
        } else {
            "SELECT b.business_entity_id AS id, b.name, false AS is_owner, g.group_id, g.display_name \
             FROM business_entities b LEFT JOIN groups g \
               ON g.site_id = b.site_id AND g.business_entity_id = b.business_entity_id \
              AND g.deleted_event IS NULL \
             WHERE b.site_id = ? AND b.name_key = ? AND b.deleted_event IS NULL"
        },
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<Text, _>(name_key.to_owned());
    let row: Option<FoundRow> = tx.first(statement)?;
    Ok(row.map(|row| FoundTarget {
        target: Target {
            id: if is_role {
                TargetId::Role(RoleId::from(row.id))
            } else {
                TargetId::BusinessEntity(BusinessEntityId::from(row.id))
            },
            name: row.name,
        },
        is_owner: row.is_owner,
        taken_by: row.group_id.map(GroupId::from).zip(row.display_name),
    }))
}

#[derive(QueryableByName)]
struct NameRow {
    #[diesel(sql_type = Text)]
    name: String,
}

/// The most names that are searched for the closest ones.
const SEARCHED_MAX: i64 = 10_000;

/// The names of everything of this kind that a group can give.
pub(super) fn all_target_names(tx: &mut SiteTx<'_, '_>, kind: Kind) -> Result<Vec<String>, Error> {
    let statement = sql(
        "list target names",
        if kind == Kind::Role {
            "SELECT name FROM roles WHERE site_id = ? AND deleted_event IS NULL \
               AND built_in IS DISTINCT FROM 'owner' ORDER BY name_key LIMIT ?"
        } else {
            "SELECT name FROM business_entities WHERE site_id = ? AND deleted_event IS NULL \
             ORDER BY name_key LIMIT ?"
        },
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<BigInt, _>(SEARCHED_MAX);
    let rows: Vec<NameRow> = tx.load(statement)?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

#[derive(QueryableByName)]
struct NamesRow {
    #[diesel(sql_type = Array<Text>)]
    roles: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    business_entities: Vec<String>,
}

/// Names of roles and of business entities that a group can give: the first `limit` of each, by name.
pub(crate) fn target_names(
    tx: &mut SiteTx<'_, '_>,
    limit: i64,
) -> Result<(Vec<String>, Vec<String>), Error> {
    let statement = sql(
        "list target names",
        "SELECT ARRAY(SELECT name FROM roles WHERE site_id = ? AND deleted_event IS NULL \
                        AND built_in IS DISTINCT FROM 'owner' ORDER BY name_key LIMIT ?) AS roles, \
                ARRAY(SELECT name FROM business_entities WHERE site_id = ? AND deleted_event IS NULL \
                      ORDER BY name_key LIMIT ?) AS business_entities",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<BigInt, _>(limit)
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<BigInt, _>(limit);
    let row: NamesRow = tx.one(statement)?;
    Ok((row.roles, row.business_entities))
}
