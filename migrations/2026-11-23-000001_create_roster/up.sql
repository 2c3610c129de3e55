-- Sites ---------------------------------------------------------------------------------------

CREATE TABLE sites (
    site_id uuid PRIMARY KEY,
    domain text NOT NULL,
    domain_key text NOT NULL,
    outside_groups text NOT NULL CHECK (outside_groups IN ('refuse', 'keep')),
    custom_role_limit integer NOT NULL CHECK (custom_role_limit >= 0),
    created_at timestamptz NOT NULL,
    CONSTRAINT sites_domain_key UNIQUE (domain_key)
);

-- The number and time of each site's newest event. Every write of a site holds this row's lock, so
-- that events are numbered without gaps in the order in which they commit. A table of its own, because
-- it changes with each write and nothing else of a site does.
CREATE TABLE site_clocks (
    site_id uuid PRIMARY KEY REFERENCES sites,
    revision bigint NOT NULL,
    ticked_at timestamptz NOT NULL
) WITH (fillfactor = 20);

-- A site with no row here is not divided. Changing what members without an entity reach ends a row
-- and begins another.
CREATE TABLE site_divisions (
    site_id uuid NOT NULL REFERENCES sites,
    unassigned_reach text NOT NULL CHECK (unassigned_reach IN ('all', 'none')),
    from_event bigint NOT NULL,
    to_event bigint,
    PRIMARY KEY (site_id, from_event)
);
CREATE UNIQUE INDEX site_divisions_now ON site_divisions (site_id) WHERE to_event IS NULL;

-- Credentials ---------------------------------------------------------------------------------

CREATE TABLE credentials (
    site_id uuid NOT NULL REFERENCES sites,
    credential_id uuid NOT NULL,
    secret_hash bytea NOT NULL,
    label text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    PRIMARY KEY (site_id, credential_id)
);
CREATE UNIQUE INDEX credentials_secret_hash ON credentials (site_id, secret_hash);

CREATE TABLE all_site_credentials (
    credential_id uuid PRIMARY KEY,
    secret_hash bytea NOT NULL UNIQUE,
    label text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);

-- Members -------------------------------------------------------------------------------------

CREATE TABLE members (
    site_id uuid NOT NULL REFERENCES sites,
    member_id uuid NOT NULL,
    user_name text NOT NULL,
    user_name_key text NOT NULL,
    external_id text,
    active boolean NOT NULL,
    profile jsonb NOT NULL,
    -- The profile with every text folded, to search in.
    profile_keys jsonb NOT NULL,
    -- Keys to look up by: those of the e-mail addresses, the user name's where there are none.
    email_keys text[] NOT NULL,
    display_name_key text,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_event bigint,
    PRIMARY KEY (site_id, member_id)
);
CREATE UNIQUE INDEX members_user_name_key ON members (site_id, user_name_key) WHERE deleted_event IS NULL;
CREATE INDEX members_now ON members (site_id, member_id) WHERE deleted_event IS NULL;
CREATE INDEX members_external_id ON members (site_id, external_id) WHERE deleted_event IS NULL;
CREATE INDEX members_display_name_key ON members (site_id, display_name_key) WHERE deleted_event IS NULL;
CREATE INDEX members_email_keys ON members USING gin (email_keys) WHERE deleted_event IS NULL;

-- When a member was active.
CREATE TABLE member_activity (
    site_id uuid NOT NULL,
    member_id uuid NOT NULL,
    from_event bigint NOT NULL,
    to_event bigint,
    PRIMARY KEY (site_id, member_id, from_event),
    FOREIGN KEY (site_id, member_id) REFERENCES members
);
CREATE UNIQUE INDEX member_activity_now ON member_activity (site_id, member_id) WHERE to_event IS NULL;

-- Roles and their permissions -----------------------------------------------------------------

CREATE TABLE permissions (
    permission text PRIMARY KEY,
    description text NOT NULL
);

CREATE TABLE built_in_roles (
    built_in text PRIMARY KEY,
    name text NOT NULL,
    name_key text NOT NULL
);

CREATE TABLE built_in_role_permissions (
    built_in text NOT NULL REFERENCES built_in_roles,
    permission text NOT NULL REFERENCES permissions,
    PRIMARY KEY (built_in, permission)
);

CREATE TABLE roles (
    site_id uuid NOT NULL REFERENCES sites,
    role_id uuid NOT NULL,
    name text NOT NULL,
    name_key text NOT NULL,
    -- Which built-in role it is; none for a custom one.
    built_in text REFERENCES built_in_roles,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    deleted_event bigint,
    PRIMARY KEY (site_id, role_id)
);
CREATE UNIQUE INDEX roles_name_key ON roles (site_id, name_key) WHERE deleted_event IS NULL;

CREATE TABLE role_permissions (
    site_id uuid NOT NULL,
    role_id uuid NOT NULL,
    permission text NOT NULL REFERENCES permissions,
    from_event bigint NOT NULL,
    to_event bigint,
    PRIMARY KEY (site_id, role_id, permission, from_event),
    FOREIGN KEY (site_id, role_id) REFERENCES roles
);
CREATE UNIQUE INDEX role_permissions_now ON role_permissions (site_id, role_id, permission)
    WHERE to_event IS NULL;

-- Business entities ---------------------------------------------------------------------------

CREATE TABLE business_entities (
    site_id uuid NOT NULL REFERENCES sites,
    business_entity_id uuid NOT NULL,
    name text NOT NULL,
    name_key text NOT NULL,
    handle text NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    deleted_event bigint,
    PRIMARY KEY (site_id, business_entity_id)
);
CREATE UNIQUE INDEX business_entities_name_key ON business_entities (site_id, name_key)
    WHERE deleted_event IS NULL;
CREATE UNIQUE INDEX business_entities_handle ON business_entities (site_id, handle)
    WHERE deleted_event IS NULL;

-- Groups --------------------------------------------------------------------------------------

CREATE TABLE groups (
    site_id uuid NOT NULL REFERENCES sites,
    group_id uuid NOT NULL,
    display_name text NOT NULL,
    display_name_key text NOT NULL,
    external_id text,
    -- The target now; at most one of the two. None of them: the group grants nothing.
    role_id uuid,
    business_entity_id uuid,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_event bigint,
    PRIMARY KEY (site_id, group_id),
    FOREIGN KEY (site_id, role_id) REFERENCES roles,
    FOREIGN KEY (site_id, business_entity_id) REFERENCES business_entities,
    CHECK (num_nonnulls(role_id, business_entity_id) <= 1)
);
CREATE UNIQUE INDEX groups_display_name_key ON groups (site_id, display_name_key)
    WHERE deleted_event IS NULL;
CREATE UNIQUE INDEX groups_role ON groups (site_id, role_id) WHERE deleted_event IS NULL;
CREATE UNIQUE INDEX groups_business_entity ON groups (site_id, business_entity_id)
    WHERE deleted_event IS NULL;
CREATE INDEX groups_now ON groups (site_id, group_id) WHERE deleted_event IS NULL;
CREATE INDEX groups_external_id ON groups (site_id, external_id) WHERE deleted_event IS NULL;

-- Which target a group had when.
CREATE TABLE group_targets (
    site_id uuid NOT NULL,
    group_id uuid NOT NULL,
    role_id uuid,
    business_entity_id uuid,
    from_event bigint NOT NULL,
    to_event bigint,
    PRIMARY KEY (site_id, group_id, from_event),
    FOREIGN KEY (site_id, group_id) REFERENCES groups,
    CHECK (num_nonnulls(role_id, business_entity_id) = 1)
);
CREATE UNIQUE INDEX group_targets_now ON group_targets (site_id, group_id) WHERE to_event IS NULL;

CREATE TABLE group_members (
    site_id uuid NOT NULL,
    group_id uuid NOT NULL,
    member_id uuid NOT NULL,
    from_event bigint NOT NULL,
    to_event bigint,
    PRIMARY KEY (site_id, group_id, member_id, from_event),
    FOREIGN KEY (site_id, group_id) REFERENCES groups,
    FOREIGN KEY (site_id, member_id) REFERENCES members
);
CREATE UNIQUE INDEX group_members_now ON group_members (site_id, group_id, member_id)
    WHERE to_event IS NULL;
CREATE INDEX group_members_of_member ON group_members (site_id, member_id) WHERE to_event IS NULL;

-- Grants that are not by a group ----------------------------------------------------------------

CREATE TABLE grants (
    site_id uuid NOT NULL,
    grant_id uuid NOT NULL,
    member_id uuid NOT NULL,
    role_id uuid,
    business_entity_id uuid,
    -- A decision of a service or operator, or the member's own entitlement attribute.
    source text NOT NULL CHECK (source IN ('direct', 'entitlement')),
    -- Who gave it, as the event names its actor.
    actor text NOT NULL,
    reason text NOT NULL,
    from_event bigint NOT NULL,
    to_event bigint,
    PRIMARY KEY (site_id, grant_id),
    FOREIGN KEY (site_id, member_id) REFERENCES members,
    FOREIGN KEY (site_id, role_id) REFERENCES roles,
    FOREIGN KEY (site_id, business_entity_id) REFERENCES business_entities,
    CHECK (num_nonnulls(role_id, business_entity_id) = 1)
);
CREATE UNIQUE INDEX grants_role_now ON grants (site_id, member_id, role_id, source) WHERE to_event IS NULL;
CREATE UNIQUE INDEX grants_business_entity_now ON grants (site_id, member_id, business_entity_id, source)
    WHERE to_event IS NULL;
CREATE INDEX grants_of_role ON grants (site_id, role_id) WHERE to_event IS NULL;
CREATE INDEX grants_of_business_entity ON grants (site_id, business_entity_id) WHERE to_event IS NULL;

-- Events --------------------------------------------------------------------------------------

CREATE TABLE events (
    site_id uuid NOT NULL REFERENCES sites,
    number bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    kind text NOT NULL,
    -- The credential that was used; none for the bootstrap token.
    credential_id uuid,
    actor text NOT NULL,
    subject_id uuid NOT NULL,
    trace_id text NOT NULL,
    before jsonb NOT NULL,
    after jsonb NOT NULL,
    -- Who gained and lost what: a list of {kind, id, name, gained: [member ids], lost: [member ids]}.
    access_changes jsonb NOT NULL,
    PRIMARY KEY (site_id, number)
);

-- The catalogue -------------------------------------------------------------------------------

INSERT INTO permissions (permission, description) VALUES
    ('catalog.manage', 'Create and change plans, add-ons and charges'),
    ('catalog.view', 'See plans, add-ons and charges'),
    ('coupons.manage', 'Create and change coupons'),
    ('coupons.view', 'See coupons'),
    ('credit_notes.comment', 'Comment on credit notes'),
    ('credit_notes.delete', 'Delete credit notes'),
    ('credit_notes.download', 'Download credit notes'),
    ('credit_notes.manage', 'Create and change credit notes'),
    ('credit_notes.send', 'Send credit notes'),
    ('credit_notes.view', 'See credit notes'),
    ('customers.comment', 'Comment on customers'),
    ('customers.delete', 'Delete customers'),
    ('customers.manage', 'Create and change customers'),
    ('customers.view', 'See customers'),
    ('data.export', 'Export data'),
    ('invoices.comment', 'Comment on invoices'),
    ('invoices.delete', 'Delete invoices'),
    ('invoices.download', 'Download invoices'),
    ('invoices.manage', 'Create and change invoices'),
    ('invoices.send', 'Send invoices'),
    ('invoices.view', 'See invoices'),
    ('metrics.view', 'See the metrics report'),
    ('settings.manage', 'Change the site''s settings'),
    ('settings.view', 'See the site''s settings'),
    ('site.own', 'Hand over and close the site'),
    ('subscriptions.change_trial_end', 'Change when a trial ends'),
    ('subscriptions.comment', 'Comment on subscriptions'),
    ('subscriptions.delete', 'Delete subscriptions'),
    ('subscriptions.discount', 'Give discounts on subscriptions'),
    ('subscriptions.manage', 'Create and change subscriptions'),
    ('subscriptions.view', 'See subscriptions'),
    ('team.manage', 'Add, change and remove members'),
    ('team.view', 'See members'),
    ('transactions.delete', 'Delete transactions'),
    ('transactions.manage', 'Record and change transactions'),
    ('transactions.view', 'See transactions');

INSERT INTO built_in_roles (built_in, name, name_key) VALUES
    ('owner', 'Owner', 'owner'),
    ('admin', 'Admin', 'admin'),
    ('tech_support', 'Tech Support', 'tech support'),
    ('analyst', 'Analyst', 'analyst'),
    ('sales_agent', 'Sales Agent', 'sales agent'),
    ('customer_support', 'Customer Support', 'customer support'),
    ('sales_manager', 'Sales Manager', 'sales manager'),
    ('finance_executive', 'Finance Executive', 'finance executive');

-- Owner has everything, Admin all but the site itself.
INSERT INTO built_in_role_permissions SELECT 'owner', permission FROM permissions;
INSERT INTO built_in_role_permissions
    SELECT 'admin', permission FROM permissions WHERE permission <> 'site.own';

INSERT INTO built_in_role_permissions VALUES
    ('tech_support', 'subscriptions.view'),
    ('tech_support', 'catalog.view'),
    ('tech_support', 'invoices.view'),
    ('tech_support', 'invoices.comment'),
    ('tech_support', 'invoices.send'),
    ('tech_support', 'invoices.download'),
    ('tech_support', 'credit_notes.view'),
    ('tech_support', 'credit_notes.comment'),
    ('tech_support', 'credit_notes.send'),
    ('tech_support', 'credit_notes.download');

-- Each of these begins with another role's permissions and adds to them.
INSERT INTO built_in_role_permissions
    SELECT 'analyst', permission FROM built_in_role_permissions WHERE built_in = 'tech_support';
INSERT INTO built_in_role_permissions VALUES ('analyst', 'metrics.view');

INSERT INTO built_in_role_permissions
    SELECT 'sales_agent', permission FROM built_in_role_permissions WHERE built_in = 'tech_support';
INSERT INTO built_in_role_permissions VALUES
    ('sales_agent', 'subscriptions.change_trial_end'),
    ('sales_agent', 'subscriptions.discount');

INSERT INTO built_in_role_permissions
    SELECT 'customer_support', permission FROM built_in_role_permissions WHERE built_in = 'sales_agent';
INSERT INTO built_in_role_permissions VALUES
    ('customer_support', 'customers.view'),
    ('customer_support', 'customers.manage'),
    ('customer_support', 'customers.comment'),
    ('customer_support', 'subscriptions.manage'),
    ('customer_support', 'subscriptions.comment'),
    ('customer_support', 'invoices.manage'),
    ('customer_support', 'transactions.view'),
    ('customer_support', 'transactions.manage'),
    ('customer_support', 'credit_notes.manage');

INSERT INTO built_in_role_permissions
    SELECT 'sales_manager', permission FROM built_in_role_permissions WHERE built_in = 'customer_support';
INSERT INTO built_in_role_permissions VALUES
    ('sales_manager', 'coupons.view'),
    ('sales_manager', 'coupons.manage');

-- Finance Executive reads everything but the settings, exports and comments.
INSERT INTO built_in_role_permissions
    SELECT 'finance_executive', permission FROM permissions
    WHERE (permission LIKE '%.view' AND permission <> 'settings.view')
       OR permission LIKE '%.comment'
       OR permission LIKE '%.download'
       OR permission = 'data.export';
