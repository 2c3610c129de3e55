//! Everything that can go wrong, in the words of the domain. `status.rs` says how gRPC callers see it.

use std::{error::Error as StdError, fmt, time::Duration};

use uuid::Uuid;

/// What kind of object an error is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// A site.
    Site,
    /// A member.
    Member,
    /// A group.
    Group,
    /// A role.
    Role,
    /// A business entity.
    BusinessEntity,
    /// A credential.
    Credential,
    /// A direct grant.
    Grant,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Site => "site",
            Self::Member => "member",
            Self::Group => "group",
            Self::Role => "role",
            Self::BusinessEntity => "business entity",
            Self::Credential => "credential",
            Self::Grant => "grant",
        })
    }
}

/// What another object has already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Taken {
    /// A site's domain.
    SiteDomain,
    /// A member's user name.
    UserName,
    /// A group's target.
    GroupTarget,
    /// A group's display name.
    GroupName,
    /// A role's name.
    RoleName,
    /// A business entity's name.
    BusinessEntityName,
    /// A business entity's handle.
    BusinessEntityHandle,
    /// A direct grant of the same target to the same member.
    Grant,
}

impl Taken {
    /// What kind of object has it.
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::SiteDomain => Kind::Site,
            Self::UserName => Kind::Member,
            Self::GroupTarget | Self::GroupName => Kind::Group,
            Self::RoleName => Kind::Role,
            Self::BusinessEntityName | Self::BusinessEntityHandle => Kind::BusinessEntity,
            Self::Grant => Kind::Grant,
        }
    }
}

/// Why a token was not accepted. For logs and metrics: callers are told the same for all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TokenFault {
    /// No `authorization`, or one that is not a bearer token.
    Missing,
    /// Not the form of a token, or a wrong checksum.
    Malformed,
    /// No credential has it.
    Unknown,
    /// Its credential has expired.
    Expired,
    /// Its credential was revoked.
    Revoked,
    /// Its credential is pinned to a name that the client's certificate does not have.
    Certificate,
}

impl TokenFault {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [
        Self::Missing,
        Self::Malformed,
        Self::Unknown,
        Self::Expired,
        Self::Revoked,
        Self::Certificate,
    ];

    /// The fault as a label of logs and metrics.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Certificate => "certificate",
        }
    }
}

/// Everything that can go wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A field has a value that it may not have.
    #[error("{field} {message}")]
    Invalid {
        /// The field, as the contract names it.
        field: String,
        /// What is wrong with it, to be read after the field's name.
        message: String,
    },
    /// A group's target names what the site does not have.
    #[error("{site_domain} has no {kind} \"{name}\"")]
    TargetUnknown {
        /// The site's domain.
        site_domain: String,
        /// Role or business entity.
        kind: Kind,
        /// The name that nothing has.
        name: String,
        /// The names that come closest.
        closest: Vec<String>,
    },
    /// A group's target names another site.
    #[error("the target names another site; this one is {site_domain}")]
    TargetOfAnotherSite {
        /// This site's domain.
        site_domain: String,
    },
    /// A new group name that names no target.
    #[error("the display name names no target on {site_domain}")]
    TargetMissing {
        /// The site's domain.
        site_domain: String,
        /// Names of roles that a group could give.
        roles: Vec<String>,
        /// Names of business entities that a group could give.
        business_entities: Vec<String>,
    },
    /// The Owner role as a group's target.
    #[error("the Owner role is never given by a group")]
    OwnerNotGrantable {
        /// The site's domain.
        site_domain: String,
    },
    /// An end for a grant of the Owner role.
    #[error(
        "a grant of the Owner role has no end: leave end_time out, and end the grant when it is time"
    )]
    OwnerGrantWithEnd,
    /// A page token that is none, or was given for another query.
    #[error("the page token is not valid for this query")]
    PageTokenInvalid,
    /// A resume token that is none, was given for another watch, or tells of what is not there.
    #[error("the resume token is not valid for this watch")]
    ResumeTokenInvalid,
    /// A group's id among the members.
    #[error("{group_id} is a group; groups can't be members")]
    MemberIsGroup {
        /// The group's id.
        group_id: Uuid,
    },
    /// Nothing of this kind in this site has that id or name.
    #[error("no such {0}")]
    NotFound(Kind),
    /// Another object has it.
    #[error("{}", taken(*.what, .id, .display_name.as_deref()))]
    AlreadyExists {
        /// What is taken.
        what: Taken,
        /// Who has it.
        id: Uuid,
        /// The display name of the group that has it.
        display_name: Option<String>,
    },
    /// The field can't change on this object.
    #[error("{field} can't change: {why}")]
    Immutable {
        /// The field.
        field: &'static str,
        /// Why not.
        why: &'static str,
    },
    /// The site is divided already.
    #[error("the site is divided already, which is not undone")]
    SiteDivided,
    /// The site is not divided.
    #[error("the site is not divided into business entities yet")]
    SiteUndivided,
    /// The object still grants something.
    #[error("the {kind} is still given by {}", givers(*groups, *grants))]
    StillGrants {
        /// Role or business entity.
        kind: Kind,
        /// How many groups give it.
        groups: i64,
        /// How many direct grants and entitlements give it.
        grants: i64,
    },
    /// The version is none of those that the caller expects.
    #[error("the version is {version}, which the request does not expect")]
    VersionMismatch {
        /// The present version.
        version: i64,
    },
    /// Another request had this id.
    #[error("another request was made with the id \"{request_id}\"")]
    RequestIdReused {
        /// The id.
        request_id: String,
    },
    /// The site has not come to the revision that the request wants to see.
    #[error("the site is at revision {revision} here, and the request wants to see {min_revision}")]
    RevisionNotReached {
        /// Where the site is.
        revision: i64,
        /// What the request wants to see.
        min_revision: i64,
    },
    /// The credential lacks the scope.
    #[error("the credential lacks the scope: {needed}{}", if *.all_sites { ", for all sites" } else { "" })]
    ScopeMissing {
        /// The scopes of which one is needed.
        needed: String,
        /// Whether the credential has to be one of all sites.
        all_sites: bool,
    },
    /// The site would be left without an active Owner.
    #[error(
        "{site_domain} would be left without an active Owner: give another active member the Owner role first"
    )]
    LastOwner {
        /// The site's domain.
        site_domain: String,
    },
    /// A caller who may not give the Owner role would change an Owner's user name.
    #[error(
        "an Owner's user name changes only by who may give the Owner role: take that role from the member first, or use a credential with the scope write_grants, not over SCIM"
    )]
    OwnerUserName,
    /// No acceptable token.
    #[error("the token is missing or not valid")]
    Unauthenticated(TokenFault),
    /// Too many requests with one credential.
    #[error("too many requests with this credential")]
    RateLimited {
        /// When it makes sense to come back.
        retry_after: Duration,
    },
    /// A limit of the site or of a request.
    #[error("{limit}: the limit is {maximum}")]
    LimitExceeded {
        /// What is limited.
        limit: &'static str,
        /// The most there may be.
        maximum: i64,
    },
    /// The database is away, or all connections are busy.
    #[error("the service can't do this at the moment")]
    Unavailable(String),
    /// A watch ends through no fault of the caller's.
    #[error("the watch ends ({0}): watch again with the last resume token")]
    WatchEnded(&'static str),
    /// The deadline ran out.
    #[error("the deadline ran out")]
    DeadlineExceeded,
    /// Lost a race after its retries.
    #[error("other writes kept getting in the way")]
    Contended,
    /// A fault of ours. The source is for the log.
    #[error("an internal fault")]
    Internal(#[source] Box<dyn StdError + Send + Sync>),
}

fn taken(what: Taken, id: &Uuid, display_name: Option<&str>) -> String {
    let what = match what {
        Taken::SiteDomain => "another site has this domain",
        Taken::UserName => "another member has this user name",
        Taken::GroupTarget => "another group has this target",
        Taken::GroupName => "another group has this display name",
        Taken::RoleName => "another role has this name",
        Taken::BusinessEntityName => "another business entity has this name",
        Taken::BusinessEntityHandle => "another business entity has this handle",
        Taken::Grant => "the member has this direct grant already",
    };
    match display_name {
        Some(name) => format!("{what}: \"{name}\" (id {id})"),
        None => format!("{what} (id {id})"),
    }
}

/// What gives a role or a business entity, in numbers; those that are none left out.
fn givers(groups: i64, grants: i64) -> String {
    let count = |number: i64, what: &str| match number {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{number} {what}s")),
    };
    let grants = count(grants, "grant").map(|grants| format!("{grants} of members' own"));
    let parts: Vec<String> = count(groups, "group").into_iter().chain(grants).collect();
    parts.join(" and ")
}

/// The most characters of a message; what a caller sent may be megabytes, and no client reads metadata of that size.
const MESSAGE_MAX: usize = 1000;

/// A message that is too long, without its middle: what was sent stands there.
fn clipped(message: String) -> String {
    let length = message.chars().count();
    if length <= MESSAGE_MAX {
        return message;
    }
    let begin: String = message.chars().take(MESSAGE_MAX / 2).collect();
    let end: String = message.chars().skip(length - MESSAGE_MAX / 2).collect();
    format!("{begin} … {end}")
}

impl Error {
    /// `Invalid` for a field.
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            message: clipped(message.into()),
        }
    }

    /// `Internal` for what can't happen unless we made a mistake.
    pub(crate) fn bug(what: impl Into<String>) -> Self {
        Self::Internal(what.into().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_still_gives_something_is_counted_in_words() {
        assert_eq!(givers(1, 0), "1 group");
        assert_eq!(givers(0, 1), "1 grant of members' own");
        assert_eq!(givers(2, 3), "2 groups and 3 grants of members' own");
    }
}
