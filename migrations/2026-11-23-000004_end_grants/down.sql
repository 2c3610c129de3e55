ALTER TABLE site_clocks DROP COLUMN next_end_at;
ALTER TABLE grants DROP COLUMN ends_at;
