//! What the database tells of itself.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, Text, Timestamptz},
};

use super::Database;
use crate::{
    db::{Tx, sql},
    error::Error,
};

#[derive(QueryableByName)]
struct DatabaseRow {
    #[diesel(sql_type = Timestamptz)]
    now: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Array<Text>)]
    migrations: Vec<String>,
}

pub(super) fn database(tx: &mut Tx<'_>) -> Result<Database, Error> {
    let row: DatabaseRow = tx.one(sql(
        "look at the database",
        "SELECT clock_timestamp() AS now, current_setting('server_version') AS version, \
                (SELECT coalesce(array_agg(version::text ORDER BY version), '{}') \
                 FROM __diesel_schema_migrations) AS migrations",
    ))?;
    // Distributions add their own name behind the number.
    let version = row.version.split(' ').next().unwrap_or_default().to_owned();
    Ok(Database {
        time: row.now,
        version,
        migrations: row.migrations,
    })
}
