//! The way to identity: calls in the name of a caller.

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
    metrics::Metrics,
    rpc::{code_name, is_fault},
    telemetry::record_failure,
    tls::{ClientTlsArgs, OwnCertificate},
};
use prost::Message;
use roster_client::{carry_trace, is_unreachable, is_unsent};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use tracing::{Instrument, Span, field};

use crate::{
    metrics::{CallLabels, CallMeters},
    peers::Peers,
    reached::{self, Reached},
};

/// The largest answer: a page of groups with their members.
const MAX_ANSWER: usize = 256 << 20;

/// The largest write that is kept to be sent again, in bytes.
const KEPT_MAX: usize = 256 << 10;

/// How long before a read that found nobody there is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How long before a request that was never sent is sent: the next connection has to be there. Twice as long
/// each time.
const UNSENT_PAUSE: Duration = Duration::from_millis(5);

/// How often a request that was never sent is tried again: past a few processes that have ended, or until one
/// is back.
const UNSENT_MOST: u32 = 6;

/// The way to identity. Clones share its connections.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    peers: Peers,
    meters: CallMeters,
}

impl Backend {
    /// The way to the processes at `urls`. An error is a sentence for an operator.
    pub(crate) fn new(
        urls: &str,
        tls: &ClientTlsArgs,
        metrics: &Metrics,
        stop: &CancellationToken,
    ) -> Result<Self, String> {
        let certificate = OwnCertificate::new(metrics, "client");
        Ok(Self {
            peers: Peers::new(urls, tls, certificate, stop)?,
            meters: CallMeters::new(metrics),
        })
    }

    /// Looks for a first process that answers, until `stop`.
    pub(crate) fn reach(&self, stop: &CancellationToken) -> Reached {
        reached::look(self.peers.clone(), stop.clone())
    }
}

fn members(channel: Channel) -> MemberServiceClient<Channel> {
    MemberServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER)
}

fn groups(channel: Channel) -> GroupServiceClient<Channel> {
    GroupServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER)
}

fn roles(channel: Channel) -> RoleServiceClient<Channel> {
    RoleServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER)
}

fn business_entities(channel: Channel) -> BusinessEntityServiceClient<Channel> {
    BusinessEntityServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER)
}

fn credentials(channel: Channel) -> CredentialServiceClient<Channel> {
    CredentialServiceClient::new(channel)
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

/// One method a call, by its name in the contract: the request's site is the caller's.
macro_rules! calls {
    ($($(#[$doc:meta])* $kind:ident $name:literal $service:ident.$method:ident($request:ident) -> $response:ident;)*) => {
        $(
            $(#[$doc])*
            pub(crate) async fn $method(&self, mut message: $request) -> Result<$response, Status> {
                message.site = Some(self.site());
                // Boxed: a request and all that hyper needs would make every handler's future large.
                Box::pin(self.call(Kind::$kind, concat!("identity.v1.", $name), message, |channel, request| async {
                    $service(channel).$method(request).await
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
        Read "CredentialService/GetCaller" credentials.get_caller(GetCallerRequest) -> GetCallerResponse;
        Write "MemberService/CreateMember" members.create_member(CreateMemberRequest) -> CreateMemberResponse;
        Read "MemberService/GetMember" members.get_member(GetMemberRequest) -> GetMemberResponse;
        Read "MemberService/ListMembers" members.list_members(ListMembersRequest) -> ListMembersResponse;
        Write "MemberService/UpdateMember" members.update_member(UpdateMemberRequest) -> UpdateMemberResponse;
        Write "MemberService/DeleteMember" members.delete_member(DeleteMemberRequest) -> DeleteMemberResponse;
        Write "GroupService/CreateGroup" groups.create_group(CreateGroupRequest) -> CreateGroupResponse;
        Read "GroupService/GetGroup" groups.get_group(GetGroupRequest) -> GetGroupResponse;
        Read "GroupService/ListGroups" groups.list_groups(ListGroupsRequest) -> ListGroupsResponse;
        Write "GroupService/UpdateGroup" groups.update_group(UpdateGroupRequest) -> UpdateGroupResponse;
        Write "GroupService/DeleteGroup" groups.delete_group(DeleteGroupRequest) -> DeleteGroupResponse;
        Read "RoleService/ListRoles" roles.list_roles(ListRolesRequest) -> ListRolesResponse;
        Read "BusinessEntityService/ListBusinessEntities" business_entities.list_business_entities(ListBusinessEntitiesRequest)
            -> ListBusinessEntitiesResponse;
    }

    fn site(&self) -> SiteRef {
        SiteRef {
            r#ref: Some(site_ref::Ref::Domain(self.domain.clone())),
        }
    }

    /// One call; once more where it was never sent, and a read where nobody answered.
    async fn call<Q: Clone + Message, A, F: Future<Output = Result<Response<A>, Status>>>(
        &self,
        kind: Kind,
        method: &'static str,
        message: Q,
        rpc: impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<A, Status> {
        let mut again = Again {
            unsent: 0,
            unanswered: kind == Kind::Read,
        };
        let keep = kind == Kind::Read || message.encoded_len() <= KEPT_MAX;
        let mut kept = keep.then(|| message.clone());
        let mut outcome = self.attempt(method, message, &rpc).await;
        while let Err(status) = &outcome
            && let Some(message) = kept.take()
            && let Some(pause) = again.after(status)
            && Instant::now() + pause < self.deadline
        {
            self.backend.meters.again(!is_unsent(status));
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
        rpc: &impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<A, Status> {
        let span = tracing::info_span!(
            "rpc.client",
            otel.name = method,
            otel.kind = "client",
            rpc.system.name = "grpc",
            rpc.method = method,
            rpc.response.status_code = field::Empty,
            server.address = field::Empty,
            server.port = field::Empty,
        );
        let begun = Instant::now();
        async {
            let mut told = Told {
                meters: &self.backend.meters,
                method,
                begun,
                ended: false,
            };
            let mut request = Request::new(message);
            request
                .metadata_mut()
                .insert("authorization", self.authorization.clone());
            // Whatever the token may do besides, here an identity provider is calling.
            request
                .metadata_mut()
                .insert("roster-provisioning", MetadataValue::from_static("true"));
            carry_trace(request.metadata_mut().as_mut());
            // identity gives up by this; the timeout here is for when it does not.
            request.set_timeout(self.deadline.saturating_duration_since(Instant::now()));
            let answered = async {
                let peer = self.backend.peers.next().await;
                let address = peer.address();
                Span::current().record("server.address", field::display(address.ip()));
                Span::current().record("server.port", address.port());
                let outcome = rpc(peer.channel(), request).await;
                if outcome.as_ref().is_err_and(|status| is_unreachable(status)) {
                    self.backend.peers.is_out(&peer);
                }
                outcome
            };
            let outcome = match timeout_at(self.deadline, answered).await {
                Ok(outcome) => outcome.map(Response::into_inner),
                Err(_) => Err(Status::deadline_exceeded("no answer within the deadline")),
            };
            told.end(outcome.as_ref().err().map_or(Code::Ok, Status::code));
            outcome
        }
        .instrument(span)
        .await
    }
}

/// Tells how an attempt ended, in its span and in the metrics. One that is given up, because the client went away, is
/// cancelled.
struct Told<'a> {
    meters: &'a CallMeters,
    method: &'static str,
    begun: Instant,
    ended: bool,
}

impl Told<'_> {
    fn end(&mut self, code: Code) {
        self.ended = true;
        let name = code_name(code);
        Span::current().record("rpc.response.status_code", name);
        let error_type = if code == Code::Ok { "" } else { name };
        if !error_type.is_empty() {
            record_failure(error_type, is_fault(code));
        }
        let labels = CallLabels {
            rpc_system_name: "grpc",
            rpc_method: self.method,
            rpc_response_status_code: name,
            error_type,
        };
        self.meters.duration.observe(&labels, self.begun.elapsed());
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Code::Cancelled);
        }
    }
}

/// Whether a call may still be made once more.
struct Again {
    /// How often the request was never sent.
    unsent: u32,
    /// Whether it may be, where nobody answered it.
    unanswered: bool,
}

impl Again {
    /// How long to wait before the call is made once more, if it is, after it ended in this.
    fn after(&mut self, status: &Status) -> Option<Duration> {
        if is_unsent(status) && self.unsent < UNSENT_MOST {
            self.unsent += 1;
            return Some(UNSENT_PAUSE * (1 << (self.unsent - 1)));
        }
        (status.code() == Code::Unavailable && std::mem::take(&mut self.unanswered))
            .then_some(RETRY_PAUSE)
    }
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
