-- Events by position: what follows a watcher's last one.
CREATE INDEX CONCURRENTLY IF NOT EXISTS events_position ON events (position);
