#![doc = include_str!("../README.md")]

mod access;
mod authn;
mod authz;
mod batch;
mod business_entities;
mod caller;
mod census;
pub mod config;
mod context;
mod credentials;
mod db;
mod diagnosis;
mod error;
mod events;
mod filter;
mod grants;
mod groups;
mod ids;
mod limiter;
mod members;
mod metrics;
mod names;
mod observe;
mod receipt;
mod requests;
mod roles;
mod server;
mod site_read;
mod site_tx;
mod sites;
mod status;
mod tls;
mod turns;
mod wire;

pub use db::{migrate, restored};
pub use server::serve;
