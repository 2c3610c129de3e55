//! `rosterctl credentials update`

use std::time::Duration;

use clap::Args;
use identity_proto::v1::{
    Credential, UpdateCredentialRequest, credential_service_client::CredentialServiceClient,
};
use prost_types::FieldMask;

use super::{object, one, site};
use crate::{
    arguments::{DryRun, in_time, parse_time},
    commands::{Outcome, answer, print_write},
    connection::{Purpose, Settings},
    failure::Failure,
};

/// What is to change of a credential.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The credential's id
    id: String,
    /// Another name for people
    #[arg(long)]
    label: Option<String>,
    /// When it stops working by itself, from now on: 90d, 12h, 30m
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    expires_in: Option<Duration>,
    /// Let it work until it is revoked
    #[arg(long, conflicts_with = "expires_in")]
    no_expiry: bool,
    /// Take the token over mutual TLS only, from a client whose certificate has this name
    #[arg(long, value_name = "NAME")]
    certificate_name: Option<String>,
    /// Take the token with any client certificate, or none
    #[arg(long, conflicts_with = "certificate_name")]
    any_certificate: bool,
    /// One of those of all sites
    #[arg(long)]
    all_sites: bool,
    #[command(flatten)]
    dry_run: DryRun,
}

pub(super) async fn run(settings: &Settings, update: Update) -> Result<Outcome, Failure> {
    let mut values = Credential::default();
    let mut paths = Vec::new();
    if let Some(label) = update.label {
        values.label = label;
        paths.push("label".to_owned());
    }
    if update.expires_in.is_some() || update.no_expiry {
        values.expire_time = update.expires_in.map(in_time);
        paths.push("expire_time".to_owned());
    }
    if update.certificate_name.is_some() || update.any_certificate {
        values.certificate_name = update.certificate_name.unwrap_or_default();
        paths.push("certificate_name".to_owned());
    }
    if paths.is_empty() {
        return Err(Failure::usage(
            "nothing to change: name --label, --expires-in, --no-expiry, --certificate-name or \
             --any-certificate",
        ));
    }
    let request = UpdateCredentialRequest {
        site: site(settings, update.all_sites),
        all_sites: update.all_sites,
        credential_id: update.id,
        values: Some(values),
        update_mask: Some(FieldMask { paths }),
        validate_only: update.dry_run.dry_run,
        ..UpdateCredentialRequest::default()
    };
    let request = settings.request(Purpose::Administer, request)?;
    let mut credentials = CredentialServiceClient::new(settings.channel()?);
    let updated = answer(settings, credentials.update_credential(request).await)?;
    let credential = updated.credential.unwrap_or_default();
    print_write(
        settings,
        update.dry_run,
        updated.receipt.as_ref(),
        Some(one(&credential)),
        object(&credential),
    )
    .await
}
