//! Who is on the next page of a listing: ids of members, in their order, each page at the cost of its own
//! size however many members there are.

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Nullable, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::{
    Extent,
    moment::Moment,
    store::{grant_in_force, in_force},
};
use crate::{
    db::sql,
    error::Error,
    ids::{BusinessEntityId, MemberId, RoleId},
    site_tx::SiteTx,
    sites::UnassignedReach,
};

/// Which members are wanted: active ones.
#[derive(Clone, Debug)]
pub(super) struct Candidates {
    pub(super) moment: Moment,
    pub(super) division: Option<UnassignedReach>,
    /// Owner and Admin.
    pub(super) chiefs: Vec<RoleId>,
    /// Those who hold one of these; none: whatever they hold.
    pub(super) roles: Option<Vec<RoleId>>,
    /// Those whose roles reach something: this business entity, or anything; none: however far.
    pub(super) reaching: Option<Option<BusinessEntityId>>,
    /// Those after this one.
    pub(super) after: Uuid,
    pub(super) limit: i64,
}

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = SqlUuid)]
    member_id: Uuid,
}

impl Candidates {
    /// The ids, at most `limit` of them.
    pub(super) fn load(&self, tx: &mut SiteTx<'_, '_>) -> Result<Vec<MemberId>, Error> {
        let uuids = |ids: &[RoleId]| ids.iter().map(|id| id.uuid()).collect::<Vec<_>>();
        let entity = self.reaching.flatten();
        // A listing by reach alone begins at those who have a reason to reach the entity, where one is needed.
        let needs_reason = self.extent(false) == Extent::Nothing;
        let (roles, entities) = match &self.roles {
            Some(roles) => (uuids(roles), vec![]),
            None if needs_reason => (
                uuids(&self.chiefs),
                entity.iter().map(|id| id.uuid()).collect(),
            ),
            None => (vec![], vec![]),
        };
        let by_reason = self.roles.is_some() || needs_reason;
        let statement = sql(
            if by_reason {
                "list members by access"
            } else {
                "list active members"
            },
            format!(
                "WITH q AS (SELECT ?::uuid AS site, ?::bigint AS n, ?::timestamptz AS ended_by, ?::uuid AS after, ?::bigint AS take, \
                                   ?::uuid[] AS roles, ?::uuid[] AS entities, ?::uuid[] AS chiefs, ?::uuid AS entity) {}",
                if by_reason {
                    self.by_reason()
                } else {
                    self.all_active()
                }
            ),
        )
        .bind::<SqlUuid, _>(tx.site_id())
        .bind::<BigInt, _>(self.moment.revision)
        .bind::<Nullable<Timestamptz>, _>(self.moment.ended_by)
        .bind::<SqlUuid, _>(self.after)
        .bind::<BigInt, _>(self.limit)
        .bind::<Array<SqlUuid>, _>(roles)
        .bind::<Array<SqlUuid>, _>(entities)
        .bind::<Array<SqlUuid>, _>(uuids(&self.chiefs))
        .bind::<Nullable<SqlUuid>, _>(entity.map(|id| id.uuid()));
        let rows: Vec<IdRow> = tx.load(statement)?;
        Ok(rows
            .into_iter()
            .map(|row| MemberId::from(row.member_id))
            .collect())
    }

    fn all_active(&self) -> String {
        format!(
            "SELECT a.member_id FROM member_activity a \
             WHERE a.site_id = (SELECT site FROM q) AND a.member_id > (SELECT after FROM q) \
               AND {activity} AND ({reach}) \
             ORDER BY a.member_id LIMIT (SELECT take FROM q)",
            activity = in_force("a", self.moment),
            reach = self.reach("a"),
        )
    }

    /// Each group and each kind of grant gives its first ones; the first ones of all are among them.
    fn by_reason(&self) -> String {
        let by_grant = |column: &str, list: &str| {
            format!(
                "SELECT x.member_id FROM unnest((SELECT {list} FROM q)) wanted(id) CROSS JOIN LATERAL ( \
                   SELECT DISTINCT d.member_id FROM grants d \
                   WHERE d.site_id = (SELECT site FROM q) AND d.{column} = wanted.id AND {grant} \
                     AND d.member_id > (SELECT after FROM q) AND {active} AND ({reach}) \
                   ORDER BY d.member_id LIMIT (SELECT take FROM q)) x",
                grant = grant_in_force("d", self.moment),
                active = self.active("d"),
                reach = self.reach("d"),
            )
        };
        format!(
            "SELECT member_id FROM ( \
               SELECT x.member_id FROM group_targets t CROSS JOIN LATERAL ( \
                 SELECT gm.member_id FROM group_members gm \
                 WHERE gm.site_id = t.site_id AND gm.group_id = t.group_id AND {membership} \
                   AND gm.member_id > (SELECT after FROM q) AND {active} AND ({reach}) \
                 ORDER BY gm.member_id LIMIT (SELECT take FROM q)) x \
               WHERE t.site_id = (SELECT site FROM q) AND {target} \
                 AND (t.role_id = ANY((SELECT roles FROM q)::uuid[]) \
                      OR t.business_entity_id = ANY((SELECT entities FROM q)::uuid[])) \
               UNION {by_role} UNION {by_entity}) found \
             ORDER BY member_id LIMIT (SELECT take FROM q)",
            membership = in_force("gm", self.moment),
            active = self.active("gm"),
            reach = self.reach("gm"),
            target = in_force("t", self.moment),
            by_role = by_grant("role_id", "roles"),
            by_entity = by_grant("business_entity_id", "entities"),
        )
    }

    fn active(&self, alias: &str) -> String {
        format!(
            "EXISTS (SELECT FROM member_activity a WHERE a.site_id = (SELECT site FROM q) \
                     AND a.member_id = {alias}.member_id AND {})",
            in_force("a", self.moment)
        )
    }

    /// How far the roles reach of who is neither Owner nor Admin.
    fn extent(&self, has_entity: bool) -> Extent {
        Extent::of(self.division, false, has_entity)
    }

    /// That the roles of `alias` reach what the listing is about.
    fn reach(&self, alias: &str) -> String {
        let Some(place) = self.reaching else {
            return "TRUE".to_owned();
        };
        let chief = || self.holds(alias, "role_id = ANY((SELECT chiefs FROM q)::uuid[])");
        let listed = || self.holds(alias, "business_entity_id = (SELECT entity FROM q)");
        let any = || self.holds(alias, "business_entity_id IS NOT NULL");
        let some_only = place.is_some() && self.extent(true) == Extent::Listed;
        match (some_only, self.extent(false)) {
            (false, Extent::Nothing) => format!("{} OR {}", chief(), any()),
            (false, _) => "TRUE".to_owned(),
            (true, Extent::Nothing) => format!("{} OR {}", chief(), listed()),
            (true, _) => format!("{} OR {} OR NOT ({})", chief(), listed(), any()),
        }
    }

    fn holds(&self, alias: &str, what: &str) -> String {
        format!(
            "EXISTS (SELECT FROM group_members hm JOIN group_targets ht \
                       ON ht.site_id = hm.site_id AND ht.group_id = hm.group_id \
                     WHERE hm.site_id = (SELECT site FROM q) AND hm.member_id = {alias}.member_id \
                       AND {membership} AND {target} AND ht.{what}) \
             OR EXISTS (SELECT FROM grants hd WHERE hd.site_id = (SELECT site FROM q) \
                        AND hd.member_id = {alias}.member_id AND {grant} AND hd.{what})",
            membership = in_force("hm", self.moment),
            target = in_force("ht", self.moment),
            grant = grant_in_force("hd", self.moment),
        )
    }
}
