//! How events are kept.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use serde_json::Value;
use uuid::Uuid;

use super::{Event, EventQuery, NewEvent, concern, kept, kinds::KINDS};
use crate::{
    caller::Caller,
    db::{Sql, sql},
    error::Error,
    ids::MemberId,
    site_tx::SiteTx,
};

/// How many bytes of events, as they are kept, a page or batch may have; one event it has in any case.
const BATCH_BYTES: i64 = 1 << 20;

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
    debug_assert!(
        events.iter().all(|(_, event)| KINDS.contains(&event.kind)),
        "an unknown kind of event"
    );
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
                             trace_id, span_id, before, after, access_changes, members, unknown_member_ids) \
         SELECT tick.site_id, ? + e.place, e.occurred_at, e.kind, ?, ?, e.subject_id, ?, ?, e.before, e.after, e.changes, \
                e.members, ARRAY(SELECT jsonb_array_elements_text(e.unknown)) \
         FROM tick, unnest(?::timestamptz[], ?::text[], ?::uuid[], ?::jsonb[], ?::jsonb[], ?::jsonb[], \
                     ?::bigint[], ?::jsonb[]) \
              WITH ORDINALITY e (occurred_at, kind, subject_id, before, after, changes, members, unknown, place) \
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
    .bind::<Nullable<Text>, _>(tx.context.span_id.clone())
    .bind::<Array<Timestamptz>, _>(all(events, |at, _| *at))
    .bind::<Array<Text>, _>(all(events, |_, event| event.kind))
    .bind::<Array<SqlUuid>, _>(all(events, |_, event| event.subject))
    .bind::<Array<Jsonb>, _>(all(events, |_, event| event.before.clone()))
    .bind::<Array<Jsonb>, _>(all(events, |_, event| event.after.clone()))
    .bind::<Array<Jsonb>, _>(all(events, |_, event| kept(event.effect)))
    .bind::<Array<BigInt>, _>(all(events, |_, event| event.effect.members as i64))
    .bind::<Array<Jsonb>, _>(all(events, |_, event| unknown(event)));
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

/// The ids that no member has. PostgreSQL's texts can't hold a NUL, and what is no id may hold anything.
fn unknown(event: &NewEvent<'_>) -> Value {
    let ids = event.effect.unknown.iter();
    ids.map(|id| id.replace('\0', "\u{fffd}")).collect()
}

fn all<T>(
    events: &[(DateTime<Utc>, NewEvent<'_>)],
    part: impl Fn(&DateTime<Utc>, &NewEvent<'_>) -> T,
) -> Vec<T> {
    events.iter().map(|(at, event)| part(at, event)).collect()
}

/// What [`batch`] selects.
#[derive(QueryableByName)]
pub(super) struct EventRow {
    #[diesel(sql_type = SqlUuid)]
    site_id: Uuid,
    #[diesel(sql_type = Text)]
    domain: String,
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) position: i64,
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
    #[diesel(sql_type = Nullable<Text>)]
    span_id: Option<String>,
    #[diesel(sql_type = Jsonb)]
    before: Value,
    #[diesel(sql_type = Jsonb)]
    after: Value,
    #[diesel(sql_type = Jsonb)]
    access_changes: Value,
    #[diesel(sql_type = Nullable<BigInt>)]
    members: Option<i64>,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    unknown_member_ids: Option<Vec<String>>,
    /// How many events there were before the batch was cut to its bytes.
    #[diesel(sql_type = BigInt)]
    pub(super) found: i64,
}

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        Self {
            site: row.site_id,
            site_domain: row.domain,
            number: row.number,
            occurred_at: row.occurred_at,
            kind: row.kind,
            credential: row.credential_id,
            actor: row.actor,
            subject: row.subject_id,
            trace_id: row.trace_id,
            span_id: row.span_id,
            before: row.before,
            after: row.after,
            access_changes: row.access_changes,
            members: row.members,
            unknown: row.unknown_member_ids.unwrap_or_default(),
        }
    }
}

/// Selects events in the order of `order` (a column of theirs), cut to [`BATCH_BYTES`]; `chosen` selects
/// from `events e`. The sizes are those of what is kept, so that nothing is unpacked to be measured.
pub(super) fn batch(name: &'static str, order: &str, chosen: impl FnOnce(&mut Sql)) -> Sql {
    let mut statement = sql(
        name,
        format!(
            "SELECT e.site_id, s.domain, e.number, coalesce(e.position, 0) AS position, e.occurred_at, \
                    e.kind, e.credential_id, e.actor, e.subject_id, e.trace_id, e.span_id, e.before, e.after, \
                    e.access_changes, e.members, e.unknown_member_ids, e.found \
             FROM (SELECT e.*, count(*) OVER () AS found, \
                          coalesce(sum(pg_column_size(e.before) + pg_column_size(e.after) \
                                       + pg_column_size(e.access_changes) \
                                       + coalesce(pg_column_size(e.unknown_member_ids), 0)) \
                                   OVER (ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) \
                              AS bytes_before \
                   FROM ("
        ),
    );
    chosen(&mut statement);
    statement.push(&format!(
        ") e) e JOIN sites s USING (site_id) WHERE e.bytes_before < {BATCH_BYTES} ORDER BY {order}"
    ));
    statement
}

/// The first events of the site that a query asks for (the last, where it asks for the newest), oldest
/// first, and whether there are more. `member` is whom they concern.
pub(super) fn list(
    tx: &mut SiteTx<'_, '_>,
    query: &EventQuery,
    member: Option<MemberId>,
) -> Result<(Vec<Event>, bool), Error> {
    let site = tx.site_id();
    let order = if query.newest {
        "e.number DESC"
    } else {
        "e.number"
    };
    let statement = batch("list events", order, |sql| {
        sql.push("SELECT e.* FROM events e WHERE e.site_id = ? AND e.number > ?");
        sql.push_bind::<SqlUuid, _>(site);
        sql.push_bind::<BigInt, _>(query.after);
        query.kinds.push_condition(sql);
        if let Some(subject) = query.subject {
            sql.push(" AND e.subject_id = ?");
            sql.push_bind::<SqlUuid, _>(subject);
        }
        if let Some(member) = member {
            concern::push_condition(sql, site, member);
        }
        if let Some(credential) = query.credential {
            sql.push(" AND e.credential_id = ?");
            sql.push_bind::<SqlUuid, _>(credential);
        }
        if let Some(actor) = &query.actor {
            sql.push(" AND e.actor = ?");
            sql.push_bind::<Text, _>(actor.clone());
        }
        // A site's time never goes back, so a span of time is one of numbers.
        for (bound, moment) in [(">=", query.from), ("<", query.to)] {
            if let Some(moment) = moment {
                sql.push(&format!(
                    " AND e.number {bound} coalesce((SELECT t.number FROM events t \
                        WHERE t.site_id = ? AND t.occurred_at >= ? \
                        ORDER BY t.occurred_at, t.number LIMIT 1), 9223372036854775807)"
                ));
                sql.push_bind::<SqlUuid, _>(site);
                sql.push_bind::<Timestamptz, _>(moment);
            }
        }
        sql.push(&format!(" ORDER BY {order} LIMIT ?"));
        sql.push_bind::<BigInt, _>(query.limit + 1);
    });
    let mut rows: Vec<EventRow> = tx.load(statement)?;
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let found = rows.first().map_or(0, |row| row.found);
    rows.truncate(limit);
    let more = found > rows.len() as i64;
    let mut events: Vec<Event> = rows.into_iter().map(Event::from).collect();
    if query.newest {
        events.reverse();
    }
    Ok((events, more))
}
