//! `rosterctl events tail`

use std::{fs, io, path::Path, time::Duration};

use identity_proto::v1::{
    Event, GetCallerRequest, WatchEventsRequest, WatchEventsResponse,
    credential_service_client::CredentialServiceClient, event_service_client::EventServiceClient,
    watch_events_request::Start, watch_events_response::Message,
};
use serde_json::json;
use tonic::{Status, Streaming};
use tonic_types::StatusExt;

use super::{Tail, whom::Names};
use crate::{
    arguments::Output,
    commands::{LARGEST_ANSWER, Outcome, answer, write_out},
    connection::{Purpose, Settings, is_away},
    failure::Failure,
    json, show,
};

/// After how many seconds without an event identity says that the watch stands.
const HEARTBEAT: i32 = 5;
/// How long nothing may come before the connection counts as broken.
const SILENCE: Duration = Duration::from_secs(15);
/// How long to wait before the watch goes on where identity does not say; twice as long each time.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest of those pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(super) async fn run(settings: &Settings, command: Tail) -> Result<Outcome, Failure> {
    if command.all_sites {
        check_speaks_for_all(settings).await?;
    }
    let kept = command
        .state
        .as_deref()
        .map(read_state)
        .transpose()?
        .flatten();
    let mut start = match (kept, command.after) {
        (Some(token), after) => {
            if let (Some(after), Some(file)) = (after, &command.state) {
                eprintln!(
                    "going on from where {} says, not after {after}",
                    file.display()
                );
            }
            Some(Start::ResumeToken(token))
        }
        (None, after) => after.map(Start::After),
    };
    let mut names = Names::default();
    let mut printed = 0;
    let mut pause = PAUSE;
    // Until the first message nothing shows that the request is right and identity there.
    let mut began = false;
    loop {
        let ended = match open(settings, &command, start.clone()).await? {
            Err(status) => status,
            Ok(mut stream) => loop {
                let message = match next(&mut stream).await {
                    Ok(message) => message,
                    Err(status) => break status,
                };
                (began, pause) = (true, PAUSE);
                if let Some(Message::Event(event)) = &message.message {
                    if settings.output == Output::Table {
                        names.learn(settings, std::slice::from_ref(event)).await;
                    }
                    let line = line(settings, event, &names, &message.resume_token);
                    if !write_out(line.as_bytes())? {
                        return Ok(Outcome::Done);
                    }
                    printed += 1;
                }
                // Only after it was printed: rather twice than not at all where this process is killed.
                if let Some(file) = &command.state {
                    write_state(file, &message.resume_token)?;
                }
                start = Some(Start::ResumeToken(message.resume_token));
                if command.limit.is_some_and(|limit| printed >= limit) {
                    return Ok(Outcome::Done);
                }
            },
        };
        if !began || !is_away(&ended) {
            let failure = Failure::of_call(settings.addr(), &ended);
            return Err(match &command.state {
                Some(file) if failure.is("RESUME_TOKEN_INVALID") => failure.beside(&format!(
                    "{} says where to go on, and holds for the same --kind, site and database only: give the kinds \
                     that it was written with, or begin anew with another file",
                    file.display()
                )),
                _ => failure,
            });
        }
        let asked = ended
            .get_details_retry_info()
            .and_then(|info| info.retry_delay);
        tokio::time::sleep(asked.unwrap_or(pause).min(LONGEST_PAUSE)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Refuses a token of one site: a watch with it that names none would follow that one, and look as if nothing
/// happened elsewhere.
async fn check_speaks_for_all(settings: &Settings) -> Result<(), Failure> {
    let request = settings.request(Purpose::Work, GetCallerRequest::default())?;
    let mut client = CredentialServiceClient::new(settings.channel()?);
    let caller = answer(settings, client.get_caller(request).await)?;
    match caller.credential {
        Some(credential) if !credential.site_id.is_empty() => Err(Failure::token(format!(
            "--all-sites takes a token of all sites, and this one speaks for the site {} only",
            caller.site.unwrap_or_default().domain
        ))),
        _ => Ok(()),
    }
}

/// Begins to watch, or goes on.
async fn open(
    settings: &Settings,
    command: &Tail,
    start: Option<Start>,
) -> Result<Result<Streaming<WatchEventsResponse>, Status>, Failure> {
    let request = WatchEventsRequest {
        site: if command.all_sites {
            None
        } else {
            settings.site()
        },
        kinds: command.kinds.clone(),
        heartbeat_seconds: Some(HEARTBEAT),
        start,
    };
    let request = settings.request_of_any_length(Purpose::Work, request)?;
    let mut client =
        EventServiceClient::new(settings.channel()?).max_decoding_message_size(LARGEST_ANSWER);
    let opened = tokio::time::timeout(SILENCE, client.watch_events(request)).await;
    Ok(opened
        .unwrap_or_else(|_| Err(silent()))
        .map(tonic::Response::into_inner))
}

/// The next message; a stream that ends or falls silent is broken.
async fn next(stream: &mut Streaming<WatchEventsResponse>) -> Result<WatchEventsResponse, Status> {
    match tokio::time::timeout(SILENCE, stream.message()).await {
        Ok(Ok(Some(message))) => Ok(message),
        Ok(Ok(None)) => Err(Status::unavailable("the stream ended")),
        Ok(Err(status)) => Err(status),
        Err(_) => Err(silent()),
    }
}

fn silent() -> Status {
    Status::unavailable("nothing came for a while")
}

fn line(settings: &Settings, event: &Event, names: &Names, resume_token: &str) -> String {
    if settings.output == Output::Json {
        let mut object = json::event(event);
        object["resume_token"] = json!(resume_token);
        return format!("{object}\n");
    }
    let actor = event.actor.clone().unwrap_or_default();
    let mut line = format!(
        "{}  {} {}  {}  {}  by {}",
        show::time(event.time.as_ref()),
        event.site_domain,
        event.number,
        event.kind,
        names.whom(event),
        show::text(&actor.label),
    );
    if event.gained > 0 || event.lost > 0 {
        line.push_str(&format!("  gained {}, lost {}", event.gained, event.lost));
    }
    if !event.trace_id.is_empty() {
        line.push_str(&format!("  trace {}", event.trace_id));
    }
    line.push('\n');
    line
}

fn read_state(file: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|token| !token.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(of_file(file, &error)),
    }
}

/// Keeps a token so that there is always a whole one.
fn write_state(file: &Path, token: &str) -> Result<(), Failure> {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    fs::write(&part, token)
        .and_then(|()| fs::rename(&part, file))
        .map_err(|error| of_file(file, &error))
}

fn of_file(file: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{}: {error}", file.display()))
}
