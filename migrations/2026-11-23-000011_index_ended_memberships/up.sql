-- The groups that a member was in.
CREATE INDEX CONCURRENTLY IF NOT EXISTS group_members_ended ON group_members (site_id, member_id)
    WHERE to_event IS NOT NULL;
