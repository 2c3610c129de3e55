//! How far the stream of all sites' events was handed out.
//!
//! Positions become visible out of order: a transaction takes one before it commits. A cursor therefore
//! knows the last position that was handed out and which ones below it were not there yet. Such a gap is
//! handed out when it appears, or forgotten once it can't appear any more (its transaction was undone):
//! that is when the horizon has passed it. So neither a slow writer nor a stopped one delays any other,
//! and nothing is passed over or handed out twice.

use std::collections::BTreeSet;

/// The most gaps. So many there are only where thousands of transactions were undone while another one,
/// older than they, stays open: then the stream waits for that one.
pub(super) const GAPS_MAX: usize = 4096;

/// Which events of all sites were handed out: those at or below `top`, without those in `gaps`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Cursor {
    top: i64,
    gaps: BTreeSet<i64>,
}

impl Cursor {
    /// After `top`, with everything at or below it handed out.
    pub(super) fn after(top: i64) -> Self {
        Self {
            top,
            gaps: BTreeSet::new(),
        }
    }

    /// Before every event.
    pub(super) fn at_the_beginning() -> Self {
        Self::after(i64::MIN)
    }

    /// With these gaps; none where it could not have come about.
    pub(super) fn with_gaps(top: i64, gaps: BTreeSet<i64>) -> Option<Self> {
        let whole = gaps.len() <= GAPS_MAX && gaps.last().is_none_or(|gap| *gap < top);
        whole.then_some(Self { top, gaps })
    }

    pub(super) fn top(&self) -> i64 {
        self.top
    }

    pub(super) fn gaps(&self) -> &BTreeSet<i64> {
        &self.gaps
    }

    /// Whether the event at this position was handed out.
    pub(super) fn has(&self, position: i64) -> bool {
        position <= self.top && !self.gaps.contains(&position)
    }

    /// Hands out the event at `position`, after all visible ones below it. `horizon` was taken before those
    /// were read: nothing at or below it can appear any more. False, and nothing happens, where there would
    /// be too many gaps.
    #[must_use]
    pub(super) fn take(&mut self, position: i64, horizon: i64) -> bool {
        let settled = horizon.min(position);
        self.settle(settled);
        if position <= self.top {
            self.gaps.remove(&position);
            return true;
        }
        let first_open = self.top.max(settled).saturating_add(1);
        let room = (GAPS_MAX - self.gaps.len()) as i64;
        if position.saturating_sub(first_open) > room {
            return false;
        }
        self.gaps.extend(first_open..position);
        self.top = position;
        true
    }

    /// Forgets the gaps at or below `horizon`, once all that is visible up to there was handed out.
    pub(super) fn settle(&mut self, horizon: i64) {
        self.gaps = self.gaps.split_off(&horizon.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gaps(cursor: &Cursor) -> Vec<i64> {
        cursor.gaps().iter().copied().collect()
    }

    #[test]
    fn what_may_still_appear_stays_open_until_the_horizon_passes_it() {
        let mut cursor = Cursor::after(10);
        assert!(cursor.take(14, 11));
        assert_eq!((cursor.top(), gaps(&cursor)), (14, vec![12, 13]));
        assert!(cursor.has(11) && !cursor.has(12) && cursor.has(14) && !cursor.has(15));
        assert!(cursor.take(13, 11));
        assert_eq!(gaps(&cursor), [12]);
        cursor.settle(12);
        assert_eq!((cursor.top(), gaps(&cursor)), (14, vec![]));
    }

    #[test]
    fn from_the_beginning_and_over_a_leap_there_are_no_gaps_below_the_horizon() {
        let mut cursor = Cursor::at_the_beginning();
        assert!(cursor.take(-5, 100) && cursor.take(90, 100));
        assert_eq!((cursor.top(), gaps(&cursor)), (90, vec![]));
        assert!(cursor.take(102, 100));
        assert_eq!(gaps(&cursor), [101]);
        let before = cursor.clone();
        assert!(!cursor.take(1_000_000, 100), "too many gaps");
        assert_eq!(cursor, before);
        assert!(cursor.take(1_000_000, 1_000_000));
    }

    proptest! {
        /// Writers take positions, and commit or give up in any order; a reader looks at any moment, the
        /// horizon first. Each committed event comes once, and never is a dead gap kept.
        #[test]
        fn every_event_is_handed_out_once(
            steps in prop::collection::vec((0..4u8, any::<prop::sample::Index>()), 1..300),
            interrupted in any::<bool>(),
        ) {
            let (mut last, mut open) = (0i64, Vec::<(i64, i64)>::new());
            let (mut committed, mut handed_out) = (BTreeSet::new(), Vec::new());
            let mut cursor = Cursor::after(0);
            let mut look = |last: i64, open: &[(i64, i64)], committed: &BTreeSet<i64>, late: Option<i64>| {
                let horizon = open.iter().map(|(key, _)| *key).min().unwrap_or(last).min(last);
                let mut visible = committed.clone();
                visible.extend(late);
                for position in visible {
                    if !cursor.has(position) {
                        assert!(cursor.take(position, horizon));
                        handed_out.push(position);
                    }
                }
                cursor.settle(horizon);
                assert!(cursor.gaps().iter().all(|gap| *gap > horizon));
                if interrupted {
                    // As if the reader went away and came back with what it had kept.
                    cursor = Cursor::with_gaps(cursor.top(), cursor.gaps().clone()).unwrap();
                }
            };
            for (step, which) in steps {
                match step {
                    0 | 1 => {
                        open.push((last, last + 1));
                        last += 1;
                    }
                    2 if !open.is_empty() => {
                        let (_, position) = open.remove(which.index(open.len()));
                        if which.index(3) > 0 {
                            committed.insert(position);
                        }
                    }
                    _ => {
                        // One may commit between the horizon and the events.
                        let late = open.get(which.index(open.len() + 1)).map(|(_, position)| *position);
                        look(last, &open, &committed, late);
                        if let Some(late) = late {
                            open.retain(|(_, position)| *position != late);
                            committed.insert(late);
                        }
                    }
                }
            }
            look(last, &[], &committed, None);
            handed_out.sort_unstable();
            prop_assert_eq!(handed_out, committed.into_iter().collect::<Vec<_>>());
        }
    }
}
