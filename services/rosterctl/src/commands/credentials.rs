//! `rosterctl credentials`

mod update;

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use clap::{Subcommand, ValueEnum};
use identity_forms::token::{self, SpeaksFor};
use identity_proto::v1::{
    Credential, GetCredentialRequest, IssueCredentialRequest, IssueCredentialResponse,
    ListCredentialsRequest, RevokeCredentialRequest, Scope, UpdateCredentialRequest,
    credential_service_client::CredentialServiceClient,
};
use prost_types::{FieldMask, Timestamp};
use serde_json::{Value, json};

use super::{Outcome, answer, named::equal, print, print_write, request_id};
use crate::{
    arguments::{DryRun, Output, in_time, parse_time},
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
        /// Take the token over mutual TLS only, from a client whose certificate has this name
        #[arg(long, value_name = "NAME")]
        certificate_name: Option<String>,
        /// For all sites instead of one
        #[arg(long)]
        all_sites: bool,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Issue a successor of a credential and print its token; the old one works on for the overlap
    #[command(after_help = "\
The successor has the label, the scopes, the certificate's name and, counted from now, the lifetime of the old one.

A rotation shortens the old one's life. Where a newer credential has the label already, the old one's end may come
from that, and says nothing of how long a successor is to live: then it is refused (exit code 6) unless that is said
with --expires-in or --no-expiry. Mostly the newer one is to be rotated.

Examples:
  rosterctl --site acme credentials rotate 0199c1f0-7d6e-7a10-8a59-2f6a1f0c9d11 --overlap 24h > token
  rosterctl --site acme credentials rotate 0199c1f0-7d6e-7a10-8a59-2f6a1f0c9d11 --overlap 7d --dry-run")]
    Rotate {
        /// The old credential's id
        id: String,
        /// How long the old one works on: 7d, 12h, 30m; never longer than it would have
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        overlap: Duration,
        /// When the successor stops working by itself [default: after as long as the old one]
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        expires_in: Option<Duration>,
        /// Let the successor work until it is revoked
        #[arg(long, conflicts_with = "expires_in")]
        no_expiry: bool,
        /// One of those of all sites
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
    /// Change a credential's label, its end, or the certificate that it has to come with; its token stays
    #[command(after_help = "\
Examples:
  rosterctl --site acme credentials update 0199c1f0-7d6e-7a10-8a59-2f6a1f0c9d11 --label 'Okta, production'
  rosterctl --site acme credentials update 0199c1f0-7d6e-7a10-8a59-2f6a1f0c9d11 --expires-in 30d --dry-run")]
    Update(update::Update),
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
            certificate_name,
            all_sites,
            dry_run,
        } => {
            let request = IssueCredentialRequest {
                site: site(settings, all_sites),
                all_sites,
                label,
                scopes: scopes.into_iter().map(|name| scope(name).into()).collect(),
                expire_time: expires_in.map(in_time),
                certificate_name: certificate_name.unwrap_or_default(),
                validate_only: dry_run.dry_run,
                request_id: request_id(),
                ..IssueCredentialRequest::default()
            };
            let issued = issue(settings, &request).await?;
            let credential = issued.credential.unwrap_or_default();
            if dry_run.dry_run {
                let receipt = issued.receipt.as_ref();
                return print_write(
                    settings,
                    dry_run,
                    receipt,
                    Some(one(&credential)),
                    object(&credential),
                )
                .await;
            }
            print_token(settings, &credential, &issued.token)
        }
        Credentials::Rotate {
            id,
            overlap,
            expires_in,
            no_expiry,
            all_sites,
            dry_run,
        } => {
            let rotation = Rotation {
                overlap,
                expires_in,
                no_expiry,
                all_sites,
                dry_run,
            };
            rotate(settings, id, &rotation).await
        }
        Credentials::List { all_sites } => {
            let mut list = Vec::new();
            let mut page_token = String::new();
            loop {
                let request = ListCredentialsRequest {
                    site: site(settings, all_sites),
                    all_sites,
                    page_token,
                    ..ListCredentialsRequest::default()
                };
                let request = settings.request(Purpose::Administer, request)?;
                let page = answer(settings, credentials.list_credentials(request).await)?;
                list.extend(page.credentials);
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
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
            .await
        }
        Credentials::Update(update) => update::run(settings, update).await,
        Credentials::Verify { file } => verify(settings, &file),
    }
}

/// How a credential is replaced.
#[derive(Debug)]
struct Rotation {
    overlap: Duration,
    expires_in: Option<Duration>,
    no_expiry: bool,
    all_sites: bool,
    dry_run: DryRun,
}

/// Issues a credential; an error where its token is not known.
async fn issue(
    settings: &Settings,
    request: &IssueCredentialRequest,
) -> Result<IssueCredentialResponse, Failure> {
    let mut credentials = CredentialServiceClient::new(settings.channel()?);
    let issued = settings
        .make(Purpose::Administer, request, async |request| {
            credentials.issue_credential(request).await
        })
        .await?;
    // Answered before, on a connection that broke: identity shows a token once.
    if issued.token.is_empty() && !request.validate_only {
        let id = issued.credential.unwrap_or_default().id;
        return Err(Failure::new(format!(
            "the credential {id} is issued, but its token was lost with the connection: revoke it, and issue another"
        )));
    }
    Ok(issued)
}

/// The newest credential that was issued after this one with its label, also if it works no more.
async fn newer_of_label(
    settings: &Settings,
    all_sites: bool,
    old: &Credential,
) -> Result<Option<Credential>, Failure> {
    let request = ListCredentialsRequest {
        site: site(settings, all_sites),
        all_sites,
        filter: Some(equal("label", &old.label)),
        ..ListCredentialsRequest::default()
    };
    let request = settings.request(Purpose::Administer, request)?;
    let mut credentials = CredentialServiceClient::new(settings.channel()?);
    let newest_first = answer(settings, credentials.list_credentials(request).await)?;
    let newest = newest_first.credentials.into_iter().next();
    Ok(newest.filter(|newest| newest.id != old.id))
}

/// Issues a successor and sets the end of the old one, in this order: at no moment does none of them work.
async fn rotate(settings: &Settings, id: String, rotation: &Rotation) -> Result<Outcome, Failure> {
    let mut credentials = CredentialServiceClient::new(settings.channel()?);
    let Rotation {
        all_sites, dry_run, ..
    } = *rotation;
    let request = GetCredentialRequest {
        site: site(settings, all_sites),
        all_sites,
        credential_id: id.clone(),
        ..GetCredentialRequest::default()
    };
    let request = settings.request(Purpose::Administer, request)?;
    let old = answer(settings, credentials.get_credential(request).await)?;
    let old = old.credential.unwrap_or_default();
    let now = SystemTime::now();
    let end = |credential: &Credential| {
        credential
            .expire_time
            .and_then(|time| SystemTime::try_from(time).ok())
    };
    if old.revoke_time.is_some() || end(&old).is_some_and(|end| end <= now) {
        return Err(Failure::usage(
            "the credential works no more, so it has nothing to overlap with: issue a new one",
        ));
    }
    let is_said = rotation.expires_in.is_some() || rotation.no_expiry;
    if !is_said && let Some(newer) = newer_of_label(settings, all_sites, &old).await? {
        return Err(Failure::conflict(format!(
            "a newer credential has the label {:?} already: {}, issued {}. The end of this one may come from a \
             rotation, so it does not say how long a successor is to work\n  \
             rotate the newer one, or say it with --expires-in or --no-expiry",
            old.label,
            newer.id,
            show::time(newer.create_time.as_ref()),
        )));
    }
    let lifetime = rotation.expires_in.or_else(|| {
        if rotation.no_expiry {
            return None;
        }
        let made = SystemTime::try_from(old.create_time?).ok()?;
        end(&old)?.duration_since(made).ok()
    });
    let request = IssueCredentialRequest {
        site: site(settings, all_sites),
        all_sites,
        label: old.label.clone(),
        scopes: old.scopes.clone(),
        expire_time: lifetime.map(in_time),
        certificate_name: old.certificate_name.clone(),
        validate_only: dry_run.dry_run,
        request_id: request_id(),
        ..IssueCredentialRequest::default()
    };
    let issued = issue(settings, &request).await?;
    let successor = issued.credential.unwrap_or_default();
    let old_end = end(&old).map_or(now + rotation.overlap, |end| {
        end.min(now + rotation.overlap)
    });
    let request = UpdateCredentialRequest {
        site: site(settings, all_sites),
        all_sites,
        credential_id: id.clone(),
        values: Some(Credential {
            expire_time: Some(to_the_second(old_end)),
            ..Credential::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["expire_time".to_owned()],
        }),
        validate_only: dry_run.dry_run,
        ..UpdateCredentialRequest::default()
    };
    let request = settings.request(Purpose::Administer, request)?;
    let updated = answer(settings, credentials.update_credential(request).await);
    // The token is shown this once: whatever became of the old credential.
    let old = match &updated {
        Ok(updated) => updated.credential.clone().unwrap_or_default(),
        Err(_) => old,
    };
    let both = [successor, old];
    if settings.output == Output::Table {
        let end = match both[0].expire_time.as_ref() {
            Some(end) => format!("works until {}", show::time(Some(end))),
            None => "works until it is revoked".to_owned(),
        };
        eprintln!("{}\n\nThe successor {end}.", table(&both));
    }
    let [successor, old] = &both;
    print(
        settings,
        || match dry_run.dry_run {
            true => "Dry run: nothing was changed.".to_owned(),
            false => issued.token.clone(),
        },
        || {
            let mut object = object(successor);
            if !dry_run.dry_run {
                object["token"] = json!(issued.token);
            }
            object["rotated"] = credential_json(old);
            object["dry_run"] = json!(dry_run.dry_run);
            object
        },
    )?;
    match updated {
        Ok(_) => Ok(Outcome::Done),
        Err(failure) => Err(failure.beside(&format!(
            "the successor is issued, and the old credential {id} has no other end than before"
        ))),
    }
}

/// The site whose credentials are meant.
fn site(settings: &Settings, all_sites: bool) -> Option<identity_proto::v1::SiteRef> {
    if all_sites { None } else { settings.site() }
}

fn to_the_second(moment: SystemTime) -> Timestamp {
    Timestamp {
        nanos: 0,
        ..Timestamp::from(moment)
    }
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
            expire_time: Some(in_time(Duration::from_secs(seconds))),
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
