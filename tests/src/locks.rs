//! A site's lock in a test's own hands, so that what waits for it can be watched.

use std::time::{Duration, Instant};

use diesel::{PgConnection, connection::SimpleConnection};

use crate::database::Database;

/// A site's lock; let go when dropped.
pub struct SiteLock {
    connection: PgConnection,
}

impl std::fmt::Debug for SiteLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SiteLock")
    }
}

impl SiteLock {
    /// Lets the writes of the site go on.
    pub fn release(mut self) {
        self.connection.batch_execute("ROLLBACK").unwrap();
    }
}

impl Database {
    /// Takes the lock that every write of the site takes.
    pub fn lock_site(&self, site_id: &str) -> SiteLock {
        let mut connection = self.connect();
        connection
            .batch_execute(&format!(
                "BEGIN; SELECT revision FROM site_clocks WHERE site_id = '{site_id}' FOR UPDATE"
            ))
            .unwrap();
        SiteLock { connection }
    }

    /// How many statements of this database wait for a lock.
    pub fn waiting(&self) -> i64 {
        self.number(
            "SELECT count(*) AS n FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
    }

    /// How many statements run in this database at the moment, this question apart.
    pub fn running(&self) -> i64 {
        self.number(
            "SELECT count(*) AS n FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active'",
        )
    }

    /// Waits until so many statements wait for a lock.
    pub async fn wait_until_waiting(&self, count: i64) {
        eventually("statements wait for the lock", || self.waiting() == count).await;
    }

    /// The site's events are numbered 1, 2, 3 without a gap, its clock stands at the last, and their time
    /// never goes back. Answers with the last number.
    #[track_caller]
    pub fn check_events(&self, site_id: &str) -> i64 {
        let of_site = format!("site_id = '{site_id}'");
        let count = self.number(&format!("SELECT count(*) AS n FROM events WHERE {of_site}"));
        let last = self.number(&format!(
            "SELECT max(number) AS n FROM events WHERE {of_site}"
        ));
        let clock = self.number(&format!(
            "SELECT revision AS n FROM site_clocks WHERE {of_site}"
        ));
        assert_eq!(
            (count, clock),
            (last, last),
            "count and clock, and the last event"
        );
        let back = self.number(&format!(
            "SELECT count(*) AS n FROM (SELECT occurred_at < lag(occurred_at) OVER (ORDER BY number) AS back \
             FROM events WHERE {of_site}) times WHERE back"
        ));
        assert_eq!(back, 0, "events whose time goes back");
        // Where the next end stands, and that nothing is past its end as of the site's clock.
        let wrong = self.number(&format!(
            "SELECT count(*) AS n FROM site_clocks k WHERE k.{of_site} AND ( \
               next_end_at IS DISTINCT FROM (SELECT min(g.ends_at) FROM grants g \
                                             WHERE g.site_id = k.site_id AND g.to_event IS NULL) \
               OR next_end_at <= ticked_at)"
        ));
        assert_eq!(wrong, 0, "the clock knows the next end, which is to come");
        last
    }
}

/// Waits until something holds; five seconds at the most.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    within(Duration::from_secs(5), what, holds).await;
}

/// Waits until something holds, for as long as this at the most.
pub async fn within(patience: Duration, what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < patience,
            "not within {patience:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
