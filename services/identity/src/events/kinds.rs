//! The kinds of events, and which of them a caller asks for.

use diesel::sql_types::{Array, Text};

use crate::{db::Sql, error::Error};

/// Every kind, as the contract lists them.
pub(crate) const KINDS: [&str; 23] = [
    "site.created",
    "site.updated",
    "site.divided",
    "credential.issued",
    "credential.updated",
    "credential.revoked",
    "member.created",
    "member.updated",
    "member.deactivated",
    "member.reactivated",
    "member.deleted",
    "role.created",
    "role.updated",
    "role.deleted",
    "business_entity.created",
    "business_entity.updated",
    "business_entity.deleted",
    "group.created",
    "group.updated",
    "group.deleted",
    "grant.created",
    "grant.updated",
    "grant.ended",
];

/// The most kinds that a request may name.
const NAMED_MAX: usize = 100;

/// Which kinds a caller asks for; all where none is named.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Kinds {
    exact: Vec<String>,
    /// What stands before the dot.
    subjects: Vec<String>,
}

impl Kinds {
    /// Reads `member.created` and `member.*`, in any order and number of times.
    pub(crate) fn read(named: &[String]) -> Result<Self, Error> {
        if named.len() > NAMED_MAX {
            return Err(Error::LimitExceeded {
                limit: "kinds",
                maximum: NAMED_MAX as i64,
            });
        }
        let mut kinds = Self::default();
        for name in named {
            if KINDS.contains(&name.as_str()) {
                kinds.exact.push(name.clone());
            } else if let Some(subject) = name.strip_suffix(".*")
                && KINDS.iter().any(|kind| subject_kind(kind) == subject)
            {
                kinds.subjects.push(subject.to_owned());
            } else {
                return Err(Error::invalid(
                    "kinds",
                    format!(
                        "names \"{name}\", which is none: take {} or, for all about members, member.*",
                        KINDS.join(", ")
                    ),
                ));
            }
        }
        for list in [&mut kinds.exact, &mut kinds.subjects] {
            list.sort();
            list.dedup();
        }
        Ok(kinds)
    }

    /// Whether events of this kind are asked for.
    pub(crate) fn include(&self, kind: &str) -> bool {
        self.is_all()
            || self.exact.iter().any(|exact| exact == kind)
            || self
                .subjects
                .iter()
                .any(|subject| subject == subject_kind(kind))
    }

    fn is_all(&self) -> bool {
        self.exact.is_empty() && self.subjects.is_empty()
    }

    /// Adds the condition on `e.kind` to a statement that has one already.
    pub(super) fn push_condition(&self, sql: &mut Sql) {
        if self.is_all() {
            return;
        }
        sql.push(" AND (e.kind = ANY(?)");
        sql.push_bind::<Array<Text>, _>(self.exact.clone());
        if !self.subjects.is_empty() {
            sql.push(" OR split_part(e.kind, '.', 1) = ANY(?)");
            sql.push_bind::<Array<Text>, _>(self.subjects.clone());
        }
        sql.push(")");
    }

    /// The same text for the same kinds.
    pub(super) fn canonical(&self) -> String {
        format!("{} {}.*", self.exact.join(" "), self.subjects.join(".* "))
    }
}

/// What a kind is about: the part before the dot.
pub(super) fn subject_kind(kind: &str) -> &str {
    kind.split('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(named: &[&str]) -> Result<Kinds, Error> {
        let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
        Kinds::read(&named)
    }

    #[test]
    fn kinds_are_named_one_by_one_or_by_what_they_are_about() {
        let kinds = read(&["member.*", "role.deleted"]).unwrap();
        for (kind, included) in [
            ("member.created", true),
            ("member.moved_by_a_later_release", true),
            ("role.deleted", true),
            ("role.created", false),
            ("members.created", false),
        ] {
            assert_eq!(kinds.include(kind), included, "{kind}");
        }
        assert!(read(&[]).unwrap().include("anything.at_all"));
        for bad in [
            "",
            "*",
            "member",
            "member.",
            "nobody.*",
            "member.moved",
            "member.*.*",
        ] {
            assert!(matches!(read(&[bad]), Err(Error::Invalid { .. })), "{bad}");
        }
    }

    #[test]
    fn the_order_in_which_kinds_are_named_does_not_matter() {
        let one = read(&["role.deleted", "member.*", "role.created"]).unwrap();
        let other = read(&["member.*", "role.created", "role.deleted", "member.*"]).unwrap();
        assert_eq!(one.canonical(), other.canonical());
        let fewer = read(&["member.*", "role.created"]).unwrap();
        assert_ne!(one.canonical(), fewer.canonical());
    }

    #[test]
    fn every_kind_stands_in_the_contract() {
        let contract = include_str!("../../../../proto/identity/v1/event.proto");
        for kind in KINDS {
            assert!(contract.contains(&format!("`{kind}`")), "{kind}");
        }
    }
}
