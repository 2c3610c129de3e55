//! Attribute names and PATCH paths (RFC 7644 sections 3.10 and 3.5.2).

use std::fmt;

use crate::{
    ScimError,
    filter::{self, Filter},
};

/// The name of an attribute: `userName`, `name.givenName`, or with its schema's URN and a colon before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttrPath {
    /// The URN of the schema, where one was given.
    pub schema: Option<String>,
    /// The attribute.
    pub name: String,
    /// The part of it, where one was named.
    pub sub: Option<String>,
}

/// What a PATCH operation works on: `attr`, `attr.sub`, `attr[filter]` or `attr[filter].sub`.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// The attribute; its `sub` is set only where there is no filter.
    pub attribute: AttrPath,
    /// Which of its values.
    pub filter: Option<Filter>,
    /// The part of those values.
    pub sub: Option<String>,
}

impl AttrPath {
    /// Parses a name; none where it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        // A URN may hold dots (`core:2.0:User`), so the last colon goes first.
        let (schema, rest) = match text.rsplit_once(':') {
            Some((urn, rest)) => (Some(urn), rest),
            None => (None, text),
        };
        let (name, sub) = match rest.split_once('.') {
            Some((name, sub)) => (name, Some(sub)),
            None => (rest, None),
        };
        let good = schema.is_none_or(is_urn) && is_name(name) && sub.is_none_or(is_name);
        good.then(|| Self {
            schema: schema.map(str::to_owned),
            name: name.to_owned(),
            sub: sub.map(str::to_owned),
        })
    }
}

/// The characters that an attribute name may hold, its URN and dots included.
pub(crate) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_$:.".contains(&byte)
}

/// RFC 7643 section 2.1, with the `$` that `$ref` needs and RFC 7644 forgot.
fn is_name(text: &str) -> bool {
    let bare = text.strip_prefix('$').unwrap_or(text);
    bare.starts_with(|first: char| first.is_ascii_alphabetic())
        && bare
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn is_urn(text: &str) -> bool {
    text.get(..4)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("urn:"))
        && text[4..].split(':').all(|part| !part.is_empty())
}

impl fmt::Display for AttrPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(formatter, "{schema}:")?;
        }
        formatter.write_str(&self.name)?;
        if let Some(sub) = &self.sub {
            write!(formatter, ".{sub}")?;
        }
        Ok(())
    }
}

impl Path {
    /// Parses a path: 400 `invalidPath`, or `invalidFilter` for what stands in brackets.
    pub fn parse(text: &str) -> Result<Self, ScimError> {
        let trimmed = text.trim();
        let malformed = || {
            ScimError::invalid_path(format!(
                "The path {text:?} is malformed; expected something like name.givenName or \
                 emails[type eq \"work\"].value."
            ))
        };
        if trimmed.len() > filter::MAX_LENGTH {
            return Err(ScimError::invalid_path(format!(
                "The path is longer than {} bytes.",
                filter::MAX_LENGTH
            )));
        }
        let Some((name, rest)) = trimmed.split_once('[') else {
            let mut attribute = AttrPath::parse(trimmed).ok_or_else(malformed)?;
            let sub = attribute.sub.take();
            return Ok(Self {
                attribute,
                filter: None,
                sub,
            });
        };
        let attribute = AttrPath::parse(name.trim_end()).ok_or_else(malformed)?;
        // The filter may hold brackets in its texts: only its own parser knows where it ends.
        let (filter, rest) = filter::parse_in_brackets(rest)?;
        let sub = match rest.strip_prefix('.') {
            Some(sub) if is_name(sub) => Some(sub.to_owned()),
            None if rest.is_empty() => None,
            _ => return Err(malformed()),
        };
        if attribute.sub.is_some() {
            return Err(malformed());
        }
        Ok(Self {
            attribute,
            filter: Some(filter),
            sub,
        })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.attribute)?;
        if let Some(filter) = &self.filter {
            write!(formatter, "[{filter}]")?;
        }
        if let Some(sub) = &self.sub {
            write!(formatter, ".{sub}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScimType;

    #[test]
    fn every_shape_parses_and_prints_back() {
        for text in [
            "userName",
            "name.givenName",
            "$ref",
            "emails[type eq \"work\"]",
            "emails[type eq \"work\"].value",
            "members[value eq \"a]b\"]",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
            "urn:ietf:params:scim:schemas:core:2.0:User:emails[type eq \"work\"].value",
        ] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_urn_ends_at_its_last_colon() {
        let path =
            AttrPath::parse("urn:ietf:params:scim:schemas:core:2.0:User:name.givenName").unwrap();
        assert_eq!(
            path.schema.as_deref(),
            Some("urn:ietf:params:scim:schemas:core:2.0:User")
        );
        assert_eq!(
            (path.name.as_str(), path.sub.as_deref()),
            ("name", Some("givenName"))
        );
    }

    /// Conformance: 83.
    #[test]
    fn malformed_paths_are_refused_by_type() {
        for text in [
            "",
            " ",
            "1a",
            "a b",
            "a.",
            ".a",
            "a.b.c",
            "a[",
            "x:y",
            "urn:",
            "é",
            "a.b[c pr]",
        ] {
            let scim_type = Path::parse(text).unwrap_err().scim_type.unwrap();
            assert!(
                matches!(scim_type, ScimType::InvalidPath | ScimType::InvalidFilter),
                "{text}: {scim_type:?}"
            );
        }
        for text in [
            "emails[type]",
            "emails[type eq]",
            "emails[type eq \"x\"",
            "emails[]",
        ] {
            let error = Path::parse(text).unwrap_err();
            assert_eq!(error.scim_type, Some(ScimType::InvalidFilter), "{text}");
        }
        let error = Path::parse("emails[type eq \"x\"]value").unwrap_err();
        assert_eq!(error.scim_type, Some(ScimType::InvalidPath));
    }
}
