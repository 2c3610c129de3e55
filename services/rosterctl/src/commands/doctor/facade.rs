//! The facade, as an identity provider reaches it: over HTTP, by its public URL.

use std::{error::Error, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, Uri, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use identity_proto::v1::GetCallerResponse;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use super::{Finding, PATIENCE, Verdict, identity::Patient};
use crate::connection::{Purpose, Settings};

const CHECK: &str = "facade";
/// The most that is read of an answer.
const ANSWER_MAX: usize = 1 << 20;

type Failed = Box<dyn Error + Send + Sync>;

/// An answer over HTTP: the status, and the body where it is JSON.
struct Answer {
    status: u16,
    body: Value,
}

pub(super) async fn check(settings: &Settings, patient: &Patient, url: &str) -> Finding {
    let base = url.trim_end_matches('/');
    let caller = patient.caller.as_ref().ok();
    let site = caller.and_then(|caller| caller.site.as_ref());
    let domain = site.map_or("-", |site| site.domain.as_str());
    let config = match get(
        &format!("{base}/{domain}/scim/v2/ServiceProviderConfig"),
        None,
    )
    .await
    {
        Ok(answer) => answer,
        Err(error) => {
            return Finding::wrong(
                CHECK,
                format!("can't be reached at {base}: {error}"),
                "start it, or correct --facade (ROSTER_PUBLIC_URL) and what stands before it: ingress, TLS, DNS",
            );
        }
    };
    let location = config.body["meta"]["location"].as_str();
    let Some(location) = location.filter(|_| config.status == 200) else {
        return Finding::wrong(
            CHECK,
            format!(
                "{base} answers with {}, and not as a facade does",
                config.status
            ),
            "correct --facade (ROSTER_PUBLIC_URL): it is what is before /<domain>/scim/v2",
        );
    };
    let mut faults = Vec::new();
    if !location.starts_with(&format!("{base}/")) {
        faults.push(Finding::wrong(
            CHECK,
            format!("answers at {base}, and tells clients that it is at {location}"),
            "set the facade's ROSTER_PUBLIC_URL to the URL that clients know it by",
        ));
    }
    let behind = match (site, settings.token(Purpose::Work)) {
        (Some(site), Some(token)) => behind(base, &site.domain, token, caller).await,
        _ => Finding::good(
            CHECK,
            format!(
                "answers at {base}; whether it reaches identity shows with a site and its token"
            ),
        ),
    };
    if behind.verdict == Verdict::Wrong {
        faults.push(behind.clone());
    }
    all(faults).unwrap_or(behind)
}

/// One finding that tells all of these.
fn all(faults: Vec<Finding>) -> Option<Finding> {
    let remedies: Vec<String> = faults
        .iter()
        .filter_map(|fault| fault.remedy.clone())
        .collect();
    let whats: Vec<String> = faults.into_iter().map(|fault| fault.what).collect();
    (!whats.is_empty()).then(|| Finding::wrong(CHECK, whats.join("; "), remedies.join("; ")))
}

/// What is behind a facade that answers: the identity that takes our token, another, or none.
async fn behind(
    base: &str,
    domain: &str,
    token: &str,
    caller: Option<&GetCallerResponse>,
) -> Finding {
    let groups = format!("{base}/{domain}/scim/v2/Groups?count=0");
    let pinned = caller
        .and_then(|caller| caller.credential.as_ref())
        .is_some_and(|credential| !credential.certificate_name.is_empty());
    match get(&groups, Some(token)).await.map(|answer| answer.status) {
        // Whoever may not read groups was recognised all the same.
        Ok(200 | 403) => Finding::good(CHECK, format!("answers at {base}, and reaches identity")),
        Ok(401) if pinned => Finding::good(
            CHECK,
            format!(
                "answers at {base}, and reaches identity, where this token is pinned to a certificate"
            ),
        ),
        Ok(401) => Finding::wrong(
            CHECK,
            format!("{base} refuses the token that identity takes: it asks another identity"),
            "correct the facade's ROSTER_IDENTITY_URL, or --addr",
        ),
        Ok(429) => Finding::wrong(
            CHECK,
            format!("{base} does not reach identity, or is overloaded"),
            "look at identity (above), at the facade's ROSTER_IDENTITY_URL and at its log",
        ),
        Ok(status) => Finding::wrong(
            CHECK,
            format!("{base} answers a list of groups with {status}"),
            "look at the facade's log",
        ),
        Err(error) => Finding::wrong(
            CHECK,
            format!("answered at {base}, and then no more: {error}"),
            "look at the facade's log",
        ),
    }
}

async fn get(url: &str, token: Option<&str>) -> Result<Answer, Failed> {
    timeout(PATIENCE, get_at_length(url, token)).await?
}

async fn get_at_length(url: &str, token: Option<&str>) -> Result<Answer, Failed> {
    let uri: Uri = url.parse()?;
    let host = uri.host().ok_or("the URL has no host")?.to_owned();
    let https = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err("a URL begins with http:// or https://".into()),
    };
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    let bare = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let stream = TcpStream::connect((bare.as_str(), port)).await?;
    let authority = uri.authority().map_or(host, ToString::to_string);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::get(path).header(header::HOST, authority);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Empty::<Bytes>::new())?;
    if https {
        let stream = tls()?.connect(ServerName::try_from(bare)?, stream).await?;
        send(stream, request).await
    } else {
        send(stream, request).await
    }
}

async fn send<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Answer, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer; what it fails with shows there.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), ANSWER_MAX)
        .collect()
        .await?;
    Ok(Answer {
        status,
        body: serde_json::from_slice(&body.to_bytes()).unwrap_or_default(),
    })
}

/// TLS with the authorities that this machine trusts (SSL_CERT_FILE names others).
fn tls() -> Result<TlsConnector, Failed> {
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
