//! A TCP proxy that can be cut and slowed, to stand between two parts of a Roster.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A proxy on a port of its own before another port of this machine.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    refusing: Arc<AtomicBool>,
    frozen: watch::Sender<bool>,
    muted: watch::Sender<bool>,
    cut: watch::Sender<u64>,
    connections: Arc<AtomicU64>,
}

impl Proxy {
    /// Starts a proxy before `target`.
    pub async fn before(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let refusing = Arc::new(AtomicBool::new(false));
        let (cut, _) = watch::channel(0);
        let (frozen, _) = watch::channel(false);
        let (muted, _) = watch::channel(false);
        let connections = Arc::new(AtomicU64::new(0));
        let proxy = Self {
            port,
            refusing: refusing.clone(),
            cut: cut.clone(),
            frozen: frozen.clone(),
            muted: muted.clone(),
            connections: connections.clone(),
        };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if refusing.load(Ordering::Acquire) {
                    continue;
                }
                connections.fetch_add(1, Ordering::AcqRel);
                let (frozen, muted) = (frozen.subscribe(), muted.subscribe());
                tokio::spawn(pass(client, target, cut.subscribe(), frozen, muted));
            }
        });
        proxy
    }

    /// The port of the proxy.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts all connections, and every new one at once, until [`Proxy::mend`].
    pub fn cut(&self) {
        self.refusing.store(true, Ordering::Release);
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    /// Stops passing bytes on, without a word to anybody, until [`Proxy::mend`].
    pub fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    /// Stops passing on what comes back, without a word to anybody, until [`Proxy::mend`].
    pub fn mute(&self) {
        self.muted.send_replace(true);
    }

    /// Passes everything on again.
    pub fn mend(&self) {
        self.refusing.store(false, Ordering::Release);
        self.frozen.send_replace(false);
        self.muted.send_replace(false);
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Acquire)
    }
}

async fn pass(
    client: TcpStream,
    target: u16,
    mut cut: watch::Receiver<u64>,
    frozen: watch::Receiver<bool>,
    muted: watch::Receiver<bool>,
) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = copy(from_client, to_server, [frozen.clone(), frozen.clone()]) => {}
        () = copy(from_server, to_client, [frozen, muted]) => {}
        _ = cut.changed() => {}
    }
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut held_by: [watch::Receiver<bool>; 2],
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        for held in &mut held_by {
            if held.wait_for(|held| !held).await.is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
                return;
            }
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
