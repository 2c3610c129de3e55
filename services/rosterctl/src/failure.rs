//! What went wrong, in words for an operator, and the exit code that says so to a script.

use std::{fmt, process::ExitCode};

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    exit_code: u8,
}

impl Failure {
    /// A failure of this program's own.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit_code: 1,
        }
    }

    /// A call that identity at this address refused, or did not get.
    pub(crate) fn of_call(addr: &str, status: &Status) -> Self {
        let details = status.get_error_details();
        let mut message = match details.error_info() {
            Some(info) => format!("{} ({})", status.message(), info.reason),
            None => match status.code() {
                Code::Unavailable => format!("identity can't be reached at {addr}"),
                Code::DeadlineExceeded => format!("identity at {addr} did not answer in time"),
                code => format!("{} ({code:?})", status.message()),
            },
        };
        for violation in details
            .bad_request()
            .iter()
            .flat_map(|bad| &bad.field_violations)
        {
            message.push_str(&format!(
                "\n  {}: {}",
                violation.field, violation.description
            ));
        }
        if let Some(hint) = details.error_info().and_then(|info| hint(&info.reason)) {
            message.push_str(&format!("\n  {hint}"));
        }
        Self {
            message,
            exit_code: exit_code(status.code()),
        }
    }

    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit_code)
    }
}

/// What to do about a refusal, where identity's own words can't say it: they don't know this program.
fn hint(reason: &str) -> Option<&'static str> {
    match reason {
        "TOKEN_INVALID" => {
            Some("the token is unknown, expired or revoked: set another in ROSTER_TOKEN")
        }
        "SITE_NOT_FOUND" => {
            Some("name a site that exists and that the token speaks for, with --site")
        }
        "SCOPE_MISSING" => Some("take a token with that scope, or issue one"),
        _ => None,
    }
}

fn exit_code(code: Code) -> u8 {
    match code {
        Code::Unauthenticated | Code::PermissionDenied => 3,
        Code::NotFound => 4,
        Code::Unavailable | Code::DeadlineExceeded => 5,
        _ => 1,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_refusal_names_its_reason_and_what_to_do() {
        let details = ErrorDetails::with_error_info("SITE_NOT_FOUND", "identity.roster", []);
        let status = Status::with_error_details(Code::NotFound, "There is no such site.", details);
        let failure = Failure::of_call("127.0.0.1:8481", &status);
        let text = failure.to_string();
        assert!(
            text.starts_with("There is no such site. (SITE_NOT_FOUND)"),
            "{text}"
        );
        assert!(text.contains("--site"), "{text}");
        assert_eq!(failure.exit_code, 4);
    }

    #[test]
    fn each_wrong_field_is_named() {
        let mut details = ErrorDetails::with_bad_request_violation("domain", "is no DNS label");
        details.set_error_info("FIELD_INVALID", "identity.roster", []);
        let status = Status::with_error_details(Code::InvalidArgument, "Invalid.", details);
        let text = Failure::of_call("x", &status).to_string();
        assert_eq!(text, "Invalid. (FIELD_INVALID)\n  domain: is no DNS label");
    }

    #[test]
    fn an_identity_that_is_away_is_named_by_its_address() {
        let status = Status::unavailable("tcp connect error");
        let failure = Failure::of_call("10.0.0.1:8481", &status);
        assert_eq!(
            failure.to_string(),
            "identity can't be reached at 10.0.0.1:8481"
        );
        assert_eq!(failure.exit_code, 5);
    }
}
