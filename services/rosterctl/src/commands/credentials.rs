//! `rosterctl credentials`

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use clap::{Subcommand, ValueEnum};
use identity_forms::token::{self, SpeaksFor};
use identity_proto::v1::{
    Credential, IssueCredentialRequest, ListCredentialsRequest, RevokeCredentialRequest, Scope,
    credential_service_client::CredentialServiceClient,
};
use prost_types::Timestamp;
use serde_json::{Value, json};

use super::{Outcome, answer, print, print_write};
use crate::{
    arguments::{DryRun, Output, parse_time},
    connection::{Purpose, Settings},
    failure::Failure,
    json, show,
};

/// Credentials, and what can be done with them.
#[derive(Debug, Subcommand)]
pub(crate) enum Credentials {
    /// Issue a credential and print its token, this once
    #[command(after_help = "\
Examples:
  rosterctl --site acme credentials issue --label Okta --scope provision > token
  rosterctl credentials issue --all-sites --label billing --scope check --scope watch \\
      --expires-in 90d > token")]
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
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// List credentials with their last use and the days they have left, the revoked and expired ones too
    #[command(after_help = "\
Examples:
  rosterctl --site acme credentials list
  rosterctl --site acme --output json credentials list | jq '.credentials[] | select(.days_left < 14)'")]
    List {
        /// Those of all sites instead of one's
        #[arg(long)]
        all_sites: bool,
    },
    /// Revoke a credential: it stops working everywhere within a second
    #[command(after_help = "\
Examples:
  rosterctl --site acme credentials revoke 0199c1f0-7d6e-7a10-8a59-2f6a1f0c9d11 --dry-run")]
    Revoke {
        /// The credential's id
        id: String,
        /// One of those of all sites
        #[arg(long)]
        all_sites: bool,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Tell whether a text can be a token at all, by its form and checksum, without asking anybody
    #[command(after_help = "\
Whether it was ever issued, or was revoked, only identity knows.

Examples:
  rosterctl credentials verify token
  pbpaste | rosterctl credentials verify")]
    Verify {
        /// The file that holds the token; - for standard input
        #[arg(default_value = "-")]
        file: PathBuf,
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

pub(super) async fn run(settings: &Settings, command: Credentials) -> Result<Outcome, Failure> {
    let mut credentials = CredentialServiceClient::new(settings.channel()?);
    match command {
        Credentials::Issue {
            label,
            scopes,
            expires_in,
            all_sites,
            dry_run,
        } => {
            let request = IssueCredentialRequest {
                site: site(settings, all_sites),
                all_sites,
                label,
                scopes: scopes.into_iter().map(|name| scope(name).into()).collect(),
                expire_time: expires_in.map(from_now),
                validate_only: dry_run.dry_run,
                ..IssueCredentialRequest::default()
            };
            let request = settings.request(Purpose::Administer, request)?;
            let issued = answer(settings, credentials.issue_credential(request).await)?;
            let credential = issued.credential.unwrap_or_default();
            if dry_run.dry_run {
                let receipt = issued.receipt.as_ref();
                return print_write(
                    settings,
                    dry_run,
                    receipt,
                    Some(one(&credential)),
                    object(&credential),
                );
            }
            print_token(settings, &credential, &issued.token)
        }
        Credentials::List { all_sites } => {
            let request = ListCredentialsRequest {
                site: site(settings, all_sites),
                all_sites,
                ..ListCredentialsRequest::default()
            };
            let request = settings.request(Purpose::Administer, request)?;
            let list = answer(settings, credentials.list_credentials(request).await)?.credentials;
            print(
                settings,
                || table(&list),
                || json!({"credentials": list.iter().map(credential_json).collect::<Vec<_>>()}),
            )
        }
        Credentials::Revoke {
            id,
            all_sites,
            dry_run,
        } => {
            let request = RevokeCredentialRequest {
                site: site(settings, all_sites),
                all_sites,
                credential_id: id,
                validate_only: dry_run.dry_run,
                ..RevokeCredentialRequest::default()
            };
            let request = settings.request(Purpose::Administer, request)?;
            let revoked = answer(settings, credentials.revoke_credential(request).await)?;
            let credential = revoked.credential.unwrap_or_default();
            let receipt = revoked.receipt.as_ref();
            print_write(
                settings,
                dry_run,
                receipt,
                Some(one(&credential)),
                object(&credential),
            )
        }
        Credentials::Verify { file } => verify(settings, &file),
    }
}

/// The site whose credentials are meant.
fn site(settings: &Settings, all_sites: bool) -> Option<identity_proto::v1::SiteRef> {
    if all_sites { None } else { settings.site() }
}

/// In so much time, to the second.
fn from_now(time: Duration) -> Timestamp {
    let moment = Timestamp::from(SystemTime::now() + time);
    Timestamp { nanos: 0, ..moment }
}

/// Prints a token where it may be kept, and what it is beside it.
fn print_token(
    settings: &Settings,
    credential: &Credential,
    token: &str,
) -> Result<Outcome, Failure> {
    if settings.output == Output::Table {
        eprintln!("{}\n\nIts token, shown this once:", one(credential));
    }
    print(
        settings,
        || token.to_owned(),
        || json!({"credential": credential_json(credential), "token": token}),
    )
}

fn verify(settings: &Settings, file: &Path) -> Result<Outcome, Failure> {
    let text = match file == Path::new("-") {
        true => {
            let mut text = String::new();
            // No token is so long; the rest need not be read to know that.
            io::stdin().take(4096).read_to_string(&mut text)?;
            text
        }
        false => std::fs::read_to_string(file)
            .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?,
    };
    let read = token::read(text.trim());
    print(
        settings,
        || match read {
            Ok(SpeaksFor::Site(id)) => {
                format!("The form and the checksum of a token of the site {id}.")
            }
            Ok(SpeaksFor::AllSites) => {
                "The form and the checksum of a token of all sites.".to_owned()
            }
            Err(fault) => format!("No token: {fault}."),
        },
        || {
            let site_id = match read {
                Ok(SpeaksFor::Site(id)) => Some(id.to_string()),
                _ => None,
            };
            json!({
                "valid": read.is_ok(),
                "site_id": site_id,
                "all_sites": read == Ok(SpeaksFor::AllSites),
                "fault": read.err().map(|fault| fault.to_string()),
            })
        },
    )?;
    Ok(Outcome::of(read.is_ok()))
}

fn scope(name: ScopeName) -> Scope {
    match name {
        ScopeName::Provision => Scope::Provision,
        ScopeName::Read => Scope::Read,
        ScopeName::Write => Scope::Write,
        ScopeName::Administer => Scope::Administer,
        ScopeName::Check => Scope::Check,
        ScopeName::Watch => Scope::Watch,
        ScopeName::WriteMembers => Scope::WriteMembers,
        ScopeName::WriteGroups => Scope::WriteGroups,
        ScopeName::WriteRoles => Scope::WriteRoles,
        ScopeName::WriteBusinessEntities => Scope::WriteBusinessEntities,
        ScopeName::WriteGrants => Scope::WriteGrants,
    }
}

/// How many whole days a credential has left: none where it does not expire, 0 where it works no more.
fn days_left(credential: &Credential) -> Option<i64> {
    if credential.revoke_time.is_some() {
        return Some(0);
    }
    let expires = SystemTime::try_from(credential.expire_time?).ok()?;
    let left = expires
        .duration_since(SystemTime::now())
        .unwrap_or_default();
    Some((left.as_secs() / (24 * 60 * 60)).cast_signed())
}

fn credential_json(credential: &Credential) -> Value {
    let mut object = json::credential(credential);
    object["days_left"] = json!(days_left(credential));
    object
}

fn object(credential: &Credential) -> Value {
    json!({"credential": credential_json(credential)})
}

fn one(credential: &Credential) -> String {
    table(std::slice::from_ref(credential))
}

fn table(credentials: &[Credential]) -> String {
    let mut table = show::table([
        "Label",
        "Scopes",
        "Issued",
        "Last used",
        "Expires",
        "Days left",
        "Revoked",
        "Id",
    ]);
    for credential in credentials {
        table.add_row([
            credential.label.clone(),
            show::scopes(credential.scopes()),
            show::time(credential.create_time.as_ref()),
            show::time(credential.last_use_time.as_ref()),
            show::time(credential.expire_time.as_ref()),
            days_left(credential).map_or_else(|| "-".to_owned(), |days| days.to_string()),
            show::time(credential.revoke_time.as_ref()),
            credential.id.clone(),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_left_are_whole_days() {
        let day = 24 * 60 * 60;
        let expires = |seconds| Credential {
            expire_time: Some(from_now(Duration::from_secs(seconds))),
            ..Credential::default()
        };
        assert_eq!(days_left(&expires(3 * day + 60)), Some(3));
        assert_eq!(days_left(&expires(60)), Some(0));
        assert_eq!(days_left(&Credential::default()), None);
        let past = Credential {
            expire_time: Some(Timestamp::default()),
            ..Credential::default()
        };
        assert_eq!(days_left(&past), Some(0));
    }
}
