//! Users there and back.

use identity_proto::v1::MemberGroup;
use proptest::prelude::*;
use scim_protocol::{patch, resource, user::USER};

use super::*;

fn member() -> Member {
    Member {
        id: "m1".to_owned(),
        user_name: "Ann@Example.com".to_owned(),
        active: true,
        version: 7,
        etag: "7-abc".to_owned(),
        create_time: Some(prost_types::Timestamp {
            seconds: 0,
            nanos: 0,
        }),
        groups: vec![MemberGroup {
            id: "g1".to_owned(),
            display_name: "CB/acme/ROLE/X".to_owned(),
        }],
        ..Member::default()
    }
}

fn site() -> Site {
    Site::new("https://x", "acme")
}

fn put_back(member: &Member) -> UserValues {
    let shown = Value::Object(to_scim(member, &site()));
    from_scim(&resource::read(&USER, shown).unwrap())
}

fn email(value: &str) -> LabelledValue {
    LabelledValue {
        value: value.to_owned(),
        r#type: "work".to_owned(),
        primary: Some(true),
        ..LabelledValue::default()
    }
}

#[test]
fn a_member_is_shown_whole() {
    let shown = Value::Object(to_scim(&member(), &site()));
    assert_eq!(
        shown,
        json!({
            "schemas": [CORE_USER.id, ACCESS_USER.id],
            "id": "m1",
            "userName": "Ann@Example.com",
            "active": true,
            "emails": [{"value": "Ann@Example.com", "type": "work", "primary": true}],
            "groups": [{
                "value": "g1",
                "$ref": "https://x/acme/scim/v2/Groups/g1",
                "display": "CB/acme/ROLE/X",
                "type": "direct",
            }],
            ACCESS_USER.id: {"roles": [], "businessEntities": [], "reach": "none"},
            "meta": {
                "resourceType": "User",
                "location": "https://x/acme/scim/v2/Users/m1",
                "version": "W/\"7-abc\"",
                "created": "1970-01-01T00:00:00Z",
            },
        })
    );
}

#[test]
fn what_is_not_kept_goes_no_further() {
    let body = json!({
        "schemas": [CORE_USER.id], "userName": "a@b", "password": "p", "groups": [],
    });
    let values = from_scim(&resource::read(&USER, body).unwrap());
    let nothing = UserValues {
        user_name: "a@b".to_owned(),
        external_id: String::new(),
        active: None,
        profile: MemberProfile::default(),
        roles: Vec::new(),
        business_entities: Vec::new(),
    };
    assert_eq!(values, nothing);
    assert!(values.into_member(true).active);
}

#[test]
fn addresses_are_passed_on_as_they_were_put() {
    let before = member();
    assert_eq!(put_back(&before).profile.emails, [email("Ann@Example.com")]);
    let mut renamed = to_scim(&before, &site());
    renamed.insert("userName".to_owned(), json!("new@example.com"));
    let put = from_scim(&resource::read(&USER, Value::Object(renamed)).unwrap());
    // A PUT says what there is to be: the address of before is an address now.
    assert_eq!(put.profile.emails, [email("Ann@Example.com")]);
}

fn patched(before: &Member, operations: Value) -> UserValues {
    let body = json!({"schemas": [patch::PATCH_SCHEMA], "Operations": operations});
    super::patched(before, &patch::parse(body).unwrap()).unwrap()
}

#[test]
fn a_patch_of_the_user_name_keeps_deriving() {
    let rename = json!([{"op": "replace", "path": "userName", "value": "new@example.com"}]);
    assert_eq!(patched(&member(), rename.clone()).profile.emails, []);
    let mut with_email = member();
    let profile = with_email.profile.get_or_insert_default();
    profile.emails = vec![email("other@example.com")];
    assert_eq!(
        patched(&with_email, rename).profile.emails,
        [email("other@example.com")]
    );
}

#[test]
fn a_patch_of_the_derived_address_stores_it() {
    let change = json!([
        {"op": "replace", "path": "emails[type eq \"work\"].value", "value": "w@example.com"},
    ]);
    assert_eq!(
        patched(&member(), change).profile.emails,
        [email("w@example.com")]
    );
    let both = json!([
        {"op": "add", "path": "emails", "value": [{"value": "h@x", "type": "home"}]},
        {"op": "replace", "path": "emails[type eq \"work\"].display", "value": "W"},
    ]);
    assert_eq!(patched(&member(), both).profile.emails.len(), 2);
    let title = json!([{"op": "add", "path": "title", "value": "T"}]);
    let values = patched(&member(), title);
    assert_eq!(
        (values.profile.title.as_str(), values.profile.emails.len()),
        ("T", 0)
    );
}

#[test]
fn an_added_address_is_not_put_beside_the_derived_one() {
    for primary in [json!(true), json!(false)] {
        let home = json!({"value": "h@x", "type": "home", "primary": primary});
        let add = json!([{"op": "add", "path": "emails", "value": [home]}]);
        let emails = patched(&member(), add).profile.emails;
        assert_eq!(emails.len(), 1, "{emails:?}");
        assert_eq!(emails[0].value, "h@x");
    }
    // Who gives the same address gives an address.
    let derived = json!({"value": "Ann@Example.com", "type": "work", "primary": true});
    let add = json!([{"op": "add", "path": "emails", "value": [derived, {"value": "h@x"}]}]);
    assert_eq!(patched(&member(), add).profile.emails.len(), 2);
}

#[test]
fn what_is_assumed_can_be_removed_and_said_again() {
    let mut before = member();
    let remove = json!([{"op": "remove", "path": "emails"}, {"op": "remove", "path": "active"}]);
    let values = patched(&before, remove);
    let removed = values.profile.removed.unwrap();
    assert!(removed.emails && removed.active && values.active == Some(true));

    before.profile = Some(values.profile);
    let shown = writable(&before);
    assert!(!shown.contains_key("emails") && !shown.contains_key("active"));
    let title = json!([{"op": "add", "path": "title", "value": "T"}]);
    assert_eq!(patched(&before, title).profile.removed, Some(removed));
    let said = json!([
        {"op": "add", "path": "active", "value": false},
        {"op": "add", "path": "emails", "value": [{"value": "h@x"}]},
    ]);
    let values = patched(&before, said);
    assert_eq!((values.profile.removed, values.active), (None, Some(false)));
    assert_eq!(values.profile.emails.len(), 1);
}

fn some_text() -> impl Strategy<Value = String> {
    prop_oneof![1 => Just(String::new()), 2 => any::<String>()]
}

fn some_values() -> impl Strategy<Value = Vec<LabelledValue>> {
    let value =
        (".+", some_text(), some_text()).prop_map(|(value, display, r#type)| LabelledValue {
            value,
            display,
            r#type,
            primary: None,
        });
    (proptest::collection::vec(value, 0..3), any::<bool>()).prop_map(|(mut values, primary)| {
        if let Some(first) = values.first_mut() {
            first.primary = primary.then_some(true);
        }
        values
    })
}

fn some_uri() -> impl Strategy<Value = String> {
    prop_oneof![1 => Just(String::new()), 2 => "https://[a-z]{1,8}/[a-zé0-9]{0,8}"]
}

/// Values of a form of their own, each another.
fn some_values_like(form: fn(usize) -> String) -> impl Strategy<Value = Vec<LabelledValue>> {
    some_values().prop_map(move |mut values| {
        for (index, value) in values.iter_mut().enumerate() {
            value.value = form(index);
        }
        values
    })
}

prop_compose! {
    fn some_name()(
        formatted in some_text(), family_name in ".+", given_name in some_text(),
        middle_name in some_text(), honorific_prefix in some_text(), honorific_suffix in some_text(),
    ) -> PersonName {
        PersonName {
            formatted, family_name, given_name, middle_name, honorific_prefix, honorific_suffix,
        }
    }
}

prop_compose! {
    fn some_enterprise()(
        employee_number in ".+", cost_center in some_text(), organization in some_text(),
        division in some_text(), department in some_text(),
        manager in proptest::option::of((".+", some_uri(), some_text())),
    ) -> Enterprise {
        let manager = manager.map(|(value, r#ref, display_name)| Manager { value, r#ref, display_name });
        Enterprise { employee_number, cost_center, organization, division, department, manager }
    }
}

prop_compose! {
    fn some_address()(
        formatted in some_text(), locality in ".+", r#type in some_text(), primary in any::<Option<bool>>(),
    ) -> PostalAddress {
        PostalAddress { formatted, locality, r#type, primary, ..PostalAddress::default() }
    }
}

prop_compose! {
    fn some_profile()(
        name in proptest::option::of(some_name()),
        texts in proptest::array::uniform7(some_text()),
        profile_url in some_uri(),
        emails in some_values(), phone_numbers in some_values(), instant_messengers in some_values(),
        photos in some_values_like(|index| format!("../photos/{index}")),
        certificates in some_values_like(|index| format!("AAA{index}")),
        address in proptest::option::of(some_address()),
        enterprise in proptest::option::of(some_enterprise()),
    ) -> MemberProfile {
        let [display_name, nick_name, title, user_type, preferred_language, locale, time_zone] = texts;
        MemberProfile {
            name, display_name, nick_name, profile_url, title, user_type, preferred_language,
            locale, time_zone, emails, phone_numbers, instant_messengers, photos,
            addresses: address.into_iter().collect(),
            certificates, enterprise, removed: None,
        }
    }
}

fn some_ids() -> impl Strategy<Value = Vec<NamedRef>> {
    proptest::collection::btree_set(".+", 0..3).prop_map(|ids| {
        ids.into_iter()
            .map(|id| NamedRef {
                name: format!("name of {id}"),
                id,
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn putting_back_what_was_shown_changes_nothing(
        profile in some_profile(), user_name in ".+", external_id in some_text(), active in any::<bool>(),
        explicit in any::<bool>(), roles in some_ids(), business_entities in some_ids(),
    ) {
        let ids = |refs: &[NamedRef]| -> Vec<String> { refs.iter().map(|named| named.id.clone()).collect() };
        let wanted = (ids(&roles), ids(&business_entities));
        let mut member = Member {
            user_name, external_id, active, profile: Some(profile),
            entitlements: Some(Entitlements { roles, business_entities }), ..member()
        };
        if explicit {
            member.profile.get_or_insert_default().emails = vec![email(&member.user_name)];
        }
        let mut back = put_back(&member);
        if member.profile.as_ref().is_some_and(|profile| profile.emails.is_empty()) {
            // The derived address, which identity recognises.
            prop_assert_eq!(&back.profile.emails, &[email(&member.user_name)]);
            back.profile.emails.clear();
        }
        prop_assert_eq!(&back.user_name, &member.user_name);
        prop_assert_eq!(&back.external_id, &member.external_id);
        prop_assert_eq!(back.active, Some(member.active));
        prop_assert_eq!(Some(back.profile), member.profile.clone());
        prop_assert_eq!(&(back.roles, back.business_entities), &wanted);
        // And a PATCH that changes nothing else keeps the rest.
        let touched = patched(&member, json!([{"op": "replace", "value": {"id": "x"}}]));
        prop_assert_eq!(Some(touched.profile), member.profile);
        prop_assert_eq!((touched.roles, touched.business_entities), wanted);
    }
}
