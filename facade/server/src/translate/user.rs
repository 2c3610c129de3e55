//! A member as a SCIM user, and back.
//!
//! A member without e-mail addresses shows its user name as primary work address, which is derived and not stored,
//! until a client removes it; nor is it shown whether a member is active where a client removed that.
//! A client that puts back what it read must change nothing. A PUT passes on what came: identity, which has the
//! member before it, knows the address that it did not store, and stores none. A client that gives that same
//! address to a new member, or to one that has others, gives it an address. A PATCH works on what was read, so
//! there it is known here.

use identity_proto::v1::{
    EffectiveAccess, Enterprise, Entitlements, LabelledValue, Manager, Member, MemberProfile,
    NamedRef, PersonName, PostalAddress, Reach, Removed,
};
use scim_protocol::{
    ScimError,
    entitlement::BUSINESS_ENTITY,
    patch::{self, Operation},
    user::{ACCESS_USER, CORE_USER, ENTERPRISE_USER, USER},
};
use serde_json::{Map, Value, json};

use super::{Site, meta};
use crate::conditions::entity_tag;

/// The parts of a user that a client writes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UserValues {
    pub(crate) user_name: String,
    pub(crate) external_id: String,
    /// None where the client did not say.
    pub(crate) active: Option<bool>,
    pub(crate) profile: MemberProfile,
    /// The ids in `roles`, each once.
    pub(crate) roles: Vec<String>,
    /// The ids in `entitlements`, each once.
    pub(crate) business_entities: Vec<String>,
}

impl UserValues {
    /// As a member of the contract; `active` where it was not said is `otherwise`.
    pub(crate) fn into_member(self, otherwise: bool) -> Member {
        Member {
            user_name: self.user_name,
            external_id: self.external_id,
            active: self.active.unwrap_or(otherwise),
            profile: Some(self.profile),
            entitlements: Some(Entitlements {
                roles: named(self.roles),
                business_entities: named(self.business_entities),
            }),
            ..Member::default()
        }
    }
}

fn named(ids: Vec<String>) -> Vec<NamedRef> {
    ids.into_iter()
        .map(|id| NamedRef {
            id,
            ..NamedRef::default()
        })
        .collect()
}

/// The whole representation.
pub(crate) fn to_scim(member: &Member, site: &Site) -> Map<String, Value> {
    let mut user = writable(member);
    let mut schemas = vec![CORE_USER.id];
    if user.contains_key(ENTERPRISE_USER.id) {
        schemas.push(ENTERPRISE_USER.id);
    }
    schemas.push(ACCESS_USER.id);
    let groups: Vec<Value> = member
        .groups
        .iter()
        .map(|group| {
            json!({
                "value": group.id,
                "$ref": site.group(&group.id),
                "display": group.display_name,
                "type": "direct",
            })
        })
        .collect();
    let meta = meta(
        "User",
        site.user(&member.id),
        entity_tag(&member.etag),
        member.create_time,
        member.update_time,
    );
    for (name, value) in [
        ("schemas", json!(schemas)),
        ("id", json!(member.id)),
        ("groups", Value::Array(groups)),
        (ACCESS_USER.id, access(member.access.as_ref())),
        ("meta", meta),
    ] {
        user.insert(name.to_owned(), value);
    }
    user
}

/// What a client may write of the representation; what PATCH works on.
pub(crate) fn writable(member: &Member) -> Map<String, Value> {
    let mut user = Map::new();
    put(&mut user, "userName", &member.user_name);
    put(&mut user, "externalId", &member.external_id);
    let nothing = MemberProfile::default();
    let profile = member.profile.as_ref().unwrap_or(&nothing);
    let removed = profile.removed.unwrap_or_default();
    if !removed.active {
        user.insert("active".to_owned(), json!(member.active));
    }
    if let Some(name) = &profile.name {
        let mut parts = Map::new();
        put(&mut parts, "formatted", &name.formatted);
        put(&mut parts, "familyName", &name.family_name);
        put(&mut parts, "givenName", &name.given_name);
        put(&mut parts, "middleName", &name.middle_name);
        put(&mut parts, "honorificPrefix", &name.honorific_prefix);
        put(&mut parts, "honorificSuffix", &name.honorific_suffix);
        put_object(&mut user, "name", parts);
    }
    put(&mut user, "displayName", &profile.display_name);
    put(&mut user, "nickName", &profile.nick_name);
    put(&mut user, "profileUrl", &profile.profile_url);
    put(&mut user, "title", &profile.title);
    put(&mut user, "userType", &profile.user_type);
    put(&mut user, "preferredLanguage", &profile.preferred_language);
    put(&mut user, "locale", &profile.locale);
    put(&mut user, "timezone", &profile.time_zone);
    if profile.emails.is_empty() && !removed.emails {
        let derived = LabelledValue {
            value: member.user_name.clone(),
            r#type: "work".to_owned(),
            primary: Some(true),
            ..LabelledValue::default()
        };
        put_labelled(&mut user, "emails", &[derived]);
    } else {
        put_labelled(&mut user, "emails", &profile.emails);
    }
    put_labelled(&mut user, "phoneNumbers", &profile.phone_numbers);
    put_labelled(&mut user, "ims", &profile.instant_messengers);
    put_labelled(&mut user, "photos", &profile.photos);
    let addresses = profile
        .addresses
        .iter()
        .map(address)
        .filter(|parts| !parts.is_empty());
    let addresses: Vec<Value> = addresses.map(Value::Object).collect();
    if !addresses.is_empty() {
        user.insert("addresses".to_owned(), Value::Array(addresses));
    }
    put_labelled(&mut user, "x509Certificates", &profile.certificates);
    if let Some(entitlements) = &member.entitlements {
        put_named(&mut user, "roles", &entitlements.roles, None);
        if let Some(Value::Array(roles)) = user.get_mut("roles")
            && let [only] = roles.as_mut_slice()
        {
            only["primary"] = Value::Bool(true);
        }
        let entities = &entitlements.business_entities;
        put_named(
            &mut user,
            "entitlements",
            entities,
            Some(BUSINESS_ENTITY.name),
        );
    }
    if let Some(enterprise) = &profile.enterprise {
        put_object(&mut user, ENTERPRISE_USER.id, enterprise_parts(enterprise));
    }
    user
}

/// Reads a canonical user. `password` goes no further than here.
pub(crate) fn from_scim(user: &Map<String, Value>) -> UserValues {
    let user_name = text(user, "userName");
    let name = object(user, "name").map(|name| PersonName {
        formatted: text(name, "formatted"),
        family_name: text(name, "familyName"),
        given_name: text(name, "givenName"),
        middle_name: text(name, "middleName"),
        honorific_prefix: text(name, "honorificPrefix"),
        honorific_suffix: text(name, "honorificSuffix"),
    });
    UserValues {
        external_id: text(user, "externalId"),
        active: user.get("active").and_then(Value::as_bool),
        profile: MemberProfile {
            name,
            display_name: text(user, "displayName"),
            nick_name: text(user, "nickName"),
            profile_url: text(user, "profileUrl"),
            title: text(user, "title"),
            user_type: text(user, "userType"),
            preferred_language: text(user, "preferredLanguage"),
            locale: text(user, "locale"),
            time_zone: text(user, "timezone"),
            // As sent, also where it is the derived address put back: identity knows which it is.
            emails: labelled(user, "emails"),
            phone_numbers: labelled(user, "phoneNumbers"),
            instant_messengers: labelled(user, "ims"),
            photos: labelled(user, "photos"),
            addresses: objects(user, "addresses").map(postal_address).collect(),
            certificates: labelled(user, "x509Certificates"),
            enterprise: object(user, ENTERPRISE_USER.id).map(enterprise),
            removed: None,
        },
        roles: ids(user, "roles"),
        business_entities: ids(user, "entitlements"),
        user_name,
    }
}

/// What a PATCH makes of a member. It works on [`writable`], so that a filter finds the derived address. Beside an
/// address that it gives, the derived one is not kept: it was none of the member's own.
pub(crate) fn patched(before: &Member, operations: &[Operation]) -> Result<UserValues, ScimError> {
    let shown = writable(before);
    let mut values = from_scim(&patch::apply(&USER, &shown, operations)?);
    let emails = &mut values.profile.emails;
    let removed = Removed {
        emails: emails.is_empty(),
        active: values.active.is_none(),
    };
    if derives(before) {
        if is_derived(emails, &before.user_name) {
            emails.clear();
        } else if let [_, _, ..] = emails.as_slice()
            && emails
                .iter()
                .any(|email| is_untouched(email, &before.user_name))
        {
            let mut without = shown;
            without.remove("emails");
            if let Ok(after) = patch::apply(&USER, &without, operations) {
                *emails = labelled(&after, "emails");
            }
        }
    }
    values.profile.removed = Some(removed).filter(|removed| *removed != Removed::default());
    // Taking the word away gives nobody access back, and takes none.
    values.active = values.active.or(Some(before.active));
    Ok(values)
}

fn derives(member: &Member) -> bool {
    member.profile.as_ref().is_none_or(|profile| {
        profile.emails.is_empty() && !profile.removed.unwrap_or_default().emails
    })
}

fn is_derived(emails: &[LabelledValue], user_name: &str) -> bool {
    matches!(emails, [only] if is_untouched(only, user_name) && only.primary())
}

/// Whether this is the derived address, but that another one may have become the primary one.
fn is_untouched(email: &LabelledValue, user_name: &str) -> bool {
    email.value == user_name && email.r#type == "work" && email.display.is_empty()
}

fn access(access: Option<&EffectiveAccess>) -> Value {
    let refs = |refs: &[NamedRef]| -> Vec<Value> {
        refs.iter()
            .map(|named| json!({"value": named.id, "display": named.name}))
            .collect()
    };
    let nothing = EffectiveAccess::default();
    let access = access.unwrap_or(&nothing);
    json!({
        "roles": refs(&access.roles),
        "businessEntities": refs(&access.business_entities),
        "reach": match access.reach() {
            Reach::All => "all",
            Reach::Listed => "listed",
            Reach::None | Reach::Unspecified => "none",
        },
    })
}

fn put(container: &mut Map<String, Value>, name: &str, text: &str) {
    if !text.is_empty() {
        container.insert(name.to_owned(), json!(text));
    }
}

fn put_object(container: &mut Map<String, Value>, name: &str, parts: Map<String, Value>) {
    if !parts.is_empty() {
        container.insert(name.to_owned(), Value::Object(parts));
    }
}

fn put_labelled(container: &mut Map<String, Value>, name: &str, values: &[LabelledValue]) {
    let elements: Vec<Value> = values
        .iter()
        .map(|value| {
            let mut parts = Map::new();
            put(&mut parts, "value", &value.value);
            put(&mut parts, "display", &value.display);
            put(&mut parts, "type", &value.r#type);
            put_primary(&mut parts, value.primary);
            Value::Object(parts)
        })
        .collect();
    if !elements.is_empty() {
        container.insert(name.to_owned(), Value::Array(elements));
    }
}

fn put_named(
    container: &mut Map<String, Value>,
    name: &str,
    values: &[NamedRef],
    kind: Option<&str>,
) {
    let elements: Vec<Value> = values
        .iter()
        .map(|named| {
            let mut parts = Map::new();
            put(&mut parts, "value", &named.id);
            put(&mut parts, "display", &named.name);
            put(&mut parts, "type", kind.unwrap_or_default());
            Value::Object(parts)
        })
        .collect();
    if !elements.is_empty() {
        container.insert(name.to_owned(), Value::Array(elements));
    }
}

/// The `value` of each entry, once.
fn ids(container: &Map<String, Value>, name: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for id in objects(container, name).map(|parts| text(parts, "value")) {
        if !id.is_empty() && !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

fn put_primary(parts: &mut Map<String, Value>, primary: Option<bool>) {
    if let Some(primary) = primary {
        parts.insert("primary".to_owned(), json!(primary));
    }
}

fn address(address: &PostalAddress) -> Map<String, Value> {
    let mut parts = Map::new();
    put(&mut parts, "formatted", &address.formatted);
    put(&mut parts, "streetAddress", &address.street_address);
    put(&mut parts, "locality", &address.locality);
    put(&mut parts, "region", &address.region);
    put(&mut parts, "postalCode", &address.postal_code);
    put(&mut parts, "country", &address.country);
    put(&mut parts, "type", &address.r#type);
    put_primary(&mut parts, address.primary);
    parts
}

fn postal_address(parts: &Map<String, Value>) -> PostalAddress {
    PostalAddress {
        formatted: text(parts, "formatted"),
        street_address: text(parts, "streetAddress"),
        locality: text(parts, "locality"),
        region: text(parts, "region"),
        postal_code: text(parts, "postalCode"),
        country: text(parts, "country"),
        r#type: text(parts, "type"),
        primary: primary(parts),
    }
}

fn enterprise_parts(enterprise: &Enterprise) -> Map<String, Value> {
    let mut parts = Map::new();
    put(&mut parts, "employeeNumber", &enterprise.employee_number);
    put(&mut parts, "costCenter", &enterprise.cost_center);
    put(&mut parts, "organization", &enterprise.organization);
    put(&mut parts, "division", &enterprise.division);
    put(&mut parts, "department", &enterprise.department);
    if let Some(manager) = &enterprise.manager {
        let mut of_manager = Map::new();
        put(&mut of_manager, "value", &manager.value);
        put(&mut of_manager, "$ref", &manager.r#ref);
        put(&mut of_manager, "displayName", &manager.display_name);
        put_object(&mut parts, "manager", of_manager);
    }
    parts
}

fn enterprise(parts: &Map<String, Value>) -> Enterprise {
    Enterprise {
        employee_number: text(parts, "employeeNumber"),
        cost_center: text(parts, "costCenter"),
        organization: text(parts, "organization"),
        division: text(parts, "division"),
        department: text(parts, "department"),
        manager: object(parts, "manager").map(|manager| Manager {
            value: text(manager, "value"),
            r#ref: text(manager, "$ref"),
            display_name: text(manager, "displayName"),
        }),
    }
}

fn text(container: &Map<String, Value>, name: &str) -> String {
    container
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn object<'a>(container: &'a Map<String, Value>, name: &str) -> Option<&'a Map<String, Value>> {
    container.get(name).and_then(Value::as_object)
}

fn objects<'a>(
    container: &'a Map<String, Value>,
    name: &str,
) -> impl Iterator<Item = &'a Map<String, Value>> {
    container
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
}

fn labelled(container: &Map<String, Value>, name: &str) -> Vec<LabelledValue> {
    objects(container, name)
        .map(|parts| LabelledValue {
            value: text(parts, "value"),
            display: text(parts, "display"),
            r#type: text(parts, "type"),
            primary: primary(parts),
        })
        .collect()
}

fn primary(parts: &Map<String, Value>) -> Option<bool> {
    parts.get("primary").and_then(Value::as_bool)
}

#[cfg(test)]
mod tests;
