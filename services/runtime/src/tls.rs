//! TLS towards identity, and files of certificates that change while a process runs: whoever issues them
//! renews them long before they expire, and nobody restarts a process for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use x509_parser::pem::Pem;

use crate::{metrics::Metrics, rpc::causes, settings::Mistakes};

/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(5);

/// How long before its end a certificate should have been renewed, whoever issues it.
const LATE: Duration = Duration::from_secs(24 * 60 * 60);

/// How a client of identity speaks TLS; only where identity's address begins with `https://`.
#[derive(Args, Clone, Debug, Default, Eq, PartialEq)]
pub struct ClientTlsArgs {
    /// The authority that vouches for identity, a file of PEM certificates, where identity's address
    /// begins with https:// [default: the system's authorities]
    #[arg(
        long,
        global = true,
        env = "ROSTER_IDENTITY_CA",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub identity_ca: Option<PathBuf>,
    /// The client's own certificate, a PEM file with its chain, where identity asks for one
    #[arg(
        long,
        global = true,
        env = "ROSTER_IDENTITY_CERT",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub identity_cert: Option<PathBuf>,
    /// The key of the client's own certificate, a PEM file
    #[arg(
        long,
        global = true,
        env = "ROSTER_IDENTITY_KEY",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub identity_key: Option<PathBuf>,
}

impl ClientTlsArgs {
    /// The files.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        [&self.identity_ca, &self.identity_cert, &self.identity_key]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Notes what of these settings does not go with the addresses of identity, separated by commas, or can't be
    /// read.
    pub fn check(&self, urls: &str, mistakes: &mut Mistakes) {
        let all = [
            ("ROSTER_IDENTITY_CA", &self.identity_ca),
            ("ROSTER_IDENTITY_CERT", &self.identity_cert),
            ("ROSTER_IDENTITY_KEY", &self.identity_key),
        ];
        let mut readable = true;
        let alone = match (&self.identity_cert, &self.identity_key) {
            (Some(_), None) => Some("ROSTER_IDENTITY_KEY"),
            (None, Some(_)) => Some("ROSTER_IDENTITY_CERT"),
            _ => None,
        };
        if let Some(name) = alone {
            mistakes.note(
                name,
                None,
                "must be set too: a certificate and its key go together",
            );
            readable = false;
        }
        for (name, file) in all {
            if let Some(file) = file
                && let Err(error) = fs::read(file)
            {
                mistakes.note_file(name, file, error);
                readable = false;
            }
        }
        if !readable {
            return;
        }
        for url in urls.split(',').map(str::trim) {
            // An address that can't be one is noted as such.
            if let Ok(endpoint) = Endpoint::from_shared(url.to_owned())
                && let Err(why) = self.secure(endpoint)
            {
                let must = format!("must go with the files of TLS: {why}");
                mistakes.note("ROSTER_IDENTITY_URL", Some(url), must);
            }
        }
    }

    /// `endpoint` as these settings want it: with TLS where its address begins with `https://`.
    ///
    /// # Errors
    /// A file that can't be read or holds nothing of use, or settings that do not go with each other or the
    /// address; a sentence for an operator.
    pub fn secure(&self, endpoint: Endpoint) -> Result<Endpoint, String> {
        if endpoint.uri().scheme_str() != Some("https") {
            if *self == Self::default() {
                return Ok(endpoint);
            }
            return Err(format!(
                "TLS is set (ROSTER_IDENTITY_CA, _CERT or _KEY), but the address {} does not begin with https://",
                endpoint.uri()
            ));
        }
        let mut tls = ClientTlsConfig::new();
        tls = match &self.identity_ca {
            Some(file) => tls.ca_certificate(Certificate::from_pem(read(file)?)),
            None => tls.with_native_roots(),
        };
        match (&self.identity_cert, &self.identity_key) {
            (Some(certificate), Some(key)) => {
                tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
            }
            (None, None) => {}
            _ => {
                return Err("ROSTER_IDENTITY_CERT and ROSTER_IDENTITY_KEY go together".to_owned());
            }
        }
        let broken = |error| format!("the TLS files are not usable: {}", causes(&error));
        endpoint.tls_config(tls).map_err(broken)
    }
}

fn read(file: &PathBuf) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
}

/// Calls `apply` whenever the content of a file has changed, until `stop`. What can't be applied, as a
/// certificate whose key is not there yet, is tried again; until then all stays as it was. That is told once for
/// each change, or the log would hold little else.
pub async fn on_change(
    files: Vec<PathBuf>,
    stop: CancellationToken,
    apply: impl Fn() -> Result<(), String> + Send,
) {
    let mut applied = contents(&files).ok();
    // What could not be used, and was told of; none of it where the files can't be read.
    let mut told: Option<Option<Contents>> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let found = contents(&files);
        if let Ok(found) = &found
            && applied.as_ref() == Some(found)
        {
            told = None;
            continue;
        }
        let (found, why) = match found {
            Ok(found) => match apply() {
                Ok(()) => {
                    tracing::info!("the TLS files have changed and are in use");
                    applied = Some(found);
                    told = None;
                    continue;
                }
                Err(why) => (Some(found), why),
            },
            Err(error) => (None, format!("they can't be read: {error}")),
        };
        if told.as_ref() != Some(&found) {
            tracing::warn!(why, "the TLS files have changed and can't be used");
            told = Some(found);
        }
    }
}

type Contents = Vec<Vec<u8>>;

/// A few kilobytes, on a local disk.
fn contents(files: &[PathBuf]) -> io::Result<Contents> {
    files.iter().map(fs::read).collect()
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CertificateLabels {
    tls_certificate: &'static str,
}

/// Until when the certificate that a process shows of itself is good. Clones share it.
#[derive(Clone, Debug)]
pub struct OwnCertificate {
    kind: &'static str,
    not_after: Family<CertificateLabels, Gauge>,
}

impl OwnCertificate {
    /// That of a `server` or a `client`; there is nothing to see of it before it is in use.
    #[must_use]
    pub fn new(metrics: &Metrics, kind: &'static str) -> Self {
        Self {
            kind,
            not_after: metrics.register(
                "tls_certificate_not_after_seconds",
                "When the certificate that the process shows, or one of its chain, expires, in seconds since 1970",
                Family::default(),
            ),
        }
    }

    /// Says that the certificate in this file is in use from now on.
    pub fn is_in_use(&self, file: &Path) {
        let Some(not_after) = fs::read(file).ok().and_then(|pem| first_end(&pem)) else {
            // It was read a moment ago: changed since, it will be used again.
            tracing::debug!(file = %file.display(), "can't tell when a certificate expires");
            return;
        };
        let labels = CertificateLabels {
            tls_certificate: self.kind,
        };
        self.not_after.get_or_create(&labels).set(not_after);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_secs().cast_signed());
        let file = file.display();
        if not_after <= now {
            tracing::warn!(%file, not_after, "a TLS certificate is in use that has expired");
        } else if not_after - now < LATE.as_secs().cast_signed() {
            tracing::warn!(%file, not_after, "a TLS certificate is in use that expires within a day");
        }
    }
}

/// When the first of these certificates expires: a chain is as good as its weakest.
fn first_end(pem: &[u8]) -> Option<i64> {
    let ends = Pem::iter_from_buffer(pem).filter_map(|pem| {
        let pem = pem.ok()?;
        let certificate = pem.parse_x509().ok()?;
        Some(certificate.validity().not_after.timestamp())
    });
    ends.min()
}
