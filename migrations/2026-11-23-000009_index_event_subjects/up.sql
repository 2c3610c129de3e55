-- What happened to one member, role, business entity, group, grant or credential.
CREATE INDEX CONCURRENTLY IF NOT EXISTS events_subject ON events (site_id, subject_id, number);
