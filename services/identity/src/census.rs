//! The census: how fresh the sites are and which credentials will soon stop working, counted in the database again
//! and again. The metrics tell how many; which ones stands in the log when their number changes. A label a site
//! would grow without bound.

use std::time::Duration;

use chrono::Utc;
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Integer, Text},
};

use crate::{
    context::RequestContext,
    db::{Db, Finish, Sql, sql},
    metrics::{CensusMetrics, ContactLabels, ExpiryLabels},
};

/// How long one census may take. It reads each credential once.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many silent sites the log names, those first that fell silent last.
const NAMED: i64 = 20;

/// Counts again and again, for as long as the process lives.
pub(crate) async fn repeat(
    db: Db,
    metrics: CensusMetrics,
    silent_after_hours: u32,
    every: Duration,
) {
    let mut known = None;
    loop {
        let context = RequestContext::of_nobody("count sites", PATIENCE);
        let counted = db
            .transact(context, true, move |tx| {
                let row: Census = tx.one(census(silent_after_hours))?;
                Ok((row, Finish::Rollback))
            })
            .await;
        match counted {
            Ok(census) => {
                census.tell(&metrics);
                let now = Some((
                    (census.silent, census.silent_sites.clone()),
                    (census.within_7_days, census.expiring_of_sites.clone()),
                ));
                if known != now && (census.silent > 0 || census.within_7_days > 0) {
                    tracing::warn!(
                        silent = census.silent,
                        silent_sites = census.silent_sites.join(","),
                        expiring = census.within_7_days,
                        expiring_of_sites = census.expiring_of_sites.join(","),
                        "identity providers are silent, or credentials will expire within a week"
                    );
                }
                known = now;
            }
            Err(error) => tracing::warn!(%error, "sites and credentials could not be counted"),
        }
        tokio::time::sleep(every).await;
    }
}

#[derive(QueryableByName)]
struct Census {
    #[diesel(sql_type = BigInt)]
    hour: i64,
    #[diesel(sql_type = BigInt)]
    day: i64,
    #[diesel(sql_type = BigInt)]
    week: i64,
    #[diesel(sql_type = BigInt)]
    longer: i64,
    #[diesel(sql_type = BigInt)]
    never: i64,
    #[diesel(sql_type = BigInt)]
    silent: i64,
    #[diesel(sql_type = Array<Text>)]
    silent_sites: Vec<String>,
    #[diesel(sql_type = BigInt)]
    within_7_days: i64,
    #[diesel(sql_type = BigInt)]
    within_30_days: i64,
    #[diesel(sql_type = Array<Text>)]
    expiring_of_sites: Vec<String>,
}

impl Census {
    fn tell(&self, metrics: &CensusMetrics) {
        for (last_contact, count) in [
            ("hour", self.hour),
            ("day", self.day),
            ("week", self.week),
            ("longer", self.longer),
            ("never", self.never),
        ] {
            let labels = ContactLabels { last_contact };
            metrics.sites.get_or_create(&labels).set(count);
        }
        metrics.silent_sites.set(self.silent);
        for (within, count) in [("7d", self.within_7_days), ("30d", self.within_30_days)] {
            let labels = ExpiryLabels { within };
            metrics.expiring.get_or_create(&labels).set(count);
        }
        metrics.taken_at.set(Utc::now().timestamp());
    }
}

/// Asks for [`Census`]. A site's provider is whoever holds a token for provisioning that was not revoked; one that
/// has expired shuts the provider out, which has to be seen. A credential is
/// about to expire where it has been used, and none of the same site that may do as much and works for longer has
/// been used since: a rotation that is done is none.
fn census(silent_after_hours: u32) -> Sql {
    let expiring = |table: &str, same_site: &str, domain: &str, join: &str| {
        format!(
            "SELECT {domain} AS domain, c.expires_at FROM {table} c {join} \
             WHERE c.revoked_at IS NULL AND c.last_used_at IS NOT NULL \
               AND c.expires_at > clock_timestamp() AND c.expires_at <= clock_timestamp() + interval '30 days' \
               AND NOT EXISTS ( \
                 SELECT FROM {table} n WHERE {same_site} n.revoked_at IS NULL AND n.scopes @> c.scopes \
                   AND coalesce(n.expires_at, 'infinity') > c.expires_at AND n.last_used_at >= c.last_used_at)"
        )
    };
    let of_sites = expiring(
        "credentials",
        "n.site_id = c.site_id AND",
        "s.domain",
        "JOIN sites s USING (site_id)",
    );
    let of_all = expiring("all_site_credentials", "", "'(all sites)'", "");
    sql(
        "count sites and credentials",
        format!(
            "WITH providers AS ( \
               SELECT s.domain, max(c.last_used_at) AS last FROM credentials c JOIN sites s USING (site_id) \
               WHERE c.revoked_at IS NULL AND 'provision' = ANY(c.scopes) GROUP BY s.site_id, s.domain), \
             contacts AS (SELECT domain, last, clock_timestamp() - last AS age FROM providers), \
             silent AS (SELECT domain, last FROM contacts WHERE age > make_interval(hours => ?)), \
             expiring AS ({of_sites} UNION ALL {of_all}) \
             SELECT count(*) FILTER (WHERE age <= interval '1 hour') AS hour, \
                    count(*) FILTER (WHERE age > interval '1 hour' AND age <= interval '1 day') AS day, \
                    count(*) FILTER (WHERE age > interval '1 day' AND age <= interval '7 days') AS week, \
                    count(*) FILTER (WHERE age > interval '7 days') AS longer, \
                    count(*) FILTER (WHERE age IS NULL) AS never, \
                    (SELECT count(*) FROM silent) AS silent, \
                    ARRAY(SELECT domain FROM silent ORDER BY last DESC LIMIT ?) AS silent_sites, \
                    (SELECT count(*) FROM expiring \
                     WHERE expires_at <= clock_timestamp() + interval '7 days') AS within_7_days, \
                    (SELECT count(*) FROM expiring) AS within_30_days, \
                    ARRAY(SELECT domain FROM expiring ORDER BY expires_at LIMIT ?) AS expiring_of_sites \
             FROM contacts"
        ),
    )
    .bind::<Integer, _>(i32::try_from(silent_after_hours).unwrap_or(i32::MAX))
    .bind::<BigInt, _>(NAMED)
    .bind::<BigInt, _>(NAMED)
}
