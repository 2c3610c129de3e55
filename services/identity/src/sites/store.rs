//! How sites are kept.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::{NewSite, OutsideGroups, Site, SiteKey, UnassignedReach, Versioned};
use crate::{
    context::SiteName,
    db::{Sql, Tx, sql},
    error::{Error, Kind},
    filter::{Field, Fields, Query, Rows},
    ids::{MemberId, SiteId},
    site_tx::SiteTx,
};

/// What `SITE_COLUMNS` selects.
#[derive(QueryableByName)]
pub(crate) struct SiteRow {
    #[diesel(sql_type = SqlUuid)]
    site_id: Uuid,
    #[diesel(sql_type = Text)]
    domain: String,
    #[diesel(sql_type = Text)]
    domain_key: String,
    #[diesel(sql_type = Text)]
    outside_groups: String,
    #[diesel(sql_type = Integer)]
    custom_role_limit: i32,
    #[diesel(sql_type = Nullable<Text>)]
    unassigned_reach: Option<String>,
    #[diesel(sql_type = BigInt)]
    revision: i64,
    #[diesel(sql_type = Timestamptz)]
    ticked_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    next_end_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Timestamptz)]
    site_created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    now: DateTime<Utc>,
    /// Whether other writes came first while this one waited for the site's lock. Then only the clock is
    /// the present one: all else was read as of before the wait, and has to be read again.
    #[diesel(sql_type = Bool)]
    pub(crate) overtaken: bool,
}

/// A site with its clock, but for [`NOW`]; `sites s`, `site_clocks k`. A statement that waited for the lock
/// of `k` sees its newest row there and its own snapshot everywhere else, so the clock within the snapshot
/// tells `overtaken`.
pub(crate) const SITE_COLUMNS: &str = "s.site_id, s.domain, s.domain_key, s.outside_groups, \
     s.custom_role_limit, s.created_at AS site_created_at, k.revision, \
     k.ticked_at, k.next_end_at, \
     (SELECT d.unassigned_reach FROM site_divisions d \
      WHERE d.site_id = s.site_id AND d.to_event IS NULL) AS unassigned_reach, \
     k.revision > (SELECT seen.revision FROM site_clocks seen \
                   WHERE seen.site_id = s.site_id) AS overtaken";

/// The moment by the site's clock, which never goes back within a site. A write selects it from the query
/// that takes the site's lock, and so when it has it: an event's time is never one at which somebody else
/// could still look at the site's present.
pub(crate) const NOW: &str =
    "greatest(ticked_at, date_trunc('milliseconds', clock_timestamp())) AS now";

impl SiteRow {
    pub(crate) fn into_site(self) -> Result<(Site, DateTime<Utc>), Error> {
        let site = Site {
            id: SiteId::from(self.site_id),
            domain: self.domain,
            domain_key: self.domain_key,
            outside_groups: match self.outside_groups.as_str() {
                "refuse" => OutsideGroups::Refuse,
                "keep" => OutsideGroups::Keep,
                other => return Err(Error::bug(format!("sites.outside_groups is {other}"))),
            },
            custom_role_limit: self.custom_role_limit,
            division: self
                .unassigned_reach
                .map(|kept| UnassignedReach::parse(&kept))
                .transpose()?,
            revision: self.revision,
            ticked_at: self.ticked_at,
            next_end: self.next_end_at,
            created_at: self.site_created_at,
        };
        Ok((site, self.now))
    }
}

/// Opens the site that a caller without a site of its own names, and holds its lock for a write. Also
/// tells whether it waited for the lock, and so whether what was read before has to be read again.
pub(crate) fn open(
    tx: &mut Tx<'_>,
    name: &SiteName,
    writes: bool,
) -> Result<(Site, DateTime<Utc>, bool), Error> {
    let lock = Lock::of(writes);
    let asked = Instant::now();
    let mut row = find(tx, name, lock)?;
    let overtaken = row.as_ref().is_some_and(|row| row.overtaken);
    let waited = overtaken || (writes && asked.elapsed() > WAITED);
    if overtaken {
        row = find(tx, name, lock)?;
    }
    let (site, now) = row.ok_or(Error::NotFound(Kind::Site))?.into_site()?;
    Ok((site, now, waited))
}

/// Opens a site under its lock to end what is over, where nobody has asked for it by a token. Where somebody
/// else has the lock it waits, or answers with none.
pub(crate) fn open_itself(
    tx: &mut Tx<'_>,
    id: SiteId,
    wait: bool,
) -> Result<Option<(Site, DateTime<Utc>)>, Error> {
    let lock = if wait { Lock::Wait } else { Lock::IfFree };
    let row = find(tx, &SiteName::Id(Some(id)), lock)?;
    row.map(SiteRow::into_site).transpose()
}

fn find(tx: &mut Tx<'_>, name: &SiteName, lock: Lock) -> Result<Option<SiteRow>, Error> {
    let mut query = sql(
        "open site",
        format!(
            "SELECT o.*, {NOW} \
             FROM (SELECT {SITE_COLUMNS} FROM sites s JOIN site_clocks k USING (site_id) WHERE "
        ),
    );
    match name {
        SiteName::Id(id) => {
            query.push("s.site_id = ?");
            query.push_bind::<SqlUuid, _>(id.ok_or(Error::NotFound(Kind::Site))?.uuid());
        }
        SiteName::Domain(key) => {
            query.push("s.domain_key = ?");
            query.push_bind::<Text, _>(key.clone());
        }
    }
    query.push(lock.clause());
    query.push(") o");
    tx.first(query)
}

/// A statement that took longer than this may have waited for the site's lock, though nobody wrote meanwhile. Well below
/// the second within which a revoked credential stops working.
pub(crate) const WAITED: Duration = Duration::from_millis(250);

/// Whether a query that selects `SITE_COLUMNS` takes the site's lock, which a write holds from there on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lock {
    /// It only reads.
    No,
    /// It waits for whoever has it.
    Wait,
    /// It finds nothing where somebody has it.
    IfFree,
}

impl Lock {
    /// That of a call that writes, or only reads.
    pub(crate) const fn of(writes: bool) -> Self {
        if writes { Self::Wait } else { Self::No }
    }

    /// What the query ends in.
    pub(crate) const fn clause(self) -> &'static str {
        match self {
            Self::No => "",
            Self::Wait => " FOR NO KEY UPDATE OF k",
            Self::IfFree => " FOR NO KEY UPDATE OF k SKIP LOCKED",
        }
    }
}

#[derive(QueryableByName)]
struct ShownRow {
    #[diesel(sql_type = Nullable<Text>)]
    sort_key: Option<String>,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(embed)]
    site: SiteRow,
}

/// The version of a site `s`: the last event that was about itself. Its settings stand in two tables, which the
/// release before versions writes too, and each change of them is such an event.
const VERSION: &str = "coalesce((SELECT max(e.number) FROM events e \
                                 WHERE e.site_id = s.site_id AND e.subject_id = s.site_id), 0) AS version";

#[derive(QueryableByName)]
struct VersionRow {
    #[diesel(sql_type = BigInt)]
    version: i64,
}

/// The version of the site.
pub(crate) fn version(tx: &mut SiteTx<'_, '_>) -> Result<i64, Error> {
    let statement = sql(
        "get version of site",
        format!("SELECT {VERSION} FROM sites s WHERE s.site_id = ?"),
    )
    .bind::<SqlUuid, _>(tx.site_id());
    Ok(tx.one::<VersionRow>(statement)?.version)
}

/// Those of these sites that there are.
pub(super) fn get_several<'a>(
    tx: &mut Tx<'_>,
    named: impl Iterator<Item = &'a SiteKey>,
) -> Result<Vec<Versioned>, Error> {
    let (mut ids, mut keys) = (Vec::new(), Vec::new());
    for name in named {
        match name {
            SiteKey::Id(id) => ids.push(id.uuid()),
            SiteKey::Domain(key) => keys.push(key.clone()),
        }
    }
    let statement = sql(
        "get sites",
        format!(
            "SELECT NULL::text AS sort_key, {VERSION}, {SITE_COLUMNS}, {NOW} \
             FROM sites s JOIN site_clocks k USING (site_id) \
             WHERE s.site_id = ANY(?) OR s.domain_key = ANY(?)"
        ),
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<Text>, _>(keys);
    tx.load::<ShownRow>(statement)?
        .into_iter()
        .map(|row| Ok((row.site.into_site()?.0, row.version)))
        .collect()
}

/// The sites of a page, each with what it is ordered by.
pub(super) fn list(
    tx: &mut Tx<'_>,
    query: &Query,
    rows: &Rows,
) -> Result<Vec<(Versioned, Option<String>)>, Error> {
    let key = query.sort_key(&SiteFields)?;
    let mut statement = sql(
        "list sites",
        format!(
            "SELECT {key} AS sort_key, {VERSION}, {SITE_COLUMNS}, {NOW} \
             FROM sites s JOIN site_clocks k USING (site_id) WHERE true"
        ),
    );
    query.push_page(&mut statement, &SiteFields, rows)?;
    tx.load::<ShownRow>(statement)?
        .into_iter()
        .map(|row| Ok(((row.site.into_site()?.0, row.version), row.sort_key)))
        .collect()
}

/// How many sites match.
pub(super) fn count(tx: &mut Tx<'_>, query: &Query) -> Result<i64, Error> {
    let mut statement = sql(
        "count sites",
        "SELECT count(*) AS count FROM sites s WHERE true",
    );
    query.push_condition(&mut statement, &SiteFields)?;
    Ok(tx.one::<Count>(statement)?.count)
}

/// What sites can be found and ordered by; they are `s` in SQL.
struct SiteFields;

impl Fields for SiteFields {
    const ID: &'static str = "s.site_id";

    fn field(&self, name: &str) -> Option<Field> {
        Some(match name {
            "id" => Field::Id("s.site_id".to_owned()),
            "domain" => Field::Key {
                exact: "s.domain".to_owned(),
                key: "s.domain_key".to_owned(),
            },
            "create_time" => Field::Moment("s.created_at".to_owned()),
            _ => return None,
        })
    }
}

#[derive(QueryableByName)]
struct Inserted {
    #[diesel(sql_type = Nullable<Timestamptz>)]
    created_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    taken: Option<Uuid>,
}

/// Makes the site and its clock; answers with when, or with the id of the site that has the domain.
pub(super) fn insert(
    tx: &mut Tx<'_>,
    id: SiteId,
    new: &NewSite,
    custom_role_limit: i32,
) -> Result<Result<DateTime<Utc>, Uuid>, Error> {
    let row: Inserted = tx.one(
        sql(
            "insert site",
            "WITH site AS ( \
               INSERT INTO sites (site_id, domain, domain_key, outside_groups, custom_role_limit, created_at) \
               VALUES (?, ?, ?, ?, ?, date_trunc('milliseconds', clock_timestamp())) \
               ON CONFLICT (domain_key) DO NOTHING RETURNING site_id, created_at), \
             clock AS (INSERT INTO site_clocks SELECT site_id, 0, created_at FROM site) \
             SELECT (SELECT created_at FROM site) AS created_at, \
                    (SELECT site_id FROM sites WHERE domain_key = ?) AS taken",
        )
        .bind::<SqlUuid, _>(id.uuid())
        .bind::<Text, _>(new.domain.as_str().to_owned())
        .bind::<Text, _>(new.domain.key().to_owned())
        .bind::<Text, _>(new.outside_groups.as_str())
        .bind::<Integer, _>(custom_role_limit)
        .bind::<Text, _>(new.domain.key().to_owned()),
    )?;
    match (row.created_at, row.taken) {
        (Some(created_at), _) => Ok(Ok(created_at)),
        (None, Some(taken)) => Ok(Err(taken)),
        // Its maker committed between our snapshot and our insert: run again, it is seen then.
        (None, None) => Err(Error::Contended),
    }
}

pub(super) fn update(tx: &mut SiteTx<'_, '_>, site: &Site) -> Result<(), Error> {
    let statement = sql(
        "update site",
        "UPDATE sites SET outside_groups = ?, custom_role_limit = ? WHERE site_id = ?",
    )
    .bind::<Text, _>(site.outside_groups.as_str())
    .bind::<Integer, _>(site.custom_role_limit)
    .bind::<SqlUuid, _>(tx.site_id());
    tx.execute(statement).map(drop)
}

/// Ends the division that is and begins another.
pub(super) fn divide(tx: &mut SiteTx<'_, '_>, reach: UnassignedReach) -> Result<(), Error> {
    let (site, event) = (tx.site_id(), tx.next_event());
    tx.execute(
        sql(
            "end division",
            "UPDATE site_divisions SET to_event = ? WHERE site_id = ? AND to_event IS NULL",
        )
        .bind::<BigInt, _>(event)
        .bind::<SqlUuid, _>(site),
    )?;
    divide_first(tx, reach).map(drop)
}

/// Begins a division; false where there is one.
pub(super) fn divide_first(tx: &mut SiteTx<'_, '_>, reach: UnassignedReach) -> Result<bool, Error> {
    let statement = sql(
        "insert division",
        "INSERT INTO site_divisions (site_id, unassigned_reach, from_event) VALUES (?, ?, ?) \
         ON CONFLICT DO NOTHING",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<Text, _>(reach.as_str())
    .bind::<BigInt, _>(tx.next_event());
    Ok(tx.execute(statement)? == 1)
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Members `m` who are active, neither Owner nor Admin, and `{has entity}`.
fn count_reaching(tx: &mut SiteTx<'_, '_>, and: &str) -> Result<usize, Error> {
    let site = tx.site_id();
    let statement: Sql = sql(
        "count members by reach",
        format!(
            "WITH held AS ( \
               SELECT gm.member_id, g.role_id, g.business_entity_id \
               FROM group_members gm JOIN groups g USING (site_id, group_id) \
               WHERE gm.site_id = ? AND gm.to_event IS NULL \
               UNION ALL SELECT member_id, role_id, business_entity_id FROM grants \
               WHERE site_id = ? AND to_event IS NULL) \
             SELECT count(*) AS count FROM members m \
             WHERE m.site_id = ? AND m.deleted_event IS NULL AND m.active \
               AND NOT EXISTS (SELECT FROM held h JOIN roles r ON r.site_id = m.site_id AND r.role_id = h.role_id \
                               WHERE h.member_id = m.member_id AND r.built_in IN ('owner', 'admin')) {and}"
        ),
    )
    .bind::<SqlUuid, _>(site)
    .bind::<SqlUuid, _>(site)
    .bind::<SqlUuid, _>(site);
    Ok(usize::try_from(tx.one::<Count>(statement)?.count).unwrap_or(0))
}

/// How many active members have no business entity and no role that reaches all.
pub(super) fn count_unassigned(tx: &mut SiteTx<'_, '_>) -> Result<usize, Error> {
    count_reaching(
        tx,
        "AND NOT EXISTS (SELECT FROM held h WHERE h.member_id = m.member_id \
         AND h.business_entity_id IS NOT NULL)",
    )
}

/// How many active members reach less than the whole site once it is divided.
pub(super) fn count_divided(
    tx: &mut SiteTx<'_, '_>,
    reach: UnassignedReach,
) -> Result<usize, Error> {
    match reach {
        UnassignedReach::None => count_reaching(tx, ""),
        UnassignedReach::All => count_reaching(
            tx,
            "AND EXISTS (SELECT FROM held h WHERE h.member_id = m.member_id \
             AND h.business_entity_id IS NOT NULL)",
        ),
    }
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Bool)]
    found: bool,
}

pub(super) fn has_other_active_owner(
    tx: &mut SiteTx<'_, '_>,
    member: MemberId,
) -> Result<bool, Error> {
    let statement = sql(
        "find another owner",
        "SELECT EXISTS (SELECT FROM grants g \
           JOIN roles r USING (site_id, role_id) JOIN members m USING (site_id, member_id) \
           WHERE g.site_id = ? AND g.to_event IS NULL AND r.built_in = 'owner' \
             AND m.active AND m.deleted_event IS NULL AND g.member_id <> ?) AS found",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(member.uuid());
    Ok(tx.one::<Found>(statement)?.found)
}
