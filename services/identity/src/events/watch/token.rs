//! Resume tokens: where a watch stands, written so that it can be given back. There is nothing secret in
//! one, as it can only ask for what its watch may see anyway; its digest finds a mistake, not a forger.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use super::{
    Place,
    cursor::{Cursor, GAPS_MAX},
    read::Restoration,
};
use crate::{error::Error, events::kinds::Kinds, ids::SiteId};

/// The form of the tokens that this release writes. It reads no other.
const VERSION: u8 = 1;
const DIGEST: usize = 8;
/// The most characters of a token that is worth reading: each gap takes ten bytes at the most.
const LENGTH_MAX: usize = (GAPS_MAX + 4) * 10 * 4 / 3;

/// What the tokens of a watch are bound to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Bound([u8; 32]);

impl Bound {
    /// To a site or to all, to the kinds, and to the last time that the database was restored, if it was: the
    /// places of before are others since.
    pub(super) fn to(
        site: Option<SiteId>,
        kinds: &Kinds,
        restoration: Option<Restoration>,
    ) -> Self {
        let mut hash = Sha256::new();
        if let Some(restoration) = restoration {
            hash.update(restoration.restoration_id.as_bytes());
        }
        match site {
            Some(site) => hash.update(site.uuid().as_bytes()),
            None => hash.update(b"all"),
        }
        hash.update(b" ");
        hash.update(kinds.canonical().as_bytes());
        Self(hash.finalize().into())
    }

    fn digest(&self, payload: &[u8]) -> [u8; DIGEST] {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(payload);
        let mut digest = [0; DIGEST];
        digest.copy_from_slice(&hash.finalize()[..DIGEST]);
        digest
    }

    /// The token for this place.
    pub(super) fn write(&self, place: &Place) -> String {
        let mut payload = vec![VERSION];
        match place {
            Place::Site(number) => push(&mut payload, number.cast_unsigned()),
            Place::All(cursor) => {
                push(&mut payload, zigzag(cursor.top()));
                // Downwards, as distances: a byte or two each.
                let mut above = cursor.top();
                for gap in cursor.gaps().iter().rev() {
                    push(&mut payload, above.abs_diff(*gap));
                    above = *gap;
                }
            }
        }
        let digest = self.digest(&payload);
        payload.extend(digest);
        URL_SAFE_NO_PAD.encode(payload)
    }

    /// Reads a token of this watch.
    pub(super) fn read(&self, token: &str, all_sites: bool) -> Result<Place, Error> {
        self.parse(token, all_sites)
            .ok_or(Error::ResumeTokenInvalid)
    }

    fn parse(&self, token: &str, all_sites: bool) -> Option<Place> {
        if token.len() > LENGTH_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (payload, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
        if self.digest(payload) != *digest {
            return None;
        }
        let (VERSION, mut rest) = payload.split_first().map(|(first, rest)| (*first, rest))? else {
            return None;
        };
        let first = pull(&mut rest)?;
        if !all_sites {
            return rest.is_empty().then_some(Place::Site(first.cast_signed()));
        }
        let top = unzigzag(first);
        let (mut above, mut gaps) = (top, std::collections::BTreeSet::new());
        while !rest.is_empty() {
            above = above.checked_sub_unsigned(pull(&mut rest)?)?;
            gaps.insert(above);
        }
        Cursor::with_gaps(top, gaps).map(Place::All)
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn push(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn pull(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        let shifted = bits.checked_shl(shift)?;
        if shifted >> shift != bits {
            return None;
        }
        value |= shifted;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn bound(site: Option<SiteId>, kinds: &[&str]) -> Bound {
        let kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        Bound::to(site, &Kinds::read(&kinds).unwrap(), None)
    }

    #[test]
    fn a_token_is_good_for_its_own_watch_only() {
        let site = Some(SiteId::new());
        let own = bound(site, &["member.*"]);
        let token = own.write(&Place::Site(7));
        assert_eq!(own.read(&token, false).unwrap(), Place::Site(7));
        for other in [
            bound(site, &[]),
            bound(Some(SiteId::new()), &["member.*"]),
            bound(None, &["member.*"]),
        ] {
            assert!(other.read(&token, false).is_err());
            assert!(other.read(&token, true).is_err());
        }
        let all = bound(None, &[]);
        let beginning = Place::All(Cursor::at_the_beginning());
        assert_eq!(all.read(&all.write(&beginning), true).unwrap(), beginning);
        for bad in [
            "",
            "x",
            "AAAA",
            "!!!",
            &token[1..],
            &format!("{token}A"),
            &"A".repeat(1 << 20),
        ] {
            assert!(own.read(bad, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_restoration_ends_the_tokens_of_before_and_of_other_restorations() {
        let site = Some(SiteId::new());
        let kinds = Kinds::read(&[]).unwrap();
        let restored = |number| Restoration {
            restoration_id: uuid::Uuid::from_u128(number),
        };
        let restorations = [None, Some(restored(1)), Some(restored(2))];
        let bounds = restorations.map(|restoration| Bound::to(site, &kinds, restoration));
        for bound in &bounds {
            let token = bound.write(&Place::Site(7));
            let good = bounds
                .iter()
                .filter(|other| other.read(&token, false).is_ok());
            assert_eq!(good.collect::<Vec<_>>(), [bound]);
        }
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let all = bound(None, &[]);
        let cursor = Cursor::with_gaps(900_000, BTreeSet::from([5, 899_990])).unwrap();
        let token = all.write(&Place::All(cursor));
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(all.read(&changed, true).is_err(), "{at}");
        }
    }

    #[test]
    fn the_largest_token_is_what_the_contract_says() {
        let all = bound(None, &[]);
        let top = 1i64 << 55;
        let gaps: BTreeSet<i64> = (0..GAPS_MAX as i64).map(|n| top - 1 - n * 2).collect();
        let place = Place::All(Cursor::with_gaps(top, gaps).unwrap());
        let token = all.write(&place);
        assert!(token.len() < 16 << 10, "{}", token.len());
        assert_eq!(all.read(&token, true).unwrap(), place);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(top in any::<i64>(), below in prop::collection::btree_set(1..u64::MAX, 0..20)) {
            let gaps = below.iter().filter_map(|distance| top.checked_sub_unsigned(*distance)).collect();
            let place = Place::All(Cursor::with_gaps(top, gaps).unwrap());
            let all = bound(None, &[]);
            prop_assert_eq!(all.read(&all.write(&place), true).unwrap(), place);
        }

        #[test]
        fn anything_may_come_as_a_token(text in "\\PC{0,60}") {
            prop_assert!(bound(None, &[]).read(&text, true).is_err());
        }
    }
}
