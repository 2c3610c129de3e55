//! The made-up company of the demonstration, as the CSV files say.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::okta::Profile;

const PEOPLE: &str = include_str!("../../company/people.csv");
const GROUPS: &str = include_str!("../../company/groups.csv");

/// A company: its groups and its people, as they are at first and as they are in the end.
#[derive(Debug)]
pub(super) struct Company {
    pub(super) groups: Vec<Group>,
    pub(super) people: Vec<Person>,
}

/// A line of `groups.csv`.
#[derive(Debug, Deserialize)]
pub(super) struct Group {
    /// The name at first, without the prefix and the domain: `ROLE/Analyst`.
    pub(super) name: String,
    /// The name in the end.
    pub(super) final_name: String,
    /// For a custom role (the one of the final name): the built-in role whose permissions it gets.
    pub(super) custom_like: String,
}

/// A line of `people.csv`.
#[derive(Debug, Deserialize)]
pub(super) struct Person {
    pub(super) user_name: String,
    pub(super) given_name: String,
    pub(super) family_name: String,
    pub(super) title: String,
    pub(super) department: String,
    groups: String,
    pub(super) final_family_name: String,
    pub(super) final_title: String,
    final_groups: String,
    leaves: String,
}

impl Company {
    /// The company of the CSV files.
    pub(super) fn load() -> Result<Self> {
        let company = Self {
            groups: rows(GROUPS)?,
            people: rows(PEOPLE)?,
        };
        company.check()?;
        Ok(company)
    }

    /// Holds the two files to each other.
    fn check(&self) -> Result<()> {
        let first: BTreeSet<&str> = self
            .groups
            .iter()
            .map(|group| group.name.as_str())
            .collect();
        let last: BTreeSet<&str> = self
            .groups
            .iter()
            .map(|group| group.final_name.as_str())
            .collect();
        for person in &self.people {
            let unknown = person
                .groups()
                .find(|group| !first.contains(group))
                .or_else(|| person.final_groups().find(|group| !last.contains(group)));
            if let Some(group) = unknown {
                bail!(
                    "{} is in {group}, which groups.csv does not have",
                    person.user_name
                );
            }
        }
        Ok(())
    }
}

fn rows<T: for<'a> Deserialize<'a>>(text: &str) -> Result<Vec<T>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader
        .deserialize()
        .collect::<Result<_, _>>()
        .context("the company's CSV can't be read")
}

impl Group {
    /// Whether the group gives a role; a business entity if not.
    pub(super) fn is_role(&self) -> bool {
        self.name.starts_with("ROLE/")
    }
}

/// The name of a role or business entity in a group's name.
pub(super) fn target(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, target)| target)
}

impl Person {
    /// The groups at first.
    pub(super) fn groups(&self) -> impl Iterator<Item = &str> {
        list(&self.groups)
    }

    /// The groups in the end.
    pub(super) fn final_groups(&self) -> impl Iterator<Item = &str> {
        list(&self.final_groups)
    }

    /// Whether the person is deactivated, for good or for a while.
    pub(super) fn leaves(&self) -> bool {
        !self.leaves.is_empty()
    }

    /// Whether the person is reactivated after that.
    pub(super) fn returns(&self) -> bool {
        self.leaves == "for a while"
    }

    /// Whether the profile changes.
    pub(super) fn changes_profile(&self) -> bool {
        self.profile() != self.final_profile()
    }

    /// The profile at first.
    pub(super) fn profile(&self) -> Profile {
        Profile {
            okta_id: okta_id(&self.user_name),
            user_name: self.user_name.clone(),
            given_name: self.given_name.clone(),
            family_name: self.family_name.clone(),
            title: self.title.clone(),
            department: self.department.clone(),
        }
    }

    /// The profile in the end.
    pub(super) fn final_profile(&self) -> Profile {
        Profile {
            family_name: self.final_family_name.clone(),
            title: self.final_title.clone(),
            ..self.profile()
        }
    }

    /// What the CSV says of the person in the end.
    pub(super) fn expected(&self) -> Standing {
        let active = !self.leaves() || self.returns();
        let mut standing = Standing {
            active,
            family_name: self.final_family_name.clone(),
            title: self.final_title.clone(),
            ..Standing::default()
        };
        for group in self.final_groups().filter(|_| active) {
            let target = target(group).to_owned();
            match group.starts_with("ROLE/") {
                true => standing.roles.insert(target),
                false => standing.business_entities.insert(target),
            };
        }
        standing
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(';')
        .map(str::trim)
        .filter(|group| !group.is_empty())
}

/// An id like Okta's: `00u` and 17 characters, the same in each run.
fn okta_id(user_name: &str) -> String {
    let hash = user_name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("00u{hash:016x}d")
}

/// How a person stands: what the CSV says, or what identity does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) active: bool,
    pub(super) family_name: String,
    pub(super) title: String,
    pub(super) roles: BTreeSet<String>,
    pub(super) business_entities: BTreeSet<String>,
}

impl Standing {
    /// Where two accounts of one person differ, in words.
    pub(super) fn differences(&self, actual: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, expected: String, actual: String| {
            if expected != actual {
                found.push(format!(
                    "{what}: the CSV says {expected}, identity says {actual}"
                ));
            }
        };
        let state = |active| if active { "active" } else { "inactive" }.to_owned();
        compare("state", state(self.active), state(actual.active));
        compare("roles", joined(&self.roles), joined(&actual.roles));
        compare(
            "business entities",
            joined(&self.business_entities),
            joined(&actual.business_entities),
        );
        compare(
            "family name",
            self.family_name.clone(),
            actual.family_name.clone(),
        );
        compare("title", self.title.clone(), actual.title.clone());
        found
    }
}

/// Names in one line.
pub(super) fn joined(names: &BTreeSet<String>) -> String {
    match names.is_empty() {
        true => "-".to_owned(),
        false => names
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// People by the group they are in.
pub(super) fn by_group<'a>(
    people: &'a [Person],
    groups: impl Fn(&'a Person) -> Vec<&'a str>,
) -> BTreeMap<&'a str, Vec<&'a Person>> {
    let mut found: BTreeMap<&str, Vec<&Person>> = BTreeMap::new();
    for person in people {
        for group in groups(person) {
            found.entry(group).or_default().push(person);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_company_has_200_people_and_12_groups() {
        let company = Company::load().unwrap();
        assert_eq!(company.people.len(), 200);
        assert_eq!(company.groups.len(), 12);
        let names: BTreeSet<String> = company
            .people
            .iter()
            .map(|person| person.user_name.to_lowercase())
            .collect();
        assert_eq!(names.len(), 200);
        // Each step of the demonstration has something to do.
        assert!(
            company
                .groups
                .iter()
                .any(|group| group.name != group.final_name)
        );
        assert!(company.people.iter().any(Person::changes_profile));
        assert!(
            company
                .people
                .iter()
                .any(|person| person.leaves() && !person.returns())
        );
        assert!(company.people.iter().any(Person::returns));
    }

    #[test]
    fn someone_who_left_for_good_has_nothing() {
        let company = Company::load().unwrap();
        let gone = company
            .people
            .iter()
            .find(|person| person.leaves() && !person.returns());
        let standing = gone.unwrap().expected();
        assert!(!standing.active && standing.roles.is_empty());
    }

    #[test]
    fn differences_are_told_in_words() {
        let expected = Standing {
            active: true,
            roles: ["Admin".to_owned()].into(),
            ..Standing::default()
        };
        let actual = Standing {
            active: true,
            ..Standing::default()
        };
        assert_eq!(
            expected.differences(&actual),
            ["roles: the CSV says Admin, identity says -"]
        );
        assert!(expected.differences(&expected).is_empty());
    }
}
