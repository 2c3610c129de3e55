//! What filters and PATCHes are tried on.

use std::sync::LazyLock;

use identity_proto::v1::{
    Enterprise, Entitlements, LabelledValue, Manager, Member, MemberProfile, NamedRef, PersonName,
    PostalAddress,
};

/// A member with nothing but a user name, one as Okta makes it, and one with everything.
pub(crate) static MEMBERS: LazyLock<[Member; 3]> = LazyLock::new(|| [bare(), usual(), full()]);

/// The members of a group.
pub(crate) static GROUP: LazyLock<Vec<String>> =
    LazyLock::new(|| ["u1", "u2", "u3", "U3"].map(str::to_owned).to_vec());

fn bare() -> Member {
    Member {
        id: "u1".to_owned(),
        user_name: "ann@acme.example".to_owned(),
        active: true,
        ..Member::default()
    }
}

fn usual() -> Member {
    Member {
        external_id: "00u1".to_owned(),
        profile: Some(MemberProfile {
            name: Some(PersonName {
                given_name: "Ann".to_owned(),
                family_name: "Lee".to_owned(),
                ..PersonName::default()
            }),
            display_name: "Ann Lee".to_owned(),
            locale: "en-US".to_owned(),
            emails: vec![labelled("ann@acme.example", "work", Some(true))],
            ..MemberProfile::default()
        }),
        ..bare()
    }
}

fn full() -> Member {
    let list = |name: &str| {
        vec![
            labelled(&format!("{name}-1"), "work", Some(true)),
            labelled(&format!("{name}-2"), "home", Some(false)),
            labelled(&format!("{name}-3"), "", None),
        ]
    };
    let named = |id: &str| NamedRef {
        id: id.to_owned(),
        name: format!("The {id}"),
    };
    let address = |kind: &str| PostalAddress {
        formatted: "1 Main St\nSpringfield".to_owned(),
        locality: "Springfield".to_owned(),
        country: "US".to_owned(),
        r#type: kind.to_owned(),
        primary: (kind == "work").then_some(true),
        ..PostalAddress::default()
    };
    let text = str::to_owned;
    Member {
        active: false,
        profile: Some(MemberProfile {
            name: Some(PersonName {
                formatted: text("Dr. Ann M. Lee"),
                family_name: text("Lee"),
                given_name: text("Ann"),
                middle_name: text("M."),
                honorific_prefix: text("Dr."),
                honorific_suffix: text("III"),
            }),
            nick_name: text("Annie"),
            profile_url: text("https://acme.example/ann"),
            title: text("Straße"),
            user_type: text("Employee"),
            preferred_language: text("en"),
            time_zone: text("Europe/Berlin"),
            emails: list("email"),
            phone_numbers: list("phone"),
            instant_messengers: list("im"),
            photos: list("photo"),
            addresses: vec![address("work"), address("home")],
            certificates: vec![labelled("AAAA", "", None)],
            enterprise: Some(Enterprise {
                employee_number: text("17"),
                department: text("Sales"),
                manager: Some(Manager {
                    value: text("m1"),
                    display_name: text("Max"),
                    ..Manager::default()
                }),
                ..Enterprise::default()
            }),
            ..MemberProfile::default()
        }),
        entitlements: Some(Entitlements {
            roles: vec![named("r1"), named("r2")],
            business_entities: vec![named("e1")],
        }),
        ..usual()
    }
}

fn labelled(value: &str, kind: &str, primary: Option<bool>) -> LabelledValue {
    LabelledValue {
        value: value.to_owned(),
        r#type: kind.to_owned(),
        primary,
        ..LabelledValue::default()
    }
}
