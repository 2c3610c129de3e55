//! How direct grants are asked for over gRPC.

use chrono::SubsecRound;
use identity_proto::v1 as pb;
use prost::Message;
use tonic::{Request, Response, Status};

use super::{
    NewGrant, TargetName,
    listing::{self, DirectGrant, GrantQuery},
};
use crate::{
    access::TargetId,
    authz::Method,
    error::{Error, Kind},
    filter::digest_of,
    ids::{BusinessEntityId, GrantId, RoleId},
    members::rpc::read_ref,
    names::lookup_key,
    site_tx::Identity,
    wire,
};

/// The most bytes of a reason.
const REASON_MAX: usize = 500;

/// `identity.v1.GrantService`.
pub(crate) struct GrantRpc(pub(crate) Identity);

#[tonic::async_trait]
impl pb::grant_service_server::GrantService for GrantRpc {
    async fn create_grant(
        &self,
        request: Request<pb::CreateGrantRequest>,
    ) -> Result<Response<pb::CreateGrantResponse>, Status> {
        let context = self.0.context(Method::CreateGrant, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only)
            .once(&message.request_id, &message);
        let answer = super::create(&self.0, context, read_new(message), |grant, receipt| {
            pb::CreateGrantResponse {
                grant: Some(grant.into()),
                receipt: Some(receipt.into()),
            }
        });
        Ok(Response::new(answer.await?))
    }

    async fn end_grant(
        &self,
        request: Request<pb::EndGrantRequest>,
    ) -> Result<Response<pb::EndGrantResponse>, Status> {
        let context = self.0.context(Method::EndGrant, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only);
        let id = wire::id(&message.grant_id, GrantId::parse, Kind::Grant);
        let ((), receipt) = super::end(&self.0, context, id).await?;
        Ok(Response::new(pb::EndGrantResponse {
            receipt: Some(receipt.into()),
        }))
    }

    async fn get_grant(
        &self,
        request: Request<pb::GetGrantRequest>,
    ) -> Result<Response<pb::GetGrantResponse>, Status> {
        let context = self.0.context(Method::GetGrant, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let id = wire::id(&message.grant_id, GrantId::parse, Kind::Grant);
        let (grant, revision) = listing::get(&self.0, context, id).await?;
        Ok(Response::new(pb::GetGrantResponse {
            grant: Some(grant.into()),
            revision,
        }))
    }

    async fn list_grants(
        &self,
        request: Request<pb::ListGrantsRequest>,
    ) -> Result<Response<pb::ListGrantsResponse>, Status> {
        let context = self.0.context(Method::ListGrants, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let page = listing::list(&self.0, context, read_query(message)).await?;
        Ok(Response::new(pb::ListGrantsResponse {
            grants: page.grants.into_iter().map(Into::into).collect(),
            next_page_token: page.next.map(|token| token.encode()).unwrap_or_default(),
            revision: page.revision,
        }))
    }
}

fn read_new(message: pb::CreateGrantRequest) -> Result<NewGrant, Error> {
    let reason = message.reason.trim();
    if reason.is_empty() || reason.len() > REASON_MAX || reason.contains('\0') {
        return Err(Error::invalid(
            "reason",
            format!("must be 1 to {REASON_MAX} bytes of text"),
        ));
    }
    let ends_at = message
        .end_time
        .as_ref()
        .map(|at| wire::moment(at, "end_time"))
        .transpose()?;
    let target = read_target(message.target)?
        .ok_or_else(|| Error::invalid("target", "must name a role or a business entity"))?;
    Ok(NewGrant {
        member: read_ref(message.member.as_ref())?,
        target,
        reason: reason.to_owned(),
        // As exact as the site's clock.
        ends_at: ends_at.map(|at| at.trunc_subsecs(3)),
    })
}

fn read_target(target: Option<pb::AccessTarget>) -> Result<Option<TargetName>, Error> {
    let Some(target) = target.and_then(|target| target.target) else {
        return Ok(None);
    };
    Ok(Some(match target {
        pb::access_target::Target::Role(role) if role.id.is_empty() => {
            TargetName::Role(lookup_key(&role.name))
        }
        pb::access_target::Target::Role(role) => TargetName::Id(TargetId::Role(
            RoleId::parse(&role.id).ok_or(Error::NotFound(Kind::Role))?,
        )),
        pb::access_target::Target::BusinessEntity(entity) if entity.id.is_empty() => {
            TargetName::BusinessEntity(lookup_key(&entity.name))
        }
        pb::access_target::Target::BusinessEntity(entity) => {
            TargetName::Id(TargetId::BusinessEntity(
                BusinessEntityId::parse(&entity.id).ok_or(Error::NotFound(Kind::BusinessEntity))?,
            ))
        }
    }))
}

fn read_query(mut message: pb::ListGrantsRequest) -> Result<GrantQuery, Error> {
    let limit = wire::page_size(message.page_size.take(), 1, wire::PAGE_SIZE_DEFAULT)?;
    let page = wire::page(0, &std::mem::take(&mut message.page_token))?;
    message.site = None;
    let digest = digest_of(&[b"grants", &message.encode_to_vec()]);
    let member = message.member.as_ref();
    Ok(GrantQuery {
        member: member.map(|member| read_ref(Some(member))).transpose()?,
        target: read_target(message.target)?,
        actor: Some(message.actor).filter(|actor| !actor.is_empty()),
        include_ended: message.include_ended,
        page,
        limit,
        digest,
    })
}

impl From<DirectGrant> for pb::DirectGrant {
    fn from(direct: DirectGrant) -> Self {
        Self {
            grant: Some(direct.grant.into()),
            member_id: direct.member.to_string(),
            user_name: direct.user_name,
            ending: direct.ending.map(|ending| pb::GrantEnding {
                time: Some(wire::timestamp(ending.at)),
                revision: ending.event,
                actor: Some(pb::Actor {
                    credential_id: ending
                        .credential
                        .map(|id| id.to_string())
                        .unwrap_or_default(),
                    label: ending.actor,
                }),
            }),
        }
    }
}
