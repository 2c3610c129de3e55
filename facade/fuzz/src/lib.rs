#![doc = include_str!("../README.md")]

pub mod bulk;
pub mod filter;
mod hold;
pub mod patch;
pub mod path;
mod samples;
#[cfg(test)]
mod seeded;
#[cfg(test)]
mod worst;
