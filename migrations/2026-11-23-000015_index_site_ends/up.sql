-- The sites whose next grant to end is due.
CREATE INDEX CONCURRENTLY IF NOT EXISTS site_clocks_next_end_at ON site_clocks (next_end_at)
    WHERE next_end_at IS NOT NULL;
