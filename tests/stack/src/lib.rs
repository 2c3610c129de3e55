#![doc = include_str!("../README.md")]

pub mod collector;
pub mod demo;
pub mod dev_env;
mod files;
pub mod grpc;
pub mod guard;
pub mod logs;
pub mod monitors;
mod observe;
pub mod okta;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod run;
mod secret;
pub mod services;
pub mod site;
pub mod stack;
