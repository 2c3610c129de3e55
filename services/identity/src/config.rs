//! The settings of the process: environment and flags, `--help` tells them all.

use std::{net::SocketAddr, num::NonZeroU32};

use clap::{Args, Parser, Subcommand};
use identity_runtime::telemetry::TelemetryArgs;

use crate::authn::BOOTSTRAP_LENGTH;
pub use crate::tls::TlsArgs;

/// Roster's identity service: owns members, roles, business entities, groups and grants in PostgreSQL
/// and answers over gRPC who may do what.
#[derive(Debug, Parser)]
#[command(name = "identity", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Logs and traces.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

/// What the process does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the gRPC API.
    Serve(Box<ServeArgs>),
    /// Bring the database to the newest schema. Safe beside serving processes of the release before.
    Migrate(DatabaseArgs),
}

/// Where the database is.
#[derive(Args, Clone)]
pub struct DatabaseArgs {
    /// PostgreSQL 15 or later: postgres://user:password@host:port/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: String,
}

impl std::fmt::Debug for DatabaseArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DatabaseArgs(..)")
    }
}

/// The settings of a serving process.
#[derive(Args, Clone)]
pub struct ServeArgs {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Where the gRPC API listens.
    #[arg(
        long,
        env = "ROSTER_IDENTITY_LISTEN",
        default_value = "127.0.0.1:8481",
        value_name = "ADDR"
    )]
    pub listen: SocketAddr,
    /// TLS on the gRPC port.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Where /livez, /readyz and /metrics listen, over HTTP.
    #[arg(
        long,
        env = "ROSTER_IDENTITY_ADMIN_LISTEN",
        default_value = "127.0.0.1:8491",
        value_name = "ADDR"
    )]
    pub admin_listen: SocketAddr,
    /// A token that may only make sites and administer credentials: 32 to 256 visible characters.
    /// Unset, it does not exist.
    #[arg(
        long,
        env = "ROSTER_BOOTSTRAP_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub bootstrap_token: Option<String>,
    /// The most connections to the database, 1 to 1000. As many transactions run at once.
    #[arg(long, env = "ROSTER_DB_POOL", default_value = "10", value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    pub db_pool: u32,
    /// How many requests a second a credential may make of this process; twice as many at once.
    #[arg(
        long,
        env = "ROSTER_RATE_LIMIT",
        default_value = "1000",
        value_name = "N"
    )]
    pub rate_limit: NonZeroU32,
    /// How long a connection is used before its client is told to make another one, in milliseconds, so that
    /// clients find processes that were started since. Calls in flight are finished on the old one, a watch
    /// too.
    #[arg(
        long,
        env = "ROSTER_MAX_CONNECTION_AGE_MS",
        default_value = "600000",
        value_parser = clap::value_parser!(u64).range(1..),
        value_name = "MS"
    )]
    pub max_connection_age_ms: u64,
    /// How long to answer "not ready" before refusing new calls when told to stop, in milliseconds.
    #[arg(
        long,
        env = "ROSTER_DRAIN_DELAY_MS",
        default_value = "0",
        value_name = "MS"
    )]
    pub drain_delay_ms: u64,
    /// After how many hours without a call of its identity provider a site counts as silent, 1 to 8760.
    #[arg(long, env = "ROSTER_SILENT_AFTER_HOURS", default_value = "72", value_parser = clap::value_parser!(u32).range(1..=8760), value_name = "HOURS")]
    pub silent_after_hours: u32,
    /// How often sites and credentials are counted for the metrics, in milliseconds, 100 to 3600000.
    #[arg(long, env = "ROSTER_CENSUS_EVERY_MS", default_value = "60000", value_parser = clap::value_parser!(u64).range(100..=3_600_000), value_name = "MS")]
    pub census_every_ms: u64,
}

impl std::fmt::Debug for ServeArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServeArgs")
            .field("listen", &self.listen)
            .field("admin_listen", &self.admin_listen)
            .field("db_pool", &self.db_pool)
            .finish_non_exhaustive()
    }
}

impl ServeArgs {
    /// Refuses what clap must not look at: it shows a value that it refuses, and this one is a secret.
    pub(crate) fn check(&self) -> Result<(), String> {
        match &self.bootstrap_token {
            Some(token)
                if !BOOTSTRAP_LENGTH.contains(&token.len())
                    || !token.bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                Err(format!(
                    "ROSTER_BOOTSTRAP_TOKEN must be {} to {} visible ASCII characters",
                    BOOTSTRAP_LENGTH.start(),
                    BOOTSTRAP_LENGTH.end()
                ))
            }
            _ => Ok(()),
        }
    }
}
