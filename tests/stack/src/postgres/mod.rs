//! A private PostgreSQL: server binaries that are found or installed, a cluster in a folder of its own,
//! and the server that runs it. No server that was not started here is ever touched.

mod account;
mod binaries;
mod cluster;
mod install;
mod server;

pub use cluster::{Cluster, ClusterOptions};
