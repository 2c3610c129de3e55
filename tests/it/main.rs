//! The integration tests, a file a subject.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

mod bad_input;
mod concurrency;
mod contract;
mod convention;
mod cost;
mod credentials;
mod discovery;
mod etags;
mod events;
mod faults;
mod grants;
mod history;
mod life_cycle;
mod limits;
mod members;
mod migrations;
mod odd_calls;
mod okta_groups;
mod okta_spec;
mod okta_users;
mod owners;
mod privacy;
mod projection;
mod random_input;
mod roles;
mod slow_clients;
mod tls;
mod tracing;
