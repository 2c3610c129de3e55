//! `rosterctl events`

use clap::Subcommand;
use identity_proto::v1::{Event, ListEventsRequest, event_service_client::EventServiceClient};
use serde_json::json;

use super::{Outcome, answer, print};
use crate::{
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
  rosterctl --site acme --output json events list --after 1200")]
    List {
        /// Only events with a greater number
        #[arg(long, value_name = "NUMBER")]
        after: Option<i64>,
        /// How many at the most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=1000))]
        limit: i32,
    },
}

pub(super) async fn run(settings: &Settings, command: Events) -> Result<Outcome, Failure> {
    let Events::List { after, limit } = command;
    let request = ListEventsRequest {
        site: settings.site(),
        after: after.unwrap_or_default(),
        page_size: Some(limit),
        newest: after.is_none(),
        ..ListEventsRequest::default()
    };
    let request = settings.request(Purpose::Work, request)?;
    let mut client = EventServiceClient::new(settings.channel()?);
    let list = answer(settings, client.list_events(request).await)?;
    print(
        settings,
        || table(&list.events),
        || {
            let events: Vec<_> = list.events.iter().map(json::event).collect();
            json!({"events": events, "revision": list.revision})
        },
    )
}

fn table(events: &[Event]) -> String {
    let mut table = show::table([
        "Number", "Time", "What", "Who", "Whom", "Gained", "Lost", "Trace",
    ]);
    for event in events {
        let actor = event
            .actor
            .as_ref()
            .map_or("", |actor| actor.label.as_str());
        let count = |ids: fn(&identity_proto::v1::AccessChange) -> usize| {
            event
                .access_changes
                .iter()
                .map(ids)
                .sum::<usize>()
                .to_string()
        };
        table.add_row([
            &event.number.to_string(),
            &show::time(event.time.as_ref()),
            &event.kind,
            show::text(actor),
            &event.subject_id,
            &count(|change| change.gained_member_ids.len()),
            &count(|change| change.lost_member_ids.len()),
            show::text(&event.trace_id),
        ]);
    }
    table.to_string()
}
