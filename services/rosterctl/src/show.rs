//! Tables and words for people.

use comfy_table::{Table, presets};
use identity_proto::v1::{
    AccessTarget, Denial, Grant, Reach, ReachReason, Receipt, Scope, access_target::Target,
    grant::Source,
};
use prost_types::Timestamp;

/// A table with these columns.
pub(crate) fn table<const N: usize>(columns: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_BORDERS_ONLY_CONDENSED)
        .set_header(columns);
    table
}

/// Facts about one thing, a line each.
pub(crate) fn facts<const N: usize>(lines: [(&str, String); N]) -> String {
    let width = lines
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or_default();
    let lines = lines
        .iter()
        .map(|(name, value)| format!("{name:<width$}  {value}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// A moment; a dash for none.
pub(crate) fn time(time: Option<&Timestamp>) -> String {
    time.map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// A text; a dash for none.
pub(crate) fn text(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// How far roles reach.
pub(crate) fn reach(reach: Reach) -> &'static str {
    match reach {
        Reach::All => "the whole site",
        Reach::None => "nothing",
        Reach::Listed => "the listed business entities",
        Reach::Unspecified => "-",
    }
}

/// What a credential may do.
pub(crate) fn scopes(scopes: impl Iterator<Item = Scope>) -> String {
    scopes.map(scope).collect::<Vec<_>>().join(", ")
}

/// One scope.
pub(crate) fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Provision => "provision",
        Scope::Read => "read",
        Scope::Write => "write",
        Scope::Administer => "administer",
        Scope::Check => "check",
        Scope::Watch => "watch",
        Scope::WriteMembers => "write_members",
        Scope::WriteGroups => "write_groups",
        Scope::WriteRoles => "write_roles",
        Scope::WriteBusinessEntities => "write_business_entities",
        Scope::WriteGrants => "write_grants",
        Scope::Unspecified => "-",
    }
}

/// The kind, name and id of a target.
pub(crate) fn target(target: Option<&AccessTarget>) -> (&'static str, &str, &str) {
    match target.and_then(|target| target.target.as_ref()) {
        Some(Target::Role(named)) => ("role", &named.name, &named.id),
        Some(Target::BusinessEntity(named)) => ("business entity", &named.name, &named.id),
        None => ("-", "-", "-"),
    }
}

/// What a write did, or, in a dry run, would do.
pub(crate) fn receipt(receipt: Option<&Receipt>, dry_run: bool) -> String {
    let begin = if dry_run {
        "Dry run: nothing was changed"
    } else {
        "Done"
    };
    let Some(receipt) = receipt else {
        return format!("{begin}.");
    };
    let mut text = match (receipt.changed, dry_run) {
        (false, _) => format!(
            "Nothing to change: it is so already, at revision {}.",
            receipt.revision
        ),
        (true, true) => format!(
            "{begin}, at revision {}. It would touch {}.",
            receipt.revision,
            count(receipt.members, "member")
        ),
        (true, false) => format!(
            "{begin} at revision {}; it touched {}.",
            receipt.revision,
            count(receipt.members, "member")
        ),
    };
    for change in &receipt.access_changes {
        let (kind, name, _) = target(change.target.as_ref());
        for (what, ids) in [
            ("gained", &change.gained_member_ids),
            ("lost", &change.lost_member_ids),
        ] {
            if !ids.is_empty() {
                text.push_str(&format!("\n  {what:<6}  {kind} {name}: {}", ids.join(", ")));
            }
        }
    }
    if !receipt.unknown_member_ids.is_empty() {
        let ids = receipt.unknown_member_ids.join(", ");
        text.push_str(&format!("\n  left out, as no members of the site: {ids}"));
    }
    text
}

/// How many there are of something.
pub(crate) fn count(number: i64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// Where a grant comes from.
pub(crate) fn source(grant: &Grant) -> String {
    match &grant.source {
        Some(Source::Group(group)) => format!("group {}", group.display_name),
        Some(Source::Direct(direct)) => format!("{}: {}", direct.actor, direct.reason),
        Some(Source::Entitlement(_)) => "the member's own attribute".to_owned(),
        None => "-".to_owned(),
    }
}

/// When a grant ends by itself; a dash where it does not.
pub(crate) fn end(grant: &Grant) -> String {
    match &grant.source {
        Some(Source::Direct(direct)) => time(direct.end_time.as_ref()),
        _ => time(None),
    }
}

/// Why a question is answered with no.
pub(crate) fn denial(denial: Denial) -> &'static str {
    match denial {
        Denial::MemberUnknown => "the site has no such member",
        Denial::MemberInactive => "the member is not active",
        Denial::RoleUnknown => "the site has no such role",
        Denial::BusinessEntityUnknown => "the site has no such business entity",
        Denial::RoleNotHeld => "the member does not hold the role",
        Denial::PermissionNotHeld => "no role of the member carries the permission",
        Denial::NotReached => "the member's roles do not reach there",
        Denial::Unspecified => "identity does not say why",
    }
}

/// Why roles reach where they were asked about; empty where that is not said.
pub(crate) fn reach_reason(reason: ReachReason) -> &'static str {
    match reason {
        ReachReason::SiteUndivided => "the site is not divided",
        ReachReason::OwnerOrAdmin => "Owner and Admin reach all",
        ReachReason::Granted => "the business entity was granted",
        ReachReason::Unassigned => "without a business entity a member reaches all of this site",
        ReachReason::Unspecified => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_stand_under_each_other() {
        let lines = facts([("Domain", "acme".to_owned()), ("Id", "1".to_owned())]);
        assert_eq!(lines, "Domain  acme\nId      1");
    }

    #[test]
    fn moments_are_readable() {
        let moment = Timestamp {
            seconds: 1_780_000_000,
            nanos: 0,
        };
        assert!(time(Some(&moment)).starts_with("2026-05-28T"));
        assert_eq!(time(None), "-");
    }
}
