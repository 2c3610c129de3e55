#![doc = include_str!("../README.md")]
//! Reading a name needs no knowledge of the site: what was read travels with the write, and identity says whether
//! such a target exists. Where it does not, the sentence for the administrator is made here.

use identity_proto::v1::{ErrorReason, TargetByName, TargetKind};
use roster_folding::key;

/// The most names that a message lists.
const LISTED: usize = 12;

/// The longest name of a role or a business entity, in bytes.
pub const MAX_NAME: usize = 255;

/// A group's display name, and the first part that the convention's names have.
#[derive(Clone, Copy, Debug)]
pub struct Naming<'a> {
    /// The literal first part.
    pub prefix: &'a str,
    /// The display name as it was sent.
    pub display_name: &'a str,
}

/// Checks the first part that the names of the convention are to have.
///
/// # Errors
/// What is wrong with it.
pub fn prefix(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains('/') || text.trim() != text {
        return Err("expected a text without slashes and surrounding space".to_owned());
    }
    Ok(text.to_owned())
}

/// What a display name says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reading<'a> {
    /// It names a target.
    Target {
        kind: TargetKind,
        domain: &'a str,
        name: &'a str,
    },
    /// It is meant to follow the convention and does not.
    Malformed(Problem),
    /// It has nothing to do with the convention.
    Outside,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    /// The first part is not spelt like the prefix.
    Prefix,
    /// There are fewer than four parts, or an empty one.
    Parts,
    /// The third part is neither `ROLE` nor `BE`.
    Kind,
}

impl<'a> Naming<'a> {
    /// What the name says, as identity wants it.
    pub fn target(&self) -> TargetByName {
        match self.read() {
            Reading::Target { kind, domain, name } => TargetByName {
                kind: kind.into(),
                name: name.to_owned(),
                site_domain: domain.to_owned(),
            },
            Reading::Malformed(_) => TargetByName {
                kind: TargetKind::Unspecified.into(),
                ..TargetByName::default()
            },
            Reading::Outside => TargetByName {
                kind: TargetKind::None.into(),
                ..TargetByName::default()
            },
        }
    }

    fn read(&self) -> Reading<'a> {
        let text = self.display_name;
        let mut parts = text.splitn(4, '/');
        let first = parts.next().unwrap_or_default();
        let Some(domain) = parts.next() else {
            return Reading::Outside;
        };
        if first != self.prefix {
            // `cb/acme/..` and ` CB/acme/..` are meant for us; taken for outsiders they would be kept
            // by a site that keeps those, and would silently grant nothing.
            let meant = key(first) == key(self.prefix);
            return if meant {
                Reading::Malformed(Problem::Prefix)
            } else {
                Reading::Outside
            };
        }
        let (Some(kind), Some(name)) = (parts.next(), parts.next()) else {
            return Reading::Malformed(Problem::Parts);
        };
        let kind = match kind {
            "ROLE" => TargetKind::Role,
            "BE" => TargetKind::BusinessEntity,
            _ => return Reading::Malformed(Problem::Kind),
        };
        let name = name.trim();
        if name.is_empty() || domain.trim().is_empty() {
            return Reading::Malformed(Problem::Parts);
        }
        Reading::Target { kind, domain, name }
    }

    /// The name that a group of this kind would have.
    fn would_be(&self, domain: &str, kind: TargetKind, name: &str) -> String {
        let kind = if kind == TargetKind::BusinessEntity {
            "BE"
        } else {
            "ROLE"
        };
        format!("{}/{domain}/{kind}/{name}", self.prefix)
    }
}

/// The sentence for a name that identity refused: what was wrong, what was expected, which names come close.
/// `fact` gives the metadata of the error.
pub fn explain(
    reason: ErrorReason,
    fact: &dyn Fn(&str) -> String,
    naming: Option<&Naming<'_>>,
) -> String {
    let Some(naming) = naming else {
        if reason == ErrorReason::OwnerNotGrantable {
            return "The Owner role is never given by a group or an attribute of a user; an Owner is made in Roster."
                .to_owned();
        }
        return "displayName does not name a role or a business entity of this site.".to_owned();
    };
    let domain = fact("site_domain");
    let role = naming.would_be(&domain, TargetKind::Role, "<role name>");
    let entity = naming.would_be(
        &domain,
        TargetKind::BusinessEntity,
        "<business entity name>",
    );
    let either = format!("Expected {role} or {entity}.");
    let given = naming.display_name;
    let (wrong, expected) = match reason {
        ErrorReason::TargetUnknown => unknown(naming, &domain, fact, &role, &entity),
        ErrorReason::TargetOfAnotherSite => {
            let corrected = match naming.read() {
                Reading::Target { kind, name, .. } => naming.would_be(&domain, kind, name),
                _ => role,
            };
            let named = given.split('/').nth(1).unwrap_or_default();
            (
                format!("the token belongs to the site {domain}, and the name says {named:?}"),
                format!("Expected {corrected}."),
            )
        }
        ErrorReason::OwnerNotGrantable => (
            "the Owner role is never given by a group".to_owned(),
            format!("An Owner is made in Roster. Choose another role: {role}."),
        ),
        _ => {
            let wrong = match naming.read() {
                Reading::Malformed(Problem::Prefix) => {
                    format!(
                        "it must begin with {:?}, spelt exactly so",
                        format!("{}/", naming.prefix)
                    )
                }
                Reading::Malformed(Problem::Kind) => {
                    let kind = given.split('/').nth(2).unwrap_or_default();
                    format!("the third part must be ROLE or BE in capital letters, and is {kind:?}")
                }
                Reading::Malformed(Problem::Parts) => {
                    "it needs four parts with a slash between them, none empty".to_owned()
                }
                Reading::Outside | Reading::Target { .. } => {
                    "it does not say which role or business entity the group gives".to_owned()
                }
            };
            (
                wrong,
                format!("{either}{}", suggestion(naming, &domain, fact)),
            )
        }
    };
    format!(
        "Group name {given:?}: {wrong}. {expected} Rename the group in the identity provider and push it again."
    )
}

/// What to say of a name that nothing has: what is missing, then what comes close.
fn unknown(
    naming: &Naming<'_>,
    domain: &str,
    fact: &dyn Fn(&str) -> String,
    role: &str,
    entity: &str,
) -> (String, String) {
    let is_role = fact("kind") != "BUSINESS_ENTITY";
    let (what, expected) = if is_role {
        ("role", role)
    } else {
        ("business entity", entity)
    };
    let closest = fact("closest");
    let closest: Vec<String> = lines(&closest).map(|name| format!("{name:?}")).collect();
    let hint = match closest.as_slice() {
        [] => String::new(),
        [one] => format!("Did you mean {one}? "),
        [all @ .., last] => format!("Did you mean {} or {last}? ", all.join(", ")),
    };
    let name = match naming.read() {
        Reading::Target { name, .. } => name.to_owned(),
        _ => fact("name"),
    };
    (
        format!("{domain} has no {what} {name:?}"),
        format!("{hint}Expected {expected}."),
    )
}

/// For a name that is out of format: the name that was probably meant, or else those that there are.
fn suggestion(naming: &Naming<'_>, domain: &str, fact: &dyn Fn(&str) -> String) -> String {
    let (roles, entities) = (fact("roles"), fact("business_entities"));
    let known: Vec<(TargetKind, &str)> = lines(&roles)
        .map(|name| (TargetKind::Role, name))
        .chain(lines(&entities).map(|name| (TargetKind::BusinessEntity, name)))
        .collect();
    let last = naming
        .display_name
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .trim()
        .to_lowercase();
    // What is longer than any name is close to none, and takes its length times theirs to compare.
    let comparable = known.iter().filter(|_| last.len() <= MAX_NAME);
    let best = comparable
        .map(|&(kind, name)| {
            (
                strsim::jaro_winkler(&last, &name.to_lowercase()),
                kind,
                name,
            )
        })
        .filter(|&(likeness, ..)| likeness > 0.85)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    if let Some((_, kind, name)) = best {
        return format!(" Did you mean {:?}?", naming.would_be(domain, kind, name));
    }
    let list = |kind, label: &str| {
        let names: Vec<&str> = known
            .iter()
            .filter(|known| known.0 == kind)
            .map(|known| known.1)
            .collect();
        match names.len() {
            0 => String::new(),
            more if more > LISTED => format!(" {label}: {}, and more.", names[..LISTED].join(", ")),
            _ => format!(" {label}: {}.", names.join(", ")),
        }
    };
    format!(
        "{}{}",
        list(TargetKind::Role, "Roles"),
        list(TargetKind::BusinessEntity, "Business entities")
    )
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naming(display_name: &str) -> Naming<'_> {
        Naming {
            prefix: "CB",
            display_name,
        }
    }

    fn target(display_name: &str) -> (TargetKind, String, String) {
        let target = naming(display_name).target();
        (target.kind(), target.site_domain, target.name)
    }

    #[test]
    fn names_of_the_convention_name_a_target() {
        for (text, kind, domain, name) in [
            (
                "CB/acme/ROLE/Sales Manager",
                TargetKind::Role,
                "acme",
                "Sales Manager",
            ),
            (
                "CB/ACME/BE/EU GmbH",
                TargetKind::BusinessEntity,
                "ACME",
                "EU GmbH",
            ),
            (
                "CB/acme/BE/ A/B/C ",
                TargetKind::BusinessEntity,
                "acme",
                "A/B/C",
            ),
            ("CB/acme/ROLE/日本/x", TargetKind::Role, "acme", "日本/x"),
        ] {
            assert_eq!(
                target(text),
                (kind, domain.to_owned(), name.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_meant_to_follow_it_and_does_not_is_no_outsider() {
        for text in [
            "cb/acme/ROLE/Admin",
            " CB/acme/ROLE/Admin",
            "CB/acme",
            "CB/",
            "CB/acme/ROLE",
            "CB/acme/ROLE/",
            "CB/acme/ROLE/  ",
            "CB//ROLE/Admin",
            "CB/acme/role/Admin",
            "CB/acme/Roles/Admin",
            "CB/acme//Admin",
        ] {
            assert_eq!(target(text).0, TargetKind::Unspecified, "{text}");
        }
        for text in [
            "Everyone",
            "CB",
            "CB acme ROLE Admin",
            "CBX/acme/ROLE/Admin",
            "",
            "/CB/acme",
        ] {
            assert_eq!(target(text).0, TargetKind::None, "{text}");
        }
    }

    fn said(reason: ErrorReason, display_name: &str, facts: &[(&str, &str)]) -> String {
        let fact = |name: &str| {
            let found = facts.iter().find(|fact| fact.0 == name);
            found.map(|fact| fact.1.to_owned()).unwrap_or_default()
        };
        explain(reason, &fact, Some(&naming(display_name)))
    }

    const SITE: (&str, &str) = ("site_domain", "acme");

    #[test]
    fn an_unknown_name_is_answered_with_the_closest() {
        let facts = |closest| {
            [
                SITE,
                ("kind", "ROLE"),
                ("name", "Analist"),
                ("closest", closest),
            ]
        };
        assert_eq!(
            said(
                ErrorReason::TargetUnknown,
                "CB/acme/ROLE/Analist",
                &facts("Analyst")
            ),
            "Group name \"CB/acme/ROLE/Analist\": acme has no role \"Analist\". Did you mean \
             \"Analyst\"? Expected CB/acme/ROLE/<role name>. Rename the group in the identity provider and push it again."
        );
        let two = said(
            ErrorReason::TargetUnknown,
            "CB/acme/ROLE/Sales",
            &facts("Sales Agent\nSales Manager"),
        );
        assert!(
            two.contains("Did you mean \"Sales Agent\" or \"Sales Manager\"?"),
            "{two}"
        );
        let none = said(ErrorReason::TargetUnknown, "CB/acme/ROLE/Zzz", &facts(""));
        assert!(!none.contains("Did you mean"), "{none}");
    }

    #[test]
    fn another_site_is_answered_with_the_whole_name() {
        assert_eq!(
            said(
                ErrorReason::TargetOfAnotherSite,
                "CB/other/BE/EU GmbH",
                &[SITE]
            ),
            "Group name \"CB/other/BE/EU GmbH\": the token belongs to the site acme, and the name says \
             \"other\". Expected CB/acme/BE/EU GmbH. Rename the group in the identity provider and push it again."
        );
    }

    #[test]
    fn a_name_out_of_format_is_answered_with_what_is_wrong() {
        let facts = [
            SITE,
            ("roles", "Admin\nAnalyst"),
            ("business_entities", "EU GmbH"),
        ];
        let said = |name| said(ErrorReason::TargetMissing, name, &facts);
        let kind = said("CB/acme/ROLES/analyst");
        assert!(kind.contains("third part must be ROLE or BE"), "{kind}");
        assert!(
            kind.contains("Did you mean \"CB/acme/ROLE/Analyst\"?"),
            "{kind}"
        );
        assert!(said("cb/acme/ROLE/Admin").contains("must begin with \"CB/\""));
        assert!(said("CB/acme/EU Gmbh").contains("Did you mean \"CB/acme/BE/EU GmbH\"?"));
        let outside = said("Everyone");
        assert!(
            outside.contains("Expected CB/acme/ROLE/<role name> or CB/acme/BE/"),
            "{outside}"
        );
        assert!(
            outside.contains("Roles: Admin, Analyst. Business entities: EU GmbH."),
            "{outside}"
        );
    }

    #[test]
    fn owner_is_never_given() {
        let owner = said(
            ErrorReason::OwnerNotGrantable,
            "CB/acme/ROLE/Owner",
            &[SITE],
        );
        assert!(owner.contains("never given by a group"), "{owner}");
    }

    proptest! {
        #[test]
        fn a_name_is_all_that_follows_the_third_slash(domain in "[a-z]{1,9}", name in "[^ ].{0,20}[^ ]") {
            prop_assume!(!name.trim().is_empty());
            let text = format!("CB/{domain}/ROLE/{name}");
            let expected = (TargetKind::Role, domain, name.trim().to_owned());
            prop_assert_eq!(target(&text), expected);
        }

        #[test]
        fn no_name_makes_it_panic(name in any::<String>()) {
            let _target = naming(&name).target();
            let _sentence = said(ErrorReason::TargetMissing, &name, &[SITE, ("roles", "Admin")]);
        }
    }
}
