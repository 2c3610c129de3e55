//! How events are kept.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use serde_json::Value;
use uuid::Uuid;

use super::{Event, NewEvent, kept};
use crate::{caller::Caller, db::sql, error::Error, site_tx::SiteTx};

/// Writes events under the next numbers of the site, in their order, and moves the site's clock to the last
/// of them. The caller holds the site's lock, and has written all that the events tell of.
///
/// Grants come and go with an event only, so here the clock also learns when the next one will end by
/// itself.
pub(crate) fn append(
    tx: &mut SiteTx<'_, '_>,
    author: &Caller,
    events: &[(DateTime<Utc>, NewEvent<'_>)],
) -> Result<(), Error> {
    let count = events.len() as i64;
    let last = events.last().map_or(tx.site.ticked_at, |(at, _)| *at);
    let statement = sql(
        "append events",
        "WITH tick AS ( \
           UPDATE site_clocks k SET revision = revision + ?, ticked_at = ?, next_end_at = ( \
             SELECT g.ends_at FROM grants g \
             WHERE g.site_id = k.site_id AND g.to_event IS NULL AND g.ends_at IS NOT NULL \
             ORDER BY g.ends_at LIMIT 1) \
           WHERE site_id = ? AND revision = ? RETURNING site_id, next_end_at), \
         written AS (INSERT INTO events (site_id, number, occurred_at, kind, credential_id, actor, subject_id, \
                             trace_id, before, after, access_changes) \
         SELECT tick.site_id, ? + e.place, e.occurred_at, e.kind, ?, ?, e.subject_id, ?, e.before, e.after, e.changes \
         FROM tick, unnest(?::timestamptz[], ?::text[], ?::uuid[], ?::jsonb[], ?::jsonb[], ?::jsonb[]) \
              WITH ORDINALITY e (occurred_at, kind, subject_id, before, after, changes, place) \
         ORDER BY e.place RETURNING number) \
         SELECT (SELECT count(*) FROM written) AS count, next_end_at FROM tick",
    )
    .bind::<BigInt, _>(count)
    .bind::<Timestamptz, _>(last)
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<BigInt, _>(tx.site.revision)
    .bind::<BigInt, _>(tx.site.revision)
    .bind::<Nullable<SqlUuid>, _>(author.credential().map(|credential| credential.id.uuid()))
    .bind::<Text, _>(author.label().to_owned())
    .bind::<Text, _>(tx.context.trace_id.clone())
    .bind::<Array<Timestamptz>, _>(all(events, |at, _| *at))
    .bind::<Array<Text>, _>(all(events, |_, event| event.kind))
    .bind::<Array<SqlUuid>, _>(all(events, |_, event| event.subject))
    .bind::<Array<Jsonb>, _>(all(events, |_, event| event.before.clone()))
    .bind::<Array<Jsonb>, _>(all(events, |_, event| event.after.clone()))
    .bind::<Array<Jsonb>, _>(all(events, |_, event| kept(event.effect)));
    let written: WrittenRow = tx.one(statement)?;
    if written.count != count {
        let rows = written.count;
        return Err(Error::bug(format!("{count} events wrote {rows} rows")));
    }
    tx.site.revision += count;
    tx.site.ticked_at = last;
    tx.site.next_end = written.next_end_at;
    Ok(())
}

#[derive(QueryableByName)]
struct WrittenRow {
    #[diesel(sql_type = BigInt)]
    count: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    next_end_at: Option<DateTime<Utc>>,
}

fn all<T>(
    events: &[(DateTime<Utc>, NewEvent<'_>)],
    part: impl Fn(&DateTime<Utc>, &NewEvent<'_>) -> T,
) -> Vec<T> {
    events.iter().map(|(at, event)| part(at, event)).collect()
}

#[derive(QueryableByName)]
struct EventRow {
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = Timestamptz)]
    occurred_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    credential_id: Option<Uuid>,
    #[diesel(sql_type = Text)]
    actor: String,
    #[diesel(sql_type = SqlUuid)]
    subject_id: Uuid,
    #[diesel(sql_type = Text)]
    trace_id: String,
    #[diesel(sql_type = Jsonb)]
    before: Value,
    #[diesel(sql_type = Jsonb)]
    after: Value,
    #[diesel(sql_type = Jsonb)]
    access_changes: Value,
}

/// At most `limit` events with a greater number than `after`, oldest first.
pub(super) fn list(tx: &mut SiteTx<'_, '_>, after: i64, limit: i64) -> Result<Vec<Event>, Error> {
    let site = tx.site_id();
    let statement = sql(
        "list events",
        "SELECT number, occurred_at, kind, credential_id, actor, subject_id, trace_id, before, after, \
                access_changes \
         FROM events WHERE site_id = ? AND number > ? ORDER BY number LIMIT ?",
    )
    .bind::<SqlUuid, _>(site)
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(limit);
    let rows: Vec<EventRow> = tx.load(statement)?;
    Ok(rows
        .into_iter()
        .map(|row| Event {
            site,
            number: row.number,
            occurred_at: row.occurred_at,
            kind: row.kind,
            credential: row.credential_id,
            actor: row.actor,
            subject: row.subject_id,
            trace_id: row.trace_id,
            before: row.before,
            after: row.after,
            access_changes: row.access_changes,
        })
        .collect())
}
