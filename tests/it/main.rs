//! The integration tests, a file a subject.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

mod bulk;
mod cursor;
mod entitlements;
mod filters;
mod indexes;
mod life_cycle;
mod search;
mod sorting;
