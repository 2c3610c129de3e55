//! `rosterctl credentials`

use std::time::SystemTime;

use identity_proto::v1::{
    Credential, IssueCredentialRequest, ListCredentialsRequest, RevokeCredentialRequest, Scope,
    credential_service_client::CredentialServiceClient,
};
use prost_types::Timestamp;
use serde_json::json;

use super::{answer, print};
use crate::{
    arguments::{Credentials, Output, ScopeName},
    connection::{Purpose, Settings},
    failure::Failure,
    json, show,
};

pub(super) async fn run(settings: &Settings, command: Credentials) -> Result<(), Failure> {
    let mut credentials = CredentialServiceClient::new(settings.channel()?);
    match command {
        Credentials::Issue {
            label,
            scopes,
            expires_in,
            all_sites,
        } => {
            let request = IssueCredentialRequest {
                site: if all_sites { None } else { settings.site() },
                all_sites,
                label,
                scopes: scopes.into_iter().map(|name| scope(name).into()).collect(),
                expire_time: expires_in.map(|time| {
                    let moment = Timestamp::from(SystemTime::now() + time);
                    Timestamp { nanos: 0, ..moment }
                }),
                validate_only: false,
                ..Default::default()
            };
            let request = settings.request(Purpose::Administer, request)?;
            let issued = answer(settings, credentials.issue_credential(request).await)?;
            let credential = issued.credential.unwrap_or_default();
            if settings.output == Output::Table {
                // The token alone goes where it may be kept.
                eprintln!(
                    "{}\n\nIts token, shown this once:",
                    table(std::slice::from_ref(&credential))
                );
            }
            print(
                settings,
                || issued.token.clone(),
                || json!({"credential": json::credential(&credential), "token": issued.token}),
            )
        }
        Credentials::List { all_sites } => {
            let site = if all_sites { None } else { settings.site() };
            let request = settings.request(
                Purpose::Administer,
                ListCredentialsRequest {
                    site,
                    all_sites,
                    ..Default::default()
                },
            )?;
            let list = answer(settings, credentials.list_credentials(request).await)?.credentials;
            print(
                settings,
                || table(&list),
                || json!({"credentials": list.iter().map(json::credential).collect::<Vec<_>>()}),
            )
        }
        Credentials::Revoke { id, all_sites } => {
            let request = RevokeCredentialRequest {
                site: if all_sites { None } else { settings.site() },
                all_sites,
                credential_id: id,
                validate_only: false,
            };
            let request = settings.request(Purpose::Administer, request)?;
            let revoked = answer(settings, credentials.revoke_credential(request).await)?;
            let credential = revoked.credential.unwrap_or_default();
            print(
                settings,
                || table(std::slice::from_ref(&credential)),
                || json!({"credential": json::credential(&credential)}),
            )
        }
    }
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

fn table(credentials: &[Credential]) -> String {
    let mut table = show::table([
        "Id",
        "Label",
        "Scopes",
        "Issued",
        "Last used",
        "Expires",
        "Revoked",
    ]);
    for credential in credentials {
        table.add_row([
            credential.id.clone(),
            credential.label.clone(),
            show::scopes(credential.scopes()),
            show::time(credential.create_time.as_ref()),
            show::time(credential.last_use_time.as_ref()),
            show::time(credential.expire_time.as_ref()),
            show::time(credential.revoke_time.as_ref()),
        ]);
    }
    table.to_string()
}
