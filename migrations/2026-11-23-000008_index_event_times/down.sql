DROP INDEX CONCURRENTLY events_occurred_at;
