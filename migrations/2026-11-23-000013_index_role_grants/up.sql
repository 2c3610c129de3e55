-- Who was granted a role, at any time, in the order in which members are listed.
CREATE INDEX CONCURRENTLY IF NOT EXISTS grants_role ON grants (site_id, role_id, member_id);
