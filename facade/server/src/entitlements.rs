//! Why identity refused what stands in a user's `roles` or `entitlements`, for the administrator who will read
//! it. Only a refusal pays for looking up what there is.

use group_convention::MAX_NAME;
use identity_proto::v1::{Entitlements, ListBusinessEntitiesRequest, ListRolesRequest, NamedRef};
use roster_folding::key;
use scim_protocol::entitlement::{BUSINESS_ENTITY, ROLE};
use serde_json::Value;
use tonic::Status;

use crate::{
    admission::Call,
    refusal::{Refusal, is_of_entitlements},
    translate::catalogue::is_owner,
};

/// How many values one message speaks of.
const EXPLAINED: usize = 5;

/// How much of a value a message repeats, in characters.
const REPEATED: usize = 100;

/// How many names a message suggests for one value.
const SUGGESTED: usize = 3;

/// An attribute, and what its values can be.
struct Choice {
    attribute: &'static str,
    /// What one of them is called.
    noun: &'static str,
    endpoint: &'static str,
    known: Vec<NamedRef>,
    owner: Option<NamedRef>,
}

/// The refusal of a write, in terms of the values `sent` where it is about them.
pub(crate) async fn refusal(call: &Call, sent: Option<&Entitlements>, status: Status) -> Refusal {
    let mut refusal = Refusal::from(status.clone());
    let Some(sent) = sent.filter(|_| is_of_entitlements(&status)) else {
        return refusal;
    };
    let mut sentences = Vec::new();
    if !sent.roles.is_empty()
        && let Ok(answer) = call.caller.list_roles(ListRolesRequest::default()).await
    {
        let (mut known, mut owner) = (Vec::new(), None);
        for role in answer.roles {
            let is_owner = is_owner(&role);
            let named = NamedRef {
                id: role.id,
                name: role.name,
            };
            if is_owner {
                owner = Some(named);
            } else {
                known.push(named);
            }
        }
        let choice = Choice {
            attribute: "roles",
            noun: "role",
            endpoint: ROLE.endpoint,
            known,
            owner,
        };
        sentences.extend(choice.explain(&sent.roles));
    }
    if !sent.business_entities.is_empty()
        && let Ok(answer) = call
            .caller
            .list_business_entities(ListBusinessEntitiesRequest::default())
            .await
    {
        let entities = answer.business_entities.into_iter();
        let choice = Choice {
            attribute: "entitlements",
            noun: "business entity",
            endpoint: BUSINESS_ENTITY.endpoint,
            known: entities
                .map(|entity| NamedRef {
                    id: entity.id,
                    name: entity.name,
                })
                .collect(),
            owner: None,
        };
        sentences.extend(choice.explain(&sent.business_entities));
    }
    if !sentences.is_empty() {
        refusal.error.detail = sentences.join(" ");
    }
    refusal
}

impl Choice {
    /// A sentence for each value that can't be given, up to a number.
    fn explain(&self, sent: &[NamedRef]) -> Vec<String> {
        let wrong: Vec<&str> = sent
            .iter()
            .map(|named| named.id.as_str())
            .filter(|value| {
                let is_it = |known: &NamedRef| known.id == *value;
                !self.known.iter().any(is_it)
            })
            .collect();
        let mut sentences: Vec<String> = wrong
            .iter()
            .take(EXPLAINED)
            .map(|value| self.sentence(value))
            .collect();
        if wrong.len() > EXPLAINED {
            let more = wrong.len() - EXPLAINED;
            sentences.push(format!("{}: {more} more likewise.", self.attribute));
        }
        if !sentences.is_empty() {
            sentences.push(format!(
                "Each value is the id of a {}, as {} lists them.",
                self.noun, self.endpoint
            ));
        }
        sentences
    }

    fn sentence(&self, value: &str) -> String {
        let Self {
            attribute, noun, ..
        } = self;
        // What is longer than any name is none.
        let folded = Some(value).filter(|value| value.len() <= MAX_NAME).map(key);
        let folded = folded.unwrap_or_default();
        if let Some(owner) = &self.owner
            && (owner.id == value || key(&owner.name) == folded)
        {
            let instead = self.known.iter().find(|role| role.name == "Admin");
            let instead = instead.map_or_else(String::new, |admin| {
                format!(", or give Admin (id {:?}) instead", admin.id)
            });
            return format!(
                "{attribute}: Owner can't be given here; an Owner is made in Roster. Take it out{instead}."
            );
        }
        let shown: String = value.chars().take(REPEATED).collect();
        let shown = if shown.len() < value.len() {
            format!("{shown:?}...")
        } else {
            format!("{shown:?}")
        };
        if matches!(serde_json::from_str(value), Ok(Value::Object(_))) {
            return format!(
                "{attribute}: {shown} is a JSON document within a text; send the id of the {noun} alone."
            );
        }
        let by_name = |known: &&NamedRef| key(&known.name) == folded;
        if let Some(named) = self.known.iter().find(by_name) {
            return format!(
                "{attribute}: {shown} is the name of a {noun}; send its id, {:?}.",
                named.id
            );
        }
        // What is longer than any name is close to none, and takes its length times theirs to compare.
        let comparable = self.known.iter().filter(|_| value.len() <= MAX_NAME);
        let mut close: Vec<(f64, &NamedRef)> = comparable
            .map(|known| {
                let likeness = strsim::jaro_winkler(&folded, &key(&known.name));
                (likeness, known)
            })
            .filter(|(likeness, _)| *likeness > 0.85)
            .collect();
        close.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let close: Vec<String> = close
            .iter()
            .take(SUGGESTED)
            .map(|(_, known)| format!("{:?} (id {:?})", known.name, known.id))
            .collect();
        let hint = if close.is_empty() {
            String::new()
        } else {
            format!(" Did you mean {}?", close.join(" or "))
        };
        format!("{attribute}: this site has no {noun} with the id {shown}.{hint}")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn named(id: &str, name: &str) -> NamedRef {
        NamedRef {
            id: id.to_owned(),
            name: name.to_owned(),
        }
    }

    /// What is said of these values on a site with the roles Analyst and Admin.
    pub(crate) fn explain(values: &[&str]) -> String {
        let choice = Choice {
            attribute: "roles",
            noun: "role",
            endpoint: "/Roles",
            known: vec![named("r1", "Analyst"), named("r2", "Admin")],
            owner: Some(named("r0", "Owner")),
        };
        let values: Vec<NamedRef> = values.iter().map(|value| named(value, "")).collect();
        choice.explain(&values).join(" ")
    }

    #[test]
    fn what_is_wrong_is_named_with_what_was_meant() {
        assert_eq!(explain(&["r1", "r2"]), "");
        for (value, sentence) in [
            (
                "analyst",
                "roles: \"analyst\" is the name of a role; send its id, \"r1\".",
            ),
            (
                "Analist",
                "roles: this site has no role with the id \"Analist\". Did you mean \"Analyst\" (id \"r1\")?",
            ),
            // An id is written in one way.
            ("R2", "roles: this site has no role with the id \"R2\"."),
            ("x9", "roles: this site has no role with the id \"x9\"."),
            (
                "r0",
                "roles: Owner can't be given here; an Owner is made in Roster. Take it out, or give Admin \
                 (id \"r2\") instead.",
            ),
            (
                "{\"value\":\"r1\"}",
                "roles: \"{\\\"value\\\":\\\"r1\\\"}\" is a JSON document within a text; send the id of the \
                 role alone.",
            ),
        ] {
            assert_eq!(
                explain(&["r1", value]),
                format!("{sentence} Each value is the id of a role, as /Roles lists them.")
            );
        }
        assert!(explain(&["OWNER"]).contains("Owner can't be given"));
    }

    #[test]
    fn a_message_does_not_grow_without_end() {
        let long = "é".repeat(5000);
        let many = vec![long.as_str(); 30];
        let told = explain(&many);
        assert!(
            told.len() < 2500 && told.contains("25 more likewise"),
            "{told}"
        );
        // Nor is what is far too long for a name held against all names.
        let long = "analyst".repeat(140_000);
        let begun = std::time::Instant::now();
        assert!(!explain(&[&long]).contains("mean"));
        assert!(begun.elapsed() < std::time::Duration::from_secs(2));
    }
}
