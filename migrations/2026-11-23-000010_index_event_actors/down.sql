DROP INDEX CONCURRENTLY events_credential;
