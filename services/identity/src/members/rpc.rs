//! How members are asked for over gRPC.

use identity_proto::v1 as pb;
use tonic::{Request, Response, Status};

use super::{
    EntitlementChange, Member, MemberChange, MemberName, NewMember, Profile, entitlements,
    not_found,
};
use crate::{
    authz::Method,
    batch::Batch,
    error::{Error, Kind},
    filter::{Asked, Query},
    ids::{BusinessEntityId, MemberId, RoleId},
    names::{self, Name},
    site_tx::Identity,
    sites::UnassignedReach,
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
            .dry(message.validate_only)
            .once(&message.request_id, &message);
        let new = NewMember::read(message.member.unwrap_or_default());
        let answer = super::create(&self.0, context, new, |(member, division), receipt| {
            pb::CreateMemberResponse {
                member: Some(member.into_proto(division)),
                receipt: Some(receipt.into()),
            }
        });
        Ok(Response::new(answer.await?))
    }

    async fn get_member(
        &self,
        request: Request<pb::GetMemberRequest>,
    ) -> Result<Response<pb::GetMemberResponse>, Status> {
        let context = self.0.context(Method::GetMember, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let name = read_ref(message.member.as_ref());
        let read = super::get(&self.0, context, name).await?;
        Ok(Response::new(pb::GetMemberResponse {
            member: Some(read.value.into_proto(read.division)),
            revision: read.revision,
        }))
    }

    async fn batch_get_members(
        &self,
        request: Request<pb::BatchGetMembersRequest>,
    ) -> Result<Response<pb::BatchGetMembersResponse>, Status> {
        let context = self.0.context(Method::BatchGetMembers, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let named = Batch::read("members", message.members, read_named);
        let read = super::get_several(&self.0, context, named).await?;
        let (members, unknown_members) = read.value;
        Ok(Response::new(pb::BatchGetMembersResponse {
            members: shown(members, read.division),
            unknown_members,
            revision: read.revision,
        }))
    }

    async fn list_members(
        &self,
        request: Request<pb::ListMembersRequest>,
    ) -> Result<Response<pb::ListMembersResponse>, Status> {
        let context = self.0.context(Method::ListMembers, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let read = super::list(&self.0, context, read_query(&message)).await?;
        Ok(Response::new(pb::ListMembersResponse {
            members: shown(read.value.rows, read.division),
            total_size: read.value.total,
            next_page_token: read.value.next,
            revision: read.revision,
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

fn shown(members: Vec<Member>, division: Option<UnassignedReach>) -> Vec<pb::Member> {
    members
        .into_iter()
        .map(|member| member.into_proto(division))
        .collect()
}

/// A member as a request names it.
pub(crate) fn read_ref(member: Option<&pb::MemberRef>) -> Result<MemberName, Error> {
    let unnamed = || Error::invalid("member", "must name a member by id or user name");
    read_name(member.ok_or_else(unnamed)?, unnamed)?.ok_or_else(not_found)
}

/// A member as a batch names it.
fn read_named(member: &pb::MemberRef) -> Result<Option<MemberName>, Error> {
    read_name(member, || {
        Error::invalid("members", "must name each member by id or user name")
    })
}

/// None where it can be nobody's.
fn read_name(
    member: &pb::MemberRef,
    unnamed: impl FnOnce() -> Error,
) -> Result<Option<MemberName>, Error> {
    match member.r#ref.as_ref().ok_or_else(unnamed)? {
        pb::member_ref::Ref::Id(id) => Ok(MemberId::parse(id).map(MemberName::Id)),
        pb::member_ref::Ref::UserName(user_name) => {
            Ok(Some(MemberName::UserName(names::lookup_key(user_name))))
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

fn read_query(message: &pb::ListMembersRequest) -> Result<Query, Error> {
    Query::read(&Asked {
        list: "members",
        filter: message.filter.as_ref(),
        order: message.order.as_ref(),
        page_size: message.page_size,
        default_size: wire::PAGE_SIZE_DEFAULT,
        skip: message.skip,
        page_token: &message.page_token,
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
