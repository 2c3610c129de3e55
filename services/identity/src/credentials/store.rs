//! How credentials are kept.

use std::time::Instant;

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Binary, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::{Credential, scope_names};
use crate::{
    authn::TokenHash,
    authz::Scope,
    db::{Sql, Tx, sql},
    error::{Error, TokenFault},
    filter::{Field, Fields, List, Listed, Query},
    ids::{CredentialId, SiteId},
    site_tx::SiteTx,
    sites::{Site, store as site_store},
};

const COLUMNS: &str = "c.credential_id, c.label, c.scopes, c.created_at, c.expires_at, c.revoked_at, \
                       c.last_used_at, c.certificate_name, c.version";

#[derive(QueryableByName)]
struct CredentialRow {
    #[diesel(sql_type = SqlUuid)]
    credential_id: Uuid,
    #[diesel(sql_type = Text)]
    label: String,
    #[diesel(sql_type = Array<Text>)]
    scopes: Vec<String>,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    expires_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    revoked_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    last_used_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    certificate_name: Option<String>,
    #[diesel(sql_type = BigInt)]
    version: i64,
}

impl CredentialRow {
    fn into_credential(self, site: Option<SiteId>) -> Credential {
        Credential {
            id: CredentialId::from(self.credential_id),
            site,
            label: self.label,
            // A scope of a later release is one that this one can't grant.
            scopes: self
                .scopes
                .iter()
                .filter_map(|scope| Scope::parse(scope))
                .collect(),
            created_at: self.created_at,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            last_used_at: self.last_used_at,
            certificate_name: self.certificate_name,
            version: self.version,
        }
    }

    /// Why it does not work for a caller whose certificate has these names; none: it does.
    fn fault(&self, certificate_names: &[String]) -> Option<TokenFault> {
        if self.revoked_at.is_some() {
            return Some(TokenFault::Revoked);
        }
        if self.expires_at.is_some_and(|at| at <= Utc::now()) {
            return Some(TokenFault::Expired);
        }
        let pinned = self.certificate_name.as_ref();
        pinned
            .is_some_and(|name| !certificate_names.contains(name))
            .then_some(TokenFault::Certificate)
    }
}

#[derive(QueryableByName)]
struct SignInRow {
    #[diesel(embed)]
    credential: CredentialRow,
    #[diesel(embed)]
    site: site_store::SiteRow,
}

/// Signs in with a site's own token: the credential, the site, and the moment by the site's clock, in
/// one statement that also takes the site's lock for a write; in two where it waited for the lock. A token that does not work takes no lock.
pub(crate) fn sign_in_to_site(
    tx: &mut Tx<'_>,
    site: SiteId,
    hash: TokenHash,
    lock: bool,
) -> Result<(Credential, Site, DateTime<Utc>), Error> {
    let asked = Instant::now();
    let mut row = find_sign_in(tx, site, hash, lock)?;
    // The credential too may have been revoked during the wait, also where whoever was waited for wrote nothing.
    let waited = lock && asked.elapsed() > site_store::WAITED;
    if row.as_ref().is_some_and(|row| row.site.overtaken || waited) {
        row = find_sign_in(tx, site, hash, lock)?;
    }
    let Some(row) = row else {
        let statement = sql(
            "find the fault of a token",
            format!(
                "SELECT {COLUMNS} FROM credentials c WHERE c.site_id = ? AND c.secret_hash = ?"
            ),
        )
        .bind::<SqlUuid, _>(site.uuid())
        .bind::<Binary, _>(hash.as_bytes().to_vec());
        let row: Option<CredentialRow> = tx.first(statement)?;
        let fault = row.map_or(TokenFault::Unknown, |row| {
            // The database's clock and ours may differ a little.
            row.fault(&tx.context.certificate_names)
                .unwrap_or(TokenFault::Expired)
        });
        return Err(Error::Unauthenticated(fault));
    };
    let (site, now) = row.site.into_site()?;
    Ok((row.credential.into_credential(Some(site.id)), site, now))
}

/// The credential of that token, if it works, and its site.
fn find_sign_in(
    tx: &mut Tx<'_>,
    site: SiteId,
    hash: TokenHash,
    lock: bool,
) -> Result<Option<SignInRow>, Error> {
    let statement = sql(
        "sign in",
        format!(
            "SELECT o.*, {} FROM (SELECT {COLUMNS}, {} FROM credentials c \
             JOIN sites s USING (site_id) JOIN site_clocks k USING (site_id) \
             WHERE c.site_id = ? AND c.secret_hash = ? AND c.revoked_at IS NULL \
               AND (c.expires_at IS NULL OR c.expires_at > clock_timestamp()) \
               AND (c.certificate_name IS NULL OR c.certificate_name = ANY(?)){}) o",
            site_store::NOW,
            site_store::SITE_COLUMNS,
            site_store::Lock::of(lock).clause(),
        ),
    )
    .bind::<SqlUuid, _>(site.uuid())
    .bind::<Binary, _>(hash.as_bytes().to_vec())
    .bind::<Array<Text>, _>(tx.context.certificate_names.clone());
    tx.first(statement)
}

/// Signs in with a token of all sites.
pub(crate) fn sign_in_to_all(tx: &mut Tx<'_>, hash: TokenHash) -> Result<Credential, Error> {
    let statement = sql(
        "sign in",
        format!("SELECT {COLUMNS} FROM all_site_credentials c WHERE c.secret_hash = ?"),
    )
    .bind::<Binary, _>(hash.as_bytes().to_vec());
    let row: Option<CredentialRow> = tx.first(statement)?;
    let row = row.ok_or(Error::Unauthenticated(TokenFault::Unknown))?;
    match row.fault(&tx.context.certificate_names) {
        None => Ok(row.into_credential(None)),
        Some(fault) => Err(Error::Unauthenticated(fault)),
    }
}

pub(super) fn insert(
    tx: &mut SiteTx<'_, '_>,
    credential: &Credential,
    hash: &TokenHash,
) -> Result<(), Error> {
    let statement = sql(
        "insert credential",
        "INSERT INTO credentials (site_id, credential_id, secret_hash, label, scopes, created_at, expires_at, \
                                  certificate_name) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(credential.id.uuid())
    .bind::<Binary, _>(hash.as_bytes().to_vec())
    .bind::<Text, _>(credential.label.clone())
    .bind::<Array<Text>, _>(scope_names(&credential.scopes))
    .bind::<Timestamptz, _>(credential.created_at)
    .bind::<Nullable<Timestamptz>, _>(credential.expires_at)
    .bind::<Nullable<Text>, _>(credential.certificate_name.clone());
    tx.execute(statement).map(drop)
}

pub(super) fn insert_for_all(
    tx: &mut Tx<'_>,
    credential: &Credential,
    hash: &TokenHash,
) -> Result<(), Error> {
    let statement = sql(
        "insert credential",
        "INSERT INTO all_site_credentials \
             (credential_id, secret_hash, label, scopes, created_at, expires_at, certificate_name) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind::<SqlUuid, _>(credential.id.uuid())
    .bind::<Binary, _>(hash.as_bytes().to_vec())
    .bind::<Text, _>(credential.label.clone())
    .bind::<Array<Text>, _>(scope_names(&credential.scopes))
    .bind::<Timestamptz, _>(credential.created_at)
    .bind::<Nullable<Timestamptz>, _>(credential.expires_at)
    .bind::<Nullable<Text>, _>(credential.certificate_name.clone());
    tx.execute(statement).map(drop)
}

#[derive(QueryableByName)]
struct ListedRow {
    #[diesel(sql_type = Nullable<Text>)]
    sort_key: Option<String>,
    #[diesel(embed)]
    credential: CredentialRow,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// A page of the credentials of a site, or of those of all sites.
pub(super) fn list(
    tx: &mut Tx<'_>,
    site: Option<SiteId>,
    query: &Query,
) -> Result<Listed<Credential>, Error> {
    // Adds the site to what ends in `FROM`, which table it is in, and the beginning of `WHERE`.
    let of_site = |mut statement: Sql| {
        match site {
            Some(site) => {
                statement.push("credentials c WHERE c.site_id = ?");
                statement.push_bind::<SqlUuid, _>(site.uuid());
            }
            None => statement.push("all_site_credentials c WHERE true"),
        }
        statement
    };
    query.page(
        tx,
        site.map_or(Uuid::nil(), SiteId::uuid),
        |credential: &Credential| credential.id.uuid(),
        |tx, rows| {
            let key = query.sort_key(&CredentialFields)?;
            let mut statement = of_site(sql(
                "list credentials",
                format!("SELECT {key} AS sort_key, {COLUMNS} FROM "),
            ));
            query.push_page(&mut statement, &CredentialFields, rows)?;
            let rows: Vec<ListedRow> = tx.load(statement)?;
            Ok(rows
                .into_iter()
                .map(|row| (row.credential.into_credential(site), row.sort_key))
                .collect())
        },
        |tx| {
            let mut statement = of_site(sql("count credentials", "SELECT count(*) AS count FROM "));
            query.push_condition(&mut statement, &CredentialFields)?;
            Ok(tx.one::<Count>(statement)?.count)
        },
    )
}

/// What credentials can be found and ordered by; they are `c` in SQL.
struct CredentialFields;

impl Fields for CredentialFields {
    const ID: &'static str = "c.credential_id";

    fn field(&self, name: &str) -> Option<Field> {
        Some(match name {
            "id" => Field::Id("c.credential_id".to_owned()),
            // Compared as it was given: labels have no key.
            "label" => Field::Text {
                exact: "c.label".to_owned(),
                folded: "c.label".to_owned(),
            },
            "create_time" => Field::Moment("c.created_at".to_owned()),
            "last_use_time" => Field::Moment("c.last_used_at".to_owned()),
            "expire_time" => Field::Moment("c.expires_at".to_owned()),
            "revoke_time" => Field::Moment("c.revoked_at".to_owned()),
            "scopes" => Field::List(List {
                rows: "FROM unnest(c.scopes) AS scope (name) WHERE true".to_owned(),
                parts: vec![(
                    "name",
                    Field::Text {
                        exact: "scope.name".to_owned(),
                        folded: "scope.name".to_owned(),
                    },
                )],
                first: "scope.name",
                indexed: None,
            }),
            _ => return None,
        })
    }
}

/// The site's credentials of identity providers that are not revoked, newest first, at most so many.
pub(crate) fn of_providers(tx: &mut SiteTx<'_, '_>, limit: i64) -> Result<Vec<Credential>, Error> {
    let statement = sql(
        "find providers",
        format!(
            "SELECT {COLUMNS} FROM credentials c \
             WHERE c.site_id = ? AND 'provision' = ANY(c.scopes) AND c.revoked_at IS NULL \
             ORDER BY c.credential_id DESC LIMIT ?"
        ),
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<BigInt, _>(limit);
    let site = Some(tx.site.id);
    let rows: Vec<CredentialRow> = tx.load(statement)?;
    Ok(rows
        .into_iter()
        .map(|row| row.into_credential(site))
        .collect())
}

pub(super) fn get(tx: &mut SiteTx<'_, '_>, id: CredentialId) -> Result<Option<Credential>, Error> {
    Ok(get_several(tx, [id])?.pop())
}

/// Those of these credentials that the site has.
pub(super) fn get_several(
    tx: &mut SiteTx<'_, '_>,
    ids: impl IntoIterator<Item = CredentialId>,
) -> Result<Vec<Credential>, Error> {
    let statement = sql(
        "get credentials",
        format!(
            "SELECT {COLUMNS} FROM credentials c WHERE c.site_id = ? AND c.credential_id = ANY(?)"
        ),
    )
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<Array<SqlUuid>, _>(uuids(ids));
    let site = Some(tx.site.id);
    let rows: Vec<CredentialRow> = tx.load(statement)?;
    Ok(rows
        .into_iter()
        .map(|row| row.into_credential(site))
        .collect())
}

fn uuids(ids: impl IntoIterator<Item = CredentialId>) -> Vec<Uuid> {
    ids.into_iter().map(|id| id.uuid()).collect()
}

pub(super) fn get_for_all(tx: &mut Tx<'_>, id: CredentialId) -> Result<Option<Credential>, Error> {
    Ok(get_several_for_all(tx, [id], "")?.pop())
}

/// The credential of all sites of that id, which nobody else changes before this transaction ends.
pub(super) fn lock_for_all(tx: &mut Tx<'_>, id: CredentialId) -> Result<Option<Credential>, Error> {
    Ok(get_several_for_all(tx, [id], " FOR NO KEY UPDATE")?.pop())
}

/// Those of these credentials of all sites that there are; the statement ends in `lock`.
pub(super) fn get_several_for_all(
    tx: &mut Tx<'_>,
    ids: impl IntoIterator<Item = CredentialId>,
    lock: &str,
) -> Result<Vec<Credential>, Error> {
    let statement = sql(
        "get credentials",
        format!(
            "SELECT {COLUMNS} FROM all_site_credentials c WHERE c.credential_id = ANY(?){lock}"
        ),
    )
    .bind::<Array<SqlUuid>, _>(uuids(ids));
    let rows: Vec<CredentialRow> = tx.load(statement)?;
    Ok(rows
        .into_iter()
        .map(|row| row.into_credential(None))
        .collect())
}

/// Writes what can change of a credential, and answers with it as it is then.
pub(super) fn update(
    tx: &mut SiteTx<'_, '_>,
    credential: &Credential,
) -> Result<Credential, Error> {
    let statement = sql(
        "update credential",
        format!(
            "UPDATE credentials c SET label = ?, expires_at = ?, certificate_name = ? \
             WHERE c.site_id = ? AND c.credential_id = ? RETURNING {COLUMNS}"
        ),
    )
    .bind::<Text, _>(credential.label.clone())
    .bind::<Nullable<Timestamptz>, _>(credential.expires_at)
    .bind::<Nullable<Text>, _>(credential.certificate_name.clone())
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(credential.id.uuid());
    let row: CredentialRow = tx.one(statement)?;
    Ok(row.into_credential(credential.site))
}

/// Writes what can change of a credential of all sites, and answers with it as it is then.
pub(super) fn update_for_all(
    tx: &mut Tx<'_>,
    credential: &Credential,
) -> Result<Credential, Error> {
    let statement = sql(
        "update credential",
        format!(
            "UPDATE all_site_credentials c SET label = ?, expires_at = ?, certificate_name = ? \
             WHERE c.credential_id = ? RETURNING {COLUMNS}"
        ),
    )
    .bind::<Text, _>(credential.label.clone())
    .bind::<Nullable<Timestamptz>, _>(credential.expires_at)
    .bind::<Nullable<Text>, _>(credential.certificate_name.clone())
    .bind::<SqlUuid, _>(credential.id.uuid());
    let row: CredentialRow = tx.one(statement)?;
    Ok(row.into_credential(None))
}

/// Revokes a credential that works, and answers with it as it is then.
pub(super) fn revoke(tx: &mut SiteTx<'_, '_>, id: CredentialId) -> Result<Credential, Error> {
    let statement = sql(
        "revoke credential",
        format!(
            "UPDATE credentials c SET revoked_at = ? \
             WHERE c.site_id = ? AND c.credential_id = ? RETURNING {COLUMNS}"
        ),
    )
    .bind::<Timestamptz, _>(tx.now)
    .bind::<SqlUuid, _>(tx.site_id())
    .bind::<SqlUuid, _>(id.uuid());
    let row: CredentialRow = tx.one(statement)?;
    Ok(row.into_credential(Some(tx.site.id)))
}

/// Revokes a credential of all sites, unless it is already, and answers with it.
pub(super) fn revoke_for_all(tx: &mut Tx<'_>, id: CredentialId) -> Result<Credential, Error> {
    let statement = sql(
        "revoke credential",
        format!(
            "UPDATE all_site_credentials c SET revoked_at = coalesce(revoked_at, clock_timestamp()) \
             WHERE c.credential_id = ? RETURNING {COLUMNS}"
        ),
    )
    .bind::<SqlUuid, _>(id.uuid());
    let row: CredentialRow = tx.one(statement)?;
    Ok(row.into_credential(None))
}
