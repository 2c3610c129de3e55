//! Credentials: issuing, listing and revoking them, and signing in with one.

mod change;
mod last_use;
pub(crate) mod rpc;
mod store;

use chrono::{DateTime, Utc};
use serde_json::json;

pub(crate) use self::{
    change::{CredentialChange, update, update_for_all},
    last_use::LastUse,
    store::{of_providers, sign_in_to_all, sign_in_to_site},
};
use crate::{
    authn::{self, Presented},
    authz::Scope,
    batch::Batch,
    caller::Caller,
    context::RequestContext,
    error::{Error, Kind},
    events::NewEvent,
    filter::{Listed, Query},
    ids::{CredentialId, SiteId},
    receipt::{Effect, Receipt},
    requests::Answer,
    site_tx::{Identity, SiteTx},
    sites::{self, Site},
    wire,
};

/// Credentials as a batch names them.
type Named = Batch<String, CredentialId>;

/// A credential, without its secret.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    pub(crate) id: CredentialId,
    /// None: it speaks for all sites.
    pub(crate) site: Option<SiteId>,
    pub(crate) label: String,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) revoked_at: Option<DateTime<Utc>>,
    pub(crate) last_used_at: Option<DateTime<Utc>>,
    /// The name that the caller's certificate has to have.
    pub(crate) certificate_name: Option<String>,
    /// Counts its changes.
    pub(crate) version: i64,
}

/// A credential to revoke.
#[derive(Clone, Debug)]
pub(crate) struct Revocation {
    pub(crate) id: CredentialId,
    pub(crate) if_versions: Vec<i64>,
}

/// A credential to issue.
#[derive(Clone, Debug)]
pub(crate) struct NewCredential {
    pub(crate) label: String,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) certificate_name: Option<String>,
}

/// Issues a credential of one site; the text is its token.
pub(crate) async fn issue<M: Answer>(
    identity: &Identity,
    context: RequestContext,
    input: Result<NewCredential, Error>,
    answer: fn((Credential, String), Receipt) -> M,
) -> Result<M, Error> {
    let make = |tx: &mut SiteTx<'_, '_>, new: &NewCredential| {
        check(&tx.caller, new, tx.now)?;
        let token = authn::issue(Some(tx.site.id))?;
        let credential = Credential {
            id: CredentialId::new(),
            site: Some(tx.site.id),
            label: new.label.clone(),
            scopes: new.scopes.clone(),
            created_at: tx.now,
            expires_at: new.expires_at,
            revoked_at: None,
            last_used_at: None,
            certificate_name: new.certificate_name.clone(),
            version: 1,
        };
        store::insert(tx, &credential, &token.hash)?;
        tx.record(NewEvent {
            kind: "credential.issued",
            subject: credential.id.uuid(),
            before: json!({}),
            after: json!({
                "label": credential.label,
                "scopes": scope_names(&credential.scopes),
                "expires_at": credential.expires_at,
                "certificate_name": credential.certificate_name,
            }),
            effect: &Effect::default(),
        })?;
        // A dry run has no token to show: it would look like one that works.
        let text = if tx.context.validate_only {
            String::new()
        } else {
            token.text
        };
        Ok(((credential, text), Effect::default()))
    };
    identity.make(context, input, make, answer).await
}

/// Issues a credential of all sites; the text is its token.
pub(crate) async fn issue_for_all<M: Answer>(
    identity: &Identity,
    context: RequestContext,
    input: Result<NewCredential, Error>,
    answer: fn((Credential, String)) -> M,
) -> Result<M, Error> {
    identity
        .make_anywhere(context, input, move |tx, caller, new| {
            caller.require_all_sites(Scope::Administer)?;
            check(caller, new, Utc::now())?;
            let token = authn::issue(None)?;
            let credential = Credential {
                id: CredentialId::new(),
                site: None,
                label: new.label.clone(),
                scopes: new.scopes.clone(),
                created_at: Utc::now(),
                expires_at: new.expires_at,
                revoked_at: None,
                last_used_at: None,
                certificate_name: new.certificate_name.clone(),
                version: 1,
            };
            store::insert_for_all(tx, &credential, &token.hash)?;
            let text = if tx.context.validate_only {
                String::new()
            } else {
                token.text
            };
            Ok(answer((credential, text)))
        })
        .await
}

/// Nobody gives away what they do not hold, and nothing is issued that has expired already.
fn check(caller: &Caller, new: &NewCredential, now: DateTime<Utc>) -> Result<(), Error> {
    check_scopes(caller, &new.scopes)?;
    check_end(new.expires_at, now)
}

fn check_scopes(caller: &Caller, scopes: &[Scope]) -> Result<(), Error> {
    if let Some(credential) = caller.credential() {
        for scope in scopes {
            // An administrator hands the identity provider its token without being one.
            if *scope != Scope::Provision && !scope.is_held(&credential.scopes) {
                return Err(Error::ScopeMissing {
                    needed: scope.to_string(),
                    all_sites: false,
                });
            }
        }
    }
    Ok(())
}

fn check_end(expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<(), Error> {
    if expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err(Error::invalid("expire_time", "must be in the future"));
    }
    Ok(())
}

fn scope_names(scopes: &[Scope]) -> Vec<&'static str> {
    scopes.iter().map(|scope| scope.as_str()).collect()
}

/// Lists the credentials of a site; and tells the site's revision.
pub(crate) async fn list(
    identity: &Identity,
    context: RequestContext,
    input: Result<Query, Error>,
) -> Result<(Listed<Credential>, i64), Error> {
    identity
        .read(context, input, |tx, query| {
            let site = tx.site.id;
            let page = store::list(tx, Some(site), query)?;
            Ok((page, tx.site.revision))
        })
        .await
}

/// Lists the credentials of all sites.
pub(crate) async fn list_for_all(
    identity: &Identity,
    context: RequestContext,
    input: Result<Query, Error>,
) -> Result<(Listed<Credential>, i64), Error> {
    identity
        .anywhere(context, true, input, |tx, caller, query| {
            caller.require_all_sites(Scope::Administer)?;
            Ok((store::list(tx, None, query)?, 0))
        })
        .await
}

/// Reads a credential of a site; and tells the site's revision.
pub(crate) async fn get(
    identity: &Identity,
    context: RequestContext,
    input: Result<CredentialId, Error>,
) -> Result<(Credential, i64), Error> {
    identity
        .read(context, input, |tx, id| {
            let credential = store::get(tx, *id)?.ok_or(Error::NotFound(Kind::Credential))?;
            Ok((credential, tx.site.revision))
        })
        .await
}

/// Reads a credential of all sites.
pub(crate) async fn get_for_all(
    identity: &Identity,
    context: RequestContext,
    input: Result<CredentialId, Error>,
) -> Result<Credential, Error> {
    identity
        .anywhere(context, true, input, |tx, caller, id| {
            caller.require_all_sites(Scope::Administer)?;
            store::get_for_all(tx, *id)?.ok_or(Error::NotFound(Kind::Credential))
        })
        .await
}

/// Reads several credentials of a site: those that are there, and the ids of the others; and tells the site's
/// revision.
pub(crate) async fn get_several(
    identity: &Identity,
    context: RequestContext,
    input: Result<Named, Error>,
) -> Result<((Vec<Credential>, Vec<String>), i64), Error> {
    identity
        .read(context, input, |tx, named| {
            let found = store::get_several(tx, named.keys().copied())?;
            let arranged = named.arrange(found, |credential| [credential.id]);
            Ok((arranged, tx.site.revision))
        })
        .await
}

/// Reads several credentials of all sites: those that are there, and the ids of the others.
pub(crate) async fn get_several_for_all(
    identity: &Identity,
    context: RequestContext,
    input: Result<Named, Error>,
) -> Result<(Vec<Credential>, Vec<String>), Error> {
    identity
        .anywhere(context, true, input, |tx, caller, named| {
            caller.require_all_sites(Scope::Administer)?;
            let found = store::get_several_for_all(tx, named.keys().copied(), "")?;
            Ok(named.arrange(found, |credential| [credential.id]))
        })
        .await
}

/// Revokes a credential of a site. One that is revoked already stays as it is.
pub(crate) async fn revoke(
    identity: &Identity,
    context: RequestContext,
    input: Result<Revocation, Error>,
) -> Result<(Credential, Receipt), Error> {
    identity
        .write(context, input, |tx, Revocation { id, if_versions }| {
            let before = store::get(tx, *id)?.ok_or(Error::NotFound(Kind::Credential))?;
            wire::check_version(before.version, if_versions)?;
            if before.revoked_at.is_some() {
                return Ok((before, Effect::default()));
            }
            let after = store::revoke(tx, *id)?;
            tx.record(NewEvent {
                kind: "credential.revoked",
                subject: id.uuid(),
                before: json!({ "label": before.label }),
                after: json!({ "revoked_at": tx.now }),
                effect: &Effect::default(),
            })?;
            Ok((after, Effect::default()))
        })
        .await
}

/// Revokes a credential of all sites.
pub(crate) async fn revoke_for_all(
    identity: &Identity,
    context: RequestContext,
    input: Result<Revocation, Error>,
) -> Result<Credential, Error> {
    identity
        .anywhere(
            context,
            false,
            input,
            |tx, caller, Revocation { id, if_versions }| {
                caller.require_all_sites(Scope::Administer)?;
                let before =
                    store::lock_for_all(tx, *id)?.ok_or(Error::NotFound(Kind::Credential))?;
                wire::check_version(before.version, if_versions)?;
                store::revoke_for_all(tx, *id)
            },
        )
        .await
}

/// Who is calling, and the names that a message to people may need.
#[derive(Clone, Debug)]
pub(crate) struct CallerInfo {
    pub(crate) credential: Option<Credential>,
    /// With its version.
    pub(crate) site: Option<(Site, i64)>,
    pub(crate) role_names: Vec<String>,
    pub(crate) business_entity_names: Vec<String>,
}

/// Tells who is calling.
pub(crate) async fn caller(
    identity: &Identity,
    context: RequestContext,
) -> Result<CallerInfo, Error> {
    let has_site = matches!(context.presented, Ok(Presented::Site(..))) || context.site.is_some();
    if !has_site {
        return identity
            .anywhere(context, true, Ok(()), |_, caller, ()| {
                Ok(CallerInfo {
                    credential: caller.credential().cloned(),
                    site: None,
                    role_names: Vec::new(),
                    business_entity_names: Vec::new(),
                })
            })
            .await;
    }
    identity
        .read(context, Ok(()), |tx, ()| {
            let (role_names, business_entity_names) = crate::groups::target_names(tx, 50)?;
            Ok(CallerInfo {
                credential: tx.caller.credential().cloned(),
                site: Some((tx.site.clone(), sites::version(tx)?)),
                role_names,
                business_entity_names,
            })
        })
        .await
}
