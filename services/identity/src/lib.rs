//! The identity service: owns members, roles, business entities, groups and grants.
