//! What a write did, for the reply and the log: `Roster-Effect`, and its rehearsal: `Roster-Dry-Run`.

use std::fmt;

use axum::http::{HeaderMap, HeaderName};
use identity_proto::v1::Receipt;
use scim_protocol::ScimError;

/// The request header that asks for a rehearsal.
pub(crate) const DRY_RUN: HeaderName = HeaderName::from_static("roster-dry-run");

/// The response header that tells the effect.
pub(crate) const EFFECT: HeaderName = HeaderName::from_static("roster-effect");

/// The effect of one write in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    members: i64,
    skipped: usize,
    gained: i64,
    lost: i64,
}

impl Effect {
    pub(crate) fn of(receipt: Option<&Receipt>) -> Self {
        receipt.map_or_else(Self::default, |receipt| Self {
            members: receipt.members,
            skipped: receipt.unknown_member_ids.len(),
            gained: receipt.gained,
            lost: receipt.lost,
        })
    }
}

/// The effect of several writes together.
impl std::ops::AddAssign for Effect {
    fn add_assign(&mut self, other: Self) {
        self.members += other.members;
        self.skipped += other.skipped;
        self.gained += other.gained;
        self.lost += other.lost;
    }
}

/// An RFC 8941 dictionary.
impl fmt::Display for Effect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            members,
            skipped,
            gained,
            lost,
        } = self;
        write!(
            formatter,
            "members={members}, skipped={skipped}, gained={gained}, lost={lost}"
        )
    }
}

/// Whether the request is a rehearsal. A value that is not understood is refused: it would be a real write.
pub(crate) fn is_dry_run(headers: &HeaderMap) -> Result<bool, ScimError> {
    let mut asked = false;
    for value in headers.get_all(DRY_RUN) {
        match value
            .to_str()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
            .as_str()
        {
            "true" | "?1" => asked = true,
            "false" | "?0" => {}
            _ => {
                return Err(ScimError::invalid_value(
                    "Roster-Dry-Run must be true or false.",
                ));
            }
        }
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effect_is_a_dictionary() {
        let receipt = Receipt {
            members: 998,
            gained: 998,
            unknown_member_ids: vec!["a".into(), "b".into()],
            ..Receipt::default()
        };
        assert_eq!(
            Effect::of(Some(&receipt)).to_string(),
            "members=998, skipped=2, gained=998, lost=0"
        );
    }

    #[test]
    fn a_rehearsal_is_asked_for_in_so_many_words() {
        let asked = |value: &str| {
            is_dry_run(&HeaderMap::from_iter([(DRY_RUN, value.parse().unwrap())])).ok()
        };
        assert_eq!(is_dry_run(&HeaderMap::new()), Ok(false));
        assert_eq!(
            (asked("true"), asked("?1"), asked("TRUE")),
            (Some(true), Some(true), Some(true))
        );
        assert_eq!((asked("false"), asked("?0")), (Some(false), Some(false)));
        assert_eq!((asked("yes"), asked("")), (None, None));
    }
}
