//! How events are asked for over gRPC.

use std::time::Duration;

use identity_proto::v1::{self as pb, watch_events_request::Start as AskedStart};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    EventQuery,
    kinds::Kinds,
    watch::{self, Start, WatchQuery, Watched},
};
use crate::{authz::Method, error::Error, members::rpc::read_ref, site_tx::Identity, wire};

/// How many seconds a heartbeat may be asked for.
const HEARTBEAT: std::ops::RangeInclusive<i32> = 1..=60;
/// After how many seconds one comes where nothing was asked.
const HEARTBEAT_DEFAULT: i32 = 5;

/// `identity.v1.EventService`.
pub(crate) struct EventRpc(pub(crate) Identity);

#[tonic::async_trait]
impl pb::event_service_server::EventService for EventRpc {
    type WatchEventsStream = Watched;

    async fn list_events(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        let context = self.0.context(Method::ListEvents, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let page = super::list(&self.0, context, read_query(&message)).await?;
        Ok(Response::new(pb::ListEventsResponse {
            events: page.events.into_iter().map(Into::into).collect(),
            revision: page.revision,
            more: page.more,
        }))
    }

    async fn watch_events(
        &self,
        request: Request<pb::WatchEventsRequest>,
    ) -> Result<Response<Watched>, Status> {
        let context = self.0.context(Method::WatchEvents, &request);
        let message = request.into_inner();
        let context = context.for_site(message.site.as_ref());
        let watched = watch::open(&self.0, context, read_watch(&message)).await?;
        Ok(Response::new(watched))
    }
}

fn read_query(message: &pb::ListEventsRequest) -> Result<EventQuery, Error> {
    let limit = wire::page_size(message.page_size, 1, wire::PAGE_SIZE_DEFAULT)?;
    let after = read_after(message.after)?;
    if message.newest && after != 0 {
        return Err(Error::invalid(
            "after",
            "must be 0 where the newest events are asked for",
        ));
    }
    let id = |text: &str| (!text.is_empty()).then(|| id_or_nobodys(text));
    let member = message.member.as_ref();
    let moment = |at: &Option<prost_types::Timestamp>, field| {
        at.as_ref().map(|at| wire::moment(at, field)).transpose()
    };
    Ok(EventQuery {
        after,
        limit,
        newest: message.newest,
        kinds: Kinds::read(&message.kinds)?,
        subject: id(&message.subject_id),
        member: member.map(|member| read_ref(Some(member))).transpose()?,
        credential: id(&message.actor_credential_id),
        // PostgreSQL can't hold a NUL; it is in nobody's label.
        actor: (!message.actor_label.is_empty())
            .then(|| message.actor_label.replace('\0', "\u{fffd}")),
        from: moment(&message.from_time, "from_time")?,
        to: moment(&message.to_time, "to_time")?,
    })
}

fn read_watch(message: &pb::WatchEventsRequest) -> Result<WatchQuery, Error> {
    let heartbeat = message.heartbeat_seconds.unwrap_or(HEARTBEAT_DEFAULT);
    if !HEARTBEAT.contains(&heartbeat) {
        return Err(Error::invalid(
            "heartbeat_seconds",
            format!(
                "is {heartbeat}; it goes from {} to {}",
                HEARTBEAT.start(),
                HEARTBEAT.end()
            ),
        ));
    }
    Ok(WatchQuery {
        start: match &message.start {
            None => Start::Now,
            Some(AskedStart::After(number)) => Start::After(read_after(*number)?),
            Some(AskedStart::ResumeToken(token)) => Start::Token(token.clone()),
        },
        kinds: Kinds::read(&message.kinds)?,
        heartbeat: Duration::from_secs(heartbeat.unsigned_abs().into()),
    })
}

/// The id that a caller writes; the nil one, which nothing has, where it writes none.
fn id_or_nobodys(text: &str) -> Uuid {
    Uuid::try_parse(text).unwrap_or_default()
}

fn read_after(after: i64) -> Result<i64, Error> {
    if after < 0 {
        return Err(Error::invalid("after", "must not be negative"));
    }
    Ok(after)
}
