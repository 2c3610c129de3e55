//! How roles are asked for over gRPC.

use identity_proto::v1 as pb;
use tonic::{Request, Response, Status};

use super::{NewRole, Role, RoleChange};
use crate::{
    authz::Method,
    error::{Error, Kind},
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
            .dry(message.validate_only);
        let new = read_new(message.role.unwrap_or_default());
        let (role, receipt) = super::create(&self.0, context, new).await?;
        Ok(Response::new(pb::CreateRoleResponse {
            role: Some(role.into()),
            receipt: Some(receipt.into()),
        }))
    }

    async fn list_roles(
        &self,
        request: Request<pb::ListRolesRequest>,
    ) -> Result<Response<pb::ListRolesResponse>, Status> {
        let context = self.0.context(Method::ListRoles, &request);
        let message = request.into_inner();
        let roles = super::list(&self.0, context.for_site(message.site.as_ref())).await?;
        Ok(Response::new(pb::ListRolesResponse {
            roles: roles.into_iter().map(Into::into).collect(),
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
        let id = wire::id(&message.role_id, RoleId::parse, Kind::Role);
        let ((), receipt) = super::delete(&self.0, context, id).await?;
        Ok(Response::new(pb::DeleteRoleResponse {
            receipt: Some(receipt.into()),
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
