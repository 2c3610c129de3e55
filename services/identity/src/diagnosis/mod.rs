//! How identity itself is: its build, its clock and the database's, the schema, and when identity providers last
//! called.

pub(crate) mod rpc;
mod store;

use chrono::{DateTime, Utc};

use crate::{
    authn::Presented,
    context::RequestContext,
    credentials::{self, Credential},
    db::Tx,
    error::Error,
    site_tx::Identity,
};

/// The most credentials of identity providers that are told of.
const PROVIDERS_MAX: i64 = 100;

/// What there is to say.
#[derive(Clone, Debug)]
pub(crate) struct Diagnosis {
    /// Our own clock, when the database told its own.
    pub(crate) time: DateTime<Utc>,
    pub(crate) database: Database,
    /// What keeps this process from its work, or from writes; none where nothing does.
    pub(crate) not_ready: Option<String>,
    /// The credentials of a site's identity providers, newest first.
    pub(crate) providers: Vec<Credential>,
}

/// The database as this process finds it.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(crate) time: DateTime<Utc>,
    pub(crate) version: String,
    /// The versions of the migrations that it has, oldest first.
    pub(crate) migrations: Vec<String>,
}

/// Looks at everything; at the providers of a site where the caller is one's or names one.
pub(crate) async fn diagnose(
    identity: &Identity,
    context: RequestContext,
) -> Result<Diagnosis, Error> {
    let has_site = matches!(context.presented, Ok(Presented::Site(..))) || context.site.is_some();
    let not_ready = identity.db.ready().err().map(|why| why.to_string());
    if !has_site {
        return identity
            .anywhere(context, true, Ok(()), move |tx, _, ()| {
                look(tx, Vec::new(), not_ready.clone())
            })
            .await;
    }
    identity
        .read(context, Ok(()), move |tx, ()| {
            let providers = credentials::of_providers(tx, PROVIDERS_MAX)?;
            look(tx, providers, not_ready.clone())
        })
        .await
}

fn look(
    tx: &mut Tx<'_>,
    providers: Vec<Credential>,
    not_ready: Option<String>,
) -> Result<Diagnosis, Error> {
    let before = Utc::now();
    let database = store::database(tx)?;
    // The database looked at its clock somewhere in between.
    let time = before + (Utc::now() - before) / 2;
    Ok(Diagnosis {
        time,
        database,
        not_ready,
        providers,
    })
}
