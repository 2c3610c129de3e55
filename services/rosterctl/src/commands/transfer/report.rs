//! What became of the rows of an import, and the file of those that were refused.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::{Value, json};

use super::files::Place;
use crate::failure::Failure;

/// How many refusals are shown as they come; all of them are in the file.
const SHOWN: u64 = 5;

/// What became of a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Done {
    /// It was made.
    Created,
    /// It was there and is changed.
    Updated,
    /// It was there, as it should be or to be left alone.
    Unchanged,
}

/// What became of all rows.
#[derive(Debug)]
pub(super) struct Report {
    created: u64,
    updated: u64,
    unchanged: u64,
    refused: u64,
    begin: Instant,
    file: PathBuf,
    /// Nobody named the file: it is ours to take away.
    ours: bool,
    writer: Option<csv::Writer<File>>,
}

impl Report {
    /// About the rows of this file.
    pub(super) fn new(source: &Path, errors: Option<PathBuf>) -> Self {
        let ours = errors.is_none();
        let file = errors.unwrap_or_else(|| match source == Path::new("-") {
            true => PathBuf::from("import.errors.csv"),
            false => {
                let mut name = source.as_os_str().to_owned();
                name.push(".errors.csv");
                PathBuf::from(name)
            }
        });
        Self {
            created: 0,
            updated: 0,
            unchanged: 0,
            refused: 0,
            begin: Instant::now(),
            file,
            ours,
            writer: None,
        }
    }

    /// Counts a row.
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Created => self.created += 1,
            Done::Updated => self.updated += 1,
            Done::Unchanged => self.unchanged += 1,
        }
    }

    /// Counts a row that was refused, and writes down why. Answers with a line for people, for the first few.
    pub(super) fn refuse(
        &mut self,
        place: Place,
        name: &str,
        reason: &str,
        message: &str,
    ) -> Result<Option<String>, Failure> {
        self.refused += 1;
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(format!("{}: {error}", self.file.display()))
        };
        if self.writer.is_none() {
            let mut writer = csv::Writer::from_path(&self.file).map_err(|error| failed(&error))?;
            writer
                .write_record(["row", "line", "name", "reason", "message"])
                .map_err(|error| failed(&error))?;
            self.writer = Some(writer);
        }
        if let Some(writer) = &mut self.writer {
            let (row, line) = (place.row.to_string(), place.line.to_string());
            writer
                .write_record([row.as_str(), &line, name, reason, message])
                .map_err(|error| failed(&error))?;
            // What was refused is known even if this process ends here.
            writer.flush().map_err(|error| failed(&error))?;
        }
        Ok((self.refused <= SHOWN)
            .then(|| format!("row {} (line {}): {message}", place.row, place.line)))
    }

    /// Takes away what an earlier run has left, where nothing was refused this time.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        if self.refused > 0 || !self.ours {
            return Ok(());
        }
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Failure::new(format!("{}: {error}", self.file.display())))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// All counts in a line.
    pub(super) fn counted(&self) -> String {
        format!(
            "{} created, {} updated, {} unchanged, {} refused",
            self.created, self.updated, self.unchanged, self.refused
        )
    }

    pub(super) fn table(&self, dry_run: bool) -> String {
        let seconds = self.begin.elapsed().as_secs_f64();
        let begin = if dry_run {
            "Dry run, nothing was changed: "
        } else {
            ""
        };
        let mut text = format!("{begin}{} in {seconds:.1} s", self.counted());
        if self.refused > 0 {
            text.push_str(&format!(
                "\nThe refused rows are in {}",
                self.file.display()
            ));
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "created": self.created,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "refused": self.refused,
            "errors_file": (self.refused > 0).then(|| self.file.display().to_string()),
            "seconds": self.begin.elapsed().as_secs_f64(),
        })
    }
}
