#![doc = include_str!("../README.md")]

pub mod admin;
mod export;
pub mod metrics;
pub mod propagation;
pub mod rpc;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
pub mod version;
