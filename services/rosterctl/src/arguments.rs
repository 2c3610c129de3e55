//! The command line, as `--help` shows it.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Tokens: a command takes the one of --token-file or ROSTER_TOKEN. Where neither
is given, making sites and administering credentials take
ROSTER_BOOTSTRAP_TOKEN, or else, like everything, ROSTER_SERVICE_TOKEN. In the
folder of a development stack (`make run`) all of it is read from
.roster/dev.env, unless --addr or ROSTER_GRPC_ADDR names another identity.

Examples:
  rosterctl sites create acme --owner-email olivia@acme.example \\
      --given-name Olivia --family-name Owner
  rosterctl --site acme credentials issue --label Okta --scope provision > token
  rosterctl --site acme credentials list
  rosterctl --site acme access show olivia@acme.example
  rosterctl --site acme --output json events list --limit 20

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the token is not valid or
may not, 4 not found, 5 identity can't be reached";

/// Administers Roster's sites and credentials, and shows who may do what.
#[derive(Debug, Parser)]
#[command(name = "rosterctl", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Where identity is, as host:port [default: 127.0.0.1:8481]
    #[arg(
        long,
        global = true,
        env = "ROSTER_GRPC_ADDR",
        value_name = "HOST:PORT"
    )]
    pub(crate) addr: Option<String>,
    /// A file that holds the token and nothing else (or the token in ROSTER_TOKEN)
    #[arg(long, global = true, env = "ROSTER_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The site's domain; a token of one site may leave it out
    #[arg(long, global = true, env = "ROSTER_SITE_DOMAIN", value_name = "DOMAIN")]
    pub(crate) site: Option<String>,
    /// How to print answers
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sites
    #[command(subcommand)]
    Sites(Sites),
    /// Credentials: the secrets that speak for callers
    #[command(subcommand)]
    Credentials(Credentials),
    /// What a member may do, and why
    #[command(subcommand)]
    Access(Access),
    /// The record of every change
    #[command(subcommand)]
    Events(Events),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sites {
    /// Make a site, with its first Owner and the built-in roles
    Create {
        /// The site's domain: a DNS label, such as acme
        domain: String,
        /// The e-mail address that the Owner signs in by
        #[arg(long)]
        owner_email: String,
        /// The Owner's given name
        #[arg(long)]
        given_name: String,
        /// The Owner's family name
        #[arg(long)]
        family_name: String,
    },
    /// Show a site and its settings
    Show,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Credentials {
    /// Issue a credential and print its token, this once
    Issue {
        /// A name for people
        #[arg(long)]
        label: String,
        /// What it may do; may be given several times
        #[arg(long = "scope", required = true, value_enum)]
        scopes: Vec<ScopeName>,
        /// When it stops working by itself: 90d, 12h, 30m
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        expires_in: Option<Duration>,
        /// For all sites instead of one
        #[arg(long)]
        all_sites: bool,
    },
    /// List credentials, the revoked and expired ones too
    List {
        /// Those of all sites instead of one's
        #[arg(long)]
        all_sites: bool,
    },
    /// Revoke a credential: it stops working everywhere within a second
    Revoke {
        /// The credential's id
        id: String,
        /// One of those of all sites
        #[arg(long)]
        all_sites: bool,
    },
}

/// What a credential may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum ScopeName {
    /// Speak for an identity provider
    Provision,
    /// Read everything
    Read,
    /// Write everything that the write_ scopes allow
    Write,
    /// Administer sites and credentials
    Administer,
    /// Ask who may do what
    Check,
    /// Follow events
    Watch,
    /// Write members
    WriteMembers,
    /// Write groups and who is in them
    WriteGroups,
    /// Write custom roles
    WriteRoles,
    /// Write business entities
    WriteBusinessEntities,
    /// Write direct grants
    WriteGrants,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Access {
    /// Show a member's roles, business entities and permissions, with the grants behind them
    Show {
        /// The member's user name or id
        member: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Events {
    /// List events, oldest first: the newest ones, or those after a number
    List {
        /// Only events with a greater number
        #[arg(long, value_name = "NUMBER")]
        after: Option<i64>,
        /// How many at the most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=1000))]
        limit: i32,
    },
}

/// A number and a unit: `90d`, `12h`, `30m`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time such as 90d, 12h or 30m");
    let unit = match text.chars().last() {
        Some('d') => 24 * 60 * 60,
        Some('h') => 60 * 60,
        Some('m') => 60,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let seconds = count
        .checked_mul(unit)
        .filter(|seconds| *seconds > 0)
        .ok_or_else(wrong)?;
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(parse_time("90d").unwrap(), Duration::from_secs(90 * 86_400));
        assert_eq!(parse_time("30m").unwrap(), Duration::from_secs(1800));
        for wrong in ["", "d", "90", "0h", "-1d", "1w", "99999999999999999999d"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
