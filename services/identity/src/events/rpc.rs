//! How events are asked for over gRPC.

use identity_proto::v1 as pb;
use serde_json::Value;
use tonic::{Request, Response, Status};

use super::{Event, EventQuery};
use crate::{authz::Method, error::Error, site_tx::Identity, wire};

/// `identity.v1.EventService`.
pub(crate) struct EventRpc(pub(crate) Identity);

#[tonic::async_trait]
impl pb::event_service_server::EventService for EventRpc {
    async fn list_events(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        let context = self.0.context(Method::ListEvents, &request);
        let message = request.into_inner();
        let query = read_query(&message);
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let (events, revision) = super::list(&self.0, context, query).await?;
        Ok(Response::new(pb::ListEventsResponse {
            events: events.into_iter().map(Into::into).collect(),
            revision,
        }))
    }
}

fn read_query(message: &pb::ListEventsRequest) -> Result<EventQuery, Error> {
    let limit = wire::page_size(message.page_size, 1, wire::PAGE_SIZE_DEFAULT)?;
    if message.after < 0 {
        return Err(Error::invalid("after", "must not be negative"));
    }
    if message.newest && message.after != 0 {
        return Err(Error::invalid(
            "after",
            "must be 0 where the newest events are asked for",
        ));
    }
    Ok(EventQuery {
        after: message.after,
        limit,
        newest: message.newest,
    })
}

impl From<Event> for pb::Event {
    fn from(event: Event) -> Self {
        let subject_kind = event.kind.split('.').next().unwrap_or_default().to_owned();
        Self {
            number: event.number,
            time: Some(wire::timestamp(event.occurred_at)),
            kind: event.kind,
            actor: Some(pb::Actor {
                credential_id: event
                    .credential
                    .map(|id| id.to_string())
                    .unwrap_or_default(),
                label: event.actor,
            }),
            subject_kind,
            subject_id: event.subject.to_string(),
            trace_id: event.trace_id,
            site_id: event.site.to_string(),
            before: Some(wire::to_struct(event.before)),
            after: Some(wire::to_struct(event.after)),
            access_changes: read_changes(&event.access_changes),
        }
    }
}

fn read_changes(kept: &Value) -> Vec<pb::AccessChange> {
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let ids = |value: &Value, field: &str| -> Vec<String> {
        let ids = value[field]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        ids.iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let changes = kept.as_array().map(Vec::as_slice).unwrap_or_default();
    changes
        .iter()
        .map(|change| {
            let target = pb::NamedRef {
                id: text(change, "id"),
                name: text(change, "name"),
            };
            pb::AccessChange {
                target: Some(pb::AccessTarget {
                    target: Some(match change["kind"].as_str() {
                        Some("role") => pb::access_target::Target::Role(target),
                        _ => pb::access_target::Target::BusinessEntity(target),
                    }),
                }),
                gained_member_ids: ids(change, "gained"),
                lost_member_ids: ids(change, "lost"),
            }
        })
        .collect()
}
