//! Requests with an id: what makes something is done once and answered the same each time, however often
//! it is sent.
//!
//! The answer is kept in the transaction of the write itself, so there is never one without the other.
//! Nothing is looked up before: the write is tried, and where it can't be done, or its answer can't be
//! kept because there is one, it is undone and the answer of the first time is given. So a request with
//! an id costs one statement more, and one that is sent again costs what it takes to find that out.

use std::time::Duration;

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Binary, Text, Uuid as SqlUuid},
};
use identity_proto::v1 as pb;
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    context::RequestContext,
    db::{Db, Finish, Tx, sql},
    error::Error,
    receipt::Receipt,
};

/// The most characters of an id.
const ID_MAX: usize = 64;
/// How often old answers are deleted.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// How many answers one statement deletes.
const FORGET_AT_ONCE: i64 = 1000;

/// By what a request is known when it is sent again.
#[derive(Clone, Debug)]
pub(crate) struct RequestKey {
    id: String,
    /// SHA-256 of the message, so that another one with the same id is told from it.
    fingerprint: [u8; 32],
}

impl RequestKey {
    pub(crate) fn new(id: &str, message: &impl Message) -> Self {
        Self {
            id: id.to_owned(),
            fingerprint: Sha256::digest(message.encode_to_vec()).into(),
        }
    }
}

/// The answer of a method that makes something.
pub(crate) trait Answer: Message + Default + 'static {
    /// The answer as it is kept.
    fn kept(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

impl Answer for pb::CreateSiteResponse {}
impl Answer for pb::CreateMemberResponse {}
impl Answer for pb::CreateRoleResponse {}
impl Answer for pb::CreateBusinessEntityResponse {}
impl Answer for pb::CreateGroupResponse {}
impl Answer for pb::CreateGrantResponse {}
impl Answer for pb::IssueCredentialResponse {
    /// Without the token: that is in no table of ours.
    fn kept(&self) -> Vec<u8> {
        let mut kept = self.clone();
        kept.token.clear();
        kept.encode_to_vec()
    }
}

/// The outcome of a request that makes something.
pub(crate) struct Made<M> {
    pub(crate) answer: M,
    /// What the write did, and how many events were written; none where it was done before, or belongs to
    /// no site.
    pub(crate) receipt: Option<(Receipt, u64)>,
    /// Whether it was done before, and this is the answer of then.
    pub(crate) before: bool,
}

impl<M> Made<M> {
    /// Done by this very call.
    pub(crate) fn now(answer: M, receipt: Option<(Receipt, u64)>) -> Self {
        Self {
            answer,
            receipt,
            before: false,
        }
    }
}

/// Refuses an id that can be none.
pub(crate) fn check(context: &RequestContext) -> Result<(), Error> {
    match &context.request {
        Some(key)
            if key.id.len() > ID_MAX || !key.id.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Err(Error::invalid(
                "request_id",
                format!("must be 1 to {ID_MAX} visible ASCII characters"),
            ))
        }
        _ => Ok(()),
    }
}

/// Keeps the answer of a write with an id, or finds the one that the same request was given before.
/// `site` is the zero UUID for what belongs to no site.
pub(crate) fn once<M: Answer>(
    tx: &mut Tx<'_>,
    site: Uuid,
    credential: Uuid,
    outcome: Result<(Made<M>, Finish), Error>,
) -> Result<(Made<M>, Finish), Error> {
    let context = tx.context;
    // A dry run does nothing, and so nothing once.
    let Some(key) = context.request.as_ref().filter(|_| !context.validate_only) else {
        return outcome;
    };
    let failed = match outcome {
        Ok((made, finish)) => {
            if keep(tx, site, credential, key, made.answer.kept())? {
                return Ok((made, finish));
            }
            None
        }
        Err(error) if ends_transaction(&error) => return Err(error),
        Err(error) => Some(error),
    };
    match (find(tx, site, credential, key)?, failed) {
        (Some(answer), _) => Ok((
            Made {
                answer,
                receipt: None,
                before: true,
            },
            Finish::Rollback,
        )),
        (None, Some(error)) => Err(error),
        // It was there a moment ago, and its day is over.
        (None, None) => Err(Error::Contended),
    }
}

/// Whether nothing more can be asked in a transaction that met this.
fn ends_transaction(error: &Error) -> bool {
    matches!(
        error,
        Error::Contended | Error::Unavailable(_) | Error::DeadlineExceeded | Error::Internal(_)
    )
}

/// Keeps an answer; false where this id has one.
fn keep(
    tx: &mut Tx<'_>,
    site: Uuid,
    credential: Uuid,
    key: &RequestKey,
    answer: Vec<u8>,
) -> Result<bool, Error> {
    let statement = sql(
        "keep answer",
        "INSERT INTO requests (site_id, credential_id, request_id, method, fingerprint, response, answered_at) \
         VALUES (?, ?, ?, ?, ?, ?, clock_timestamp()) ON CONFLICT DO NOTHING",
    )
    .bind::<SqlUuid, _>(site)
    .bind::<SqlUuid, _>(credential)
    .bind::<Text, _>(key.id.clone())
    .bind::<Text, _>(format!("{:?}", tx.context.method))
    .bind::<Binary, _>(key.fingerprint.to_vec())
    .bind::<Binary, _>(answer);
    Ok(tx.execute(statement)? == 1)
}

#[derive(QueryableByName)]
struct KeptRow {
    #[diesel(sql_type = Text)]
    method: String,
    #[diesel(sql_type = Binary)]
    fingerprint: Vec<u8>,
    #[diesel(sql_type = Binary)]
    response: Vec<u8>,
}

/// The answer that this request was given before, if it was.
fn find<M: Answer>(
    tx: &mut Tx<'_>,
    site: Uuid,
    credential: Uuid,
    key: &RequestKey,
) -> Result<Option<M>, Error> {
    let statement = sql(
        "find kept answer",
        "SELECT method, fingerprint, response FROM requests \
         WHERE site_id = ? AND credential_id = ? AND request_id = ?",
    )
    .bind::<SqlUuid, _>(site)
    .bind::<SqlUuid, _>(credential)
    .bind::<Text, _>(key.id.clone());
    let Some(row) = tx.first::<KeptRow>(statement)? else {
        return Ok(None);
    };
    if row.fingerprint != key.fingerprint || row.method != format!("{:?}", tx.context.method) {
        return Err(Error::RequestIdReused {
            request_id: key.id.clone(),
        });
    }
    M::decode(row.response.as_slice())
        .map(Some)
        .map_err(|error| Error::Internal(Box::new(error)))
}

/// Deletes answers when their day is over, for as long as the process lives. Several processes do not
/// wait for each other.
pub(crate) async fn forget(db: Db) {
    loop {
        let context = RequestContext::of_nobody("forget answers", Duration::from_secs(10));
        let outcome = db
            .transact(context, false, |tx| {
                let statement = sql(
                    "forget answers",
                    "DELETE FROM requests WHERE (site_id, credential_id, request_id) IN ( \
                       SELECT site_id, credential_id, request_id FROM requests \
                       WHERE answered_at < clock_timestamp() - interval '1 day' \
                       ORDER BY answered_at LIMIT ? FOR UPDATE SKIP LOCKED)",
                )
                .bind::<BigInt, _>(FORGET_AT_ONCE);
                Ok((tx.execute(statement)?, Finish::Commit))
            })
            .await;
        match outcome {
            // There may be more.
            Ok(deleted) if deleted as i64 == FORGET_AT_ONCE => {}
            Ok(_) => sleep(FORGET_EVERY).await,
            Err(error) => {
                tracing::warn!(%error, "could not delete old answers");
                sleep(FORGET_EVERY).await;
            }
        }
    }
}
