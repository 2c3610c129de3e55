DROP TRIGGER place_event ON events;
DROP FUNCTION place_event;
DROP SEQUENCE event_positions;
ALTER TABLE events DROP COLUMN position;
