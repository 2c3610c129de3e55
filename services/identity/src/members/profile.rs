//! What is known about a person beside the user name: checked once, kept as JSON under the contract's
//! field names.

use std::collections::HashSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use identity_proto::v1 as pb;
use iri_string::types::IriReferenceStr;
use serde_json::Value;

use crate::{
    error::Error,
    names::{Name, check_key, fold, key},
};

/// The most bytes of a single text.
const TEXT_MAX: usize = 4096;
/// The most bytes of a text that members are found by: an e-mail address or a display name.
const FOUND_BY_MAX: usize = 1024;
/// The most bytes of a picture's URL or a certificate.
const LONG_TEXT_MAX: usize = 64 * 1024;
/// The most entries of a list.
const LIST_MAX: usize = 100;
/// The most bytes of the whole, as JSON.
const PROFILE_MAX: usize = 256 * 1024;

/// A checked profile.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Profile(pb::MemberProfile);

impl Profile {
    /// Checks a profile that a caller sent.
    pub(crate) fn read(mut profile: pb::MemberProfile) -> Result<Self, Error> {
        // A part with nothing in it is the same as no part.
        profile.name = profile
            .name
            .filter(|name| *name != pb::PersonName::default());
        if let Some(enterprise) = &mut profile.enterprise {
            enterprise.manager = enterprise
                .manager
                .take()
                .filter(|manager| *manager != pb::Manager::default());
        }
        profile.enterprise = profile
            .enterprise
            .filter(|enterprise| *enterprise != pb::Enterprise::default());
        let profile = Self(profile).settled().0;
        check_lists(&profile)?;
        let profile = Self(profile);
        let json = profile.to_json();
        check_texts(&json, "profile")?;
        let size = json.to_string().len();
        if size > PROFILE_MAX {
            return Err(Error::invalid(
                "profile",
                format!("is {size} bytes long; the limit is {PROFILE_MAX}"),
            ));
        }
        Ok(profile)
    }

    /// As it is kept: JSON without what is empty.
    pub(crate) fn to_json(&self) -> Value {
        // Texts, flags, lists and objects with text keys: always JSON.
        without_empty(serde_json::to_value(&self.0).unwrap_or_default())
            .unwrap_or_else(|| Value::Object(serde_json::Map::new()))
    }

    pub(crate) fn from_json(json: Value) -> Result<Self, Error> {
        serde_json::from_value(json)
            .map(Self)
            .map_err(|error| Error::Internal(Box::new(error)))
    }

    pub(crate) fn into_proto(self) -> pb::MemberProfile {
        self.0
    }

    pub(crate) fn has_full_name(&self) -> bool {
        self.0.name.as_ref().is_some_and(|name| {
            !name.given_name.trim().is_empty() && !name.family_name.trim().is_empty()
        })
    }

    /// What a client removed of what is assumed.
    fn removed(&self) -> pb::Removed {
        self.0.removed.unwrap_or_default()
    }

    fn set_removed(&mut self, removed: pb::Removed) {
        self.0.removed = Some(removed).filter(|removed| *removed != pb::Removed::default());
    }

    /// Without a word of removed addresses where there are some.
    fn settled(mut self) -> Self {
        let removed = self.removed();
        self.set_removed(pb::Removed {
            emails: removed.emails && self.0.emails.is_empty(),
            ..removed
        });
        self
    }

    /// This profile as the successor of `before`, for a member with this user name. A member without
    /// addresses shows its user name as primary work address; a caller who puts that back as it was
    /// shown has not given the member an address. Where that was removed, it stays so until there is one.
    pub(crate) fn succeeding(mut self, before: &Self, user_name: &Name) -> Self {
        let derived = pb::LabelledValue {
            value: user_name.as_str().to_owned(),
            r#type: "work".to_owned(),
            primary: Some(true),
            ..pb::LabelledValue::default()
        };
        if before.derives_address() && self.0.emails == [derived] {
            self.0.emails.clear();
        }
        let removed = self.removed();
        self.set_removed(pb::Removed {
            emails: removed.emails || before.removed().emails,
            ..removed
        });
        self.settled()
    }

    /// Leaves hidden that the member is active, where it was.
    pub(crate) fn keep_activity_hidden(&mut self, before: &Self) {
        let removed = self.removed();
        self.set_removed(pb::Removed {
            active: removed.active || before.removed().active,
            ..removed
        });
    }

    /// Shows whether the member is active.
    pub(crate) fn show_activity(&mut self) {
        let removed = self.removed();
        self.set_removed(pb::Removed {
            active: false,
            ..removed
        });
    }

    /// Whether the user name is shown as the address.
    fn derives_address(&self) -> bool {
        self.0.emails.is_empty() && !self.removed().emails
    }

    /// The keys by which the member is found by e-mail address: the user name's where that is shown.
    pub(crate) fn email_keys(&self, user_name: &Name) -> Vec<String> {
        if self.derives_address() {
            return vec![user_name.key().to_owned()];
        }
        let mut keys: Vec<String> = self
            .0
            .emails
            .iter()
            .map(|email| key(&email.value))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The profile as it is searched: every text folded, and with the address that is shown where
    /// there is none.
    pub(crate) fn folded(&self, user_name: &Name) -> Value {
        let mut json = self.to_json();
        fold_texts(&mut json);
        if self.derives_address()
            && let Value::Object(fields) = &mut json
        {
            let derived = serde_json::json!([
                { "value": fold(user_name.as_str()), "type": "work", "primary": true }
            ]);
            fields.insert("emails".to_owned(), derived);
        }
        json
    }

    /// The key by which the member is found by display name.
    pub(crate) fn display_name_key(&self) -> Option<String> {
        (!self.0.display_name.is_empty()).then(|| key(&self.0.display_name))
    }
}

fn fold_texts(value: &mut Value) {
    match value {
        Value::String(text) => *text = fold(text),
        Value::Array(values) => values.iter_mut().for_each(fold_texts),
        Value::Object(fields) => fields.values_mut().for_each(fold_texts),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn check_lists(profile: &pb::MemberProfile) -> Result<(), Error> {
    let lists = [
        ("profile.emails", &profile.emails),
        ("profile.phone_numbers", &profile.phone_numbers),
        ("profile.instant_messengers", &profile.instant_messengers),
        ("profile.photos", &profile.photos),
        ("profile.certificates", &profile.certificates),
    ];
    for (field, list) in lists {
        check_list(
            field,
            list.len(),
            list.iter().filter(|value| value.primary()).count(),
        )?;
        // Case counts in a URL and in bytes.
        let exact = ["profile.photos", "profile.certificates"].contains(&field);
        let form = |text: &str| if exact { text.to_owned() } else { fold(text) };
        let labels = list.iter();
        check_distinct(
            field,
            labels.map(|value| [form(&value.value), fold(&value.r#type)]),
        )?;
    }
    let addresses = &profile.addresses;
    let primaries = addresses.iter().filter(|address| address.primary()).count();
    check_list("profile.addresses", addresses.len(), primaries)?;
    let labels = addresses.iter().map(|address| {
        [
            &address.formatted,
            &address.street_address,
            &address.locality,
            &address.region,
            &address.postal_code,
            &address.country,
            &address.r#type,
        ]
        .map(|text| fold(text))
    });
    check_distinct("profile.addresses", labels)
}

/// No value stands in a list twice under the same label.
fn check_distinct<const N: usize>(
    field: &str,
    labels: impl Iterator<Item = [String; N]>,
) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for label in labels {
        if !seen.insert(label) {
            return Err(Error::invalid(
                field,
                "has the same value of the same type twice",
            ));
        }
    }
    Ok(())
}

fn check_list(field: &str, length: usize, primaries: usize) -> Result<(), Error> {
    if length > LIST_MAX {
        return Err(Error::invalid(
            field,
            format!("has {length} entries; the limit is {LIST_MAX}"),
        ));
    }
    if primaries > 1 {
        return Err(Error::invalid(field, "has more than one primary entry"));
    }
    Ok(())
}

fn check_texts(value: &Value, field: &str) -> Result<(), Error> {
    match value {
        Value::String(text) => {
            let most = match field {
                "profile.photos.value" | "profile.certificates.value" => LONG_TEXT_MAX,
                "profile.emails.value" | "profile.display_name" => {
                    check_key(field, &key(text))?;
                    FOUND_BY_MAX
                }
                _ => TEXT_MAX,
            };
            if text.len() > most {
                return Err(Error::invalid(
                    field,
                    format!("is {} bytes long; the limit is {most}", text.len()),
                ));
            }
            if text.contains('\0') {
                return Err(Error::invalid(field, "must not contain a NUL character"));
            }
            check_form(text, field)
        }
        Value::Array(values) => values
            .iter()
            .try_for_each(|value| check_texts(value, field)),
        Value::Object(fields) => fields
            .iter()
            .try_for_each(|(name, value)| check_texts(value, &format!("{field}.{name}"))),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// What is shown as a URL must be one, and what is shown as bytes must be base64: a client that puts back what it
/// was shown would be refused otherwise.
fn check_form(text: &str, field: &str) -> Result<(), Error> {
    let (good, what) = match field {
        "profile.profile_url" | "profile.photos.value" | "profile.enterprise.manager.ref" => {
            (IriReferenceStr::new(text).is_ok(), "must be a URI")
        }
        "profile.certificates.value" => (STANDARD.decode(text).is_ok(), "must be base64"),
        _ => return Ok(()),
    };
    if good {
        Ok(())
    } else {
        Err(Error::invalid(field, what))
    }
}

/// What is left of `value` without nulls, empty texts and what holds nothing else. An entry
/// of a list stays, so that lists keep their length.
fn without_empty(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::Array(values) if values.is_empty() => None,
        Value::Array(values) => Some(Value::Array(
            values
                .into_iter()
                .map(|value| without_empty(value).unwrap_or_else(|| serde_json::json!({})))
                .collect(),
        )),
        Value::Object(fields) => {
            let fields: serde_json::Map<_, _> = fields
                .into_iter()
                .filter_map(|(name, value)| Some((name, without_empty(value)?)))
                .collect();
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, primary: bool) -> pb::LabelledValue {
        pb::LabelledValue {
            value: text.to_owned(),
            primary: primary.then_some(true),
            ..pb::LabelledValue::default()
        }
    }

    #[test]
    fn a_profile_is_kept_without_what_is_empty_and_read_back_the_same() {
        let profile = Profile::read(pb::MemberProfile {
            name: Some(pb::PersonName {
                given_name: "Ann".to_owned(),
                ..Default::default()
            }),
            emails: vec![value("a@b", true), value("c@d", false)],
            enterprise: Some(pb::Enterprise::default()),
            ..Default::default()
        })
        .unwrap();
        let json = profile.to_json();
        assert_eq!(
            json,
            serde_json::json!({
                "name": { "given_name": "Ann" },
                "emails": [{ "value": "a@b", "primary": true }, { "value": "c@d" }],
            })
        );
        assert_eq!(Profile::from_json(json).unwrap(), profile);
        assert_eq!(Profile::default().to_json(), serde_json::json!({}));
    }

    #[test]
    fn limits_name_what_they_are() {
        let long = pb::MemberProfile {
            title: "x".repeat(TEXT_MAX + 1),
            ..Default::default()
        };
        assert_eq!(
            Profile::read(long).unwrap_err().to_string(),
            "profile.title is 4097 bytes long; the limit is 4096"
        );
        let many = pb::MemberProfile {
            emails: vec![value("a@b", false); 101],
            ..Default::default()
        };
        assert!(
            Profile::read(many)
                .unwrap_err()
                .to_string()
                .contains("the limit is 100")
        );
        let two = pb::MemberProfile {
            emails: vec![value("a@b", true); 2],
            ..Default::default()
        };
        assert!(
            Profile::read(two)
                .unwrap_err()
                .to_string()
                .contains("more than one primary")
        );
        let name = pb::MemberProfile {
            display_name: "x".repeat(1025),
            ..Default::default()
        };
        assert!(
            Profile::read(name)
                .unwrap_err()
                .to_string()
                .ends_with("the limit is 1024")
        );
        // One character that folds to eighteen.
        let folding = pb::MemberProfile {
            display_name: "\u{fdfa}".repeat(300),
            ..Default::default()
        };
        assert!(
            Profile::read(folding)
                .unwrap_err()
                .to_string()
                .contains("case-folded")
        );
        let nul = pb::MemberProfile {
            title: "a\0b".to_owned(),
            ..Default::default()
        };
        assert!(Profile::read(nul).is_err());
        let twice = pb::MemberProfile {
            emails: vec![value("A@b", true), value("a@B", false)],
            ..Default::default()
        };
        assert_eq!(
            Profile::read(twice).unwrap_err().to_string(),
            "profile.emails has the same value of the same type twice"
        );
    }

    #[test]
    fn what_has_a_form_must_have_it() {
        let read = |url: &str, photo: &str, certificate: &str| {
            Profile::read(pb::MemberProfile {
                profile_url: url.to_owned(),
                photos: vec![value(photo, false), value(&photo.to_uppercase(), false)],
                certificates: vec![value(certificate, false)],
                ..Default::default()
            })
        };
        assert!(read("../é?x#y", "https://x/a", "AAAA").is_ok());
        for (url, photo, certificate, refused) in [
            ("no uri", "p", "AAAA", "profile.profile_url must be a URI"),
            ("", "http://[", "AAAA", "profile.photos.value must be a URI"),
            ("", "p", "A!", "profile.certificates.value must be base64"),
        ] {
            let error = read(url, photo, certificate).unwrap_err();
            assert_eq!(error.to_string(), refused);
        }
    }

    #[test]
    fn the_derived_address_put_back_is_no_address() {
        let user_name = Name::user_name("Ann@Acme.example").unwrap();
        let derived = pb::LabelledValue {
            value: "Ann@Acme.example".to_owned(),
            r#type: "work".to_owned(),
            primary: Some(true),
            ..Default::default()
        };
        let put = Profile(pb::MemberProfile {
            emails: vec![derived],
            ..Default::default()
        });
        assert_eq!(
            put.clone().succeeding(&Profile::default(), &user_name),
            Profile::default()
        );
        // Who had it of its own keeps it, and so does who says another name's.
        assert_eq!(put.clone().succeeding(&put, &user_name), put);
        let renamed = Name::user_name("ann.lee@acme.example").unwrap();
        assert_eq!(put.clone().succeeding(&Profile::default(), &renamed), put);
    }

    #[test]
    fn a_removed_address_stays_away_until_one_is_given() {
        let user_name = Name::user_name("ann@acme.example").unwrap();
        let removed = Profile::read(pb::MemberProfile {
            removed: Some(pb::Removed {
                emails: true,
                active: false,
            }),
            ..Default::default()
        })
        .unwrap();
        assert!(removed.email_keys(&user_name).is_empty());
        assert_eq!(removed.folded(&user_name).get("emails"), None);
        let titled = Profile(pb::MemberProfile {
            title: "T".to_owned(),
            ..Default::default()
        });
        let after = titled.succeeding(&removed, &user_name);
        assert!(after.email_keys(&user_name).is_empty());
        // Nothing was shown, so this is no address that is put back.
        let mut own = value("ann@acme.example", true);
        own.r#type = "work".to_owned();
        let given = Profile(pb::MemberProfile {
            emails: vec![own.clone()],
            ..Default::default()
        });
        let after = given.clone().succeeding(&removed, &user_name);
        assert_eq!(after, given);
        assert_eq!(
            Profile::default().succeeding(&after, &user_name),
            Profile::default()
        );
    }

    #[test]
    fn activity_stays_hidden_until_it_is_said() {
        let hidden = Profile(pb::MemberProfile {
            removed: Some(pb::Removed {
                emails: false,
                active: true,
            }),
            ..Default::default()
        });
        let mut next = Profile::default();
        next.keep_activity_hidden(&hidden);
        assert_eq!(next, hidden);
        next.show_activity();
        assert_eq!(next, Profile::default());
    }

    #[test]
    fn without_addresses_the_user_name_is_the_address() {
        let user_name = Name::user_name("Ann@Acme.example").unwrap();
        assert_eq!(
            Profile::default().email_keys(&user_name),
            ["ann@acme.example"]
        );
        let profile = pb::MemberProfile {
            emails: vec![value("X@Y", false)],
            ..Default::default()
        };
        assert_eq!(Profile(profile).email_keys(&user_name), ["x@y"]);
    }
}
