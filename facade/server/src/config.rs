//! The settings of the facade, from the environment or the command line.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use identity_runtime::{
    settings::{Mistakes, Settings, address, number, url},
    telemetry::TelemetryArgs,
    tls::ClientTlsArgs,
    version,
};

/// How long a request may take in all: Okta hangs up after 60 seconds, and then nobody knows what was done.
const LONGEST: Duration = Duration::from_secs(58);

/// The largest body that can be set; identity takes no larger message.
const LARGEST: u64 = 4 << 20;

/// The same for a group.
const LARGEST_GROUP: u64 = 64 << 20;

/// Speaks SCIM 2.0 to identity providers and gRPC to identity.
#[derive(Clone, Debug, Parser)]
#[command(name = "facade", version = version::stamp(), about)]
pub struct Config {
    /// Where SCIM is served.
    #[arg(
        long,
        env = "ROSTER_FACADE_LISTEN",
        default_value = "127.0.0.1:8480",
        value_parser = address,
        value_name = "ADDR"
    )]
    pub listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(
        long,
        env = "ROSTER_FACADE_ADMIN_LISTEN",
        default_value = "127.0.0.1:8490",
        value_parser = address,
        value_name = "ADDR"
    )]
    pub admin_listen: SocketAddr,
    /// The gRPC address of identity, or several, separated by commas; it begins with https:// where identity
    /// speaks TLS. Requests are spread over all processes behind it, which are looked up every 5 seconds.
    #[arg(
        long,
        env = "ROSTER_IDENTITY_URL",
        default_value = "http://127.0.0.1:8481",
        value_parser = urls,
        value_name = "URL"
    )]
    pub identity_url: String,
    /// TLS to identity.
    #[command(flatten)]
    pub tls: ClientTlsArgs,
    /// The URL that clients know the facade by: what Location, $ref and meta.location begin with.
    #[arg(long, env = "ROSTER_PUBLIC_URL", default_value = "http://127.0.0.1:8480", value_parser = public_url, value_name = "URL")]
    pub public_url: String,
    /// The first part of group names that name a role or a business entity.
    #[arg(long, env = "ROSTER_GROUP_PREFIX", default_value = "CB", value_parser = prefix, value_name = "TEXT")]
    pub group_prefix: String,
    /// How long identity may take for one request, 1 to 57999 milliseconds. Together with the time for the body
    /// at most 58000: Okta gives up after 60 seconds.
    #[arg(long, env = "ROSTER_REQUEST_TIMEOUT_MS", default_value = "30000", value_parser = milliseconds(57_999), value_name = "MS")]
    pub request_timeout: Duration,
    /// How long a client may take to send a body, 1 to 57999 milliseconds; a large one also waits for room so long.
    #[arg(long, env = "ROSTER_BODY_TIMEOUT_MS", default_value = "20000", value_parser = milliseconds(57_999), value_name = "MS")]
    pub body_timeout: Duration,
    /// How long a connection may take to send a request's headers, 1 to 3600000 milliseconds; so long an idle
    /// one is kept, too. More than load balancers and identity providers keep theirs.
    #[arg(long, env = "ROSTER_HEADER_TIMEOUT_MS", default_value = "75000", value_parser = milliseconds(3_600_000), value_name = "MS")]
    pub header_timeout: Duration,
    /// How large a body may be, in bytes: 1 to 4194304 (4 MiB).
    #[arg(long, env = "ROSTER_MAX_BODY_BYTES", default_value_t = 1 << 20,
        value_parser = number::<usize>(1..=LARGEST), value_name = "BYTES")]
    pub max_body: usize,
    /// How large the body of one group may be, in bytes: 1 to 67108864 (64 MiB). All bodies that are larger
    /// than others may be have together at most 64 MiB; the next one waits, then gets a 429.
    #[arg(long, env = "ROSTER_MAX_GROUP_BODY_BYTES", default_value_t = 32 << 20,
        value_parser = number::<usize>(1..=LARGEST_GROUP), value_name = "BYTES")]
    pub max_group_body: usize,
    /// How many operations a bulk request may hold, 1 to 10000.
    #[arg(long, env = "ROSTER_BULK_MAX_OPERATIONS", default_value_t = 1000,
        value_parser = number::<usize>(1..=10_000), value_name = "N")]
    pub max_bulk_operations: usize,
    /// How large a bulk request may be, in bytes: 1 to 67108864 (64 MiB).
    #[arg(long, env = "ROSTER_BULK_MAX_PAYLOAD_BYTES", default_value_t = 1 << 20,
        value_parser = number::<usize>(1..=LARGEST_GROUP), value_name = "BYTES")]
    pub max_bulk_body: usize,
    /// How long to answer "not ready" before refusing new connections when told to stop, 0 to 600000
    /// milliseconds: as long as whoever spreads requests may take to notice.
    #[arg(
        long,
        env = "ROSTER_DRAIN_DELAY_MS",
        default_value = "0",
        value_parser = number::<u64>(0..=600_000),
        value_name = "MS"
    )]
    pub drain_delay_ms: u64,
    /// Logs and traces.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

impl Settings for Config {
    fn complete(&mut self, mistakes: &mut Mistakes) {
        self.tls.check(&self.identity_url, mistakes);
        let sum = self.body_timeout + self.request_timeout;
        if sum > LONGEST {
            let given = format!("{}", self.request_timeout.as_millis());
            let must = format!(
                "must be at most {} together with ROSTER_BODY_TIMEOUT_MS, and they are {}: Okta hangs up after 60 \
                 seconds, and would not learn what was done",
                LONGEST.as_millis(),
                sum.as_millis()
            );
            mistakes.note("ROSTER_REQUEST_TIMEOUT_MS", Some(&given), must);
        }
    }
}

fn milliseconds(most: u64) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync {
    let number = number::<u64>(1..=most);
    move |text| number(text).map(Duration::from_millis)
}

fn prefix(text: &str) -> Result<String, String> {
    group_convention::prefix(text)
        .map_err(|_| "must be a text without slashes and surrounding space".to_owned())
}

fn urls(text: &str) -> Result<String, String> {
    match text.split(',').all(|one| url(one.trim()).is_ok()) {
        true => Ok(text.to_owned()),
        false => Err(
            "must be one URL that begins with http:// or https://, or several, separated by commas"
                .to_owned(),
        ),
    }
}

fn public_url(text: &str) -> Result<String, String> {
    let text = url(text)?;
    match text.contains(['?', '#']) {
        true => Err("must be a URL without a query".to_owned()),
        false => Ok(text.trim_end_matches('/').to_owned()),
    }
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
        for (flag, largest) in [("--max-body", LARGEST), ("--max-group-body", LARGEST_GROUP)] {
            assert!(parse(flag, "1").is_ok() && parse(flag, &largest.to_string()).is_ok());
            for wrong in ["0", "-1", "x", &(largest + 1).to_string()] {
                assert!(parse(flag, wrong).is_err(), "{flag} {wrong}");
            }
        }
    }

    #[test]
    fn the_largest_body_of_a_group_has_room() {
        assert!(usize::try_from(LARGEST_GROUP).unwrap() <= crate::budget::ALL_BODIES);
    }
}
