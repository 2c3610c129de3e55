//! A watch of events that resumes by itself.

use std::time::Duration;

use identity_proto::v1::{
    Event, WatchEventsRequest, WatchEventsResponse, watch_events_request::Start,
    watch_events_response::Message,
};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status, Streaming};

use crate::{Roster, error::Error};

/// How often identity says that it is there while nothing happens, in seconds.
const HEARTBEAT: i32 = 5;
/// How long nothing may come before the connection counts as broken: three heartbeats and a little.
const SILENCE: Duration = Duration::from_secs(16);
/// The first and the longest pause before another attempt, where identity names none.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Where a watch begins.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum From {
    /// With what happens from now on.
    #[default]
    Now,
    /// With the first event there is.
    Beginning,
    /// After what was handled when this token was kept ([`Watch::token`]).
    Token(String),
}

/// The events of a site, or of all sites: each once, those of one site in the order of their numbers,
/// however often the connection breaks or identity restarts.
#[derive(Debug)]
pub struct Watch {
    roster: Roster,
    kinds: Vec<String>,
    from: From,
    stream: Option<Streaming<WatchEventsResponse>>,
    /// Where the watch stands with the last message that was handed out.
    token: String,
    attempts: u32,
    /// Whether identity has ever answered.
    reached: bool,
    /// Since when attempts have failed, while it has not.
    failing: Option<Instant>,
}

impl Roster {
    /// Follows events: of the site that was named, or of a site's own credential; of all sites where a
    /// credential of all of them names none. Only those of these kinds (`member.created`, `member.*`); of every
    /// kind where none is named. The credential needs the scope `watch`.
    #[must_use]
    pub fn watch(&self, from: From, kinds: &[&str]) -> Watch {
        Watch {
            roster: self.clone(),
            kinds: kinds.iter().map(|&kind| kind.to_owned()).collect(),
            token: match &from {
                From::Token(token) => token.clone(),
                From::Now | From::Beginning => String::new(),
            },
            from,
            stream: None,
            attempts: 0,
            reached: false,
            failing: None,
        }
    }
}

impl Watch {
    /// For how long a watch that identity has never answered is tried before [`Watch::next`] says so.
    pub const REACHED_WITHIN: Duration = Duration::from_secs(15);

    /// The next event, as soon as there is one. Broken connections, restarts and failovers are waited out, for as
    /// long as they last. May be given up at any time (in `tokio::select!`) and called again: nothing is lost.
    ///
    /// # Errors
    /// What another attempt would not mend: a credential that is revoked or lacks the scope, a token of another
    /// watch, a wrong kind. And [`Error::Unreachable`] where identity has not answered this watch once, and not
    /// within [`Watch::REACHED_WITHIN`]: a wrong address looks like an identity that has not started yet, so whoever
    /// starts first logs it and calls again, which tries for as long again. The watch stays where it was.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            let message = match self.message().await {
                Ok(message) => message,
                Err(status) => {
                    self.stream = None;
                    let error = Error::from(status);
                    if !is_passing(&error) {
                        return Err(error);
                    }
                    if self.is_out_of_reach(&error) {
                        self.failing = None;
                        return Err(error.into_unreachable());
                    }
                    self.pause(error.retry_after()).await;
                    continue;
                }
            };
            self.attempts = 0;
            self.reached = true;
            self.token = message.resume_token;
            if let Some(Message::Event(event)) = message.message {
                return Ok(event);
            }
        }
    }

    /// Where the watch stands: keep it together with what you made of the events, and begin with it
    /// ([`From::Token`]) after a restart of your own. Empty until the first message has come.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The next message, of a stream that is opened where there is none.
    async fn message(&mut self) -> Result<WatchEventsResponse, Status> {
        if self.stream.is_none() {
            let request = self.request();
            let mut client = self.roster.events();
            let opened = timeout(SILENCE, client.watch_events(request)).await;
            let opened = opened.map_err(|_| Status::unavailable("no answer to the watch"))?;
            self.stream = Some(opened?.into_inner());
        }
        let Some(stream) = &mut self.stream else {
            return Err(Status::unavailable("no stream"));
        };
        match timeout(SILENCE, stream.message()).await {
            Ok(Ok(Some(message))) => Ok(message),
            Ok(Ok(None)) => Err(Status::unavailable("the watch ended")),
            Ok(Err(status)) => Err(status),
            Err(_silent) => Err(Status::unavailable("no heartbeat came")),
        }
    }

    /// Whether identity was never there, for too long. A refusal with a reason comes from nobody else.
    fn is_out_of_reach(&mut self, error: &Error) -> bool {
        self.reached |= error.reason().is_some();
        let failing = *self.failing.get_or_insert_with(Instant::now);
        !self.reached && failing.elapsed() >= Self::REACHED_WITHIN
    }

    fn request(&self) -> WatchEventsRequest {
        let start = match &self.from {
            _ if !self.token.is_empty() => Some(Start::ResumeToken(self.token.clone())),
            From::Beginning => Some(Start::After(0)),
            From::Now | From::Token(_) => None,
        };
        WatchEventsRequest {
            site: self.roster.site(),
            start,
            kinds: self.kinds.clone(),
            heartbeat_seconds: Some(HEARTBEAT),
        }
    }

    async fn pause(&mut self, asked: Option<Duration>) {
        let own = PAUSE * 2u32.pow(self.attempts.min(7));
        self.attempts += 1;
        let pause = asked.unwrap_or(own).min(PAUSE_MAX);
        sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
    }
}

/// Whether another attempt may go better.
fn is_passing(error: &Error) -> bool {
    match error.code() {
        Some(Code::Unavailable | Code::DeadlineExceeded | Code::Aborted) => true,
        // A connection that broke in the middle of a message, or was closed over it.
        Some(Code::Unknown | Code::Internal | Code::Cancelled) => error.reason().is_none(),
        Some(Code::ResourceExhausted) => error.retry_after().is_some(),
        _ => false,
    }
}
