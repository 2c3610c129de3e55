//! `/Groups`: one handler a route. A name is read by the convention on its way in; whether its target exists
//! identity says.

use std::sync::Arc;

use axum::http::StatusCode;
use group_convention::Naming;
use identity_proto::v1::{
    CreateGroupRequest, DeleteGroupRequest, ExactMembership, GetGroupRequest, Group, Receipt,
    UpdateGroupRequest, UpdateGroupResponse, update_group_request::Membership,
};
use scim_protocol::{
    ScimError,
    attributes::Projection,
    group::GROUP,
    patch::{self, Operation},
    resource,
};
use serde_json::{Map, Value};

use crate::{
    admission::Call,
    app::App,
    budget::Room,
    conditions::IfMatch,
    effect::Effect,
    refusal::{Refusal, is_version_mismatch},
    reply::Reply,
    translate::{
        Site,
        group::{member_ids, to_scim},
        group_patch::{GroupChange, fold},
    },
    users::{ATTEMPTS, expect_version, pause},
};

pub(crate) async fn create(app: App, mut call: Call) -> Result<Reply, Refusal> {
    let projection = call.query()?.projection;
    let sent = Sent::of(&mut call).await?;
    let naming = Naming {
        prefix: &app.config.group_prefix,
        display_name: &sent.display_name,
    };
    let created = call
        .caller
        .create_group(CreateGroupRequest {
            site: None,
            display_name: sent.display_name.clone(),
            target: Some(naming.target()),
            external_id: sent.external_id,
            member_ids: sent.member_ids,
            validate_only: call.is_dry_run()?,
            ..Default::default()
        })
        .await
        .map_err(|status| Refusal::of_group(&status, Some(&naming)))?;
    let group = created.group.ok_or_else(Refusal::fault)?;
    let effect = effect(&app, created.receipt.as_ref());
    Ok(
        Reply::json(StatusCode::CREATED, shown(&group, &call, &projection))
            .at(call.site.group(&group.id))
            .tagged(group.version)
            .with_effect(effect),
    )
}

pub(crate) async fn read(_app: App, call: Call) -> Result<Reply, Refusal> {
    let projection = call.query()?.projection;
    let group = get(&call, wants_members(&projection)).await?;
    if call.if_none_match().has(&group.version.to_string()) {
        return Ok(Reply::empty(StatusCode::NOT_MODIFIED).tagged(group.version));
    }
    Ok(
        Reply::json(StatusCode::OK, shown(&group, &call, &projection))
            .at(call.site.group(&group.id))
            .tagged(group.version),
    )
}

pub(crate) async fn replace(app: App, mut call: Call) -> Result<Reply, Refusal> {
    let projection = call.query()?.projection;
    let sent = Sent::of(&mut call).await?;
    let naming = Naming {
        prefix: &app.config.group_prefix,
        display_name: &sent.display_name,
    };
    check_none_match(&call).await?;
    let updated = call
        .caller
        .update_group(UpdateGroupRequest {
            site: None,
            group_id: call.id.clone(),
            display_name: Some(sent.display_name.clone()),
            target: Some(naming.target()),
            external_id: Some(sent.external_id),
            membership: Some(Membership::Exactly(ExactMembership {
                member_ids: sent.member_ids,
            })),
            if_versions: call.if_match()?.versions(),
            without_members: !wants_members(&projection),
            validate_only: call.is_dry_run()?,
        })
        .await
        .map_err(|status| Refusal::of_group(&status, Some(&naming)))?;
    let group = updated.group.ok_or_else(Refusal::fault)?;
    let effect = effect(&app, updated.receipt.as_ref());
    Ok(
        Reply::json(StatusCode::OK, shown(&group, &call, &projection))
            .at(call.site.group(&group.id))
            .tagged(group.version)
            .with_effect(effect),
    )
}

pub(crate) async fn patch(app: App, mut call: Call) -> Result<Reply, Refusal> {
    let projection = call.query()?.projection;
    let site = call.site.clone();
    let plan = call
        .read(move |body, room| Plan::of(patch::parse(body)?, room, &site))
        .await?;
    let if_match = call.if_match()?;
    check_none_match(&call).await?;
    // Without a wish for attributes the answer has no body, and the members stay where they are.
    let with_members = !projection.is_default() && wants_members(&projection);
    let updated = match plan {
        Plan::Change(change) => {
            change_group(&app, &call, change, &if_match, with_members)
                .await?
                .0?
        }
        Plan::Look(operations, _room) => {
            read_and_write(&app, &call, operations, &if_match, with_members).await?
        }
    };
    let group = updated.group.ok_or_else(Refusal::fault)?;
    let effect = effect(&app, updated.receipt.as_ref());
    let reply = if projection.is_default() {
        Reply::empty(StatusCode::NO_CONTENT)
    } else {
        Reply::json(StatusCode::OK, shown(&group, &call, &projection))
    };
    Ok(reply
        .at(call.site.group(&group.id))
        .tagged(group.version)
        .with_effect(effect))
}

pub(crate) async fn delete(app: App, call: Call) -> Result<Reply, Refusal> {
    check_none_match(&call).await?;
    let deleted = call
        .caller
        .delete_group(DeleteGroupRequest {
            group_id: call.id.clone(),
            if_versions: call.if_match()?.versions(),
            validate_only: call.is_dry_run()?,
            ..DeleteGroupRequest::default()
        })
        .await?;
    let effect = effect(&app, deleted.receipt.as_ref());
    Ok(Reply::empty(StatusCode::NO_CONTENT).with_effect(effect))
}

/// Looks at what is there only where the client makes it a condition.
async fn check_none_match(call: &Call) -> Result<(), Refusal> {
    let known = call.if_none_match();
    if known.has_any() {
        known.check_write(&get(call, false).await?.version.to_string())?;
    }
    Ok(())
}

/// What a PATCH comes to.
enum Plan {
    /// A change, whoever is in the group.
    Change(GroupChange),
    /// The operations, which depend on it, and the room that they take.
    Look(Vec<Operation>, Room),
}

impl Plan {
    fn of(operations: Vec<Operation>, room: Room, site: &Site) -> Result<Self, ScimError> {
        Ok(match fold(&operations, site, None)? {
            Some(change) => Self::Change(change),
            None => Self::Look(operations, room),
        })
    }
}

/// A PATCH that depends on who is in the group: read, fold, write if nobody was faster, else again.
async fn read_and_write(
    app: &App,
    call: &Call,
    operations: Vec<Operation>,
    if_match: &IfMatch,
    with_members: bool,
) -> Result<UpdateGroupResponse, Refusal> {
    let operations = Arc::new(operations);
    for attempt in 1..=ATTEMPTS {
        let before = get(call, true).await?;
        let expected = expect_version(if_match, before.version)?;
        let (operations, site) = (operations.clone(), call.site.clone());
        let change = call
            .apart(move || fold(&operations, &site, Some(&before.member_ids)))
            .await?
            .ok_or_else(Refusal::fault)?;
        let (outcome, was_overtaken) =
            change_group(app, call, change, &expected, with_members).await?;
        if !was_overtaken || *if_match != IfMatch::Any {
            return outcome;
        }
        pause(attempt).await;
    }
    Err(Refusal::contended())
}

/// Writes a change. Also tells whether somebody else changed the group first.
async fn change_group(
    app: &App,
    call: &Call,
    change: GroupChange,
    if_match: &IfMatch,
    with_members: bool,
) -> Result<(Result<UpdateGroupResponse, Refusal>, bool), ScimError> {
    let naming = change.display_name.as_deref().map(|display_name| Naming {
        prefix: &app.config.group_prefix,
        display_name,
    });
    let request = UpdateGroupRequest {
        site: None,
        group_id: call.id.clone(),
        display_name: change.display_name.clone(),
        target: naming.as_ref().map(Naming::target),
        external_id: change.external_id.clone(),
        membership: change.membership(),
        if_versions: if_match.versions(),
        without_members: !with_members,
        validate_only: call.is_dry_run()?,
    };
    Ok(match call.caller.update_group(request).await {
        Ok(updated) => (Ok(updated), false),
        Err(status) => (
            Err(Refusal::of_group(&status, naming.as_ref())),
            is_version_mismatch(&status),
        ),
    })
}

async fn get(call: &Call, with_members: bool) -> Result<Group, Refusal> {
    let answer = call
        .caller
        .get_group(GetGroupRequest {
            site: None,
            group_id: call.id.clone(),
            without_members: !with_members,
            ..Default::default()
        })
        .await?;
    answer.group.ok_or_else(Refusal::fault)
}

/// What a POST or PUT says.
struct Sent {
    display_name: String,
    external_id: String,
    /// None given is none: a PUT says all there is to be.
    member_ids: Vec<String>,
}

impl Sent {
    async fn of(call: &mut Call) -> Result<Self, Refusal> {
        call.read(|body, _room| Self::read(resource::read(&GROUP, body)?))
            .await
    }

    fn read(group: Map<String, Value>) -> Result<Self, ScimError> {
        let text = |name: &str| {
            group
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Ok(Self {
            display_name: text("displayName"),
            external_id: text("externalId"),
            member_ids: group.get("members").map_or(Ok(Vec::new()), member_ids)?,
        })
    }
}

/// Whether the members have to be loaded.
pub(crate) fn wants_members(projection: &Projection) -> bool {
    projection.wants(&GROUP, "members")
}

/// A group as the client wants to see it.
pub(crate) fn shown(group: &Group, call: &Call, projection: &Projection) -> Value {
    let mut shown = to_scim(group, &call.site, wants_members(projection));
    projection.apply(&GROUP, &mut shown);
    Value::Object(shown)
}

/// The effect of a write, and the note on who was passed over: the push goes on without them, so that it is not
/// lost whole, and nobody would know otherwise.
fn effect(app: &App, receipt: Option<&Receipt>) -> Effect {
    let unknown = receipt.map_or(&[][..], |receipt| receipt.unknown_member_ids.as_slice());
    if !unknown.is_empty() {
        app.meters.unknown_members.inc_by(unknown.len() as u64);
        // What is no id of ours may be anything, an e-mail address too.
        let ids: Vec<&str> = unknown
            .iter()
            .map(String::as_str)
            .filter(|id| is_uuid(id))
            .take(20)
            .collect();
        tracing::warn!(
            count = unknown.len(),
            ids = ids.join(","),
            "a membership change named ids that are no members of the site"
        );
    }
    Effect::of(receipt)
}

fn is_uuid(id: &str) -> bool {
    id.len() == 36
        && id.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_are_logged() {
        assert!(is_uuid("0198f1a2-7b3c-7d4e-8f50-123456789abc"));
        for other in ["a@example.com", "", "0198f1a27b3c7d4e8f50123456789abc0000"] {
            assert!(!is_uuid(other), "{other}");
        }
    }
}
