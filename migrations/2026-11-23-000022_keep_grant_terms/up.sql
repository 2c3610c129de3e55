-- What a grant's reason and end were before they were changed, from one event to another. What they are now
-- stands with the grant, where the release before this one, which never changes them, looks for it.
CREATE TABLE grant_terms (
    site_id uuid NOT NULL,
    grant_id uuid NOT NULL,
    reason text NOT NULL,
    ends_at timestamptz,
    from_event bigint NOT NULL,
    to_event bigint NOT NULL,
    PRIMARY KEY (site_id, grant_id, from_event),
    FOREIGN KEY (site_id, grant_id) REFERENCES grants
);
