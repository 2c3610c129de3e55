//! A client that watches events.

use std::time::Duration;

use identity_proto::v1::{
    self as pb, event_service_client::EventServiceClient, watch_events_request::Start,
    watch_events_response::Message,
};
use roster_stack::grpc::Caller;
use tonic::{Status, Streaming};

/// How long a message may take to come, when one is due.
const PATIENCE: Duration = Duration::from_secs(15);

/// An open watch.
#[derive(Debug)]
pub struct Watch {
    stream: Streaming<pb::WatchEventsResponse>,
    /// The token of the last message.
    pub token: String,
    /// What the last heartbeat said.
    pub revision: Option<i64>,
}

/// Opens a watch and takes its first message, which is a heartbeat.
pub async fn watch(caller: &Caller, request: pb::WatchEventsRequest) -> Result<Watch, Status> {
    let mut request = caller.request(request);
    request.metadata_mut().remove("grpc-timeout");
    let mut client = EventServiceClient::new(caller.channel()).max_decoding_message_size(64 << 20);
    let stream = client.watch_events(request).await?.into_inner();
    let mut watch = Watch {
        stream,
        token: String::new(),
        revision: None,
    };
    let first = watch.message().await?;
    assert!(matches!(first, Message::Heartbeat(_)), "{first:?}");
    Ok(watch)
}

/// A watch of what happens from now on.
pub async fn watch_from_now(caller: &Caller) -> Watch {
    watch(caller, pb::WatchEventsRequest::default())
        .await
        .unwrap()
}

/// A request to go on after a token.
pub fn resume(token: &str) -> pb::WatchEventsRequest {
    pb::WatchEventsRequest {
        start: Some(Start::ResumeToken(token.to_owned())),
        ..Default::default()
    }
}

/// A request to begin after the event of a number.
pub fn after(number: i64) -> pb::WatchEventsRequest {
    pb::WatchEventsRequest {
        start: Some(Start::After(number)),
        ..Default::default()
    }
}

impl Watch {
    /// The next message; the end of the watch where it comes first.
    pub async fn message(&mut self) -> Result<Message, Status> {
        let message = tokio::time::timeout(PATIENCE, self.stream.message())
            .await
            .expect("a message in time")?
            .expect("a watch ends with a status");
        self.token = message.resume_token;
        let message = message.message.expect("an event or a heartbeat");
        if let Message::Heartbeat(heartbeat) = &message {
            self.revision = heartbeat.revision;
        }
        Ok(message)
    }

    /// The next event, which must come before many heartbeats do.
    pub async fn next(&mut self) -> Result<pb::Event, Status> {
        let event = async {
            loop {
                if let Message::Event(event) = self.message().await? {
                    return Ok(event);
                }
            }
        };
        tokio::time::timeout(PATIENCE, event)
            .await
            .expect("an event in time")
    }

    /// The numbers of the next events.
    pub async fn numbers(&mut self, count: usize) -> Vec<i64> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(self.next().await.unwrap().number);
        }
        numbers
    }

    /// How the watch ends; no event may come before.
    pub async fn end(&mut self) -> Status {
        loop {
            match self.message().await {
                Ok(Message::Heartbeat(_)) => {}
                Ok(event) => panic!("{event:?}"),
                Err(status) => return status,
            }
        }
    }

    /// Nothing but heartbeats comes for so long.
    pub async fn is_quiet(&mut self, time: Duration) {
        let quiet = async {
            loop {
                if let Message::Event(event) = self.message().await.unwrap() {
                    return event;
                }
            }
        };
        if let Ok(event) = tokio::time::timeout(time, quiet).await {
            panic!("{event:?}");
        }
    }
}
