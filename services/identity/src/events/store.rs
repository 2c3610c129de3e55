//! How events are kept.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use serde_json::Value;
use uuid::Uuid;

use super::{Event, NewEvent, kept};
use crate::{db::sql, error::Error, site_tx::SiteTx};

/// Writes the event under the next number of the site and moves the site's clock to it. The caller
/// holds the site's lock.
pub(crate) fn append(tx: &mut SiteTx<'_, '_>, event: NewEvent<'_>) -> Result<(), Error> {
    let credential = tx
        .caller
        .credential()
        .map(|credential| credential.id.uuid());
    let statement = sql(
        "append event",
        "WITH tick AS (UPDATE site_clocks SET revision = ?, ticked_at = ? WHERE site_id = ? \
                       RETURNING site_id, revision, ticked_at) \
         INSERT INTO events (site_id, number, occurred_at, kind, credential_id, actor, subject_id, \
                             trace_id, before, after, access_changes) \
         SELECT site_id, revision, ticked_at, ?, ?, ?, ?, ?, ?, ?, ? FROM tick",
    )
    .bind::<BigInt, _>(tx.next_event())
    .bind::<Timestamptz, _>(tx.now)
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<Text, _>(event.kind)
    .bind::<Nullable<SqlUuid>, _>(credential)
    .bind::<Text, _>(tx.caller.label().to_owned())
    .bind::<SqlUuid, _>(event.subject)
    .bind::<Text, _>(tx.context.trace_id.clone())
    .bind::<Jsonb, _>(event.before)
    .bind::<Jsonb, _>(event.after)
    .bind::<Jsonb, _>(kept(event.effect));
    match tx.execute(statement)? {
        1 => Ok(()),
        rows => Err(Error::bug(format!("an event wrote {rows} rows"))),
    }
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
