//! Who is in a group: a change travels as "add these, remove those" or as "exactly these", the
//! difference is worked out by set, and only that is touched.

use std::collections::HashSet;

use super::{Group, store};
use crate::{
    error::Error,
    ids::{GroupId, MemberId},
    site_tx::SiteTx,
};

/// The most ids that one change may name.
pub(crate) const IDS_MAX: usize = 500_000;

/// Ids as a caller sent them: the ones that can be a member's, each once, and the rest.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemberIds {
    ids: Vec<MemberId>,
    malformed: Vec<String>,
}

impl MemberIds {
    /// Reads ids; at most [`IDS_MAX`].
    pub(crate) fn read(texts: &[String]) -> Result<Self, Error> {
        if texts.len() > IDS_MAX {
            return Err(Error::LimitExceeded {
                limit: "member ids in one change",
                maximum: IDS_MAX as i64,
            });
        }
        let mut seen = HashSet::with_capacity(texts.len());
        let mut seen_malformed = HashSet::new();
        let mut read = Self::default();
        for text in texts {
            match MemberId::parse(text) {
                Some(id) if seen.insert(id) => read.ids.push(id),
                None if seen_malformed.insert(text) => read.malformed.push(text.clone()),
                Some(_) | None => {}
            }
        }
        Ok(read)
    }
}

/// What becomes of a membership.
#[derive(Clone, Debug)]
pub(crate) enum Membership {
    /// Add these, remove those; who is in both is removed.
    Delta { add: MemberIds, remove: MemberIds },
    /// Exactly these.
    Exactly(MemberIds),
}

/// What a change of a membership did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moved {
    pub(crate) added: Vec<MemberId>,
    pub(crate) removed: Vec<MemberId>,
    /// Of the added: who has the group's target now and had it from nothing before.
    pub(crate) gained: Vec<MemberId>,
    /// Of the removed: who had the group's target and has it from nothing now.
    pub(crate) lost: Vec<MemberId>,
    /// Ids, as they were sent, that are no members of the site.
    pub(crate) unknown: Vec<String>,
}

impl Moved {
    pub(crate) fn touched(&self) -> usize {
        self.added.len() + self.removed.len()
    }

    /// Who was in before, given who is in now.
    pub(crate) fn undo(&self, now_in: &[MemberId]) -> Vec<MemberId> {
        let added: HashSet<&MemberId> = self.added.iter().collect();
        now_in
            .iter()
            .filter(|id| !added.contains(id))
            .chain(&self.removed)
            .copied()
            .collect()
    }
}

/// Puts members into a new group.
pub(super) fn add(
    tx: &mut SiteTx<'_, '_>,
    group: &Group,
    members: &MemberIds,
) -> Result<Moved, Error> {
    change(tx, group, &members.ids, &[], members.malformed.clone())
}

/// Applies a change. Ids that are no members of the site are left out and reported; a group's id
/// among them is refused.
pub(super) fn apply(
    tx: &mut SiteTx<'_, '_>,
    group: &Group,
    membership: &Membership,
) -> Result<Moved, Error> {
    match membership {
        Membership::Delta { add, remove } => {
            let removing: HashSet<&MemberId> = remove.ids.iter().collect();
            let adding: Vec<MemberId> = add
                .ids
                .iter()
                .filter(|id| !removing.contains(id))
                .copied()
                .collect();
            let malformed = add
                .malformed
                .iter()
                .chain(&remove.malformed)
                .cloned()
                .collect();
            change(tx, group, &adding, &remove.ids, malformed)
        }
        Membership::Exactly(wanted) => {
            let (adding, removing) = difference(&store::member_ids(tx, group.id)?, &wanted.ids);
            change(tx, group, &adding, &removing, wanted.malformed.clone())
        }
    }
}

/// Who must come and who must leave, to get from `present` to `wanted`.
fn difference(present: &[MemberId], wanted: &[MemberId]) -> (Vec<MemberId>, Vec<MemberId>) {
    let present_set: HashSet<&MemberId> = present.iter().collect();
    let wanted_set: HashSet<&MemberId> = wanted.iter().collect();
    (
        wanted
            .iter()
            .filter(|id| !present_set.contains(id))
            .copied()
            .collect(),
        present
            .iter()
            .filter(|id| !wanted_set.contains(id))
            .copied()
            .collect(),
    )
}

fn change(
    tx: &mut SiteTx<'_, '_>,
    group: &Group,
    adding: &[MemberId],
    removing: &[MemberId],
    malformed: Vec<String>,
) -> Result<Moved, Error> {
    let mut moved = if adding.is_empty() && removing.is_empty() {
        Moved::default()
    } else {
        store::change_members(tx, group, adding, removing)?
    };
    if !moved.unknown.is_empty() {
        let ids: Vec<GroupId> = moved
            .unknown
            .iter()
            .filter_map(|id| GroupId::parse(id))
            .collect();
        if let Some(group_id) = store::first_group(tx, &ids)? {
            return Err(Error::MemberIsGroup {
                group_id: group_id.uuid(),
            });
        }
    }
    moved.unknown.extend(malformed);
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn id(n: u8) -> MemberId {
        MemberId::from(Uuid::from_u128(u128::from(n)))
    }

    #[test]
    fn ids_are_read_once_each_and_the_malformed_are_kept_for_the_receipt() {
        let text = id(1).to_string();
        let read = MemberIds::read(&[
            text.clone(),
            text.to_uppercase(),
            "00u1".to_owned(),
            "00u1".to_owned(),
            String::new(),
        ])
        .unwrap();
        assert_eq!(read.ids, [id(1)]);
        assert_eq!(read.malformed, ["00u1", ""]);
    }

    proptest! {
        #[test]
        fn the_difference_leads_from_one_set_to_the_other(
            present in prop::collection::btree_set(0u8..40, 0..30),
            wanted in prop::collection::btree_set(0u8..40, 0..30),
        ) {
            let ids = |set: &BTreeSet<u8>| set.iter().map(|n| id(*n)).collect::<Vec<_>>();
            let (adding, removing) = difference(&ids(&present), &ids(&wanted));
            let mut set: BTreeSet<MemberId> = ids(&present).into_iter().collect();
            for gone in &removing {
                prop_assert!(set.remove(gone));
            }
            for come in &adding {
                prop_assert!(set.insert(*come));
            }
            prop_assert_eq!(set.clone(), ids(&wanted).into_iter().collect::<BTreeSet<_>>());
            let moved = Moved { added: adding, removed: removing, ..Moved::default() };
            let now_in: Vec<MemberId> = set.into_iter().collect();
            let before: BTreeSet<MemberId> = moved.undo(&now_in).into_iter().collect();
            prop_assert_eq!(before, ids(&present).into_iter().collect::<BTreeSet<_>>());
        }
    }
}
