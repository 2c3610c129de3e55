//! How members are kept.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Entitled, Member, MemberName, Named, NewMember, Profile, fields::MemberFields, not_found,
};
use crate::{
    access::{Target, TargetId},
    db::{Sql, sql},
    error::Error,
    filter::{Query, Rows},
    ids::{BusinessEntityId, GroupId, MemberId, RoleId},
    names::Name,
    site_tx::SiteTx,
};

/// Members `m` with groups and granted targets, in one statement however many they are; a condition follows.
fn select_members(tx: &SiteTx<'_, '_>, name: &'static str) -> Sql {
    let shown = shown(tx, "NULL::text");
    sql(
        name,
        format!("{shown} FROM members m WHERE m.deleted_event IS NULL"),
    )
}

/// What is selected of members `m`; `sort_key` is an expression of ours.
fn shown(tx: &SiteTx<'_, '_>, sort_key: &str) -> String {
    let members = MEMBERS.replace("{holds}", tx.grant_holds());
    format!("SELECT {sort_key} AS sort_key, {members}")
}

/// `{holds}` stands for when a grant `d` holds. In the order of bytes, as we sort: the ETag follows from it, whatever
/// the database's collation is.
const MEMBERS: &str = "\
    m.member_id, m.user_name, m.external_id, m.active, m.profile, m.version, m.created_at, m.updated_at, \
      (SELECT coalesce(jsonb_agg(jsonb_build_array(g.group_id, g.display_name) ORDER BY g.display_name_key COLLATE \"C\"), '[]') \
         FROM group_members gm JOIN groups g USING (site_id, group_id) \
        WHERE gm.site_id = m.site_id AND gm.member_id = m.member_id AND gm.to_event IS NULL) AS groups, \
      (SELECT coalesce(jsonb_agg(jsonb_build_array(r.role_id, r.name, r.built_in) ORDER BY r.name_key COLLATE \"C\"), '[]') \
         FROM (SELECT g.role_id FROM group_members gm JOIN groups g USING (site_id, group_id) \
                WHERE gm.site_id = m.site_id AND gm.member_id = m.member_id AND gm.to_event IS NULL \
               UNION SELECT d.role_id FROM grants d \
                WHERE d.site_id = m.site_id AND d.member_id = m.member_id AND {holds}) h \
         JOIN roles r ON r.site_id = m.site_id AND r.role_id = h.role_id) AS roles, \
      (SELECT coalesce(jsonb_agg(jsonb_build_array(b.business_entity_id, b.name, null) ORDER BY b.name_key COLLATE \"C\"), '[]') \
         FROM (SELECT g.business_entity_id FROM group_members gm JOIN groups g USING (site_id, group_id) \
                WHERE gm.site_id = m.site_id AND gm.member_id = m.member_id AND gm.to_event IS NULL \
               UNION SELECT d.business_entity_id FROM grants d \
                WHERE d.site_id = m.site_id AND d.member_id = m.member_id AND {holds}) h \
         JOIN business_entities b ON b.site_id = m.site_id AND b.business_entity_id = h.business_entity_id) \
        AS business_entities, \
      (SELECT coalesce(jsonb_agg(jsonb_build_array(d.role_id, d.business_entity_id, coalesce(r.name, b.name), \
                coalesce(r.built_in = 'admin', false), \
                EXISTS (SELECT FROM grants o WHERE o.site_id = d.site_id AND o.member_id = d.member_id \
                        AND o.to_event IS NULL AND o.source <> 'entitlement' \
                        AND (o.role_id = d.role_id OR o.business_entity_id = d.business_entity_id)) \
                OR EXISTS (SELECT FROM group_members gm JOIN groups g USING (site_id, group_id) \
                           WHERE gm.site_id = d.site_id AND gm.member_id = d.member_id AND gm.to_event IS NULL \
                             AND (g.role_id = d.role_id OR g.business_entity_id = d.business_entity_id))) \
              ORDER BY coalesce(r.name_key, b.name_key) COLLATE \"C\"), '[]') \
         FROM grants d \
         LEFT JOIN roles r ON r.site_id = d.site_id AND r.role_id = d.role_id \
         LEFT JOIN business_entities b ON b.site_id = d.site_id AND b.business_entity_id = d.business_entity_id \
        WHERE d.site_id = m.site_id AND d.member_id = m.member_id AND d.to_event IS NULL \
          AND d.source = 'entitlement') AS entitled";

#[derive(QueryableByName)]
struct MemberRow {
    #[diesel(sql_type = Nullable<Text>)]
    sort_key: Option<String>,
    #[diesel(sql_type = SqlUuid)]
    member_id: Uuid,
    #[diesel(sql_type = Text)]
    user_name: String,
    #[diesel(sql_type = Nullable<Text>)]
    external_id: Option<String>,
    #[diesel(sql_type = Bool)]
    active: bool,
    #[diesel(sql_type = Jsonb)]
    profile: Value,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    updated_at: DateTime<Utc>,
    #[diesel(sql_type = Jsonb)]
    groups: Value,
    #[diesel(sql_type = Jsonb)]
    roles: Value,
    #[diesel(sql_type = Jsonb)]
    business_entities: Value,
    #[diesel(sql_type = Jsonb)]
    entitled: Value,
}

/// Role, business entity, name, whether it is Admin, whether it is held otherwise.
type EntitledParts = Vec<(Option<Uuid>, Option<Uuid>, String, bool, bool)>;

type TargetParts = Vec<(Uuid, String, Option<String>)>;

impl MemberRow {
    fn into_member(self) -> Result<Member, Error> {
        let bug = |error: serde_json::Error| Error::Internal(Box::new(error));
        let groups: Vec<(Uuid, String)> = serde_json::from_value(self.groups).map_err(bug)?;
        let roles: TargetParts = serde_json::from_value(self.roles).map_err(bug)?;
        let entities: TargetParts = serde_json::from_value(self.business_entities).map_err(bug)?;
        let entitled: EntitledParts = serde_json::from_value(self.entitled).map_err(bug)?;
        let has = |built_in: &str| roles.iter().any(|role| role.2.as_deref() == Some(built_in));
        Ok(Member {
            id: MemberId::from(self.member_id),
            user_name: Name::user_name(&self.user_name)?,
            external_id: self.external_id,
            active: self.active,
            profile: Profile::from_json(self.profile)?,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
            groups: groups
                .into_iter()
                .map(|(id, name)| (GroupId::from(id), name))
                .collect(),
            entitled: entitled
                .into_iter()
                .filter_map(|(role, entity, name, is_admin, otherwise)| {
                    let role = role.map(|id| TargetId::Role(RoleId::from(id)));
                    let entity =
                        entity.map(|id| TargetId::BusinessEntity(BusinessEntityId::from(id)));
                    let target = Target {
                        id: role.or(entity)?,
                        name,
                    };
                    Some(Entitled {
                        target,
                        otherwise,
                        is_admin,
                    })
                })
                .collect(),
            is_owner: has("owner"),
            is_admin: has("admin"),
            roles: roles
                .into_iter()
                .map(|(id, name, _)| Target {
                    id: TargetId::Role(RoleId::from(id)),
                    name,
                })
                .collect(),
            business_entities: entities
                .into_iter()
                .map(|(id, name, _)| Target {
                    id: TargetId::BusinessEntity(BusinessEntityId::from(id)),
                    name,
                })
                .collect(),
        })
    }
}

/// The member of that name, if there is one.
fn find(tx: &mut SiteTx<'_, '_>, name: &MemberName) -> Result<Option<Member>, Error> {
    let mut statement = select_members(tx, "get member");
    statement.push(" AND m.site_id = ?");
    statement.push_bind::<SqlUuid, _>(tx.site_id());
    match name {
        MemberName::Id(id) => {
            statement.push(" AND m.member_id = ?");
            statement.push_bind::<SqlUuid, _>(id.uuid());
        }
        MemberName::UserName(key) => {
            statement.push(" AND m.user_name_key = ?");
            statement.push_bind::<Text, _>(key.clone());
        }
    }
    tx.first::<MemberRow>(statement)?
        .map(MemberRow::into_member)
        .transpose()
}

/// The member of that name, who must be there.
pub(crate) fn require(tx: &mut SiteTx<'_, '_>, name: &MemberName) -> Result<Member, Error> {
    find(tx, name)?.ok_or_else(not_found)
}

/// Whether the site has a member of that id, or had one who was deleted.
pub(crate) fn was_ever(tx: &mut SiteTx<'_, '_>, id: MemberId) -> Result<bool, Error> {
    let statement = sql(
        "find member of any time",
        "SELECT member_id AS id FROM members WHERE site_id = ? AND member_id = ?",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(id.uuid());
    Ok(tx.first::<IdRow>(statement)?.is_some())
}

/// Those of these members who are there.
pub(super) fn get_several(tx: &mut SiteTx<'_, '_>, named: &Named) -> Result<Vec<Member>, Error> {
    let (mut ids, mut keys) = (Vec::new(), Vec::new());
    for name in named.keys() {
        match name {
            MemberName::Id(id) => ids.push(id.uuid()),
            MemberName::UserName(key) => keys.push(key.clone()),
        }
    }
    let mut statement = select_members(tx, "get members");
    statement.push(" AND m.site_id = ? AND (m.member_id = ANY(?) OR m.user_name_key = ANY(?))");
    statement.push_bind::<SqlUuid, _>(tx.site_id());
    statement.push_bind::<Array<SqlUuid>, _>(ids);
    statement.push_bind::<Array<Text>, _>(keys);
    tx.load::<MemberRow>(statement)?
        .into_iter()
        .map(MemberRow::into_member)
        .collect()
}

/// The members of a page, each with what it is ordered by.
pub(super) fn list(
    tx: &mut SiteTx<'_, '_>,
    query: &Query,
    rows: &Rows,
) -> Result<Vec<(Member, Option<String>)>, Error> {
    let fields = MemberFields::of(tx);
    // The page is cut first: of the rows that are passed over, nothing is worked out.
    let shown = shown(tx, &query.sort_key(&fields)?);
    let mut statement = sql(
        "list members",
        format!(
            "{shown} FROM (SELECT m.* FROM members m WHERE m.deleted_event IS NULL AND m.site_id = ?"
        ),
    )
    .bind::<SqlUuid, _>(tx.site_id());
    query.push_page(&mut statement, &fields, rows)?;
    statement.push(") m");
    query.push_order_again(&mut statement, &fields)?;
    tx.load::<MemberRow>(statement)?
        .into_iter()
        .map(|mut row| {
            let key = row.sort_key.take();
            Ok((row.into_member()?, key))
        })
        .collect()
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// How many members match.
pub(super) fn count(tx: &mut SiteTx<'_, '_>, query: &Query) -> Result<i64, Error> {
    let fields = MemberFields::of(tx);
    let mut statement = sql(
        "count members",
        "SELECT count(*) AS count FROM members m WHERE m.deleted_event IS NULL AND m.site_id = ?",
    )
    .bind::<SqlUuid, _>(tx.site_id());
    query.push_condition(&mut statement, &fields)?;
    Ok(tx.one::<Count>(statement)?.count)
}

#[derive(QueryableByName)]
struct Written {
    #[diesel(sql_type = BigInt)]
    written: i64,
}

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// Makes the member; answers with who has the user name where somebody else does.
pub(super) fn insert(
    tx: &mut SiteTx<'_, '_>,
    id: MemberId,
    new: &NewMember,
) -> Result<Option<MemberId>, Error> {
    let statement = sql(
        "insert member",
        "WITH made AS ( \
           INSERT INTO members (site_id, member_id, user_name, user_name_key, external_id, active, profile, \
                                profile_keys, email_keys, display_name_key, version, created_at, updated_at) \
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
           ON CONFLICT (site_id, user_name_key) WHERE deleted_event IS NULL DO NOTHING \
           RETURNING site_id, member_id, active, version), \
         began AS ( \
           INSERT INTO member_activity (site_id, member_id, from_event) \
           SELECT site_id, member_id, version FROM made WHERE active) \
         SELECT count(*) AS written FROM made",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(id.uuid())
    .bind::<Text, _>(new.user_name.as_str().to_owned())
    .bind::<Text, _>(new.user_name.key().to_owned())
    .bind::<Nullable<Text>, _>(new.external_id.clone())
    .bind::<Bool, _>(new.active)
    .bind::<Jsonb, _>(new.profile.to_json())
    .bind::<Jsonb, _>(new.profile.folded(&new.user_name))
    .bind::<Array<Text>, _>(new.profile.email_keys(&new.user_name))
    .bind::<Nullable<Text>, _>(new.profile.display_name_key())
    .bind::<BigInt, _>(tx.next_event())
    .bind::<Timestamptz, _>(tx.now)
    .bind::<Timestamptz, _>(tx.now);
    if tx.one::<Written>(statement)?.written == 1 {
        return Ok(None);
    }
    who_has(tx, &new.user_name)?
        .map(Some)
        .ok_or(Error::Contended)
}

fn who_has(tx: &mut SiteTx<'_, '_>, user_name: &Name) -> Result<Option<MemberId>, Error> {
    let statement = sql(
        "find user name",
        "SELECT member_id AS id FROM members \
         WHERE site_id = ? AND user_name_key = ? AND deleted_event IS NULL",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<Text, _>(user_name.key().to_owned());
    Ok(tx
        .first::<IdRow>(statement)?
        .map(|row| MemberId::from(row.id)))
}

/// Writes the member's attributes, and begins or ends its activity; answers with who has the new user
/// name where somebody else does.
pub(super) fn update(
    tx: &mut SiteTx<'_, '_>,
    before: &Member,
    after: &Member,
) -> Result<Option<MemberId>, Error> {
    if before.user_name.key() != after.user_name.key()
        && let Some(taken) = who_has(tx, &after.user_name)?
    {
        return Ok(Some(taken));
    }
    let (site, member, event) = (tx.site_id(), after.id.uuid(), tx.next_event());
    let mut statement = sql(
        "update member",
        "WITH changed AS ( \
           UPDATE members SET user_name = ?, user_name_key = ?, external_id = ?, active = ?, profile = ?, \
                              profile_keys = ?, email_keys = ?, display_name_key = ?, version = ?, updated_at = ? \
           WHERE site_id = ? AND member_id = ? AND deleted_event IS NULL RETURNING member_id)",
    )
    .bind::<Text, _>(after.user_name.as_str().to_owned())
    .bind::<Text, _>(after.user_name.key().to_owned())
    .bind::<Nullable<Text>, _>(after.external_id.clone())
    .bind::<Bool, _>(after.active)
    .bind::<Jsonb, _>(after.profile.to_json())
    .bind::<Jsonb, _>(after.profile.folded(&after.user_name))
    .bind::<Array<Text>, _>(after.profile.email_keys(&after.user_name))
    .bind::<Nullable<Text>, _>(after.profile.display_name_key())
    .bind::<BigInt, _>(event)
    .bind::<Timestamptz, _>(tx.now)
    .bind::<SqlUuid, _>(site)
    .bind::<SqlUuid, _>(member);
    match (before.active, after.active) {
        (true, false) => {
            statement.push(
                ", ended AS (UPDATE member_activity SET to_event = ? \
                   WHERE site_id = ? AND member_id = ? AND to_event IS NULL)",
            );
            statement.push_bind::<BigInt, _>(event);
            statement.push_bind::<SqlUuid, _>(site);
            statement.push_bind::<SqlUuid, _>(member);
        }
        (false, true) => {
            statement.push(
                ", began AS (INSERT INTO member_activity (site_id, member_id, from_event) VALUES (?, ?, ?))",
            );
            statement.push_bind::<SqlUuid, _>(site);
            statement.push_bind::<SqlUuid, _>(member);
            statement.push_bind::<BigInt, _>(event);
        }
        _ => {}
    }
    statement.push(" SELECT count(*) AS written FROM changed");
    match tx.one::<Written>(statement)?.written {
        1 => Ok(None),
        rows => Err(Error::bug(format!("a member's update wrote {rows} rows"))),
    }
}

/// Ends everything the member has and takes it out of the present. The groups it was in get a new
/// version, as they show one member less.
pub(super) fn delete(tx: &mut SiteTx<'_, '_>, member: MemberId) -> Result<(), Error> {
    let (site, member, event) = (tx.site_id(), member.uuid(), tx.next_event());
    let statement = sql(
        "delete member",
        "WITH this AS (SELECT ?::uuid AS site_id, ?::uuid AS member_id, ?::bigint AS event, ?::timestamptz AS at), \
         gone AS (UPDATE members m SET deleted_event = this.event, version = this.event, updated_at = this.at \
                  FROM this WHERE m.site_id = this.site_id AND m.member_id = this.member_id), \
         inactive AS (UPDATE member_activity a SET to_event = this.event FROM this \
                      WHERE a.site_id = this.site_id AND a.member_id = this.member_id AND a.to_event IS NULL), \
         ended AS (UPDATE grants d SET to_event = this.event FROM this \
                   WHERE d.site_id = this.site_id AND d.member_id = this.member_id AND d.to_event IS NULL), \
         left_groups AS (UPDATE group_members gm SET to_event = this.event FROM this \
                         WHERE gm.site_id = this.site_id AND gm.member_id = this.member_id \
                           AND gm.to_event IS NULL RETURNING gm.group_id) \
         UPDATE groups g SET version = this.event, updated_at = this.at FROM this \
         WHERE g.site_id = this.site_id AND g.group_id IN (SELECT group_id FROM left_groups)",
    )
    .bind::<SqlUuid, _>(site)
    .bind::<SqlUuid, _>(member)
    .bind::<BigInt, _>(event)
    .bind::<Timestamptz, _>(tx.now);
    tx.execute(statement).map(drop)
}

#[derive(QueryableByName)]
struct TargetRow {
    #[diesel(sql_type = Bool)]
    is_role: bool,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Nullable<Text>)]
    built_in: Option<String>,
}

fn split(ids: &[TargetId]) -> (Vec<Uuid>, Vec<Uuid>) {
    (
        ids.iter().filter_map(|id| id.role()).collect(),
        ids.iter().filter_map(|id| id.business_entity()).collect(),
    )
}

/// Those of these roles and business entities that the site has, each with which built-in role it is.
pub(super) fn find_targets(
    tx: &mut SiteTx<'_, '_>,
    ids: &[TargetId],
) -> Result<Vec<(Target, Option<String>)>, Error> {
    let (roles, entities) = split(ids);
    let statement = sql(
        "find targets",
        "SELECT true AS is_role, role_id AS id, name, built_in FROM roles \
          WHERE site_id = ? AND role_id = ANY(?) AND deleted_event IS NULL \
         UNION ALL SELECT false, business_entity_id, name, NULL FROM business_entities \
          WHERE site_id = ? AND business_entity_id = ANY(?) AND deleted_event IS NULL",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<Array<SqlUuid>, _>(roles)
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<Array<SqlUuid>, _>(entities);
    let rows: Vec<TargetRow> = tx.load(statement)?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let id = if row.is_role {
                TargetId::Role(RoleId::from(row.id))
            } else {
                TargetId::BusinessEntity(BusinessEntityId::from(row.id))
            };
            (Target { id, name: row.name }, row.built_in)
        })
        .collect())
}

/// Grants these by the member's entitlement attribute.
pub(super) fn add_entitlements(
    tx: &mut SiteTx<'_, '_>,
    member: MemberId,
    ids: &[TargetId],
) -> Result<(), Error> {
    let (roles, entities) = split(ids);
    let statement = sql(
        "insert entitlements",
        "INSERT INTO grants (site_id, grant_id, member_id, role_id, business_entity_id, source, actor, \
                             reason, from_event) \
         SELECT ?, gen_random_uuid(), ?, a.role_id, a.business_entity_id, 'entitlement', ?, '', ? \
         FROM (SELECT role_id, NULL::uuid AS business_entity_id FROM unnest(?) AS r (role_id) \
               UNION ALL SELECT NULL, business_entity_id FROM unnest(?) AS b (business_entity_id)) a",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(member.uuid())
    .bind::<Text, _>(tx.caller.label().to_owned())
    .bind::<BigInt, _>(tx.next_event())
    .bind::<Array<SqlUuid>, _>(roles)
    .bind::<Array<SqlUuid>, _>(entities);
    tx.execute(statement).map(drop)
}

/// Ends what the member's entitlement attribute granted of these.
pub(super) fn end_entitlements(
    tx: &mut SiteTx<'_, '_>,
    member: MemberId,
    ids: &[TargetId],
) -> Result<(), Error> {
    let (roles, entities) = split(ids);
    let statement = sql(
        "end entitlements",
        "UPDATE grants SET to_event = ? WHERE site_id = ? AND member_id = ? AND to_event IS NULL \
           AND source = 'entitlement' AND (role_id = ANY(?) OR business_entity_id = ANY(?))",
    )
    .bind::<BigInt, _>(tx.next_event())
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(member.uuid())
    .bind::<Array<SqlUuid>, _>(roles)
    .bind::<Array<SqlUuid>, _>(entities);
    tx.execute(statement).map(drop)
}
