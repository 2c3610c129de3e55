//! The way to identity: its processes as one, and calls in the name of a caller.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use identity_proto::v1::{
    CreateGroupRequest, CreateGroupResponse, CreateMemberRequest, CreateMemberResponse,
    DeleteGroupRequest, DeleteGroupResponse, DeleteMemberRequest, DeleteMemberResponse,
    GetCallerRequest, GetCallerResponse, GetGroupRequest, GetGroupResponse, GetMemberRequest,
    GetMemberResponse, ListBusinessEntitiesRequest, ListBusinessEntitiesResponse,
    ListGroupsRequest, ListGroupsResponse, ListMembersRequest, ListMembersResponse,
    ListRolesRequest, ListRolesResponse, SiteRef, UpdateGroupRequest, UpdateGroupResponse,
    UpdateMemberRequest, UpdateMemberResponse,
    business_entity_service_client::BusinessEntityServiceClient,
    credential_service_client::CredentialServiceClient, group_service_client::GroupServiceClient,
    member_service_client::MemberServiceClient, role_service_client::RoleServiceClient, site_ref,
};
use identity_runtime::{
    propagation,
    tls::{ClientTlsArgs, on_change},
};
use prost::Message;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::Endpoint,
};
use tracing::{Instrument, Span, field};

use crate::peers::{Peers, is_unreached};

/// The largest answer: a page of groups with their members.
const MAX_ANSWER: usize = 256 << 20;

/// The largest set of trailers: an error may carry a hundred names.
const MAX_TRAILERS: u32 = 256 << 10;

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The largest write that is kept to be sent again, in bytes.
const KEPT_MAX: usize = 256 << 10;

/// How long before a read that found nobody there is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How long before a request that was never sent is sent: the next connection has to be there.
const UNSENT_PAUSE: Duration = Duration::from_millis(5);

/// The way to identity. Clones share its connections.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    peers: Peers,
}

impl Backend {
    /// A way that connects when it is first used, and again whenever it has to. An error is a sentence
    /// for an operator.
    pub(crate) fn new(
        url: &str,
        tls: &ClientTlsArgs,
        stop: &CancellationToken,
    ) -> Result<Self, String> {
        let peers = Peers::new(Self::endpoint(url, tls)?, stop);
        let files = tls.files();
        if !files.is_empty() {
            let (url, tls, peers) = (url.to_owned(), tls.clone(), peers.clone());
            tokio::spawn(on_change(files, stop.clone(), move || {
                peers.replace(Self::endpoint(&url, &tls)?);
                Ok(())
            }));
        }
        Ok(Self { peers })
    }

    fn endpoint(url: &str, tls: &ClientTlsArgs) -> Result<Endpoint, String> {
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|error| format!("identity's address {url:?}: {error}"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true)
            // Room for a PUT of a large group without waiting for the window.
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .http2_max_header_list_size(MAX_TRAILERS);
        tls.secure(endpoint)
    }

    fn members(&self) -> MemberServiceClient<Peers> {
        MemberServiceClient::new(self.peers.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    fn groups(&self) -> GroupServiceClient<Peers> {
        GroupServiceClient::new(self.peers.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    fn roles(&self) -> RoleServiceClient<Peers> {
        RoleServiceClient::new(self.peers.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    fn business_entities(&self) -> BusinessEntityServiceClient<Peers> {
        BusinessEntityServiceClient::new(self.peers.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    fn credentials(&self) -> CredentialServiceClient<Peers> {
        CredentialServiceClient::new(self.peers.clone())
    }
}

/// Calls identity with one client's token, for one site, until one deadline. The facade has no authority
/// of its own.
#[derive(Clone)]
pub(crate) struct Caller {
    backend: Backend,
    authorization: MetadataValue<Ascii>,
    domain: String,
    deadline: Instant,
    known: Arc<AtomicBool>,
}

/// Whether a call may be made twice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

/// One method a call: the request's site is the caller's.
macro_rules! calls {
    ($($(#[$doc:meta])* $kind:ident $service:ident.$method:ident($request:ident) -> $response:ident;)*) => {
        $(
            $(#[$doc])*
            pub(crate) async fn $method(&self, mut message: $request) -> Result<$response, Status> {
                message.site = Some(self.site());
                let client = self.backend.$service();
                // Boxed: a request and all that hyper needs would make every handler's future large.
                Box::pin(self.call(Kind::$kind, stringify!($method), message, move |request| {
                    let mut client = client.clone();
                    async move { client.$method(request).await }
                }))
                .await
            }
        )*
    };
}

impl Caller {
    pub(crate) fn new(
        backend: Backend,
        authorization: MetadataValue<Ascii>,
        domain: String,
        deadline: Instant,
    ) -> Self {
        Self {
            backend,
            authorization,
            domain,
            deadline,
            known: Arc::default(),
        }
    }

    /// Whether identity has answered this caller, and so knows its token.
    pub(crate) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Asks identity whether the token is good for the site, where nothing else would be asked.
    pub(crate) async fn identify(&self) -> Result<(), Status> {
        self.get_caller(GetCallerRequest::default())
            .await
            .map(|_| ())
    }

    calls! {
        Read credentials.get_caller(GetCallerRequest) -> GetCallerResponse;
        Write members.create_member(CreateMemberRequest) -> CreateMemberResponse;
        Read members.get_member(GetMemberRequest) -> GetMemberResponse;
        Read members.list_members(ListMembersRequest) -> ListMembersResponse;
        Write members.update_member(UpdateMemberRequest) -> UpdateMemberResponse;
        Write members.delete_member(DeleteMemberRequest) -> DeleteMemberResponse;
        Write groups.create_group(CreateGroupRequest) -> CreateGroupResponse;
        Read groups.get_group(GetGroupRequest) -> GetGroupResponse;
        Read groups.list_groups(ListGroupsRequest) -> ListGroupsResponse;
        Write groups.update_group(UpdateGroupRequest) -> UpdateGroupResponse;
        Write groups.delete_group(DeleteGroupRequest) -> DeleteGroupResponse;
        Read roles.list_roles(ListRolesRequest) -> ListRolesResponse;
        Read business_entities.list_business_entities(ListBusinessEntitiesRequest)
            -> ListBusinessEntitiesResponse;
    }

    fn site(&self) -> SiteRef {
        SiteRef {
            r#ref: Some(site_ref::Ref::Domain(self.domain.clone())),
        }
    }

    /// One call; once more where it was never sent, and a read where nobody was there.
    async fn call<Q: Clone + Message, A, F: Future<Output = Result<Response<A>, Status>>>(
        &self,
        kind: Kind,
        method: &'static str,
        message: Q,
        rpc: impl Fn(Request<Q>) -> F,
    ) -> Result<A, Status> {
        let mut again = Again {
            unsent: 5,
            unreached: 2,
            unanswered: usize::from(kind == Kind::Read),
        };
        let keep = kind == Kind::Read || message.encoded_len() <= KEPT_MAX;
        let mut kept = keep.then(|| message.clone());
        let mut outcome = self.attempt(method, message, &rpc).await;
        while let Err(status) = &outcome
            && let Some(message) = kept.take()
            && let Some(pause) = again.after(status)
            && Instant::now() + pause < self.deadline
        {
            sleep(pause).await;
            kept = Some(message.clone());
            outcome = self.attempt(method, message, &rpc).await;
        }
        if outcome.is_ok() {
            self.known.store(true, Ordering::Relaxed);
        }
        outcome
    }

    async fn attempt<Q, A, F: Future<Output = Result<Response<A>, Status>>>(
        &self,
        method: &'static str,
        message: Q,
        rpc: &impl Fn(Request<Q>) -> F,
    ) -> Result<A, Status> {
        let span = tracing::info_span!(
            "rpc.client",
            otel.kind = "client",
            rpc.system = "grpc",
            rpc.method = method,
            rpc.grpc.status_code = field::Empty,
        );
        async {
            let mut request = Request::new(message);
            request
                .metadata_mut()
                .insert("authorization", self.authorization.clone());
            // Whatever the token may do besides, here an identity provider is calling.
            request
                .metadata_mut()
                .insert("roster-provisioning", MetadataValue::from_static("true"));
            propagation::inject(request.metadata_mut());
            // identity gives up by this; the timeout here is for when it does not.
            request.set_timeout(self.deadline.saturating_duration_since(Instant::now()));
            let outcome = match timeout_at(self.deadline, rpc(request)).await {
                Ok(outcome) => outcome.map(Response::into_inner),
                Err(_) => Err(Status::deadline_exceeded("no answer within the deadline")),
            };
            let code = outcome.as_ref().err().map_or(Code::Ok, Status::code);
            Span::current().record("rpc.grpc.status_code", i32::from(code));
            outcome
        }
        .instrument(span)
        .await
    }
}

/// How often a call may still be made once more.
struct Again {
    /// Where the request was never sent.
    unsent: usize,
    /// Where one process of identity could not be reached; the next attempt is another's.
    unreached: usize,
    /// Where nobody was there to answer it.
    unanswered: usize,
}

impl Again {
    /// How long to wait before the call is made once more, if it is, after it ended in this.
    fn after(&mut self, status: &Status) -> Option<Duration> {
        let (left, pause) = if is_unsent(status) {
            (&mut self.unsent, UNSENT_PAUSE)
        } else if is_unreached(status) && self.unreached > 0 {
            (&mut self.unreached, UNSENT_PAUSE)
        } else if status.code() == Code::Unavailable {
            (&mut self.unanswered, RETRY_PAUSE)
        } else {
            return None;
        };
        *left = left.checked_sub(1)?;
        Some(pause)
    }
}

/// Whether the request never left: its connection came to its end just then, as each does after a while.
/// Other gRPC libraries take another connection by themselves.
fn is_unsent(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return error.is_canceled();
        }
        source = error.source();
    }
    false
}

/// Without the token.
impl fmt::Debug for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Caller")
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}
