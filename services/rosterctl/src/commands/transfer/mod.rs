//! `rosterctl import` and `rosterctl export`

mod columns;
mod files;
mod grants;
mod groups;
mod import;
mod members;
mod report;

use std::{
    path::{Path, PathBuf},
    thread,
};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::runtime::Builder;

use self::{
    columns::{Column, GRANTS, GROUPS, MEMBERS},
    files::{Format, Reader, Writer},
    import::Work,
    report::Report,
};
use super::{Outcome, groups::Prefix, print};
use crate::{
    arguments::DryRun,
    connection::Settings,
    failure::{Failure, INTERRUPTED},
    show,
};

/// Write members, groups or grants to a file
#[derive(Args, Debug)]
#[command(
    long_about = "\
Write members, groups or grants to a file.

The file holds what an import can set, under the names that the contract has. Imported into another site (members \
first, then groups with --replace-domain, then grants), it makes that site alike, as long as the roles and business \
entities it names are there. What is written while others change the site need not all be of one moment.",
    after_help = "\
Examples:
  rosterctl --site acme export members --to members.csv
  rosterctl --site acme export groups --to groups.jsonl
  rosterctl --site acme export grants --format csv > grants.csv"
)]
pub(crate) struct Export {
    /// What to write
    #[arg(value_enum)]
    what: What,
    /// The file; - for standard output
    #[arg(long, default_value = "-", value_name = "FILE")]
    to: PathBuf,
    /// How the file is written [default: as its name says]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// Make members, groups or grants from a file; safe to run again
#[derive(Args, Debug)]
#[command(
    long_about = about_import(),
    after_help = "\
Examples:
  rosterctl --site acme import members people.csv --dry-run
  rosterctl --site acme import members people.csv
  rosterctl --site acme import members people.csv.errors.csv
  rosterctl --site acme import groups groups.jsonl --errors refused.jsonl
  rosterctl --site acme-test import groups groups-of-acme.csv --replace-domain
  rosterctl --site acme export members --format jsonl | rosterctl --site acme-test import members - --format jsonl"
)]
pub(crate) struct Import {
    /// What to make
    #[arg(value_enum)]
    what: What,
    /// The file; - for standard input
    file: PathBuf,
    /// How the file is written [default: as its name says]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// What becomes of what is there already
    #[arg(long, value_enum, default_value_t = Existing::Update)]
    existing: Existing,
    /// Where to write the rows that were refused, in the file's own form [default: FILE.errors.csv or .jsonl]
    #[arg(long, value_name = "FILE")]
    errors: Option<PathBuf>,
    /// How many rows to write at once
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// Take groups that are named by another site's domain with this site's domain
    #[arg(long)]
    replace_domain: bool,
    #[command(flatten)]
    prefix: Prefix,
    #[command(flatten)]
    dry_run: DryRun,
}

/// What `import --help` says, with the columns as the reader takes them.
fn about_import() -> String {
    format!(
        "\
Make members, groups or grants from a file; safe to run again.

A row is known by its name: a member by user_name, a group by display_name, a grant by member and target. What is \
there already is changed where the row says otherwise (of a grant its reason and end), and left alone where it does not, \
so an import that was stopped is finished by running it again. A column that the file does not have is left as it is; an empty one is \
cleared.

A row that is refused does not stop the others: it is written to a file of errors, in the form of the imported file, \
behind the columns error.row, error.line, error.name, error.reason and error.message. That file, mended, can be \
imported as it is: columns that begin with error. are passed over.

The first line of CSV names the columns that the file has, in any order. JSON Lines have the same names, each part \
before a dot an object.

Columns of members:
  {}
Columns of groups:
  {}
Columns of grants:
  {}

target.kind is role or business_entity, of a group also empty, for none; without the column a group's target follows \
from its name, by the convention. A name with another site's domain, as in CB/other/ROLE/Admin, is refused, as it \
would be where an identity provider pushed it, unless the site has that very group; with --replace-domain the group is \
named by this site's domain instead. members are user names, in CSV with space between them. Entitlements are lists of \
names. Lists stand in CSV as JSON, such as [{{\"value\": \"ann@acme.example\", \"type\": \"work\", \"primary\": true}}] for \
profile.emails. active is true or false, end_time a time such as 2026-10-01T12:00:00Z, empty for no end.",
        columns::listed(MEMBERS),
        columns::listed(GROUPS),
        columns::listed(GRANTS),
    )
}

/// What files hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum What {
    /// Members, with all that is known of them
    Members,
    /// Groups, with who is in them
    Groups,
    /// Direct grants
    Grants,
}

/// What becomes of what is there already.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Existing {
    /// Make it as the row says
    Update,
    /// Leave it alone
    Leave,
}

impl What {
    fn columns(self) -> &'static [Column] {
        match self {
            Self::Members => MEMBERS,
            Self::Groups => GROUPS,
            Self::Grants => GRANTS,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Members => "member",
            Self::Groups => "group",
            Self::Grants => "grant",
        }
    }
}

pub(super) async fn export(settings: &Settings, command: Export) -> Result<Outcome, Failure> {
    let settings = settings.patient();
    let Export { what, to, format } = command;
    let format = Format::of(format, &to)?;
    let mut writer = Writer::create(&to, format, what.columns())?;
    let bar = ProgressBar::new_spinner().with_style(style("{spinner} {pos} {msg}, {per_sec}"));
    bar.set_message(format!("{}s", what.word()));
    match what {
        What::Members => members::export(&settings, &mut writer, &bar).await?,
        What::Groups => groups::export(&settings, &mut writer, &bar).await?,
        What::Grants => grants::export(&settings, &mut writer, &bar).await?,
    }
    writer.finish()?;
    bar.finish_and_clear();
    eprintln!(
        "Wrote {}.",
        show::count(bar.position().cast_signed(), what.word())
    );
    Ok(Outcome::Done)
}

pub(super) async fn import(settings: &Settings, command: Import) -> Result<Outcome, Failure> {
    let settings = settings.patient();
    let format = Format::of(command.format, &command.file)?;
    if let Some(errors) = &command.errors
        && same_file(errors, &command.file)
    {
        return Err(Failure::usage(
            "--errors names the file that is imported: it would be overwritten",
        ));
    }
    let reader = Reader::open(&command.file, format, command.what.columns())?;
    let mut report = Report::new(&command.file, command.errors, reader.shape());
    let bar = match std::fs::metadata(&command.file) {
        Ok(file) if file.is_file() => {
            ProgressBar::new(file.len()).with_style(style("{bar:30} {percent}% {msg}, {eta} to go"))
        }
        _ => ProgressBar::new_spinner().with_style(style("{spinner} {msg}")),
    };
    bar.set_message(report.counted());
    end_when_interrupted(&bar);
    let work = Work {
        settings: &settings,
        dry_run: command.dry_run.dry_run,
        update: command.existing == Existing::Update,
        jobs: command.jobs.into(),
    };
    let done = match command.what {
        What::Members => {
            work.run(members::Members::new(&settings)?, reader, &mut report, &bar)
                .await
        }
        What::Groups => {
            let groups = groups::Groups::new(command.prefix.prefix, command.replace_domain);
            work.run(groups, reader, &mut report, &bar).await
        }
        What::Grants => {
            work.run(grants::Grants::default(), reader, &mut report, &bar)
                .await
        }
    };
    bar.finish_and_clear();
    if let Err(failure) = done {
        return Err(failure.beside(&stopped(&report.counted())));
    }
    report.finish()?;
    print(
        &settings,
        || report.table(command.dry_run.dry_run),
        || {
            let mut object = report.json();
            object["dry_run"] = json!(command.dry_run.dry_run);
            object
        },
    )?;
    Ok(match report.refused() {
        0 => Outcome::Done,
        _ => Outcome::InPart,
    })
}

/// What is said of an import that did not come to its end.
fn stopped(counted: &str) -> String {
    format!("Stopped after {counted}. What was done is done; run the same again to go on.")
}

/// Says at an interrupt how far the import has come, and ends the process. On a thread of its own: a read from
/// standard input may block the others. What is on its way is done by identity or not, as a whole.
fn end_when_interrupted(bar: &ProgressBar) {
    let bar = bar.clone();
    thread::spawn(move || {
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else {
            return;
        };
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            let counted = bar.message();
            bar.finish_and_clear();
            eprintln!("interrupted\n  {}", stopped(&counted));
            std::process::exit(INTERRUPTED.into());
        }
    });
}

/// Whether two names are those of one file that is there.
fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// A bar's form. A template of our own is always right.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
