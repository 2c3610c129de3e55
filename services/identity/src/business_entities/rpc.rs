//! How business entities are asked for over gRPC.

use identity_proto::v1 as pb;
use tonic::{Request, Response, Status};

use super::{BusinessEntity, BusinessEntityChange, BusinessEntityDeletion, NewBusinessEntity};
use crate::{
    authz::Method,
    batch::Batch,
    error::{Error, Kind},
    filter::{Asked, Query},
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
            .dry(message.validate_only)
            .once(&message.request_id, &message);
        let new = read_new(&message.business_entity.unwrap_or_default());
        let answer = super::create(&self.0, context, new, |entity, receipt| {
            pb::CreateBusinessEntityResponse {
                business_entity: Some(entity.into()),
                receipt: Some(receipt.into()),
            }
        });
        Ok(Response::new(answer.await?))
    }

    async fn get_business_entity(
        &self,
        request: Request<pb::GetBusinessEntityRequest>,
    ) -> Result<Response<pb::GetBusinessEntityResponse>, Status> {
        let context = self.0.context(Method::GetBusinessEntity, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let id = wire::id(
            &message.business_entity_id,
            BusinessEntityId::parse,
            Kind::BusinessEntity,
        );
        let (entity, revision) = super::get(&self.0, context, id).await?;
        Ok(Response::new(pb::GetBusinessEntityResponse {
            business_entity: Some(entity.into()),
            revision,
        }))
    }

    async fn batch_get_business_entities(
        &self,
        request: Request<pb::BatchGetBusinessEntitiesRequest>,
    ) -> Result<Response<pb::BatchGetBusinessEntitiesResponse>, Status> {
        let context = self.0.context(Method::BatchGetBusinessEntities, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let named = Batch::read("business_entity_ids", message.business_entity_ids, |id| {
            Ok(BusinessEntityId::parse(id))
        });
        let ((entities, unknown), revision) = super::get_several(&self.0, context, named).await?;
        Ok(Response::new(pb::BatchGetBusinessEntitiesResponse {
            business_entities: entities.into_iter().map(Into::into).collect(),
            unknown_business_entity_ids: unknown,
            revision,
        }))
    }

    async fn list_business_entities(
        &self,
        request: Request<pb::ListBusinessEntitiesRequest>,
    ) -> Result<Response<pb::ListBusinessEntitiesResponse>, Status> {
        let context = self.0.context(Method::ListBusinessEntities, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let (page, revision) = super::list(&self.0, context, read_query(&message)).await?;
        Ok(Response::new(pb::ListBusinessEntitiesResponse {
            business_entities: page.rows.into_iter().map(Into::into).collect(),
            total_size: page.total,
            next_page_token: page.next,
            revision,
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
        let deletion = wire::id(
            &message.business_entity_id,
            BusinessEntityId::parse,
            Kind::BusinessEntity,
        )
        .map(|id| BusinessEntityDeletion {
            id,
            if_versions: message.if_versions,
            end_grants: message.end_grants,
        });
        let ((), receipt) = super::delete(&self.0, context, deletion).await?;
        Ok(Response::new(pb::DeleteBusinessEntityResponse {
            receipt: Some(receipt.into()),
        }))
    }
}

fn read_query(message: &pb::ListBusinessEntitiesRequest) -> Result<Query, Error> {
    Ok(Query::read(&Asked {
        list: "business_entities",
        filter: message.filter.as_ref(),
        order: message.order.as_ref(),
        page_size: message.page_size,
        default_size: wire::WHOLE,
        skip: message.skip,
        page_token: &message.page_token,
    })?
    .by_default("name", false))
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
