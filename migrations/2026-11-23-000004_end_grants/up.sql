-- Grants that end by themselves, and when the site's next one does: a read and a write see with the
-- site's clock whether an ending is due that no event tells of yet.
ALTER TABLE grants ADD COLUMN ends_at timestamptz;
ALTER TABLE site_clocks ADD COLUMN next_end_at timestamptz;
