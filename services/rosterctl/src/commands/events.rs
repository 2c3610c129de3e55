//! `rosterctl events`

use identity_proto::v1::{Event, ListEventsRequest, event_service_client::EventServiceClient};
use serde_json::json;

use super::{answer, print};
use crate::{
    arguments::Events,
    connection::{Purpose, Settings},
    failure::Failure,
    json, show,
};

pub(super) async fn run(settings: &Settings, command: Events) -> Result<(), Failure> {
    let Events::List { after, limit } = command;
    let request = ListEventsRequest {
        site: settings.site(),
        after: after.unwrap_or_default(),
        page_size: Some(limit),
        newest: after.is_none(),
        ..Default::default()
    };
    let request = settings.request(Purpose::Read, request)?;
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
