-- What else a change did besides giving and taking access. None for events of before, and for those that
-- the release before this one still writes.
ALTER TABLE events ADD COLUMN members bigint;
ALTER TABLE events ADD COLUMN unknown_member_ids text[];
