//! An identity that remembers what it was asked and answers from a script. The token `good` is good.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use identity_proto::{
    ERROR_DOMAIN,
    v1::{
        self as pb, credential_service_server as credentials, group_service_server as groups,
        member_service_server as members, site_ref,
    },
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, transport::Server};
use tonic_types::{ErrorDetails, StatusExt};

/// Defines what was seen, one variant a call.
macro_rules! seen {
    ($($name:ident($request:ident)),* $(,)?) => {
        /// One call, with its request.
        #[derive(Clone, Debug)]
        #[allow(dead_code, reason = "the requests that no test reads are shown when one fails")]
        pub(super) enum Seen {
            $($name(pb::$request),)*
        }

        impl Seen {
            pub(super) fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)*
                }
            }
        }
    };
}

seen! {
    GetCaller(GetCallerRequest),
    CreateMember(CreateMemberRequest),
    GetMember(GetMemberRequest),
    ListMembers(ListMembersRequest),
    UpdateMember(UpdateMemberRequest),
    DeleteMember(DeleteMemberRequest),
    CreateGroup(CreateGroupRequest),
    GetGroup(GetGroupRequest),
    ListGroups(ListGroupsRequest),
    UpdateGroup(UpdateGroupRequest),
    DeleteGroup(DeleteGroupRequest),
}

#[derive(Debug, Default)]
struct State {
    seen: Vec<Seen>,
    caller: (String, String),
    failures: VecDeque<Status>,
    delay: Duration,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Identity {
    state: Arc<Mutex<State>>,
}

/// An error as identity sends it.
pub(super) fn failure(code: Code, reason: pb::ErrorReason) -> Status {
    let reason = reason.as_str_name().trim_start_matches("ERROR_REASON_");
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
    Status::with_error_details(code, "scripted", details)
}

impl Identity {
    /// Serves on a free port; gives the URL.
    pub(super) async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::builder()
            .add_service(members::MemberServiceServer::new(self.clone()))
            .add_service(groups::GroupServiceServer::new(self.clone()))
            .add_service(credentials::CredentialServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        url
    }

    pub(super) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }

    /// The token and the domain of the last call.
    pub(super) fn last_caller(&self) -> (String, String) {
        self.state.lock().unwrap().caller.clone()
    }

    /// What the next writes fail with.
    pub(super) fn fail_writes(&self, failures: impl IntoIterator<Item = Status>) {
        self.state.lock().unwrap().failures.extend(failures);
    }

    pub(super) fn be_slow(&self, delay: Duration) {
        self.state.lock().unwrap().delay = delay;
    }

    async fn admit<Q: Clone>(
        &self,
        request: &Request<Q>,
        site: fn(&Q) -> Option<&pb::SiteRef>,
        seen: fn(Q) -> Seen,
        is_write: bool,
    ) -> Result<(), Status> {
        let token = request
            .metadata()
            .get("authorization")
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let Some(Some(site_ref::Ref::Domain(domain))) =
            site(request.get_ref()).map(|site| site.r#ref.clone())
        else {
            return Err(Status::internal("the site is missing"));
        };
        assert!(request.metadata().contains_key("grpc-timeout"));
        let (failure, delay) = {
            let mut state = self.state.lock().unwrap();
            state.caller = (token.clone(), domain);
            state.seen.push(seen(request.get_ref().clone()));
            let failure = if is_write {
                state.failures.pop_front()
            } else {
                None
            };
            (failure, state.delay)
        };
        tokio::time::sleep(delay).await;
        if token != "Bearer good" {
            return Err(self::failure(
                Code::Unauthenticated,
                pb::ErrorReason::TokenInvalid,
            ));
        }
        failure.map_or(Ok(()), Err)
    }
}

fn member() -> Option<pb::Member> {
    Some(pb::Member {
        id: "m1".to_owned(),
        user_name: "a@b".to_owned(),
        active: true,
        version: 7,
        etag: "7-abc".to_owned(),
        ..pb::Member::default()
    })
}

fn group() -> Option<pb::Group> {
    Some(pb::Group {
        id: "g1".to_owned(),
        display_name: "G".to_owned(),
        version: 4,
        member_ids: vec!["u1".to_owned(), "u2".to_owned()],
        ..pb::Group::default()
    })
}

fn receipt() -> Option<pb::Receipt> {
    Some(pb::Receipt {
        changed: true,
        members: 2,
        gained: 1,
        unknown_member_ids: vec!["nobody".to_owned()],
        ..pb::Receipt::default()
    })
}

/// A service: each method notes the call and gives its answer; the rest is not asked of a facade.
macro_rules! service {
    ($service:path {
        $($method:ident: $name:ident($request:ident) -> $response:ident $body:tt, $write:literal;)*
        $(- $other:ident($other_request:ident) -> $other_response:ident;)*
    }) => {
        #[tonic::async_trait]
        impl $service for Identity {
            $(
                async fn $method(
                    &self,
                    request: Request<pb::$request>,
                ) -> Result<Response<pb::$response>, Status> {
                    self.admit(&request, |request| request.site.as_ref(), Seen::$name, $write).await?;
                    Ok(Response::new(pb::$response $body))
                }
            )*
            $(
                async fn $other(
                    &self,
                    _request: Request<pb::$other_request>,
                ) -> Result<Response<pb::$other_response>, Status> {
                    Err(Status::unimplemented("not asked of a facade"))
                }
            )*
        }
    };
}

service!(members::MemberService {
    create_member: CreateMember(CreateMemberRequest) -> CreateMemberResponse
        { member: member(), receipt: receipt() }, true;
    get_member: GetMember(GetMemberRequest) -> GetMemberResponse { member: member() }, false;
    list_members: ListMembers(ListMembersRequest) -> ListMembersResponse
        { members: member().into_iter().collect(), total_size: 1, next_page_token: "more".to_owned() }, false;
    update_member: UpdateMember(UpdateMemberRequest) -> UpdateMemberResponse
        { member: member(), receipt: receipt() }, true;
    delete_member: DeleteMember(DeleteMemberRequest) -> DeleteMemberResponse
        { receipt: receipt() }, true;
});

service!(groups::GroupService {
    create_group: CreateGroup(CreateGroupRequest) -> CreateGroupResponse
        { group: group(), receipt: receipt() }, true;
    get_group: GetGroup(GetGroupRequest) -> GetGroupResponse { group: group() }, false;
    list_groups: ListGroups(ListGroupsRequest) -> ListGroupsResponse
        { groups: group().into_iter().collect(), total_size: 1, next_page_token: "more".to_owned() }, false;
    update_group: UpdateGroup(UpdateGroupRequest) -> UpdateGroupResponse
        { group: group(), receipt: receipt() }, true;
    delete_group: DeleteGroup(DeleteGroupRequest) -> DeleteGroupResponse
        { receipt: receipt() }, true;
});

service!(credentials::CredentialService {
    get_caller: GetCaller(GetCallerRequest) -> GetCallerResponse
        { credential: None, site: None, role_names: vec![], business_entity_names: vec![] }, false;
    - issue_credential(IssueCredentialRequest) -> IssueCredentialResponse;
    - list_credentials(ListCredentialsRequest) -> ListCredentialsResponse;
    - revoke_credential(RevokeCredentialRequest) -> RevokeCredentialResponse;
});
