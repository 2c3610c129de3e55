//! `/Bulk` (RFC 7644 section 3.7). Each operation is carried out as the single request that it stands for, by the
//! same code and one after another.
//!
//! An operation that refers to what a later one makes waits for it ([`Schedule`]). Where operations wait for each
//! other in a circle, one of them is carried out without its references first, and with them once they are known;
//! where that fails, what it made is deleted again.

use std::collections::{BTreeMap, HashMap};

use axum::http::{StatusCode, header};
use identity_runtime::telemetry::current_trace_id;
use scim_protocol::{
    ScimError,
    bulk::{self, Operation, Schedule, Step},
};
use serde_json::{Value, json};
use tracing::Instrument;

use crate::{
    admission::Call, app::App, effect::Effect, groups, metrics::Fault, refusal::Refusal,
    reply::Reply, translate::Site, users,
};

pub(crate) async fn run(app: App, mut call: Call) -> Result<Reply, Refusal> {
    let bulk = bulk::parse(call.json().await?, app.config.max_bulk_operations)?;
    let is_dry_run = call.is_dry_run()?;
    // An operation that is refused here must not tell anything to who has no token.
    call.caller.identify().await?;
    let mut run = Run::new(app, call, bulk.operations, is_dry_run);
    run.all(bulk.fail_on_errors.unwrap_or(usize::MAX)).await;
    run.reply()
}

/// What became of an operation that makes something.
enum Made {
    Resource(String),
    Nothing,
}

/// A resource that was made without what it refers to.
struct Unfinished {
    id: String,
    version: Option<String>,
}

struct Run {
    app: App,
    call: Call,
    operations: Vec<Operation>,
    schedule: Schedule,
    made: HashMap<String, Made>,
    unfinished: BTreeMap<usize, Unfinished>,
    is_dry_run: bool,
    answers: BTreeMap<usize, Value>,
    errors: usize,
    effect: Effect,
    /// Whether anything was carried out.
    has_written: bool,
    /// How many operations are to be repeated later, and the refusal that asks for the longest wait.
    postponed: (usize, Option<Refusal>),
}

impl Run {
    fn new(app: App, call: Call, operations: Vec<Operation>, is_dry_run: bool) -> Self {
        Self {
            app,
            call,
            schedule: Schedule::new(&operations, is_dry_run),
            operations,
            made: HashMap::new(),
            unfinished: BTreeMap::new(),
            is_dry_run,
            answers: BTreeMap::new(),
            errors: 0,
            effect: Effect::default(),
            has_written: false,
            postponed: (0, None),
        }
    }

    /// Runs the operations, as far as that many errors allow.
    async fn all(&mut self, most_errors: usize) {
        while self.errors < most_errors
            && let Some(step) = self.schedule.next_step()
        {
            match step {
                Step::Whole(index) => {
                    let operation = self.operations[index].clone();
                    let outcome = self.carry_out(index, operation).await;
                    self.settle(index, outcome);
                }
                Step::Begin(index) => self.begin(index).await,
                Step::Finish(index) => self.finish(index).await,
            }
        }
        // What was not carried out is not in the answer; what was half done is undone.
        for (index, one) in std::mem::take(&mut self.unfinished) {
            self.give_up(index, &one).await;
        }
    }

    /// Makes a resource without what it refers to.
    async fn begin(&mut self, index: usize) {
        let without = self.operations[index].without(&|id| self.schedule.is_open(index, id));
        let outcome = self.carry_out(index, without).await;
        let id = outcome.as_ref().ok().and_then(id_of);
        match (outcome, id) {
            (Ok(reply), Some(id)) => {
                let version = reply.header(&header::ETAG).map(str::to_owned);
                self.make(index, Made::Resource(id.clone()));
                self.unfinished.insert(index, Unfinished { id, version });
                let bulk_id = self.operations[index].bulk_id.as_deref();
                self.schedule.begun(index, bulk_id);
            }
            (outcome, _) => self.settle(index, outcome),
        }
    }

    /// Puts into a resource what it refers to, now that it is known.
    async fn finish(&mut self, index: usize) {
        let Some(one) = self.unfinished.remove(&index) else {
            return;
        };
        let whole = Operation {
            method: "PUT".to_owned(),
            version: one.version.clone(),
            ..self.at(index, &one)
        };
        let outcome = self.carry_out(index, whole).await.map(Reply::created);
        if outcome.is_err() {
            self.give_up(index, &one).await;
        }
        self.settle(index, outcome);
    }

    /// Deletes what was made and could not be finished.
    async fn give_up(&mut self, index: usize, one: &Unfinished) {
        let delete = Operation {
            method: "DELETE".to_owned(),
            data: Value::Null,
            ..self.at(index, one)
        };
        if let Err(refusal) = self.carry_out(index, delete).await {
            tracing::warn!(
                operation = index,
                id = one.id,
                outcome = refusal.cause,
                "what a bulk operation began could not be undone"
            );
        }
    }

    /// The operation that made this, on what it made.
    fn at(&self, index: usize, one: &Unfinished) -> Operation {
        let operation = self.operations[index].clone();
        let (endpoint, query) = match operation.path.split_once('?') {
            Some((endpoint, query)) => (endpoint, format!("?{query}")),
            None => (operation.path.as_str(), String::new()),
        };
        Operation {
            path: format!("{}/{}{query}", endpoint.trim_end_matches('/'), one.id),
            ..operation
        }
    }

    /// Carries out `operation`, which is the one of that index or stands for it.
    async fn carry_out(&mut self, index: usize, operation: Operation) -> Result<Reply, Refusal> {
        let span = tracing::info_span!(
            "scim.bulk_operation",
            operation = index,
            outcome = tracing::field::Empty,
        );
        let (method, path) = (
            operation.method.to_ascii_uppercase(),
            operation.path.clone(),
        );
        let outcome = self.single(index, operation).instrument(span.clone()).await;
        let (word, fault) = match &outcome {
            Ok(_) => ("ok", Fault::None),
            Err(refusal) => (refusal.cause.as_str(), refusal.whose_fault()),
        };
        self.app.meters.ended(&method, &path, word, fault);
        match &outcome {
            Ok(reply) => {
                self.has_written = true;
                if let Some(effect) = reply.effect() {
                    self.effect += effect;
                }
                span.record("outcome", "ok");
            }
            Err(refusal) => {
                span.record("outcome", &refusal.cause);
            }
        }
        outcome
    }

    /// The single request that an operation stands for.
    async fn single(&self, index: usize, mut operation: Operation) -> Result<Reply, Refusal> {
        let original = &self.operations[index];
        if original.makes() {
            self.check_bulk_id(index, original)?;
        }
        self.resolve(&mut operation)?;
        let (endpoint, id) = target(&operation.path)?;
        let call = self.call.operation(
            &operation.path,
            id,
            operation.version.as_deref().filter(|_| !id.is_empty()),
            &operation.data,
        )?;
        let app = self.app.clone();
        let method = operation.method.to_ascii_uppercase();
        match (endpoint, id.is_empty(), method.as_str()) {
            (Endpoint::Users, true, "POST") => Box::pin(users::create(app, call)).await,
            (Endpoint::Users, false, "PUT") => Box::pin(users::replace(app, call)).await,
            (Endpoint::Users, false, "PATCH") => Box::pin(users::patch(app, call)).await,
            (Endpoint::Users, false, "DELETE") => Box::pin(users::delete(app, call)).await,
            (Endpoint::Groups, true, "POST") => Box::pin(groups::create(app, call)).await,
            (Endpoint::Groups, false, "PUT") => Box::pin(groups::replace(app, call)).await,
            (Endpoint::Groups, false, "PATCH") => Box::pin(groups::patch(app, call)).await,
            (Endpoint::Groups, false, "DELETE") => Box::pin(groups::delete(app, call)).await,
            (_, true, "PUT" | "PATCH" | "DELETE") | (_, false, "POST") => {
                let detail =
                    "POST goes to /Users or /Groups; PUT, PATCH and DELETE to one resource there.";
                Err(ScimError::new(405, detail).into())
            }
            _ => {
                let detail = "The method of a bulk operation is POST, PUT, PATCH or DELETE.";
                Err(ScimError::invalid_syntax(detail).into())
            }
        }
    }

    fn check_bulk_id(&self, index: usize, operation: &Operation) -> Result<(), ScimError> {
        let Some(bulk_id) = &operation.bulk_id else {
            return Err(ScimError::invalid_value("A POST needs a bulkId."));
        };
        if self.schedule.maker(bulk_id) != Some(index) {
            return Err(ScimError::invalid_value(
                "An operation before this one has the same bulkId.",
            ));
        }
        Ok(())
    }

    /// Puts ids in the place of references.
    fn resolve(&self, operation: &mut Operation) -> Result<(), ScimError> {
        let mut missing = None;
        operation.replace(&mut |bulk_id| match self.made.get(bulk_id) {
            Some(Made::Resource(id)) if !self.is_dry_run => Some(id.clone()),
            _ => {
                missing.get_or_insert_with(|| bulk_id.to_owned());
                None
            }
        });
        let Some(bulk_id) = missing else {
            return Ok(());
        };
        let why = if self.is_dry_run {
            "which a rehearsal does not make, so that nobody can say what would become of this one"
        } else if self.schedule.maker(&bulk_id).is_some() {
            "whose operation failed"
        } else {
            "which no operation of this request makes"
        };
        Err(ScimError::invalid_value(format!(
            "The operation refers to bulkId:{bulk_id}, {why}."
        )))
    }

    /// Remembers what an operation made.
    fn make(&mut self, index: usize, made: Made) {
        if let Some(bulk_id) = &self.operations[index].bulk_id
            && self.schedule.maker(bulk_id) == Some(index)
        {
            self.made.insert(bulk_id.clone(), made);
        }
    }

    /// Writes an operation's part of the answer.
    fn settle(&mut self, index: usize, outcome: Result<Reply, Refusal>) {
        if let Err(refusal) = &outcome
            && refusal.retry_after.is_some()
        {
            self.postpone(refusal);
        }
        let operation = &self.operations[index];
        let mut entry = operation.entry();
        let made = match outcome {
            Ok(reply) => {
                let status = reply.status().as_u16().to_string();
                entry.insert("status".to_owned(), json!(status));
                let location = reply.header(&header::LOCATION).map(str::to_owned);
                let location = location.unwrap_or_else(|| self.location(operation));
                entry.insert("location".to_owned(), json!(location));
                if let Some(version) = reply.header(&header::ETAG) {
                    entry.insert("version".to_owned(), json!(version));
                }
                // Who wants to see the resource says what of it.
                if let Some(body) = reply.body().filter(|_| operation.path.contains('?')) {
                    entry.insert("response".to_owned(), body.clone());
                }
                id_of(&reply).map_or(Made::Nothing, Made::Resource)
            }
            Err(refusal) => {
                self.errors += 1;
                let status = refusal.error.status.to_string();
                entry.insert("status".to_owned(), json!(status));
                if !operation.makes() {
                    entry.insert("location".to_owned(), json!(self.location(operation)));
                }
                entry.insert("response".to_owned(), refusal.body(&current_trace_id()));
                Made::Nothing
            }
        };
        self.make(index, made);
        let bulk_id = self.operations[index].bulk_id.as_deref();
        self.schedule.known(index, bulk_id);
        self.answers.insert(index, Value::Object(entry));
    }

    /// The address of what an operation works on.
    fn location(&self, operation: &Operation) -> String {
        let mut operation = operation.clone();
        operation.replace(&mut |bulk_id| match self.made.get(bulk_id) {
            Some(Made::Resource(id)) => Some(id.clone()),
            Some(Made::Nothing) | None => None,
        });
        let site = &self.call.site;
        address(&operation.path, site).unwrap_or_else(|_| site.base().to_owned())
    }

    fn postpone(&mut self, refusal: &Refusal) {
        let (count, longest) = &mut self.postponed;
        *count += 1;
        if longest
            .as_ref()
            .is_none_or(|longest| longest.retry_after < refusal.retry_after)
        {
            *longest = Some(refusal.clone());
        }
    }

    /// The answer. Where every operation was refused for the time being, the whole request was, and is to be
    /// repeated; where some were, the answer says when those can be.
    fn reply(self) -> Result<Reply, Refusal> {
        tracing::info!(
            operations = self.operations.len(),
            carried_out = self.answers.len(),
            errors = self.errors,
            "bulk"
        );
        let (postponed, refusal) = self.postponed;
        let retry_after = refusal.as_ref().and_then(|refusal| refusal.retry_after);
        match refusal {
            Some(refusal) if postponed == self.answers.len() && !self.has_written => {
                return Err(refusal);
            }
            _ => {}
        }
        let answers = self.answers.into_values().collect();
        let reply = Reply::json(StatusCode::OK, bulk::response(answers)).with_effect(self.effect);
        Ok(match retry_after {
            Some(seconds) => reply.repeat_after(seconds),
            None => reply,
        })
    }
}

/// What a bulk operation may work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Users,
    Groups,
}

/// The endpoint and the id in the path of an operation; the id is empty where there is none.
fn target(path: &str) -> Result<(Endpoint, &str), ScimError> {
    let steps = path.split('?').next().unwrap_or_default();
    let mut steps = steps.trim_matches('/').split('/');
    let (endpoint, id, more) = (steps.next(), steps.next(), steps.next());
    let endpoint = match endpoint {
        Some("Users") => Endpoint::Users,
        Some("Groups") => Endpoint::Groups,
        Some("Bulk" | ".search" | "Me") => {
            return Err(ScimError::invalid_value(
                "A bulk operation works on /Users or /Groups, and is no bulk request or search.",
            ));
        }
        _ => return Err(ScimError::new(404, "There is nothing at this path.")),
    };
    match (id, more) {
        (Some(".search"), _) => Err(ScimError::invalid_value(
            "A search can't be part of a bulk request.",
        )),
        (id, None) => Ok((endpoint, id.unwrap_or_default())),
        _ => Err(ScimError::new(404, "There is nothing at this path.")),
    }
}

/// The address of what the path of an operation names.
pub(crate) fn address(path: &str, site: &Site) -> Result<String, ScimError> {
    Ok(match target(path)? {
        (Endpoint::Users, id) => site.user(id),
        (Endpoint::Groups, id) => site.group(id),
    })
}

/// The id of the resource in an answer.
fn id_of(reply: &Reply) -> Option<String> {
    Some(reply.body()?.get("id")?.as_str()?.to_owned())
}
