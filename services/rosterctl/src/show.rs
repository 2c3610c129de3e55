//! Tables and words for people.

use std::{collections::HashMap, fmt, io};

use comfy_table::{ColumnConstraint, ContentArrangement, presets};
use identity_proto::v1::{
    AccessTarget, Denial, Grant, Reach, ReachReason, Receipt, Scope, access_target::Target,
    grant::Source,
};
use prost_types::Timestamp;
use terminal_size::{Width, terminal_size_of};

/// How many members an effect names; all of them are in the JSON.
const NAMED: usize = 10;
/// The least width that a column is worth reading in.
const NARROW: usize = 10;
/// What a column takes beside what is in it.
const BESIDE: usize = 3;

/// A table with these columns.
pub(crate) fn table<const N: usize>(columns: [&str; N]) -> Table {
    Table {
        columns: columns.map(str::to_owned).into(),
        rows: Vec::new(),
        width: terminal_size_of(io::stdout()).map(|(Width(width), _)| width),
    }
}

/// Rows of text, as wide as the terminal at the most.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    /// The terminal's width; none where nobody looks on.
    width: Option<u16>,
}

impl Table {
    /// Adds a row.
    pub(crate) fn add_row<T: ToString>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cells = cells.into_iter().map(|cell| cell.to_string());
        self.rows.push(cells.collect());
    }

    /// Whether it has no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The width of a column that is not broken.
    fn content(&self, index: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(index));
        let lines = cells
            .chain([&self.columns[index]])
            .flat_map(|cell| cell.lines());
        lines
            .map(|line| line.chars().count())
            .max()
            .unwrap_or_default()
    }

    /// Each row as facts under each other.
    fn upright(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let lines = self.columns.iter().map(String::as_str).zip(row);
            aligned(&lines.collect::<Vec<_>>())
        });
        rows.collect::<Vec<_>>().join("\n\n")
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::ASCII_BORDERS_ONLY_CONDENSED)
            .set_header(&self.columns);
        table.add_rows(&self.rows);
        let Some(width) = self.width else {
            return write!(formatter, "{table}");
        };
        // An id is there to be copied, so it is in one piece.
        let is_id = |index: &usize| self.columns[*index].ends_with("Id");
        let (ids, others): (Vec<usize>, Vec<usize>) = (0..self.columns.len()).partition(is_id);
        let whole = |columns: &[usize]| {
            columns
                .iter()
                .map(|index| self.content(*index))
                .sum::<usize>()
        };
        let left = usize::from(width).saturating_sub(1 + BESIDE * self.columns.len() + whole(&ids));
        let needed: usize = others
            .iter()
            .map(|index| self.content(*index).min(NARROW))
            .sum();
        if left < needed && !self.is_empty() {
            return formatter.write_str(&self.upright());
        }
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
        for index in ids {
            if let Some(column) = table.column_mut(index) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        write!(formatter, "{table}")
    }
}

/// Facts about one thing, a line each.
pub(crate) fn facts<const N: usize>(lines: [(&str, String); N]) -> String {
    let lines: Vec<(&str, &String)> = lines.iter().map(|(name, value)| (*name, value)).collect();
    aligned(&lines)
}

fn aligned(lines: &[(&str, &String)]) -> String {
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

/// The ids of the members whom an effect names.
pub(crate) fn named(receipt: &Receipt) -> Vec<&str> {
    let changes = receipt.access_changes.iter();
    changes
        .flat_map(|change| [&change.gained_member_ids, &change.lost_member_ids])
        .flat_map(|ids| ids.iter().take(NAMED))
        .map(String::as_str)
        .collect()
}

/// The first of these members, by name where that is known, and how many more there are.
fn some_of(ids: &[String], names: &HashMap<String, String>) -> String {
    let name = |id: &String| names.get(id).unwrap_or(id).clone();
    let shown: Vec<String> = ids.iter().take(NAMED).map(name).collect();
    match ids.len().saturating_sub(NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// What a write did, or, in a dry run, would do; with the names of members that are known by their ids.
pub(crate) fn receipt(
    receipt: Option<&Receipt>,
    dry_run: bool,
    names: &HashMap<String, String>,
) -> String {
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
                text.push_str(&format!(
                    "\n  {what:<6}  {kind} {name}: {}",
                    some_of(ids, names)
                ));
            }
        }
    }
    if !receipt.unknown_member_ids.is_empty() {
        let ids = some_of(&receipt.unknown_member_ids, names);
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
    use identity_proto::v1::AccessChange;

    use super::*;

    #[test]
    fn facts_stand_under_each_other() {
        let lines = facts([("Domain", "acme".to_owned()), ("Id", "1".to_owned())]);
        assert_eq!(lines, "Domain  acme\nId      1");
    }

    #[test]
    fn a_table_is_as_wide_as_the_terminal_and_its_ids_are_whole() {
        let id = "0199c1f0-7d6e-7a10-8a59-2f6a1f0c9d11";
        let of = |width| {
            let mut table = table(["User name", "By", "Id"]);
            table.width = width;
            table.add_row(["ann@acme.example", "group CB/acme/ROLE/Analyst", id]);
            table.to_string()
        };
        let widest = |text: &str| text.lines().map(str::len).max().unwrap();
        // For a program each row is one line.
        assert_eq!(widest(&of(None)), 88);
        for width in [200, 80, 70] {
            let text = of(Some(width));
            assert!(widest(&text) <= width.into(), "{text}");
            assert!(text.contains(id) && text.contains("| User name"), "{text}");
        }
        let upright = of(Some(60));
        assert!(
            upright.starts_with("User name  ann@acme.example\nBy "),
            "{upright}"
        );
    }

    #[test]
    fn an_effect_on_many_names_the_first_ten() {
        let ids: Vec<String> = (0..300).map(|n| format!("id{n}")).collect();
        let change = AccessChange {
            lost_member_ids: ids,
            ..AccessChange::default()
        };
        let effect = Receipt {
            changed: true,
            members: 300,
            access_changes: vec![change],
            ..Receipt::default()
        };
        let names = [("id0".to_owned(), "ann@acme.example".to_owned())].into();
        let text = receipt(Some(&effect), true, &names);
        assert!(text.contains(": ann@acme.example, id1, "), "{text}");
        assert!(text.ends_with(", id9 and 290 more"), "{text}");
        assert_eq!(named(&effect).len(), 10);
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
