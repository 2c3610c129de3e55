//! How credentials are asked for over gRPC.

use identity_proto::v1 as pb;
use tonic::{Request, Response, Status};

use super::{Credential, NewCredential};
use crate::{
    authz::{Method, Scope},
    error::{Error, Kind},
    filter::{Asked, Query},
    ids::CredentialId,
    site_tx::Identity,
    wire,
};

/// The most characters of a label.
const LABEL_MAX: usize = 100;
/// How many credentials a list shows where nothing was asked.
const LIST_DEFAULT: i64 = 1000;

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
        let id = wire::id(
            &message.credential_id,
            CredentialId::parse,
            Kind::Credential,
        );
        let (credential, receipt) = if message.all_sites {
            (super::revoke_for_all(&self.0, context, id).await?, None)
        } else {
            let (credential, receipt) = super::revoke(&self.0, context, id).await?;
            (credential, Some(receipt.into()))
        };
        Ok(Response::new(pb::RevokeCredentialResponse {
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
            revision: caller.site.as_ref().map_or(0, |site| site.revision),
            credential: caller.credential.map(Into::into),
            site: caller.site.map(Into::into),
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

fn read_new(message: &pb::IssueCredentialRequest) -> Result<NewCredential, Error> {
    let label = message.label.trim();
    if label.is_empty() || label.chars().count() > LABEL_MAX || label.chars().any(char::is_control)
    {
        return Err(Error::invalid(
            "label",
            format!("must be 1 to {LABEL_MAX} characters, none of them a control character"),
        ));
    }
    let mut scopes: Vec<Scope> = message.scopes().map(read_scope).collect::<Result<_, _>>()?;
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() || scopes.len() != message.scopes.len() {
        return Err(Error::invalid(
            "scopes",
            "must name at least one scope, each once",
        ));
    }
    let expires_at = message
        .expire_time
        .as_ref()
        .map(|at| wire::moment(at, "expire_time"))
        .transpose()?;
    Ok(NewCredential {
        label: label.to_owned(),
        scopes,
        expires_at,
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
        }
    }
}
