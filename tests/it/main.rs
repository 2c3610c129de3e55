//! The integration tests, a file a subject.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

mod life_cycle;
