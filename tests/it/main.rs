//! The integration tests, a file a subject.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

mod bulk;
mod catalogue;
mod cursor;
mod discovery;
mod entitlements;
mod filters;
mod indexes;
mod life_cycle;
mod search;
mod sorting;
