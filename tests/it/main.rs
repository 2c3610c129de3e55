//! The integration tests, a file a subject.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

mod concurrency;
mod convention;
mod cost;
mod grants;
mod life_cycle;
mod members;
mod okta_groups;
mod okta_spec;
mod okta_users;
mod owners;
mod roles;
mod tls;
