//! TLS on the gRPC port, where it is set. A client's certificate says who is at the other end of the
//! connection and nothing else: what a call may do follows from its token alone, and a credential may only
//! be pinned to a name in it.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use identity_runtime::{settings::Mistakes, tls::on_change};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
    server::TlsStream,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use crate::metrics::IdentityMetrics;

/// How long a client may take for its side of the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many handshakes go on at once; further connections wait to be taken.
const HANDSHAKES: usize = 1024;
/// How long to wait where no connection can be taken (no file is left to open).
const PAUSE: Duration = Duration::from_millis(50);

/// The settings of TLS on the gRPC port.
#[derive(Args, Clone, Debug, Default)]
pub struct TlsArgs {
    /// The certificate of the gRPC port with its chain, a PEM file; with it the port speaks TLS only.
    /// Files that change are in use within seconds, for new connections.
    #[arg(long, env = "ROSTER_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The key of that certificate, a PEM file.
    #[arg(long, env = "ROSTER_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// The authority whose certificates clients must have, a PEM file: mutual TLS. Unset, clients need none.
    #[arg(long, env = "ROSTER_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
}

/// The files of a port that speaks TLS.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    client_authority: Option<PathBuf>,
}

impl TlsArgs {
    /// The files, where the port is to speak TLS.
    pub(crate) fn files(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            certificate: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
            client_authority: self.tls_client_ca.clone(),
        })
    }

    /// Notes what does not go together, and files that can't be used.
    pub(crate) fn check(&self, mistakes: &mut Mistakes) {
        const CERTIFICATE: &str = "ROSTER_TLS_CERT";
        const KEY: &str = "ROSTER_TLS_KEY";
        const AUTHORITY: &str = "ROSTER_TLS_CLIENT_CA";
        let some = [&self.tls_cert, &self.tls_key, &self.tls_client_ca];
        if some.iter().all(|file| file.is_none()) {
            return;
        }
        let mut usable = true;
        for (name, file) in [(CERTIFICATE, &self.tls_cert), (KEY, &self.tls_key)] {
            if file.is_none() {
                let must = "must be set too: the certificate and its key go together, and an authority for clients with them";
                mistakes.note(name, None, must);
                usable = false;
            }
        }
        let wrong = [
            (
                CERTIFICATE,
                &self.tls_cert,
                certificates as fn(&PathBuf) -> Result<_, String>,
            ),
            (AUTHORITY, &self.tls_client_ca, certificates),
        ]
        .into_iter()
        .filter_map(|(name, file, read)| Some((name, file.as_ref()?, read(file.as_ref()?).err()?)));
        let wrong_key = self.tls_key.iter().filter_map(|file| {
            Some((
                KEY,
                file,
                PrivateKeyDer::from_pem_file(file).err()?.to_string(),
            ))
        });
        for (name, file, why) in wrong.chain(wrong_key) {
            mistakes.note_file(name, file, why);
            usable = false;
        }
        // Each is what it should be; whether they belong together is asked only then.
        if usable
            && let Some(files) = self.files()
            && let Err(why) = files.load()
        {
            mistakes.note_file(CERTIFICATE, &files.certificate, why);
        }
    }
}

impl TlsFiles {
    fn all(&self) -> Vec<PathBuf> {
        let own = [self.certificate.clone(), self.key.clone()].into_iter();
        own.chain(self.client_authority.clone()).collect()
    }

    /// What the files say; an error is a sentence for an operator, and never shows a key.
    fn load(&self) -> Result<Arc<ServerConfig>, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match &self.client_authority {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let mut authorities = RootCertStore::empty();
                for certificate in certificates(file)? {
                    authorities
                        .add(certificate)
                        .map_err(|error| format!("{}: {error}", file.display()))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(authorities.into(), provider);
                let verifier = verifier
                    .build()
                    .map_err(|error| format!("{}: {error}", file.display()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| format!("{}: {error}", self.key.display()))?;
        let mut config = builder
            .with_single_cert(certificates(&self.certificate)?, key)
            .map_err(|error| format!("{}: {error}", self.certificate.display()))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

fn certificates(file: &PathBuf) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let found = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(&error))?;
    if found.is_empty() {
        return Err(wrong(&"has no certificate"));
    }
    Ok(found)
}

/// A connection, or why the port takes none any more.
pub(crate) type Taken = io::Result<TlsStream<TcpStream>>;

/// Takes connections, and hands on those that speak TLS as the files of that moment say.
///
/// # Errors
/// Files that can't be used, in a sentence.
pub(crate) fn incoming(
    listener: TcpListener,
    files: TlsFiles,
    metrics: IdentityMetrics,
    stop: CancellationToken,
) -> Result<ReceiverStream<Taken>, String> {
    let (config, current) = watch::channel(files.load()?);
    let certificate = metrics.certificate.clone();
    certificate.is_in_use(&files.certificate);
    tokio::spawn(on_change(files.all(), stop, move || {
        config.send_replace(files.load()?);
        certificate.is_in_use(&files.certificate);
        Ok(())
    }));
    let (taken, incoming) = mpsc::channel(HANDSHAKES);
    tokio::spawn(take(listener, current, taken, metrics));
    Ok(ReceiverStream::new(incoming))
}

async fn take(
    listener: TcpListener,
    config: watch::Receiver<Arc<ServerConfig>>,
    taken: mpsc::Sender<Taken>,
    metrics: IdentityMetrics,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(permit) = handshakes.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            // The server stops.
            () = taken.closed() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "can't take a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let acceptor = TlsAcceptor::from(config.borrow().clone());
        let (taken, metrics) = (taken.clone(), metrics.clone());
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection ended at once");
                return;
            }
            match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                // Nobody takes it where the server stops.
                Ok(Ok(stream)) => drop(taken.send(Ok(stream)).await),
                Ok(Err(error)) => {
                    metrics.refused_handshakes.inc();
                    tracing::debug!(%error, "a TLS handshake failed");
                }
                Err(_elapsed) => {
                    metrics.refused_handshakes.inc();
                    tracing::debug!("a TLS handshake took too long");
                }
            }
        });
    }
}

/// The names in a client's certificate that a credential can be pinned to: DNS names and URIs among its
/// alternative names, and the common names of its subject.
pub(crate) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = parse_x509_certificate(certificate) else {
        return Vec::new();
    };
    let mut names = Vec::new();
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        names.extend(
            alternative
                .value
                .general_names
                .iter()
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
                    _ => None,
                }),
        );
    }
    let common = certificate.subject().iter_common_name();
    names.extend(common.filter_map(|name| name.as_str().ok().map(str::to_owned)));
    names
}
