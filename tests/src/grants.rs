//! Direct grants: how tests look at them and wait for their ends.

use chrono::{DateTime, TimeDelta, Utc};
use identity_proto::v1::{self as pb, grant::Source};

use crate::rpc::Rpc;

/// Waits until a moment has passed by so much.
pub async fn until(at: DateTime<Utc>, after: TimeDelta) {
    let left = (at + after - Utc::now()).to_std().unwrap_or_default();
    tokio::time::sleep(left).await;
}

/// The events that tell of a grant's ending.
pub async fn endings(rpc: &Rpc, grant: &str) -> Vec<pb::Event> {
    let mut events = rpc.events().await;
    events.retain(|event| event.kind == "grant.ended" && event.subject_id == grant);
    events
}

/// The source of a direct grant.
#[track_caller]
pub fn direct(grant: &pb::Grant) -> &pb::DirectSource {
    match &grant.source {
        Some(Source::Direct(direct)) => direct,
        other => panic!("{other:?}"),
    }
}

/// Reads a direct grant.
pub async fn get(rpc: &Rpc, grant_id: &str) -> pb::DirectGrant {
    let request = pb::GetGrantRequest {
        grant_id: grant_id.to_owned(),
        ..Default::default()
    };
    let answer = rpc.grants().get_grant(rpc.caller.request(request)).await;
    answer.unwrap().into_inner().grant.unwrap()
}

/// Lists direct grants.
pub async fn list(rpc: &Rpc, request: pb::ListGrantsRequest) -> Vec<pb::DirectGrant> {
    let answer = rpc.grants().list_grants(rpc.caller.request(request)).await;
    answer.unwrap().into_inner().grants
}

/// The ids of direct grants.
pub fn ids(grants: &[pb::DirectGrant]) -> Vec<String> {
    grants
        .iter()
        .map(|grant| direct(grant.grant.as_ref().unwrap()).grant_id.clone())
        .collect()
}
