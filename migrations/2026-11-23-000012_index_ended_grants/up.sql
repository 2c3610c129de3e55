-- The grants that a member had.
CREATE INDEX CONCURRENTLY IF NOT EXISTS grants_ended ON grants (site_id, member_id)
    WHERE to_event IS NOT NULL;
