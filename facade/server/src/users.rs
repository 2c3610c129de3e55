//! `/Users`: one handler a route. Each translates, calls identity, and translates back.

use std::time::Duration;

use axum::http::StatusCode;
use identity_proto::v1::{
    CreateMemberRequest, DeleteMemberRequest, GetMemberRequest, Member, MemberProfile, MemberRef,
    NamedRef, Receipt, UpdateMemberRequest, member_ref,
};
use prost_types::FieldMask;
use scim_protocol::{
    ScimError,
    attributes::Projection,
    patch::{self, Op, Operation},
    resource,
    schema::{Mutability, Target},
    user::USER,
};
use serde_json::Value;

use crate::{
    admission::Call,
    app::App,
    conditions::IfMatch,
    effect::Effect,
    entitlements,
    refusal::{Refusal, is_version_mismatch},
    reply::Reply,
    translate::user::{UserValues, from_scim, patched, to_scim},
};

/// How often a PATCH that had to read first is tried while others change the same resource. Each time somebody
/// gets through, so dozens of clients at once all do; identity's deadline ends it earlier where time runs out.
pub(crate) const ATTEMPTS: u32 = 40;

/// The attributes that grant by standing in the user, and the fields that they set.
const ENTITLEMENTS: [(&str, &str); 2] = [
    ("roles", "entitlements.roles"),
    ("entitlements", "entitlements.business_entities"),
];

/// The longest pause between two tries, in milliseconds.
const LONGEST_PAUSE: u64 = 200;

pub(crate) async fn create(_app: App, mut call: Call) -> Result<Reply, Refusal> {
    let projection = call.query()?.projection;
    let user = from_scim(&resource::read(&USER, call.json().await?)?).into_member(true);
    let sent = user.entitlements.clone();
    let request = CreateMemberRequest {
        member: Some(user),
        validate_only: call.is_dry_run()?,
        ..CreateMemberRequest::default()
    };
    let created = match call.caller.create_member(request).await {
        Ok(created) => created,
        Err(status) => return Err(entitlements::refusal(&call, sent.as_ref(), status).await),
    };
    let member = created.member.ok_or_else(Refusal::fault)?;
    Ok(written(
        StatusCode::CREATED,
        &member,
        created.receipt.as_ref(),
        &call,
        &projection,
    ))
}

pub(crate) async fn read(_app: App, call: Call) -> Result<Reply, Refusal> {
    let projection = call.query()?.projection;
    let member = get(&call).await?;
    if call.if_none_match().has(&member.etag) {
        return Ok(Reply::empty(StatusCode::NOT_MODIFIED).tagged(&member.etag));
    }
    let location = call.site.user(&member.id);
    Ok(
        Reply::json(StatusCode::OK, shown(&member, &call, &projection))
            .at(location)
            .tagged(&member.etag),
    )
}

pub(crate) async fn replace(_app: App, mut call: Call) -> Result<Reply, Refusal> {
    let projection = call.query()?.projection;
    let body = call.json().await?;
    let mut mask = vec!["user_name", "external_id", "profile"];
    // Okta's documents leave open what a PUT without them means: here they stay as they are.
    for (attribute, field) in ENTITLEMENTS {
        mask.extend(resource::speaks_of(&body, attribute).then_some(field));
    }
    let user = from_scim(&resource::read(&USER, body)?);
    // Who does not say whether the member is active does not deactivate it.
    mask.extend(user.active.map(|_| "active"));
    let member = user.into_member(true);
    let sent = member.entitlements.clone();
    let request = update(&call, member, &mask, &call.if_match()?)?;
    check_none_match(&call).await?;
    let updated = match call.caller.update_member(request).await {
        Ok(updated) => updated,
        Err(status) => return Err(entitlements::refusal(&call, sent.as_ref(), status).await),
    };
    let member = updated.member.ok_or_else(Refusal::fault)?;
    Ok(written(
        StatusCode::OK,
        &member,
        updated.receipt.as_ref(),
        &call,
        &projection,
    ))
}

pub(crate) async fn patch(_app: App, mut call: Call) -> Result<Reply, Refusal> {
    let projection = call.query()?.projection;
    let operations = patch::parse(call.json().await?)?;
    let if_match = call.if_match()?;
    check_none_match(&call).await?;
    let updated = match only_activity(&operations) {
        Some(active) => {
            let values = Member {
                active: active.unwrap_or_default(),
                ..Member::default()
            };
            let mask: &[&str] = if active.is_some() { &["active"] } else { &[] };
            call.caller
                .update_member(update(&call, values, mask, &if_match)?)
                .await?
        }
        None => read_and_write(&call, &operations, &if_match).await?,
    };
    let member = updated.member.ok_or_else(Refusal::fault)?;
    Ok(written(
        StatusCode::OK,
        &member,
        updated.receipt.as_ref(),
        &call,
        &projection,
    ))
}

pub(crate) async fn delete(_app: App, call: Call) -> Result<Reply, Refusal> {
    check_none_match(&call).await?;
    let deleted = call
        .caller
        .delete_member(DeleteMemberRequest {
            member_id: call.id.clone(),
            if_versions: call.if_match()?.versions(),
            validate_only: call.is_dry_run()?,
            ..DeleteMemberRequest::default()
        })
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT).with_effect(Effect::of(deleted.receipt.as_ref())))
}

/// Looks at what is there only where the client makes it a condition. What does not match now can't match
/// later: versions do not come back.
async fn check_none_match(call: &Call) -> Result<(), Refusal> {
    let known = call.if_none_match();
    if known.has_any() {
        known.check_write(&get(call).await?.etag)?;
    }
    Ok(())
}

/// A PATCH that depends on what is there: read, apply, write if nobody was faster, else again.
async fn read_and_write(
    call: &Call,
    operations: &[Operation],
    if_match: &IfMatch,
) -> Result<identity_proto::v1::UpdateMemberResponse, Refusal> {
    for attempt in 1..=ATTEMPTS {
        let before = get(call).await?;
        let expected = expect_version(if_match, before.version)?;
        let values = patched(&before, operations)?;
        let mask = changed(&before, &values);
        let member = values.into_member(before.active);
        let sent = member.entitlements.clone();
        let request = update(call, member, &mask, &expected)?;
        match call.caller.update_member(request).await {
            Err(status) if is_version_mismatch(&status) && *if_match == IfMatch::Any => {
                pause(attempt).await;
            }
            Err(status) => return Err(entitlements::refusal(call, sent.as_ref(), status).await),
            Ok(updated) => return Ok(updated),
        }
    }
    Err(Refusal::contended())
}

/// The condition for writing what was made of this version.
pub(crate) fn expect_version(if_match: &IfMatch, version: i64) -> Result<IfMatch, ScimError> {
    if if_match.allows(version) {
        Ok(IfMatch::Versions(vec![version]))
    } else {
        Err(crate::conditions::mismatch())
    }
}

/// Waits a little, differently long, so that those who collided do not collide again.
pub(crate) async fn pause(attempt: u32) {
    let most = (10 * u64::from(attempt)).min(LONGEST_PAUSE);
    tokio::time::sleep(Duration::from_millis(rand::random_range(1..=most))).await;
}

async fn get(call: &Call) -> Result<Member, Refusal> {
    let member = MemberRef {
        r#ref: Some(member_ref::Ref::Id(call.id.clone())),
    };
    let answer = call
        .caller
        .get_member(GetMemberRequest {
            member: Some(member),
            ..GetMemberRequest::default()
        })
        .await?;
    answer.member.ok_or_else(Refusal::fault)
}

fn update(
    call: &Call,
    values: Member,
    mask: &[&str],
    if_match: &IfMatch,
) -> Result<UpdateMemberRequest, ScimError> {
    Ok(UpdateMemberRequest {
        site: None,
        member_id: call.id.clone(),
        values: Some(values),
        update_mask: Some(FieldMask {
            paths: mask.iter().map(|&path| path.to_owned()).collect(),
        }),
        if_versions: if_match.versions(),
        validate_only: call.is_dry_run()?,
    })
}

/// What a PATCH changed.
fn changed(before: &Member, values: &UserValues) -> Vec<&'static str> {
    let entitled = before.entitlements.clone().unwrap_or_default();
    let differ = |before: &[NamedRef], ids: &[String]| {
        before.len() != ids.len() || before.iter().any(|named| !ids.contains(&named.id))
    };
    let profile = before.profile.clone().unwrap_or_default();
    let hidden = |profile: &MemberProfile| profile.removed.unwrap_or_default().active;
    [
        ("user_name", before.user_name != values.user_name),
        ("external_id", before.external_id != values.external_id),
        (
            "active",
            values.active.is_some_and(|active| active != before.active)
                || hidden(&profile) != hidden(&values.profile),
        ),
        ("profile", profile != values.profile),
        (ENTITLEMENTS[0].1, differ(&entitled.roles, &values.roles)),
        (
            ENTITLEMENTS[1].1,
            differ(&entitled.business_entities, &values.business_entities),
        ),
    ]
    .into_iter()
    .filter_map(|(field, changed)| changed.then_some(field))
    .collect()
}

/// Whether a PATCH only activates, deactivates or sets a password, which needs no look at what is there: the
/// last word on `active`, if any.
pub(crate) fn only_activity(operations: &[Operation]) -> Option<Option<bool>> {
    let mut active = None;
    for operation in operations {
        if operation.op == Op::Remove {
            return None;
        }
        match (&operation.path, operation.value.as_ref()?) {
            (Some(path), value) => {
                if path.filter.is_some() || path.sub.is_some() {
                    return None;
                }
                match USER.resolve(&path.attribute) {
                    Some(Target::Attribute {
                        extension: None,
                        attribute,
                        ..
                    }) => match attribute.name {
                        "active" => active = Some(resource::boolean(value)?),
                        "password" if value.is_string() => {}
                        _ => return None,
                    },
                    _ => return None,
                }
            }
            (None, Value::Object(entries)) => {
                for (name, value) in entries {
                    match USER.core_attribute(name) {
                        Some(attribute) => match attribute.name {
                            "active" => active = Some(resource::boolean(value)?),
                            "password" if value.is_string() => {}
                            _ if attribute.mutability == Mutability::ReadOnly => {}
                            _ => return None,
                        },
                        None => return None,
                    }
                }
            }
            (None, _) => return None,
        }
    }
    Some(active)
}

/// A user as the client wants to see it.
pub(crate) fn shown(member: &Member, call: &Call, projection: &Projection) -> Value {
    let mut user = to_scim(member, &call.site);
    projection.apply(&USER, &mut user);
    Value::Object(user)
}

fn written(
    status: StatusCode,
    member: &Member,
    receipt: Option<&Receipt>,
    call: &Call,
    projection: &Projection,
) -> Reply {
    Reply::json(status, shown(member, call, projection))
        .at(call.site.user(&member.id))
        .tagged(&member.etag)
        .with_effect(Effect::of(receipt))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn activity(operations: Value) -> Option<Option<bool>> {
        let body = json!({"schemas": [patch::PATCH_SCHEMA], "Operations": operations});
        let operations = patch::parse(body).unwrap();
        only_activity(&operations)
    }

    #[test]
    fn activation_in_any_form_needs_no_read() {
        for (operations, active) in [
            (
                json!([{"op": "replace", "value": {"active": false}}]),
                Some(false),
            ),
            (
                json!([{"op": "Replace", "path": "active", "value": "False"}]),
                Some(false),
            ),
            (
                json!([{"op": "add", "path": "ACTIVE", "value": true}]),
                Some(true),
            ),
            (
                json!([{
                    "op": "replace",
                    "path": "urn:ietf:params:scim:schemas:core:2.0:User:active",
                    "value": true,
                }]),
                Some(true),
            ),
            (
                json!([{"op": "replace", "value": {"active": true, "id": "x", "groups": []}}]),
                Some(true),
            ),
            (json!([{"op": "replace", "value": {"password": "p"}}]), None),
            (
                json!([{"op": "replace", "path": "password", "value": "p"}]),
                None,
            ),
            (
                json!([
                    {"op": "replace", "path": "active", "value": false},
                    {"op": "replace", "value": {"password": "p", "active": true}},
                ]),
                Some(true),
            ),
        ] {
            assert_eq!(activity(operations.clone()), Some(active), "{operations}");
        }
    }

    #[test]
    fn anything_more_does() {
        for operations in [
            json!([{"op": "replace", "path": "title", "value": "x"}]),
            json!([{"op": "replace", "value": {"active": true, "title": "x"}}]),
            json!([{"op": "replace", "value": {"active": true, "name.givenName": "x"}}]),
            json!([{"op": "replace", "path": "active", "value": "perhaps"}]),
            json!([{"op": "remove", "path": "active"}]),
            json!([{"op": "replace", "path": "active[value pr]", "value": true}]),
            json!([{"op": "replace", "path": "password", "value": 1}]),
            json!([{"op": "replace", "path": "roles", "value": []}]),
            json!([{"op": "replace", "value": {"active": false, "roles": []}}]),
        ] {
            assert_eq!(activity(operations.clone()), None, "{operations}");
        }
    }

    #[test]
    fn only_what_changed_is_written() {
        let before = Member {
            user_name: "a@b".to_owned(),
            active: true,
            ..Member::default()
        };
        let same = patched(&before, &[]).unwrap();
        assert_eq!(changed(&before, &same), [""; 0]);
        let mut other = same.clone();
        other.profile.title = "T".to_owned();
        other.active = Some(false);
        assert_eq!(changed(&before, &other), ["active", "profile"]);
    }
}
