//! `/Bulk` (RFC 7644 section 3.7). Each operation is carried out as the single request that it stands for, by the
//! same code and one after another.
//!
//! An operation that refers to what a later one makes waits for it. Where operations wait for each other in a
//! circle, one of them is carried out without its references first, and with them once they are known; where that
//! fails, what it made is deleted again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use axum::http::{StatusCode, header};
use identity_runtime::telemetry::current_trace_id;
use scim_protocol::{
    ScimError,
    bulk::{self, Operation},
};
use serde_json::{Value, json};
use tracing::Instrument;

use crate::{
    admission::Call, app::App, effect::Effect, groups, refusal::Refusal, reply::Reply, users,
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
    index: usize,
    id: String,
    version: Option<String>,
}

struct Run {
    app: App,
    call: Call,
    operations: Vec<Operation>,
    /// What each refers to.
    references: Vec<BTreeSet<String>>,
    /// Which operation makes what is called so; the first of that name.
    makers: HashMap<String, usize>,
    made: HashMap<String, Made>,
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
        let references = operations.iter().map(Operation::references).collect();
        let mut makers = HashMap::new();
        for (index, operation) in operations.iter().enumerate() {
            if let Some(bulk_id) = operation.bulk_id.as_ref().filter(|_| operation.makes()) {
                makers.entry(bulk_id.clone()).or_insert(index);
            }
        }
        Self {
            app,
            call,
            operations,
            references,
            makers,
            made: HashMap::new(),
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
        let mut waiting: Vec<usize> = (0..self.operations.len()).collect();
        let mut unfinished: Vec<Unfinished> = Vec::new();
        while !waiting.is_empty() || !unfinished.is_empty() {
            let mut has_moved = false;
            for index in std::mem::take(&mut waiting) {
                if self.errors >= most_errors {
                    continue;
                }
                if self.open(index).is_empty() {
                    has_moved = true;
                    let operation = self.operations[index].clone();
                    let outcome = self.carry_out(index, operation).await;
                    self.settle(index, outcome);
                } else {
                    waiting.push(index);
                }
            }
            let (ready, still): (Vec<Unfinished>, Vec<Unfinished>) = unfinished
                .into_iter()
                .partition(|one| self.open(one.index).is_empty());
            unfinished = still;
            for one in ready {
                has_moved = true;
                self.finish(one).await;
            }
            if self.errors >= most_errors {
                // What was not carried out is not in the answer; what was half done is undone.
                for one in unfinished {
                    self.give_up(&one).await;
                }
                return;
            }
            if !has_moved && let Some(index) = self.in_a_circle(&waiting) {
                waiting.retain(|other| *other != index);
                unfinished.extend(self.begin(index).await);
            }
        }
    }

    /// What an operation waits for: ids that an operation is still to make. A rehearsal makes none.
    fn open(&self, index: usize) -> BTreeSet<String> {
        if self.is_dry_run {
            return BTreeSet::new();
        }
        self.references[index]
            .iter()
            .filter(|id| self.makers.contains_key(*id) && !self.made.contains_key(*id))
            .cloned()
            .collect()
    }

    /// An operation that waits for itself, by way of others.
    fn in_a_circle(&self, waiting: &[usize]) -> Option<usize> {
        let mut passed = BTreeSet::new();
        let mut index = *waiting.first()?;
        while passed.insert(index) {
            let open = self.open(index);
            let next = open.first().and_then(|id| self.makers.get(id))?;
            index = *next;
        }
        Some(index)
    }

    /// Makes a resource without what it refers to.
    async fn begin(&mut self, index: usize) -> Option<Unfinished> {
        let open = self.open(index);
        let without = self.operations[index].without(&|id| open.contains(id));
        let outcome = self.carry_out(index, without).await;
        let id = outcome.as_ref().ok().and_then(id_of);
        match (outcome, id) {
            (Ok(reply), Some(id)) => {
                self.know(index, Made::Resource(id.clone()));
                let version = reply.header(&header::ETAG).map(str::to_owned);
                Some(Unfinished { index, id, version })
            }
            (outcome, _) => {
                self.settle(index, outcome);
                None
            }
        }
    }

    /// Puts into a resource what it refers to, now that it is known.
    async fn finish(&mut self, one: Unfinished) {
        let whole = Operation {
            method: "PUT".to_owned(),
            version: one.version.clone(),
            ..self.at(&one)
        };
        let outcome = self.carry_out(one.index, whole).await.map(Reply::created);
        if outcome.is_err() {
            self.give_up(&one).await;
        }
        self.settle(one.index, outcome);
    }

    /// Deletes what was made and could not be finished.
    async fn give_up(&mut self, one: &Unfinished) {
        let delete = Operation {
            method: "DELETE".to_owned(),
            data: Value::Null,
            ..self.at(one)
        };
        if let Err(refusal) = self.carry_out(one.index, delete).await {
            tracing::warn!(
                operation = one.index,
                id = one.id,
                outcome = refusal.cause,
                "what a bulk operation began could not be undone"
            );
        }
    }

    /// The operation that made this, on what it made.
    fn at(&self, one: &Unfinished) -> Operation {
        let operation = self.operations[one.index].clone();
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
        let outcome = self.single(index, operation).instrument(span.clone()).await;
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
        if self.makers.get(bulk_id) != Some(&index) {
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
        } else if self.makers.contains_key(&bulk_id) {
            "whose operation failed"
        } else {
            "which no operation of this request makes"
        };
        Err(ScimError::invalid_value(format!(
            "The operation refers to bulkId:{bulk_id}, {why}."
        )))
    }

    /// Remembers what an operation made.
    fn know(&mut self, index: usize, made: Made) {
        if let Some(bulk_id) = &self.operations[index].bulk_id
            && self.makers.get(bulk_id) == Some(&index)
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
        self.know(index, made);
        self.answers.insert(index, Value::Object(entry));
    }

    /// The address of what an operation works on.
    fn location(&self, operation: &Operation) -> String {
        let mut operation = operation.clone();
        operation.replace(&mut |bulk_id| match self.made.get(bulk_id) {
            Some(Made::Resource(id)) => Some(id.clone()),
            Some(Made::Nothing) | None => None,
        });
        match target(&operation.path) {
            Ok((Endpoint::Users, id)) => self.call.site.user(id),
            Ok((Endpoint::Groups, id)) => self.call.site.group(id),
            Err(_) => self.call.site.base().to_owned(),
        }
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

/// The id of the resource in an answer.
fn id_of(reply: &Reply) -> Option<String> {
    Some(reply.body()?.get("id")?.as_str()?.to_owned())
}
