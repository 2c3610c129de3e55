//! Which events concern a member: derived from the rows that access follows from, each of which knows the
//! event that began it and the one that ended it. So an event needs no list of whom it concerns, a group's
//! change costs the same however many are in it, and events from before anybody asked are found too.

use diesel::sql_types::Uuid as SqlUuid;
use uuid::Uuid;

use crate::{db::Sql, ids::MemberId};

/// The numbers of the events that concern the member `me`, who may be inactive or deleted:
/// - those about the member;
/// - those by which the member came into a group or left it, whatever the group gave;
/// - those that began or ended what a grant or a group gives the member;
/// - those that changed why or until when the member has a grant;
/// - those that changed the permissions of a role while the member held it;
/// - those that changed how far the member's roles reach, because the site was divided anew.
///
/// Each look-up by member asks the index of what holds and the one of what has ended.
const NUMBERS: &str = "\
    WITH me AS (SELECT m.site_id, m.member_id, m.deleted_event FROM members m \
                WHERE m.site_id = ? AND m.member_id = ?), \
    stays AS ( \
      SELECT gm.group_id, gm.from_event, gm.to_event FROM group_members gm \
      WHERE gm.site_id = (SELECT site_id FROM me) AND gm.member_id = (SELECT member_id FROM me) \
        AND gm.to_event IS NULL \
      UNION ALL \
      SELECT gm.group_id, gm.from_event, gm.to_event FROM group_members gm \
      WHERE gm.site_id = (SELECT site_id FROM me) AND gm.member_id = (SELECT member_id FROM me) \
        AND gm.to_event IS NOT NULL), \
    held AS ( \
      SELECT d.grant_id, d.role_id, d.business_entity_id, d.from_event, d.to_event FROM grants d \
      WHERE d.site_id = (SELECT site_id FROM me) AND d.member_id = (SELECT member_id FROM me) \
        AND d.to_event IS NULL \
      UNION ALL \
      SELECT d.grant_id, d.role_id, d.business_entity_id, d.from_event, d.to_event FROM grants d \
      WHERE d.site_id = (SELECT site_id FROM me) AND d.member_id = (SELECT member_id FROM me) \
        AND d.to_event IS NOT NULL \
      UNION ALL \
      SELECT NULL, t.role_id, t.business_entity_id, greatest(s.from_event, t.from_event), \
             least(s.to_event, t.to_event) \
      FROM stays s JOIN group_targets t \
        ON t.site_id = (SELECT site_id FROM me) AND t.group_id = s.group_id \
       AND (s.to_event IS NULL OR t.from_event < s.to_event) \
       AND (t.to_event IS NULL OR s.from_event < t.to_event)), \
    made AS ( \
      SELECT coalesce((SELECT min(e.number) FROM events e \
                       WHERE e.site_id = me.site_id AND e.subject_id = me.member_id \
                         AND e.kind = 'member.created'), 1) AS number \
      FROM me) \
    SELECT e.number FROM events e \
    WHERE e.site_id = (SELECT site_id FROM me) AND e.subject_id = (SELECT member_id FROM me) \
    UNION SELECT from_event FROM stays UNION SELECT to_event FROM stays \
    UNION SELECT from_event FROM held UNION SELECT to_event FROM held \
    UNION \
    SELECT t.to_event FROM held h \
    JOIN grant_terms t ON t.site_id = (SELECT site_id FROM me) AND t.grant_id = h.grant_id \
    UNION \
    SELECT changed.number FROM held h \
    JOIN role_permissions p ON p.site_id = (SELECT site_id FROM me) AND p.role_id = h.role_id \
    CROSS JOIN LATERAL (VALUES (p.from_event), (p.to_event)) changed (number) \
    WHERE changed.number > h.from_event AND (h.to_event IS NULL OR changed.number < h.to_event) \
    UNION \
    SELECT v.from_event FROM me JOIN made ON true JOIN site_divisions v ON v.site_id = me.site_id \
    LEFT JOIN site_divisions was ON was.site_id = v.site_id AND was.to_event = v.from_event \
    CROSS JOIN LATERAL ( \
      SELECT coalesce(bool_or(r.built_in IN ('owner', 'admin')), false) AS reaches_all, \
             coalesce(bool_or(h.business_entity_id IS NOT NULL), false) AS has_entity \
      FROM held h LEFT JOIN roles r ON r.site_id = v.site_id AND r.role_id = h.role_id \
      WHERE h.from_event < v.from_event AND (h.to_event IS NULL OR h.to_event > v.from_event)) had \
    WHERE v.from_event > made.number AND (me.deleted_event IS NULL OR v.from_event < me.deleted_event) \
      AND NOT had.reaches_all \
      AND CASE WHEN had.has_entity THEN was.from_event IS NULL \
               ELSE v.unassigned_reach <> coalesce(was.unassigned_reach, 'all') END";

/// Adds to a statement about `events e` that they concern the member. Gathered first, as an array: then each
/// event is found by its number, whatever the planner thinks of their count.
pub(super) fn push_condition(sql: &mut Sql, site: Uuid, member: MemberId) {
    sql.push(" AND e.number = ANY(ARRAY(");
    sql.push(NUMBERS);
    sql.push("))");
    sql.push_bind::<SqlUuid, _>(site);
    sql.push_bind::<SqlUuid, _>(member.uuid());
}
