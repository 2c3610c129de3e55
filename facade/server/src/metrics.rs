//! What the facade counts. docs/metrics.md explains each of them; a test compares the two.

use std::time::Duration;

use identity_runtime::metrics::{Durations, Metrics, NETWORK_SECONDS};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

/// What is counted of requests. Clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct Meters {
    duration: Durations<RequestLabels>,
    active: Family<ActiveLabels, Gauge>,
    requests: Family<OutcomeLabels, Counter>,
    names: Family<NameLabels, Counter>,
    /// Ids in membership changes that are no members of the site.
    pub(crate) unknown_members: Counter,
}

/// The labels of an answered request.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(crate) struct RequestLabels {
    pub(crate) http_request_method: &'static str,
    pub(crate) http_route: String,
    pub(crate) http_response_status_code: u16,
    pub(crate) url_scheme: &'static str,
    /// Why it was not done; empty where it was.
    pub(crate) error_type: String,
}

/// The labels of a request that is being answered.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(crate) struct ActiveLabels {
    pub(crate) http_request_method: &'static str,
    pub(crate) url_scheme: &'static str,
}

/// The labels of an outcome.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OutcomeLabels {
    resource: &'static str,
    operation: &'static str,
    outcome: String,
    fault: &'static str,
}

/// The label of a group's name that was not understood.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct NameLabels {
    cause: &'static str,
}

/// Whose fault it is that a request was not done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// Nobody's: it was done.
    None,
    /// The client's, or its administrator's.
    Client,
    /// Ours: what availability is measured by.
    Service,
}

impl Fault {
    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Client => "client",
            Self::Service => "service",
        }
    }
}

impl Meters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let this = Self {
            duration: metrics.durations(
                "http_server_request_duration",
                "How long requests took, by route and how they ended",
                NETWORK_SECONDS,
            ),
            active: metrics.register(
                "http_server_active_requests",
                "Requests that are being answered",
                Family::default(),
            ),
            requests: metrics.register(
                "scim_requests",
                "SCIM requests and operations of bulk requests, by what they are about, how they ended and \
                 whose fault that was",
                Family::default(),
            ),
            names: metrics.register(
                "scim_names_not_understood",
                "Groups that were refused for their display name, by cause",
                Family::default(),
            ),
            unknown_members: metrics.register(
                "scim_unknown_members",
                "Ids in membership changes that were no members of the site and were passed over",
                Counter::default(),
            ),
        };
        // From the start, so that the first one is an increase.
        for cause in ["unknown", "another_site", "not_convention", "owner"] {
            drop(this.names.get_or_create(&NameLabels { cause }));
        }
        this
    }

    /// Counts a request as being answered for as long as the answer is kept.
    pub(crate) fn answering(&self, labels: ActiveLabels) -> Answering {
        let active = self.active.get_or_create_owned(&labels);
        active.inc();
        Answering(active)
    }

    /// Counts an answered HTTP request.
    pub(crate) fn answered(&self, labels: &RequestLabels, took: Duration) {
        self.duration.observe(labels, took);
    }

    /// Counts how a request, or an operation of a bulk request, ended. `path` is its route or its path below the
    /// Site URL, `outcome` is `ok` or a refusal's cause.
    pub(crate) fn ended(&self, method: &str, path: &str, outcome: &str, fault: Fault) {
        let (resource, operation) = kind(method, path);
        self.requests
            .get_or_create(&OutcomeLabels {
                resource,
                operation,
                outcome: outcome.to_owned(),
                fault: fault.as_str(),
            })
            .inc();
        let cause = match outcome {
            "TARGET_UNKNOWN" => "unknown",
            "TARGET_OF_ANOTHER_SITE" => "another_site",
            "TARGET_MISSING" => "not_convention",
            "OWNER_NOT_GRANTABLE" if resource == "group" => "owner",
            _ => return,
        };
        self.names.get_or_create(&NameLabels { cause }).inc();
    }
}

/// A request that is being answered.
pub(crate) struct Answering(Gauge);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What a request is about and does.
fn kind(method: &str, path: &str) -> (&'static str, &'static str) {
    // Both a route (`/{domain}/scim/v2/Users/{id}`) and a bulk operation's path (`/Users/<id>`).
    let below = match path.split_once("/scim") {
        Some((_, below)) => below.strip_prefix("/v2").unwrap_or(below),
        None => path,
    };
    let below = below.split('?').next().unwrap_or_default();
    let mut steps = below.split('/').filter(|step| !step.is_empty());
    let resource = match steps.next() {
        Some("Users") => "user",
        Some("Groups") => "group",
        Some("Roles") => "role",
        Some("BusinessEntities") => "business_entity",
        Some("Bulk") => "bulk",
        Some("ServiceProviderConfig" | "ResourceTypes" | "Schemas") => "discovery",
        None | Some(".search") if path.contains("/scim") => "all",
        _ => "other",
    };
    let last = below.trim_end_matches('/').rsplit('/').next();
    let operation = match (method, steps.next()) {
        _ if last == Some(".search") => "list",
        ("GET" | "HEAD", None) => "list",
        ("GET" | "HEAD", Some(_)) => "read",
        ("POST", _) => "create",
        ("PUT", _) => "replace",
        ("PATCH", _) => "update",
        ("DELETE", _) => "delete",
        _ => "other",
    };
    (resource, operation)
}

/// What is counted of calls to identity. Clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct CallMeters {
    pub(crate) duration: Durations<CallLabels>,
    retries: Family<RetryLabels, Counter>,
}

/// The labels of a call to identity.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(crate) struct CallLabels {
    pub(crate) rpc_system_name: &'static str,
    pub(crate) rpc_method: &'static str,
    pub(crate) rpc_response_status_code: &'static str,
    /// The code again, where the call was not done.
    pub(crate) error_type: &'static str,
}

/// The label of a call that was made once more.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RetryLabels {
    cause: &'static str,
}

impl CallMeters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            duration: metrics.durations(
                "rpc_client_call_duration",
                "How long calls to identity took, each attempt by itself",
                NETWORK_SECONDS,
            ),
            retries: metrics.register(
                "scim_identity_retries",
                "Calls to identity that were made once more: never sent, or not answered",
                Family::default(),
            ),
        }
    }

    /// Counts a call that is made once more.
    pub(crate) fn again(&self, was_sent: bool) {
        let cause = if was_sent { "unavailable" } else { "unsent" };
        self.retries.get_or_create(&RetryLabels { cause }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_by_what_it_is_about() {
        for (method, path, expected) in [
            ("POST", "/{domain}/scim/v2/Users", ("user", "create")),
            ("GET", "/{domain}/scim/v2/Users", ("user", "list")),
            ("POST", "/{domain}/scim/Users/.search", ("user", "list")),
            (
                "PATCH",
                "/{domain}/scim/v2/Groups/{id}",
                ("group", "update"),
            ),
            ("PUT", "/Groups/4711?attributes=id", ("group", "replace")),
            ("DELETE", "/Users/4711", ("user", "delete")),
            ("GET", "/{domain}/scim/v2", ("all", "list")),
            ("POST", "/{domain}/scim/v2/.search", ("all", "list")),
            ("POST", "/{domain}/scim/v2/Bulk", ("bulk", "create")),
            (
                "GET",
                "/{domain}/scim/v2/Schemas/{id}",
                ("discovery", "read"),
            ),
            ("GET", "unmatched", ("other", "list")),
            ("_OTHER", "/ann@acme.example", ("other", "other")),
        ] {
            assert_eq!(kind(method, path), expected, "{method} {path}");
        }
    }
}
