//! The feed: the thread that reads what is new, once for all watchers of the process.
//!
//! It has a connection of its own, so that it waits for nobody, and asks again and again while there are
//! watchers; a commit of this process makes it ask at once. (NOTIFY would wake it for others' commits too,
//! but takes a lock of the whole cluster in each transaction that commits with one.)

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use diesel::{
    PgConnection, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    pg::Pg,
    sql_types::{Array, Bool, Nullable, Text, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::{
    FeedState, Shared,
    cursor::Cursor,
    read::{self, Position, Settled},
};
use crate::{
    credentials::{Credential, LastUse},
    db::{Db, Sql, classify, sql},
    error::{Error, TokenFault},
    events::store::EventRow,
};

/// How long it waits for a commit of this process before it asks anyway.
const ASK_EVERY: Duration = Duration::from_millis(15);
/// How long it rests between two questions, so that many commits share one.
const REST: Duration = Duration::from_millis(2);
/// How often it looks whether the watchers' credentials still work: within a second, with a reserve.
const CHECK_EVERY: Duration = Duration::from_millis(400);
/// How often the watchers' credentials are noted as used.
const NOTE_EVERY: Duration = Duration::from_secs(60);
/// How long it waits before it connects again.
const RECONNECT: Duration = Duration::from_millis(250);
/// What its connection is told first: how long a statement may take, and who it is.
const SETTINGS: &str = "SET statement_timeout = '5s'; SET application_name = 'identity event feed'; \
                        SET default_transaction_read_only = on";

pub(super) struct Feed {
    db: Db,
    last_use: LastUse,
    shared: Arc<Shared>,
    woken: mpsc::Receiver<()>,
    connection: Option<PgConnection>,
    /// What was handed to the watchers; none while there are none.
    cursor: Option<Cursor>,
    /// The last position, where everything up to it was settled and read.
    quiet: Option<i64>,
    checked: Option<Instant>,
    noted: Instant,
}

impl Feed {
    pub(super) fn new(
        db: Db,
        last_use: LastUse,
        shared: Arc<Shared>,
        woken: mpsc::Receiver<()>,
    ) -> Self {
        Self {
            db,
            last_use,
            shared,
            woken,
            connection: None,
            cursor: None,
            quiet: None,
            checked: None,
            noted: Instant::now(),
        }
    }

    pub(super) fn run(mut self) {
        while !self.shared.stop.is_cancelled() {
            if self.rests() {
                if self.woken.recv().is_err() {
                    return;
                }
                continue;
            }
            match self.round() {
                Ok(true) => {}
                Ok(false) => {
                    std::thread::sleep(REST);
                    let _woken = self.woken.recv_timeout(ASK_EVERY);
                }
                Err(error) => {
                    tracing::warn!(%error, "the feed of events lost its database");
                    self.connection = None;
                    std::thread::sleep(RECONNECT);
                }
            }
        }
    }

    /// Whether nobody watches. The watchers' list is held meanwhile, so that a new watcher sees either that
    /// the feed rests or that it runs for it too.
    fn rests(&mut self) -> bool {
        let registry = self.shared.registry();
        if !registry.watchers.is_empty() {
            return false;
        }
        self.shared.feed.send_modify(|state| state.runs = false);
        drop(registry);
        self.cursor = None;
        self.quiet = None;
        self.checked = None;
        self.connection = None;
        true
    }

    /// Reads once; answers whether more is there.
    fn round(&mut self) -> Result<bool, Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let mut connection = self.db.connect_apart()?;
                connection.batch_execute(SETTINGS).map_err(classify)?;
                connection
            }
        };
        // Before the events, so that nobody is sent one whose credential was seen not to work.
        self.check(&mut connection)?;
        let more = self.read(&mut connection)?;
        self.connection = Some(connection);
        self.shared.feed.send_replace(FeedState {
            runs: true,
            looked: Instant::now(),
        });
        Ok(more)
    }

    fn read(&mut self, connection: &mut PgConnection) -> Result<bool, Error> {
        let settled: Settled = load(connection, read::settled(self.quiet))?
            .pop()
            .ok_or_else(|| Error::bug("event_positions has no row"))?;
        if self.quiet == Some(settled.last) {
            return Ok(false);
        }
        let Some(cursor) = &mut self.cursor else {
            let visible: Vec<Position> = load(connection, read::positions(settled.horizon))?;
            self.cursor = Some(read::cursor_of(&visible, settled.horizon));
            return Ok(false);
        };
        let rows: Vec<EventRow> = load(connection, read::of_all_sites(cursor))?;
        let batch = read::batch_of_all(rows, cursor, settled.horizon);
        for found in batch.events {
            if !cursor.take(found.position, found.horizon) {
                return Err(Error::bug("a batch of events that does not fit"));
            }
            // Nobody may be there any more to take it.
            let _watchers = self.shared.queue.send(Arc::new(found.shared()));
        }
        if batch.more {
            return Ok(true);
        }
        cursor.settle(settled.horizon);
        let quiet = settled.horizon == settled.last && cursor.gaps().is_empty();
        self.quiet = quiet.then_some(settled.last);
        Ok(false)
    }

    /// Ends the watches of credentials that do not work any more.
    fn check(&mut self, connection: &mut PgConnection) -> Result<(), Error> {
        if self.checked.is_some_and(|at| at.elapsed() < CHECK_EVERY) {
            return Ok(());
        }
        let credentials: Vec<Credential> = {
            let registry = self.shared.registry();
            let watchers = registry.watchers.values();
            watchers.map(|watcher| watcher.credential.clone()).collect()
        };
        for (id, fault) in failing(connection, &credentials)? {
            let mut registry = self.shared.registry();
            let watchers = registry.watchers.values_mut();
            for watcher in watchers.filter(|watcher| watcher.credential.id.uuid() == id) {
                if let Some(end) = watcher.end.take() {
                    // It may be ending by itself.
                    let _ended = end.send(fault);
                }
            }
        }
        if self.noted.elapsed() >= NOTE_EVERY {
            credentials
                .iter()
                .for_each(|credential| self.last_use.note(credential));
            self.noted = Instant::now();
        }
        self.checked = Some(Instant::now());
        Ok(())
    }
}

/// Those of the credentials that were revoked, have expired or are pinned to another certificate by now.
fn failing(
    connection: &mut PgConnection,
    credentials: &[Credential],
) -> Result<Vec<(Uuid, TokenFault)>, Error> {
    #[derive(QueryableByName)]
    struct Failing {
        #[diesel(sql_type = SqlUuid)]
        credential_id: Uuid,
        #[diesel(sql_type = Bool)]
        revoked: bool,
        #[diesel(sql_type = Bool)]
        pinned_anew: bool,
    }
    let (mut sites, mut of_sites, mut names_of_sites) = (Vec::new(), Vec::new(), Vec::new());
    let (mut of_all, mut names_of_all) = (Vec::new(), Vec::new());
    for credential in credentials {
        let name = credential.certificate_name.clone();
        match credential.site {
            Some(site) => {
                sites.push(site.uuid());
                of_sites.push(credential.id.uuid());
                names_of_sites.push(name);
            }
            None => {
                of_all.push(credential.id.uuid());
                names_of_all.push(name);
            }
        }
    }
    let statement = sql(
        "check watchers' credentials",
        "SELECT c.credential_id, c.revoked_at IS NOT NULL AS revoked, \
                c.certificate_name IS DISTINCT FROM w.name AS pinned_anew \
         FROM (SELECT * FROM unnest(?::uuid[], ?::uuid[], ?::text[]) AS w (site_id, credential_id, name)) w \
         JOIN credentials c USING (site_id, credential_id) \
         WHERE c.revoked_at IS NOT NULL OR c.expires_at <= clock_timestamp() \
            OR c.certificate_name IS DISTINCT FROM w.name \
         UNION \
         SELECT c.credential_id, c.revoked_at IS NOT NULL, c.certificate_name IS DISTINCT FROM w.name \
         FROM (SELECT * FROM unnest(?::uuid[], ?::text[]) AS w (credential_id, name)) w \
         JOIN all_site_credentials c USING (credential_id) \
         WHERE c.revoked_at IS NOT NULL OR c.expires_at <= clock_timestamp() \
            OR c.certificate_name IS DISTINCT FROM w.name",
    )
    .bind::<Array<SqlUuid>, _>(sites)
    .bind::<Array<SqlUuid>, _>(of_sites)
    .bind::<Array<Nullable<Text>>, _>(names_of_sites)
    .bind::<Array<SqlUuid>, _>(of_all)
    .bind::<Array<Nullable<Text>>, _>(names_of_all);
    let rows: Vec<Failing> = load(connection, statement)?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let fault = match row {
                Failing { revoked: true, .. } => TokenFault::Revoked,
                // It may be for a certificate that the watcher has or not: it signs in again.
                Failing {
                    pinned_anew: true, ..
                } => TokenFault::Certificate,
                _ => TokenFault::Expired,
            };
            (row.credential_id, fault)
        })
        .collect())
}

fn load<R>(connection: &mut PgConnection, statement: Sql) -> Result<Vec<R>, Error>
where
    R: QueryableByName<Pg> + 'static,
{
    statement.load(connection).map_err(classify)
}
