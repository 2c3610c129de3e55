//! How members are asked for over gRPC.

use identity_proto::v1 as pb;
use tonic::{Request, Response, Status};

use super::{MemberChange, MemberName, MemberQuery, NewMember, Profile, not_found, read_filter};
use crate::{
    authz::Method,
    error::{Error, Kind},
    ids::MemberId,
    names::{self, Name},
    site_tx::Identity,
    wire,
};

/// `identity.v1.MemberService`.
pub(crate) struct MemberRpc(pub(crate) Identity);

#[tonic::async_trait]
impl pb::member_service_server::MemberService for MemberRpc {
    async fn create_member(
        &self,
        request: Request<pb::CreateMemberRequest>,
    ) -> Result<Response<pb::CreateMemberResponse>, Status> {
        let context = self.0.context(Method::CreateMember, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only);
        let new = NewMember::read(message.member.unwrap_or_default());
        let ((member, division), receipt) = super::create(&self.0, context, new).await?;
        Ok(Response::new(pb::CreateMemberResponse {
            member: Some(member.into_proto(division)),
            receipt: Some(receipt.into()),
        }))
    }

    async fn get_member(
        &self,
        request: Request<pb::GetMemberRequest>,
    ) -> Result<Response<pb::GetMemberResponse>, Status> {
        let context = self.0.context(Method::GetMember, &request);
        let message = request.into_inner();
        let context = context.for_site(message.site.as_ref());
        let name = read_ref(message.member.as_ref());
        let (member, division) = super::get(&self.0, context, name).await?;
        Ok(Response::new(pb::GetMemberResponse {
            member: Some(member.into_proto(division)),
        }))
    }

    async fn list_members(
        &self,
        request: Request<pb::ListMembersRequest>,
    ) -> Result<Response<pb::ListMembersResponse>, Status> {
        let context = self.0.context(Method::ListMembers, &request);
        let message = request.into_inner();
        let context = context.for_site(message.site.as_ref());
        let page = super::list(&self.0, context, read_query(&message)).await?;
        let division = page.division;
        Ok(Response::new(pb::ListMembersResponse {
            members: page
                .members
                .into_iter()
                .map(|member| member.into_proto(division))
                .collect(),
            total_size: page.total,
        }))
    }

    async fn update_member(
        &self,
        request: Request<pb::UpdateMemberRequest>,
    ) -> Result<Response<pb::UpdateMemberResponse>, Status> {
        let context = self.0.context(Method::UpdateMember, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only);
        let change = read_change(message);
        let ((member, division), receipt) = super::update(&self.0, context, change).await?;
        Ok(Response::new(pb::UpdateMemberResponse {
            member: Some(member.into_proto(division)),
            receipt: Some(receipt.into()),
        }))
    }

    async fn delete_member(
        &self,
        request: Request<pb::DeleteMemberRequest>,
    ) -> Result<Response<pb::DeleteMemberResponse>, Status> {
        let context = self.0.context(Method::DeleteMember, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only);
        let id = wire::id(&message.member_id, MemberId::parse, Kind::Member)
            .map(|id| (id, message.if_versions));
        let ((), receipt) = super::delete(&self.0, context, id).await?;
        Ok(Response::new(pb::DeleteMemberResponse {
            receipt: Some(receipt.into()),
        }))
    }
}

/// A member as a request names it.
pub(crate) fn read_ref(member: Option<&pb::MemberRef>) -> Result<MemberName, Error> {
    match member.and_then(|member| member.r#ref.as_ref()) {
        None => Err(Error::invalid(
            "member",
            "must name a member by id or user name",
        )),
        Some(pb::member_ref::Ref::Id(id)) => MemberId::parse(id)
            .map(MemberName::Id)
            .ok_or_else(not_found),
        Some(pb::member_ref::Ref::UserName(user_name)) => {
            Ok(MemberName::UserName(names::lookup_key(user_name)))
        }
    }
}

fn read_query(message: &pb::ListMembersRequest) -> Result<MemberQuery, Error> {
    if message.skip < 0 {
        return Err(Error::invalid("skip", "must not be negative"));
    }
    let filter = wire::comparisons(message.filter.as_ref())?
        .into_iter()
        .map(|(field, value)| read_filter(&field, &value))
        .collect::<Result<_, _>>()?;
    Ok(MemberQuery {
        filter,
        limit: wire::page_size(message.page_size, 0)?,
        skip: message.skip,
    })
}

fn read_change(message: pb::UpdateMemberRequest) -> Result<MemberChange, Error> {
    let known = ["user_name", "external_id", "active", "profile"];
    let paths = wire::mask(message.update_mask.as_ref(), &known)?;
    let mut values = message.values.unwrap_or_default();
    let mut change = MemberChange {
        id: wire::id(&message.member_id, MemberId::parse, Kind::Member)?,
        user_name: None,
        external_id: None,
        active: None,
        profile: None,
        if_versions: message.if_versions,
    };
    for path in paths {
        match path {
            "user_name" => change.user_name = Some(Name::user_name(&values.user_name)?),
            "external_id" => change.external_id = Some(names::external_id(&values.external_id)?),
            "active" => change.active = Some(values.active),
            _ => {
                change.profile = Some(Profile::read(values.profile.take().unwrap_or_default())?);
            }
        }
    }
    Ok(change)
}
