-- The last event at or before a moment: which revision a question about the past means.
CREATE INDEX CONCURRENTLY IF NOT EXISTS events_occurred_at ON events (site_id, occurred_at, number);
