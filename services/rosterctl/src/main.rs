#![doc = include_str!("../README.md")]

mod arguments;
mod commands;
mod connection;
mod failure;
mod json;
mod show;

use std::process::ExitCode;

use clap::Parser;

use crate::{arguments::Arguments, connection::Settings};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = Settings::resolve(&arguments.global).and_then(|settings| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failure::Failure::from)?
            .block_on(commands::run(&settings, arguments))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit_code()
        }
    }
}
