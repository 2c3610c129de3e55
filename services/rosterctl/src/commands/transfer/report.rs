//! What became of the rows of an import, and the file of those that were refused.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use identity_proto::v1::Receipt;
use serde_json::{Map, Value, json};

use super::files::{ABOUT, ERROR, Place, Raw, Shape};
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

impl Done {
    /// What became of a row that changed what was there, by the receipt.
    pub(super) fn of_update(receipt: Option<&Receipt>) -> Self {
        match receipt.is_some_and(|receipt| receipt.changed) {
            true => Self::Updated,
            false => Self::Unchanged,
        }
    }
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
    /// How the rows are written: as in the file that they are from.
    shape: Shape,
    writer: Option<Refused>,
}

/// The file of refused rows.
#[derive(Debug)]
enum Refused {
    Csv(Box<csv::Writer<File>>),
    Jsonl(File),
}

impl Refused {
    fn create(file: &Path, shape: &Shape) -> io::Result<Self> {
        let Shape::Csv(columns) = shape else {
            return Ok(Self::Jsonl(File::create(file)?));
        };
        // A row may have been refused for the number of its cells.
        let mut writer = csv::WriterBuilder::new().flexible(true).from_path(file)?;
        let about = ABOUT.iter().map(|about| format!("{ERROR}.{about}"));
        let own = columns.iter().map(|column| (*column).to_owned());
        writer.write_record(about.chain(own))?;
        Ok(Self::Csv(Box::new(writer)))
    }

    /// Writes a row, behind what there is to say of it. It is known even if this process ends here.
    fn write(&mut self, raw: &Raw, about: [&str; ABOUT.len()]) -> io::Result<()> {
        match (self, raw) {
            (Self::Csv(writer), Raw::Cells(cells)) => {
                writer.write_record(about.into_iter().chain(cells.iter().map(String::as_str)))?;
                writer.flush()
            }
            (Self::Csv(writer), Raw::Line(_)) => writer.flush(),
            (Self::Jsonl(file), raw) => {
                let said: Map<String, Value> = ABOUT
                    .iter()
                    .zip(about)
                    .map(|(name, text)| ((*name).to_owned(), json!(text)))
                    .collect();
                let mut object = Map::new();
                object.insert(ERROR.to_owned(), Value::Object(said));
                let Raw::Line(line) = raw else {
                    return Ok(());
                };
                match serde_json::from_str(line) {
                    Ok(Value::Object(mut own)) => {
                        own.remove(ERROR);
                        object.extend(own);
                    }
                    // Not to be told apart into columns.
                    _ => object[ERROR]["text"] = json!(line),
                }
                writeln!(file, "{}", Value::Object(object))
            }
        }
    }
}

impl Report {
    /// About the rows of this file.
    pub(super) fn new(source: &Path, errors: Option<PathBuf>, shape: Shape) -> Self {
        let ours = errors.is_none();
        let file = errors.unwrap_or_else(|| {
            let mut name = match source == Path::new("-") {
                true => "import".into(),
                false => source.as_os_str().to_owned(),
            };
            name.push(match shape {
                Shape::Csv(_) => ".errors.csv",
                Shape::Jsonl => ".errors.jsonl",
            });
            PathBuf::from(name)
        });
        Self {
            created: 0,
            updated: 0,
            unchanged: 0,
            refused: 0,
            begin: Instant::now(),
            file,
            ours,
            shape,
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
        raw: &Raw,
        name: &str,
        reason: &str,
        message: &str,
    ) -> Result<Option<String>, Failure> {
        self.refused += 1;
        let file = &self.file;
        let failed = |error: io::Error| Failure::new(format!("{}: {error}", file.display()));
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(Refused::create(file, &self.shape).map_err(failed)?),
        };
        let (row, line) = (place.row.to_string(), place.line.to_string());
        writer
            .write(raw, [&row, &line, name, reason, message])
            .map_err(failed)?;
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
