//! Entity tags and the conditions on them (RFC 9110 section 13, RFC 7644 section 3.14).
//!
//! A tag is weak and holds what identity calls the etag: the resource's version and, for a member, a dash and
//! a second part that follows from its groups. `If-Match` compares the version only, `If-None-Match` all:
//! on a read it spares the answer, on a write it forbids it.

use axum::http::{HeaderMap, HeaderName, header};
use scim_protocol::ScimError;

/// The tag of a member, from its etag, or of a group, from its version.
pub(crate) fn entity_tag(opaque: impl std::fmt::Display) -> String {
    format!("W/\"{opaque}\"")
}

/// Which versions the client will change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// Any: there is no condition, or only the one that the resource exists.
    Any,
    /// One of these.
    Versions(Vec<i64>),
}

impl IfMatch {
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, ScimError> {
        if !headers.contains_key(header::IF_MATCH) {
            return Ok(Self::Any);
        }
        let tags = tags(headers, &header::IF_MATCH);
        if tags.iter().any(|tag| tag == "*") {
            return Ok(Self::Any);
        }
        let versions: Vec<i64> = tags
            .iter()
            .filter_map(|tag| {
                tag.split('-')
                    .next()
                    .and_then(|version| version.parse().ok())
            })
            .collect();
        if versions.is_empty() {
            return Err(mismatch());
        }
        Ok(Self::Versions(versions))
    }

    /// Whether this version may be changed.
    pub(crate) fn allows(&self, version: i64) -> bool {
        match self {
            Self::Any => true,
            Self::Versions(versions) => versions.contains(&version),
        }
    }

    /// As identity wants it: empty for any.
    pub(crate) fn versions(&self) -> Vec<i64> {
        match self {
            Self::Any => Vec::new(),
            Self::Versions(versions) => versions.clone(),
        }
    }
}

/// The answer to a stale `If-Match`.
pub(crate) fn mismatch() -> ScimError {
    ScimError::new(
        412,
        "The resource is not at the version that If-Match names. Read it again and repeat the change.",
    )
}

/// Which representations the client has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IfNoneMatch(Vec<String>);

impl IfNoneMatch {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        Self(tags(headers, &header::IF_NONE_MATCH))
    }

    /// Whether the client has the representation of this etag already.
    pub(crate) fn has(&self, etag: &str) -> bool {
        self.0.iter().any(|tag| tag == "*" || tag == etag)
    }

    /// Whether anything can match, so that a write has to look first.
    pub(crate) fn has_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Refuses a write of what the client has already, or of what is there at all (RFC 9110 section 13.1.2).
    pub(crate) fn check_write(&self, etag: &str) -> Result<(), ScimError> {
        if self.has(etag) {
            let detail = "The resource is there, at a version that If-None-Match names; nothing was changed.";
            return Err(ScimError::new(412, detail));
        }
        Ok(())
    }
}

/// The opaque parts of all tags of a header, and `*`. What is no tag is left out.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let mut tags = Vec::new();
    for value in headers.get_all(name) {
        let mut rest = value.to_str().unwrap_or_default().trim();
        if rest == "*" {
            tags.push("*".to_owned());
            continue;
        }
        while let Some((tag, after)) = first_tag(rest) {
            tags.push(tag.to_owned());
            rest = after.trim_start().strip_prefix(',').unwrap_or_default();
        }
    }
    tags
}

fn first_tag(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    text.strip_prefix("W/")
        .unwrap_or(text)
        .strip_prefix('"')?
        .split_once('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn if_match(values: &[&str]) -> Result<IfMatch, u16> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, value.parse().unwrap());
        }
        IfMatch::read(&headers).map_err(|error| error.status)
    }

    #[test]
    fn if_match_compares_the_version_weakly() {
        assert_eq!(if_match(&[]), Ok(IfMatch::Any));
        assert_eq!(if_match(&["*"]), Ok(IfMatch::Any));
        assert_eq!(if_match(&["W/\"7-abc\""]), Ok(IfMatch::Versions(vec![7])));
        assert_eq!(
            if_match(&["\"7\" , W/\"8-x\"", "\"9\""]),
            Ok(IfMatch::Versions(vec![7, 8, 9]))
        );
        assert_eq!(if_match(&["\"x\", \"8\""]), Ok(IfMatch::Versions(vec![8])));
        for stale in ["", "7", "\"", "W/7", "\"abc\""] {
            assert_eq!(if_match(&[stale]), Err(412), "{stale}");
        }
    }

    #[test]
    fn if_none_match_compares_the_whole() {
        let headers =
            HeaderMap::from_iter([(header::IF_NONE_MATCH, "W/\"7-abc\", \"8\"".parse().unwrap())]);
        let known = IfNoneMatch::read(&headers);
        assert!(known.has("7-abc") && known.has("8"));
        assert!(!known.has("7") && !known.has("7-abd"));
        assert!(!IfNoneMatch::read(&HeaderMap::new()).has("7"));
        assert_eq!(entity_tag("7-abc"), "W/\"7-abc\"");
    }
}
