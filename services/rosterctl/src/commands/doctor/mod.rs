//! `rosterctl doctor`: looks at everything that an operator would look at one by one, and says what is wrong and
//! what to do.

mod clock;
mod convention;
mod facade;
mod identity;
mod provider;

use std::time::Duration;

use clap::Args;
use serde_json::json;

use self::identity::Patient;
use super::{Outcome, groups::Prefix, print};
use crate::{arguments::parse_time, connection::Settings, failure::Failure};

/// How long one question may take: whoever waits longer is ill.
const PATIENCE: Duration = Duration::from_secs(6);

/// Look at all of a Roster, and say what is wrong and what to do
#[derive(Args, Debug)]
#[command(
    long_about = "\
Look at all of a Roster, and say what is wrong and what to do.

It looks at identity (does it serve, which build), its database and migrations, the clocks of this machine, of identity \
and of the database, the token, the site, the groups (those that grant nothing), the last contact of the identity \
provider and, where it is told where that is, the facade. It changes nothing.

The exit code is 0 where nothing is wrong, also where something is worth a look, and 7 otherwise. What can't be looked \
at, as with a token that may not read, is said and counts as neither. Take another token than the identity provider's: \
its every use is a contact.",
    after_help = "\
Examples:
  rosterctl --site acme doctor --facade https://roster.example
  rosterctl --site acme doctor --silent-after 12h
  rosterctl --output json doctor | jq '.checks[] | select(.verdict == \"wrong\")'"
)]
pub(crate) struct Doctor {
    /// The URL by which clients know the facade: what is before /<domain>/scim/v2
    #[arg(
        long,
        env = "ROSTER_PUBLIC_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    facade: Option<String>,
    /// How long an identity provider may be silent: 7d, 12h, 30m
    #[arg(long, default_value = "3d", value_name = "TIME", value_parser = parse_time)]
    silent_after: Duration,
    #[command(flatten)]
    prefix: Prefix,
}

/// How something is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Good,
    /// It works, and deserves a look.
    Look,
    Wrong,
    /// It was not looked at.
    Unknown,
}

/// What was found, and what to do about it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    what: String,
    remedy: Option<String>,
}

impl Finding {
    fn good(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Verdict::Good, what, None)
    }

    fn look(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Verdict::Look, what, Some(remedy.into()))
    }

    fn wrong(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Verdict::Wrong, what, Some(remedy.into()))
    }

    fn unknown(check: &'static str, why: impl Into<String>) -> Self {
        Self::new(check, Verdict::Unknown, why, None)
    }

    fn new(
        check: &'static str,
        verdict: Verdict,
        what: impl Into<String>,
        remedy: Option<String>,
    ) -> Self {
        Self {
            check,
            verdict,
            what: what.into(),
            remedy,
        }
    }
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Look => "look",
            Self::Wrong => "wrong",
            Self::Unknown => "not looked at",
        }
    }
}

pub(super) async fn run(settings: &Settings, command: Doctor) -> Result<Outcome, Failure> {
    let Doctor {
        facade,
        silent_after,
        prefix,
    } = command;
    let patient = Patient::look(settings).await?;
    let mut findings = patient.findings();
    findings.push(clock::check(&patient));
    findings.push(convention::check(settings, &patient, &prefix.prefix).await);
    findings.push(provider::check(&patient, silent_after));
    let facade = facade.or_else(|| settings.facade());
    findings.push(match facade {
        Some(url) => facade::check(settings, &patient, &url).await,
        None => Finding::unknown("facade", "name it with --facade or ROSTER_PUBLIC_URL"),
    });
    let wrong = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Wrong)
        .count();
    print(
        settings,
        || text(&findings, wrong),
        || {
            let checks = findings.iter().map(|finding| {
                json!({
                    "check": finding.check,
                    "verdict": finding.verdict.word(),
                    "message": finding.what,
                    "remedy": finding.remedy,
                })
            });
            json!({"healthy": wrong == 0, "wrong": wrong, "checks": checks.collect::<Vec<_>>()})
        },
    )?;
    Ok(Outcome::of(wrong == 0))
}

fn text(findings: &[Finding], wrong: usize) -> String {
    let mut lines = Vec::new();
    for finding in findings {
        let (check, verdict) = (finding.check, finding.verdict.word());
        lines.push(format!("{check:<12}{verdict:<15}{}", finding.what));
        if let Some(remedy) = &finding.remedy {
            lines.push(format!("{:<27}do: {remedy}", ""));
        }
    }
    let looks = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Look)
        .count();
    let wrong = match wrong {
        0 => "Nothing is wrong".to_owned(),
        1 => "1 check is wrong".to_owned(),
        many => format!("{many} checks are wrong"),
    };
    let summary = match looks {
        0 => format!("{wrong}."),
        1 => format!("{wrong}; 1 deserves a look."),
        many => format!("{wrong}; {many} deserve a look."),
    };
    lines.push(String::new());
    lines.push(summary);
    lines.join("\n")
}
