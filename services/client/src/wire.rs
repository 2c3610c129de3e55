//! What every call passes on its way out: the token, a deadline, the trace, a span, and another attempt
//! where that is safe.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status, body::Body, transport::Channel};
use tonic_types::StatusExt;
use tower_service::Service;
use tracing::{Instrument, Span, field};

use crate::outgoing::{carry_trace, is_unreachable, is_unsent};

/// How often a read is tried.
const ATTEMPTS: u32 = 3;
/// The longest pause before the next attempt.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The pause where identity names none, before the first repetition.
const PAUSE: Duration = Duration::from_millis(50);
/// The pause before a call that was never sent is sent, the first time; twice as long each time after.
const UNSENT_PAUSE: Duration = Duration::from_millis(5);
/// For how long, from its beginning, a call that was never sent is sent again.
const UNSENT_FOR: Duration = Duration::from_millis(500);
/// By how much two timers of one deadline may differ.
const TICK: Duration = Duration::from_millis(5);
/// gRPC's header for the deadline.
const GRPC_TIMEOUT: &str = "grpc-timeout";

/// A connection with everything that a call needs. The generated clients run on it.
#[derive(Clone)]
pub struct Wire {
    pub(crate) channel: Channel,
    pub(crate) authorization: HeaderValue,
    pub(crate) deadline: Duration,
}

/// Without the token.
impl std::fmt::Debug for Wire {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Wire")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

type Answer = Result<Response<Body>, tonic::transport::Error>;

impl Service<Request<Body>> for Wire {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    /// Always ready: each attempt waits for the connection by itself, within the deadline.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let wire = self.clone();
        let path = request.uri().path().trim_start_matches('/').to_owned();
        let (service, method) = path.split_once('/').unwrap_or((&path, ""));
        let span = tracing::info_span!(
            "rpc.client",
            otel.name = path,
            otel.kind = "client",
            rpc.system = "grpc",
            rpc.service = service,
            rpc.method = method,
            rpc.grpc.status_code = field::Empty,
        );
        let kind = Kind::of(method);
        Box::pin(
            async move {
                let answer = wire.send(kind, request).await;
                let code = match &answer {
                    Ok(response) => refusal(response).map_or(Code::Ok, |status| status.code()),
                    Err(_) => Code::Unavailable,
                };
                Span::current().record("rpc.grpc.status_code", code as i32);
                answer
            }
            .instrument(span),
        )
    }
}

/// What may be done with a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// It may be made again.
    Read,
    /// It may not, but where it was never sent: what was not answered may be done.
    Write,
    /// It lasts as long as it wants.
    Stream,
}

impl Kind {
    /// By the method's name; the contract keeps to these words.
    fn of(method: &str) -> Self {
        let reads = ["Get", "List", "BatchGet", "Check", "BatchCheck", "Explain"];
        if method.starts_with("Watch") {
            Self::Stream
        } else if reads.iter().any(|word| method.starts_with(word)) {
            Self::Read
        } else {
            Self::Write
        }
    }
}

impl Wire {
    async fn send(&self, kind: Kind, mut request: Request<Body>) -> Answer {
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        carry_trace(headers);
        if kind == Kind::Stream {
            return attempt(self.channel.clone(), request).await;
        }
        if headers.contains_key(GRPC_TIMEOUT) {
            // tonic keeps to it.
            return told(self.tried(Kind::Write, None, request).await);
        }
        let deadline = Instant::now() + self.deadline;
        let answer = timeout_at(deadline, self.tried(kind, Some(deadline), request)).await;
        match answer {
            // tonic looks at the same deadline, and calls it a broken connection.
            Ok(Err(_)) if Instant::now() + TICK >= deadline => Ok(late()),
            Ok(answer) => told(answer),
            Err(_elapsed) => Ok(late()),
        }
    }

    /// Sends until there is an answer: what was never sent, and a read until its attempts are used up.
    async fn tried(&self, kind: Kind, deadline: Option<Instant>, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        // A unary request's body is in memory already.
        let message = match body.collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(status) => return Ok(status.into_http()),
        };
        let begun = Instant::now();
        let (mut tried, mut unsent_pause) = (0, UNSENT_PAUSE);
        loop {
            let mut request = Request::from_parts(parts.clone(), whole(message.clone()));
            if let Some(deadline) = deadline {
                set_timeout(&mut request, deadline);
            }
            let answer = attempt(self.channel.clone(), request).await;
            let unsent = answer.as_ref().is_err_and(|error| is_unsent(error));
            let pause = if unsent && begun.elapsed() + unsent_pause < UNSENT_FOR {
                unsent_pause *= 2;
                Some(unsent_pause / 2)
            } else {
                tried += 1;
                pause(&answer, tried).filter(|_| kind == Kind::Read && tried < ATTEMPTS)
            };
            match pause {
                Some(pause) if deadline.is_none_or(|at| Instant::now() + pause < at) => {
                    sleep(pause).await;
                }
                _ => return answer,
            }
        }
    }
}

/// The answer as the caller sees it. tonic calls a connection that broke under a call UNKNOWN; for whoever made the
/// call it is UNAVAILABLE: identity may have done it or not.
fn told(answer: Answer) -> Answer {
    let error = match answer {
        Err(error) if !is_unreachable(&error) => error,
        answer => return answer,
    };
    let status = Status::from_error(Box::new(error));
    let status = match status.code() {
        Code::Unknown => Status::unavailable(format!("the connection broke: {}", status.message())),
        _ => status,
    };
    Ok(status.into_http())
}

fn late() -> Response<Body> {
    Status::deadline_exceeded("no answer within the deadline").into_http()
}

fn whole(message: Bytes) -> Body {
    Body::new(Full::new(message))
}

async fn attempt(mut channel: Channel, request: Request<Body>) -> Answer {
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await?;
    channel.call(request).await
}

fn set_timeout(request: &mut Request<Body>, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    // gRPC takes eight digits: enough for a day in milliseconds.
    let left = left.as_millis().clamp(1, 99_999_999) as u32;
    if let Ok(value) = HeaderValue::from_str(&format!("{left}m")) {
        request.headers_mut().insert(GRPC_TIMEOUT, value);
    }
}

/// The status of a call that failed; it is in the headers. That of a good one is in the trailers.
fn refusal(response: &Response<Body>) -> Option<Status> {
    Status::from_header_map(response.headers()).filter(|status| status.code() != Code::Ok)
}

/// How long to wait before the next attempt; none where another one would not help.
fn pause(answer: &Answer, tried: u32) -> Option<Duration> {
    let asked = match answer {
        // Nobody was there, or the connection was cut.
        Err(_) => None,
        Ok(response) => match refusal(response) {
            Some(status) if status.code() == Code::Unavailable => status
                .get_details_retry_info()
                .and_then(|info| info.retry_delay),
            _ => return None,
        },
    };
    let pause = asked.unwrap_or(PAUSE * 4u32.pow(tried - 1)).min(PAUSE_MAX);
    Some(pause.mul_f64(rand::random_range(0.5..1.0)))
}

#[cfg(test)]
mod tests {
    use identity_proto::FILE_DESCRIPTOR_SET;
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_method_of_the_contract_is_known_by_its_name() {
        let writes = [
            "Create", "Update", "Delete", "Divide", "End", "Issue", "Revoke",
        ];
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let services = set.file.iter().flat_map(|file| &file.service);
        let mut kinds = Vec::new();
        for method in services.flat_map(|service| &service.method) {
            let (name, kind) = (method.name(), Kind::of(method.name()));
            let is_write = writes.iter().any(|word| name.starts_with(word));
            assert_eq!(kind == Kind::Write, is_write, "{name}");
            assert_eq!(kind == Kind::Stream, method.server_streaming(), "{name}");
            kinds.push(kind);
        }
        for kind in [Kind::Read, Kind::Write, Kind::Stream] {
            assert!(kinds.contains(&kind), "{kind:?}");
        }
    }
}
