//! The integration tests, a file a subject.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

mod cursor;
mod filters;
mod life_cycle;
mod search;
mod sorting;
