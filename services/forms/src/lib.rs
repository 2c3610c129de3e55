#![doc = include_str!("../README.md")]

pub mod names;
pub mod token;
