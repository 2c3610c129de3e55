#![doc = include_str!("../README.md")]

mod admission;
mod app;
mod backend;
mod budget;
mod bulk;
mod catalogue;
mod conditions;
mod config;
mod discovery;
mod effect;
mod entitlements;
mod groups;
mod lists;
mod metrics;
mod observe;
pub mod offline;
mod peers;
mod reached;
mod refusal;
mod reply;
mod server;
mod translate;
mod users;

pub use config::Config;
pub use server::run;
