//! The facade process.

use std::process::ExitCode;

use identity_runtime::settings;
use scim_facade::Config;

#[tokio::main]
async fn main() -> ExitCode {
    match scim_facade::run(settings::parse::<Config>()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("facade: {error}");
            ExitCode::FAILURE
        }
    }
}
