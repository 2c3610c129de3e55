//! The body of a bulk request: read, put into an order, and its references replaced, with outcomes made up.

use std::collections::{BTreeMap, BTreeSet};

use scim_facade::offline;
use scim_protocol::{
    bulk::{self, Bulk, Operation, Schedule, Step},
    group::GROUP,
    json,
    patch::{self, MAX_OPERATIONS},
    query::Query,
    resource,
    user::USER,
};
use serde_json::Value;

use crate::{
    hold::{is_refusal, is_within},
    patch::{group, reads_again, user},
    samples,
};

/// The most operations of a request.
const MOST: usize = 1000;

/// How many operations are looked at by themselves.
const LOOKED_AT: usize = 8;

/// An id as the service makes it.
const ID: &str = "0198f1a2-7b3c-7d4e-8f50-123456789abc";

/// Takes the input for the body of a bulk request.
pub fn check(input: &[u8]) {
    let body = match json::read(input) {
        Ok(body) => body,
        Err(error) => return is_refusal(&error, input.len()),
    };
    let bulk = match bulk::parse(body, MOST) {
        Ok(bulk) => bulk,
        Err(error) => return is_refusal(&error, input.len()),
    };
    assert!((1..=MOST).contains(&bulk.operations.len()));
    assert_ne!(bulk.fail_on_errors, Some(0));
    for rehearsal in [false, true] {
        run(&bulk, rehearsal, input.len());
    }
    for operation in bulk.operations.iter().take(LOOKED_AT) {
        single(operation, input.len());
    }
}

/// Whether an operation is to fail, by nothing but what it is.
fn fails(operation: &Operation) -> bool {
    operation.path.len() % 3 == 1
}

/// Goes through the steps: each operation has its turn once, when what it refers to is known, and they come to an end.
fn run(bulk: &Bulk, rehearsal: bool, sent: usize) {
    let operations = &bulk.operations;
    let mut schedule = Schedule::new(operations, rehearsal);
    let mut made = BTreeMap::new();
    let (mut turns, mut begun) = (BTreeSet::new(), BTreeSet::new());
    let mut written = 0;
    while let Some(step) = schedule.next_step() {
        let (Step::Whole(index) | Step::Begin(index) | Step::Finish(index)) = step;
        let operation = &operations[index];
        let is_waiting = |id: &String| schedule.maker(id).is_some() && !made.contains_key(id);
        let open: BTreeSet<String> = match rehearsal {
            true => BTreeSet::new(),
            false => operation
                .references()
                .into_iter()
                .filter(is_waiting)
                .collect(),
        };
        match step {
            Step::Whole(_) => {
                assert!(turns.insert(index) && open.is_empty(), "{step:?}: {open:?}");
                written += replaced(operation, &made);
            }
            Step::Begin(_) => {
                assert!(turns.insert(index) && !open.is_empty() && operation.makes());
                assert!(open.iter().all(|id| schedule.is_open(index, id)));
                let without = operation.without(&|id| schedule.is_open(index, id));
                assert!(bytes(&without) <= bytes(operation));
                written += replaced(&without, &made);
            }
            Step::Finish(_) => {
                assert!(
                    begun.remove(&index) && open.is_empty(),
                    "{step:?}: {open:?}"
                );
                written += replaced(operation, &made);
            }
        }
        let id = operation.bulk_id.as_deref();
        if matches!(step, Step::Finish(_)) {
            continue;
        }
        if let Some(id) = id.filter(|id| schedule.maker(id) == Some(index)) {
            made.insert(id.to_owned(), (!fails(operation)).then_some(ID));
        }
        match step {
            Step::Begin(_) if !fails(operation) => {
                begun.insert(index);
                schedule.begun(index, id);
            }
            _ => schedule.known(index, id),
        }
    }
    assert_eq!(turns.len(), operations.len(), "some had no turn");
    assert!(begun.is_empty(), "never finished: {begun:?}");
    // Each is written twice at the most, and an id takes the place of eight bytes or more.
    is_within(written, 2 * sent, 128 * operations.len());
}

/// Puts ids in the place of references; gives how many bytes that makes.
fn replaced(operation: &Operation, made: &BTreeMap<String, Option<&str>>) -> usize {
    let mut replaced = operation.clone();
    let mut missing = BTreeSet::new();
    replaced.replace(&mut |id| match made.get(id) {
        Some(Some(id)) => Some((*id).to_owned()),
        Some(None) | None => {
            missing.insert(id.to_owned());
            None
        }
    });
    assert_eq!(replaced.references(), missing, "{operation:?}");
    bytes(&replaced)
}

fn bytes(operation: &Operation) -> usize {
    operation.path.len() + operation.data.to_string().len()
}

/// The request that an operation stands for.
fn single(operation: &Operation, sent: usize) {
    let (path, query) = match operation.path.split_once('?') {
        Some((path, query)) => (path, query),
        None => (operation.path.as_str(), ""),
    };
    match offline::bulk_address(path) {
        Ok(address) => {
            let below = address.strip_prefix("https://roster.example/acme/scim/v2/");
            let below = below.and_then(|below| {
                below
                    .strip_prefix("Users/")
                    .or(below.strip_prefix("Groups/"))
            });
            assert!(
                below.is_some_and(|id| !id.contains(['/', '?', '#'])),
                "{address}"
            );
        }
        Err(error) => is_refusal(&error, sent),
    }
    if let Err(error) = Query::parse(query) {
        is_refusal(&error, sent);
    }
    if operation.data == Value::Null {
        return;
    }
    reads_again(&operation.data, 2 * sent);
    for resource_type in [&USER, &GROUP] {
        if let Err(error) = resource::read(resource_type, operation.data.clone()) {
            is_refusal(&error, sent);
        }
    }
    match patch::parse(operation.data.clone()) {
        Ok(operations) if operations.len() <= MAX_OPERATIONS => {
            user(&samples::MEMBERS[1], &operations, sent);
            group(&operations, sent);
        }
        Ok(_) => {}
        Err(error) => is_refusal(&error, sent),
    }
}
