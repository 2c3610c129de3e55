//! What a write did.

use identity_proto::v1 as pb;
use identity_runtime::telemetry::set_attribute;
use serde_json::json;

use crate::{access::Target, events, ids::MemberId};

/// The most bytes of an effect in a span, some 25,000 members: collectors refuse a message of more than
/// 4 MiB whole, with all the spans in it. A larger effect stands in its event only.
const TRACED_MAX: usize = 1 << 20;

/// The members who gained or lost one role or business entity.
#[derive(Clone, Debug)]
pub(crate) struct AccessChange {
    pub(crate) target: Target,
    pub(crate) gained: Vec<MemberId>,
    pub(crate) lost: Vec<MemberId>,
}

/// The effect of a write on people.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effect {
    /// How many members were made, changed, deleted, or put in or out of a group.
    pub(crate) members: usize,
    /// Ids, as they were sent, that are no members of the site.
    pub(crate) unknown: Vec<String>,
    /// Who gained and lost what; no entry without anybody in it.
    pub(crate) changes: Vec<AccessChange>,
}

impl Effect {
    /// One member, and no access gained or lost.
    pub(crate) fn of_one_member() -> Self {
        Self {
            members: 1,
            ..Self::default()
        }
    }

    pub(crate) fn push(&mut self, target: Target, gained: Vec<MemberId>, lost: Vec<MemberId>) {
        if !gained.is_empty() || !lost.is_empty() {
            self.changes.push(AccessChange {
                target,
                gained,
                lost,
            });
        }
    }
}

/// What a write answers with.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    pub(crate) revision: i64,
    pub(crate) changed: bool,
    pub(crate) effect: Effect,
}

impl Receipt {
    fn count(&self, of: impl Fn(&AccessChange) -> usize) -> i64 {
        self.effect
            .changes
            .iter()
            .map(|change| of(change) as i64)
            .sum()
    }

    /// Puts the effect into the trace: in full and in numbers into the current span, in numbers into the log too.
    pub(crate) fn trace(&self, dry: bool) {
        let gained = self.count(|change| change.gained.len());
        let lost = self.count(|change| change.lost.len());
        // What a collector keeps a trace by, whatever it samples.
        set_attribute("roster.access_changed", !dry && gained + lost > 0);
        set_attribute("roster.changed", !dry && self.changed);
        set_attribute("roster.dry_run", dry);
        set_attribute("roster.revision", self.revision);
        set_attribute("roster.effect.members", self.effect.members as i64);
        set_attribute("roster.effect.skipped", self.effect.unknown.len() as i64);
        set_attribute("roster.effect.gained", gained);
        set_attribute("roster.effect.lost", lost);
        if !self.effect.changes.is_empty() || !self.effect.unknown.is_empty() {
            // What is no id of ours may be anything, an e-mail address too.
            let unknown = self.effect.unknown.iter();
            let unknown: Vec<&String> =
                unknown.filter(|id| MemberId::parse(id).is_some()).collect();
            let full = json!({
                "access_changes": events::kept(&self.effect),
                "unknown_member_ids": unknown,
            })
            .to_string();
            if full.len() <= TRACED_MAX {
                set_attribute("roster.effect", full);
            }
        }
        tracing::info!(
            revision = self.revision,
            changed = self.changed,
            members = self.effect.members,
            skipped = self.effect.unknown.len(),
            gained,
            lost,
            dry_run = dry.then_some(true),
            "effect"
        );
    }
}

impl From<Receipt> for pb::Receipt {
    fn from(receipt: Receipt) -> Self {
        Self {
            revision: receipt.revision,
            changed: receipt.changed,
            members: receipt.effect.members as i64,
            gained: receipt.count(|change| change.gained.len()),
            lost: receipt.count(|change| change.lost.len()),
            unknown_member_ids: receipt.effect.unknown,
            access_changes: receipt.effect.changes.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<AccessChange> for pb::AccessChange {
    fn from(change: AccessChange) -> Self {
        let ids = |members: Vec<MemberId>| members.iter().map(ToString::to_string).collect();
        Self {
            target: Some(change.target.into()),
            gained_member_ids: ids(change.gained),
            lost_member_ids: ids(change.lost),
        }
    }
}
