//! Every process of identity behind one name: a headless service's name has an address for each. One
//! connection each, used in turn; a name that is an address stays one connection.

use std::{
    error::Error,
    fmt,
    future::{Future, poll_fn},
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::http::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    transport::{Channel, Endpoint},
};
use tower_service::Service;

/// How often the name is looked up; as long as cluster DNS keeps an answer.
const EVERY: Duration = Duration::from_secs(5);

/// How long an address that could not be reached is passed over while there are others.
const AWAY: Duration = EVERY;

/// All processes of identity as one gRPC service. Clones share the connections.
#[derive(Clone)]
pub(crate) struct Peers {
    state: Arc<Mutex<State>>,
}

struct State {
    endpoint: Endpoint,
    /// Until the name was looked up, and where there is none: looks it up itself when it connects.
    by_name: Channel,
    peers: Vec<Peer>,
    next: usize,
}

struct Peer {
    address: SocketAddr,
    channel: Channel,
    away_until: Option<Instant>,
}

impl Peer {
    fn new(endpoint: &Endpoint, address: SocketAddr) -> Self {
        Self {
            address,
            // The name stays the endpoint's, for TLS.
            channel: endpoint.connect_with_connector_lazy(Dial(address)),
            away_until: None,
        }
    }

    fn is_away(&self, now: Instant) -> bool {
        self.away_until.is_some_and(|until| now < until)
    }
}

impl Peers {
    /// Connects when it is first used; looks the endpoint's name up again and again until `stop`.
    pub(crate) fn new(endpoint: Endpoint, stop: &CancellationToken) -> Self {
        let name = named(endpoint.uri());
        let peers = Self {
            state: Arc::new(Mutex::new(State {
                by_name: endpoint.connect_lazy(),
                endpoint,
                peers: Vec::new(),
                next: 0,
            })),
        };
        if let Some((host, port)) = name {
            tokio::spawn(peers.clone().follow(host, port, stop.clone()));
        }
        peers
    }

    /// New connections, made by an endpoint for the same name with other TLS files.
    pub(crate) fn replace(&self, endpoint: Endpoint) {
        let mut state = self.lock();
        state.by_name = endpoint.connect_lazy();
        for peer in &mut state.peers {
            *peer = Peer::new(&endpoint, peer.address);
        }
        state.endpoint = endpoint;
    }

    async fn follow(self, host: String, port: u16, stop: CancellationToken) {
        loop {
            let found = lookup_host((host.as_str(), port)).await;
            match found {
                Ok(addresses) => self.found(addresses.collect()),
                // What was found before may still be there; where it is not, calls say so.
                Err(error) => tracing::debug!(%error, "identity's name can't be looked up"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(EVERY) => {}
            }
        }
    }

    /// Keeps the connections to addresses that are still there. One that is not there any more finishes what it
    /// has begun.
    fn found(&self, mut addresses: Vec<SocketAddr>) {
        addresses.sort_unstable();
        addresses.dedup();
        let mut state = self.lock();
        let state = &mut *state;
        if addresses.is_empty() || state.peers.iter().map(|peer| &peer.address).eq(&addresses) {
            return;
        }
        tracing::info!(
            addresses = addresses.len(),
            "identity's addresses have changed"
        );
        state.peers.retain(|peer| addresses.contains(&peer.address));
        for address in addresses {
            if let Err(place) = state
                .peers
                .binary_search_by_key(&address, |peer| peer.address)
            {
                state
                    .peers
                    .insert(place, Peer::new(&state.endpoint, address));
            }
        }
    }

    /// The next one in turn that could be reached when it was last tried.
    fn pick(&self) -> (Channel, Option<SocketAddr>) {
        let now = Instant::now();
        let mut state = self.lock();
        let many = state.peers.len();
        state.next = state.next.wrapping_add(1);
        let first = state.next;
        let turns = (0..many).map(|turn| &state.peers[first.wrapping_add(turn) % many]);
        match turns
            .clone()
            .find(|peer| !peer.is_away(now))
            .or(turns.clone().next())
        {
            Some(peer) => (peer.channel.clone(), Some(peer.address)),
            None => (state.by_name.clone(), None),
        }
    }

    fn unreached(&self, address: SocketAddr) {
        let mut state = self.lock();
        if let Some(peer) = state.peers.iter_mut().find(|peer| peer.address == address) {
            peer.away_until = Some(Instant::now() + AWAY);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic happens under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name and port of an address that is not one already.
fn named(uri: &Uri) -> Option<(String, u16)> {
    let host = uri.host()?;
    if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return None;
    }
    let usual = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    Some((host.to_owned(), uri.port_u16().unwrap_or(usual)))
}

impl Service<Request<Body>> for Peers {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    /// Always: which connection a call waits for is decided when it is made.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let peers = self.clone();
        Box::pin(async move {
            let (mut channel, address) = peers.pick();
            let outcome = match poll_fn(|context| channel.poll_ready(context)).await {
                Ok(()) => channel.call(request).await,
                Err(error) => Err(error),
            };
            if let (Err(error), Some(address)) = (&outcome, address)
                && is_unreached(error)
            {
                peers.unreached(address);
            }
            outcome
        })
    }
}

/// Whether there was no connection, so that nothing was sent.
pub(crate) fn is_unreached(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

impl fmt::Debug for Peers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        let addresses: Vec<_> = state.peers.iter().map(|peer| peer.address).collect();
        formatter
            .debug_struct("Peers")
            .field("name", state.endpoint.uri())
            .field("addresses", &addresses)
            .finish_non_exhaustive()
    }
}

/// Connects to one address, whatever the name.
struct Dial(SocketAddr);

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let address = self.0;
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_is_looked_up() {
        let named = |uri: &'static str| named(&Uri::from_static(uri));
        assert_eq!(named("http://127.0.0.1:8481"), None);
        assert_eq!(named("http://[::1]:8481"), None);
        assert_eq!(
            named("https://identity:8481"),
            Some(("identity".to_owned(), 8481))
        );
        assert_eq!(
            named("https://identity"),
            Some(("identity".to_owned(), 443))
        );
        assert_eq!(named("http://identity"), Some(("identity".to_owned(), 80)));
    }

    #[tokio::test]
    async fn addresses_take_turns_and_an_unreached_one_is_passed_over() {
        let at = |last| SocketAddr::from(([127, 0, 0, last], 9));
        let peers = Peers::new(
            Endpoint::from_static("http://127.0.0.1:9"),
            &CancellationToken::new(),
        );
        assert_eq!(peers.pick().1, None);
        peers.found(vec![at(3), at(1), at(2), at(1)]);
        let turns = |many| -> Vec<_> {
            let mut found: Vec<_> = (0..many).filter_map(|_| peers.pick().1).collect();
            found.sort_unstable();
            found
        };
        assert_eq!(turns(3), [at(1), at(2), at(3)]);
        peers.unreached(at(2));
        assert!(!turns(6).contains(&at(2)));
        peers.found(vec![at(2)]);
        assert_eq!(turns(1), [at(2)]);
        // A name that vanishes for a moment is no reason to forget.
        peers.found(Vec::new());
        assert_eq!(turns(1), [at(2)]);
    }
}
