//! How groups are asked for over gRPC.

use identity_proto::v1 as pb;
use tonic::{Request, Response, Status};

use super::{
    Group, GroupChange, GroupQuery, MemberIds, Membership, NewGroup, TargetByName,
    target::TargetKind,
};
use crate::{
    authz::Method,
    error::{Error, Kind},
    filter,
    ids::GroupId,
    names::{self, Name},
    site_tx::Identity,
    wire,
};

/// `identity.v1.GroupService`.
pub(crate) struct GroupRpc(pub(crate) Identity);

#[tonic::async_trait]
impl pb::group_service_server::GroupService for GroupRpc {
    async fn create_group(
        &self,
        request: Request<pb::CreateGroupRequest>,
    ) -> Result<Response<pb::CreateGroupResponse>, Status> {
        let context = self.0.context(Method::CreateGroup, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only);
        let (group, receipt) = super::create(&self.0, context, read_new(message)).await?;
        Ok(Response::new(pb::CreateGroupResponse {
            group: Some(group.into()),
            receipt: Some(receipt.into()),
        }))
    }

    async fn get_group(
        &self,
        request: Request<pb::GetGroupRequest>,
    ) -> Result<Response<pb::GetGroupResponse>, Status> {
        let context = self.0.context(Method::GetGroup, &request);
        let message = request.into_inner();
        let context = context.for_site(message.site.as_ref());
        let id = wire::id(&message.group_id, GroupId::parse, Kind::Group)
            .map(|id| (id, !message.without_members));
        let group = super::get(&self.0, context, id).await?;
        Ok(Response::new(pb::GetGroupResponse {
            group: Some(group.into()),
        }))
    }

    async fn list_groups(
        &self,
        request: Request<pb::ListGroupsRequest>,
    ) -> Result<Response<pb::ListGroupsResponse>, Status> {
        let context = self.0.context(Method::ListGroups, &request);
        let message = request.into_inner();
        let context = context.for_site(message.site.as_ref());
        let page = super::list(&self.0, context, read_query(&message)).await?;
        Ok(Response::new(pb::ListGroupsResponse {
            groups: page.groups.into_iter().map(Into::into).collect(),
            total_size: page.total,
            next_page_token: page.next.map(|token| token.encode()).unwrap_or_default(),
        }))
    }

    async fn update_group(
        &self,
        request: Request<pb::UpdateGroupRequest>,
    ) -> Result<Response<pb::UpdateGroupResponse>, Status> {
        let context = self.0.context(Method::UpdateGroup, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only);
        let (group, receipt) = super::update(&self.0, context, read_change(message)).await?;
        Ok(Response::new(pb::UpdateGroupResponse {
            group: Some(group.into()),
            receipt: Some(receipt.into()),
        }))
    }

    async fn delete_group(
        &self,
        request: Request<pb::DeleteGroupRequest>,
    ) -> Result<Response<pb::DeleteGroupResponse>, Status> {
        let context = self.0.context(Method::DeleteGroup, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only);
        let id = wire::id(&message.group_id, GroupId::parse, Kind::Group)
            .map(|id| (id, message.if_versions));
        let ((), receipt) = super::delete(&self.0, context, id).await?;
        Ok(Response::new(pb::DeleteGroupResponse {
            receipt: Some(receipt.into()),
        }))
    }
}

fn read_target(target: Option<pb::TargetByName>) -> TargetByName {
    let target = target.unwrap_or_default();
    TargetByName {
        kind: match target.kind() {
            pb::TargetKind::Unspecified => TargetKind::Unrecognised,
            pb::TargetKind::None => TargetKind::None,
            pb::TargetKind::Role => TargetKind::Role,
            pb::TargetKind::BusinessEntity => TargetKind::BusinessEntity,
        },
        name: target.name,
        site_domain: target.site_domain,
    }
}

fn read_new(message: pb::CreateGroupRequest) -> Result<NewGroup, Error> {
    Ok(NewGroup {
        display_name: Name::display_name(&message.display_name)?,
        target: read_target(message.target),
        external_id: names::external_id(&message.external_id)?,
        members: MemberIds::read(&message.member_ids)?,
    })
}

fn read_change(message: pb::UpdateGroupRequest) -> Result<GroupChange, Error> {
    use pb::update_group_request::Membership as M;
    let display_name = message
        .display_name
        .map(|name| Ok::<_, Error>((Name::display_name(&name)?, read_target(message.target))))
        .transpose()?;
    let membership = match message.membership {
        None => None,
        Some(M::Delta(delta)) => Some(Membership::Delta {
            add: MemberIds::read(&delta.add_member_ids)?,
            remove: MemberIds::read(&delta.remove_member_ids)?,
        }),
        Some(M::Exactly(exactly)) => {
            Some(Membership::Exactly(MemberIds::read(&exactly.member_ids)?))
        }
    };
    Ok(GroupChange {
        id: wire::id(&message.group_id, GroupId::parse, Kind::Group)?,
        display_name,
        external_id: message
            .external_id
            .map(|id| names::external_id(&id))
            .transpose()?,
        membership,
        if_versions: message.if_versions,
        with_members: !message.without_members,
    })
}

fn read_query(message: &pb::ListGroupsRequest) -> Result<GroupQuery, Error> {
    Ok(GroupQuery {
        condition: filter::read(message.filter.as_ref())?,
        order: filter::read_order(message.order.as_ref()),
        limit: wire::page_size(message.page_size, 0)?,
        page: wire::page(message.skip, &message.page_token)?,
        digest: filter::digest("groups", message.filter.as_ref(), message.order.as_ref()),
        with_members: !message.without_members,
    })
}

impl From<Group> for pb::Group {
    fn from(group: Group) -> Self {
        Self {
            id: group.id.to_string(),
            display_name: group.display_name,
            external_id: group.external_id.unwrap_or_default(),
            target: group.target.map(Into::into),
            version: group.version,
            create_time: Some(wire::timestamp(group.created_at)),
            update_time: Some(wire::timestamp(group.updated_at)),
            member_ids: group.members.iter().map(ToString::to_string).collect(),
        }
    }
}
