DROP TRIGGER place_event ON events;
DROP TRIGGER hold_event_positions ON events;
DROP FUNCTION place_event;
DROP FUNCTION hold_event_positions;
DROP SEQUENCE event_positions;
ALTER TABLE events DROP COLUMN position;
