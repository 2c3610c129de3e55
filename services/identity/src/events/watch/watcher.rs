//! One watcher: what it has sent, and what it sends next.

use std::{collections::VecDeque, pin::Pin, time::Duration};

use chrono::Utc;
use futures_util::{Stream, future::OptionFuture, stream};
use identity_proto::v1::{self as pb, watch_events_response::Message};
use identity_runtime::propagation;
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tracing::Span;

use super::{
    FEED_WAIT, Place, Registration, WatchQuery,
    read::{self, Batch, Found, Settled},
    token::Bound,
};
use crate::{
    context::RequestContext,
    db::{Db, Finish},
    error::{Error, TokenFault},
    events::{kinds::Kinds, store::EventRow},
    ids::SiteId,
    observe,
    site_tx::Identity,
};

/// The messages of a watch.
pub(crate) type Watched =
    Pin<Box<dyn Stream<Item = Result<pb::WatchEventsResponse, Status>> + Send>>;

/// How long a watcher that reads on by itself may take for one batch.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// How long it waits after a reading that failed.
const READ_AGAIN: Duration = Duration::from_millis(200);
/// How old what the feed knows may be. After that the watch ends: another process may know more.
const STALE: Duration = Duration::from_secs(3);

/// How long after an event its sending is still put into its trace.
const TRACED_FOR: Duration = Duration::from_secs(10);

pub(super) struct Watcher {
    db: Db,
    context: RequestContext,
    site: Option<SiteId>,
    kinds: Kinds,
    bound: Bound,
    heartbeat: Duration,
    registration: Registration,
    place: Place,
    /// Whether it has to read from the database what the feed had handed out before.
    behind: bool,
    reading: Option<AbortOnDropHandle<Result<Batch, Error>>>,
    /// What it has read so, and not looked at yet.
    read: VecDeque<Found>,
    heartbeat_at: Instant,
    opened: Instant,
    sent: u64,
    /// Why it ends, for the log.
    why: String,
    /// The span of the call, which goes on for as long as the watch; none when it has told how it ended.
    span: Option<Span>,
}

/// What becomes of an event.
enum Offered {
    /// It was sent, or is not asked for.
    Passed,
    /// It is the next to send.
    Next,
    /// It can't be sent before something was read from the database: what lies between, or all of it.
    Behind,
}

impl Watcher {
    pub(super) fn new(
        identity: &Identity,
        context: RequestContext,
        query: WatchQuery,
        site: Option<SiteId>,
        (place, bound): (Place, Bound),
        registration: Registration,
    ) -> Self {
        registration.shared.metrics.behind.inc();
        Self {
            db: identity.db.clone(),
            context,
            site,
            bound,
            kinds: query.kinds,
            heartbeat: query.heartbeat,
            registration,
            place,
            behind: true,
            reading: None,
            read: VecDeque::new(),
            heartbeat_at: Instant::now() + query.heartbeat,
            opened: Instant::now(),
            sent: 0,
            why: "the caller left".to_owned(),
            span: Some(Span::current()),
        }
    }

    pub(super) fn into_stream(self) -> Watched {
        Box::pin(stream::unfold(Some(self), |watcher| {
            Box::pin(async move {
                let mut watcher = watcher?;
                match watcher.next().await {
                    Ok(message) => Some((Ok(message), Some(watcher))),
                    Err(error) => {
                        watcher.why = error.to_string();
                        let status = Status::from(error);
                        watcher.end(Some(&status));
                        Some((Err(status), None))
                    }
                }
            })
        }))
    }

    /// The next message. It is asked for only when the client has room for it.
    async fn next(&mut self) -> Result<pb::WatchEventsResponse, Error> {
        if self.sent == 0 {
            // The first message tells where the watch begins.
            self.wait_for_feed().await?;
            return Ok(self.heartbeat());
        }
        loop {
            self.check()?;
            // The feed also looks whether credentials still work.
            self.check_feed()?;
            if let Some(found) = self.read.pop_front() {
                if let Some(message) = self.offer(&found)? {
                    self.trace_sent(&found, delay_of(&found));
                    return Ok(message);
                }
                continue;
            }
            if self.behind && self.reading.is_none() {
                self.reading = Some(AbortOnDropHandle::new(tokio::spawn(self.batch())));
            }
            if !self.behind && self.registration.queue.is_empty() {
                self.registration.is_caught_up();
            }
            let tick = self.heartbeat_at.min(Instant::now() + STALE);
            tokio::select! {
                biased;
                () = self.registration.shared.stop.cancelled() => self.check()?,
                fault = &mut self.registration.end => return Err(revoked(fault.ok())),
                Some(batch) = OptionFuture::from(self.reading.as_mut()) => {
                    self.reading = None;
                    self.take_over(batch.map_err(|error| Error::Internal(Box::new(error)))?).await?;
                }
                found = self.registration.queue.recv(), if !self.behind => match found {
                    Ok(found) => {
                        if let Some(message) = self.offer(&found)? {
                            let delay = delay_of(&found);
                            // Inside, so that the delay's exemplar is this span.
                            self.trace_sent(&found, delay)
                                .in_scope(|| self.registration.shared.metrics.sent_after(delay));
                            return Ok(message);
                        }
                    }
                    Err(RecvError::Lagged(events)) => {
                        tracing::debug!(events, "a watcher fell behind");
                        self.registration.shared.metrics.lags.inc();
                        self.fall_behind();
                    }
                    Err(RecvError::Closed) => return Err(Error::bug("the queue of events is gone")),
                },
                () = sleep_until(tick) => {
                    self.check_feed()?;
                    if Instant::now() >= self.heartbeat_at {
                        return Ok(self.heartbeat());
                    }
                }
            }
        }
    }

    /// Refuses to go on where the process stops or the credential does not work any more.
    fn check(&mut self) -> Result<(), Error> {
        if self.registration.shared.stop.is_cancelled() {
            return Err(Error::WatchEnded("this process stops"));
        }
        match self.registration.end.try_recv() {
            Ok(fault) => Err(revoked(Some(fault))),
            Err(_none) => Ok(()),
        }
    }

    /// Everything that is committed after this will come through the queue.
    async fn wait_for_feed(&mut self) -> Result<(), Error> {
        self.check()?;
        let mut feed = self.registration.shared.feed.subscribe();
        let runs = tokio::select! {
            () = self.registration.shared.stop.cancelled() => {
                return Err(Error::WatchEnded("this process stops"));
            }
            runs = timeout(FEED_WAIT, feed.wait_for(|state| state.runs)) => runs,
        };
        match runs {
            Ok(Ok(_runs)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::WatchEnded("the database does not answer")),
        }
    }

    /// The message for an event, where it is the next to send; the place moves over it.
    fn offer(&mut self, found: &Found) -> Result<Option<pb::WatchEventsResponse>, Error> {
        let asked_for = self.kinds.include(&found.event.kind);
        let offered = match &mut self.place {
            Place::Site(number) => {
                let of_site = self.site.is_some_and(|site| site.uuid() == found.site);
                if !of_site || found.event.number <= *number {
                    Offered::Passed
                } else if found.event.number > *number + 1 || (asked_for && !found.whole) {
                    Offered::Behind
                } else {
                    *number = found.event.number;
                    if asked_for {
                        Offered::Next
                    } else {
                        Offered::Passed
                    }
                }
            }
            Place::All(cursor) => {
                if cursor.has(found.position) {
                    Offered::Passed
                } else if asked_for && !found.whole {
                    Offered::Behind
                } else if !cursor.take(found.position, found.horizon) {
                    return Err(Error::WatchEnded("too many transactions are open"));
                } else if asked_for {
                    Offered::Next
                } else {
                    Offered::Passed
                }
            }
        };
        match offered {
            Offered::Passed => Ok(None),
            Offered::Next => Ok(Some(self.message(Message::Event(found.event.clone())))),
            Offered::Behind => {
                self.fall_behind();
                Ok(None)
            }
        }
    }

    /// Puts that an event was sent, so long after its moment, into the trace of the request that wrote it: a span
    /// there for each watcher, linked to the watcher's own call. Not of old ones, whose trace is complete for whoever
    /// collects it.
    fn trace_sent(&self, found: &Found, delay: Duration) -> Span {
        let Some((trace_id, span_id)) = &found.written_in else {
            return Span::none();
        };
        if delay > TRACED_FOR {
            return Span::none();
        }
        let span = tracing::info_span!(
            parent: None,
            "watch.send",
            otel.name = "send event to watcher",
            otel.kind = "producer",
            site.domain = found.event.site_domain,
            roster.event.number = found.event.number,
            roster.event.kind = found.event.kind,
            roster.event.delay_ms = delay.as_secs_f64() * 1000.0,
        );
        propagation::continue_kept(&span, trace_id, span_id);
        if let Some(watch) = &self.span {
            propagation::link(&span, watch);
        }
        span
    }

    fn end(&mut self, status: Option<&Status>) {
        if let Some(span) = self.span.take() {
            span.in_scope(|| observe::end_of_watch(status));
        }
    }

    fn fall_behind(&mut self) {
        if !self.behind {
            self.behind = true;
            self.registration.shared.metrics.behind.inc();
        }
    }

    /// Refuses to go on where the feed has heard nothing from the database for a while.
    fn check_feed(&self) -> Result<(), Error> {
        let looked = self.registration.shared.feed.borrow().looked;
        if looked.elapsed() > STALE {
            return Err(Error::WatchEnded("the database does not answer"));
        }
        Ok(())
    }

    /// Takes what was read from the database. A reading that failed is begun again, for as long as the feed
    /// has an answer from it.
    async fn take_over(&mut self, batch: Result<Batch, Error>) -> Result<(), Error> {
        match batch {
            Ok(batch) => {
                self.read = batch.events.into();
                if !batch.more {
                    self.behind = false;
                    self.registration.shared.metrics.behind.dec();
                }
                Ok(())
            }
            Err(error @ Error::Internal(_)) => Err(error),
            Err(_away) => {
                self.check_feed()?;
                sleep(READ_AGAIN).await;
                Ok(())
            }
        }
    }

    /// Reads from the database what comes next. The queue fills meanwhile; what it brings twice is passed
    /// over. A task of its own, because nothing is polled for a client that has no room: it must not keep
    /// its turn then.
    fn batch(&self) -> impl Future<Output = Result<Batch, Error>> + use<> {
        let mut context = self.context.clone();
        let (shared, db) = (self.registration.shared.clone(), self.db.clone());
        let (site, place) = (self.site, self.place.clone());
        async move {
            let _turn = shared.readers.acquire().await;
            context.deadline = std::time::Instant::now() + READ_WITHIN;
            context.grace = Duration::ZERO;
            db.transact(context, site.is_some(), move |tx| {
                let batch = match (&place, site) {
                    (Place::Site(number), Some(site)) => {
                        let rows: Vec<EventRow> = tx.load(read::of_site(site.uuid(), *number))?;
                        read::batch_of_site(rows)
                    }
                    (Place::All(cursor), _) => {
                        let settled: Settled = tx.one(read::settled(None))?;
                        let rows: Vec<EventRow> = tx.load(read::of_all_sites(cursor))?;
                        read::batch_of_all(rows, cursor, settled.horizon)
                    }
                    (Place::Site(_), None) => return Err(Error::bug("a number of no site")),
                };
                Ok((batch, Finish::Rollback))
            })
            .await
        }
    }

    fn heartbeat(&mut self) -> pb::WatchEventsResponse {
        let revision = match self.place {
            Place::Site(number) => Some(number),
            Place::All(_) => None,
        };
        self.message(Message::Heartbeat(pb::WatchHeartbeat { revision }))
    }

    fn message(&mut self, message: Message) -> pb::WatchEventsResponse {
        self.heartbeat_at = Instant::now() + self.heartbeat;
        self.sent += 1;
        pb::WatchEventsResponse {
            message: Some(message),
            resume_token: self.bound.write(&self.place),
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.end(None);
        if self.behind {
            self.registration.shared.metrics.behind.dec();
        }
        tracing::info!(
            opened_in_trace = self.context.trace_id,
            sent = self.sent,
            seconds = self.opened.elapsed().as_secs_f64(),
            why = self.why,
            "watch ended"
        );
    }
}

/// How long ago an event's moment was. It is by the site's clock, which may be ahead of ours.
fn delay_of(found: &Found) -> Duration {
    (Utc::now() - found.occurred_at)
        .to_std()
        .unwrap_or_default()
}

fn revoked(fault: Option<TokenFault>) -> Error {
    Error::Unauthenticated(fault.unwrap_or(TokenFault::Revoked))
}
