//! Changing what is said of a credential. Its token and its scopes stay what they are.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Credential, check_end, check_scopes, store};
use crate::{
    authz::Scope,
    caller::Caller,
    context::RequestContext,
    error::{Error, Kind},
    events::NewEvent,
    ids::CredentialId,
    receipt::{Effect, Receipt},
    site_tx::Identity,
    wire,
};

/// What to change; what is absent stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct CredentialChange {
    pub(crate) label: Option<String>,
    pub(crate) expires_at: Option<Option<DateTime<Utc>>>,
    pub(crate) certificate_name: Option<Option<String>>,
    pub(crate) if_versions: Vec<i64>,
}

impl CredentialChange {
    /// `before` with the change, where this caller may make it.
    fn apply(
        &self,
        caller: &Caller,
        before: &Credential,
        now: DateTime<Utc>,
    ) -> Result<Credential, Error> {
        wire::check_version(before.version, &self.if_versions)?;
        let mut after = before.clone();
        if let Some(label) = &self.label {
            after.label.clone_from(label);
        }
        if let Some(expires_at) = self.expires_at {
            after.expires_at = expires_at;
        }
        if let Some(name) = &self.certificate_name {
            after.certificate_name.clone_from(name);
        }
        if described(before) == described(&after) {
            return Ok(after);
        }
        if before.revoked_at.is_some() {
            return Err(Error::Immutable {
                field: "credential",
                why: "it was revoked",
            });
        }
        // To make it work longer or elsewhere is to give it away again.
        if before.expires_at != after.expires_at {
            check_scopes(caller, &before.scopes)?;
            check_end(after.expires_at, now)?;
        }
        if before.certificate_name != after.certificate_name {
            check_scopes(caller, &before.scopes)?;
        }
        Ok(after)
    }
}

fn described(credential: &Credential) -> Value {
    json!({
        "label": credential.label,
        "expires_at": credential.expires_at,
        "certificate_name": credential.certificate_name,
    })
}

/// Changes a credential of a site.
pub(crate) async fn update(
    identity: &Identity,
    context: RequestContext,
    input: Result<(CredentialId, CredentialChange), Error>,
) -> Result<(Credential, Receipt), Error> {
    identity
        .write(context, input, |tx, (id, change)| {
            let before = store::get(tx, *id)?.ok_or(Error::NotFound(Kind::Credential))?;
            let mut after = change.apply(&tx.caller, &before, tx.now)?;
            let (was, is) = (described(&before), described(&after));
            if was != is {
                after = store::update(tx, &after)?;
                tx.record(NewEvent {
                    kind: "credential.updated",
                    subject: id.uuid(),
                    before: was,
                    after: is,
                    effect: &Effect::default(),
                })?;
            }
            Ok((after, Effect::default()))
        })
        .await
}

/// Changes a credential of all sites.
pub(crate) async fn update_for_all(
    identity: &Identity,
    context: RequestContext,
    input: Result<(CredentialId, CredentialChange), Error>,
) -> Result<Credential, Error> {
    identity
        .anywhere(context, false, input, |tx, caller, (id, change)| {
            caller.require_all_sites(Scope::Administer)?;
            let before = store::lock_for_all(tx, *id)?.ok_or(Error::NotFound(Kind::Credential))?;
            let after = change.apply(caller, &before, Utc::now())?;
            store::update_for_all(tx, &after)
        })
        .await
}
