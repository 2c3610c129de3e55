ALTER TABLE events DROP COLUMN span_id;
