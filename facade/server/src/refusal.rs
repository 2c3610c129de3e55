//! Why a request is not done: refused here, or by identity. The one place where a gRPC status becomes a
//! SCIM error; both lists of reasons are matched whole, so that a new one can't be forgotten.

use std::collections::HashMap;

use group_convention::{Naming, explain};
use identity_proto::{ERROR_DOMAIN, v1::ErrorReason};
use identity_runtime::rpc::code_name;
use scim_protocol::{ScimError, ScimType};
use serde_json::Value;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{conditions, metrics::Fault, translate::scim_name};

/// After how many seconds a client should come back where identity does not say.
const RETRY_AFTER: u64 = 5;

/// Why a request is not done.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// What the client reads.
    pub(crate) error: ScimError,
    /// After how many seconds the client should come back.
    pub(crate) retry_after: Option<u64>,
    /// What it is, for the log: a SCIM type, identity's reason or a gRPC code. Nothing personal.
    pub(crate) cause: String,
    ours: bool,
}

impl Refusal {
    /// The same for whatever is wrong with a token, also for another site's.
    pub(crate) fn unauthenticated() -> Self {
        Self {
            error: ScimError::new(
                401,
                "The token is missing or is not valid for this site. Send the site's SCIM token as \
                 \"Authorization: Bearer <token>\"; it may have expired or have been revoked.",
            ),
            retry_after: None,
            cause: "TOKEN_INVALID".to_owned(),
            ours: false,
        }
    }

    /// Other writes were faster each time.
    pub(crate) fn contended() -> Self {
        Self {
            error: ScimError::new(429, NOT_NOW),
            retry_after: Some(1),
            cause: "CONTENDED".to_owned(),
            ours: false,
        }
    }

    /// Other large requests take all the room that there is for them.
    pub(crate) fn busy() -> Self {
        Self {
            error: ScimError::new(429, NOT_NOW),
            retry_after: Some(RETRY_AFTER),
            cause: "BUSY".to_owned(),
            ours: false,
        }
    }

    /// identity answered with less than its contract says.
    pub(crate) fn fault() -> Self {
        Self {
            error: ScimError::new(500, FAULT),
            retry_after: None,
            cause: "INTERNAL".to_owned(),
            ours: false,
        }
    }

    /// The body of the answer; its detail ends in the trace id.
    pub(crate) fn body(&self, trace_id: &str) -> Value {
        let mut error = self.error.clone();
        error.detail = format!("{} (trace {trace_id})", error.detail);
        error.to_json()
    }

    /// Whether the facade refused it, without identity.
    pub(crate) fn is_ours(&self) -> bool {
        self.ours
    }

    /// Whose fault it is. A client is told to come back with a 429 whether it asked too often or we could not.
    pub(crate) fn whose_fault(&self) -> Fault {
        match self.error.status {
            429 if self.cause == RATE_LIMITED => Fault::Client,
            // Not supported is no fault of either.
            501 => Fault::Client,
            429 | 500.. => Fault::Service,
            _ => Fault::Client,
        }
    }

    /// What identity says of a group, whose name the facade has read.
    pub(crate) fn of_group(status: &Status, naming: Option<&Naming<'_>>) -> Self {
        translate(status, naming)
    }
}

impl From<ScimError> for Refusal {
    fn from(error: ScimError) -> Self {
        let cause = match error.scim_type {
            Some(scim_type) => scim_type.as_str().to_owned(),
            None => format!("HTTP_{}", error.status),
        };
        Self {
            error,
            retry_after: None,
            cause,
            ours: true,
        }
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        translate(&status, None)
    }
}

/// Whether somebody else changed the resource first.
pub(crate) fn is_version_mismatch(status: &Status) -> bool {
    reason_of(&status.get_error_details()) == Some(ErrorReason::VersionMismatch)
}

/// Whether it is about the ids in a user's `roles` or `entitlements`.
pub(crate) fn is_of_entitlements(status: &Status) -> bool {
    let details = status.get_error_details();
    match reason_of(&details) {
        Some(ErrorReason::OwnerNotGrantable) => true,
        Some(ErrorReason::FieldInvalid) => details.bad_request().is_some_and(|bad| {
            bad.field_violations
                .iter()
                .any(|violation| violation.field.starts_with("entitlements."))
        }),
        _ => false,
    }
}

fn reason_of(details: &ErrorDetails) -> Option<ErrorReason> {
    let info = details
        .error_info()
        .filter(|info| info.domain == ERROR_DOMAIN)?;
    ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason))
}

fn translate(status: &Status, naming: Option<&Naming<'_>>) -> Refusal {
    let details = status.get_error_details();
    let retry_after = details
        .retry_info()
        .and_then(|info| info.retry_delay)
        .map_or(RETRY_AFTER, |delay| {
            delay.as_millis().div_ceil(1000).clamp(1, 3600) as u64
        });
    match reason_of(&details) {
        Some(reason) => by_reason(reason, status, &details, retry_after, naming),
        None => by_code(status, retry_after),
    }
}

/// The errors that identity sends.
#[deny(
    clippy::wildcard_enum_match_arm,
    reason = "a new reason needs its own answer"
)]
fn by_reason(
    reason: ErrorReason,
    status: &Status,
    details: &ErrorDetails,
    retry_after: u64,
    naming: Option<&Naming<'_>>,
) -> Refusal {
    use ErrorReason as R;
    let metadata = details.error_info().map(|info| &info.metadata);
    let fact = |name: &str| fact(metadata, name);
    let later = |detail: &str| (ScimError::new(429, detail), Some(retry_after));
    let uniqueness = |detail: String| ScimError {
        status: 409,
        scim_type: Some(ScimType::Uniqueness),
        detail,
    };
    let plain = |error: ScimError| (error, None);
    let (error, retry_after) = match reason {
        R::FieldInvalid => plain(field_invalid(details, &fact("field"))),
        R::PageTokenInvalid => plain(ScimError::bad_request(
            ScimType::InvalidCursor,
            "cursor: take it from the nextCursor of a page, and send it with the same filter, sortBy and \
             sortOrder to the same address. Begin again with an empty cursor.",
        )),
        R::TargetUnknown | R::TargetOfAnotherSite | R::TargetMissing | R::OwnerNotGrantable => {
            plain(ScimError::invalid_value(explain(reason, &fact, naming)))
        }
        R::MemberIsGroup => plain(ScimError::invalid_value(format!(
            "members: {} is a group. A group's members are users; push the users of that group instead.",
            fact("group_id")
        ))),
        R::SiteNotFound | R::TokenInvalid => return Refusal::unauthenticated(),
        R::MemberNotFound => plain(ScimError::new(404, "This site has no user with this id.")),
        R::GroupNotFound => plain(ScimError::new(404, "This site has no group with this id.")),
        R::RoleNotFound | R::BusinessEntityNotFound | R::CredentialNotFound | R::GrantNotFound => {
            plain(ScimError::new(404, "This site has nothing with this id."))
        }
        R::UserNameTaken => plain(uniqueness(format!(
            "userName: the user {} of this site has it already. Change that user instead, or delete it first.",
            fact("id")
        ))),
        R::GroupTargetTaken => plain(uniqueness(format!(
            "displayName: the group {:?} (id {}) gives the same role or business entity already, and a \
             site has one group for each. Link the identity provider's group to that one, or delete it first; \
             {SWAP}.",
            fact("display_name"),
            fact("id")
        ))),
        R::GroupNameTaken => plain(uniqueness(format!(
            "displayName: the group {:?} (id {}) of this site has this name already. Link the identity \
             provider's group to that one, or delete it first; {SWAP}.",
            fact("display_name"),
            fact("id")
        ))),
        R::SiteDomainTaken
        | R::RoleNameTaken
        | R::BusinessEntityNameTaken
        | R::BusinessEntityHandleTaken
        | R::GrantExists => plain(uniqueness(format!(
            "{} has this value already.",
            fact("id")
        ))),
        R::FieldImmutable => plain(ScimError::mutability(format!(
            "{} can't change.",
            scim_name(&fact("field"))
        ))),
        R::SiteDivided | R::SiteUndivided | R::StillGrants | R::RequestIdReused => plain(
            ScimError::new(409, "The site's present state does not allow this."),
        ),
        R::VersionMismatch => plain(conditions::mismatch()),
        R::ScopeMissing => plain(ScimError::new(
            403,
            format!(
                "The token may not do this: it lacks the scope {}. Use the site's SCIM token.",
                fact("scope")
            ),
        )),
        R::LastOwner => plain(ScimError::new(
            403,
            format!(
                "This user is the last active Owner of {}. Make another active member an Owner first; \
                 then this one can be deactivated or deleted.",
                fact("site_domain")
            ),
        )),
        R::OwnerUserName => plain(ScimError::new(
            403,
            "This user is an Owner, whose userName can't change over SCIM. Set it back in the identity \
             provider, or make another member the Owner first.",
        )),
        R::RateLimited => {
            later("Too many requests with this token. Wait, then repeat the request.")
        }
        R::LimitExceeded => plain(ScimError::new(
            413,
            format!(
                "Over a limit: {} may be at most {}.",
                limit_name(&fact("limit")),
                fact("maximum")
            ),
        )),
        R::Unavailable | R::RevisionNotReached | R::DeadlineExceeded | R::Contended => {
            later(NOT_NOW)
        }
        R::MessageTooLarge => plain(ScimError::new(
            413,
            "The request or its answer is larger than Roster can pass on.",
        )),
        // Between our own two processes these are our mistakes; the facade watches nothing.
        R::MethodUnknown
        | R::MessageMalformed
        | R::OwnerGrantWithEnd
        | R::ResumeTokenInvalid
        | R::WatchEnded => plain(ScimError::new(500, FAULT)),
        R::Internal => plain(ScimError::new(500, FAULT)),
        // Never sent; a newer identity's reason is no known one and goes by its code.
        R::Unspecified => return by_code(status, retry_after),
    };
    Refusal {
        error,
        retry_after,
        cause: reason_word(reason),
        ours: false,
    }
}

/// The cause where a client asks too often.
const RATE_LIMITED: &str = "RATE_LIMITED";
const NOT_NOW: &str =
    "The service can't do this at the moment. Nothing is half done; repeat the request.";
/// Each rename is a request of its own, so neither order of the two can do it.
const SWAP: &str =
    "to swap two groups' names, unlink and delete one, rename the other, and push both again";
const FAULT: &str = "The service has a fault. Report the trace id.";

/// Errors that nobody of ours wrote: the channel's, or those of a proxy between.
#[deny(
    clippy::wildcard_enum_match_arm,
    reason = "a new code needs its own answer"
)]
fn by_code(status: &Status, retry_after: u64) -> Refusal {
    let later = || (ScimError::new(429, NOT_NOW), Some(retry_after));
    let fault = || (ScimError::new(500, FAULT), None);
    let (error, retry_after) = match status.code() {
        Code::Unauthenticated => return Refusal::unauthenticated(),
        // A cut channel is also called CANCELLED or UNKNOWN.
        Code::Unavailable
        | Code::Aborted
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Unknown
        | Code::ResourceExhausted => later(),
        // h2's own errors; identity's carry a reason.
        Code::Internal if std::error::Error::source(status).is_some() => later(),
        Code::PermissionDenied => (ScimError::new(403, "The token may not do this."), None),
        Code::NotFound => (ScimError::new(404, "There is no such resource."), None),
        Code::AlreadyExists => (
            ScimError {
                status: 409,
                scim_type: Some(ScimType::Uniqueness),
                detail: "Another resource has one of these values already.".to_owned(),
            },
            None,
        ),
        Code::InvalidArgument | Code::FailedPrecondition => (
            ScimError::invalid_value("The service does not accept one of these values."),
            None,
        ),
        // What tonic says of a message that is larger than the other side takes.
        Code::OutOfRange => (
            ScimError::new(413, "The request is larger than the service takes."),
            None,
        ),
        Code::Ok | Code::Internal | Code::Unimplemented | Code::DataLoss => fault(),
    };
    Refusal {
        error,
        retry_after,
        cause: code_name(status.code()).to_owned(),
        ours: false,
    }
}

/// `userName must be an e-mail address.`, for each field that is wrong.
fn field_invalid(details: &ErrorDetails, field: &str) -> ScimError {
    let violations = details
        .bad_request()
        .map(|bad| bad.field_violations.as_slice());
    let sentences: Vec<String> = violations
        .unwrap_or_default()
        .iter()
        .map(|violation| format!("{} {}.", scim_name(&violation.field), violation.description))
        .collect();
    let detail = if sentences.is_empty() {
        format!("{} has a value that it may not have.", scim_name(field))
    } else {
        sentences.join(" ")
    };
    if field == "filter" {
        ScimError::invalid_filter(detail)
    } else {
        ScimError::invalid_value(detail)
    }
}

/// What is limited, in SCIM's words where it is one of its attributes.
fn limit_name(limit: &str) -> String {
    if limit.contains(' ') {
        limit.to_owned()
    } else {
        scim_name(limit)
    }
}

fn reason_word(reason: ErrorReason) -> String {
    reason
        .as_str_name()
        .trim_start_matches("ERROR_REASON_")
        .to_owned()
}

fn fact(metadata: Option<&HashMap<String, String>>, name: &str) -> String {
    metadata
        .and_then(|metadata| metadata.get(name))
        .cloned()
        .unwrap_or_default()
}

#[cfg(test)]
mod guide;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sent(reason: ErrorReason, code: Code, facts: &[(&str, &str)]) -> Refusal {
        let facts = facts
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut details = ErrorDetails::new();
        details.set_error_info(
            reason_word(reason),
            ERROR_DOMAIN,
            facts.collect::<HashMap<_, _>>(),
        );
        Refusal::from(Status::with_error_details(code, "inside", details))
    }

    fn status_and_type(refusal: &Refusal) -> (u16, Option<ScimType>) {
        (refusal.error.status, refusal.error.scim_type)
    }

    /// Conformance: 130.
    #[test]
    fn every_reason_has_its_answer() {
        use ErrorReason as R;
        let value = Some(ScimType::InvalidValue);
        let unique = Some(ScimType::Uniqueness);
        for (reason, code, answer) in [
            (R::FieldInvalid, Code::InvalidArgument, (400, value)),
            (R::TargetUnknown, Code::InvalidArgument, (400, value)),
            (R::TargetOfAnotherSite, Code::InvalidArgument, (400, value)),
            (R::TargetMissing, Code::InvalidArgument, (400, value)),
            (R::OwnerNotGrantable, Code::InvalidArgument, (400, value)),
            (R::MemberIsGroup, Code::InvalidArgument, (400, value)),
            (R::SiteNotFound, Code::NotFound, (401, None)),
            (R::MemberNotFound, Code::NotFound, (404, None)),
            (R::GroupNotFound, Code::NotFound, (404, None)),
            (R::RoleNotFound, Code::NotFound, (404, None)),
            (R::UserNameTaken, Code::AlreadyExists, (409, unique)),
            (R::GroupTargetTaken, Code::AlreadyExists, (409, unique)),
            (R::GroupNameTaken, Code::AlreadyExists, (409, unique)),
            (
                R::FieldImmutable,
                Code::FailedPrecondition,
                (400, Some(ScimType::Mutability)),
            ),
            (
                R::PageTokenInvalid,
                Code::InvalidArgument,
                (400, Some(ScimType::InvalidCursor)),
            ),
            (R::VersionMismatch, Code::Aborted, (412, None)),
            (R::ScopeMissing, Code::PermissionDenied, (403, None)),
            (R::LastOwner, Code::PermissionDenied, (403, None)),
            (R::OwnerUserName, Code::PermissionDenied, (403, None)),
            (R::TokenInvalid, Code::Unauthenticated, (401, None)),
            (R::RateLimited, Code::ResourceExhausted, (429, None)),
            (R::LimitExceeded, Code::ResourceExhausted, (413, None)),
            (R::Unavailable, Code::Unavailable, (429, None)),
            (R::RevisionNotReached, Code::Unavailable, (429, None)),
            (R::DeadlineExceeded, Code::DeadlineExceeded, (429, None)),
            (R::Contended, Code::Aborted, (429, None)),
            (R::Internal, Code::Internal, (500, None)),
            (R::ResumeTokenInvalid, Code::InvalidArgument, (500, None)),
            (R::WatchEnded, Code::Unavailable, (500, None)),
        ] {
            let refusal = sent(reason, code, &[]);
            assert_eq!(status_and_type(&refusal), answer, "{reason:?}");
            assert_eq!(refusal.retry_after.is_some(), answer.0 == 429, "{reason:?}");
            assert!(!refusal.is_ours());
            assert!(!refusal.error.detail.contains("inside"), "{reason:?}");
        }
    }

    /// Conformance: 130.
    #[test]
    fn a_status_without_a_reason_goes_by_its_code() {
        for (code, answer) in [
            (Code::Unavailable, 429),
            (Code::Cancelled, 429),
            (Code::Unknown, 429),
            (Code::Aborted, 429),
            (Code::DeadlineExceeded, 429),
            (Code::ResourceExhausted, 429),
            (Code::Unauthenticated, 401),
            (Code::PermissionDenied, 403),
            (Code::NotFound, 404),
            (Code::AlreadyExists, 409),
            (Code::InvalidArgument, 400),
            (Code::FailedPrecondition, 400),
            (Code::Internal, 500),
            (Code::Unimplemented, 500),
            (Code::DataLoss, 500),
            (Code::OutOfRange, 413),
        ] {
            let refusal = Refusal::from(Status::new(code, "secret"));
            assert_eq!(refusal.error.status, answer, "{code:?}");
            assert_eq!(refusal.retry_after.is_some(), answer == 429, "{code:?}");
            assert!(!refusal.error.detail.contains("secret"));
        }
    }

    #[test]
    fn a_429_is_ours_unless_the_client_asked_too_often() {
        let fault = |reason, code| sent(reason, code, &[]).whose_fault();
        let asked_too_often = fault(ErrorReason::RateLimited, Code::ResourceExhausted);
        assert_eq!(asked_too_often, Fault::Client);
        for (reason, code) in [
            (ErrorReason::Unavailable, Code::Unavailable),
            (ErrorReason::DeadlineExceeded, Code::DeadlineExceeded),
            (ErrorReason::Internal, Code::Internal),
        ] {
            assert_eq!(fault(reason, code), Fault::Service, "{reason:?}");
        }
        assert_eq!(Refusal::busy().whose_fault(), Fault::Service);
        assert_eq!(Refusal::unauthenticated().whose_fault(), Fault::Client);
    }

    #[test]
    fn a_cut_channel_is_no_fault_of_ours() {
        let cut = Status::from_error(Box::new(std::io::Error::other("cut")));
        assert_eq!(Refusal::from(cut).error.status, 429);
    }

    /// Conformance: 129.
    #[test]
    fn retry_after_is_whole_seconds() {
        let after = |delay| {
            let mut details = ErrorDetails::new();
            details.set_retry_info(Some(delay));
            let status = Status::with_error_details(Code::Unavailable, "", details);
            Refusal::from(status).retry_after
        };
        assert_eq!(after(Duration::from_millis(1)), Some(1));
        assert_eq!(after(Duration::from_millis(2001)), Some(3));
        assert_eq!(after(Duration::ZERO), Some(1));
        assert_eq!(
            Refusal::from(Status::unavailable("")).retry_after,
            Some(RETRY_AFTER)
        );
    }

    #[test]
    fn fields_are_named_in_scims_words() {
        let mut details = ErrorDetails::new();
        details.set_error_info("FIELD_INVALID", ERROR_DOMAIN, HashMap::new());
        details.add_bad_request_violation("member.user_name", "must be an e-mail address");
        let status = Status::with_error_details(Code::InvalidArgument, "x", details);
        assert_eq!(
            Refusal::from(status).error.detail,
            "userName must be an e-mail address."
        );
    }

    #[test]
    fn what_is_taken_names_who_has_it() {
        let refusal = sent(
            ErrorReason::UserNameTaken,
            Code::AlreadyExists,
            &[("id", "m-1")],
        );
        assert!(refusal.error.detail.contains("m-1"));
        let facts = [("id", "g-1"), ("display_name", "CB/acme/ROLE/Admin")];
        let refusal = sent(ErrorReason::GroupTargetTaken, Code::AlreadyExists, &facts);
        assert!(refusal.error.detail.contains("g-1"));
        assert!(refusal.error.detail.contains("CB/acme/ROLE/Admin"));
    }
}
