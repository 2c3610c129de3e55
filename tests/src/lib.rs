#![doc = include_str!("../README.md")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

pub use roster_stack::collector;

pub mod canaries;
pub mod certificates;
pub mod conformance;
pub mod database;
pub mod example;
pub mod faults;
pub mod grants;
pub mod locks;
pub mod metrics;
pub mod python;
pub mod random;
pub mod rolling;
pub mod rosterctl;
pub mod rpc;
pub mod rules;
pub mod scim;
pub mod watch;
pub mod world;
pub mod writes;
