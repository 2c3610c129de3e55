//! How business entities are kept.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::BusinessEntity;
use crate::{
    db::sql,
    error::{Error, Taken},
    ids::BusinessEntityId,
    names::Name,
    site_tx::SiteTx,
};

#[derive(QueryableByName)]
struct EntityRow {
    #[diesel(sql_type = SqlUuid)]
    business_entity_id: Uuid,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    handle: String,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    updated_at: DateTime<Utc>,
}

/// All business entities by name, or the one of that id.
pub(super) fn list(
    tx: &mut SiteTx<'_, '_>,
    only: Option<BusinessEntityId>,
) -> Result<Vec<BusinessEntity>, Error> {
    let mut statement = sql(
        "list business entities",
        "SELECT b.business_entity_id, b.name, b.handle, b.version, \
           b.created_at, e.occurred_at AS updated_at \
         FROM business_entities b JOIN events e ON e.site_id = b.site_id AND e.number = b.version \
         WHERE b.deleted_event IS NULL AND b.site_id = ?",
    )
    .bind::<SqlUuid, _>(tx.site_id());
    if let Some(id) = only {
        statement.push(" AND b.business_entity_id = ?");
        statement.push_bind::<SqlUuid, _>(id.uuid());
    }
    statement.push(" ORDER BY b.name_key");
    tx.load::<EntityRow>(statement)?
        .into_iter()
        .map(|row| {
            Ok(BusinessEntity {
                id: BusinessEntityId::from(row.business_entity_id),
                name: Name::named(&row.name, "name")?,
                handle: row.handle,
                version: row.version,
                created_at: row.created_at,
                updated_at: row.updated_at,
            })
        })
        .collect()
}

#[derive(QueryableByName)]
struct Inserted {
    #[diesel(sql_type = BigInt)]
    written: i64,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    has_name: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    has_handle: Option<Uuid>,
}

/// Makes the entity; answers with who has the name or the handle where another one does.
pub(super) fn insert(
    tx: &mut SiteTx<'_, '_>,
    id: BusinessEntityId,
    name: &Name,
    handle: &str,
) -> Result<Option<(Taken, BusinessEntityId)>, Error> {
    let statement = sql(
        "insert business entity",
        "WITH made AS ( \
           INSERT INTO business_entities (site_id, business_entity_id, name, name_key, handle, version, created_at) \
           VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING business_entity_id) \
         SELECT (SELECT count(*) FROM made) AS written, \
           (SELECT business_entity_id FROM business_entities \
             WHERE site_id = ? AND name_key = ? AND deleted_event IS NULL) AS has_name, \
           (SELECT business_entity_id FROM business_entities \
             WHERE site_id = ? AND handle = ? AND deleted_event IS NULL) AS has_handle",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(id.uuid())
    .bind::<Text, _>(name.as_str().to_owned())
    .bind::<Text, _>(name.key().to_owned())
    .bind::<Text, _>(handle.to_owned())
    .bind::<BigInt, _>(tx.next_event())
    .bind::<Timestamptz, _>(tx.now)
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<Text, _>(name.key().to_owned())
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<Text, _>(handle.to_owned());
    let row: Inserted = tx.one(statement)?;
    match (row.written, row.has_name, row.has_handle) {
        (1, ..) => Ok(None),
        (_, Some(id), _) => Ok(Some((
            Taken::BusinessEntityName,
            BusinessEntityId::from(id),
        ))),
        (_, None, Some(id)) => Ok(Some((
            Taken::BusinessEntityHandle,
            BusinessEntityId::from(id),
        ))),
        (_, None, None) => Err(Error::Contended),
    }
}

#[derive(QueryableByName)]
struct Renamed {
    #[diesel(sql_type = Nullable<SqlUuid>)]
    taken: Option<Uuid>,
}

/// Renames the entity; answers with who has the name where another one does.
pub(super) fn rename(
    tx: &mut SiteTx<'_, '_>,
    entity: &BusinessEntity,
) -> Result<Option<BusinessEntityId>, Error> {
    let statement = sql(
        "rename business entity",
        "WITH clash AS (SELECT business_entity_id FROM business_entities \
                        WHERE site_id = ? AND name_key = ? AND deleted_event IS NULL \
                          AND business_entity_id <> ?), \
         changed AS (UPDATE business_entities SET name = ?, name_key = ?, version = ? \
                     WHERE site_id = ? AND business_entity_id = ? AND NOT EXISTS (SELECT FROM clash)) \
         SELECT (SELECT business_entity_id FROM clash) AS taken",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<Text, _>(entity.name.key().to_owned())
    .bind::<SqlUuid, _>(entity.id.uuid())
    .bind::<Text, _>(entity.name.as_str().to_owned())
    .bind::<Text, _>(entity.name.key().to_owned())
    .bind::<BigInt, _>(tx.next_event())
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(entity.id.uuid());
    Ok(tx
        .one::<Renamed>(statement)?
        .taken
        .map(BusinessEntityId::from))
}

#[derive(QueryableByName)]
struct Uses {
    #[diesel(sql_type = BigInt)]
    groups: i64,
    #[diesel(sql_type = BigInt)]
    grants: i64,
}

/// How many groups and how many direct grants give the entity.
pub(super) fn count_uses(
    tx: &mut SiteTx<'_, '_>,
    id: BusinessEntityId,
) -> Result<(i64, i64), Error> {
    let statement = sql(
        "count uses of business entity",
        "SELECT (SELECT count(*) FROM groups \
                  WHERE site_id = ? AND business_entity_id = ? AND deleted_event IS NULL) AS groups, \
                (SELECT count(*) FROM grants \
                  WHERE site_id = ? AND business_entity_id = ? AND to_event IS NULL) AS grants",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(id.uuid())
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(id.uuid());
    let uses: Uses = tx.one(statement)?;
    Ok((uses.groups, uses.grants))
}

pub(super) fn delete(tx: &mut SiteTx<'_, '_>, id: BusinessEntityId) -> Result<(), Error> {
    let statement = sql(
        "delete business entity",
        "UPDATE business_entities SET deleted_event = ?, version = ? \
         WHERE site_id = ? AND business_entity_id = ?",
    )
    .bind::<BigInt, _>(tx.next_event())
    .bind::<BigInt, _>(tx.next_event())
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(id.uuid());
    tx.execute(statement).map(drop)
}
