//! A caller of identity, and what tests ask it most.

use std::time::Duration;

use chrono::{DateTime, Utc};
use identity_proto::v1::{self as pb, access_target::Target};
use prost_types::Timestamp;
use roster_stack::grpc::Caller;
use tonic::{Response, Status, transport::Channel};

/// A member's access, by names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Access {
    /// The roles, sorted.
    pub roles: Vec<String>,
    /// The business entities, sorted.
    pub entities: Vec<String>,
    /// How far the roles reach.
    pub reach: String,
}

/// A caller of identity for one site.
#[derive(Clone, Debug)]
pub struct Rpc {
    /// The caller.
    pub caller: Caller,
    /// The site that requests name; none where the credential knows it.
    pub site: Option<pb::SiteRef>,
}

/// A member by user name.
pub fn by_user_name(user_name: &str) -> Option<pb::MemberRef> {
    Some(pb::MemberRef {
        r#ref: Some(pb::member_ref::Ref::UserName(user_name.to_owned())),
    })
}

/// A member by id.
pub fn by_id(id: &str) -> Option<pb::MemberRef> {
    Some(pb::MemberRef {
        r#ref: Some(pb::member_ref::Ref::Id(id.to_owned())),
    })
}

/// The target that is a role of this name.
pub fn role(name: &str) -> Option<pb::AccessTarget> {
    let named = pb::NamedRef {
        id: String::new(),
        name: name.to_owned(),
    };
    Some(pb::AccessTarget {
        target: Some(Target::Role(named)),
    })
}

/// The target that is a business entity of this name.
pub fn entity(name: &str) -> Option<pb::AccessTarget> {
    let named = pb::NamedRef {
        id: String::new(),
        name: name.to_owned(),
    };
    Some(pb::AccessTarget {
        target: Some(Target::BusinessEntity(named)),
    })
}

/// The name of a target.
pub fn target_name(target: Option<&pb::AccessTarget>) -> String {
    match target.and_then(|target| target.target.as_ref()) {
        Some(Target::Role(named) | Target::BusinessEntity(named)) => named.name.clone(),
        None => String::new(),
    }
}

/// A moment, as the contract writes it.
pub fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: at.timestamp(),
        nanos: at.timestamp_subsec_nanos() as i32,
    }
}

/// The moment that the contract writes so.
pub fn moment(at: &Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp(at.seconds, at.nanos as u32).unwrap()
}

impl Rpc {
    /// What a member may do, in full.
    pub async fn list_member_access(
        &self,
        member: Option<pb::MemberRef>,
    ) -> Result<pb::ListMemberAccessResponse, Status> {
        let request = pb::ListMemberAccessRequest {
            site: self.site.clone(),
            member,
            ..Default::default()
        };
        let request = self.caller.request(request);
        self.caller
            .access()
            .list_member_access(request)
            .await
            .map(Response::into_inner)
    }

    /// What a member may do, by names.
    pub async fn access(&self, user_name: &str) -> Access {
        let access = self
            .list_member_access(by_user_name(user_name))
            .await
            .unwrap();
        let names = |list: &[pb::GrantedTarget]| {
            let mut names: Vec<String> = list
                .iter()
                .map(|granted| target_name(granted.target.as_ref()))
                .collect();
            names.sort();
            names
        };
        let reach = access
            .reach()
            .as_str_name()
            .trim_start_matches("REACH_")
            .to_lowercase();
        Access {
            roles: names(&access.roles),
            entities: names(&access.business_entities),
            reach,
        }
    }

    /// The names of a member's roles, sorted.
    pub async fn roles(&self, user_name: &str) -> Vec<String> {
        self.access(user_name).await.roles
    }

    /// All events of the site, oldest first.
    pub async fn events(&self) -> Vec<pb::Event> {
        let mut client = self.events_client();
        let mut events: Vec<pb::Event> = Vec::new();
        loop {
            let request = pb::ListEventsRequest {
                site: self.site.clone(),
                after: events.last().map_or(0, |event| event.number),
                page_size: Some(1000),
                ..Default::default()
            };
            let page = client
                .list_events(self.caller.request(request))
                .await
                .unwrap()
                .into_inner();
            events.extend(page.events);
            if !page.more {
                return events;
            }
        }
    }

    /// Groups, directly.
    pub fn groups(&self) -> pb::group_service_client::GroupServiceClient<Channel> {
        pb::group_service_client::GroupServiceClient::new(self.caller.channel())
            .max_decoding_message_size(256 << 20)
    }

    /// Direct grants.
    pub fn grants(&self) -> pb::grant_service_client::GrantServiceClient<Channel> {
        pb::grant_service_client::GrantServiceClient::new(self.caller.channel())
    }

    /// Events, of any size.
    pub fn events_client(&self) -> pb::event_service_client::EventServiceClient<Channel> {
        pb::event_service_client::EventServiceClient::new(self.caller.channel())
            .max_decoding_message_size(256 << 20)
    }

    /// Gives a member a role or business entity directly; answers with the grant's id.
    pub async fn grant(
        &self,
        user_name: &str,
        target: Option<pb::AccessTarget>,
    ) -> Result<String, Status> {
        let request = pb::CreateGrantRequest {
            site: self.site.clone(),
            member: by_user_name(user_name),
            target,
            reason: "a test".to_owned(),
            ..Default::default()
        };
        let answer = self
            .grants()
            .create_grant(self.caller.request(request))
            .await?
            .into_inner();
        match answer.grant.and_then(|grant| grant.source) {
            Some(pb::grant::Source::Direct(direct)) => Ok(direct.grant_id),
            other => panic!("{other:?}"),
        }
    }

    /// Gives a member a role or business entity that ends by itself after so long; answers with the grant's
    /// id and its end.
    pub async fn grant_for(
        &self,
        member: Option<pb::MemberRef>,
        target: Option<pb::AccessTarget>,
        time: Duration,
    ) -> Result<(String, DateTime<Utc>), Status> {
        let request = pb::CreateGrantRequest {
            site: self.site.clone(),
            member,
            target,
            reason: "for a while".to_owned(),
            end_time: Some(timestamp(Utc::now() + time)),
            ..Default::default()
        };
        let answer = self
            .grants()
            .create_grant(self.caller.request(request))
            .await?
            .into_inner();
        match answer.grant.and_then(|grant| grant.source) {
            Some(pb::grant::Source::Direct(direct)) => {
                Ok((direct.grant_id, moment(&direct.end_time.unwrap())))
            }
            other => panic!("{other:?}"),
        }
    }

    /// Takes a direct grant back.
    pub async fn end_grant(&self, grant_id: &str) -> Result<pb::EndGrantResponse, Status> {
        let request = pb::EndGrantRequest {
            site: self.site.clone(),
            grant_id: grant_id.to_owned(),
            ..Default::default()
        };
        self.grants()
            .end_grant(self.caller.request(request))
            .await
            .map(Response::into_inner)
    }
}
