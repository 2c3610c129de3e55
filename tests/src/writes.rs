//! What tests ask identity to write, and how they look at a refusal.

use identity_proto::{ERROR_DOMAIN, v1 as pb};
use prost_types::FieldMask;
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;

use crate::rpc::Rpc;

/// A mask of these paths.
pub fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    })
}

/// A member to make: active, with a given and a family name.
pub fn member(user_name: &str) -> pb::Member {
    let name = pb::PersonName {
        given_name: "Given".to_owned(),
        family_name: "Family".to_owned(),
        ..Default::default()
    };
    let profile = pb::MemberProfile {
        name: Some(name),
        ..Default::default()
    };
    pb::Member {
        user_name: user_name.to_owned(),
        active: true,
        profile: Some(profile),
        ..Default::default()
    }
}

/// A trace id that nobody else has.
pub fn new_trace_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// A request that continues a trace.
pub fn traced<T>(mut request: Request<T>, trace_id: &str) -> Request<T> {
    let parent = format!("00-{trace_id}-00f067aa0ba902b7-01");
    request
        .metadata_mut()
        .insert("traceparent", parent.parse().unwrap());
    request
}

/// The reason and the metadata of a refusal, which must be of this code and whole: of our domain and of a
/// reason that the contract has.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(
    outcome: Result<T, Status>,
    code: Code,
) -> (String, std::collections::HashMap<String, String>) {
    let status = outcome.expect_err("a refusal");
    assert_eq!(status.code(), code, "{status:?}");
    let info = status
        .get_details_error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, ERROR_DOMAIN);
    let name = format!("ERROR_REASON_{}", info.reason);
    assert!(
        pb::ErrorReason::from_str_name(&name).is_some(),
        "{} is in no contract",
        info.reason
    );
    (info.reason, info.metadata)
}

/// Like [`refused`], where only the reason matters.
#[track_caller]
pub fn reason<T: std::fmt::Debug>(outcome: Result<T, Status>, code: Code) -> String {
    refused(outcome, code).0
}

impl Rpc {
    /// Makes a member.
    pub async fn create_member(
        &self,
        member: pb::Member,
    ) -> Result<pb::CreateMemberResponse, Status> {
        let request = pb::CreateMemberRequest {
            site: self.site.clone(),
            member: Some(member),
            validate_only: false,
            ..Default::default()
        };
        let request = self.caller.request(request);
        let answer = self.caller.members().create_member(request).await;
        answer.map(Response::into_inner)
    }

    /// Makes a member and answers with its id.
    pub async fn make_member(&self, user_name: &str) -> String {
        let made = self.create_member(member(user_name)).await.unwrap();
        made.member.unwrap().id
    }

    /// Reads a member.
    pub async fn get_member(&self, member: Option<pb::MemberRef>) -> Result<pb::Member, Status> {
        let request = pb::GetMemberRequest {
            site: self.site.clone(),
            member,
            ..Default::default()
        };
        let request = self.caller.request(request);
        let answer = self.caller.members().get_member(request).await?;
        Ok(answer.into_inner().member.unwrap())
    }

    /// Changes a member.
    pub async fn update_member(
        &self,
        id: &str,
        values: pb::Member,
        paths: &[&str],
    ) -> Result<pb::UpdateMemberResponse, Status> {
        let request = pb::UpdateMemberRequest {
            site: self.site.clone(),
            member_id: id.to_owned(),
            values: Some(values),
            update_mask: mask(paths),
            ..Default::default()
        };
        let request = self.caller.request(request);
        let answer = self.caller.members().update_member(request).await;
        answer.map(Response::into_inner)
    }

    /// Activates or deactivates a member.
    pub async fn set_active(
        &self,
        id: &str,
        active: bool,
    ) -> Result<pb::UpdateMemberResponse, Status> {
        let values = pb::Member {
            active,
            ..Default::default()
        };
        self.update_member(id, values, &["active"]).await
    }

    /// Deletes a member.
    pub async fn delete_member(&self, id: &str) -> Result<pb::DeleteMemberResponse, Status> {
        let request = pb::DeleteMemberRequest {
            site: self.site.clone(),
            member_id: id.to_owned(),
            ..Default::default()
        };
        let request = self.caller.request(request);
        let answer = self.caller.members().delete_member(request).await;
        answer.map(Response::into_inner)
    }

    /// Makes a custom role.
    pub async fn create_role(
        &self,
        name: &str,
        permissions: &[&str],
    ) -> Result<pb::CreateRoleResponse, Status> {
        let role = pb::Role {
            name: name.to_owned(),
            permissions: permissions.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        let request = pb::CreateRoleRequest {
            site: self.site.clone(),
            role: Some(role),
            validate_only: false,
            ..Default::default()
        };
        let request = self.caller.request(request);
        let answer = self.caller.roles().create_role(request).await;
        answer.map(Response::into_inner)
    }

    /// All roles.
    pub async fn list_roles(&self) -> Vec<pb::Role> {
        let request = pb::ListRolesRequest {
            site: self.site.clone(),
            ..Default::default()
        };
        let request = self.caller.request(request);
        let answer = self.caller.roles().list_roles(request).await;
        answer.unwrap().into_inner().roles
    }

    /// Changes a role.
    pub async fn update_role(
        &self,
        id: &str,
        values: pb::Role,
        paths: &[&str],
    ) -> Result<pb::UpdateRoleResponse, Status> {
        let request = pb::UpdateRoleRequest {
            site: self.site.clone(),
            role_id: id.to_owned(),
            values: Some(values),
            update_mask: mask(paths),
            ..Default::default()
        };
        let request = self.caller.request(request);
        let answer = self.caller.roles().update_role(request).await;
        answer.map(Response::into_inner)
    }

    /// Deletes a role.
    pub async fn delete_role(&self, id: &str) -> Result<pb::DeleteRoleResponse, Status> {
        let request = pb::DeleteRoleRequest {
            site: self.site.clone(),
            role_id: id.to_owned(),
            validate_only: false,
            ..Default::default()
        };
        let request = self.caller.request(request);
        let answer = self.caller.roles().delete_role(request).await;
        answer.map(Response::into_inner)
    }

    /// Makes a business entity.
    pub async fn create_entity(
        &self,
        name: &str,
        handle: &str,
    ) -> Result<pb::CreateBusinessEntityResponse, Status> {
        let entity = pb::BusinessEntity {
            name: name.to_owned(),
            handle: handle.to_owned(),
            ..Default::default()
        };
        let request = pb::CreateBusinessEntityRequest {
            site: self.site.clone(),
            business_entity: Some(entity),
            validate_only: false,
            ..Default::default()
        };
        let request = self.caller.request(request);
        let mut client = self.caller.business_entities();
        let answer = client.create_business_entity(request).await;
        answer.map(Response::into_inner)
    }

    /// All business entities.
    pub async fn list_entities(&self) -> Vec<pb::BusinessEntity> {
        let request = pb::ListBusinessEntitiesRequest {
            site: self.site.clone(),
            ..Default::default()
        };
        let request = self.caller.request(request);
        let mut client = self.caller.business_entities();
        let answer = client.list_business_entities(request).await;
        answer.unwrap().into_inner().business_entities
    }

    /// Changes a business entity.
    pub async fn update_entity(
        &self,
        id: &str,
        values: pb::BusinessEntity,
        paths: &[&str],
    ) -> Result<pb::UpdateBusinessEntityResponse, Status> {
        let request = pb::UpdateBusinessEntityRequest {
            site: self.site.clone(),
            business_entity_id: id.to_owned(),
            values: Some(values),
            update_mask: mask(paths),
            ..Default::default()
        };
        let request = self.caller.request(request);
        let mut client = self.caller.business_entities();
        let answer = client.update_business_entity(request).await;
        answer.map(Response::into_inner)
    }

    /// Deletes a business entity.
    pub async fn delete_entity(
        &self,
        id: &str,
    ) -> Result<pb::DeleteBusinessEntityResponse, Status> {
        let request = pb::DeleteBusinessEntityRequest {
            site: self.site.clone(),
            business_entity_id: id.to_owned(),
            validate_only: false,
            ..Default::default()
        };
        let request = self.caller.request(request);
        let mut client = self.caller.business_entities();
        let answer = client.delete_business_entity(request).await;
        answer.map(Response::into_inner)
    }

    /// Reads the site.
    pub async fn get_site(&self) -> pb::Site {
        let request = pb::GetSiteRequest {
            site: self.site.clone(),
            ..Default::default()
        };
        let request = self.caller.request(request);
        let answer = self.caller.sites().get_site(request).await;
        answer.unwrap().into_inner().site.unwrap()
    }

    /// Changes settings of the site.
    pub async fn update_site(
        &self,
        values: pb::Site,
        paths: &[&str],
    ) -> Result<pb::UpdateSiteResponse, Status> {
        let request = pb::UpdateSiteRequest {
            site: self.site.clone(),
            values: Some(values),
            update_mask: mask(paths),
            ..Default::default()
        };
        let request = self.caller.request(request);
        let answer = self.caller.sites().update_site(request).await;
        answer.map(Response::into_inner)
    }

    /// Divides the site.
    pub async fn divide(&self, reach: pb::Reach) -> Result<pb::DivideSiteResponse, Status> {
        let request = pb::DivideSiteRequest {
            site: self.site.clone(),
            unassigned_reach: reach.into(),
            validate_only: false,
        };
        let request = self.caller.request(request);
        let answer = self.caller.sites().divide_site(request).await;
        answer.map(Response::into_inner)
    }
}
