//! `rosterctl groups lint`: names of groups held against the convention and against the site, before an
//! identity provider pushes them.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    path::Path,
};

use group_convention::{Naming, explain};
use identity_forms::names::closest;
use identity_proto::v1::{
    AccessTarget, ErrorReason, GetSiteRequest, OutsideGroups, TargetKind, access_target::Target,
    site_service_client::SiteServiceClient,
};
use roster_folding::key;
use serde_json::json;

use super::{Outcome, groups, named, print};
use crate::{
    connection::{Purpose, Settings},
    failure::Failure,
    show,
};

/// What a column of names may be called, folded, without space, `_` and `-`.
const NAME_COLUMNS: [&str; 4] = ["displayname", "name", "group", "groupname"];
/// The role that no group gives.
const OWNER: &str = "owner";

/// What is known of the site.
#[derive(Debug, Default)]
struct Site {
    /// The domain that names are to have; unknown offline, unless it was said.
    domain: Option<String>,
    /// Whether groups outside of the convention are kept.
    keeps_outsiders: bool,
    /// What the site has; nothing offline.
    known: Option<Known>,
}

/// The names of a site.
#[derive(Debug, Default)]
struct Known {
    roles: Vec<String>,
    entities: Vec<String>,
    /// The groups that the site has, by the key of their name.
    groups: HashMap<String, String>,
    /// The group that gives each target, by kind and the key of its name.
    givers: HashMap<(i32, String), String>,
}

/// How a name does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    /// It will do.
    Good,
    /// It has the form and the domain; whether its target is there, nobody was asked.
    WellFormed,
    /// It will be kept, and grants nothing.
    Nothing,
    /// It will be refused.
    Refused,
}

/// A name of the file, and how it does.
#[derive(Debug)]
struct Checked {
    line: u64,
    name: String,
    verdict: Verdict,
    why: String,
}

pub(super) async fn run(
    settings: &Settings,
    file: &Path,
    offline: bool,
    prefix: &str,
) -> Result<Outcome, Failure> {
    let names = read_names(open(file)?)?;
    let site = match offline {
        true => Site {
            domain: settings.domain(),
            ..Site::default()
        },
        false => look_up(settings).await?,
    };
    let checked = check(&names, &site, prefix);
    let refused = checked
        .iter()
        .filter(|name| name.verdict == Verdict::Refused)
        .count();
    print(
        settings,
        || {
            let counted = show::count(checked.len() as i64, "name");
            format!(
                "{}\n{counted}, {refused} of them to be refused",
                table(&checked)
            )
        },
        || {
            let list = checked.iter().map(|name| {
                json!({
                    "line": name.line,
                    "display_name": name.name,
                    "verdict": name.verdict.word(),
                    "message": name.why,
                })
            });
            json!({"names": list.collect::<Vec<_>>(), "refused": refused})
        },
    )?;
    Ok(Outcome::of(refused == 0))
}

/// The file of this name, or standard input.
fn open(file: &Path) -> Result<Box<dyn Read>, Failure> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let opened =
        File::open(file).map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
    Ok(Box::new(opened))
}

/// The names of a CSV file, each with its line.
fn read_names(file: impl Read) -> Result<Vec<(u64, String)>, Failure> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(file);
    let mut column = None;
    let mut names = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| Failure::usage(format!("not CSV: {error}")))?;
        let line = record.position().map_or(0, csv::Position::line);
        let Some(column) = column else {
            let first: Vec<String> = record
                .iter()
                .map(|cell| key(cell.trim_start_matches('\u{feff}')).replace([' ', '_', '-'], ""))
                .collect();
            let headed = first
                .iter()
                .position(|cell| NAME_COLUMNS.contains(&cell.as_str()));
            column = Some(headed.unwrap_or_default());
            if headed.is_none() {
                names.push((line, cell(&record, 0)));
            }
            continue;
        };
        names.push((line, cell(&record, column)));
    }
    names.retain(|(_, name)| !name.is_empty());
    Ok(names)
}

fn cell(record: &csv::StringRecord, column: usize) -> String {
    let text = record.get(column).unwrap_or_default();
    text.trim_start_matches('\u{feff}').to_owned()
}

async fn look_up(settings: &Settings) -> Result<Site, Failure> {
    let request = GetSiteRequest {
        site: settings.site(),
        ..GetSiteRequest::default()
    };
    let mut client = SiteServiceClient::new(settings.channel()?);
    let found = settings
        .call(Purpose::Work, &request, async |request| {
            client.get_site(request).await
        })
        .await?;
    let site = found.site.unwrap_or_default();
    let mut known = Known::default();
    let roles = named::roles(settings).await?;
    known.roles = roles.into_iter().map(|role| role.name).collect();
    let entities = named::entities(settings).await?;
    known.entities = entities.into_iter().map(|entity| entity.name).collect();
    for group in groups::list(settings, None, usize::MAX).await? {
        if let Some(target) = target_key(group.target.as_ref()) {
            known.givers.insert(target, group.display_name.clone());
        }
        known
            .groups
            .insert(key(&group.display_name), group.display_name);
    }
    Ok(Site {
        keeps_outsiders: site.outside_groups() == OutsideGroups::Keep,
        domain: Some(site.domain),
        known: Some(known),
    })
}

fn target_key(target: Option<&AccessTarget>) -> Option<(i32, String)> {
    match target?.target.as_ref()? {
        Target::Role(role) => Some((TargetKind::Role.into(), key(&role.name))),
        Target::BusinessEntity(entity) => {
            Some((TargetKind::BusinessEntity.into(), key(&entity.name)))
        }
    }
}

fn check(names: &[(u64, String)], site: &Site, prefix: &str) -> Vec<Checked> {
    // Names and targets of the file so far, with their lines.
    let mut seen = HashMap::new();
    let mut given = HashMap::new();
    let mut checked = Vec::with_capacity(names.len());
    for (line, name) in names {
        let naming = Naming {
            prefix,
            display_name: name,
        };
        let (verdict, why) = match seen.get(&key(name)) {
            Some(before) => (
                Verdict::Refused,
                format!("It stands in line {before} already."),
            ),
            None => judge(&naming, site, &mut given, *line),
        };
        // A refused name is no group, so it is in no other's way.
        if verdict != Verdict::Refused {
            seen.insert(key(name), *line);
        }
        checked.push(Checked {
            line: *line,
            name: name.clone(),
            verdict,
            why,
        });
    }
    checked
}

/// How one name does that stands in the file once.
fn judge(
    naming: &Naming<'_>,
    site: &Site,
    given: &mut HashMap<(i32, String), u64>,
    line: u64,
) -> (Verdict, String) {
    let known = site.known.as_ref();
    if let Some(known) = known
        && known.groups.contains_key(&key(naming.display_name))
    {
        return (Verdict::Good, "The site has this group already.".to_owned());
    }
    let target = naming.target();
    let names = match target.kind() {
        TargetKind::BusinessEntity => known.map(|known| &known.entities),
        _ => known.map(|known| &known.roles),
    };
    let target_key = (target.kind, key(&target.name));
    let is_known = names.is_none_or(|names| names.iter().any(|name| key(name) == target_key.1));
    let of_site = site
        .domain
        .as_ref()
        .is_none_or(|domain| key(domain) == key(&target.site_domain));
    let reason = match target.kind() {
        TargetKind::None if site.keeps_outsiders => {
            let why = "It names no role and no business entity: the site keeps it, and it grants nothing.";
            return (Verdict::Nothing, why.to_owned());
        }
        TargetKind::None | TargetKind::Unspecified => Some(ErrorReason::TargetMissing),
        _ if !of_site => Some(ErrorReason::TargetOfAnotherSite),
        TargetKind::Role if target_key.1 == OWNER => Some(ErrorReason::OwnerNotGrantable),
        _ if !is_known => Some(ErrorReason::TargetUnknown),
        _ => None,
    };
    if let Some(reason) = reason {
        let fact = |fact: &str| match fact {
            "site_domain" => site.domain.clone().unwrap_or_else(|| "<domain>".to_owned()),
            "kind" if target.kind() == TargetKind::BusinessEntity => "BUSINESS_ENTITY".to_owned(),
            "kind" => "ROLE".to_owned(),
            "name" => target.name.clone(),
            "closest" => closest(&target.name, names.map_or(&[], Vec::as_slice)).join("\n"),
            "roles" => known
                .map(|known| without_owner(&known.roles))
                .unwrap_or_default(),
            "business_entities" => known
                .map(|known| known.entities.join("\n"))
                .unwrap_or_default(),
            _ => String::new(),
        };
        return (Verdict::Refused, explain(reason, &fact, Some(naming)));
    }
    if let Some(giver) = known.and_then(|known| known.givers.get(&target_key)) {
        return (
            Verdict::Refused,
            format!(
                "The site's group {giver:?} gives {:?} already; a site has one group for each.",
                target.name
            ),
        );
    }
    if let Some(before) = given.insert(target_key, line) {
        return (
            Verdict::Refused,
            format!(
                "Line {before} gives {:?} already; a site has one group for each.",
                target.name
            ),
        );
    }
    let what = match target.kind() {
        TargetKind::BusinessEntity => "business entity",
        _ => "role",
    };
    match known {
        Some(_) => (
            Verdict::Good,
            format!("It gives the {what} {:?}.", target.name),
        ),
        None => (
            Verdict::WellFormed,
            format!(
                "It would give the {what} {:?}, if the site has it.",
                target.name
            ),
        ),
    }
}

/// The roles that a group can give, a line each.
fn without_owner(roles: &[String]) -> String {
    let roles: Vec<&str> = roles
        .iter()
        .filter(|role| key(role) != OWNER)
        .map(String::as_str)
        .collect();
    roles.join("\n")
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::WellFormed => "well formed, not looked up",
            Self::Nothing => "grants nothing",
            Self::Refused => "refused",
        }
    }
}

fn table(checked: &[Checked]) -> String {
    let mut table = show::table(["Line", "Name", "Verdict", "Why"]);
    for name in checked {
        table.add_row([
            &name.line.to_string(),
            &name.name,
            name.verdict.word(),
            &name.why,
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(csv: &str) -> Vec<(u64, String)> {
        read_names(csv.as_bytes()).unwrap()
    }

    fn verdicts(csv: &str, site: &Site) -> Vec<(Verdict, String)> {
        check(&names(csv), site, "CB")
            .into_iter()
            .map(|name| (name.verdict, name.why))
            .collect()
    }

    fn acme() -> Site {
        let known = Known {
            roles: ["Admin", "Analyst", "Owner"].map(str::to_owned).into(),
            entities: vec!["EU GmbH".to_owned()],
            ..Known::default()
        };
        Site {
            domain: Some("acme".to_owned()),
            known: Some(known),
            ..Site::default()
        }
    }

    #[test]
    fn names_are_found_by_their_column_or_else_in_the_first() {
        let expected = [(2, "CB/acme/ROLE/Admin".to_owned())];
        assert_eq!(names("id,Display Name\n7,CB/acme/ROLE/Admin\n"), expected);
        assert_eq!(names("\u{feff}displayName\nCB/acme/ROLE/Admin\n"), expected);
        assert_eq!(
            names("\n\nCB/acme/ROLE/Admin,x\n")[0].1,
            "CB/acme/ROLE/Admin"
        );
        assert_eq!(
            names("\"CB/acme/BE/A, \"\"B\"\"\"\n")[0].1,
            "CB/acme/BE/A, \"B\""
        );
    }

    #[test]
    fn each_name_gets_the_words_that_the_administrator_would_read() {
        let csv = "CB/ACME/ROLE/analyst\nCB/acme/ROLE/Analist\nCB/other/BE/EU GmbH\nCB/acme/ROLE/Owner\n\
                   CB/acme/role/Admin\nEveryone\nCB/acme/BE/EU GmbH\n";
        let verdicts = verdicts(csv, &acme());
        let expected = [
            (Verdict::Good, "\"analyst\""),
            (Verdict::Refused, "Did you mean \"Analyst\"?"),
            (Verdict::Refused, "Expected CB/acme/BE/EU GmbH"),
            (Verdict::Refused, "never given by a group"),
            (Verdict::Refused, "must be ROLE or BE"),
            (Verdict::Refused, "does not say which role"),
            (Verdict::Good, "business entity \"EU GmbH\""),
        ];
        assert_eq!(verdicts.len(), expected.len());
        for ((verdict, why), (expected, part)) in verdicts.iter().zip(expected) {
            assert_eq!(*verdict, expected, "{why}");
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn a_name_or_a_target_that_stands_there_twice_is_refused_once() {
        let csv = "CB/acme/ROLE/Admin\ncb/ACME/role/admin\nCB/acme/ROLE/ Admin \n";
        let verdicts = verdicts(csv, &acme());
        assert_eq!(verdicts[0].0, Verdict::Good);
        assert!(verdicts[1].1.contains("line 1"), "{verdicts:?}");
        assert!(verdicts[2].1.contains("Line 1 gives"), "{verdicts:?}");
    }

    #[test]
    fn offline_only_the_form_and_the_domain_are_checked() {
        let site = Site {
            domain: Some("acme".to_owned()),
            ..Site::default()
        };
        let verdicts = verdicts(
            "CB/acme/ROLE/Whatever\nCB/other/ROLE/Admin\nCB/acme\n",
            &site,
        );
        let words: Vec<Verdict> = verdicts.iter().map(|verdict| verdict.0).collect();
        assert_eq!(
            words,
            [Verdict::WellFormed, Verdict::Refused, Verdict::Refused]
        );
    }

    #[test]
    fn a_site_that_keeps_outsiders_keeps_them() {
        let site = Site {
            keeps_outsiders: true,
            ..acme()
        };
        let verdicts = verdicts("Everyone\ncb/acme/ROLE/Admin\n", &site);
        assert_eq!(verdicts[0].0, Verdict::Nothing);
        assert_eq!(verdicts[1].0, Verdict::Refused);
    }
}
