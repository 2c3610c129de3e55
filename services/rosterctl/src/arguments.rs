//! The command line, as `--help` shows it: what all commands take. What each takes stands with it, in
//! `commands/`.

use std::{
    ops::RangeInclusive,
    path::PathBuf,
    time::{Duration, SystemTime},
};

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
  rosterctl --addr https://127.0.0.1:8481 --identity-ca ca.crt \\
      --tls-server-name identity.roster.svc sites list

Exit codes:
  0  done; of a question: yes
  1  failed: a fault of identity, of this machine, of a file
  2  wrong usage, no token among it, or a value that identity does not take
  3  the token is not valid, or may not
  4  not found
  5  identity can't be reached, did not answer in time, or is overloaded
  6  refused as things stand: taken already, still in use, changed meanwhile
  7  of a question: no (access check, credentials verify, groups lint, doctor)
  8  done in part: some rows of an import were refused
  130  interrupted: what was done is done";

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
    /// The name that identity's certificate must have, where identity is reached under another one, as through
    /// `kubectl port-forward` or by an IP address [default: the host of --addr]
    #[arg(
        long,
        global = true,
        env = "ROSTER_TLS_SERVER_NAME",
        hide_env_values = true,
        value_name = "NAME"
    )]
    pub(crate) tls_server_name: Option<String>,
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

/// The first second of the year 1, and the last one of the year 9999: identity takes no others.
const MOMENTS: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// A moment: RFC 3339, such as 2026-10-01T12:00:00Z.
pub(crate) fn parse_moment(text: &str) -> Result<Timestamp, String> {
    const SUCH: &str = "a time such as 2026-10-01T12:00:00Z";
    let digits = text.trim_start_matches(['+', '-']);
    let digits = digits
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(0);
    if digits > 4 {
        return Err(format!("{text:?} is not in the years 0001 to 9999"));
    }
    let moment: Timestamp = text
        .parse()
        .map_err(|_| format!("{text:?} is not {SUCH}"))?;
    // What is left out would be taken for midnight and for UTC, and access would end hours before it was meant to.
    let time = text.split_once(['T', 't', ' ']).map(|(_, time)| time);
    if !time.is_some_and(|time| time.ends_with(['Z', 'z']) || time.contains(['+', '-'])) {
        return Err(format!(
            "{text:?} does not say the time of day and its zone: {SUCH}, or 2026-10-01T14:00:00+02:00"
        ));
    }
    match MOMENTS.contains(&moment.seconds) {
        true => Ok(moment),
        false => Err(format!("{text:?} is not in the years 0001 to 9999")),
    }
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
    let seconds = count.saturating_mul(unit);
    if seconds == 0 {
        return Err(wrong());
    }
    let time = Duration::from_secs(seconds);
    // All of them are counted from now.
    let end = SystemTime::now().checked_add(time).map(Timestamp::from);
    match end.is_some_and(|end| MOMENTS.contains(&end.seconds)) {
        true => Ok(time),
        false => Err(format!("{text:?} from now is after the year 9999")),
    }
}

/// When something ends: at a moment, or in so much time, to the second.
pub(crate) fn parse_end(text: &str) -> Result<Timestamp, String> {
    // A moment has more than digits before its last letter.
    let is_time = text
        .trim_end_matches(|char: char| char.is_ascii_alphabetic())
        .chars()
        .all(|char| char.is_ascii_digit());
    if !is_time {
        return parse_moment(text);
    }
    match parse_time(text) {
        Ok(time) => Ok(in_time(time)),
        Err(wrong) if wrong.contains("is not a time") => {
            Err(format!("{wrong}, nor one such as 2026-10-01T12:00:00Z"))
        }
        Err(wrong) => Err(wrong),
    }
}

/// In so much time, to the second.
pub(crate) fn in_time(time: Duration) -> Timestamp {
    Timestamp {
        nanos: 0,
        ..Timestamp::from(SystemTime::now() + time)
    }
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
        for half in ["2026-10-01", "2026-10-01T12:00:00", "2026-10-01 12:00"] {
            let wrong = parse_moment(half).unwrap_err();
            assert!(wrong.contains("such as"), "{wrong}");
        }
    }

    #[test]
    fn moments_are_in_the_years_that_identity_takes() {
        assert!(parse_moment("9999-12-31T23:59:59.999Z").is_ok());
        assert!(parse_moment("0001-01-01T00:00:00Z").is_ok());
        for beyond in [
            "+10000-01-01T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "9999-12-31T23:59:59-01:00",
            "0000-12-31T23:59:59Z",
        ] {
            let wrong = parse_moment(beyond).unwrap_err();
            assert!(wrong.contains("0001 to 9999"), "{wrong}");
        }
    }

    #[test]
    fn an_end_is_a_moment_or_in_so_much_time() {
        assert_eq!(
            parse_end("2026-10-01T12:00:00Z"),
            parse_moment("2026-10-01T12:00:00Z")
        );
        let week = parse_end("7d").unwrap().seconds - in_time(Duration::ZERO).seconds;
        assert!((7 * 86_400 - 5..=7 * 86_400).contains(&week), "{week}");
        for (wrong, part) in [
            ("7", "nor one such as 2026"),
            ("soon", "nor one such as 2026"),
            ("2026-10-01", "time of day"),
            ("9999999d", "after the year 9999"),
        ] {
            let said = parse_end(wrong).unwrap_err();
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(parse_time("90d").unwrap(), Duration::from_secs(90 * 86_400));
        assert_eq!(parse_time("30m").unwrap(), Duration::from_secs(1800));
        for wrong in ["", "d", "90", "0h", "-1d", "1w", "99999999999999999999d"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
        for beyond in ["9999999d", "18446744073709551615m"] {
            let wrong = parse_time(beyond).unwrap_err();
            assert!(wrong.contains("after the year 9999"), "{wrong}");
        }
    }
}
