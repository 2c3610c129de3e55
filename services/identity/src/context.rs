//! What a call brings along: who says it is calling, for which site, until when, in which trace.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use identity_proto::v1 as pb;
use identity_runtime::telemetry::{current_trace_id, sampled_span_id};
use prost::Message;
use tonic::Request;

use crate::{
    authn::{Presented, Tokens},
    authz::Method,
    caller::Caller,
    error::{Error, Kind, TokenFault},
    ids::SiteId,
    names,
    requests::RequestKey,
    tls,
};

/// The deadline of a call that brings none.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);
/// The longest deadline that is honoured; a longer one is cut to this.
const LONGEST_DEADLINE: Duration = Duration::from_secs(120);
/// What is kept back of a caller's time at the most; of a short one it is a fifth. tonic ends a call at
/// the caller's deadline by itself, with a bare CANCELLED and no line in the log: our own answer has to be
/// there first.
const RESERVE_MAX: Duration = Duration::from_millis(250);

/// A call that has arrived, put into its extensions: the caller's time runs while its message is still read.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    pub(crate) who: Who,
}

/// Who made a call, and about which site, for whoever tells how it ended: known once the token was looked up. Clones
/// share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Who(Arc<Mutex<Known>>);

/// What is known of a caller.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The credential's id; `bootstrap` for the bootstrap token.
    pub(crate) credential: Option<String>,
    /// The site's domain.
    pub(crate) site: Option<String>,
}

impl Who {
    /// Notes the caller, and the site where the call is about one.
    pub(crate) fn is(&self, caller: &Caller, site: Option<&str>) {
        let credential = match caller.credential() {
            Some(credential) => credential.id.to_string(),
            None => caller.label().to_owned(),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Known {
            credential: Some(credential),
            site: site.map(str::to_owned),
        };
    }

    /// What is known by now.
    pub(crate) fn known(&self) -> Known {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The site that a request names.
#[derive(Clone, Debug)]
pub(crate) enum SiteName {
    /// By its id; none where what was sent is no id, and so nobody's.
    Id(Option<SiteId>),
    /// By the key of its domain.
    Domain(String),
}

/// What a call brings along.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    pub(crate) method: Method,
    /// What is done, where no caller asked for it.
    pub(crate) purpose: Option<&'static str>,
    pub(crate) presented: Result<Presented, TokenFault>,
    pub(crate) who: Who,
    pub(crate) site: Option<SiteName>,
    pub(crate) trace_id: String,
    /// The call's span, where its trace is sampled.
    pub(crate) span_id: Option<String>,
    /// The names in the client's certificate, where it has one that was accepted.
    pub(crate) certificate_names: Vec<String>,
    /// Until when the database may work for it.
    pub(crate) deadline: Instant,
    /// How much later it may be answered, so that the database's own answer about a statement that ran
    /// out of time comes first.
    pub(crate) grace: Duration,
    /// Whether the write is to run and then to be undone.
    pub(crate) validate_only: bool,
    /// Whether the call comes from an identity provider, whatever the credential may do besides. The
    /// caller says so itself; it can only restrict what the call may do.
    pub(crate) provisioning: bool,
    /// The revision of the site that a read wants to see at least.
    pub(crate) min_revision: i64,
    /// By what the request is known when it is sent again.
    pub(crate) request: Option<RequestKey>,
}

/// The metadata by which the facade marks its calls as an identity provider's.
const PROVISIONING: &str = "roster-provisioning";

impl RequestContext {
    /// Reads the metadata of `request`. Nothing is refused here, so that nothing is refused before
    /// the token was looked at.
    pub(crate) fn new<T>(tokens: &Tokens, method: Method, request: &Request<T>) -> Self {
        let metadata = request.metadata();
        let authorization = metadata
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        let presented = match metadata.get_all("authorization").iter().count() {
            0 | 1 => tokens.read(authorization),
            _ => Err(TokenFault::Missing),
        };
        let timeout = metadata
            .get("grpc-timeout")
            .and_then(|value| value.to_str().ok())
            .and_then(parse_timeout)
            .map_or(DEFAULT_DEADLINE, |timeout| timeout.min(LONGEST_DEADLINE));
        let (arrival, who) = match request.extensions().get::<Arrival>() {
            Some(arrival) => (arrival.at, arrival.who.clone()),
            None => (Instant::now(), Who::default()),
        };
        let reserve = (timeout / 5).min(RESERVE_MAX);
        Self {
            method,
            purpose: None,
            presented,
            who,
            site: None,
            trace_id: current_trace_id(),
            span_id: sampled_span_id(),
            certificate_names: request
                .peer_certs()
                .and_then(|chain| chain.first().map(tls::names))
                .unwrap_or_default(),
            deadline: arrival + timeout - reserve,
            grace: reserve / 2,
            validate_only: false,
            provisioning: metadata.contains_key(PROVISIONING),
            min_revision: 0,
            request: None,
        }
    }

    /// That of work which no caller asked for, to be done within `time`.
    pub(crate) fn of_nobody(purpose: &'static str, time: Duration) -> Self {
        Self {
            method: Method::GetCaller,
            purpose: Some(purpose),
            presented: Err(TokenFault::Missing),
            who: Who::default(),
            site: None,
            trace_id: current_trace_id(),
            span_id: sampled_span_id(),
            certificate_names: Vec::new(),
            deadline: Instant::now() + time,
            grace: Duration::ZERO,
            validate_only: false,
            provisioning: false,
            min_revision: 0,
            request: None,
        }
    }

    /// With the site that the request names.
    pub(crate) fn for_site(mut self, site: Option<&pb::SiteRef>) -> Self {
        self.site = site
            .and_then(|site| site.r#ref.as_ref())
            .map(|site| match site {
                pb::site_ref::Ref::Id(id) => SiteName::Id(SiteId::parse(id)),
                pb::site_ref::Ref::Domain(domain) => SiteName::Domain(names::lookup_key(domain)),
            });
        self
    }

    /// As a dry run, where `validate_only` says so.
    pub(crate) fn dry(mut self, validate_only: bool) -> Self {
        self.validate_only = validate_only;
        self
    }

    /// As a read that wants to see at least this revision of the site.
    pub(crate) fn at_least(mut self, min_revision: i64) -> Self {
        self.min_revision = min_revision;
        self
    }

    /// As a request that is known by an id, unless that is empty, when it is sent again.
    pub(crate) fn once(mut self, request_id: &str, message: &impl Message) -> Self {
        if !request_id.is_empty() {
            self.request = Some(RequestKey::new(request_id, message));
        }
        self
    }

    /// Refuses a read where the site has not come to what it wants to see.
    pub(crate) fn check_reached(&self, revision: i64) -> Result<(), Error> {
        match self.min_revision {
            ..0 => Err(Error::invalid("min_revision", "must not be negative")),
            min_revision if min_revision > revision => Err(Error::RevisionNotReached {
                revision,
                min_revision,
            }),
            _ => Ok(()),
        }
    }

    /// Whether the request names this site, or none.
    pub(crate) fn names(&self, id: SiteId, domain_key: &str) -> Result<(), Error> {
        let same = match &self.site {
            None => true,
            Some(SiteName::Id(named)) => *named == Some(id),
            Some(SiteName::Domain(named)) => named == domain_key,
        };
        if same {
            Ok(())
        } else {
            Err(Error::NotFound(Kind::Site))
        }
    }

    /// How much time is left.
    pub(crate) fn remaining(&self) -> Result<Duration, Error> {
        match self.deadline.checked_duration_since(Instant::now()) {
            Some(left) if left >= Duration::from_millis(1) => Ok(left),
            _ => Err(Error::DeadlineExceeded),
        }
    }
}

/// gRPC's `grpc-timeout`: up to eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_grpc_protocol_writes_them() {
        assert_eq!(parse_timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(
            parse_timeout("99999999u"),
            Some(Duration::from_micros(99_999_999))
        );
        for bad in ["", "S", "5", "5X", "123456789S", "-1S", "é"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
    }
}
