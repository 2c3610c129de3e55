//! The process: builds the parts, serves until it is told to stop, and drains.

use std::{error::Error, sync::Arc, time::Duration};

use identity_runtime::{admin, metrics::Metrics, shutdown, telemetry};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{self, App},
    backend::Backend,
    config::Config,
    observe::Meters,
};

/// How much longer than one request may take the drain waits for the last one.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT, then answers what has begun and returns.
///
/// # Errors
/// A setting that can't work, or an address that is taken.
pub async fn run(config: Config) -> Result<(), Box<dyn Error + Send + Sync>> {
    let telemetry = telemetry::init("facade", &config.telemetry)?;
    let outcome = serve(config).await;
    // Blocks while it sends what is left.
    tokio::task::spawn_blocking(|| telemetry.shutdown()).await?;
    outcome
}

async fn serve(config: Config) -> Result<(), Box<dyn Error + Send + Sync>> {
    let stop = shutdown::on_signal()?;
    let stopped = CancellationToken::new();
    let metrics = Metrics::new();
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("can't listen on {}: {error}", config.listen))?;
    let address = listener.local_addr()?;
    // Ready as soon as it listens. It must not follow identity: without identity it answers 429, which
    // identity providers repeat by themselves; taken out of service, the 503 of a load balancer would
    // reach them instead, which they do not.
    let ready: admin::Readiness = Arc::new(|| Box::pin(async { Ok(()) }));
    admin::serve(
        config.admin_listen,
        metrics.clone(),
        ready,
        stop.clone(),
        stopped.clone(),
    )
    .await
    .map_err(|error| format!("can't listen on {}: {error}", config.admin_listen))?;
    let drain = config.body_timeout + config.request_timeout + DRAIN_MARGIN;
    let backend = Backend::new(&config.identity_url)?;
    let app = App::new(config, backend, Meters::new(&metrics));
    tracing::info!(%address, "serving SCIM");

    let draining = stop.clone();
    let server = axum::serve(listener, app::router(app))
        .with_graceful_shutdown(async move { draining.cancelled().await });
    tokio::select! {
        served = server.into_future() => served?,
        () = async { stop.cancelled().await; tokio::time::sleep(drain).await } => {
            tracing::warn!("stopped with requests unanswered");
        }
    }
    stopped.cancel();
    Ok(())
}
