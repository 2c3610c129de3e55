-- When this database was said to have been restored to an earlier state (`identity restored`): numbers and
-- positions of events are then given once more, and a resume token of before names others than it meant.
CREATE TABLE restorations (
    restoration_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    restored_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
