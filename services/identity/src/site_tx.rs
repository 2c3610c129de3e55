//! A transaction inside one site: who calls, for which site, at which moment of it.
//!
//! Store functions take a [`SiteTx`] and nothing else that could name a site, so a query that forgets
//! the site can't be written by accident.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    authn::{Presented, Tokens},
    authz::{Method, Scope},
    caller::Caller,
    context::RequestContext,
    credentials::{self, LastUse},
    db::{Db, Finish, Tx},
    error::Error,
    events::{self, NewEvent, Watches},
    grants,
    limiter::Limiter,
    metrics::{FaultLabels, IdentityMetrics},
    receipt::{Effect, Receipt},
    requests::{self, Answer, Made},
    sites::{self, Site},
    turns::Turns,
};

/// A transaction inside one site.
pub(crate) struct SiteTx<'a, 'b> {
    tx: &'a mut Tx<'b>,
    pub(crate) site: Site,
    pub(crate) caller: Caller,
    /// The moment of this transaction, by the site's clock; a write's is not before its last event.
    pub(crate) now: DateTime<Utc>,
    /// Where the present is read while another write keeps the endings that are due from being written: grants
    /// that ran out by this moment are over, although no event tells of it yet.
    pub(crate) ended_by: Option<DateTime<Utc>>,
    recorded: bool,
    /// The site's revision before this transaction.
    entered: i64,
}

impl<'b> Deref for SiteTx<'_, 'b> {
    type Target = Tx<'b>;
    fn deref(&self) -> &Tx<'b> {
        self.tx
    }
}

impl<'b> DerefMut for SiteTx<'_, 'b> {
    fn deref_mut(&mut self) -> &mut Tx<'b> {
        self.tx
    }
}

impl<'a, 'b> SiteTx<'a, 'b> {
    pub(crate) fn new(tx: &'a mut Tx<'b>, site: Site, caller: Caller, now: DateTime<Utc>) -> Self {
        Self {
            tx,
            entered: site.revision,
            site,
            caller,
            now,
            ended_by: None,
            recorded: false,
        }
    }

    /// The site's id, for SQL.
    pub(crate) fn site_id(&self) -> Uuid {
        self.site.id.uuid()
    }

    /// The number that this write's event will have.
    pub(crate) fn next_event(&self) -> i64 {
        self.site.revision + 1
    }

    /// Whether an identity provider is calling, to whom some rules are stricter and some are not.
    pub(crate) fn provisions(&self) -> bool {
        self.context.provisioning || !self.caller.holds(Scope::WriteMembers)
    }

    /// Whether the caller may give the Owner role, and so make anybody an Owner.
    pub(crate) fn gives_owner(&self) -> bool {
        !self.context.provisioning && self.caller.holds(Scope::WriteGrants)
    }

    /// Writes the event of this transaction. Once a transaction, after its other statements.
    pub(crate) fn record(&mut self, event: NewEvent<'_>) -> Result<(), Error> {
        debug_assert!(!self.recorded, "one write, one event");
        let caller = self.caller.clone();
        events::append(self, &caller, &[(self.now, event)])?;
        self.recorded = true;
        Ok(())
    }

    /// Whether a grant has run out whose ending no event tells of yet.
    pub(crate) fn is_ending_due(&self) -> bool {
        self.site.next_end.is_some_and(|at| at <= self.now)
    }

    /// That a grant `d` holds, in SQL: now, in what reads the present.
    pub(crate) fn grant_holds(&self) -> &'static str {
        match self.ended_by {
            None => "d.to_event IS NULL",
            // By the clock of the database when the transaction began, after the ending was seen to be due.
            Some(_) => "d.to_event IS NULL AND (d.ends_at IS NULL OR d.ends_at > now())",
        }
    }

    /// How many events the transaction wrote.
    pub(crate) fn written(&self) -> u64 {
        (self.site.revision - self.entered).unsigned_abs()
    }

    fn receipt(&self, effect: Effect) -> Receipt {
        Receipt {
            // The events of a dry run are undone, and their numbers are other writes'.
            revision: match self.context.validate_only {
                true => self.entered,
                false => self.site.revision,
            },
            changed: self.recorded,
            effect,
        }
    }
}

/// The service: the database, and who may use it. Clones share everything.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) db: Db,
    pub(crate) turns: Turns,
    pub(crate) tokens: Tokens,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) last_use: LastUse,
    pub(crate) metrics: IdentityMetrics,
    pub(crate) watches: Watches,
}

impl Identity {
    /// The context of a call.
    pub(crate) fn context<T>(&self, method: Method, request: &tonic::Request<T>) -> RequestContext {
        RequestContext::new(&self.tokens, method, request)
    }

    /// Writes inside one site, under its lock: everything that `work` does and its event, or nothing. The
    /// endings that are due come first, so that an event's time is never before an earlier event's.
    pub(crate) async fn write<I, T, F>(
        &self,
        context: RequestContext,
        input: Result<I, Error>,
        work: F,
    ) -> Result<(T, Receipt), Error>
    where
        I: Send + 'static,
        T: Send + 'static,
        F: Fn(&mut SiteTx<'_, '_>, &I) -> Result<(T, Effect), Error> + Send + 'static,
    {
        self.admit(&context)?;
        let dry = context.validate_only;
        let turn = self.turns.take(&context).await?;
        let identity = self.clone();
        let input = Input::new(input);
        let result = self
            .db
            .transact(context, false, move |tx| {
                let _turn = &turn;
                let mut tx = identity.enter(tx, true)?;
                while grants::end_due(&mut tx)? {}
                let (value, effect) = work(&mut tx, input.get()?)?;
                let receipt = tx.receipt(effect);
                Ok((((value, receipt), tx.written()), finish(tx.written(), dry)))
            })
            .await;
        self.settled(result, dry)
    }

    /// Writes what makes something: like [`Identity::write`], and once where the request has an id.
    /// `answer` makes the whole answer inside the transaction, which keeps it.
    pub(crate) async fn make<I, T, M, F>(
        &self,
        context: RequestContext,
        input: Result<I, Error>,
        work: F,
        answer: fn(T, Receipt) -> M,
    ) -> Result<M, Error>
    where
        I: Send + 'static,
        T: 'static,
        M: Answer,
        F: Fn(&mut SiteTx<'_, '_>, &I) -> Result<(T, Effect), Error> + Send + 'static,
    {
        self.admit(&context)?;
        let dry = context.validate_only;
        let turn = self.turns.take(&context).await?;
        let identity = self.clone();
        let input = Input::new(input);
        let result =
            self.db
                .transact(context, false, move |tx| {
                    let _turn = &turn;
                    let mut tx = identity.enter(tx, true)?;
                    requests::check(tx.context)?;
                    while grants::end_due(&mut tx)? {}
                    let outcome = input.get().and_then(|input| work(&mut tx, input)).map(
                        |(value, effect)| {
                            let receipt = tx.receipt(effect);
                            let made = Made::now(
                                answer(value, receipt.clone()),
                                Some((receipt, tx.written())),
                            );
                            (made, finish(tx.written(), dry))
                        },
                    );
                    let (site, credential) = (tx.site_id(), tx.caller.credential_id());
                    requests::once(&mut tx, site, credential, outcome)
                })
                .await;
        self.made(result, dry)
    }

    /// Makes a site: like [`Identity::make`], with a site that `work` makes itself.
    pub(crate) async fn found<I, T, M, F>(
        &self,
        context: RequestContext,
        input: Result<I, Error>,
        work: F,
        answer: fn(T, Receipt) -> M,
    ) -> Result<M, Error>
    where
        I: Send + 'static,
        T: 'static,
        M: Answer,
        F: for<'x, 'y> Fn(&'x mut Tx<'y>, Caller, &I) -> Result<(SiteTx<'x, 'y>, T, Effect), Error>
            + Send
            + 'static,
    {
        self.admit(&context)?;
        let dry = context.validate_only;
        let identity = self.clone();
        let input = Input::new(input);
        let result = self
            .db
            .transact(context, false, move |tx| {
                let caller = identity.sign_in_anywhere(tx)?;
                requests::check(tx.context)?;
                let credential = caller.credential_id();
                let outcome = input.get().and_then(|input| work(tx, caller, input)).map(
                    |(tx, value, effect)| {
                        let receipt = tx.receipt(effect);
                        let made = Made::now(
                            answer(value, receipt.clone()),
                            Some((receipt, tx.written())),
                        );
                        (made, finish(tx.written(), dry))
                    },
                );
                requests::once(tx, Uuid::nil(), credential, outcome)
            })
            .await;
        self.made(result, dry)
    }

    /// Makes what belongs to no site: like [`Identity::make`], without an event and a receipt.
    pub(crate) async fn make_anywhere<I, M, F>(
        &self,
        context: RequestContext,
        input: Result<I, Error>,
        work: F,
    ) -> Result<M, Error>
    where
        I: Send + 'static,
        M: Answer,
        F: Fn(&mut Tx<'_>, &Caller, &I) -> Result<M, Error> + Send + 'static,
    {
        self.admit(&context)?;
        let dry = context.validate_only;
        let identity = self.clone();
        let input = Input::new(input);
        let result = self
            .db
            .transact(context, false, move |tx| {
                let caller = identity.sign_in_anywhere(tx)?;
                requests::check(tx.context)?;
                let outcome = input
                    .get()
                    .and_then(|input| work(tx, &caller, input))
                    .map(|answer| (Made::now(answer, None), finish(1, dry)));
                requests::once(tx, Uuid::nil(), caller.credential_id(), outcome)
            })
            .await;
        self.made(result, dry)
    }

    /// Works outside any site, on what belongs to all of them.
    pub(crate) async fn anywhere<I, T, F>(
        &self,
        context: RequestContext,
        read_only: bool,
        input: Result<I, Error>,
        work: F,
    ) -> Result<T, Error>
    where
        I: Send + 'static,
        T: Send + 'static,
        F: Fn(&mut Tx<'_>, &Caller, &I) -> Result<T, Error> + Send + 'static,
    {
        self.admit(&context)?;
        let identity = self.clone();
        let input = Input::new(input);
        let result = self
            .db
            .transact(context, read_only, move |tx| {
                let caller = identity.sign_in_anywhere(tx)?;
                // It is about no site, whose revision it could wait for.
                tx.context.check_reached(0)?;
                let value = work(tx, &caller, input.get()?)?;
                Ok((
                    value,
                    finish(u64::from(!read_only), tx.context.validate_only),
                ))
            })
            .await;
        self.counted(result)
    }

    /// Refuses what needs no look-up to be refused: no token, a malformed one, too many requests.
    pub(crate) fn admit(&self, context: &RequestContext) -> Result<(), Error> {
        let hash = match context.presented {
            Ok(Presented::Site(_, hash) | Presented::AllSites(hash)) => hash,
            Ok(Presented::Bootstrap) => return Ok(()),
            Err(fault) => return self.counted(Err(Error::Unauthenticated(fault))),
        };
        self.limiter.check(hash)
    }

    /// Authenticates the caller, opens the site and holds its lock for a write: one statement for a
    /// site's own credential.
    pub(crate) fn enter<'a, 'b>(
        &self,
        tx: &'a mut Tx<'b>,
        lock: bool,
    ) -> Result<SiteTx<'a, 'b>, Error> {
        let context = tx.context;
        let (caller, site, now) = match context.presented {
            Ok(Presented::Site(id, hash)) => {
                let (credential, site, now) = credentials::sign_in_to_site(tx, id, hash, lock)?;
                context.names(site.id, &site.domain_key)?;
                (Caller::Credential(credential), site, now)
            }
            Ok(Presented::AllSites(_) | Presented::Bootstrap) => {
                let mut caller = self.sign_in_anywhere(tx)?;
                let name = context.site.as_ref().ok_or_else(|| {
                    Error::invalid("site", "must be named by a credential of all sites")
                })?;
                let (site, now, waited) = sites::open(tx, name, lock)?;
                if waited {
                    // The credential may have been revoked meanwhile.
                    caller = self.sign_in_anywhere(tx)?;
                }
                (caller, site, now)
            }
            Err(fault) => return Err(Error::Unauthenticated(fault)),
        };
        self.turns.learn(&site);
        context.who.is(&caller, Some(&site.domain));
        self.authorise(&caller, context)?;
        context.check_reached(site.revision)?;
        Ok(SiteTx::new(tx, site, caller, now))
    }

    /// Authenticates a caller that need not belong to a site.
    fn sign_in_anywhere(&self, tx: &mut Tx<'_>) -> Result<Caller, Error> {
        let caller = match tx.context.presented {
            Ok(Presented::Bootstrap) => Caller::Bootstrap,
            Ok(Presented::AllSites(hash)) => {
                Caller::Credential(credentials::sign_in_to_all(tx, hash)?)
            }
            Ok(Presented::Site(id, hash)) => {
                let (credential, ..) = credentials::sign_in_to_site(tx, id, hash, false)?;
                Caller::Credential(credential)
            }
            Err(fault) => return Err(Error::Unauthenticated(fault)),
        };
        tx.context.who.is(&caller, None);
        self.authorise(&caller, tx.context)?;
        Ok(caller)
    }

    fn authorise(&self, caller: &Caller, context: &RequestContext) -> Result<(), Error> {
        match caller {
            Caller::Bootstrap => context.method.allow_bootstrap(),
            // Nobody calls in its name.
            Caller::Roster => Err(Error::bug("the service called itself")),
            Caller::Credential(credential) => {
                self.last_use.note(credential);
                context
                    .method
                    .allow(&credential.scopes, credential.site.is_none())
            }
        }
    }

    fn settled<T>(
        &self,
        result: Result<((T, Receipt), u64), Error>,
        dry: bool,
    ) -> Result<(T, Receipt), Error> {
        if let Ok(((_, receipt), written)) = &result {
            self.tell(receipt, *written, dry);
        }
        self.counted(result.map(|(done, _)| done))
    }

    fn made<M>(&self, result: Result<Made<M>, Error>, dry: bool) -> Result<M, Error> {
        if let Ok(made) = &result {
            if made.before {
                tracing::info!("the request was done before: the same answer is given");
            }
            if let Some((receipt, written)) = &made.receipt {
                self.tell(receipt, *written, dry);
            }
        }
        self.counted(result.map(|made| made.answer))
    }

    /// Puts what a write did into the trace, the log and the metrics.
    fn tell(&self, receipt: &Receipt, written: u64, dry: bool) {
        receipt.trace(dry);
        let unknown = receipt.effect.unknown.len();
        if unknown > 0 {
            self.metrics.unknown_members.inc_by(unknown as u64);
            tracing::warn!(
                skipped = unknown,
                "a membership change named ids that are no members"
            );
        }
        if written > 0 && !dry {
            self.metrics.events.inc_by(written);
            self.watches.wake();
        }
    }

    pub(crate) fn counted<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(Error::Unauthenticated(fault)) = &result {
            self.metrics
                .refused_tokens
                .get_or_create(&FaultLabels {
                    cause: fault.as_str(),
                })
                .inc();
            tracing::warn!(cause = fault.as_str(), "token refused");
        }
        result
    }
}

pub(crate) fn finish(written: u64, validate_only: bool) -> Finish {
    if written > 0 && !validate_only {
        Finish::Commit
    } else {
        Finish::Rollback
    }
}

/// What a call asks for. What could not be read of it is refused only when the token was looked at,
/// which happens inside the transaction.
pub(crate) struct Input<I> {
    input: Result<I, std::sync::Mutex<Option<Error>>>,
}

impl<I> Input<I> {
    pub(crate) fn new(input: Result<I, Error>) -> Self {
        Self {
            input: input.map_err(|error| std::sync::Mutex::new(Some(error))),
        }
    }

    pub(crate) fn get(&self) -> Result<&I, Error> {
        self.input.as_ref().map_err(|error| {
            error
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .take()
                .unwrap_or_else(|| Error::bug("the input was refused twice"))
        })
    }
}
