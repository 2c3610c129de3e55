//! The migrations, embedded into the binary.

use std::time::Duration;

use diesel::{
    Connection, PgConnection, QueryableByName,
    migration::{Migration, MigrationSource as _},
    pg::Pg,
    sql_types::Text,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::pool::{Manager, explain};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// Any number; the same in every copy, so that two migrating at once wait for each other.
const LOCK: i64 = 0x526f_7374_6572;

/// Brings the database at `url` to the newest schema and answers with the names of the migrations it
/// ran. Safe to run at any time, also twice at once and beside a serving process.
///
/// # Errors
/// A sentence that says what is wrong: no connection, a server older than PostgreSQL 15, or a
/// migration that failed (which is then undone whole).
pub fn migrate(url: &str) -> Result<Vec<String>, String> {
    let mut connection = Manager::new(url)
        .establish()
        .map_err(|error| format!("can't connect to the database: {}", explain(&error)))?;
    check_version(&mut connection)?;
    lock(&mut connection).map_err(|error| format!("can't take the migration lock: {error}"))?;
    let done = connection
        .run_pending_migrations(MIGRATIONS)
        .map(|versions| versions.iter().map(ToString::to_string).collect())
        .map_err(|error| format!("a migration failed: {error}"));
    if done.is_ok() {
        rebuild_broken_indexes(&mut connection);
    }
    // The lock goes with the connection in any case.
    drop(connection);
    done
}

/// Says in the database at `url` that it was restored to an earlier state: resume tokens of before are refused
/// from then on, as the numbers and positions that they name are given once more.
///
/// # Errors
/// A sentence that says what is wrong: no connection, or a schema that is not migrated.
pub fn restored(url: &str) -> Result<(), String> {
    use diesel::RunQueryDsl as _;
    let mut connection = Manager::new(url)
        .establish()
        .map_err(|error| format!("can't connect to the database: {}", explain(&error)))?;
    if !is_current(&mut connection) {
        return Err("the database lacks migrations: run `identity migrate` first".to_owned());
    }
    diesel::sql_query("INSERT INTO restorations DEFAULT VALUES")
        .execute(&mut connection)
        .map(|_| ())
        .map_err(|error| format!("can't write to the database: {error}"))
}

#[derive(QueryableByName)]
struct IndexRow {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Builds again what a migration that was killed left half built: such an index has its name already, so that the
/// migration's next run passes over it, and nothing reads by it. Not what somebody is building at this moment. The
/// schema is whole without it, only slow: what can't be built again is told of and no failure.
fn rebuild_broken_indexes(connection: &mut PgConnection) {
    use diesel::{RunQueryDsl as _, connection::SimpleConnection as _, sql_query};
    let broken = sql_query(
        "SELECT c.relname AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         WHERE NOT i.indisvalid AND c.relkind = 'i' \
           AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) \
           AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index b WHERE b.index_relid = c.oid) \
         ORDER BY c.relname",
    )
    .load::<IndexRow>(connection);
    let broken = broken.unwrap_or_else(|error| {
        tracing::warn!(%error, "could not look for indexes that were left half built");
        Vec::new()
    });
    for IndexRow { name } in broken {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        // What an earlier rebuilding left stands beside the index itself.
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let statement = match stem.ends_with("_ccnew") || stem.ends_with("_ccold") {
            true => format!("DROP INDEX CONCURRENTLY {quoted}"),
            false => format!("REINDEX INDEX CONCURRENTLY {quoted}"),
        };
        match connection.batch_execute(&statement) {
            Ok(()) => tracing::warn!(index = name, "an index was left half built, and is mended"),
            Err(error) => {
                tracing::warn!(index = name, %error, "an index is half built, and could not be mended");
            }
        }
    }
}

/// Takes the migration lock. Asks again and again instead of waiting inside a statement: an index made
/// concurrently waits for every running statement, and so would wait for this one for ever.
fn lock(connection: &mut PgConnection) -> diesel::QueryResult<()> {
    use diesel::{RunQueryDsl as _, select};
    diesel::define_sql_function! { fn pg_try_advisory_lock(key: diesel::sql_types::BigInt) -> diesel::sql_types::Bool }
    while !select(pg_try_advisory_lock(LOCK)).get_result::<bool>(connection)? {
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A migration that this binary needs.
#[derive(Clone, Debug)]
pub(crate) struct Needed {
    /// 14 digits.
    pub(crate) version: String,
    pub(crate) name: String,
}

/// All of them, oldest first.
pub(crate) fn needed_migrations() -> Vec<Needed> {
    let all: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations().unwrap_or_default();
    let mut needed: Vec<Needed> = all
        .iter()
        .map(|migration| Needed {
            version: migration.name().version().to_string(),
            name: migration.name().to_string(),
        })
        .collect();
    needed.sort_by(|one, other| one.version.cmp(&other.version));
    needed
}

/// Whether the schema is as new as this binary.
fn is_current(connection: &mut PgConnection) -> bool {
    connection
        .has_pending_migration(MIGRATIONS)
        .is_ok_and(|pending| !pending)
}

fn check_version(connection: &mut PgConnection) -> Result<(), String> {
    use diesel::{RunQueryDsl as _, select};
    diesel::define_sql_function! { fn current_setting(name: diesel::sql_types::Text) -> diesel::sql_types::Text }
    let version: String = connection
        .transaction(|connection| {
            select(current_setting("server_version_num")).get_result(connection)
        })
        .map_err(|error| format!("can't read the server's version: {error}"))?;
    match version.parse::<u32>() {
        Ok(number) if number < 150_000 => Err(format!(
            "the database is PostgreSQL {}, and Roster needs 15 or later",
            number / 10_000
        )),
        _ => Ok(()),
    }
}
