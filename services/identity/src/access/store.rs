//! How access is read from what is kept. A question about the past reads the same rows as one about the
//! present: each holds from one event to another.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Grant, Source, Target, TargetId,
    facts::{Entity, Facts, Holder, Named, Role, Wanted},
    moment::Moment,
};
use crate::{
    db::sql,
    error::Error,
    ids::{BusinessEntityId, GrantId, GroupId, MemberId, RoleId},
    members::MemberName,
    site_tx::SiteTx,
    sites::UnassignedReach,
};

#[derive(QueryableByName)]
struct NumberRow {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// The number of the last event at or before `time`.
pub(super) fn revision_at(
    tx: &mut SiteTx<'_, '_>,
    time: DateTime<Utc>,
) -> Result<Option<i64>, Error> {
    let statement = sql(
        "find revision at a time",
        "SELECT number FROM events WHERE site_id = ? AND occurred_at <= ? \
         ORDER BY occurred_at DESC, number DESC LIMIT 1",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<Timestamptz, _>(time);
    Ok(tx.first::<NumberRow>(statement)?.map(|row| row.number))
}

/// That the row `alias` holds at the moment. `q` has its number as `n`.
pub(super) fn in_force(alias: &str, moment: Moment) -> String {
    if moment.is_now {
        format!("{alias}.to_event IS NULL")
    } else {
        format!(
            "{alias}.from_event <= (SELECT n FROM q) \
             AND ({alias}.to_event IS NULL OR {alias}.to_event > (SELECT n FROM q))"
        )
    }
}

/// That the grant `alias` holds at the moment. `q` has as `ended_by` when what ran out is over at the latest.
pub(super) fn grant_in_force(alias: &str, moment: Moment) -> String {
    let in_force = in_force(alias, moment);
    match moment.ended_by {
        None => in_force,
        Some(_) => format!(
            "{in_force} AND {} > (SELECT ended_by FROM q)",
            said_of_grant(alias, "ends_at", "'infinity'", moment)
        ),
    }
}

/// What `column` of the grant `alias` said at the moment, `none` where it said nothing: what it says now, unless
/// it was changed since.
fn said_of_grant(alias: &str, column: &str, none: &str, moment: Moment) -> String {
    let past = if moment.is_now {
        String::new()
    } else {
        format!(
            "(SELECT coalesce(terms.{column}, {none}) FROM grant_terms terms \
              WHERE terms.site_id = {alias}.site_id AND terms.grant_id = {alias}.grant_id AND {}), ",
            in_force("terms", moment)
        )
    };
    format!("coalesce({past}{alias}.{column}, {none})")
}

/// That what `alias` names, by the id in `column`, is there at the moment. Two events may have one time: then
/// the event that tells of its making decides, which there is but for what was made with the site.
fn there(alias: &str, column: &str, moment: Moment) -> String {
    if moment.is_now {
        format!("{alias}.deleted_event IS NULL")
    } else {
        format!(
            "({alias}.created_at < (SELECT e.occurred_at FROM events e \
                                    WHERE e.site_id = (SELECT site FROM q) AND e.number = (SELECT n FROM q)) \
              OR {alias}.created_at = (SELECT s.created_at FROM sites s WHERE s.site_id = (SELECT site FROM q)) \
              OR EXISTS (SELECT FROM events e \
                         WHERE e.site_id = (SELECT site FROM q) AND e.subject_id = {alias}.{column} \
                           AND e.number <= (SELECT n FROM q))) \
             AND ({alias}.deleted_event IS NULL OR {alias}.deleted_event > (SELECT n FROM q))"
        )
    }
}

#[derive(QueryableByName)]
struct FactsRow {
    #[diesel(sql_type = Jsonb)]
    members: Value,
    #[diesel(sql_type = Jsonb)]
    roles: Value,
    #[diesel(sql_type = Jsonb)]
    entities: Value,
    #[diesel(sql_type = Jsonb)]
    unknown_permissions: Value,
    #[diesel(sql_type = Nullable<Text>)]
    division: Option<String>,
}

/// Everything that the answers to questions about these members, roles, business entities and
/// permissions follow from, at the moment: one statement, however many there are.
pub(super) fn facts(
    tx: &mut SiteTx<'_, '_>,
    moment: Moment,
    wanted: &Wanted,
) -> Result<Facts, Error> {
    let statement = sql(
        "read access",
        format!(
            "WITH q AS (SELECT ?::uuid AS site, ?::bigint AS n, ?::timestamptz AS ended_by, ?::text[] AS permissions), \
             who AS ( \
               SELECT a.ord, m.member_id, m.user_name \
               FROM unnest(?::int[], ?::uuid[]) a(ord, id) \
               JOIN members m ON m.site_id = (SELECT site FROM q) AND m.member_id = a.id \
               WHERE {member_there} \
               UNION ALL \
               SELECT a.ord, m.member_id, m.user_name \
               FROM unnest(?::int[], ?::text[]) a(ord, key) \
               JOIN members m ON m.site_id = (SELECT site FROM q) AND m.user_name_key = a.key \
                    AND m.deleted_event IS NULL \
               WHERE {member_there}), \
             person AS (SELECT DISTINCT member_id FROM who), \
             held AS ( \
               SELECT p.member_id, t.role_id, t.business_entity_id, g.group_id, NULL::uuid AS grant_id, \
                      NULL::text AS kind, g.display_name AS source, '' AS reason, NULL::timestamptz AS ends_at, \
                      greatest(gm.from_event, t.from_event) AS since_event \
               FROM person p \
               JOIN group_members gm ON gm.site_id = (SELECT site FROM q) AND gm.member_id = p.member_id \
               JOIN group_targets t ON t.site_id = gm.site_id AND t.group_id = gm.group_id \
               JOIN groups g ON g.site_id = gm.site_id AND g.group_id = gm.group_id \
               WHERE {membership} AND {target} \
               UNION ALL \
               SELECT p.member_id, d.role_id, d.business_entity_id, NULL, d.grant_id, d.source, d.actor, {reason}, \
                      nullif({ends_at}, 'infinity'), d.from_event \
               FROM person p \
               JOIN grants d ON d.site_id = (SELECT site FROM q) AND d.member_id = p.member_id \
               WHERE {grant}), \
             named AS ( \
               SELECT h.*, coalesce(r.name, b.name) AS name, coalesce(r.name_key, b.name_key) AS name_key, \
                      e.occurred_at AS since \
               FROM held h \
               JOIN events e ON e.site_id = (SELECT site FROM q) AND e.number = h.since_event \
               LEFT JOIN roles r ON r.site_id = (SELECT site FROM q) AND r.role_id = h.role_id \
               LEFT JOIN business_entities b ON b.site_id = (SELECT site FROM q) \
                    AND b.business_entity_id = h.business_entity_id) \
             SELECT \
               (SELECT coalesce(jsonb_agg(jsonb_build_object('ord', w.ord, 'id', w.member_id, \
                  'user_name', w.user_name, \
                  'active', EXISTS (SELECT FROM member_activity a WHERE a.site_id = (SELECT site FROM q) \
                                    AND a.member_id = w.member_id AND {activity}), \
                  'grants', (SELECT coalesce(jsonb_agg(jsonb_build_object('role', h.role_id, \
                       'business_entity', h.business_entity_id, 'name', h.name, 'group', h.group_id, \
                       'grant', h.grant_id, 'kind', h.kind, 'source', h.source, 'reason', h.reason, \
                       'ends_at', h.ends_at, 'since', h.since, 'since_event', h.since_event) \
                     ORDER BY h.role_id IS NULL, h.name_key, h.group_id IS NULL, h.since_event), '[]') \
                     FROM named h WHERE h.member_id = w.member_id))), '[]') FROM who w) AS members, \
               (SELECT coalesce(jsonb_agg(jsonb_build_object('id', r.role_id, 'name', r.name, 'key', r.name_key, \
                  'built_in', r.built_in, \
                  'permissions', ARRAY(SELECT p.permission FROM role_permissions p \
                                       WHERE p.site_id = r.site_id AND p.role_id = r.role_id AND {permission} \
                                         AND ((SELECT permissions FROM q) IS NULL \
                                              OR p.permission = ANY((SELECT permissions FROM q)::text[])) \
                                       ORDER BY p.permission)) \
                  ORDER BY r.name_key, r.deleted_event IS NOT NULL, r.role_id), '[]') \
                FROM roles r \
                WHERE r.site_id = (SELECT site FROM q) AND {role_there} \
                  AND (r.role_id = ANY(?::uuid[]) OR r.name_key = ANY(?::text[]) OR r.built_in IN ('owner', 'admin') \
                       OR EXISTS (SELECT FROM held h WHERE h.role_id = r.role_id) \
                       OR EXISTS (SELECT FROM role_permissions p \
                                  WHERE p.site_id = r.site_id AND p.role_id = r.role_id AND {permission} \
                                    AND p.permission = ANY((SELECT permissions FROM q)::text[])))) AS roles, \
               (SELECT coalesce(jsonb_agg(jsonb_build_object('id', b.business_entity_id, 'name', b.name, \
                  'key', b.name_key) ORDER BY b.deleted_event IS NOT NULL, b.business_entity_id), '[]') \
                FROM business_entities b \
                WHERE b.site_id = (SELECT site FROM q) AND {entity_there} \
                  AND (b.business_entity_id = ANY(?::uuid[]) OR b.name_key = ANY(?::text[]))) AS entities, \
               (SELECT coalesce(jsonb_agg(asked.permission), '[]') \
                FROM unnest((SELECT permissions FROM q)) asked(permission) \
                WHERE NOT EXISTS (SELECT FROM permissions p WHERE p.permission = asked.permission)) \
                 AS unknown_permissions, \
               (SELECT v.unassigned_reach FROM site_divisions v \
                WHERE v.site_id = (SELECT site FROM q) AND {division}) AS division",
            member_there = there("m", "member_id", moment),
            membership = in_force("gm", moment),
            target = in_force("t", moment),
            grant = grant_in_force("d", moment),
            reason = said_of_grant("d", "reason", "''", moment),
            ends_at = said_of_grant("d", "ends_at", "'infinity'", moment),
            activity = in_force("a", moment),
            permission = in_force("p", moment),
            role_there = there("r", "role_id", moment),
            entity_there = there("b", "business_entity_id", moment),
            division = in_force("v", moment),
        ),
    );
    let (mut ids, mut keys) = ((vec![], vec![]), (vec![], vec![]));
    for (place, member) in (0..).zip(&wanted.members) {
        match member {
            MemberName::Id(id) => {
                ids.0.push(place);
                ids.1.push(id.uuid());
            }
            MemberName::UserName(key) => {
                keys.0.push(place);
                keys.1.push(key.clone());
            }
        }
    }
    let (role_ids, role_keys) = split(&wanted.roles);
    let (entity_ids, entity_keys) = split(&wanted.entities);
    let statement = statement
        .bind::<SqlUuid, _>(tx.site_id())
        .bind::<BigInt, _>(moment.revision)
        .bind::<Nullable<Timestamptz>, _>(moment.ended_by)
        .bind::<Nullable<Array<Text>>, _>(wanted.permissions.clone())
        .bind::<Array<Integer>, _>(ids.0)
        .bind::<Array<SqlUuid>, _>(ids.1)
        .bind::<Array<Integer>, _>(keys.0)
        .bind::<Array<Text>, _>(keys.1)
        .bind::<Array<SqlUuid>, _>(role_ids)
        .bind::<Array<Text>, _>(role_keys)
        .bind::<Array<SqlUuid>, _>(entity_ids)
        .bind::<Array<Text>, _>(entity_keys);
    let row: FactsRow = tx.one(statement)?;
    let members: Vec<MemberParts> = parts(row.members)?;
    let roles: Vec<RoleParts> = parts(row.roles)?;
    let entities: Vec<EntityParts> = parts(row.entities)?;
    let mut holders: Vec<Option<Holder>> = Vec::new();
    holders.resize_with(wanted.members.len(), || None);
    for member in members {
        let place = member.ord;
        let slot = holders
            .get_mut(place)
            .ok_or_else(|| Error::bug("a member that was not asked for"))?;
        *slot = Some(member.into_holder()?);
    }
    Ok(Facts {
        moment,
        holders,
        roles: roles.into_iter().map(Into::into).collect(),
        entities: entities.into_iter().map(Into::into).collect(),
        unknown_permissions: parts(row.unknown_permissions)?,
        division: row
            .division
            .map(|kept| UnassignedReach::parse(&kept))
            .transpose()?,
    })
}

fn split(names: &[Named]) -> (Vec<Uuid>, Vec<String>) {
    let (mut ids, mut keys) = (Vec::new(), Vec::new());
    for name in names {
        match name {
            Named::Id(id) => ids.push(*id),
            Named::Key(key) => keys.push(key.clone()),
            Named::Nothing => {}
        }
    }
    (ids, keys)
}

fn parts<T: DeserializeOwned>(kept: Value) -> Result<T, Error> {
    serde_json::from_value(kept).map_err(|error| Error::Internal(Box::new(error)))
}

#[derive(Deserialize)]
struct MemberParts {
    ord: usize,
    id: Uuid,
    user_name: String,
    active: bool,
    grants: Vec<GrantParts>,
}

impl MemberParts {
    fn into_holder(self) -> Result<Holder, Error> {
        Ok(Holder {
            id: MemberId::from(self.id),
            user_name: self.user_name,
            active: self.active,
            grants: self
                .grants
                .into_iter()
                .map(GrantParts::into_grant)
                .collect::<Result<_, _>>()?,
        })
    }
}

#[derive(Deserialize)]
struct GrantParts {
    role: Option<Uuid>,
    business_entity: Option<Uuid>,
    name: String,
    group: Option<Uuid>,
    grant: Option<Uuid>,
    kind: Option<String>,
    source: String,
    reason: String,
    ends_at: Option<DateTime<Utc>>,
    since: DateTime<Utc>,
    since_event: i64,
}

impl GrantParts {
    fn into_grant(self) -> Result<Grant, Error> {
        let id = match (self.role, self.business_entity) {
            (Some(id), None) => TargetId::Role(RoleId::from(id)),
            (None, Some(id)) => TargetId::BusinessEntity(BusinessEntityId::from(id)),
            _ => return Err(Error::bug("a grant has not exactly one target")),
        };
        let source = match (self.group, self.grant) {
            (Some(id), _) => Source::Group {
                id: GroupId::from(id),
                display_name: self.source,
            },
            (None, Some(_)) if self.kind.as_deref() == Some("entitlement") => Source::Entitlement,
            (None, Some(id)) => Source::Direct {
                id: GrantId::from(id),
                actor: self.source,
                reason: self.reason,
                ends_at: self.ends_at,
            },
            (None, None) => return Err(Error::bug("a grant has no source")),
        };
        Ok(Grant {
            target: Target {
                id,
                name: self.name,
            },
            source,
            since: self.since,
            since_event: self.since_event,
        })
    }
}

#[derive(Deserialize)]
struct RoleParts {
    id: Uuid,
    name: String,
    key: String,
    built_in: Option<String>,
    permissions: Vec<String>,
}

impl From<RoleParts> for Role {
    fn from(role: RoleParts) -> Self {
        let reaches_all = matches!(role.built_in.as_deref(), Some("owner" | "admin"));
        Self {
            id: RoleId::from(role.id),
            is_owner: role.built_in.as_deref() == Some("owner"),
            name: role.name,
            key: role.key,
            reaches_all,
            permissions: role.permissions,
        }
    }
}

#[derive(Deserialize)]
struct EntityParts {
    id: Uuid,
    name: String,
    key: String,
}

impl From<EntityParts> for Entity {
    fn from(entity: EntityParts) -> Self {
        Self {
            id: BusinessEntityId::from(entity.id),
            name: entity.name,
            key: entity.key,
        }
    }
}

#[derive(QueryableByName)]
struct GroupRow {
    #[diesel(sql_type = SqlUuid)]
    group_id: Uuid,
    #[diesel(sql_type = Text)]
    display_name: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    role_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    business_entity_id: Option<Uuid>,
}

/// The groups that give any of these today, by what they give.
pub(super) fn groups_giving(
    tx: &mut SiteTx<'_, '_>,
    targets: &[Target],
) -> Result<HashMap<TargetId, (GroupId, String)>, Error> {
    if targets.is_empty() {
        return Ok(HashMap::new());
    }
    let ids = |of: fn(TargetId) -> Option<Uuid>| -> Vec<Uuid> {
        targets.iter().filter_map(|target| of(target.id)).collect()
    };
    let statement = sql(
        "find groups giving targets",
        "SELECT group_id, display_name, role_id, business_entity_id FROM groups \
         WHERE site_id = ? AND deleted_event IS NULL \
           AND (role_id = ANY(?) OR business_entity_id = ANY(?))",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<Array<SqlUuid>, _>(ids(TargetId::role))
    .bind::<Array<SqlUuid>, _>(ids(TargetId::business_entity));
    let rows: Vec<GroupRow> = tx.load(statement)?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let role = row.role_id.map(|id| TargetId::Role(RoleId::from(id)));
            let entity = row
                .business_entity_id
                .map(|id| TargetId::BusinessEntity(BusinessEntityId::from(id)));
            Some((
                role.or(entity)?,
                (GroupId::from(row.group_id), row.display_name),
            ))
        })
        .collect())
}
