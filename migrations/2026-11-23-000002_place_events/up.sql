-- Where each event stands in the stream of all sites' events. A position is taken before the event is
-- committed, so positions become visible out of order: whoever follows the stream has to know which
-- ones may still appear. Each writer therefore holds, until its transaction ends, a shared advisory
-- lock whose key is a position below all that it takes. Nothing at or below the least key held, and
-- nothing at or below the last position taken where none is held, can appear any more.
--
-- A trigger does it, so that the release before this one, which knows nothing of positions, keeps to it
-- too while it still writes.

ALTER TABLE events ADD COLUMN position bigint;

CREATE SEQUENCE event_positions MINVALUE 0;
-- The first position is 1, and is above what `last_value` shows before it is taken.
SELECT setval('event_positions', 0, true);

-- The keys' first byte is 82, which keeps them apart from other advisory locks. One lock a statement: it
-- may write many events, and the server has room for so many locks only.
CREATE FUNCTION hold_event_positions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared((82::bigint << 56) | last_value) FROM event_positions;
    RETURN NULL;
END
$$;

CREATE FUNCTION place_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.position := nextval('event_positions');
    RETURN NEW;
END
$$;

CREATE TRIGGER hold_event_positions BEFORE INSERT ON events
    FOR EACH STATEMENT EXECUTE FUNCTION hold_event_positions();
CREATE TRIGGER place_event BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION place_event();
