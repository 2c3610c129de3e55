-- What happened of one kind.
CREATE INDEX CONCURRENTLY IF NOT EXISTS events_kind ON events (site_id, kind, number);
