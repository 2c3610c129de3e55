//! How credentials are asked for over gRPC.

use chrono::{DateTime, SubsecRound, Utc};
use identity_proto::v1 as pb;
use tonic::{Request, Response, Status};

use super::{Credential, CredentialChange, NewCredential, Revocation};
use crate::{
    authz::{Method, Scope},
    batch::Batch,
    error::{Error, Kind},
    filter::{Asked, Query},
    ids::CredentialId,
    names,
    site_tx::Identity,
    wire,
};

/// The most characters of a label.
const LABEL_MAX: usize = 100;
/// How many credentials a list shows where nothing was asked.
const LIST_DEFAULT: i64 = 1000;
/// By whom events say that something was done where it was done by no credential: keys of labels that none may have.
const RESERVED: [&str; 2] = ["bootstrap", "roster"];
/// The most bytes of a name in a certificate: as many as a DNS name can have.
const CERTIFICATE_NAME_MAX: usize = 253;

/// `identity.v1.CredentialService`.
pub(crate) struct CredentialRpc(pub(crate) Identity);

#[tonic::async_trait]
impl pb::credential_service_server::CredentialService for CredentialRpc {
    async fn issue_credential(
        &self,
        request: Request<pb::IssueCredentialRequest>,
    ) -> Result<Response<pb::IssueCredentialResponse>, Status> {
        let context = self.0.context(Method::IssueCredential, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only)
            .once(&message.request_id, &message);
        let new = read_new(&message);
        let answer = if message.all_sites {
            super::issue_for_all(&self.0, context, new, |(credential, token)| {
                pb::IssueCredentialResponse {
                    credential: Some(credential.into()),
                    token,
                    receipt: None,
                }
            })
            .await
        } else {
            super::issue(&self.0, context, new, |(credential, token), receipt| {
                pb::IssueCredentialResponse {
                    credential: Some(credential.into()),
                    token,
                    receipt: Some(receipt.into()),
                }
            })
            .await
        };
        Ok(Response::new(answer?))
    }

    async fn list_credentials(
        &self,
        request: Request<pb::ListCredentialsRequest>,
    ) -> Result<Response<pb::ListCredentialsResponse>, Status> {
        let context = self.0.context(Method::ListCredentials, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let query = read_query(&message);
        let (page, revision) = if message.all_sites {
            super::list_for_all(&self.0, context, query).await?
        } else {
            super::list(&self.0, context, query).await?
        };
        Ok(Response::new(pb::ListCredentialsResponse {
            credentials: page.rows.into_iter().map(Into::into).collect(),
            total_size: page.total,
            next_page_token: page.next,
            revision,
        }))
    }

    async fn revoke_credential(
        &self,
        request: Request<pb::RevokeCredentialRequest>,
    ) -> Result<Response<pb::RevokeCredentialResponse>, Status> {
        let context = self.0.context(Method::RevokeCredential, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only);
        let revocation = read_id(&message.credential_id).map(|id| Revocation {
            id,
            if_versions: message.if_versions,
        });
        let (credential, receipt) = if message.all_sites {
            (
                super::revoke_for_all(&self.0, context, revocation).await?,
                None,
            )
        } else {
            let (credential, receipt) = super::revoke(&self.0, context, revocation).await?;
            (credential, Some(receipt.into()))
        };
        Ok(Response::new(pb::RevokeCredentialResponse {
            credential: Some(credential.into()),
            receipt,
        }))
    }

    async fn get_credential(
        &self,
        request: Request<pb::GetCredentialRequest>,
    ) -> Result<Response<pb::GetCredentialResponse>, Status> {
        let context = self.0.context(Method::GetCredential, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let id = read_id(&message.credential_id);
        let (credential, revision) = if message.all_sites {
            (super::get_for_all(&self.0, context, id).await?, 0)
        } else {
            super::get(&self.0, context, id).await?
        };
        Ok(Response::new(pb::GetCredentialResponse {
            credential: Some(credential.into()),
            revision,
        }))
    }

    async fn batch_get_credentials(
        &self,
        request: Request<pb::BatchGetCredentialsRequest>,
    ) -> Result<Response<pb::BatchGetCredentialsResponse>, Status> {
        let context = self.0.context(Method::BatchGetCredentials, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let named = Batch::read("credential_ids", message.credential_ids, |id| {
            Ok(CredentialId::parse(id))
        });
        let ((credentials, unknown), revision) = if message.all_sites {
            (
                super::get_several_for_all(&self.0, context, named).await?,
                0,
            )
        } else {
            super::get_several(&self.0, context, named).await?
        };
        Ok(Response::new(pb::BatchGetCredentialsResponse {
            credentials: credentials.into_iter().map(Into::into).collect(),
            unknown_credential_ids: unknown,
            revision,
        }))
    }

    async fn update_credential(
        &self,
        request: Request<pb::UpdateCredentialRequest>,
    ) -> Result<Response<pb::UpdateCredentialResponse>, Status> {
        let context = self.0.context(Method::UpdateCredential, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only);
        let change = read_change(&message);
        let (credential, receipt) = if message.all_sites {
            (super::update_for_all(&self.0, context, change).await?, None)
        } else {
            let (credential, receipt) = super::update(&self.0, context, change).await?;
            (credential, Some(receipt.into()))
        };
        Ok(Response::new(pb::UpdateCredentialResponse {
            credential: Some(credential.into()),
            receipt,
        }))
    }

    async fn get_caller(
        &self,
        request: Request<pb::GetCallerRequest>,
    ) -> Result<Response<pb::GetCallerResponse>, Status> {
        let context = self.0.context(Method::GetCaller, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let caller = super::caller(&self.0, context).await?;
        Ok(Response::new(pb::GetCallerResponse {
            revision: caller.site.as_ref().map_or(0, |(site, _)| site.revision),
            credential: caller.credential.map(Into::into),
            site: caller.site.map(|(site, version)| site.into_proto(version)),
            role_names: caller.role_names,
            business_entity_names: caller.business_entity_names,
        }))
    }
}

fn read_query(message: &pb::ListCredentialsRequest) -> Result<Query, Error> {
    Ok(Query::read(&Asked {
        list: "credentials",
        filter: message.filter.as_ref(),
        order: message.order.as_ref(),
        page_size: message.page_size,
        default_size: LIST_DEFAULT,
        skip: message.skip,
        page_token: &message.page_token,
    })?
    .by_default("id", true))
}

fn read_id(id: &str) -> Result<CredentialId, Error> {
    wire::id(id, CredentialId::parse, Kind::Credential)
}

fn read_label(label: &str) -> Result<String, Error> {
    let label = label.trim();
    if label.is_empty() || label.chars().count() > LABEL_MAX || label.chars().any(char::is_control)
    {
        return Err(Error::invalid(
            "label",
            format!("must be 1 to {LABEL_MAX} characters, none of them a control character"),
        ));
    }
    if RESERVED.contains(&names::lookup_key(label).as_str()) {
        return Err(Error::invalid(
            "label",
            "must be another: events name the bootstrap token and Roster itself so",
        ));
    }
    Ok(label.to_owned())
}

fn read_certificate_name(name: &str) -> Result<Option<String>, Error> {
    if name.len() > CERTIFICATE_NAME_MAX || name.chars().any(char::is_control) {
        return Err(Error::invalid(
            "certificate_name",
            format!(
                "must be at most {CERTIFICATE_NAME_MAX} bytes, with no control character among them"
            ),
        ));
    }
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

fn read_expiry(at: Option<&prost_types::Timestamp>) -> Result<Option<DateTime<Utc>>, Error> {
    let at = at.map(|at| wire::moment(at, "expire_time")).transpose()?;
    // As exact as it is kept.
    Ok(at.map(|at| at.trunc_subsecs(6)))
}

fn read_change(
    message: &pb::UpdateCredentialRequest,
) -> Result<(CredentialId, CredentialChange), Error> {
    let values = message.values.clone().unwrap_or_default();
    let known = ["label", "expire_time", "certificate_name"];
    let mut change = CredentialChange {
        if_versions: message.if_versions.clone(),
        ..CredentialChange::default()
    };
    for path in wire::mask(message.update_mask.as_ref(), &known)? {
        match path {
            "label" => change.label = Some(read_label(&values.label)?),
            "expire_time" => change.expires_at = Some(read_expiry(values.expire_time.as_ref())?),
            _ => {
                change.certificate_name = Some(read_certificate_name(&values.certificate_name)?);
            }
        }
    }
    Ok((read_id(&message.credential_id)?, change))
}

fn read_new(message: &pb::IssueCredentialRequest) -> Result<NewCredential, Error> {
    let label = read_label(&message.label)?;
    let mut scopes: Vec<Scope> = message.scopes().map(read_scope).collect::<Result<_, _>>()?;
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() || scopes.len() != message.scopes.len() {
        return Err(Error::invalid(
            "scopes",
            "must name at least one scope, each once",
        ));
    }
    Ok(NewCredential {
        label,
        scopes,
        expires_at: read_expiry(message.expire_time.as_ref())?,
        certificate_name: read_certificate_name(&message.certificate_name)?,
    })
}

fn read_scope(scope: pb::Scope) -> Result<Scope, Error> {
    match scope {
        pb::Scope::Unspecified => Err(Error::invalid("scopes", "has one that does not exist")),
        pb::Scope::Provision => Ok(Scope::Provision),
        pb::Scope::Read => Ok(Scope::Read),
        pb::Scope::Write => Ok(Scope::Write),
        pb::Scope::Administer => Ok(Scope::Administer),
        pb::Scope::Check => Ok(Scope::Check),
        pb::Scope::Watch => Ok(Scope::Watch),
        pb::Scope::WriteMembers => Ok(Scope::WriteMembers),
        pb::Scope::WriteGroups => Ok(Scope::WriteGroups),
        pb::Scope::WriteRoles => Ok(Scope::WriteRoles),
        pb::Scope::WriteBusinessEntities => Ok(Scope::WriteBusinessEntities),
        pb::Scope::WriteGrants => Ok(Scope::WriteGrants),
    }
}

impl From<Scope> for pb::Scope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Provision => Self::Provision,
            Scope::Read => Self::Read,
            Scope::Write => Self::Write,
            Scope::Administer => Self::Administer,
            Scope::Check => Self::Check,
            Scope::Watch => Self::Watch,
            Scope::WriteMembers => Self::WriteMembers,
            Scope::WriteGroups => Self::WriteGroups,
            Scope::WriteRoles => Self::WriteRoles,
            Scope::WriteBusinessEntities => Self::WriteBusinessEntities,
            Scope::WriteGrants => Self::WriteGrants,
        }
    }
}

impl From<Credential> for pb::Credential {
    fn from(credential: Credential) -> Self {
        Self {
            id: credential.id.to_string(),
            site_id: credential
                .site
                .map(|site| site.to_string())
                .unwrap_or_default(),
            label: credential.label,
            scopes: credential
                .scopes
                .into_iter()
                .map(|scope| pb::Scope::from(scope).into())
                .collect(),
            create_time: Some(wire::timestamp(credential.created_at)),
            last_use_time: credential.last_used_at.map(wire::timestamp),
            expire_time: credential.expires_at.map(wire::timestamp),
            revoke_time: credential.revoked_at.map(wire::timestamp),
            certificate_name: credential.certificate_name.unwrap_or_default(),
            version: credential.version,
        }
    }
}
