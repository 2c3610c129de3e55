ALTER TABLE events DROP COLUMN unknown_member_ids;
ALTER TABLE events DROP COLUMN members;
