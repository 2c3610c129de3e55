//! The schema: made by `identity migrate`, however often and by however many at once, and ready to be
//! distributed by site.

use std::process::{Command, Stdio};

use diesel::{Connection, PgConnection, RunQueryDsl};
use identity_tests::database::{Database, migrate, server};
use roster_stack::guard::program;

/// A database with nothing in it.
struct Empty {
    name: String,
    url: String,
}

impl Empty {
    fn create(name: &str) -> Self {
        let server = server();
        server.cluster.create_database(name, None).unwrap();
        Self {
            url: server.cluster.url(name),
            name: name.to_owned(),
        }
    }

    fn tables(&self) -> String {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            t: String,
        }
        let mut connection = PgConnection::establish(&self.url).unwrap();
        let row: Row = diesel::sql_query(
            "SELECT coalesce(string_agg(format('%s.%s %s', table_name, column_name, data_type), E'\\n' \
                    ORDER BY table_name, ordinal_position), '') AS t \
             FROM information_schema.columns WHERE table_schema = 'public'",
        )
        .get_result(&mut connection)
        .unwrap();
        row.t
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        let _left = server().cluster.drop_database(&self.name);
    }
}

#[test]
fn migrating_twice_and_by_many_at_once_makes_one_schema() {
    let once = Empty::create("migrated_once");
    migrate(&once.url);
    let schema = once.tables();
    assert!(schema.contains("members.user_name_key text"), "{schema}");
    migrate(&once.url);
    assert_eq!(once.tables(), schema);

    let many = Empty::create("migrated_by_many");
    let all: Vec<_> = (0..4)
        .map(|_| {
            let mut command = Command::new(program("identity").unwrap());
            command.arg("migrate").env("DATABASE_URL", &many.url);
            command.stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut one in all {
        assert!(one.wait().unwrap().success());
    }
    assert_eq!(many.tables(), schema);
}

#[test]
fn migrating_says_in_one_sentence_what_is_wrong() {
    for url in ["postgres://127.0.0.1:1/none", "no address"] {
        let output = Command::new(program("identity").unwrap())
            .arg("migrate")
            .env("DATABASE_URL", format!("{url}?password=hunter2"))
            .output()
            .unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("database"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_its_schema_is_not_ready_until_it_has_it() {
    let empty = Empty::create("not_migrated");
    let logs = tempfile::tempdir().unwrap();
    let options = identity_tests::world::World::identity_options(
        &empty.url,
        roster_stack::ports::free_port().unwrap(),
        &logs.path().join("identity.log"),
    );
    let url = empty.url.clone();
    let started = tokio::task::spawn_blocking(move || {
        let late = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(700));
            migrate(&url);
        });
        let service = roster_stack::services::Service::start(options, &server().guard).unwrap();
        late.join().unwrap();
        service
    });
    let service = started.await.unwrap();
    let log = std::fs::read_to_string(service.log()).unwrap();
    assert!(log.contains("run `identity migrate`"), "{log}");
}

#[test]
fn every_key_begins_with_the_site() {
    /// The small tables that every node of a cluster holds.
    const EXEMPT: [&str; 7] = [
        "sites",
        "all_site_credentials",
        "permissions",
        "built_in_roles",
        "built_in_role_permissions",
        "restorations",
        "__diesel_schema_migrations",
    ];
    let database = Database::create();
    // Primary keys and unique indexes: the first column. An exempt table's may begin with anything.
    let indexes = database.texts(
        "SELECT format('%s %s %s', c.relname, i.indexrelid::regclass, a.attname) AS t \
         FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid \
         JOIN pg_namespace s ON s.oid = c.relnamespace \
         LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] \
         WHERE i.indisunique AND s.nspname = 'public'",
    );
    assert!(indexes.len() > 25, "{indexes:?}");
    let wrong: Vec<&String> = indexes
        .iter()
        .filter(|index| {
            let table = index.split(' ').next().unwrap();
            !EXEMPT.contains(&table) && !index.ends_with(" site_id")
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    // Foreign keys: from a site's row to the same site's row, or to a table that every node holds.
    let keys = database.texts(
        "SELECT format('%s %s %s %s', k.conrelid::regclass, k.confrelid::regclass, f.attname, t.attname) AS t \
         FROM pg_constraint k \
         JOIN pg_attribute f ON f.attrelid = k.conrelid AND f.attnum = k.conkey[1] \
         JOIN pg_attribute t ON t.attrelid = k.confrelid AND t.attnum = k.confkey[1] \
         WHERE k.contype = 'f'",
    );
    assert!(keys.len() > 15, "{keys:?}");
    let wrong: Vec<&String> = keys
        .iter()
        .filter(|key| {
            let parts: Vec<&str> = key.split(' ').collect();
            !EXEMPT.contains(&parts[1]) && parts[2..] != ["site_id", "site_id"]
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    // Every table that is not exempt is a site's.
    let siteless = database.texts(
        "SELECT tablename::text AS t FROM pg_tables WHERE schemaname = 'public' AND NOT EXISTS \
           (SELECT FROM information_schema.columns c WHERE c.table_schema = 'public' \
              AND c.table_name = tablename AND c.column_name = 'site_id' AND c.is_nullable = 'NO')",
    );
    let wrong: Vec<&String> = siteless
        .iter()
        .filter(|table| !EXEMPT.contains(&table.as_str()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn an_index_that_was_left_half_built_is_built_again() {
    let database = Database::empty();
    migrate(database.url());
    let broken = "SELECT count(*) AS n FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
                  WHERE NOT i.indisvalid AND c.relname IN ('events_position', 'grants_of_role')";
    // What a build that was killed leaves.
    database.execute(
        "UPDATE pg_index SET indisvalid = false \
         WHERE indexrelid IN ('events_position'::regclass, 'grants_of_role'::regclass)",
    );
    // And what a rebuilding that was killed leaves beside one.
    database.execute("CREATE INDEX events_position_ccnew1 ON events (position)");
    database.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'events_position_ccnew1'::regclass",
    );
    assert_eq!(database.number(broken), 2);
    migrate(database.url());
    assert_eq!(database.number(broken), 0);
    let left = "SELECT count(*) AS n FROM pg_class WHERE relname LIKE '%_ccnew%'";
    assert_eq!(database.number(left), 0);
}

#[test]
fn a_schema_may_have_any_name() {
    let database = Database::empty();
    database.execute("CREATE SCHEMA \"Roster Prod\"");
    let name = database
        .texts("SELECT current_database()::text AS t")
        .remove(0);
    database.execute(&format!(
        "ALTER DATABASE {name} SET search_path = \"Roster Prod\""
    ));
    migrate(database.url());
    migrate(database.url());
}
