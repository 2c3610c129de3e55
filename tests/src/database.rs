//! A PostgreSQL cluster for the whole test run, and a database of its own for each test.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, sql_types::BigInt};
use roster_stack::{
    guard::{Guard, program},
    postgres::{Cluster, ClusterOptions},
};

/// The cluster, and the guard that stops it when the test run ends in whatever way.
#[derive(Debug)]
pub struct Server {
    /// Stops everything that the tests start.
    pub guard: Guard,
    /// The cluster.
    pub cluster: Cluster,
}

const TEMPLATE: &str = "roster_template";

/// The cluster of this test run, with a migrated template database; started by the first test.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let guard = Guard::spawn(None).unwrap();
        let options = ClusterOptions::temporary()
            .unwrap()
            .setting("fsync", "off")
            .setting("synchronous_commit", "off")
            .setting("full_page_writes", "off")
            .setting("max_connections", "300")
            // What `statements` reads.
            .setting("log_statement", "all")
            .setting("log_line_prefix", "%a|");
        let cluster = Cluster::start(options, &guard).unwrap();
        cluster.create_database(TEMPLATE, None).unwrap();
        migrate(&cluster.url(TEMPLATE));
        Server { guard, cluster }
    })
}

/// Runs `identity migrate` on a database.
pub fn migrate(url: &str) {
    migrate_with(&program("identity").unwrap(), url);
}

/// Runs `migrate` of this build of identity on a database.
pub fn migrate_with(identity: &Path, url: &str) {
    let output = Command::new(identity)
        .arg("migrate")
        .env("DATABASE_URL", url)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A database of one test; dropped with it.
#[derive(Debug)]
pub struct Database {
    name: String,
    url: String,
}

impl Database {
    /// A new database with the newest schema and nothing in it.
    pub fn create() -> Self {
        Self::from_template(Some(TEMPLATE))
    }

    /// A new database without a schema.
    pub fn empty() -> Self {
        Self::from_template(None)
    }

    /// The database of this name in another cluster, which goes away with that cluster.
    pub fn elsewhere(cluster: &Cluster, name: &str) -> Self {
        Self {
            url: cluster.url(name),
            name: name.to_owned(),
        }
    }

    fn from_template(template: Option<&str>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let server = server();
        server.cluster.create_database(&name, template).unwrap();
        Self {
            url: server.cluster.url(&name),
            name,
        }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its address through a proxy at this port.
    pub fn url_through(&self, port: u16) -> String {
        let own = format!(":{}/", server().cluster.port());
        self.url.replace(&own, &format!(":{port}/"))
    }

    /// A connection of the test's own.
    pub fn connect(&self) -> PgConnection {
        PgConnection::establish(&self.url).unwrap()
    }

    /// The number that a query answers with in its column `n`.
    pub fn number(&self, query: &str) -> i64 {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = BigInt)]
            n: i64,
        }
        let rows: Vec<Row> = diesel::sql_query(query).load(&mut self.connect()).unwrap();
        rows.first().map_or(0, |row| row.n)
    }

    /// Runs a statement.
    pub fn execute(&self, statement: &str) {
        diesel::sql_query(statement)
            .execute(&mut self.connect())
            .unwrap();
    }

    /// The texts that a query answers with in its column `t`.
    pub fn texts(&self, query: &str) -> Vec<String> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            t: String,
        }
        let rows: Vec<Row> = diesel::sql_query(query).load(&mut self.connect()).unwrap();
        rows.into_iter().map(|row| row.t).collect()
    }

    /// Makes many active members of a site (`m1@many.example`, `m2@many.example`, ..) without asking
    /// anybody, as if its first event had; answers with their ids.
    pub fn seed_members(&self, site_id: &str, count: u32) -> Vec<String> {
        self.execute(&format!(
            "WITH made AS (
                INSERT INTO members (site_id, member_id, user_name, user_name_key, active, profile,
                    profile_keys, email_keys, version, created_at, updated_at)
                SELECT '{site_id}', gen_random_uuid(), name, name, true, '{{}}',
                    jsonb_build_object('emails', jsonb_build_array(jsonb_build_object('value', name, 'type', 'work', 'primary', true))), ARRAY[name], 1, now(), now()
                FROM (SELECT 'm' || n || '@many.example' AS name FROM generate_series(1, {count}) n) names
                RETURNING site_id, member_id)
             INSERT INTO member_activity (site_id, member_id, from_event)
             SELECT site_id, member_id, 1 FROM made"
        ));
        self.execute("ANALYZE");
        self.texts(&format!(
            "SELECT member_id::text AS t FROM members
             WHERE site_id = '{site_id}' AND user_name LIKE '%@many.example' ORDER BY 1"
        ))
    }

    /// Writes as many events of a site in one transaction, each of about so many bytes, as nobody does.
    pub fn write_events(&self, site_id: &str, count: u32, bytes: u32) {
        // Text that does not compress, so that it is as large when it is kept.
        self.execute(&format!(
            "WITH tick AS (UPDATE site_clocks SET revision = revision + {count} WHERE site_id = '{site_id}' \
                           RETURNING site_id, revision - {count} AS before), \
                  bulk AS (SELECT string_agg(md5(n::text), '') AS text FROM generate_series(1, {bytes} / 32) n) \
             INSERT INTO events (site_id, number, occurred_at, kind, actor, subject_id, trace_id, before, after, \
                                 access_changes) \
             SELECT site_id, before + n, now(), 'member.updated', 'nobody', site_id, '', '{{}}', \
                    jsonb_build_object('bulk', (SELECT text FROM bulk)), '[]' \
             FROM tick, generate_series(1, {count}) n ORDER BY n"
        ));
    }

    /// Everything that stands in the tables that a request can change, as one text: equal before and
    /// after means that nothing was written.
    pub fn snapshot(&self) -> String {
        let mut text = String::new();
        for table in [
            "sites",
            "site_clocks",
            "site_divisions",
            "members",
            "member_activity",
            "roles",
            "role_permissions",
            "business_entities",
            "groups",
            "group_targets",
            "group_members",
            "grants",
            "grant_terms",
            "events",
        ] {
            let rows = self.texts(&format!(
                "SELECT {table}::text AS t FROM {table} ORDER BY 1"
            ));
            text.push_str(table);
            for row in rows {
                text.push('\n');
                text.push_str(&row);
            }
            text.push('\n');
        }
        text
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A test that failed may leave connections; the cluster goes away in any case.
        let _left = server().cluster.drop_database(&self.name);
    }
}

/// The statements of the transactions of one trace, in order, without the one that begins them (which
/// brings the trace along): what PostgreSQL's log has under that trace id.
pub fn statements(trace_id: &str) -> Vec<String> {
    let prefix = format!("identity {trace_id}|");
    let patience = Instant::now() + Duration::from_secs(5);
    loop {
        let log = fs::read(server().cluster.log()).unwrap();
        let log = String::from_utf8_lossy(&log);
        let found: Vec<String> = log
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix))
            .filter_map(|line| {
                let line = line.strip_prefix("LOG:  ")?;
                line.strip_prefix("statement: ").or_else(|| {
                    line.strip_prefix("execute ")?
                        .split_once(": ")
                        .map(|(_, sql)| sql)
                })
            })
            .map(str::to_owned)
            .collect();
        let ended = found
            .last()
            .is_some_and(|last| last == "COMMIT" || last == "ROLLBACK");
        if ended || Instant::now() > patience {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
