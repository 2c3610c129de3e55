//! The settings of the facade, from the environment or the command line.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use identity_runtime::telemetry::TelemetryArgs;

/// Speaks SCIM 2.0 to identity providers and gRPC to identity.
#[derive(Clone, Debug, Parser)]
#[command(name = "facade", version, about)]
pub struct Config {
    /// Where SCIM is served.
    #[arg(long, env = "ROSTER_FACADE_LISTEN", default_value = "127.0.0.1:8480")]
    pub listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(
        long,
        env = "ROSTER_FACADE_ADMIN_LISTEN",
        default_value = "127.0.0.1:8490"
    )]
    pub admin_listen: SocketAddr,
    /// The gRPC address of identity.
    #[arg(
        long,
        env = "ROSTER_IDENTITY_URL",
        default_value = "http://127.0.0.1:8481"
    )]
    pub identity_url: String,
    /// The URL that clients know the facade by: what Location, $ref and meta.location begin with.
    #[arg(long, env = "ROSTER_PUBLIC_URL", default_value = "http://127.0.0.1:8480", value_parser = public_url)]
    pub public_url: String,
    /// The first part of group names that name a role or a business entity.
    #[arg(long, env = "ROSTER_GROUP_PREFIX", default_value = "CB", value_parser = group_prefix)]
    pub group_prefix: String,
    /// How long identity may take for one request, in milliseconds. Together with the time for the body
    /// it must stay below the 60 seconds after which Okta gives up.
    #[arg(long, env = "ROSTER_REQUEST_TIMEOUT_MS", default_value = "30000", value_parser = milliseconds)]
    pub request_timeout: Duration,
    /// How long a client may take to send a body, in milliseconds.
    #[arg(long, env = "ROSTER_BODY_TIMEOUT_MS", default_value = "20000", value_parser = milliseconds)]
    pub body_timeout: Duration,
    /// How long a connection may take to send a request's headers, in milliseconds; so long an idle one
    /// is kept, too. More than load balancers and identity providers keep theirs.
    #[arg(long, env = "ROSTER_HEADER_TIMEOUT_MS", default_value = "75000", value_parser = milliseconds)]
    pub header_timeout: Duration,
    /// How large a body may be, in bytes.
    #[arg(long, env = "ROSTER_MAX_BODY_BYTES", default_value_t = 1 << 20)]
    pub max_body: usize,
    /// How large the body of one group may be, in bytes.
    #[arg(long, env = "ROSTER_MAX_GROUP_BODY_BYTES", default_value_t = 32 << 20)]
    pub max_group_body: usize,
    /// How many operations a bulk request may hold.
    #[arg(long, env = "ROSTER_BULK_MAX_OPERATIONS", default_value_t = 1000)]
    pub max_bulk_operations: usize,
    /// How large a bulk request may be, in bytes.
    #[arg(long, env = "ROSTER_BULK_MAX_PAYLOAD_BYTES", default_value_t = 1 << 20)]
    pub max_bulk_body: usize,
    /// Logs and traces.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a whole number of milliseconds, 1 or more".to_owned()),
        Ok(number) => Ok(Duration::from_millis(number)),
    }
}

fn public_url(text: &str) -> Result<String, String> {
    let url = text.trim_end_matches('/');
    let uri: axum::http::Uri = url.parse().map_err(|error| format!("{error}"))?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.query().is_none() => Ok(url.to_owned()),
        _ => Err("expected a URL that begins with http:// or https://".to_owned()),
    }
}

fn group_prefix(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains('/') || text.trim() != text {
        return Err("expected a text without slashes and surrounding space".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked() {
        let parse = |flag: &str, value: &str| Config::try_parse_from(["facade", flag, value]);
        assert_eq!(
            parse("--public-url", "https://x/y/").unwrap().public_url,
            "https://x/y"
        );
        assert!(parse("--public-url", "acme").is_err());
        assert!(parse("--request-timeout", "0").is_err());
        assert!(parse("--group-prefix", "C/B").is_err());
        assert_eq!(
            Config::try_parse_from(["facade"]).unwrap().max_group_body,
            33_554_432
        );
    }
}
