//! The serving process: what listens, what a call passes on its way in, and how it stops.

use std::{error::Error as StdError, pin::Pin, sync::Arc, task::Poll, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use identity_proto::{FILE_DESCRIPTOR_SET, v1 as pb};
use identity_runtime::{admin, metrics::Metrics, shutdown};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    codec::CompressionEncoding,
    service::{Routes, RoutesBuilder},
    transport::{Server, server::TcpIncoming},
};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    access::rpc::AccessRpc,
    authn::Tokens,
    business_entities::rpc::BusinessEntityRpc,
    census,
    config::ServeArgs,
    credentials::{LastUse, rpc::CredentialRpc},
    db::{Db, NotReady},
    diagnosis::rpc::DiagnosisRpc,
    events::{Watches, rpc::EventRpc},
    grants::{self, rpc::GrantRpc},
    groups::rpc::GroupRpc,
    limiter::Limiter,
    members::rpc::MemberRpc,
    metrics::{CensusMetrics, IdentityMetrics, WatchMetrics},
    observe, requests,
    roles::rpc::RoleRpc,
    site_tx::Identity,
    sites::rpc::SiteRpc,
    tls,
    turns::Turns,
};

/// The most bytes of a request about a group: half a million members' ids fit. Above the facade's limit
/// for a group, 32 MiB.
const GROUP_MESSAGE_MAX: usize = 64 << 20;
/// How often the health service looks at the database.
const HEALTH_EVERY: Duration = Duration::from_secs(2);
/// How long calls in flight may take when the process is told to stop.
const DRAIN: Duration = Duration::from_secs(25);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// An address that can't be bound. A database that is away is no error: the process is not ready until
/// it is back.
pub async fn serve(
    args: ServeArgs,
    metrics: Metrics,
) -> Result<(), Box<dyn StdError + Send + Sync>> {
    let stop = shutdown::on_signal()?;
    let counts = IdentityMetrics::new(&metrics);
    let (tls_metrics, call_metrics) = (counts.clone(), counts.clone());
    let db = Db::new(args.database.url(), args.db_pool, counts.db.clone());
    let pool = db.clone();
    metrics.before_each_scrape(move || pool.count_connections());
    let url = args.database.url().to_owned();
    tokio::task::spawn_blocking(move || {
        if let Err(why) = Db::probe(&url) {
            tracing::error!(why, "the database can't be reached; waiting for it");
        }
    });
    tokio::spawn(requests::forget(db.clone()));
    tokio::spawn(census::repeat(
        db.clone(),
        CensusMetrics::new(&metrics),
        args.silent_after_hours,
        Duration::from_millis(args.census_every_ms),
    ));
    let last_use = LastUse::start(db.clone());
    let watches = Watches::start(
        &db,
        last_use.clone(),
        WatchMetrics::new(&metrics),
        stop.clone(),
    )?;
    let watched = watches.clone();
    metrics.before_each_scrape(move || watched.measure());
    let identity = Identity {
        last_use,
        watches,
        db: db.clone(),
        turns: Turns::of_half(args.db_pool, counts.turns.clone()),
        tokens: Tokens::new(args.bootstrap_token.as_deref()),
        limiter: Arc::new(Limiter::new(args.rate_limit)),
        metrics: counts,
    };

    tokio::spawn(grants::end_grants_in_time(identity.clone(), stop.clone()));

    let (health, health_service) = tonic_health::server::health_reporter();
    set_health(&health, ServingStatus::NotServing).await;
    tokio::spawn(watch_health(health.clone(), db.clone(), stop.clone()));

    let tls = args.tls.files();
    // Before anybody can be told that the process is ready: from here on a connection waits to be served.
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| format!("can't listen on {}: {error}", args.listen))?;
    let address = listener.local_addr()?;

    let stopped = CancellationToken::new();
    let ready: admin::Readiness = Arc::new(move || {
        let ready = match db.ready() {
            // Reads go on, and so do questions of access: out of service they would not.
            Ok(()) | Err(NotReady::ReadOnly) => Ok(()),
            Err(why) => Err(why.to_string()),
        };
        Box::pin(std::future::ready(ready))
    });
    admin::serve(
        args.admin_listen,
        metrics,
        ready,
        stop.clone(),
        stopped.clone(),
    )
    .await?;

    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let mut routes = RoutesBuilder::default();
    routes.add_service(health_service).add_service(reflection);
    add_services(&mut routes, &identity);
    let routes = routes
        .routes()
        .into_axum_router()
        .layer(axum::middleware::from_fn_with_state(
            call_metrics,
            observe::call,
        ));

    let drain = Duration::from_millis(args.drain_delay_ms);
    let closing = stop.clone();
    let told_to_stop = async move {
        closing.cancelled().await;
        tokio::time::sleep(drain).await;
    };
    let router = Server::builder()
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(8 << 20)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        // Without a grace: tonic 0.14 with one tells the client nothing and cuts the connection in the end.
        .max_connection_age(Duration::from_millis(args.max_connection_age_ms))
        .add_routes(Routes::from(routes));
    let closed = CancellationToken::new();
    let server: Pin<Box<dyn Future<Output = _> + Send>> = match tls {
        None => {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let incoming = until_closed(incoming, told_to_stop, closed.clone());
            Box::pin(router.serve_with_incoming_shutdown(incoming, closed.cancelled_owned()))
        }
        Some(files) => {
            let incoming = tls::incoming(listener, files, tls_metrics, stop.clone())?;
            let incoming = until_closed(incoming, told_to_stop, closed.clone());
            Box::pin(router.serve_with_incoming_shutdown(incoming, closed.cancelled_owned()))
        }
    };
    tracing::info!(%address, "identity serves");
    let overtime = async {
        stop.cancelled().await;
        tokio::time::sleep(drain + DRAIN).await;
    };
    tokio::select! {
        served = server => served?,
        () = overtime => tracing::warn!("calls were still in flight when the time to stop was over"),
    }
    stopped.cancel();
    tracing::info!("identity stopped");
    Ok(())
}

/// The connections that come in until `stop`, and those that wait already then. The listener is closed before
/// `closed` lets the first connection be told to end: a client that was told would come back to a listener that
/// nobody looks at any more, and be cut off with a request that nobody has read.
fn until_closed<S: Stream + Unpin>(
    incoming: S,
    stop: impl Future<Output = ()>,
    closed: CancellationToken,
) -> impl Stream<Item = S::Item> {
    let mut incoming = Some(incoming);
    let mut stop = Box::pin(stop);
    let mut stopping = false;
    stream::poll_fn(move |context| {
        stopping = stopping || stop.as_mut().poll(context).is_ready();
        let next = match &mut incoming {
            Some(incoming) => incoming.poll_next_unpin(context),
            None => Poll::Ready(None),
        };
        if stopping && next.is_pending() {
            incoming = None;
            closed.cancel();
            return Poll::Ready(None);
        }
        next
    })
}

fn add_services(routes: &mut RoutesBuilder, identity: &Identity) {
    /// Adds services that take compressed requests, and compress an answer for a caller that asks for it.
    /// What a request unpacks to is bounded as one that came unpacked.
    macro_rules! add {
        ($($service:ident::$server:ident($rpc:ident) $(of at most $bytes:ident)?;)*) => {$(
            routes.add_service(
                pb::$service::$server::new($rpc(identity.clone()))
                    $(.max_decoding_message_size($bytes))?
                    .accept_compressed(CompressionEncoding::Zstd)
                    .accept_compressed(CompressionEncoding::Gzip)
                    .send_compressed(CompressionEncoding::Zstd)
                    .send_compressed(CompressionEncoding::Gzip),
            );
        )*};
    }
    add! {
        site_service_server::SiteServiceServer(SiteRpc);
        credential_service_server::CredentialServiceServer(CredentialRpc);
        member_service_server::MemberServiceServer(MemberRpc);
        role_service_server::RoleServiceServer(RoleRpc);
        business_entity_service_server::BusinessEntityServiceServer(BusinessEntityRpc);
        group_service_server::GroupServiceServer(GroupRpc) of at most GROUP_MESSAGE_MAX;
        grant_service_server::GrantServiceServer(GrantRpc);
        access_service_server::AccessServiceServer(AccessRpc);
        diagnosis_service_server::DiagnosisServiceServer(DiagnosisRpc);
        event_service_server::EventServiceServer(EventRpc);
    }
}

async fn set_health(health: &HealthReporter, status: ServingStatus) {
    // The empty name stands for the whole process; tonic says it serves until it is told otherwise.
    health.set_service_status("", status).await;
    for service in SERVICES {
        health.set_service_status(service, status).await;
    }
}

/// What else the health service tells of, to whoever can't sign in because of it.
const DATABASE: &str = "database";
const MIGRATIONS: &str = "migrations";

const SERVICES: [&str; 10] = [
    "identity.v1.AccessService",
    "identity.v1.BusinessEntityService",
    "identity.v1.CredentialService",
    "identity.v1.DiagnosisService",
    "identity.v1.EventService",
    "identity.v1.GrantService",
    "identity.v1.GroupService",
    "identity.v1.MemberService",
    "identity.v1.RoleService",
    "identity.v1.SiteService",
];

fn serving(is: bool) -> ServingStatus {
    match is {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    }
}

/// Keeps `grpc.health.v1` true: serving while the database answers and the process is not stopping.
async fn watch_health(health: HealthReporter, db: Db, stop: CancellationToken) {
    let mut known = None;
    let mut look = db.look();
    loop {
        let outcome = tokio::select! {
            () = stop.cancelled() => break,
            outcome = look.again() => outcome,
        };
        db.metrics.up.set(outcome.is_ok().into());
        if known.as_ref() != Some(&outcome) {
            match &outcome {
                Ok(()) => tracing::info!("ready"),
                Err(why @ NotReady::ReadOnly) => tracing::warn!(%why, "ready for reads only"),
                Err(why) => tracing::warn!(%why, "not ready"),
            }
            let serves = matches!(outcome, Ok(()) | Err(NotReady::ReadOnly));
            set_health(&health, serving(serves)).await;
            let (database, migrations) = match &outcome {
                Ok(()) => (ServingStatus::Serving, ServingStatus::Serving),
                Err(NotReady::Behind(_) | NotReady::Unreadable(_)) => {
                    (ServingStatus::Serving, ServingStatus::NotServing)
                }
                Err(NotReady::ReadOnly) => (ServingStatus::NotServing, ServingStatus::Serving),
                Err(NotReady::Away(_)) => (ServingStatus::NotServing, ServingStatus::Unknown),
            };
            health.set_service_status(DATABASE, database).await;
            health.set_service_status(MIGRATIONS, migrations).await;
            known = Some(outcome);
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(HEALTH_EVERY) => {}
        }
    }
    set_health(&health, ServingStatus::NotServing).await;
}
