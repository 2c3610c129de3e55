//! The admin port: `/livez`, `/readyz` and `/metrics` over HTTP, for the platform and never for users.

use std::{future::Future, io, net::SocketAddr, pin::Pin, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::{Format, Metrics};

/// Whether the process can do its work at this moment; the text says why it can't.
pub type Readiness =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

#[derive(Clone)]
struct Admin {
    metrics: Metrics,
    ready: Readiness,
    stop: CancellationToken,
}

/// Binds `address` and serves the admin port there until `stopped` is cancelled. From the moment
/// `stop` is cancelled it is not ready any more, so that no new work is sent while the rest drains.
///
/// # Errors
/// Where the address can't be bound.
pub async fn serve(
    address: SocketAddr,
    metrics: Metrics,
    ready: Readiness,
    stop: CancellationToken,
    stopped: CancellationToken,
) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let router = Router::new()
        .route("/livez", get(|| async { "live\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .with_state(Admin {
            metrics,
            ready,
            stop,
        });
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router)
            .with_graceful_shutdown(stopped.cancelled_owned())
            .await
        {
            tracing::error!(%error, "the admin port stopped");
        }
    });
    Ok(())
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    if admin.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    match (admin.ready)().await {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn scrape(State(admin): State<Admin>, headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get_all(header::ACCEPT).iter();
    let accept: Vec<&str> = accept.filter_map(|value| value.to_str().ok()).collect();
    let format = Format::of(&accept.join(","));
    (
        [(header::CONTENT_TYPE, format.content_type())],
        admin.metrics.encode(format),
    )
}
