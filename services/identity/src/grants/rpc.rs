//! How direct grants are asked for over gRPC.

use chrono::{DateTime, SubsecRound, Utc};
use identity_proto::v1 as pb;
use prost::Message;
use tonic::{Request, Response, Status};

use super::{
    GrantEnd, NewGrant, TargetName,
    change::{self, GrantChange},
    listing::{self, DirectGrant, GrantQuery},
};
use crate::{
    access::TargetId,
    authz::Method,
    batch::Batch,
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

    async fn update_grant(
        &self,
        request: Request<pb::UpdateGrantRequest>,
    ) -> Result<Response<pb::UpdateGrantResponse>, Status> {
        let context = self.0.context(Method::UpdateGrant, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only);
        let (grant, receipt) = change::update(&self.0, context, read_change(message)).await?;
        Ok(Response::new(pb::UpdateGrantResponse {
            grant: Some(grant.into()),
            receipt: Some(receipt.into()),
        }))
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
        let ((), receipt) = super::end(&self.0, context, read_end(message)).await?;
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

    async fn batch_get_grants(
        &self,
        request: Request<pb::BatchGetGrantsRequest>,
    ) -> Result<Response<pb::BatchGetGrantsResponse>, Status> {
        let context = self.0.context(Method::BatchGetGrants, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let named = Batch::read("grant_ids", message.grant_ids, |id| Ok(GrantId::parse(id)));
        let ((grants, unknown), revision) = listing::get_several(&self.0, context, named).await?;
        Ok(Response::new(pb::BatchGetGrantsResponse {
            grants: grants.into_iter().map(Into::into).collect(),
            unknown_grant_ids: unknown,
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
    let reason = read_reason(&message.reason)?;
    let ends_at = read_end_time(message.end_time.as_ref())?;
    let target = read_target(message.target)?
        .ok_or_else(|| Error::invalid("target", "must name a role or a business entity"))?;
    Ok(NewGrant {
        member: read_ref(message.member.as_ref())?,
        target,
        reason,
        ends_at,
    })
}

fn read_reason(text: &str) -> Result<String, Error> {
    let reason = text.trim();
    if reason.is_empty() || reason.len() > REASON_MAX || reason.contains('\0') {
        return Err(Error::invalid(
            "reason",
            format!("must be 1 to {REASON_MAX} bytes of text"),
        ));
    }
    Ok(reason.to_owned())
}

fn read_end_time(at: Option<&prost_types::Timestamp>) -> Result<Option<DateTime<Utc>>, Error> {
    let at = at.map(|at| wire::moment(at, "end_time")).transpose()?;
    // As exact as the site's clock.
    Ok(at.map(|at| at.trunc_subsecs(3)))
}

fn read_change(message: pb::UpdateGrantRequest) -> Result<GrantChange, Error> {
    let values = message.values.unwrap_or_default();
    let mut change = GrantChange {
        id: wire::id(&message.grant_id, GrantId::parse, Kind::Grant)?,
        reason: None,
        ends_at: None,
        if_versions: message.if_versions,
    };
    for path in wire::mask(message.update_mask.as_ref(), &["reason", "end_time"])? {
        match path {
            "reason" => change.reason = Some(read_reason(&values.reason)?),
            _ => change.ends_at = Some(read_end_time(values.end_time.as_ref())?),
        }
    }
    Ok(change)
}

fn read_end(message: pb::EndGrantRequest) -> Result<GrantEnd, Error> {
    Ok(GrantEnd {
        id: wire::id(&message.grant_id, GrantId::parse, Kind::Grant)?,
        reason: match message.reason.trim() {
            "" => String::new(),
            _ => read_reason(&message.reason)?,
        },
        if_versions: message.if_versions,
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
        // PostgreSQL can't hold a NUL; it is in nobody's label.
        actor: Some(message.actor.replace('\0', "\u{fffd}")).filter(|actor| !actor.is_empty()),
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
            version: direct.version,
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
                reason: ending.reason,
            }),
        }
    }
}
