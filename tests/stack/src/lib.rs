#![doc = include_str!("../README.md")]

mod files;
pub mod guard;
pub mod logs;
pub mod ports;
pub mod postgres;
pub mod process;
mod secret;
