//! The `identity` process.

use std::process::ExitCode;

use identity_runtime::{
    metrics::Metrics,
    settings, shutdown,
    telemetry::{self, Callers},
};
use identity_service::config::{Cli, Command};

fn main() -> ExitCode {
    shutdown::run(process())
}

async fn process() -> ExitCode {
    let cli: Cli = settings::parse();
    let metrics = Metrics::new("identity");
    // The facade has decided for who comes from outside.
    let telemetry = telemetry::init("identity", &cli.telemetry, Callers::Inside, &metrics);
    let telemetry = match telemetry {
        Ok(telemetry) => telemetry,
        Err(error) => {
            eprintln!("identity: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = match cli.command {
        Command::Serve(args) => identity_service::serve(*args, metrics)
            .await
            .map_err(|error| error.to_string()),
        Command::Migrate(args) => migrate(args.url().to_owned()).await,
        Command::Restored(args) => restored(args.url().to_owned()).await,
    };
    let code = match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "identity failed");
            ExitCode::FAILURE
        }
    };
    telemetry.shutdown();
    code
}

async fn migrate(url: String) -> Result<(), String> {
    let ran = tokio::task::spawn_blocking(move || identity_service::migrate(&url))
        .await
        .map_err(|error| error.to_string())??;
    if ran.is_empty() {
        tracing::info!("the database has the newest schema");
    }
    for migration in ran {
        tracing::info!(migration, "migrated");
    }
    Ok(())
}

async fn restored(url: String) -> Result<(), String> {
    tokio::task::spawn_blocking(move || identity_service::restored(&url))
        .await
        .map_err(|error| error.to_string())??;
    tracing::info!("resume tokens of before are refused from now on");
    Ok(())
}
