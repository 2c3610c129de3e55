-- A site's grants that will end by themselves, the next one first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS grants_ends_at ON grants (site_id, ends_at)
    WHERE to_event IS NULL AND ends_at IS NOT NULL;
