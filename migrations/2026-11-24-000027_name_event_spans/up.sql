-- The span that wrote the event, where its trace was sampled: what is done because of the event goes on below it.
-- None for events of before, and for those that the release before this one still writes.
ALTER TABLE events ADD COLUMN span_id text;
