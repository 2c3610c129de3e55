//! `rosterctl events`

mod tail;
mod whom;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use identity_proto::v1::{Event, ListEventsRequest, event_service_client::EventServiceClient};
use prost_types::Timestamp;
use serde_json::json;

use self::whom::Names;
use super::{LARGEST_ANSWER, Outcome, answer, named::member, print};
use crate::{
    arguments::{Output, parse_moment},
    connection::{Purpose, Settings},
    failure::Failure,
    json, show,
};

/// The record of every change.
#[derive(Debug, Subcommand)]
pub(crate) enum Events {
    /// List events, oldest first: the newest ones, or those after a number
    #[command(after_help = "\
Examples:
  rosterctl --site acme events list --limit 20
  rosterctl --site acme events list --kind 'grant.*' --member ann@acme.example
  rosterctl --site acme events list --actor Okta --from 2026-10-01T00:00:00Z --to 2026-10-02T00:00:00Z
  rosterctl --site acme --output json events list --after 1200")]
    List(#[command(flatten)] Box<List>),
    /// Follow events as they happen, until interrupted; goes on by itself where a connection breaks
    #[command(
        long_about = "\
Follow events as they happen, until interrupted; goes on by itself where a connection breaks.

Each event is a line, in JSON with --output json. None is left out and none comes twice, as long as this runs; with \
--state also when it is run again.",
        after_help = "\
Examples:
  rosterctl --site acme events tail
  rosterctl --site acme events tail --kind 'member.*' --after 1200
  rosterctl --output json events tail --all-sites --state seen | jq -r .kind"
    )]
    Tail(#[command(flatten)] Tail),
}

/// Which events a list shows.
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only events with a greater number
    #[arg(long, value_name = "NUMBER")]
    after: Option<i64>,
    /// Only of this kind, as member.created or 'member.*'; may be given several times
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Only what concerns this member, by user name or id: also changes of its groups, grants, roles and reach
    #[arg(long)]
    member: Option<String>,
    /// Only about what has this id, also if it is deleted
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
    /// Only by this actor: the label of a credential, or bootstrap
    #[arg(long)]
    actor: Option<String>,
    /// Only by the credential of this id
    #[arg(long, value_name = "ID")]
    credential: Option<String>,
    /// Only at or after this moment, as 2026-10-01T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    from: Option<Timestamp>,
    /// Only before this moment
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    to: Option<Timestamp>,
    /// How many at the most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=1000))]
    limit: i32,
}

/// Which events are followed.
#[derive(Args, Debug)]
pub(crate) struct Tail {
    /// Begin after the event of this number, 0 for the first [default: with what happens from now on]. Where the file
    /// of --state is there, it goes on from there instead
    #[arg(long, value_name = "NUMBER")]
    after: Option<i64>,
    /// Only of this kind, as member.created or 'member.*'; may be given several times
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Of all sites; takes a token of all sites
    #[arg(long)]
    all_sites: bool,
    /// Keep in this file how far it came, and go on from there if the file is there; always with the same kinds
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

pub(super) async fn run(settings: &Settings, command: Events) -> Result<Outcome, Failure> {
    let list = match command {
        Events::List(list) => list,
        Events::Tail(tail) => return tail::run(settings, tail).await,
    };
    let moment = |time: &Timestamp| (time.seconds, time.nanos);
    if let (Some(from), Some(to)) = (&list.from, &list.to)
        && moment(from) >= moment(to)
    {
        return Err(Failure::usage(
            "nothing is at or after --from and before --to: the one must be before the other",
        ));
    }
    let request = ListEventsRequest {
        site: settings.site(),
        after: list.after.unwrap_or_default(),
        page_size: Some(list.limit),
        newest: list.after.is_none(),
        kinds: list.kinds,
        member: list.member.map(member),
        subject_id: list.subject.unwrap_or_default(),
        actor_label: list.actor.unwrap_or_default(),
        actor_credential_id: list.credential.unwrap_or_default(),
        from_time: list.from,
        to_time: list.to,
        ..ListEventsRequest::default()
    };
    let request = settings.request(Purpose::Work, request)?;
    let mut client =
        EventServiceClient::new(settings.channel()?).max_decoding_message_size(LARGEST_ANSWER);
    let list = answer(settings, client.list_events(request).await)?;
    let mut names = Names::default();
    if settings.output == Output::Table {
        names.learn(settings, &list.events).await;
    }
    print(
        settings,
        || table(&list.events, &names),
        || {
            let events: Vec<_> = list.events.iter().map(json::event).collect();
            json!({"events": events, "revision": list.revision, "more": list.more})
        },
    )
}

fn table(events: &[Event], names: &Names) -> String {
    let mut table = show::table([
        "Number", "Time", "What", "Who", "Whom", "Gained", "Lost", "Trace",
    ]);
    for event in events {
        let actor = event
            .actor
            .as_ref()
            .map_or("", |actor| actor.label.as_str());
        table.add_row([
            &event.number.to_string(),
            &show::time(event.time.as_ref()),
            &event.kind,
            show::text(actor),
            &names.whom(event),
            &event.gained.to_string(),
            &event.lost.to_string(),
            show::text(&event.trace_id),
        ]);
    }
    table.to_string()
}
