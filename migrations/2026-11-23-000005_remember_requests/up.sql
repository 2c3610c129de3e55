-- What a request with an id was answered, so that sending it again gives the same result once. Kept for
-- a day.
CREATE TABLE requests (
    -- The zero UUID for what belongs to no site when it is asked for: a new site, a credential of all.
    site_id uuid NOT NULL,
    request_id text NOT NULL,
    -- The credential that made it; the zero UUID for the bootstrap token.
    credential_id uuid NOT NULL,
    method text NOT NULL,
    -- SHA-256 of the request's message.
    fingerprint bytea NOT NULL,
    response bytea NOT NULL,
    answered_at timestamptz NOT NULL,
    PRIMARY KEY (site_id, credential_id, request_id)
);
CREATE INDEX requests_answered_at ON requests (answered_at);
