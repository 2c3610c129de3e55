//! TLS towards identity, and files of certificates that change while a process runs: whoever issues them
//! renews them long before they expire, and nobody restarts a process for it.

use std::{fs, io, path::PathBuf, time::Duration};

use clap::Args;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::settings::Mistakes;

/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(5);

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

/// An error with what is behind it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut behind = error.source();
    while let Some(cause) = behind {
        text.push_str(&format!(": {cause}"));
        behind = cause.source();
    }
    text
}

/// Calls `apply` whenever the content of a file has changed, until `stop`. What can't be applied, as a
/// certificate whose key is not there yet, is tried again; until then all stays as it was.
pub async fn on_change(
    files: Vec<PathBuf>,
    stop: CancellationToken,
    apply: impl Fn() -> Result<(), String> + Send,
) {
    let mut applied = contents(&files).ok();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        match contents(&files) {
            Ok(found) if applied.as_ref() == Some(&found) => {}
            Ok(found) => match apply() {
                Ok(()) => {
                    tracing::info!("the TLS files have changed and are in use");
                    applied = Some(found);
                }
                Err(why) => tracing::warn!(why, "the TLS files have changed and can't be used"),
            },
            Err(error) => tracing::warn!(%error, "the TLS files can't be read"),
        }
    }
}

/// A few kilobytes, on a local disk.
fn contents(files: &[PathBuf]) -> io::Result<Vec<Vec<u8>>> {
    files.iter().map(fs::read).collect()
}
