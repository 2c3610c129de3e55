//! Files of rows: CSV, or JSON Lines.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use serde_json::Value;

use super::columns::{Column, Row, find};
use crate::failure::Failure;

/// How rows are written in a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// Comma-separated values, with the columns' names in the first line
    Csv,
    /// One JSON object a line
    Jsonl,
}

impl Format {
    /// The format that was said, or that a file's name says.
    pub(super) fn of(said: Option<Self>, file: &Path) -> Result<Self, Failure> {
        let extension = file.extension().and_then(|extension| extension.to_str());
        match (said, extension) {
            (Some(format), _) => Ok(format),
            (None, Some("csv")) => Ok(Self::Csv),
            (None, Some("jsonl" | "ndjson")) => Ok(Self::Jsonl),
            (None, _) => Err(Failure::usage(
                "say how the file is written: --format csv or --format jsonl",
            )),
        }
    }
}

/// Where a row stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// The how manieth row it is, from 1.
    pub(super) row: u64,
    /// The line of the file, from 1.
    pub(super) line: u64,
    /// How many bytes of the file lie before it.
    pub(super) byte: u64,
}

/// A row, or what is wrong with it, and where it stands.
pub(super) type ReadRow = (Place, Result<Row, String>);

/// The rows of a file, one after the other.
pub(super) enum Reader {
    Csv {
        reader: csv::Reader<Box<dyn Read>>,
        columns: Vec<&'static Column>,
        record: csv::StringRecord,
        place: Place,
    },
    Jsonl {
        reader: BufReader<Box<dyn Read>>,
        columns: &'static [Column],
        line: String,
        place: Place,
    },
}

impl Reader {
    /// Opens a file; `-` is standard input.
    pub(super) fn open(
        file: &Path,
        format: Format,
        columns: &'static [Column],
    ) -> Result<Self, Failure> {
        let source: Box<dyn Read> = match file == Path::new("-") {
            true => Box::new(io::stdin()),
            false => Box::new(File::open(file).map_err(|error| of_file(file, &error))?),
        };
        Self::of(source, format, columns)
    }

    fn of(
        source: Box<dyn Read>,
        format: Format,
        columns: &'static [Column],
    ) -> Result<Self, Failure> {
        if format == Format::Jsonl {
            return Ok(Self::Jsonl {
                reader: BufReader::new(source),
                columns,
                line: String::new(),
                place: Place::default(),
            });
        }
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(source);
        let headers = reader
            .headers()
            .map_err(|error| Failure::usage(format!("not CSV: {error}")))?;
        let mut found: Vec<&'static Column> = Vec::new();
        for header in headers {
            let column = find(columns, header.trim_start_matches('\u{feff}').trim())
                .map_err(Failure::usage)?;
            if found.contains(&column) {
                return Err(Failure::usage(format!(
                    "the column {} is there twice",
                    column.path
                )));
            }
            found.push(column);
        }
        Ok(Self::Csv {
            reader,
            columns: found,
            record: csv::StringRecord::new(),
            place: Place::default(),
        })
    }

    /// The next row, or what is wrong with it; none after the last one.
    pub(super) fn next(&mut self) -> Result<Option<ReadRow>, Failure> {
        match self {
            Self::Csv {
                reader,
                columns,
                record,
                place,
            } => {
                let more = reader
                    .read_record(record)
                    .map_err(|error| Failure::usage(format!("not CSV: {error}")))?;
                if !more {
                    return Ok(None);
                }
                let position = record.position();
                *place = Place {
                    row: place.row + 1,
                    line: position.map_or(0, csv::Position::line),
                    byte: position.map_or(0, csv::Position::byte),
                };
                let row = match record.len() == columns.len() {
                    true => Row::of_cells(columns, record.iter()),
                    false => Err(format!(
                        "{} cells under {} columns",
                        record.len(),
                        columns.len()
                    )),
                };
                Ok(Some((*place, row)))
            }
            Self::Jsonl {
                reader,
                columns,
                line,
                place,
            } => loop {
                place.byte += line.len() as u64;
                line.clear();
                if reader.read_line(line)? == 0 {
                    return Ok(None);
                }
                place.line += 1;
                let text = line.trim_start_matches('\u{feff}').trim();
                if text.is_empty() {
                    continue;
                }
                place.row += 1;
                let row = match serde_json::from_str(text) {
                    Ok(Value::Object(object)) => Row::of_line(columns, &object),
                    Ok(_) => Err("not a JSON object".to_owned()),
                    Err(error) => Err(format!("not JSON: {error}")),
                };
                return Ok(Some((*place, row)));
            },
        }
    }
}

/// Writes rows. A file has its name only once it is whole.
pub(super) struct Writer {
    sink: Sink,
    /// The name it is to have, and the one that it has until then.
    names: Option<(PathBuf, PathBuf)>,
}

enum Sink {
    Csv(Box<csv::Writer<Box<dyn Write>>>),
    Jsonl(Box<dyn Write>),
}

impl Writer {
    /// Begins a file; `-` is standard output.
    pub(super) fn create(file: &Path, format: Format, columns: &[Column]) -> Result<Self, Failure> {
        let (sink, names): (Box<dyn Write>, _) = match file == Path::new("-") {
            true => (Box::new(BufWriter::new(io::stdout())), None),
            false => {
                let mut part = file.as_os_str().to_owned();
                part.push(".part");
                let part = PathBuf::from(part);
                let created = File::create(&part).map_err(|error| of_file(&part, &error))?;
                (
                    Box::new(BufWriter::new(created)),
                    Some((file.to_owned(), part)),
                )
            }
        };
        let sink = match format {
            Format::Jsonl => Sink::Jsonl(sink),
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(sink);
                writer
                    .write_record(columns.iter().map(|column| column.path))
                    .map_err(of_csv)?;
                Sink::Csv(Box::new(writer))
            }
        };
        Ok(Self { sink, names })
    }

    /// Writes a row.
    pub(super) fn write(&mut self, row: &Row) -> Result<(), Failure> {
        match &mut self.sink {
            Sink::Csv(writer) => writer.write_record(row.cells()).map_err(of_csv),
            Sink::Jsonl(sink) => Ok(writeln!(sink, "{}", row.object())?),
        }
    }

    /// Ends the file and gives it its name.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        match &mut self.sink {
            Sink::Csv(writer) => writer.flush()?,
            Sink::Jsonl(sink) => sink.flush()?,
        }
        if let Some((name, part)) = &self.names {
            fs::rename(part, name).map_err(|error| of_file(name, &error))?;
        }
        Ok(())
    }
}

fn of_csv(error: csv::Error) -> Failure {
    Failure::new(error.to_string())
}

fn of_file(file: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::{super::columns::GRANTS, *};

    fn rows(text: &'static str, format: Format) -> Vec<(u64, u64, Result<Row, String>)> {
        let mut reader = Reader::of(Box::new(text.as_bytes()), format, GRANTS).unwrap();
        let mut rows = Vec::new();
        while let Some((place, row)) = reader.next().unwrap() {
            rows.push((place.row, place.line, row));
        }
        rows
    }

    #[test]
    fn rows_know_where_they_stand() {
        let csv = "\u{feff}user_name,reason\na@x,\"two\nlines\"\nb@x\nc@x,z\n";
        let rows = rows(csv, Format::Csv);
        let places: Vec<_> = rows.iter().map(|(row, line, _)| (*row, *line)).collect();
        assert_eq!(places, [(1, 2), (2, 4), (3, 5)]);
        assert_eq!(
            rows[0].2.as_ref().unwrap().text("reason"),
            Some("two\nlines")
        );
        assert!(
            rows[1]
                .2
                .as_ref()
                .unwrap_err()
                .contains("1 cells under 2 columns")
        );
        assert_eq!(rows[2].2.as_ref().unwrap().text("user_name"), Some("c@x"));
    }

    #[test]
    fn a_line_that_is_no_object_is_that_rows_fault_only() {
        let rows = rows(
            "{\"user_name\": \"a@x\"}\n\n[1]\n{\"user_name\": \"b@x\"}",
            Format::Jsonl,
        );
        let places: Vec<_> = rows.iter().map(|(row, line, _)| (*row, *line)).collect();
        assert_eq!(places, [(1, 1), (2, 3), (3, 4)]);
        assert!(rows[1].2.is_err());
        assert_eq!(rows[2].2.as_ref().unwrap().text("user_name"), Some("b@x"));
    }

    #[test]
    fn an_unknown_or_doubled_column_is_refused_before_any_row() {
        for header in ["user_name,whatever\n", "user_name,user_name\n"] {
            assert!(Reader::of(Box::new(header.as_bytes()), Format::Csv, GRANTS).is_err());
        }
    }
}
