//! The command line, as `--help` shows it: what all commands take. What each takes stands with it, in
//! `commands/`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use identity_runtime::{tls::ClientTlsArgs, version};
use prost_types::Timestamp;

use crate::commands::{
    access::Access,
    credentials::Credentials,
    doctor::Doctor,
    entities::Entities,
    events::Events,
    grants::Grants,
    groups::Groups,
    members::Members,
    roles::Roles,
    sites::Sites,
    transfer::{Export, Import},
};

const NOTES: &str = "\
Tokens: a command takes the one of --token-file or ROSTER_TOKEN. Where neither
is given, making sites and administering credentials take
ROSTER_BOOTSTRAP_TOKEN, or else, like everything, ROSTER_SERVICE_TOKEN. In the
folder of a development stack (`make run`) all of it is read from
.roster/dev.env, unless --addr or ROSTER_GRPC_ADDR names another identity.

Names: a member is named by user name or id; a role, business entity or group by
name or id, whatever the case.

Examples:
  rosterctl sites create acme --owner-email olivia@acme.example \\
      --given-name Olivia --family-name Owner
  rosterctl --site acme credentials issue --label Okta --scope provision > token
  rosterctl --site acme access check ann@acme.example --permission invoices.view
  rosterctl --site acme import members people.csv --dry-run
  rosterctl --site acme --output json events list --limit 20

Exit codes:
  0  done; of a question: yes
  1  failed: a fault of identity, of this machine, of a file
  2  wrong usage, no token among it, or a value that identity does not take
  3  the token is not valid, or may not
  4  not found
  5  identity can't be reached, did not answer in time, or is overloaded
  6  refused as things stand: taken already, still in use, changed meanwhile
  7  of a question: no (access check, credentials verify, groups lint, doctor)
  8  done in part: some rows of an import were refused";

/// Administers a Roster: sites, their teams and credentials, and who may do what.
#[derive(Debug, Parser)]
#[command(name = "rosterctl", version = version::stamp(), after_help = NOTES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Where identity is, as host:port, or https://host:port for TLS [default: 127.0.0.1:8481]
    #[arg(
        long,
        global = true,
        env = "ROSTER_GRPC_ADDR",
        hide_env_values = true,
        value_name = "HOST:PORT"
    )]
    pub(crate) addr: Option<String>,
    /// TLS to identity.
    #[command(flatten)]
    pub(crate) tls: ClientTlsArgs,
    /// A file that holds the token and nothing else (or the token in ROSTER_TOKEN)
    #[arg(
        long,
        global = true,
        env = "ROSTER_TOKEN_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub(crate) token_file: Option<PathBuf>,
    /// The site's domain; a token of one site may leave it out
    #[arg(
        long,
        global = true,
        env = "ROSTER_SITE_DOMAIN",
        hide_env_values = true,
        value_name = "DOMAIN"
    )]
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
    /// Sites and their settings
    #[command(subcommand)]
    Sites(Sites),
    /// Credentials: the secrets that speak for callers
    #[command(subcommand)]
    Credentials(Credentials),
    /// Members: the people on a site's team
    #[command(subcommand)]
    Members(Members),
    /// Roles and their permissions
    #[command(subcommand)]
    Roles(Roles),
    /// Business entities
    #[command(subcommand)]
    Entities(Entities),
    /// Groups, as an identity provider pushes them
    #[command(subcommand)]
    Groups(Groups),
    /// Direct grants: given by a service or an operator
    #[command(subcommand)]
    Grants(Grants),
    /// Who may do what, and why: now, or as of a moment of the past
    #[command(subcommand)]
    Access(Access),
    /// The record of every change
    #[command(subcommand)]
    Events(Events),
    // A sentence here would take the place of their own, the long one too.
    Doctor(Doctor),
    Export(Export),
    Import(Import),
    /// Print what a shell needs to complete this command line
    #[command(after_help = "\
Examples:
  rosterctl completions bash > ~/.local/share/bash-completion/completions/rosterctl
  rosterctl completions zsh > ~/.zfunc/_rosterctl
  rosterctl completions fish > ~/.config/fish/completions/rosterctl.fish")]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Of every write.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct DryRun {
    /// Say what it would do, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A moment: RFC 3339, such as 2026-10-01T12:00:00Z.
pub(crate) fn parse_moment(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a time such as 2026-10-01T12:00:00Z"))
}

/// A number and a unit: `90d`, `12h`, `30m`.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
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
    fn every_command_shows_an_example() {
        fn check(command: &clap::Command, path: &str) {
            for inner in command.get_subcommands() {
                let path = format!("{path} {}", inner.get_name());
                if inner.has_subcommands() {
                    check(inner, &path);
                } else {
                    let help = inner
                        .get_after_help()
                        .map(ToString::to_string)
                        .unwrap_or_default();
                    assert!(
                        help.contains("Examples:") && help.contains("rosterctl"),
                        "{path}"
                    );
                }
            }
        }
        check(&Arguments::command(), "rosterctl");
    }

    #[test]
    fn moments_are_rfc_3339() {
        assert_eq!(
            parse_moment("2026-10-01T12:00:00Z").unwrap().seconds,
            1_790_856_000
        );
        assert_eq!(
            parse_moment("2026-10-01T14:00:00+02:00").unwrap().seconds,
            1_790_856_000
        );
        assert!(parse_moment("yesterday").is_err());
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
