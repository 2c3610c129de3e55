//! How business entities are kept.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::BusinessEntity;
use crate::{
    db::{Sql, sql},
    error::{Error, Taken},
    filter::{Field, Fields, Query, Rows},
    ids::BusinessEntityId,
    names::Name,
    site_tx::SiteTx,
};

#[derive(QueryableByName)]
struct EntityRow {
    #[diesel(sql_type = Nullable<Text>)]
    sort_key: Option<String>,
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

impl EntityRow {
    fn into_entity(self) -> Result<BusinessEntity, Error> {
        Ok(BusinessEntity {
            id: BusinessEntityId::from(self.business_entity_id),
            name: Name::named(&self.name, "name")?,
            handle: self.handle,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

/// Business entities `b`; `sort_key` is an expression of ours.
fn select_entities(name: &'static str, sort_key: &str, tx: &SiteTx<'_, '_>) -> Sql {
    sql(
        name,
        format!(
            "SELECT {sort_key} AS sort_key, b.business_entity_id, b.name, b.handle, b.version, \
               b.created_at, e.occurred_at AS updated_at \
             FROM business_entities b JOIN events e ON e.site_id = b.site_id AND e.number = b.version \
             WHERE b.deleted_event IS NULL AND b.site_id = ?"
        ),
    )
    .bind::<SqlUuid, _>(tx.site_id())
}

/// Those of these business entities that are there.
pub(super) fn get_several(
    tx: &mut SiteTx<'_, '_>,
    ids: Vec<BusinessEntityId>,
) -> Result<Vec<BusinessEntity>, Error> {
    let ids: Vec<Uuid> = ids.into_iter().map(BusinessEntityId::uuid).collect();
    let mut statement = select_entities("get business entities", "NULL::text", tx);
    statement.push(" AND b.business_entity_id = ANY(?)");
    statement.push_bind::<Array<SqlUuid>, _>(ids);
    tx.load::<EntityRow>(statement)?
        .into_iter()
        .map(EntityRow::into_entity)
        .collect()
}

/// The business entities of a page, each with what it is ordered by.
pub(super) fn list(
    tx: &mut SiteTx<'_, '_>,
    query: &Query,
    rows: &Rows,
) -> Result<Vec<(BusinessEntity, Option<String>)>, Error> {
    let key = query.sort_key(&EntityFields)?;
    let mut statement = select_entities("list business entities", &key, tx);
    query.push_page(&mut statement, &EntityFields, rows)?;
    tx.load::<EntityRow>(statement)?
        .into_iter()
        .map(|mut row| {
            let key = row.sort_key.take();
            Ok((row.into_entity()?, key))
        })
        .collect()
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// How many business entities match.
pub(super) fn count(tx: &mut SiteTx<'_, '_>, query: &Query) -> Result<i64, Error> {
    let mut statement = sql(
        "count business entities",
        "SELECT count(*) AS count \
         FROM business_entities b JOIN events e ON e.site_id = b.site_id AND e.number = b.version \
         WHERE b.deleted_event IS NULL AND b.site_id = ?",
    )
    .bind::<SqlUuid, _>(tx.site_id());
    query.push_condition(&mut statement, &EntityFields)?;
    Ok(tx.one::<Count>(statement)?.count)
}

/// What business entities can be found and ordered by; they are `b` in SQL.
struct EntityFields;

impl Fields for EntityFields {
    const ID: &'static str = "b.business_entity_id";

    fn field(&self, name: &str) -> Option<Field> {
        Some(match name {
            "id" => Field::Id("b.business_entity_id".to_owned()),
            "name" => Field::Key {
                exact: "b.name".to_owned(),
                key: "b.name_key".to_owned(),
            },
            // Lower case by its form.
            "handle" => Field::Text {
                exact: "b.handle".to_owned(),
                folded: "b.handle".to_owned(),
            },
            "create_time" => Field::Moment("b.created_at".to_owned()),
            "update_time" => Field::Moment("e.occurred_at".to_owned()),
            _ => return None,
        })
    }
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

/// How many groups give the entity, and how many grants of members' own.
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
