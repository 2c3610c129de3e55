//! What the facade makes of a request by itself, with nobody to ask. For the fuzz targets, and for nothing else:
//! the handlers call the same code where it is.

use identity_proto::v1::{Filter, Member, Order, update_group_request::Membership};
use scim_protocol::{
    ScimError, group::GROUP, patch::Operation, query::Query, schema::ResourceType, user::USER,
};
use serde_json::{Map, Value};

use crate::{
    bulk,
    translate::{
        Site,
        group_patch::{self, GroupChange},
        query::Reading,
        user::{self, from_scim, to_scim, writable},
    },
    users,
};

/// A filter and an order of the contract, or the refusal.
pub type Asked = Result<(Option<Filter>, Option<Order>), ScimError>;

fn site() -> Site {
    Site::new("https://roster.example", "acme")
}

fn asked(
    query: &Query,
    resource_type: &'static ResourceType,
    beside: &[&'static ResourceType],
) -> Asked {
    let site = site();
    let reading = Reading {
        resource_type,
        beside,
        site: &site,
    };
    reading.both(query)
}

/// What a query asks of `/Users`.
pub fn of_users(query: &Query) -> Asked {
    asked(query, &USER, &[])
}

/// What a query asks of `/Groups`.
pub fn of_groups(query: &Query) -> Asked {
    asked(query, &GROUP, &[])
}

/// What a query on the root asks of the users, and of the groups.
pub fn of_both(query: &Query) -> [Asked; 2] {
    [
        asked(query, &USER, &[&GROUP]),
        asked(query, &GROUP, &[&USER]),
    ]
}

/// A member as a client reads it.
pub fn shown(member: &Member) -> Map<String, Value> {
    to_scim(member, &site())
}

/// What PATCH works on.
pub fn patchable(member: &Member) -> Map<String, Value> {
    writable(member)
}

/// What a canonical user says of a member.
pub fn member(user: &Map<String, Value>) -> Member {
    from_scim(user).into_member(true)
}

/// A member after a PATCH of what it was; what a client can't write is left out.
pub fn patched(before: &Member, operations: &[Operation]) -> Result<Member, ScimError> {
    Ok(user::patched(before, operations)?.into_member(before.active))
}

/// Whether a PATCH of a user needs no look at it, and what it then says of `active`.
pub fn only_activity(operations: &[Operation]) -> Option<Option<bool>> {
    users::only_activity(operations)
}

/// The address of what an operation of a bulk request works on.
pub fn bulk_address(path: &str) -> Result<String, ScimError> {
    bulk::address(path, &site())
}

/// What a PATCH makes of a group. What is none stays as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupPatch {
    /// The new name.
    pub display_name: Option<String>,
    /// The new external id; empty to clear it.
    pub external_id: Option<String>,
    /// What becomes of the members.
    pub membership: Option<Membership>,
}

impl From<GroupChange> for GroupPatch {
    fn from(change: GroupChange) -> Self {
        Self {
            membership: change.membership(),
            display_name: change.display_name,
            external_id: change.external_id,
        }
    }
}

/// What a PATCH of a group says; none where that needs `present`, the members that the group has.
pub fn patched_group(
    operations: &[Operation],
    present: Option<&[String]>,
) -> Result<Option<GroupPatch>, ScimError> {
    let change = group_patch::fold(operations, &site(), present)?;
    Ok(change.map(GroupPatch::from))
}
