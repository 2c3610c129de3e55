#![doc = include_str!("../README.md")]
#![allow(
    clippy::needless_update,
    reason = "messages of the contract get new fields, which a request that does not use them leaves out"
)]

mod arguments;
mod commands;
mod connection;
mod failure;
#[cfg(test)]
mod guide;
mod json;
mod show;

use std::process::ExitCode;

use clap::Parser;

use crate::{arguments::Arguments, connection::Settings};

fn main() -> ExitCode {
    let Arguments { global, command } = Arguments::parse();
    let outcome = Settings::resolve(&global).and_then(|settings| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failure::Failure::from)?
            .block_on(commands::run(&settings, command))
    });
    match outcome {
        Ok(outcome) => ExitCode::from(outcome.exit_code()),
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit_code()
        }
    }
}
