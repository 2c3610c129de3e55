//! Short ways to name what requests are about.

use identity_proto::v1::{
    AccessTarget, MemberRef, NamedRef, SiteRef, access_question::Ability, access_target::Target,
    member_ref, site_ref,
};

/// The site of this domain.
#[must_use]
pub fn site(domain: &str) -> Option<SiteRef> {
    Some(SiteRef {
        r#ref: Some(site_ref::Ref::Domain(domain.to_owned())),
    })
}

/// The member who has this user name now.
#[must_use]
pub fn by_user_name(user_name: &str) -> Option<MemberRef> {
    Some(MemberRef {
        r#ref: Some(member_ref::Ref::UserName(user_name.to_owned())),
    })
}

/// The member of this id.
#[must_use]
pub fn by_id(id: &str) -> Option<MemberRef> {
    Some(MemberRef {
        r#ref: Some(member_ref::Ref::Id(id.to_owned())),
    })
}

/// A role or business entity by its name, for a field that says which of the two.
#[must_use]
pub fn named(name: &str) -> NamedRef {
    NamedRef {
        name: name.to_owned(),
        ..NamedRef::default()
    }
}

/// The role of this name, to be granted.
#[must_use]
pub fn role(name: &str) -> Option<AccessTarget> {
    Some(AccessTarget {
        target: Some(Target::Role(named(name))),
    })
}

/// The business entity of this name, to be granted.
#[must_use]
pub fn entity(name: &str) -> Option<AccessTarget> {
    Some(AccessTarget {
        target: Some(Target::BusinessEntity(named(name))),
    })
}

/// A permission of the catalogue, to be asked about.
#[must_use]
pub fn permission(name: &str) -> Option<Ability> {
    Some(Ability::Permission(name.to_owned()))
}
