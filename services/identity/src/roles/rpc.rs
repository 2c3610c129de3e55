//! How roles are asked for over gRPC.

use identity_proto::v1 as pb;
use tonic::{Request, Response, Status};

use super::{NewRole, Permission, Role, RoleChange, RoleDeletion};
use crate::{
    authz::Method,
    batch::Batch,
    error::{Error, Kind},
    filter::{Asked, Query},
    ids::RoleId,
    names::Name,
    site_tx::Identity,
    wire,
};

/// `identity.v1.RoleService`.
pub(crate) struct RoleRpc(pub(crate) Identity);

#[tonic::async_trait]
impl pb::role_service_server::RoleService for RoleRpc {
    async fn create_role(
        &self,
        request: Request<pb::CreateRoleRequest>,
    ) -> Result<Response<pb::CreateRoleResponse>, Status> {
        let context = self.0.context(Method::CreateRole, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only)
            .once(&message.request_id, &message);
        let new = read_new(message.role.unwrap_or_default());
        let answer = super::create(&self.0, context, new, |role, receipt| {
            pb::CreateRoleResponse {
                role: Some(role.into()),
                receipt: Some(receipt.into()),
            }
        });
        Ok(Response::new(answer.await?))
    }

    async fn get_role(
        &self,
        request: Request<pb::GetRoleRequest>,
    ) -> Result<Response<pb::GetRoleResponse>, Status> {
        let context = self.0.context(Method::GetRole, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let id = wire::id(&message.role_id, RoleId::parse, Kind::Role);
        let (role, revision) = super::get(&self.0, context, id).await?;
        Ok(Response::new(pb::GetRoleResponse {
            role: Some(role.into()),
            revision,
        }))
    }

    async fn batch_get_roles(
        &self,
        request: Request<pb::BatchGetRolesRequest>,
    ) -> Result<Response<pb::BatchGetRolesResponse>, Status> {
        let context = self.0.context(Method::BatchGetRoles, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let named = Batch::read("role_ids", message.role_ids, |id| Ok(RoleId::parse(id)));
        let ((roles, unknown), revision) = super::get_several(&self.0, context, named).await?;
        Ok(Response::new(pb::BatchGetRolesResponse {
            roles: roles.into_iter().map(Into::into).collect(),
            unknown_role_ids: unknown,
            revision,
        }))
    }

    async fn list_roles(
        &self,
        request: Request<pb::ListRolesRequest>,
    ) -> Result<Response<pb::ListRolesResponse>, Status> {
        let context = self.0.context(Method::ListRoles, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let (page, revision) = super::list(&self.0, context, read_query(&message)).await?;
        Ok(Response::new(pb::ListRolesResponse {
            roles: page.rows.into_iter().map(Into::into).collect(),
            total_size: page.total,
            next_page_token: page.next,
            revision,
        }))
    }

    async fn update_role(
        &self,
        request: Request<pb::UpdateRoleRequest>,
    ) -> Result<Response<pb::UpdateRoleResponse>, Status> {
        let context = self.0.context(Method::UpdateRole, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only);
        let (role, receipt) = super::update(&self.0, context, read_change(message)).await?;
        Ok(Response::new(pb::UpdateRoleResponse {
            role: Some(role.into()),
            receipt: Some(receipt.into()),
        }))
    }

    async fn delete_role(
        &self,
        request: Request<pb::DeleteRoleRequest>,
    ) -> Result<Response<pb::DeleteRoleResponse>, Status> {
        let context = self.0.context(Method::DeleteRole, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only);
        let deletion =
            wire::id(&message.role_id, RoleId::parse, Kind::Role).map(|id| RoleDeletion {
                id,
                if_versions: message.if_versions,
                end_grants: message.end_grants,
            });
        let ((), receipt) = super::delete(&self.0, context, deletion).await?;
        Ok(Response::new(pb::DeleteRoleResponse {
            receipt: Some(receipt.into()),
        }))
    }

    async fn list_permissions(
        &self,
        request: Request<pb::ListPermissionsRequest>,
    ) -> Result<Response<pb::ListPermissionsResponse>, Status> {
        let context = self.0.context(Method::ListPermissions, &request);
        let permissions = super::permissions(&self.0, context).await?;
        Ok(Response::new(pb::ListPermissionsResponse {
            permissions: permissions.into_iter().map(Into::into).collect(),
        }))
    }
}

fn sorted(mut permissions: Vec<String>) -> Vec<String> {
    for permission in &mut permissions {
        // PostgreSQL can't hold a NUL; it is in no permission's name.
        *permission = permission.replace('\0', "\u{fffd}");
    }
    permissions.sort_unstable();
    permissions.dedup();
    permissions
}

fn read_query(message: &pb::ListRolesRequest) -> Result<Query, Error> {
    Ok(Query::read(&Asked {
        list: "roles",
        filter: message.filter.as_ref(),
        order: message.order.as_ref(),
        page_size: message.page_size,
        default_size: wire::WHOLE,
        skip: message.skip,
        page_token: &message.page_token,
    })?
    .by_default("name", false))
}

fn read_new(role: pb::Role) -> Result<NewRole, Error> {
    Ok(NewRole {
        name: Name::named(&role.name, "name")?,
        permissions: sorted(role.permissions),
    })
}

fn read_change(message: pb::UpdateRoleRequest) -> Result<RoleChange, Error> {
    let paths = wire::mask(message.update_mask.as_ref(), &["name", "permissions"])?;
    let values = message.values.unwrap_or_default();
    Ok(RoleChange {
        id: wire::id(&message.role_id, RoleId::parse, Kind::Role)?,
        name: paths
            .contains(&"name")
            .then(|| Name::named(&values.name, "name"))
            .transpose()?,
        permissions: paths
            .contains(&"permissions")
            .then(|| sorted(values.permissions)),
        if_versions: message.if_versions,
    })
}

impl From<Permission> for pb::Permission {
    fn from(permission: Permission) -> Self {
        Self {
            name: permission.name,
            description: permission.description,
            built_in_roles: permission.built_in_roles,
        }
    }
}

impl From<Role> for pb::Role {
    fn from(role: Role) -> Self {
        Self {
            id: role.id.to_string(),
            name: role.name.as_str().to_owned(),
            built_in: role.built_in,
            permissions: role.permissions,
            version: role.version,
            create_time: Some(wire::timestamp(role.created_at)),
            update_time: Some(wire::timestamp(role.updated_at)),
        }
    }
}
