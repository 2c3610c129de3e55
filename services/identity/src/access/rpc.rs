//! How access is asked for over gRPC.

use identity_proto::v1 as pb;
use tonic::{Request, Response, Status};

use super::{Grant, MemberAccess, Source, TargetId, effective};
use crate::{authz::Method, members::rpc::read_ref, site_tx::Identity, wire};

/// `identity.v1.AccessService`.
pub(crate) struct AccessRpc(pub(crate) Identity);

#[tonic::async_trait]
impl pb::access_service_server::AccessService for AccessRpc {
    async fn list_member_access(
        &self,
        request: Request<pb::ListMemberAccessRequest>,
    ) -> Result<Response<pb::ListMemberAccessResponse>, Status> {
        let context = self.0.context(Method::ListMemberAccess, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let access = super::of_member(&self.0, context, read_ref(message.member.as_ref())).await?;
        Ok(Response::new(access.into()))
    }
}

impl From<MemberAccess> for pb::ListMemberAccessResponse {
    fn from(access: MemberAccess) -> Self {
        let reach = effective(&access.member, access.division).reach;
        let active = access.member.active;
        let mut response = Self {
            member_id: access.member.id.to_string(),
            user_name: access.member.user_name.as_str().to_owned(),
            active,
            reach,
            permissions: access.permissions,
            revision: access.revision,
            ..Self::default()
        };
        for grant in access.grants {
            if !active {
                response.suspended.push(grant.into());
                continue;
            }
            let list = match grant.target.id {
                TargetId::Role(_) => &mut response.roles,
                TargetId::BusinessEntity(_) => &mut response.business_entities,
            };
            let target = pb::AccessTarget::from(grant.target.clone());
            match list.last_mut() {
                Some(last) if last.target.as_ref() == Some(&target) => {
                    last.grants.push(grant.into());
                }
                _ => list.push(pb::GrantedTarget {
                    target: Some(target),
                    grants: vec![grant.into()],
                }),
            }
        }
        response
    }
}

impl From<Grant> for pb::Grant {
    fn from(grant: Grant) -> Self {
        Self {
            target: Some(grant.target.into()),
            source: Some(match grant.source {
                Source::Group { id, display_name } => pb::grant::Source::Group(pb::GroupSource {
                    group_id: id.to_string(),
                    display_name,
                }),
                Source::Entitlement => pb::grant::Source::Entitlement(pb::EntitlementSource {}),
                Source::Direct { id, actor, reason } => {
                    pb::grant::Source::Direct(pb::DirectSource {
                        grant_id: id.to_string(),
                        actor,
                        reason,
                    })
                }
            }),
            since: Some(wire::timestamp(grant.since)),
            since_revision: grant.since_event,
        }
    }
}
