//! When a credential was last used: written at most once a minute, outside the request.

use std::{collections::HashMap, time::Duration};

use chrono::{TimeDelta, Utc};
use diesel::sql_types::Uuid as SqlUuid;
use tokio::{sync::mpsc, time::Instant};

use super::Credential;
use crate::{
    context::RequestContext,
    db::{Db, Finish, sql},
    ids::{CredentialId, SiteId},
};

/// How old the written moment must be before it is written again.
const EVERY: Duration = Duration::from_secs(60);
/// How many credentials may wait to be written; what comes on top is written at its next use.
const WAITING: usize = 1024;

/// Takes note of used credentials. Clones share the notes.
#[derive(Clone, Debug)]
pub(crate) struct LastUse {
    used: mpsc::Sender<(Option<SiteId>, CredentialId)>,
}

impl LastUse {
    /// Starts the task that writes.
    pub(crate) fn start(db: Db) -> Self {
        let (used, notes) = mpsc::channel(WAITING);
        tokio::spawn(write(db, notes));
        Self { used }
    }

    /// Notes that `credential` is being used.
    pub(crate) fn note(&self, credential: &Credential) {
        let stale = TimeDelta::seconds(EVERY.as_secs().cast_signed());
        if credential
            .last_used_at
            .is_none_or(|at| Utc::now() - at > stale)
        {
            // A full queue loses nothing: the next use notes it again.
            let _full = self.used.try_send((credential.site, credential.id));
        }
    }
}

async fn write(db: Db, mut notes: mpsc::Receiver<(Option<SiteId>, CredentialId)>) {
    let mut written: HashMap<CredentialId, Instant> = HashMap::new();
    while let Some((site, credential)) = notes.recv().await {
        let now = Instant::now();
        written.retain(|_, at| now - *at < EVERY);
        if written.contains_key(&credential) {
            continue;
        }
        let context = RequestContext::of_nobody("note last use", Duration::from_secs(5));
        let outcome = db
            .transact(context, false, move |tx| {
                let table = if site.is_some() { "credentials" } else { "all_site_credentials" };
                let mut statement = sql(
                    "note last use",
                    format!(
                        "UPDATE {table} SET last_used_at = clock_timestamp() WHERE credential_id = ? \
                         AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute')"
                    ),
                )
                .bind::<SqlUuid, _>(credential.uuid());
                if let Some(site) = site {
                    statement.push(" AND site_id = ?");
                    statement.push_bind::<SqlUuid, _>(site.uuid());
                }
                tx.execute(statement)?;
                Ok(((), Finish::Commit))
            })
            .await;
        match outcome {
            Ok(()) => {
                written.insert(credential, now);
            }
            Err(error) => tracing::warn!(%error, "could not note a credential's last use"),
        }
    }
}
