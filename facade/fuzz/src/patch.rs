//! The body of a PATCH: read, and applied to users and to groups.

use identity_proto::v1::{Entitlements, Member, update_group_request::Membership};
use scim_facade::offline::{self, GroupPatch};
use scim_protocol::{
    ScimError, json,
    patch::{self, MAX_OPERATIONS, Operation},
    resource,
    user::{CORE_USER, USER},
};
use serde_json::{Map, Value};

use crate::{
    hold::{good, is_refusal, is_same, is_within},
    samples,
};

/// How many bytes of copies a PATCH may make of one value, which many entries of a list take.
const COPIES: usize = patch::MAX_LOOKS;

/// Takes the input for the body of a PATCH.
pub fn check(input: &[u8]) {
    let body = match json::read(input) {
        Ok(body) => body,
        Err(error) => return is_refusal(&error, input.len()),
    };
    reads_again(&body, input.len());
    let operations = match patch::parse(body) {
        Ok(operations) => operations,
        Err(error) => return is_refusal(&error, input.len()),
    };
    assert!(!operations.is_empty() && operations.len() <= input.len());
    for member in samples::MEMBERS.iter() {
        user(member, &operations, input.len());
    }
    group(&operations, input.len());
}

/// A body that is written again says the same, and is not much longer.
pub(crate) fn reads_again(body: &Value, sent: usize) {
    let written = body.to_string();
    is_within(written.len(), sent, 64);
    let again = good(
        json::read(written.as_bytes()),
        "what was written is no body",
    );
    assert!(is_same(body, &again), "{written} was read as {again}");
}

/// Applies operations to a user: what comes out is a user that a client could have sent, and a client that puts
/// back what it then reads changes nothing.
pub(crate) fn user(before: &Member, operations: &[Operation], sent: usize) {
    let shown = offline::patchable(before);
    let after = match patch::apply(&USER, &shown, operations) {
        Ok(after) => after,
        Err(error) => {
            is_refusal(&error, sent);
            // The way that needs no look does not know how many are too many.
            if operations.len() <= MAX_OPERATIONS {
                assert_eq!(offline::only_activity(operations), None, "{error}");
            }
            return;
        }
    };
    let after_bytes = bytes(&after);
    is_within(after_bytes, sent, bytes(&shown) + COPIES);
    let (read, after) = (
        good(put(&after), "what PATCH made is no user"),
        without_names(after),
    );
    assert_eq!(read, after, "what PATCH made is not canonical");

    let member = good(offline::patched(before, operations), "once it went well");
    let shown = offline::shown(&Member {
        id: before.id.clone(),
        ..member.clone()
    });
    let put_back = good(put(&shown), "what is shown can't be put back");
    // A PUT that does not say whether the member is active leaves that.
    let active = put_back
        .get("active")
        .map_or(member.active, |active| *active == Value::Bool(true));
    let put_back = Member {
        active,
        ..offline::member(&put_back)
    };
    assert_eq!(
        stored(&put_back),
        stored(&member),
        "putting it back changes it"
    );

    // The way that needs no look comes to the same.
    if let Some(active) = offline::only_activity(operations) {
        let expected = Member {
            active: active.unwrap_or(before.active),
            ..good(offline::patched(before, &[]), "nothing was to be done")
        };
        assert_eq!(member, expected);
    }
}

/// Reads a user as from the body of a PUT.
fn put(user: &Map<String, Value>) -> Result<Map<String, Value>, ScimError> {
    let mut body = user.clone();
    body.insert("schemas".to_owned(), Value::from(vec![CORE_USER.id]));
    resource::read(&USER, Value::Object(body))
}

/// Without the parts of `roles` and `entitlements` that are shown and never read.
fn without_names(mut user: Map<String, Value>) -> Map<String, Value> {
    for (list, parts) in [
        ("roles", &["display", "primary"]),
        ("entitlements", &["display", "type"]),
    ] {
        let entries = user.get_mut(list).and_then(Value::as_array_mut);
        for entry in entries.into_iter().flatten() {
            for part in parts {
                entry.as_object_mut().and_then(|entry| entry.remove(*part));
            }
        }
    }
    user
}

/// What identity keeps of a member: it knows which address was derived, what was taken away although it is otherwise
/// assumed, and nothing that is named by more than its id.
fn stored(member: &Member) -> Member {
    let mut member = member.clone();
    if let Some(profile) = &mut member.profile {
        profile.removed = None;
        let derived = matches!(profile.emails.as_slice(), [only]
            if only.value == member.user_name && only.r#type == "work" && only.primary()
                && only.display.is_empty());
        if derived {
            profile.emails.clear();
        }
    }
    member
        .entitlements
        .get_or_insert_with(Entitlements::default);
    Member {
        id: String::new(),
        ..member
    }
}

fn bytes(user: &Map<String, Value>) -> usize {
    user.iter()
        .map(|(name, value)| name.len() + value.to_string().len())
        .sum()
}

/// Folds operations into a change of a group: with the members known it comes to the same as blindly.
pub(crate) fn group(operations: &[Operation], sent: usize) {
    let present = samples::GROUP.as_slice();
    let known = match offline::patched_group(operations, Some(present)) {
        Ok(Some(known)) => known,
        Ok(None) => panic!("it is not known who is in the group, and they were given"),
        Err(error) => return is_refusal(&error, sent),
    };
    let members = members(&known, present);
    is_within(
        members.iter().map(String::len).sum(),
        sent,
        present.iter().map(String::len).sum(),
    );
    match offline::patched_group(operations, None) {
        Ok(None) => {}
        Ok(Some(blind)) => {
            assert_eq!(self::members(&blind, present), members);
            assert_eq!(
                (blind.display_name, blind.external_id),
                (known.display_name, known.external_id)
            );
        }
        Err(error) => panic!("it can be applied, and blindly it can't: {error:?}"),
    }
}

/// Who is in the group after the change, in order.
fn members(change: &GroupPatch, present: &[String]) -> Vec<String> {
    let mut members = match &change.membership {
        None => present.to_vec(),
        Some(Membership::Exactly(exactly)) => exactly.member_ids.clone(),
        Some(Membership::Delta(delta)) => {
            let stays = |id: &&String| !delta.remove_member_ids.contains(*id);
            let stay = present.iter().filter(stays);
            stay.chain(&delta.add_member_ids).cloned().collect()
        }
    };
    members.sort();
    members.dedup();
    members
}
