//! Pages: how many rows, from where on, and the token that asks for the next one. A token names the last
//! row that was shown, so that a page costs the same wherever it is, and nothing is skipped or shown
//! twice while rows come and go. It is bound to its query by a digest; there is nothing secret in it, as
//! it can only ask for what the caller may see anyway.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use identity_proto::v1 as pb;
use prost::Message;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::error::Error;

/// Where a page begins.
#[derive(Clone, Debug)]
pub(crate) enum Page {
    /// After so many rows.
    Skip(i64),
    /// After the row that this token, as it was sent, names.
    After(String),
}

/// The last row of a page.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct PageToken {
    query: String,
    /// What the row was ordered by; none where it had no value, or the order is that of the ids.
    pub(crate) key: Option<String>,
    pub(crate) id: Uuid,
}

impl PageToken {
    pub(crate) fn new(query: String, key: Option<String>, id: Uuid) -> Self {
        Self { query, key, id }
    }

    pub(crate) fn encode(&self) -> String {
        // Texts and a UUID: always JSON.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads a token that must have been given for this query.
    pub(crate) fn decode(text: &str, query: &str) -> Result<Self, Error> {
        let token: Self = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or(Error::PageTokenInvalid)?;
        let holds_nul = token.key.as_ref().is_some_and(|key| key.contains('\0'));
        if token.query != query || holds_nul {
            return Err(Error::PageTokenInvalid);
        }
        Ok(token)
    }
}

impl Page {
    /// How many rows to pass over.
    pub(crate) fn skip(&self) -> i64 {
        match self {
            Self::Skip(rows) => *rows,
            Self::After(_) => 0,
        }
    }

    /// The row after which the page begins, where a token named it.
    pub(crate) fn after(&self, bound_to: &str) -> Result<Option<PageToken>, Error> {
        match self {
            Self::Skip(_) => Ok(None),
            Self::After(token) => PageToken::decode(token, bound_to).map(Some),
        }
    }

    /// What the tokens of a query are bound to on a site.
    pub(crate) fn bound_to(&self, site: Uuid, digest: &str) -> String {
        digest_of(&[site.as_bytes(), digest.as_bytes()])
    }

    /// Cuts what was read beyond the page, and makes the token for it.
    pub(crate) fn cut<R>(
        &self,
        mut rows: Vec<R>,
        limit: i64,
        token: impl Fn(&R) -> PageToken,
    ) -> (Vec<R>, Option<PageToken>) {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if rows.len() <= limit {
            return (rows, None);
        }
        rows.truncate(limit);
        let next = rows.last().map(token);
        (rows, next)
    }

    /// How many match in all, where the page shows it: it reaches the end, and began by a number.
    pub(crate) fn known_total(&self, shown: usize, more: bool, limit: i64) -> Option<i64> {
        match self {
            Self::Skip(skip) if !more && limit > 0 && (shown > 0 || *skip == 0) => {
                Some(skip + shown as i64)
            }
            _ => None,
        }
    }
}

/// A digest of a query, to bind tokens to: what is listed, the filter and the order.
pub(crate) fn digest(list: &str, filter: Option<&pb::Filter>, order: Option<&pb::Order>) -> String {
    let filter = filter.map(Message::encode_to_vec).unwrap_or_default();
    let order = order.map(Message::encode_to_vec).unwrap_or_default();
    digest_of(&[list.as_bytes(), &filter, &order])
}

/// A digest of these parts, which it keeps apart.
pub(crate) fn digest_of(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_own_query_only() {
        let token = PageToken::new("q".to_owned(), Some("ä".to_owned()), Uuid::from_u128(7));
        let text = token.encode();
        assert!(
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
        assert_eq!(PageToken::decode(&text, "q").unwrap(), token);
        assert!(matches!(
            PageToken::decode(&text, "r"),
            Err(Error::PageTokenInvalid)
        ));
        for bad in ["", "x", "e30", "!!!", &text[1..]] {
            assert!(PageToken::decode(bad, "q").is_err(), "{bad}");
        }
    }

    #[test]
    fn digests_keep_parts_apart() {
        assert_ne!(digest_of(&[b"ab", b"c"]), digest_of(&[b"a", b"bc"]));
    }

    #[test]
    fn a_page_that_reaches_the_end_shows_how_many_there_are() {
        assert_eq!(Page::Skip(10).known_total(3, false, 5), Some(13));
        assert_eq!(Page::Skip(0).known_total(0, false, 5), Some(0));
        assert_eq!(Page::Skip(10).known_total(0, false, 5), None);
        assert_eq!(Page::Skip(0).known_total(5, true, 5), None);
        assert_eq!(Page::Skip(0).known_total(0, false, 0), None);
        assert_eq!(Page::After(String::new()).known_total(3, false, 5), None);
    }
}
