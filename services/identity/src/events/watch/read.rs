//! How the stream of events is read from the database.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Uuid as SqlUuid},
};
use identity_proto::v1 as pb;
use prost::Message;
use uuid::Uuid;

use super::cursor::Cursor;
use crate::{
    db::{Sql, sql},
    events::{
        Event,
        store::{EventRow, batch},
    },
};

/// The most events of a batch.
const BATCH: i64 = 256;
/// The most bytes of an event that is kept for all watchers at once. Who wants a larger one reads it alone.
const SHARED_BYTES: usize = 32 << 10;

/// An event, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) site: Uuid,
    pub(super) position: i64,
    /// Nothing at or below this could appear any more when the events were read.
    pub(super) horizon: i64,
    pub(super) occurred_at: DateTime<Utc>,
    /// The trace and the span that wrote it, where that trace was sampled.
    pub(super) written_in: Option<(String, String)>,
    pub(super) event: pb::Event,
    /// Whether `event` is all of it; otherwise only its kind and number are to be relied on.
    pub(super) whole: bool,
}

impl Found {
    fn new(row: EventRow, horizon: i64) -> Self {
        let position = row.position;
        let event = Event::from(row);
        let written_in = event.span_id.clone();
        Self {
            written_in: written_in.map(|span_id| (event.trace_id.clone(), span_id)),
            site: event.site,
            position,
            horizon,
            occurred_at: event.occurred_at,
            event: event.into(),
            whole: true,
        }
    }

    /// Without the bulk of a large event.
    pub(super) fn shared(mut self) -> Self {
        if self.event.encoded_len() > SHARED_BYTES {
            self.whole = false;
            self.event = pb::Event {
                number: self.event.number,
                kind: self.event.kind,
                ..pb::Event::default()
            };
        }
        self
    }
}

/// What was read at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) events: Vec<Found>,
    /// Whether more are there already.
    pub(super) more: bool,
}

/// The last time that the database was restored.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub(super) struct Restoration {
    #[diesel(sql_type = SqlUuid)]
    pub(super) restoration_id: Uuid,
}

/// Asks for the [`Restoration`], if there was one.
pub(super) fn restoration() -> Sql {
    sql(
        "read the last restoration",
        "SELECT r.restoration_id FROM restorations r ORDER BY r.restored_at DESC LIMIT 1",
    )
}

/// How far the positions of events were taken, and up to where no event can appear any more.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub(super) struct Settled {
    #[diesel(sql_type = BigInt)]
    pub(super) last: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) horizon: i64,
}

/// Asks for [`Settled`]. The events have to be read after it, by a snapshot of their own: what it says is
/// settled is visible only then. `known` is a last position at which everything was settled: where it is
/// still the last one, the locks are not looked at.
///
/// The last position has to be read before the locks. The subquery refers to it, and so can't be run
/// before it is there.
pub(super) fn settled(known: Option<i64>) -> Sql {
    sql(
        "read the horizon of events",
        "SELECT p.last_value AS last, \
                CASE WHEN p.last_value = ? THEN p.last_value ELSE coalesce( \
                  (SELECT min(k.key) \
                   FROM (SELECT ((l.classid::bigint & 16777215) << 32) | l.objid::bigint AS key \
                         FROM pg_locks l \
                         WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.classid::bigint >> 24 = 82 \
                           AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) \
                        ) k WHERE k.key < p.last_value), p.last_value) END AS horizon \
         FROM event_positions p",
    )
    .bind::<BigInt, _>(known.unwrap_or(-1))
}

/// Asks for the events of all sites that `cursor` has not handed out.
pub(super) fn of_all_sites(cursor: &Cursor) -> Sql {
    batch("read events of all sites", "e.position", |sql| {
        sql.push(
            "(SELECT e.* FROM events e WHERE e.position = ANY(?)) UNION ALL \
             (SELECT e.* FROM events e WHERE e.position > ? ORDER BY e.position LIMIT ?)",
        );
        sql.push_bind::<Array<BigInt>, _>(cursor.gaps().iter().copied().collect::<Vec<i64>>());
        sql.push_bind::<BigInt, _>(cursor.top());
        sql.push_bind::<BigInt, _>(BATCH);
    })
}

/// The batch that [`of_all_sites`] answered with: as much of it as `cursor` can take.
pub(super) fn batch_of_all(rows: Vec<EventRow>, cursor: &Cursor, horizon: i64) -> Batch {
    let found = rows.first().map_or(0, |row| row.found);
    let mut more = found >= BATCH || found > rows.len() as i64;
    let mut cursor = cursor.clone();
    let mut events = Vec::with_capacity(rows.len());
    for row in rows {
        if !cursor.take(row.position, horizon) {
            // More has to be settled first, which takes its time.
            more = false;
            break;
        }
        events.push(Found::new(row, horizon));
    }
    Batch { events, more }
}

/// Asks for the events of one site after a number.
pub(super) fn of_site(site: Uuid, after: i64) -> Sql {
    batch("read events of a site", "e.number", |sql| {
        sql.push(
            "SELECT e.* FROM events e WHERE e.site_id = ? AND e.number > ? ORDER BY e.number LIMIT ?",
        );
        sql.push_bind::<SqlUuid, _>(site);
        sql.push_bind::<BigInt, _>(after);
        sql.push_bind::<BigInt, _>(BATCH);
    })
}

/// The batch that [`of_site`] answered with.
pub(super) fn batch_of_site(rows: Vec<EventRow>) -> Batch {
    let found = rows.first().map_or(0, |row| row.found);
    Batch {
        more: found >= BATCH || found > rows.len() as i64,
        // A site's events are in order without regard to what other sites' may still appear.
        events: rows.into_iter().map(|row| Found::new(row, 0)).collect(),
    }
}

/// A position.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub(super) struct Position {
    #[diesel(sql_type = BigInt)]
    position: i64,
}

/// Asks for the positions that [`cursor_of`] needs: the visible ones above the horizon, and the last one
/// that is not.
pub(super) fn positions(horizon: i64) -> Sql {
    sql(
        "read positions of events",
        "(SELECT e.position FROM events e WHERE e.position <= ? ORDER BY e.position DESC LIMIT 1) \
         UNION ALL (SELECT e.position FROM events e WHERE e.position > ?) ORDER BY 1",
    )
    .bind::<BigInt, _>(horizon)
    .bind::<BigInt, _>(horizon)
}

/// The cursor that has handed out all that is visible now.
///
/// It never stands above an event that is visible, and so is committed and safe: a position that was only
/// taken may be taken again after the server was killed.
pub(super) fn cursor_of(visible: &[Position], horizon: i64) -> Cursor {
    let mut cursor = Cursor::after(0);
    for Position { position } in visible {
        if *position <= horizon {
            cursor = Cursor::after(*position);
        } else if !cursor.take(*position, horizon) {
            break;
        }
    }
    cursor
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn now_is_after_all_that_is_visible_and_before_what_is_not_yet() {
        let cursor = |visible: &[i64], horizon| {
            let visible: Vec<Position> = visible
                .iter()
                .map(|position| Position {
                    position: *position,
                })
                .collect();
            let cursor = cursor_of(&visible, horizon);
            (cursor.top(), cursor.gaps().clone())
        };
        assert_eq!(cursor(&[], 0), (0, BTreeSet::new()));
        assert_eq!(cursor(&[7], 9), (7, BTreeSet::new()));
        assert_eq!(cursor(&[-3], 9), (-3, BTreeSet::new()));
        assert_eq!(cursor(&[7, 11, 13], 9), (13, BTreeSet::from([10, 12])));
        assert_eq!(cursor(&[2], 0), (2, BTreeSet::from([1])));
    }
}
