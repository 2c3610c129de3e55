//! SCIM to the contract and back. Pure: no calls, no HTTP.

pub(crate) mod catalogue;
pub(crate) mod group;
pub(crate) mod group_patch;
pub(crate) mod query;
pub(crate) mod user;

use std::fmt::Write as _;

use serde_json::{Value, json};

/// The site as a URL names it, and the addresses of what is in it. They begin with the configured public URL,
/// never with what a request says of its host.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    base: String,
}

impl Site {
    pub(crate) fn new(public_url: &str, domain: &str) -> Self {
        Self {
            base: format!("{public_url}/{}/scim/v2", encoded(domain)),
        }
    }

    /// The Site URL, which every endpoint stands below.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The address of what has an id below an endpoint.
    pub(crate) fn below(&self, endpoint: &str, id: &str) -> String {
        format!("{}{endpoint}/{}", self.base, encoded(id))
    }

    /// The address of a member.
    pub(crate) fn user(&self, id: &str) -> String {
        self.below("/Users", id)
    }

    /// The address of a group.
    pub(crate) fn group(&self, id: &str) -> String {
        self.below("/Groups", id)
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing into a String can't fail.
            let _written = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The `meta` of a resource.
fn meta(
    resource_type: &str,
    location: String,
    tag: String,
    created: Option<prost_types::Timestamp>,
    changed: Option<prost_types::Timestamp>,
) -> Value {
    let mut meta = json!({
        "resourceType": resource_type,
        "location": location,
        "version": tag,
    });
    for (name, time) in [("created", created), ("lastModified", changed)] {
        if let Some(time) = time {
            // RFC 3339, in UTC.
            meta[name] = json!(time.to_string());
        }
    }
    meta
}

/// The names that differ by more than their spelling: SCIM's and the contract's.
const ODD_NAMES: [(&str, &str); 4] = [
    ("timezone", "time_zone"),
    ("ims", "instant_messengers"),
    ("x509Certificates", "certificates"),
    ("$ref", "ref"),
];

/// What the contract calls an attribute: `givenName` is `given_name`.
fn snake(name: &str) -> String {
    if let Some((_, ours)) = ODD_NAMES.iter().find(|(theirs, _)| *theirs == name) {
        return (*ours).to_owned();
    }
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// What SCIM calls a field of the contract: `member.profile.name.given_name` is `name.givenName`.
pub(crate) fn scim_name(field: &str) -> String {
    if let Some((_, kind)) = field.split_once("entitlements.") {
        return match kind {
            "business_entities" => "entitlements".to_owned(),
            roles => roles.to_owned(),
        };
    }
    let names: Vec<String> = field
        .split('.')
        .skip_while(|part| ["member", "group", "values", "request", "profile"].contains(part))
        .filter(|part| !["profile", "enterprise"].contains(part))
        .map(|part| {
            let (name, index) = part.split_at(part.find('[').unwrap_or(part.len()));
            let odd = ODD_NAMES.iter().find(|(_, ours)| *ours == name);
            let name = match (odd, name) {
                (Some((theirs, _)), _) => (*theirs).to_owned(),
                (None, "member_ids" | "add_member_ids" | "remove_member_ids") => {
                    "members".to_owned()
                }
                (None, other) => camel(other),
            };
            name + index
        })
        .collect();
    if names.is_empty() {
        camel(field)
    } else {
        names.join(".")
    }
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_begin_with_the_public_url() {
        let site = Site::new("https://x.example/scim", "acme");
        assert_eq!(
            site.user("u1"),
            "https://x.example/scim/acme/scim/v2/Users/u1"
        );
        let odd = Site::new("https://x", "a/b é");
        assert_eq!(odd.base(), "https://x/a%2Fb%20%C3%A9/scim/v2");
    }

    #[test]
    fn fields_have_scims_names() {
        for (field, name) in [
            ("user_name", "userName"),
            ("member.user_name", "userName"),
            ("values.profile.name.given_name", "name.givenName"),
            ("profile.emails[3].value", "emails[3].value"),
            ("profile.time_zone", "timezone"),
            ("member.profile.enterprise.manager.ref", "manager.$ref"),
            ("profile.certificates[0]", "x509Certificates[0]"),
            ("display_name", "displayName"),
            ("entitlements.roles", "roles"),
            ("member.entitlements.business_entities", "entitlements"),
            ("member_ids", "members"),
            ("profile", "profile"),
        ] {
            assert_eq!(scim_name(field), name);
        }
    }
}
