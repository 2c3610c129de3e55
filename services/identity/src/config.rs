//! The settings of the process: environment and flags, `--help` tells them all.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use identity_runtime::{
    settings::{Mistakes, Settings, address, number, secret},
    telemetry::TelemetryArgs,
    version,
};

use crate::authn::BOOTSTRAP_LENGTH;
pub use crate::tls::TlsArgs;

/// Roster's identity service: owns members, roles, business entities, groups and grants in PostgreSQL
/// and answers over gRPC who may do what.
#[derive(Debug, Parser)]
#[command(name = "identity", version = version::stamp())]
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
    /// Say that the database was restored to an earlier state, before the first `serve` on it: whoever watched
    /// events is then told to start over, instead of missing what is written from now on.
    Restored(DatabaseArgs),
}

/// Where the database is.
#[derive(Args, Clone)]
pub struct DatabaseArgs {
    /// The database, PostgreSQL 15 or later: postgres://user:password@host:port/database. It, or a file that
    /// holds it, has to be set.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// A file that holds the address of the database instead. Unset, none does.
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "FILE")]
    database_url_file: Option<PathBuf>,
}

impl DatabaseArgs {
    /// The address, once the settings are complete.
    pub fn url(&self) -> &str {
        self.database_url.as_deref().unwrap_or_default()
    }

    fn complete(&mut self, mistakes: &mut Mistakes) {
        const NAME: &str = "DATABASE_URL";
        let (given, file) = (&self.database_url, &self.database_url_file);
        let set = given.is_some() || file.is_some();
        self.database_url = secret(NAME, given.as_deref(), file.as_deref(), mistakes);
        match &self.database_url {
            // libpq takes `host=.. dbname=..`, too.
            Some(url) if is_database(url) => {}
            Some(_) => mistakes.note(
                NAME,
                None,
                "must be the address of a database, postgres://user:password@host:port/database",
            ),
            None if set => {}
            None => mistakes.note(
                NAME,
                None,
                "must be set, or DATABASE_URL_FILE: postgres://user:password@host:port/database",
            ),
        }
    }
}

fn is_database(url: &str) -> bool {
    match url.split_once("://") {
        Some((scheme, rest)) => matches!(scheme, "postgres" | "postgresql") && !rest.is_empty(),
        None => url.contains('='),
    }
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
        value_parser = address,
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
        value_parser = address,
        value_name = "ADDR"
    )]
    pub admin_listen: SocketAddr,
    /// A token that may only make sites and administer credentials, of 32 up to 256 visible ASCII characters.
    /// Unset, it does not exist.
    #[arg(
        long,
        env = "ROSTER_BOOTSTRAP_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub bootstrap_token: Option<String>,
    /// A file that holds the bootstrap token instead. Unset, none does.
    #[arg(long, env = "ROSTER_BOOTSTRAP_TOKEN_FILE", value_name = "FILE")]
    bootstrap_token_file: Option<PathBuf>,
    /// The most connections to the database, 1 to 1000. As many transactions run at once.
    #[arg(long, env = "ROSTER_DB_POOL", default_value = "10", value_parser = number::<u32>(1..=1000), value_name = "N")]
    pub db_pool: u32,
    /// How many requests a second a credential may make of this process, 1 to 1000000; twice as many at once.
    #[arg(
        long,
        env = "ROSTER_RATE_LIMIT",
        default_value = "1000",
        value_parser = rate,
        value_name = "N"
    )]
    pub rate_limit: NonZeroU32,
    /// How long a connection is used before its client is told to make another one, 1 to 86400000 milliseconds,
    /// so that clients find processes that were started since. Calls in flight are finished on the old one, a
    /// watch too.
    #[arg(
        long,
        env = "ROSTER_MAX_CONNECTION_AGE_MS",
        default_value = "600000",
        value_parser = number::<u64>(1..=86_400_000),
        value_name = "MS"
    )]
    pub max_connection_age_ms: u64,
    /// How long to answer "not ready" before refusing new calls when told to stop, 0 to 600000 milliseconds.
    #[arg(
        long,
        env = "ROSTER_DRAIN_DELAY_MS",
        default_value = "0",
        value_parser = number::<u64>(0..=600_000),
        value_name = "MS"
    )]
    pub drain_delay_ms: u64,
    /// After how many hours without a call of its identity provider a site counts as silent, 1 to 8760.
    #[arg(long, env = "ROSTER_SILENT_AFTER_HOURS", default_value = "72", value_parser = number::<u32>(1..=8760), value_name = "HOURS")]
    pub silent_after_hours: u32,
    /// How often sites and credentials are counted for the metrics, 100 to 3600000 milliseconds.
    #[arg(long, env = "ROSTER_CENSUS_EVERY_MS", default_value = "60000", value_parser = number::<u64>(100..=3_600_000), value_name = "MS")]
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

fn rate(text: &str) -> Result<NonZeroU32, String> {
    // The bounds leave out 0.
    number::<u32>(1..=1_000_000)(text).map(|rate| NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN))
}

impl Settings for Cli {
    fn complete(&mut self, mistakes: &mut Mistakes) {
        match &mut self.command {
            Command::Serve(serve) => serve.complete(mistakes),
            Command::Migrate(database) | Command::Restored(database) => {
                database.complete(mistakes);
            }
        }
    }
}

impl ServeArgs {
    fn complete(&mut self, mistakes: &mut Mistakes) {
        const NAME: &str = "ROSTER_BOOTSTRAP_TOKEN";
        self.database.complete(mistakes);
        self.tls.check(mistakes);
        let (given, file) = (&self.bootstrap_token, &self.bootstrap_token_file);
        self.bootstrap_token = secret(NAME, given.as_deref(), file.as_deref(), mistakes);
        // Not as a parser of clap's: it shows a value that it refuses, and this one is a secret.
        if let Some(token) = &self.bootstrap_token
            && (!BOOTSTRAP_LENGTH.contains(&token.len())
                || !token.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            let must = format!(
                "must be {} up to {} visible ASCII characters",
                BOOTSTRAP_LENGTH.start(),
                BOOTSTRAP_LENGTH.end()
            );
            mistakes.note(NAME, None, must);
        }
    }
}
