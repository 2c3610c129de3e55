#![doc = include_str!("../README.md")]

mod admission;
mod app;
mod backend;
mod budget;
mod conditions;
mod config;
mod convention;
mod discovery;
mod effect;
mod groups;
mod observe;
mod refusal;
mod reply;
mod server;
mod translate;
mod users;

pub use config::Config;
pub use server::run;
