//! The facade process.

use std::process::ExitCode;

use clap::Parser;
use scim_facade::Config;

#[tokio::main]
async fn main() -> ExitCode {
    match scim_facade::run(Config::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("facade: {error}");
            ExitCode::FAILURE
        }
    }
}
