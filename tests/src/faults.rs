//! A TCP proxy that can be cut and slowed, to stand between two parts of a Roster.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
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
    cut: watch::Sender<u64>,
}

impl Proxy {
    /// Starts a proxy before `target`.
    pub async fn before(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let refusing = Arc::new(AtomicBool::new(false));
        let (cut, _) = watch::channel(0);
        let (frozen, _) = watch::channel(false);
        let proxy = Self {
            port,
            refusing: refusing.clone(),
            cut: cut.clone(),
            frozen: frozen.clone(),
        };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if refusing.load(Ordering::Acquire) {
                    continue;
                }
                tokio::spawn(pass(client, target, cut.subscribe(), frozen.subscribe()));
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

    /// Passes everything on again.
    pub fn mend(&self) {
        self.refusing.store(false, Ordering::Release);
        self.frozen.send_replace(false);
    }
}

async fn pass(
    client: TcpStream,
    target: u16,
    mut cut: watch::Receiver<u64>,
    frozen: watch::Receiver<bool>,
) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = copy(from_client, to_server, frozen.clone()) => {}
        () = copy(from_server, to_client, frozen) => {}
        _ = cut.changed() => {}
    }
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut frozen: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        if frozen.wait_for(|frozen| !frozen).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
