-- What one credential did.
CREATE INDEX CONCURRENTLY IF NOT EXISTS events_credential ON events (site_id, credential_id, number);
