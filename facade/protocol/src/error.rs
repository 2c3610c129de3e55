//! The SCIM error message (RFC 7644 section 3.12).

use std::fmt;

use serde_json::{Value, json};

/// The URN of the error message.
pub const ERROR_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// What exactly a 400 or 409 complains of (RFC 7644 table 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScimType {
    /// The filter does not parse, or compares what can't be compared.
    InvalidFilter,
    /// The filter yields more than the server will process.
    TooMany,
    /// Another resource has this value already.
    Uniqueness,
    /// The attribute may not be changed that way.
    Mutability,
    /// The body is not the message it should be.
    InvalidSyntax,
    /// The PATCH path does not parse, or names nothing.
    InvalidPath,
    /// The PATCH path selects nothing to work on.
    NoTarget,
    /// A value is missing or of the wrong kind.
    InvalidValue,
    /// The cursor is none, or was given for another query (RFC 9865).
    InvalidCursor,
    /// No page has so many resources (RFC 9865).
    InvalidCount,
    /// This version of SCIM is not spoken here (RFC 7644 section 3.13).
    InvalidVers,
}

impl ScimType {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidFilter => "invalidFilter",
            Self::TooMany => "tooMany",
            Self::Uniqueness => "uniqueness",
            Self::Mutability => "mutability",
            Self::InvalidSyntax => "invalidSyntax",
            Self::InvalidPath => "invalidPath",
            Self::NoTarget => "noTarget",
            Self::InvalidValue => "invalidValue",
            Self::InvalidCursor => "invalidCursor",
            Self::InvalidCount => "invalidCount",
            Self::InvalidVers => "invalidVers",
        }
    }
}

/// A refusal, as the client will read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScimError {
    /// The HTTP status.
    pub status: u16,
    /// The SCIM error type, where there is one.
    pub scim_type: Option<ScimType>,
    /// A sentence that a person can act on.
    pub detail: String,
}

impl ScimError {
    /// An error of a status without a SCIM type.
    pub fn new(status: u16, detail: impl Into<String>) -> Self {
        Self {
            status,
            scim_type: None,
            detail: detail.into(),
        }
    }

    /// A 400 of a SCIM type.
    pub fn bad_request(scim_type: ScimType, detail: impl Into<String>) -> Self {
        Self {
            status: 400,
            scim_type: Some(scim_type),
            detail: detail.into(),
        }
    }

    /// 400 `invalidFilter`.
    pub fn invalid_filter(detail: impl Into<String>) -> Self {
        Self::bad_request(ScimType::InvalidFilter, detail)
    }

    /// 400 `invalidSyntax`.
    pub fn invalid_syntax(detail: impl Into<String>) -> Self {
        Self::bad_request(ScimType::InvalidSyntax, detail)
    }

    /// 400 `invalidValue`.
    pub fn invalid_value(detail: impl Into<String>) -> Self {
        Self::bad_request(ScimType::InvalidValue, detail)
    }

    /// 400 `invalidPath`.
    pub fn invalid_path(detail: impl Into<String>) -> Self {
        Self::bad_request(ScimType::InvalidPath, detail)
    }

    /// 400 `noTarget`.
    pub fn no_target(detail: impl Into<String>) -> Self {
        Self::bad_request(ScimType::NoTarget, detail)
    }

    /// 400 `mutability`.
    pub fn mutability(detail: impl Into<String>) -> Self {
        Self::bad_request(ScimType::Mutability, detail)
    }

    /// The message body. `status` is a string there (RFC 7644 section 3.12).
    pub fn to_json(&self) -> Value {
        let mut body = json!({
            "schemas": [ERROR_SCHEMA],
            "status": self.status.to_string(),
            "detail": self.detail,
        });
        if let Some(scim_type) = self.scim_type {
            body["scimType"] = json!(scim_type.as_str());
        }
        body
    }
}

impl fmt::Display for ScimError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.status, self.detail)
    }
}

impl std::error::Error for ScimError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_a_string_and_an_absent_type_is_left_out() {
        assert_eq!(
            ScimError::new(404, "gone").to_json(),
            json!({"schemas": [ERROR_SCHEMA], "status": "404", "detail": "gone"})
        );
        assert_eq!(
            ScimError::invalid_value("userName: missing").to_json(),
            json!({
                "schemas": [ERROR_SCHEMA],
                "status": "400",
                "scimType": "invalidValue",
                "detail": "userName: missing",
            })
        );
    }
}
