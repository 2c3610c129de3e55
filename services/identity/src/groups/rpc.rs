//! How groups are asked for over gRPC.

use identity_proto::v1 as pb;
use tonic::{Request, Response, Status};

use super::{
    Group, GroupChange, MemberIds, Membership, NewGroup, TargetByName, target::TargetKind,
};
use crate::{
    authz::Method,
    batch::Batch,
    error::{Error, Kind},
    filter::{Asked, Query},
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
            .dry(message.validate_only)
            .once(&message.request_id, &message);
        let answer = super::create(&self.0, context, read_new(message), |group, receipt| {
            pb::CreateGroupResponse {
                group: Some(group.into()),
                receipt: Some(receipt.into()),
            }
        });
        Ok(Response::new(answer.await?))
    }

    async fn get_group(
        &self,
        request: Request<pb::GetGroupRequest>,
    ) -> Result<Response<pb::GetGroupResponse>, Status> {
        let context = self.0.context(Method::GetGroup, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let id = wire::id(&message.group_id, GroupId::parse, Kind::Group)
            .map(|id| (id, !message.without_members));
        let (group, revision) = super::get(&self.0, context, id).await?;
        Ok(Response::new(pb::GetGroupResponse {
            group: Some(group.into()),
            revision,
        }))
    }

    async fn batch_get_groups(
        &self,
        request: Request<pb::BatchGetGroupsRequest>,
    ) -> Result<Response<pb::BatchGetGroupsResponse>, Status> {
        let context = self.0.context(Method::BatchGetGroups, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let named = Batch::read("group_ids", message.group_ids, |id| Ok(GroupId::parse(id)));
        let ((groups, unknown), revision) = super::get_several(&self.0, context, named).await?;
        Ok(Response::new(pb::BatchGetGroupsResponse {
            groups: groups.into_iter().map(Into::into).collect(),
            unknown_group_ids: unknown,
            revision,
        }))
    }

    async fn list_groups(
        &self,
        request: Request<pb::ListGroupsRequest>,
    ) -> Result<Response<pb::ListGroupsResponse>, Status> {
        let context = self.0.context(Method::ListGroups, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let query = read_query(&message).map(|query| (query, !message.without_members));
        let (page, revision) = super::list(&self.0, context, query).await?;
        Ok(Response::new(pb::ListGroupsResponse {
            groups: page.rows.into_iter().map(Into::into).collect(),
            total_size: page.total,
            next_page_token: page.next,
            revision,
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

fn read_target(target: Option<pb::TargetByName>) -> Result<TargetByName, Error> {
    let target = target.unwrap_or_default();
    // Longer than any that there can be: not to be compared with those, nor to be told back.
    for (field, text) in [
        ("target.name", &target.name),
        ("target.site_domain", &target.site_domain),
    ] {
        if text.len() > names::KEY_MAX {
            return Err(Error::invalid(
                field,
                format!(
                    "is {} bytes long; the limit is {}",
                    text.len(),
                    names::KEY_MAX
                ),
            ));
        }
    }
    Ok(TargetByName {
        kind: match target.kind() {
            pb::TargetKind::Unspecified => TargetKind::Unrecognised,
            pb::TargetKind::None => TargetKind::None,
            pb::TargetKind::Role => TargetKind::Role,
            pb::TargetKind::BusinessEntity => TargetKind::BusinessEntity,
        },
        name: target.name,
        site_domain: target.site_domain,
    })
}

fn read_new(message: pb::CreateGroupRequest) -> Result<NewGroup, Error> {
    Ok(NewGroup {
        display_name: Name::display_name(&message.display_name)?,
        target: read_target(message.target)?,
        external_id: names::external_id(&message.external_id)?,
        members: MemberIds::read(&message.member_ids)?,
    })
}

fn read_change(message: pb::UpdateGroupRequest) -> Result<GroupChange, Error> {
    use pb::update_group_request::Membership as M;
    let display_name = message
        .display_name
        .map(|name| Ok::<_, Error>((Name::display_name(&name)?, read_target(message.target)?)))
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

fn read_query(message: &pb::ListGroupsRequest) -> Result<Query, Error> {
    Query::read(&Asked {
        list: "groups",
        filter: message.filter.as_ref(),
        order: message.order.as_ref(),
        page_size: message.page_size,
        default_size: wire::PAGE_SIZE_DEFAULT,
        skip: message.skip,
        page_token: &message.page_token,
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
