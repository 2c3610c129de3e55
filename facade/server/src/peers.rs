//! The processes of identity: every address behind its name, taken in turn. One that can't be reached is
//! passed over for a while, so that a process that ends costs a client nothing while others run.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper_util::rt::TokioIo;
use identity_runtime::tls::{ClientTlsArgs, OwnCertificate, on_change};
use tokio::{
    net::{TcpStream, lookup_host},
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

/// How often names are looked up: so late at most is a process found that was started.
const LOOK_UP_EVERY: Duration = Duration::from_secs(5);

/// How long a look-up may take, and how long after one another may follow.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(5);
const LOOK_UP_PAUSE: Duration = Duration::from_millis(200);

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a process that could not be reached is passed over while there are others.
const PASSED_OVER: Duration = Duration::from_secs(1);

/// The largest set of trailers: an error may carry a hundred names.
const MAX_TRAILERS: u32 = 256 << 10;

/// One process of identity.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Its address, and the place in `Names` of the name behind which it stands.
    key: (usize, SocketAddr),
    channel: Channel,
    passed_over_until: Arc<Mutex<Option<Instant>>>,
}

impl Peer {
    /// The connection to it. It comes up with the first call, and again whenever it has to.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.key.1
    }

    fn is_passed_over(&self) -> bool {
        self.passed_over_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some_and(|until| Instant::now() < until)
    }
}

/// All processes of identity that are known.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    found: watch::Receiver<Vec<Peer>>,
    next: Arc<AtomicUsize>,
    look_again: Arc<Notify>,
}

impl Peers {
    /// Looks up the names in `urls` (`http://host:port` or `https://host:port`, one or several, separated by
    /// commas) now and again, until `stop`. An error is a sentence for an operator.
    pub(crate) fn new(
        urls: &str,
        tls: &ClientTlsArgs,
        certificate: OwnCertificate,
        stop: &CancellationToken,
    ) -> Result<Self, String> {
        let names = Names::new(urls, tls)?;
        let (names, changed) = watch::channel(names);
        let files = tls.files();
        if !files.is_empty() {
            let (urls, tls) = (urls.to_owned(), tls.clone());
            let in_use = move |tls: &ClientTlsArgs| {
                if let Some(file) = &tls.identity_cert {
                    certificate.is_in_use(file);
                }
            };
            in_use(&tls);
            tokio::spawn(on_change(files, stop.clone(), move || {
                names.send_replace(Names::new(&urls, &tls)?);
                in_use(&tls);
                Ok(())
            }));
        }
        let (sender, found) = watch::channel(Vec::new());
        let look_again = Arc::new(Notify::new());
        tokio::spawn(look_up(changed, sender, look_again.clone(), stop.clone()));
        Ok(Self {
            found,
            next: Arc::default(),
            look_again,
        })
    }

    /// The process whose turn it is, as soon as one is known.
    pub(crate) async fn next(&self) -> Peer {
        loop {
            let mut found = self.found.clone();
            if let Some(peer) = self.turn(&found.borrow_and_update()) {
                return peer;
            }
            // Nobody looks any more where the process is about to end; the deadline of the call then ends this.
            if found.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Of those that could be reached if there are any, else of all: one of them may be back.
    fn turn(&self, peers: &[Peer]) -> Option<Peer> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let turns =
            (0..peers.len()).map(|offset| &peers[(first.wrapping_add(offset)) % peers.len()]);
        turns
            .clone()
            .find(|peer| !peer.is_passed_over())
            .or_else(|| turns.clone().next())
            .cloned()
    }

    /// Says that this one could not be reached.
    pub(crate) fn is_out(&self, peer: &Peer) {
        *peer
            .passed_over_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + PASSED_OVER);
        self.look_again.notify_one();
    }
}

/// What is looked up: a name each, with how to connect to what is behind it.
#[derive(Clone, Debug)]
struct Names(Vec<(String, Endpoint)>);

impl Names {
    fn new(urls: &str, tls: &ClientTlsArgs) -> Result<Self, String> {
        urls.split(',')
            .map(|url| Self::name(url.trim(), tls))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn name(url: &str, tls: &ClientTlsArgs) -> Result<(String, Endpoint), String> {
        let wrong = |why: &str| format!("identity's address {url:?}: {why}");
        let uri: Uri = url.parse().map_err(|_| wrong("not a URL"))?;
        let port = match uri.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return Err(wrong("expected http://host:port or https://host:port")),
        };
        let host = uri.host().ok_or_else(|| wrong("no host"))?;
        let name = format!("{host}:{}", uri.port_u16().unwrap_or(port));
        let endpoint = Endpoint::from(uri)
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true)
            // Room for a PUT of a large group without waiting for the window.
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .http2_max_header_list_size(MAX_TRAILERS);
        Ok((name, tls.secure(endpoint)?))
    }

    /// A connection to one address behind a name: certificates and `:authority` are the name's.
    fn peer(&self, key: (usize, SocketAddr)) -> Option<Peer> {
        let (_, endpoint) = self.0.get(key.0)?;
        let connector = service_fn(move |_: Uri| async move {
            let stream = TcpStream::connect(key.1).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        });
        Some(Peer {
            key,
            channel: endpoint.connect_with_connector_lazy(connector),
            passed_over_until: Arc::default(),
        })
    }

    /// The addresses behind every name; the error says which name has none.
    async fn addresses(&self) -> Result<BTreeSet<(usize, SocketAddr)>, String> {
        let mut all = BTreeSet::new();
        for (place, (name, _)) in self.0.iter().enumerate() {
            let found = timeout(LOOK_UP_TIMEOUT, lookup_host(name))
                .await
                .map_err(|_| format!("{name}: no answer"))?
                .map_err(|error| format!("{name}: {error}"))?;
            all.extend(found.map(|address| (place, address)));
        }
        Ok(all)
    }
}

/// Keeps `found` up to date. Connections to processes that are still there stay as they are; where a name
/// can't be looked up, everything does.
async fn look_up(
    mut names: watch::Receiver<Names>,
    found: watch::Sender<Vec<Peer>>,
    look_again: Arc<Notify>,
    stop: CancellationToken,
) {
    // Whether nobody may change the names any more: there are no files of certificates.
    let mut fixed = false;
    let mut renewed = false;
    loop {
        let current = names.borrow_and_update().clone();
        match current.addresses().await {
            Err(why) => {
                tracing::warn!(why, "identity's name can't be looked up");
                if renewed {
                    found.send_modify(|peers| {
                        peers.iter_mut().for_each(|peer| {
                            if let Some(new) = current.peer(peer.key) {
                                *peer = new;
                            }
                        });
                    });
                }
            }
            Ok(addresses) => found.send_modify(|peers| {
                let known: BTreeSet<_> = peers.iter().map(|peer| peer.key).collect();
                if known != addresses {
                    tracing::info!(processes = addresses.len(), "identity was looked up");
                }
                let mut kept = std::mem::take(peers);
                kept.retain(|peer| !renewed && addresses.contains(&peer.key));
                let has = |key| kept.iter().any(|peer: &Peer| peer.key == key);
                let new: Vec<_> = addresses
                    .into_iter()
                    .filter(|key| !has(*key))
                    .filter_map(|key| current.peer(key))
                    .collect();
                kept.extend(new);
                *peers = kept;
            }),
        }
        sleep(LOOK_UP_PAUSE).await;
        renewed = false;
        tokio::select! {
            () = stop.cancelled(), if found.is_closed() => return,
            () = found.closed() => return,
            () = sleep(LOOK_UP_EVERY) => {}
            () = look_again.notified() => {}
            change = names.changed(), if !fixed => {
                renewed = change.is_ok();
                fixed = !renewed;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(addresses: &[&str]) -> (Peers, watch::Sender<Vec<Peer>>) {
        let names = Names::new("http://identity:1", &ClientTlsArgs::default()).unwrap();
        let all = addresses
            .iter()
            .map(|address| names.peer((0, address.parse().unwrap())).unwrap())
            .collect();
        let (sender, found) = watch::channel(all);
        let peers = Peers {
            found,
            next: Arc::default(),
            look_again: Arc::default(),
        };
        (peers, sender)
    }

    #[tokio::test]
    async fn processes_are_taken_in_turn_and_one_that_is_out_is_passed_over() {
        let (peers, _sender) = peers(&["127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:1"]);
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            seen.insert(peers.next().await.key);
        }
        assert_eq!(seen.len(), 3, "each had a turn");
        let out = peers.next().await;
        peers.is_out(&out);
        for _ in 0..9 {
            assert_ne!(peers.next().await.key, out.key);
        }
        for _ in 0..2 {
            peers.is_out(&peers.next().await);
        }
        // All are out: one is tried all the same.
        peers.next().await;
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_refused_in_a_sentence() {
        let refuse = |urls: &str| Names::new(urls, &ClientTlsArgs::default()).unwrap_err();
        for urls in ["identity:1", "ftp://identity:1", "", "http://identity:1,"] {
            assert!(refuse(urls).starts_with("identity's address"), "{urls}");
        }
        let several = Names::new("http://a:1, http://b", &ClientTlsArgs::default()).unwrap();
        let names: Vec<_> = several.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a:1", "b:80"]);
    }
}
