//! The groups of the site: whether each gives something, and what the names of those that do not were meant to say.

use group_convention::Naming;
use identity_proto::v1::{Group, OutsideGroups, TargetKind, access_target::Target};
use roster_folding::key;

use super::{Finding, identity::Patient};
use crate::{commands::groups, connection::Settings, show};

const CHECK: &str = "convention";
/// How many names are shown.
const SHOWN: usize = 5;

pub(super) async fn check(settings: &Settings, patient: &Patient, prefix: &str) -> Finding {
    let site = match &patient.caller {
        Ok(caller) => caller.site.as_ref(),
        Err(_) => {
            return Finding::unknown(
                CHECK,
                "identity does not take the token, or does not answer",
            );
        }
    };
    let Some(site) = site else {
        return Finding::unknown(CHECK, "name a site with --site");
    };
    match groups::list(settings, None, usize::MAX).await {
        Ok(groups) => judge(&groups, prefix, &site.domain, site.outside_groups()),
        Err(failure) if failure.is("SCOPE_MISSING") => {
            Finding::unknown(CHECK, "takes a token with the scope read or provision")
        }
        Err(failure) => Finding::unknown(CHECK, failure.to_string()),
    }
}

fn judge(groups: &[Group], prefix: &str, domain: &str, outside: OutsideGroups) -> Finding {
    let all = show::count(groups.len() as i64, "group");
    let (meant, others): (Vec<&Group>, Vec<&Group>) = groups
        .iter()
        .filter(|group| group.target.is_none())
        .partition(|group| {
            let naming = Naming {
                prefix,
                display_name: &group.display_name,
            };
            naming.target().kind() != TargetKind::None
        });
    let example = format!(
        "{prefix}/{domain}/ROLE/<role name> or {prefix}/{domain}/BE/<business entity name>"
    );
    if !meant.is_empty() {
        return Finding::wrong(
            CHECK,
            format!(
                "{all}; named as by the convention, and granting nothing: {}",
                names(&meant)
            ),
            format!(
                "rename them in the identity provider, to {example}; `rosterctl groups lint` tells what is wrong. \
                 Where the names are right, set the facade's ROSTER_GROUP_PREFIX to {prefix}"
            ),
        );
    }
    if groups.is_empty() {
        return Finding::good(CHECK, "there are no groups yet");
    }
    if let (true, Some(other)) = (others.is_empty(), other_prefix(groups, prefix, domain)) {
        return Finding::look(
            CHECK,
            format!(
                "{all}; there are names that the facade understood, and begin with {other:?}, not with {prefix:?}"
            ),
            "say the prefix that the facade is set to with --prefix (ROSTER_GROUP_PREFIX), or correct the facade's",
        );
    }
    match (others.is_empty(), outside) {
        (true, _) => Finding::good(
            CHECK,
            format!("{all}, and each gives a role or a business entity"),
        ),
        (false, OutsideGroups::Keep) => Finding::look(
            CHECK,
            format!(
                "{all}; outside of the convention, as the site keeps them, and granting nothing: {}",
                names(&others)
            ),
            "nothing, if the provider made them for itself",
        ),
        (false, _) => Finding::wrong(
            CHECK,
            format!(
                "{all}; not understood, and granting nothing: {}",
                names(&others)
            ),
            format!("rename them in the identity provider, to {example}, or delete them"),
        ),
    }
}

/// Another first part than the expected one, in the name of a group that gives what the rest of its name says.
fn other_prefix<'a>(groups: &'a [Group], prefix: &str, domain: &str) -> Option<&'a str> {
    groups.iter().find_map(|group| {
        let (first, _) = group.display_name.split_once('/')?;
        let naming = Naming {
            prefix: first,
            display_name: &group.display_name,
        };
        let said = naming.target();
        let (kind, name) = match group.target.as_ref()?.target.as_ref()? {
            Target::Role(role) => (TargetKind::Role, &role.name),
            Target::BusinessEntity(entity) => (TargetKind::BusinessEntity, &entity.name),
        };
        let follows = said.kind() == kind
            && key(&said.name) == key(name)
            && key(&said.site_domain) == key(domain);
        (follows && first != prefix).then_some(first)
    })
}

fn names(groups: &[&Group]) -> String {
    let shown: Vec<String> = groups
        .iter()
        .take(SHOWN)
        .map(|group| format!("{:?}", group.display_name))
        .collect();
    let more = match groups.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}
