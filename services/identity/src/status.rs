//! How gRPC callers see an error: its code, its `google.rpc` details, and nothing of the inside.

use std::{collections::HashMap, time::Duration};

use identity_proto::{ERROR_DOMAIN, v1::ErrorReason};
use identity_runtime::telemetry::current_trace_id;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::error::{Error, Kind, Taken};

/// When a caller may come back after `Unavailable` or a lost race.
const COME_BACK: Duration = Duration::from_secs(2);
/// When a caller may come back for a revision that is not here yet: a copy of the database is mostly
/// behind by milliseconds.
const REVISION_COMES: Duration = Duration::from_millis(200);
/// When a caller may watch again whose watch ended.
const WATCH_AGAIN: Duration = Duration::from_millis(250);

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (code, reason) = code_and_reason(&error);
        let mut message = error.to_string();
        let mut details = ErrorDetails::new();
        let mut metadata = HashMap::new();
        let mut put = |name: &str, value: String| {
            metadata.insert(name.to_owned(), value);
        };
        match error {
            Error::Invalid { field, message } => {
                put("field", field.clone());
                details.add_bad_request_violation(field, message);
            }
            Error::TargetUnknown {
                site_domain,
                kind,
                name,
                closest,
            } => {
                put("site_domain", site_domain);
                put(
                    "kind",
                    if kind == Kind::Role {
                        "ROLE"
                    } else {
                        "BUSINESS_ENTITY"
                    }
                    .to_owned(),
                );
                put("name", name);
                put("closest", closest.join("\n"));
            }
            Error::TargetMissing {
                site_domain,
                roles,
                business_entities,
            } => {
                put("site_domain", site_domain);
                put("roles", roles.join("\n"));
                put("business_entities", business_entities.join("\n"));
            }
            Error::TargetOfAnotherSite { site_domain }
            | Error::OwnerNotGrantable { site_domain }
            | Error::LastOwner { site_domain } => put("site_domain", site_domain),
            Error::MemberIsGroup { group_id } => put("group_id", group_id.to_string()),
            Error::NotFound(kind) => {
                details.set_resource_info(kind.to_string(), "", "", "not found in the site");
            }
            Error::AlreadyExists {
                what,
                id,
                display_name,
            } => {
                details.set_resource_info(
                    what.kind().to_string(),
                    id.to_string(),
                    "",
                    "has it already",
                );
                put("id", id.to_string());
                if let Some(name) = display_name {
                    put("display_name", name);
                }
            }
            Error::Immutable { field, .. } => put("field", field.to_owned()),
            Error::StillGrants { groups, grants, .. } => {
                put("groups", groups.to_string());
                put("grants", grants.to_string());
            }
            Error::VersionMismatch { version } => put("version", version.to_string()),
            Error::RequestIdReused { request_id } => put("request_id", request_id),
            Error::RevisionNotReached {
                revision,
                min_revision,
            } => {
                put("revision", revision.to_string());
                put("min_revision", min_revision.to_string());
                details.set_retry_info(Some(REVISION_COMES));
            }
            Error::ScopeMissing { needed, all_sites } => {
                put("scope", needed);
                if all_sites {
                    put("all_sites", "true".to_owned());
                }
            }
            Error::RateLimited { retry_after } => {
                details.set_retry_info(Some(retry_after));
            }
            Error::LimitExceeded { limit, maximum } => {
                put("limit", limit.to_owned());
                put("maximum", maximum.to_string());
            }
            Error::WatchEnded(_) => {
                details.set_retry_info(Some(WATCH_AGAIN));
            }
            Error::Unavailable(why) => {
                tracing::warn!(why, "unavailable");
                details.set_retry_info(Some(COME_BACK));
            }
            Error::Contended => {
                tracing::warn!("lost a race after its retries");
                details.set_retry_info(Some(COME_BACK));
            }
            Error::DeadlineExceeded => tracing::warn!("the deadline ran out"),
            Error::Internal(source) => {
                tracing::error!(source, "internal fault");
                let trace_id = current_trace_id();
                message = format!("an internal fault (trace {trace_id})");
                put("trace_id", trace_id);
            }
            Error::PageTokenInvalid
            | Error::ResumeTokenInvalid
            | Error::OwnerGrantWithEnd
            | Error::SiteDivided
            | Error::SiteUndivided
            | Error::OwnerUserName
            | Error::Unauthenticated(_) => {}
        }
        details.set_error_info(reason_name(reason), ERROR_DOMAIN, metadata);
        Status::with_error_details(code, message, details)
    }
}

/// Gives details to a refusal that was made below our methods, by the library that reads the messages.
/// Those are the caller's mistakes, whatever code the library gives them.
pub(crate) fn with_details(code: Code, message: &str) -> Status {
    let (code, reason) = match code {
        Code::Unimplemented => (code, ErrorReason::MethodUnknown),
        // The second is a compressed message's, which unpacks to more.
        Code::OutOfRange | Code::ResourceExhausted => {
            (Code::ResourceExhausted, ErrorReason::MessageTooLarge)
        }
        Code::Internal | Code::InvalidArgument => {
            (Code::InvalidArgument, ErrorReason::MessageMalformed)
        }
        Code::DeadlineExceeded | Code::Cancelled => {
            (Code::DeadlineExceeded, ErrorReason::DeadlineExceeded)
        }
        Code::Ok
        | Code::Unknown
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => (Code::Unavailable, ErrorReason::Unavailable),
    };
    let mut details = ErrorDetails::new();
    details.set_error_info(reason_name(reason), ERROR_DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

/// The reason as it travels: the enum value's name without its prefix.
fn reason_name(reason: ErrorReason) -> &'static str {
    reason.as_str_name().trim_start_matches("ERROR_REASON_")
}

fn code_and_reason(error: &Error) -> (Code, ErrorReason) {
    use ErrorReason as R;
    match error {
        Error::Invalid { .. } => (Code::InvalidArgument, R::FieldInvalid),
        Error::TargetUnknown { .. } => (Code::InvalidArgument, R::TargetUnknown),
        Error::TargetOfAnotherSite { .. } => (Code::InvalidArgument, R::TargetOfAnotherSite),
        Error::TargetMissing { .. } => (Code::InvalidArgument, R::TargetMissing),
        Error::OwnerNotGrantable { .. } => (Code::InvalidArgument, R::OwnerNotGrantable),
        Error::OwnerGrantWithEnd => (Code::InvalidArgument, R::OwnerGrantWithEnd),
        Error::PageTokenInvalid => (Code::InvalidArgument, R::PageTokenInvalid),
        Error::ResumeTokenInvalid => (Code::InvalidArgument, R::ResumeTokenInvalid),
        Error::MemberIsGroup { .. } => (Code::InvalidArgument, R::MemberIsGroup),
        Error::NotFound(kind) => (
            Code::NotFound,
            match kind {
                Kind::Site => R::SiteNotFound,
                Kind::Member => R::MemberNotFound,
                Kind::Group => R::GroupNotFound,
                Kind::Role => R::RoleNotFound,
                Kind::BusinessEntity => R::BusinessEntityNotFound,
                Kind::Credential => R::CredentialNotFound,
                Kind::Grant => R::GrantNotFound,
            },
        ),
        Error::AlreadyExists { what, .. } => (
            Code::AlreadyExists,
            match what {
                Taken::SiteDomain => R::SiteDomainTaken,
                Taken::UserName => R::UserNameTaken,
                Taken::GroupTarget => R::GroupTargetTaken,
                Taken::GroupName => R::GroupNameTaken,
                Taken::RoleName => R::RoleNameTaken,
                Taken::BusinessEntityName => R::BusinessEntityNameTaken,
                Taken::BusinessEntityHandle => R::BusinessEntityHandleTaken,
                Taken::Grant => R::GrantExists,
            },
        ),
        Error::Immutable { .. } => (Code::FailedPrecondition, R::FieldImmutable),
        Error::SiteDivided => (Code::FailedPrecondition, R::SiteDivided),
        Error::SiteUndivided => (Code::FailedPrecondition, R::SiteUndivided),
        Error::StillGrants { .. } => (Code::FailedPrecondition, R::StillGrants),
        Error::VersionMismatch { .. } => (Code::Aborted, R::VersionMismatch),
        Error::RequestIdReused { .. } => (Code::FailedPrecondition, R::RequestIdReused),
        Error::RevisionNotReached { .. } => (Code::Unavailable, R::RevisionNotReached),
        Error::ScopeMissing { .. } => (Code::PermissionDenied, R::ScopeMissing),
        Error::LastOwner { .. } => (Code::PermissionDenied, R::LastOwner),
        Error::OwnerUserName => (Code::PermissionDenied, R::OwnerUserName),
        Error::Unauthenticated(_) => (Code::Unauthenticated, R::TokenInvalid),
        Error::RateLimited { .. } => (Code::ResourceExhausted, R::RateLimited),
        Error::LimitExceeded { .. } => (Code::ResourceExhausted, R::LimitExceeded),
        Error::Unavailable(_) => (Code::Unavailable, R::Unavailable),
        Error::WatchEnded(_) => (Code::Unavailable, R::WatchEnded),
        Error::DeadlineExceeded => (Code::DeadlineExceeded, R::DeadlineExceeded),
        Error::Contended => (Code::Aborted, R::Contended),
        Error::Internal(_) => (Code::Internal, R::Internal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_fault_shows_nothing_of_the_inside() {
        let status = Status::from(Error::bug("secret detail"));
        assert_eq!(status.code(), Code::Internal);
        assert!(!format!("{status:?}").contains("secret detail"));
    }

    #[test]
    fn every_error_carries_its_reason() {
        let status = Status::from(Error::RateLimited {
            retry_after: Duration::from_secs(3),
        });
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "RATE_LIMITED");
        assert_eq!(details.error_info().unwrap().domain, ERROR_DOMAIN);
        assert_eq!(
            details.retry_info().unwrap().retry_delay,
            Some(Duration::from_secs(3))
        );
        let status = Status::from(Error::invalid("domain", "is odd"));
        let details = status.get_error_details();
        assert_eq!(
            details.bad_request().unwrap().field_violations[0].field,
            "domain"
        );
        assert_eq!(status.message(), "domain is odd");
    }
}
