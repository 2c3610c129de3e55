//! Tokens: how they are made, read and recognised.
//!
//! Their form is `identity_forms::token`'s. The database holds the SHA-256 of the whole token: with 256
//! random bits nobody can guess their way back, so a slow hash would protect nothing.

use std::fmt;

use identity_forms::token::{self, DIGITS, SECRET_DIGITS, SpeaksFor};
use rand::{TryRng, rngs::SysRng};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    error::{Error, TokenFault},
    ids::SiteId,
};

/// The bounds of a bootstrap token's length, in bytes.
pub(crate) const BOOTSTRAP_LENGTH: std::ops::RangeInclusive<usize> = 32..=256;

/// SHA-256 of a token.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// A token as a caller presented it; not looked up yet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Presented {
    /// The bootstrap token.
    Bootstrap,
    /// A token in the form of one site's.
    Site(SiteId, TokenHash),
    /// A token in the form of all sites'.
    AllSites(TokenHash),
}

/// A token that was just made, and what the database keeps of it. Shown once.
pub(crate) struct NewToken {
    pub(crate) text: String,
    pub(crate) hash: TokenHash,
}

/// Makes a token for one site, or for all.
pub(crate) fn issue(site: Option<SiteId>) -> Result<NewToken, Error> {
    let secret = (0..SECRET_DIGITS)
        .map(|_| random_digit())
        .collect::<Result<String, Error>>()?;
    let speaks_for = site.map_or(SpeaksFor::AllSites, |site| SpeaksFor::Site(site.uuid()));
    let text = token::compose(speaks_for, &secret);
    let hash = TokenHash::of(&text);
    Ok(NewToken { text, hash })
}

/// One of the 62 digits, each as likely as the others: bytes beyond the last whole multiple are drawn
/// again.
fn random_digit() -> Result<char, Error> {
    loop {
        let mut byte = [0u8];
        SysRng
            .try_fill_bytes(&mut byte)
            .map_err(|error| Error::Internal(Box::new(error)))?;
        let value = usize::from(byte[0]);
        if value < 4 * DIGITS.len() {
            return Ok(char::from(DIGITS[value % DIGITS.len()]));
        }
    }
}

/// Reads presented tokens.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    bootstrap: Option<TokenHash>,
}

impl Tokens {
    pub(crate) fn new(bootstrap: Option<&str>) -> Self {
        Self {
            bootstrap: bootstrap.map(TokenHash::of),
        }
    }

    /// What `authorization`, the metadata of a call, presents.
    pub(crate) fn read(&self, authorization: Option<&str>) -> Result<Presented, TokenFault> {
        let (scheme, token) = authorization
            .and_then(|value| value.split_once(' '))
            .ok_or(TokenFault::Missing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(TokenFault::Missing);
        }
        let token = token.trim();
        let hash = TokenHash::of(token);
        if let Some(bootstrap) = &self.bootstrap
            && bool::from(bootstrap.0.ct_eq(&hash.0))
        {
            return Ok(Presented::Bootstrap);
        }
        match token::read(token) {
            Ok(SpeaksFor::Site(site)) => Ok(Presented::Site(SiteId::from(site), hash)),
            Ok(SpeaksFor::AllSites) => Ok(Presented::AllSites(hash)),
            Err(_) => Err(TokenFault::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issued_token_is_read_back_with_its_site() {
        let tokens = Tokens::new(None);
        let site = SiteId::new();
        let token = issue(Some(site)).unwrap();
        assert_eq!(token.text.len(), 7 + 22 + 1 + 43 + 6);
        match tokens.read(Some(&format!("Bearer {}", token.text))) {
            Ok(Presented::Site(read, hash)) => {
                assert_eq!(read, site);
                assert!(hash == token.hash);
            }
            other => panic!("{other:?}"),
        }
        let all = issue(None).unwrap();
        assert!(matches!(
            tokens.read(Some(&format!("bearer {}", all.text))),
            Ok(Presented::AllSites(_))
        ));
    }

    /// Conformance: 128.
    #[test]
    fn every_changed_digit_is_noticed_without_a_look_up() {
        let tokens = Tokens::new(None);
        let token = issue(Some(SiteId::new())).unwrap().text;
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(
                tokens.read(Some(&format!("Bearer {changed}"))).unwrap_err(),
                TokenFault::Malformed,
                "{at}"
            );
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let tokens = Tokens::new(Some("bootstrap-bootstrap-bootstrap-0001"));
        for (authorization, fault) in [
            (None, TokenFault::Missing),
            (Some(""), TokenFault::Missing),
            (Some("Bearer"), TokenFault::Missing),
            (Some("Basic dXNlcjpwYXNz"), TokenFault::Missing),
            (Some("Bearer non-token"), TokenFault::Malformed),
            (Some("Bearer roster_é_x"), TokenFault::Malformed),
            (
                Some("Bearer bootstrap-bootstrap-bootstrap-0002"),
                TokenFault::Malformed,
            ),
        ] {
            assert_eq!(
                tokens.read(authorization).unwrap_err(),
                fault,
                "{authorization:?}"
            );
        }
        assert!(matches!(
            tokens.read(Some("Bearer bootstrap-bootstrap-bootstrap-0001")),
            Ok(Presented::Bootstrap)
        ));
    }
}
