//! Tables and words for people.

use comfy_table::{Table, presets};
use identity_proto::v1::{AccessTarget, Grant, Reach, Scope, access_target::Target, grant::Source};
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

/// Where a grant comes from.
pub(crate) fn source(grant: &Grant) -> String {
    match &grant.source {
        Some(Source::Group(group)) => format!("group {}", group.display_name),
        Some(Source::Direct(direct)) => format!("{}: {}", direct.actor, direct.reason),
        Some(Source::Entitlement(_)) => "the member's own attribute".to_owned(),
        None => "-".to_owned(),
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
