//! Whether identity was ever reached since the process began. Until then it is not ready: with a wrong address, authority
//! or certificate it never will be, and must not take the place of a process that works.

use std::time::Duration;

use identity_runtime::rpc::{causes, code_name};
use roster_client::is_unreachable;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::peers::Peers;

/// How long before it is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a try may take: longer than a connection may.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether identity was reached. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Reached(watch::Receiver<Option<String>>);

impl Reached {
    /// An error, for an operator, until it was.
    pub(crate) fn check(&self) -> Result<(), String> {
        match &*self.0.borrow() {
            None => Ok(()),
            Some(why) => Err(format!("identity was never reached since the start: {why}")),
        }
    }
}

/// Asks one process after the other for its health until one answers, or `stop`.
pub(crate) fn look(peers: Peers, stop: CancellationToken) -> Reached {
    let (why, reached) = watch::channel(Some("it is tried for the first time".to_owned()));
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = until_reached(&peers, &why) => {}
        }
    });
    Reached(reached)
}

async fn until_reached(peers: &Peers, told: &watch::Sender<Option<String>>) {
    loop {
        let asked = timeout(PATIENCE, ask(peers)).await;
        let why = match asked {
            Ok(Ok(())) => break,
            Ok(Err(why)) => why,
            Err(_) => {
                format!("its name has no address, or nobody answers there within {PATIENCE:?}")
            }
        };
        if told.borrow().as_ref() != Some(&why) {
            tracing::warn!(why, "identity can't be reached; not ready until it was");
            told.send_replace(Some(why));
        }
        sleep(PAUSE).await;
    }
    tracing::info!("identity was reached");
    told.send_replace(None);
}

async fn ask(peers: &Peers) -> Result<(), String> {
    let peer = peers.next().await;
    let mut health = HealthClient::new(peer.channel());
    match health.check(HealthCheckRequest::default()).await {
        // Also one that does not serve: it was reached.
        Ok(_) => Ok(()),
        Err(status) if is_answer(&status) => Ok(()),
        Err(status) => {
            if is_unreachable(&status) {
                peers.is_out(&peer);
            }
            let why = std::error::Error::source(&status).map_or_else(
                || format!("{} {}", code_name(status.code()), status.message()),
                causes,
            );
            Err(format!("{}: {why}", peer.address()))
        }
    }
}

/// Whether somebody who speaks gRPC said this; a proxy may keep the health service to itself. That there is nobody
/// behind a proxy is no answer, nor is what the library makes of HTTP that is not gRPC.
fn is_answer(status: &Status) -> bool {
    let media_type = status.metadata().get("content-type");
    status.code() != Code::Unavailable
        && media_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataMap;

    use super::*;

    #[test]
    fn only_grpc_is_an_answer() {
        let said = |code, media_type: &'static str| {
            let mut metadata = MetadataMap::new();
            if !media_type.is_empty() {
                metadata.insert("content-type", media_type.parse().unwrap());
            }
            is_answer(&Status::with_metadata(code, "", metadata))
        };
        assert!(said(Code::Unimplemented, "application/grpc"));
        assert!(said(Code::PermissionDenied, "application/grpc+proto"));
        assert!(!said(Code::Unavailable, "application/grpc"));
        assert!(!said(Code::Unimplemented, "text/html"));
        assert!(!said(Code::Unimplemented, ""));
    }
}
