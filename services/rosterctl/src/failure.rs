//! What went wrong, in words for an operator, and the exit code that says so to a script.

use std::{collections::HashMap, error::Error as _, fmt, process::ExitCode};

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::connection::is_away;

/// The exit code of wrong usage, clap's too.
const USAGE: u8 = 2;
/// The exit code of a token that is not valid, or may not.
const TOKEN: u8 = 3;
/// The exit code of what was not found.
const NOT_FOUND: u8 = 4;
/// The exit code where identity can't be reached, did not answer in time, or is overloaded.
const AWAY: u8 = 5;
/// The exit code of what is refused as things stand.
const CONFLICT: u8 = 6;
/// The exit code of a question whose answer is no.
pub(crate) const NO: u8 = 7;
/// The exit code of what was done in part.
pub(crate) const IN_PART: u8 = 8;

/// The exit code of what was interrupted, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

/// How many of a site's names a message lists.
const LISTED: usize = 12;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    exit_code: u8,
    /// What identity said of its refusal, for programs: the reason, and facts with it.
    info: Option<(String, HashMap<String, String>)>,
}

impl Failure {
    /// A failure of this program's own.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::with(1, message)
    }

    /// Arguments that do not fit together, or a file that is not as it should be.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::with(USAGE, message)
    }

    /// A token that can be none.
    pub(crate) fn token(message: impl Into<String>) -> Self {
        Self::with(TOKEN, message)
    }

    /// Something that was named and is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::with(NOT_FOUND, message)
    }

    /// What is refused as things stand.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::with(CONFLICT, message)
    }

    fn with(exit_code: u8, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit_code,
            info: None,
        }
    }

    /// A call that identity at this address refused, or did not get.
    pub(crate) fn of_call(addr: &str, status: &Status) -> Self {
        let details = status.get_error_details();
        let mut message = match details.error_info() {
            Some(info) => format!("{} ({})", status.message(), info.reason),
            None => match status.code() {
                Code::Unavailable => {
                    let cause = cause(status).map_or(String::new(), |cause| format!(": {cause}"));
                    format!("identity can't be reached at {addr}{cause}")
                }
                Code::DeadlineExceeded => format!("identity at {addr} did not answer in time"),
                _ if is_away(status) => {
                    let cause = cause(status).unwrap_or_else(|| status.message().to_owned());
                    format!("the connection to identity at {addr} was cut: {cause}")
                }
                code => format!("{} ({code:?})", status.message()),
            },
        };
        for violation in details
            .bad_request()
            .iter()
            .flat_map(|bad| &bad.field_violations)
            // One that stands alone may be the message itself.
            .filter(|violation| {
                status.message() != format!("{} {}", violation.field, violation.description)
            })
        {
            message.push_str(&format!(
                "\n  {}: {}",
                violation.field, violation.description
            ));
        }
        // As rustls says it.
        if message.contains("not valid for name") {
            message.push_str(
                "\n  where identity is reached under another name than its certificate's, name that with --tls-server-name",
            );
        }
        if let Some(hint) = details.error_info().and_then(|info| hint(&info.reason)) {
            message.push_str(&format!("\n  {hint}"));
        }
        let failure = Self {
            message,
            exit_code: match is_away(status) {
                true => AWAY,
                false => exit_code(status.code()),
            },
            info: details
                .error_info()
                .map(|info| (info.reason.clone(), info.metadata.clone())),
        };
        failure.with_names()
    }

    /// The same refusal, with the names that identity gave along with it.
    fn with_names(mut self) -> Self {
        let meant = self.names("closest");
        for (what, fact) in [
            ("roles", "roles"),
            ("business entities", "business_entities"),
        ] {
            let names = self.names(fact);
            if !names.is_empty() {
                let more = match names.len().saturating_sub(LISTED) {
                    0 => "",
                    _ => ", and more",
                };
                let names = names[..names.len().min(LISTED)].join(", ");
                self = self.beside(&format!("{what}: {names}{more}"));
            }
        }
        self.meant(&meant)
    }

    /// The names of a fact, which has them a line each.
    pub(crate) fn names(&self, fact: &str) -> Vec<String> {
        let lines = self.fact(fact).unwrap_or_default().lines();
        lines.map(str::to_owned).collect()
    }

    /// The same failure, with the names that were probably meant, if any.
    pub(crate) fn meant(self, names: &[String]) -> Self {
        match names {
            [] => self,
            names => self.beside(&did_you_mean(names)),
        }
    }

    /// The same failure, with what was done all the same.
    pub(crate) fn beside(mut self, done: &str) -> Self {
        self.message.push_str(&format!("\n  {done}"));
        self
    }

    /// Whether identity gave this reason.
    pub(crate) fn is(&self, reason: &str) -> bool {
        self.reason() == reason
    }

    /// The reason that identity gave; empty where it gave none.
    pub(crate) fn reason(&self) -> &str {
        self.info.as_ref().map_or("", |(reason, _)| reason)
    }

    /// A fact that came with the reason.
    pub(crate) fn fact(&self, name: &str) -> Option<&str> {
        let (_, facts) = self.info.as_ref()?;
        facts.get(name).map(String::as_str)
    }

    /// Whether identity looked at what was asked and refused just that: the next thing may be taken.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.exit_code, USAGE | NOT_FOUND | CONFLICT) || self.is("LAST_OWNER")
    }

    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit_code)
    }
}

/// The question after names that come close.
pub(crate) fn did_you_mean(names: &[String]) -> String {
    format!("did you mean {}?", names.join(" or "))
}

/// What is at the bottom of an error, such as a certificate that is not trusted.
fn cause(status: &Status) -> Option<String> {
    let mut deepest = status.source()?;
    while let Some(deeper) = deepest.source() {
        deepest = deeper;
    }
    Some(deepest.to_string())
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
        "ROLE_NOT_FOUND" => Some("`rosterctl roles list` names those that the site has"),
        "BUSINESS_ENTITY_NOT_FOUND" => {
            Some("`rosterctl entities list` names those that the site has")
        }
        _ => None,
    }
}

fn exit_code(code: Code) -> u8 {
    match code {
        Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => USAGE,
        Code::Unauthenticated | Code::PermissionDenied => TOKEN,
        Code::NotFound => NOT_FOUND,
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled => {
            AWAY
        }
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => CONFLICT,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => 1,
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
        // And once.
        let details = ErrorDetails::with_bad_request_violation("domain", "is no DNS label");
        let message = "domain is no DNS label";
        let status = Status::with_error_details(Code::InvalidArgument, message, details);
        let text = Failure::of_call("x", &status).to_string();
        assert_eq!(text, "domain is no DNS label (InvalidArgument)");
    }

    #[test]
    fn names_that_come_with_a_refusal_are_shown() {
        let of = |reason: &str, facts: &[(&str, &str)]| {
            let facts = facts
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let details = ErrorDetails::with_error_info(
                reason,
                "identity.roster",
                facts.collect::<HashMap<_, _>>(),
            );
            let status = Status::with_error_details(Code::InvalidArgument, "Wrong.", details);
            Failure::of_call("x", &status).to_string()
        };
        assert_eq!(
            of("TARGET_UNKNOWN", &[("closest", "Admin\nAnalyst")]),
            "Wrong. (TARGET_UNKNOWN)\n  did you mean Admin or Analyst?"
        );
        assert_eq!(
            of("TARGET_UNKNOWN", &[("closest", "")]),
            "Wrong. (TARGET_UNKNOWN)"
        );
        assert_eq!(
            of(
                "TARGET_MISSING",
                &[
                    ("roles", "Admin\nAnalyst"),
                    ("business_entities", "EU GmbH")
                ]
            ),
            "Wrong. (TARGET_MISSING)\n  roles: Admin, Analyst\n  business entities: EU GmbH"
        );
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
        // As where a port refuses a client's certificate after the handshake.
        let cut = Failure::of_call("10.0.0.1:8481", &Status::unknown("transport error"));
        assert_eq!(
            cut.to_string(),
            "the connection to identity at 10.0.0.1:8481 was cut: transport error"
        );
        assert_eq!(cut.exit_code, 5);
    }
}
