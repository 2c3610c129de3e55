DROP TABLE events, grants, group_members, group_targets, groups, business_entities, role_permissions,
    roles, built_in_role_permissions, built_in_roles, permissions, member_activity, members,
    all_site_credentials, credentials, site_divisions, site_clocks, sites;
