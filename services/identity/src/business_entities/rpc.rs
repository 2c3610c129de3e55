//! How business entities are asked for over gRPC.

use identity_proto::v1 as pb;
use tonic::{Request, Response, Status};

use super::{BusinessEntity, BusinessEntityChange, NewBusinessEntity};
use crate::{
    authz::Method,
    error::{Error, Kind},
    ids::BusinessEntityId,
    names::{Handle, Name},
    site_tx::Identity,
    wire,
};

/// `identity.v1.BusinessEntityService`.
pub(crate) struct BusinessEntityRpc(pub(crate) Identity);

#[tonic::async_trait]
impl pb::business_entity_service_server::BusinessEntityService for BusinessEntityRpc {
    async fn create_business_entity(
        &self,
        request: Request<pb::CreateBusinessEntityRequest>,
    ) -> Result<Response<pb::CreateBusinessEntityResponse>, Status> {
        let context = self.0.context(Method::CreateBusinessEntity, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only);
        let new = read_new(&message.business_entity.unwrap_or_default());
        let (entity, receipt) = super::create(&self.0, context, new).await?;
        Ok(Response::new(pb::CreateBusinessEntityResponse {
            business_entity: Some(entity.into()),
            receipt: Some(receipt.into()),
        }))
    }

    async fn list_business_entities(
        &self,
        request: Request<pb::ListBusinessEntitiesRequest>,
    ) -> Result<Response<pb::ListBusinessEntitiesResponse>, Status> {
        let context = self.0.context(Method::ListBusinessEntities, &request);
        let message = request.into_inner();
        let entities = super::list(&self.0, context.for_site(message.site.as_ref())).await?;
        Ok(Response::new(pb::ListBusinessEntitiesResponse {
            business_entities: entities.into_iter().map(Into::into).collect(),
        }))
    }

    async fn update_business_entity(
        &self,
        request: Request<pb::UpdateBusinessEntityRequest>,
    ) -> Result<Response<pb::UpdateBusinessEntityResponse>, Status> {
        let context = self.0.context(Method::UpdateBusinessEntity, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only);
        let (entity, receipt) = super::update(&self.0, context, read_change(message)).await?;
        Ok(Response::new(pb::UpdateBusinessEntityResponse {
            business_entity: Some(entity.into()),
            receipt: Some(receipt.into()),
        }))
    }

    async fn delete_business_entity(
        &self,
        request: Request<pb::DeleteBusinessEntityRequest>,
    ) -> Result<Response<pb::DeleteBusinessEntityResponse>, Status> {
        let context = self.0.context(Method::DeleteBusinessEntity, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .dry(message.validate_only);
        let id = wire::id(
            &message.business_entity_id,
            BusinessEntityId::parse,
            Kind::BusinessEntity,
        );
        let ((), receipt) = super::delete(&self.0, context, id).await?;
        Ok(Response::new(pb::DeleteBusinessEntityResponse {
            receipt: Some(receipt.into()),
        }))
    }
}

fn read_new(entity: &pb::BusinessEntity) -> Result<NewBusinessEntity, Error> {
    let handle = (!entity.handle.is_empty())
        .then(|| Handle::parse(&entity.handle))
        .transpose()?;
    Ok(NewBusinessEntity {
        name: Name::named(&entity.name, "name")?,
        handle,
    })
}

fn read_change(message: pb::UpdateBusinessEntityRequest) -> Result<BusinessEntityChange, Error> {
    let paths = wire::mask(message.update_mask.as_ref(), &["name"])?;
    let values = message.values.unwrap_or_default();
    Ok(BusinessEntityChange {
        id: wire::id(
            &message.business_entity_id,
            BusinessEntityId::parse,
            Kind::BusinessEntity,
        )?,
        name: paths
            .contains(&"name")
            .then(|| Name::named(&values.name, "name"))
            .transpose()?,
        if_versions: message.if_versions,
    })
}

impl From<BusinessEntity> for pb::BusinessEntity {
    fn from(entity: BusinessEntity) -> Self {
        Self {
            id: entity.id.to_string(),
            name: entity.name.as_str().to_owned(),
            handle: entity.handle,
            version: entity.version,
            create_time: Some(wire::timestamp(entity.created_at)),
            update_time: Some(wire::timestamp(entity.updated_at)),
        }
    }
}
