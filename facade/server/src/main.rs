//! The facade process.

use std::process::ExitCode;

use identity_runtime::{settings, shutdown};
use scim_facade::Config;

fn main() -> ExitCode {
    shutdown::run(process())
}

async fn process() -> ExitCode {
    match scim_facade::run(settings::parse::<Config>()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("facade: {error}");
            ExitCode::FAILURE
        }
    }
}
