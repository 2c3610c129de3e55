//! The process: builds the parts, serves until it is told to stop, and drains.

use std::{error::Error, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::Response,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use identity_runtime::{
    admin,
    metrics::Metrics,
    shutdown,
    telemetry::{self, Callers},
};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    app::{self, App},
    backend::Backend,
    config::Config,
    metrics::Meters,
};

/// How much longer than one request may take the drain waits for the last one.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);

/// How long the last answers may take on their way out.
const FLUSH: Duration = Duration::from_secs(2);

/// hyper's own limits. They lie far above those of `admission`, whose answers say what is wrong; hyper's are a
/// bare status.
const MOST_HEADERS: usize = 2000;
const MOST_HEADER_BYTES: usize = 1 << 20;

/// How long to wait where a connection can't be taken, as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until SIGTERM or SIGINT, then answers what has begun and returns.
///
/// # Errors
/// An address that is taken, or a collector's that can't be used.
pub async fn run(config: Config) -> Result<(), Box<dyn Error + Send + Sync>> {
    let metrics = Metrics::new("facade");
    let telemetry = telemetry::init("facade", &config.telemetry, Callers::Outside, &metrics)?;
    let outcome = serve(config, metrics).await;
    // Blocks while it sends what is left.
    tokio::task::spawn_blocking(|| telemetry.shutdown()).await?;
    outcome
}

async fn serve(config: Config, metrics: Metrics) -> Result<(), Box<dyn Error + Send + Sync>> {
    let stop = shutdown::on_signal()?;
    let stopped = CancellationToken::new();
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("can't listen on {}: {error}", config.listen))?;
    let address = listener.local_addr()?;
    let backend = Backend::new(&config.identity_url, &config.tls, &metrics, &stop)?;
    // Not before identity was reached once: a rollout with a wrong address or certificate must stop at its first
    // process. From then on it must not follow identity: without identity it answers 429, which identity providers
    // repeat by themselves; taken out of service, the 503 of a load balancer would reach them instead, which they do
    // not.
    let reached = backend.reach(&stop);
    let ready: admin::Readiness = Arc::new(move || Box::pin(std::future::ready(reached.check())));
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
    let drain_delay = Duration::from_millis(config.drain_delay_ms);
    let header_timeout = config.header_timeout;
    let app = App::new(config, backend, Meters::new(&metrics));
    tracing::info!(%address, "serving SCIM");

    let requests = TaskTracker::new();
    let router = app::router(app)
        .layer(middleware::from_fn_with_state(requests.clone(), in_flight))
        .layer(middleware::from_fn_with_state(stop.clone(), last_answer));
    let closing = CancellationToken::new();
    tokio::spawn({
        let closing = closing.clone();
        async move {
            stop.cancelled().await;
            tokio::time::sleep(drain_delay).await;
            closing.cancel();
        }
    });
    let connections = accept(listener, router, header_timeout, &closing).await;
    tokio::select! {
        () = connections.shutdown() => {}
        () = answered(&requests) => tracing::info!("stopped with connections that asked for nothing"),
        () = tokio::time::sleep(drain) => tracing::warn!("stopped with requests unanswered"),
    }
    stopped.cancel();
    Ok(())
}

/// Counts a request for as long as somebody works on it.
async fn in_flight(State(requests): State<TaskTracker>, request: Request, next: Next) -> Response {
    let _working = requests.token();
    next.run(request).await
}

/// Once the process is told to stop, each answer is the last of its connection: clients make their next one
/// where there is somebody to stay.
async fn last_answer(
    State(stop): State<CancellationToken>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    if stop.is_cancelled() {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Waits until every request is answered. A connection that has sent half a header, or nothing, is not waited
/// for: it may never send the rest.
async fn answered(requests: &TaskTracker) {
    requests.close();
    loop {
        requests.wait().await;
        tokio::time::sleep(FLUSH).await;
        if requests.is_empty() {
            return;
        }
    }
}

/// Takes connections until it is told to stop, and answers with those that are open. axum's own loop
/// waits for headers for ever, which lets a few idle clients hold any number of connections.
async fn accept(
    listener: TcpListener,
    router: Router,
    header_timeout: Duration,
    stop: &CancellationToken,
) -> GracefulShutdown {
    let connections = GracefulShutdown::new();
    let service = TowerToHyperService::new(router);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_headers(MOST_HEADERS)
        .max_buf_size(MOST_HEADER_BYTES);
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return connections,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "can't take a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        // Without it small answers wait for the client's acknowledgement of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection ended at once");
        }
        let connection = http.serve_connection(TokioIo::new(stream), service.clone());
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
}
