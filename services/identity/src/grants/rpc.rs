//! How direct grants are asked for over gRPC.

use identity_proto::v1 as pb;
use tonic::{Request, Response, Status};

use super::{NewGrant, TargetName};
use crate::{
    access::TargetId,
    authz::Method,
    error::{Error, Kind},
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
}

fn read_new(message: pb::CreateGrantRequest) -> Result<NewGrant, Error> {
    let reason = message.reason.trim();
    if reason.is_empty() || reason.len() > REASON_MAX || reason.contains('\0') {
        return Err(Error::invalid(
            "reason",
            format!("must be 1 to {REASON_MAX} bytes of text"),
        ));
    }
    let target = match message.target.and_then(|target| target.target) {
        None => {
            return Err(Error::invalid(
                "target",
                "must name a role or a business entity",
            ));
        }
        Some(pb::access_target::Target::Role(role)) if role.id.is_empty() => {
            TargetName::Role(lookup_key(&role.name))
        }
        Some(pb::access_target::Target::Role(role)) => TargetName::Id(TargetId::Role(
            RoleId::parse(&role.id).ok_or(Error::NotFound(Kind::Role))?,
        )),
        Some(pb::access_target::Target::BusinessEntity(entity)) if entity.id.is_empty() => {
            TargetName::BusinessEntity(lookup_key(&entity.name))
        }
        Some(pb::access_target::Target::BusinessEntity(entity)) => {
            TargetName::Id(TargetId::BusinessEntity(
                BusinessEntityId::parse(&entity.id).ok_or(Error::NotFound(Kind::BusinessEntity))?,
            ))
        }
    };
    Ok(NewGrant {
        member: read_ref(message.member.as_ref())?,
        target,
        reason: reason.to_owned(),
    })
}
