//! Names and how they compare. A value of one of these types is valid.

use std::fmt;

pub(crate) use identity_forms::names::closest;
pub(crate) use roster_folding::{fold, key};

use crate::error::Error;

/// The most bytes that an e-mail address as a user name may have.
pub(crate) const USER_NAME_MAX: usize = 254;
/// The most bytes that the name of a role or business entity may have.
pub(crate) const NAME_MAX: usize = 255;
/// The most bytes that a group's display name may have.
pub(crate) const DISPLAY_NAME_MAX: usize = 1024;
/// The most bytes that an external id may have.
pub(crate) const EXTERNAL_ID_MAX: usize = 1024;

/// The key to look something up by. PostgreSQL can't hold a NUL, so nothing that is kept equals a key
/// that would have one.
#[must_use]
pub(crate) fn lookup_key(text: &str) -> String {
    key(text).replace('\0', "\u{fffd}")
}

/// The most bytes of a key: PostgreSQL's indexes take 2704 of a row. Folding can make a text up to
/// eleven times as long.
pub(crate) const KEY_MAX: usize = 2500;

/// Refuses a text whose key would not fit an index.
pub(crate) fn check_key(field: &str, key: &str) -> Result<(), Error> {
    if key.len() > KEY_MAX {
        return Err(Error::invalid(
            field,
            format!(
                "is {} bytes long once it is case-folded; the limit is {KEY_MAX}",
                key.len()
            ),
        ));
    }
    Ok(())
}

/// A name as it was given, and the key it compares by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Name {
    text: String,
    key: String,
}

impl Name {
    /// The name as it was given.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// What it compares by.
    #[must_use]
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    fn checked(text: &str, field: &'static str, max: usize) -> Result<Self, Error> {
        let name = Self {
            text: text.to_owned(),
            key: key(text),
        };
        if name.key.is_empty() {
            return Err(Error::invalid(field, "must not be empty"));
        }
        if text.len() > max {
            return Err(Error::invalid(
                field,
                format!("is {} bytes long; the limit is {max}", text.len()),
            ));
        }
        check_key(field, &name.key)?;
        if text.chars().any(char::is_control) {
            return Err(Error::invalid(field, "must not contain control characters"));
        }
        Ok(name)
    }

    /// A user name: an e-mail address with one `@`, without space or control character, of at most
    /// [`USER_NAME_MAX`] bytes.
    ///
    /// # Errors
    /// `Invalid` naming what is wrong.
    pub(crate) fn user_name(text: &str) -> Result<Self, Error> {
        const FIELD: &str = "user_name";
        let text = text.trim();
        let name = Self::checked(text, FIELD, USER_NAME_MAX)?;
        let parts: Vec<&str> = text.split('@').collect();
        match parts.as_slice() {
            [local, domain] if !local.is_empty() && !domain.is_empty() => {}
            _ => {
                return Err(Error::invalid(
                    FIELD,
                    "must be an e-mail address with one @",
                ));
            }
        }
        // The key too: compatibility characters may fold into a space or a second @.
        if text
            .chars()
            .chain(name.key.chars())
            .any(char::is_whitespace)
            || name.key.matches('@').count() != 1
        {
            return Err(Error::invalid(
                FIELD,
                "must be an e-mail address without spaces",
            ));
        }
        Ok(name)
    }

    /// The name of a role or business entity: 1 to [`NAME_MAX`] bytes, no control character. Space
    /// around it does not count.
    ///
    /// # Errors
    /// `Invalid` naming `field` and what is wrong.
    pub(crate) fn named(text: &str, field: &'static str) -> Result<Self, Error> {
        Self::checked(text.trim(), field, NAME_MAX)
    }

    /// A group's display name: 1 to [`DISPLAY_NAME_MAX`] bytes, no control character, kept as it was sent.
    ///
    /// # Errors
    /// `Invalid` naming what is wrong.
    pub(crate) fn display_name(text: &str) -> Result<Self, Error> {
        Self::checked(text, "display_name", DISPLAY_NAME_MAX)
    }

    /// A site's domain: a DNS label of 1 to 63 letters, digits and hyphens, no hyphen at either end.
    ///
    /// # Errors
    /// `Invalid` naming what is wrong.
    pub(crate) fn domain(text: &str) -> Result<Self, Error> {
        if is_label(text, |c| c.is_ascii_alphanumeric()) {
            Ok(Self {
                text: text.to_owned(),
                key: key(text),
            })
        } else {
            Err(Error::invalid(
                "domain",
                "must be 1 to 63 letters, digits and hyphens, with no hyphen at either end",
            ))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn is_label(text: &str, allowed: fn(char) -> bool) -> bool {
    (1..=63).contains(&text.len())
        && text.chars().all(|c| allowed(c) || c == '-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The stable name of a business entity for machines.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Handle(String);

impl Handle {
    /// A handle as a caller chose it: 1 to 63 of `a-z 0-9 -`, no hyphen at either end.
    ///
    /// # Errors
    /// `Invalid` naming what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        if is_label(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid(
                "handle",
                "must be 1 to 63 of a-z, 0-9 and hyphens, with no hyphen at either end",
            ))
        }
    }

    /// A handle made from a name: what is no ASCII letter or digit becomes a hyphen. None where
    /// nothing is left of the name.
    #[must_use]
    pub(crate) fn from_name(name: &Name) -> Option<Self> {
        let mut handle = String::new();
        for c in name.key().chars() {
            if c.is_ascii_alphanumeric() {
                handle.push(c);
            } else if !handle.is_empty() && !handle.ends_with('-') {
                handle.push('-');
            }
        }
        handle.truncate(63);
        let handle = handle.trim_matches('-');
        (!handle.is_empty()).then(|| Self(handle.to_owned()))
    }

    /// The handle.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a provisioning client calls an object: compared exactly, never made up by us. Empty is none.
///
/// # Errors
/// `Invalid` where it is longer than [`EXTERNAL_ID_MAX`] bytes or holds a NUL.
pub(crate) fn external_id(text: &str) -> Result<Option<String>, Error> {
    if text.len() > EXTERNAL_ID_MAX {
        return Err(Error::invalid(
            "external_id",
            format!(
                "is {} bytes long; the limit is {EXTERNAL_ID_MAX}",
                text.len()
            ),
        ));
    }
    if text.contains('\0') {
        return Err(Error::invalid(
            "external_id",
            "must not contain a NUL character",
        ));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_are_mail_addresses() {
        for good in [
            "a@b",
            "Ann.O'Neil+x@Example.COM",
            "ä@ö.example",
            " pat@acme.example ",
        ] {
            assert!(Name::user_name(good).is_ok(), "{good}");
        }
        let long = format!("{}@b", "a".repeat(253));
        for bad in [
            "",
            "a",
            "a@",
            "@b",
            "a@b@c",
            "a b@c",
            "a\t@c",
            "a\u{7f}@c",
            "a＠b@c",
            &long,
        ] {
            assert!(Name::user_name(bad).is_err(), "{bad}");
        }
        assert!(Name::user_name(&long[1..]).is_ok());
    }

    #[test]
    fn domains_are_dns_labels() {
        for good in ["acme", "Acme-Test", "a", "4cme"] {
            assert!(Name::domain(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "a.b", "a_b", "ä", &"a".repeat(64)] {
            assert!(Name::domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn handles_come_from_names() {
        let handle = |text| {
            Handle::from_name(&Name::named(text, "name").unwrap()).map(|h| h.as_str().to_owned())
        };
        assert_eq!(handle("EU GmbH").as_deref(), Some("eu-gmbh"));
        assert_eq!(handle(" A/B & Co. ").as_deref(), Some("a-b-co"));
        assert_eq!(handle("日本"), None);
    }
}
