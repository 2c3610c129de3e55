//! In which order the operations of a bulk request are carried out: as they were written, but that one which refers
//! to what another makes waits for it, and goes on as soon as it can. Where operations wait for each other in a
//! circle, one of them is begun without its references and finished with them.
//!
//! However they refer to each other, it takes no more time than there are references.

use std::collections::{BTreeSet, HashMap};

use super::Operation;

/// What to do next, with the operation of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Carry it out; all that it refers to is known, or never will be.
    Whole(usize),
    /// Make its resource without what it refers to and is open.
    Begin(usize),
    /// Put into the resource what was left out.
    Finish(usize),
}

/// What is done, what is ready, and what waits for what.
#[derive(Debug)]
pub struct Schedule {
    /// Which operation makes what is called so; the first of that name.
    makers: HashMap<String, usize>,
    /// The ids that each operation waits for.
    open: Vec<BTreeSet<String>>,
    /// The operations that refer to an id.
    waiters: HashMap<String, Vec<usize>>,
    ready: BTreeSet<usize>,
    waiting: BTreeSet<usize>,
    begun: BTreeSet<usize>,
    complete: BTreeSet<usize>,
    /// Where the present pass over the operations stands.
    at: usize,
}

impl Schedule {
    /// Plans operations. In a `rehearsal` nothing is made, so that nothing waits for it.
    pub fn new(operations: &[Operation], rehearsal: bool) -> Self {
        let mut makers = HashMap::new();
        for (index, operation) in operations.iter().enumerate() {
            if let Some(id) = operation.bulk_id.as_ref().filter(|_| operation.makes()) {
                makers.entry(id.clone()).or_insert(index);
            }
        }
        let mut waiters: HashMap<String, Vec<usize>> = HashMap::new();
        let (mut ready, mut waiting) = (BTreeSet::new(), BTreeSet::new());
        let mut open = Vec::with_capacity(operations.len());
        for (index, operation) in operations.iter().enumerate() {
            let mut ids = BTreeSet::new();
            if !rehearsal {
                ids = operation.references();
                ids.retain(|id| makers.contains_key(id));
            }
            for id in &ids {
                waiters.entry(id.clone()).or_default().push(index);
            }
            if ids.is_empty() {
                ready.insert(index);
            } else {
                waiting.insert(index);
            }
            open.push(ids);
        }
        Self {
            makers,
            open,
            waiters,
            ready,
            waiting,
            begun: BTreeSet::new(),
            complete: BTreeSet::new(),
            at: 0,
        }
    }

    /// The operation that makes what is called so.
    pub fn maker(&self, id: &str) -> Option<usize> {
        self.makers.get(id).copied()
    }

    /// Whether an operation waits for what is called so.
    pub fn is_open(&self, index: usize, id: &str) -> bool {
        self.open.get(index).is_some_and(|ids| ids.contains(id))
    }

    /// The next step; none where everything is done. Of each step the caller says what it came to before the next:
    /// by [`Schedule::known`], or by [`Schedule::begun`].
    pub fn next_step(&mut self) -> Option<Step> {
        loop {
            if let Some(&index) = self.ready.range(self.at..).next() {
                self.ready.remove(&index);
                self.at = index + 1;
                return Some(Step::Whole(index));
            }
            // What was begun is finished at the end of a pass.
            if let Some(index) = self.complete.pop_first() {
                return Some(Step::Finish(index));
            }
            self.at = 0;
            if self.ready.is_empty() {
                let index = self.in_a_circle()?;
                self.waiting.remove(&index);
                return Some(Step::Begin(index));
            }
        }
    }

    /// Tells that an operation has made what it is to make, or never will.
    pub fn known(&mut self, index: usize, id: Option<&str>) {
        let Some(id) = id.filter(|id| self.maker(id) == Some(index)) else {
            return;
        };
        for waiter in self.waiters.remove(id).unwrap_or_default() {
            let open = &mut self.open[waiter];
            open.remove(id);
            if !open.is_empty() {
                continue;
            }
            if self.waiting.remove(&waiter) {
                self.ready.insert(waiter);
            } else if self.begun.remove(&waiter) {
                self.complete.insert(waiter);
            }
        }
    }

    /// Tells that an operation was begun, and has made what it is to make.
    pub fn begun(&mut self, index: usize, id: Option<&str>) {
        self.begun.insert(index);
        self.known(index, id);
    }

    /// An operation that waits for itself, by way of others.
    fn in_a_circle(&self) -> Option<usize> {
        let mut passed = BTreeSet::new();
        let mut index = *self.waiting.first()?;
        while passed.insert(index) {
            index = self.open[index].first().and_then(|id| self.maker(id))?;
        }
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Operations that make what they are called, and refer to others.
    fn operations(references: &[&[usize]]) -> Vec<Operation> {
        let made = references.iter().enumerate().map(|(index, others)| {
            let others: Vec<String> = others.iter().map(|id| format!("bulkId:{id}")).collect();
            Operation {
                method: "POST".to_owned(),
                path: "/Users".to_owned(),
                bulk_id: Some(index.to_string()),
                data: json!({ "x": others }),
                ..Operation::default()
            }
        });
        made.collect()
    }

    fn run(operations: &[Operation], rehearsal: bool) -> Vec<Step> {
        let mut schedule = Schedule::new(operations, rehearsal);
        let mut steps = Vec::new();
        while let Some(step) = schedule.next_step() {
            steps.push(step);
            match step {
                Step::Whole(index) => schedule.known(index, operations[index].bulk_id.as_deref()),
                Step::Begin(index) => schedule.begun(index, operations[index].bulk_id.as_deref()),
                Step::Finish(_) => {}
            }
        }
        steps
    }

    #[test]
    fn operations_wait_only_for_what_they_need() {
        use Step::{Begin, Finish, Whole};
        assert_eq!(run(&operations(&[]), false), []);
        assert_eq!(run(&operations(&[&[], &[]]), false), [Whole(0), Whole(1)]);
        let forward = operations(&[&[3], &[], &[0], &[9]]);
        let steps = [Whole(1), Whole(3), Whole(0), Whole(2)];
        assert_eq!(run(&forward, false), steps);
        assert_eq!(run(&forward, true), [0, 1, 2, 3].map(Whole));
        let circle = operations(&[&[1], &[2], &[1], &[3]]);
        let steps = [Begin(1), Whole(0), Whole(2), Finish(1), Begin(3), Finish(3)];
        assert_eq!(run(&circle, false), steps);
    }

    #[test]
    fn what_fails_holds_nobody_up() {
        let circle = operations(&[&[1], &[0], &[0]]);
        let mut schedule = Schedule::new(&circle, false);
        assert_eq!(schedule.next_step(), Some(Step::Begin(0)));
        schedule.known(0, Some("0"));
        assert_eq!(schedule.next_step(), Some(Step::Whole(1)));
        schedule.known(1, Some("1"));
        assert_eq!(schedule.next_step(), Some(Step::Whole(2)));
        schedule.known(2, None);
        assert_eq!(schedule.next_step(), None);
    }

    #[test]
    fn a_long_chain_takes_no_longer_than_it_is() {
        // Each refers to the one after it, and to all that are made before: looked at anew in every pass these were
        // tens of millions.
        let late: Vec<usize> = (900..1000).collect();
        let references: Vec<Vec<usize>> = (0..1000)
            .map(|index| match index {
                900.. => vec![],
                _ => [&[index + 1], late.as_slice()].concat(),
            })
            .collect();
        let references: Vec<&[usize]> = references.iter().map(Vec::as_slice).collect();
        let operations = operations(&references);
        let begun = std::time::Instant::now();
        assert_eq!(run(&operations, false).len(), 1000);
        assert!(begun.elapsed() < std::time::Duration::from_secs(2));
    }
}
