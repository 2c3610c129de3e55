//! The form of a token.
//!
//! `roster_<site>_<secret><checksum>`: `<site>` is the site's id as 22 base-62 digits, or `all`;
//! `<secret>` is 43 random base-62 digits (256 bits); `<checksum>` is the CRC-32 of all before it, as
//! 6 base-62 digits. A secret scanner finds one by its form and proves it by its checksum, and the
//! site is known before the first look-up.

use std::fmt;

use uuid::Uuid;

/// The digits of base 62, each worth its place.
pub const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// How many digits the secret has.
pub const SECRET_DIGITS: usize = 43;

const PREFIX: &str = "roster_";
const ALL: &str = "all";
const SITE_DIGITS: usize = 22;
const CHECKSUM_DIGITS: usize = 6;

/// Whom a token speaks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SpeaksFor {
    /// One site, by its id.
    Site(Uuid),
    /// All sites.
    AllSites,
}

/// Why a text is no token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// It does not begin like one.
    Prefix,
    /// The part that names a site names none.
    Site,
    /// The secret and its checksum have not their length, or characters that are no digits.
    Secret,
    /// The checksum is not that of the rest: a digit was lost or changed.
    Checksum,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix => write!(formatter, "it does not begin with {PREFIX}"),
            Self::Site => write!(formatter, "the part after {PREFIX} names no site"),
            Self::Secret => write!(
                formatter,
                "the last part must be {} letters and digits: it was cut short, or something was added",
                SECRET_DIGITS + CHECKSUM_DIGITS
            ),
            Self::Checksum => formatter.write_str(
                "the checksum is not that of the rest: a character was changed, or it was made up",
            ),
        }
    }
}

impl std::error::Error for Fault {}

/// The token of this secret, which is [`SECRET_DIGITS`] of [`DIGITS`].
#[must_use]
pub fn compose(speaks_for: SpeaksFor, secret: &str) -> String {
    let mut text = PREFIX.to_owned();
    match speaks_for {
        SpeaksFor::Site(site) => push_base62(&mut text, site.as_u128(), SITE_DIGITS),
        SpeaksFor::AllSites => text.push_str(ALL),
    }
    text.push('_');
    text.push_str(secret);
    let checksum = crc32fast::hash(text.as_bytes());
    push_base62(&mut text, u128::from(checksum), CHECKSUM_DIGITS);
    text
}

/// Whom a text speaks for, if it has the form and the checksum of a token. Whether it was ever issued
/// only identity knows.
///
/// # Errors
/// What is wrong with it.
pub fn read(text: &str) -> Result<SpeaksFor, Fault> {
    let rest = text.strip_prefix(PREFIX).ok_or(Fault::Prefix)?;
    let (site, secret) = rest.split_once('_').ok_or(Fault::Site)?;
    if secret.len() != SECRET_DIGITS + CHECKSUM_DIGITS
        || !secret.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return Err(Fault::Secret);
    }
    let (checked, checksum) = text.split_at(text.len() - CHECKSUM_DIGITS);
    if parse_base62(checksum) != Some(u128::from(crc32fast::hash(checked.as_bytes()))) {
        return Err(Fault::Checksum);
    }
    if site == ALL {
        return Ok(SpeaksFor::AllSites);
    }
    (site.len() == SITE_DIGITS)
        .then(|| parse_base62(site))
        .flatten()
        .map(|id| SpeaksFor::Site(Uuid::from_u128(id)))
        .ok_or(Fault::Site)
}

fn push_base62(text: &mut String, mut value: u128, digits: usize) {
    let mut reversed = Vec::with_capacity(digits);
    for _ in 0..digits {
        reversed.push(DIGITS[(value % 62) as usize]);
        value /= 62;
    }
    text.extend(reversed.iter().rev().map(|digit| char::from(*digit)));
}

fn parse_base62(text: &str) -> Option<u128> {
    text.bytes().try_fold(0u128, |value, byte| {
        let digit = DIGITS.iter().position(|digit| *digit == byte)?;
        value.checked_mul(62)?.checked_add(digit as u128)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on stops")]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg";

    #[test]
    fn what_is_composed_is_read_back() {
        for site in [
            SpeaksFor::Site(Uuid::max()),
            SpeaksFor::Site(Uuid::nil()),
            SpeaksFor::AllSites,
        ] {
            assert_eq!(read(&compose(site, SECRET)).unwrap(), site);
        }
        let token = compose(SpeaksFor::Site(Uuid::max()), SECRET);
        assert_eq!(token.len(), 7 + 22 + 1 + 43 + 6);
    }

    #[test]
    fn each_part_that_is_wrong_is_told_apart() {
        let token = compose(SpeaksFor::AllSites, SECRET);
        for (text, fault) in [
            ("".to_owned(), Fault::Prefix),
            ("ghp_something".to_owned(), Fault::Prefix),
            ("roster_all".to_owned(), Fault::Site),
            (token[..token.len() - 1].to_owned(), Fault::Secret),
            (format!("{token}x"), Fault::Secret),
            (token.replace("ABC", "A_C"), Fault::Secret),
            (token.replace("ABC", "ACB"), Fault::Checksum),
            (
                compose(SpeaksFor::AllSites, SECRET).replace("_all_", "_al1_"),
                Fault::Checksum,
            ),
        ] {
            assert_eq!(read(&text), Err(fault), "{text}");
        }
    }
}
