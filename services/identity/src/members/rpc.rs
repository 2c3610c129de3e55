//! How members are asked for over gRPC.

use identity_proto::v1 as pb;
use tonic::{Request, Response, Status};

use super::{
    EntitlementChange, MemberChange, MemberName, MemberQuery, NewMember, Profile, entitlements,
    not_found,
};
use crate::{
    authz::Method,
    error::{Error, Kind},
    filter,
    ids::{BusinessEntityId, MemberId, RoleId},
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
            next_page_token: page.next.map(|token| token.encode()).unwrap_or_default(),
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

/// The ids of roles that an entitlement attribute names.
pub(super) fn read_roles(named: Vec<pb::NamedRef>) -> Result<Vec<RoleId>, Error> {
    let ids = named.into_iter().map(|named| named.id);
    entitlements::read_ids("entitlements.roles", ids, RoleId::parse)
}

/// The ids of business entities that an entitlement attribute names.
pub(super) fn read_entities(named: Vec<pb::NamedRef>) -> Result<Vec<BusinessEntityId>, Error> {
    let ids = named.into_iter().map(|named| named.id);
    entitlements::read_ids(
        "entitlements.business_entities",
        ids,
        BusinessEntityId::parse,
    )
}

fn read_query(message: &pb::ListMembersRequest) -> Result<MemberQuery, Error> {
    Ok(MemberQuery {
        condition: filter::read(message.filter.as_ref())?,
        order: filter::read_order(message.order.as_ref()),
        limit: wire::page_size(message.page_size, 0)?,
        page: wire::page(message.skip, &message.page_token)?,
        digest: filter::digest("members", message.filter.as_ref(), message.order.as_ref()),
    })
}

fn read_change(message: pb::UpdateMemberRequest) -> Result<MemberChange, Error> {
    let known = [
        "user_name",
        "external_id",
        "active",
        "profile",
        "entitlements.roles",
        "entitlements.business_entities",
    ];
    let paths = wire::mask(message.update_mask.as_ref(), &known)?;
    let mut values = message.values.unwrap_or_default();
    let mut change = MemberChange {
        id: wire::id(&message.member_id, MemberId::parse, Kind::Member)?,
        user_name: None,
        external_id: None,
        active: None,
        profile: None,
        entitlements: EntitlementChange::default(),
        if_versions: message.if_versions,
    };
    let named = values.entitlements.take().unwrap_or_default();
    if paths.contains(&"entitlements.roles") {
        change.entitlements.roles = Some(read_roles(named.roles)?);
    }
    if paths.contains(&"entitlements.business_entities") {
        change.entitlements.business_entities = Some(read_entities(named.business_entities)?);
    }
    for path in paths {
        match path {
            "user_name" => change.user_name = Some(Name::user_name(&values.user_name)?),
            "external_id" => change.external_id = Some(names::external_id(&values.external_id)?),
            "active" => change.active = Some(values.active),
            "entitlements.roles" | "entitlements.business_entities" => {}
            _ => {
                change.profile = Some(Profile::read(values.profile.take().unwrap_or_default())?);
            }
        }
    }
    Ok(change)
}
