//! Files of rows: CSV, or JSON Lines.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Cursor, Read, Write},
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

/// Stands behind the last row of CSV. Where it does not come as a row of its own, a quote was left open.
const END: &str = "\u{1}the rows end here";

/// The columns without which no row can be told from another.
const KNOWN_BY: [&str; 2] = ["user_name", "display_name"];

/// What some programs begin a file of UTF-8 with.
const BOM: char = '\u{feff}';

/// What text is to be done with that has bytes of another encoding.
const NOT_UTF_8: &str = "not UTF-8: save the file in that encoding";

/// What a file of refused rows says of each, before the row's own columns; passed over where it is imported.
pub(super) const ABOUT: [&str; 5] = ["row", "line", "name", "reason", "message"];

/// The object of JSON Lines that has that, and the first part of the columns of CSV.
pub(super) const ERROR: &str = "error";

/// A row as it stands in the file, to be written as it is where it is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Raw {
    /// Of CSV, without what a file of refused rows has put before it.
    Cells(Vec<String>),
    /// Of JSON Lines.
    Line(String),
}

/// How a file spells its rows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    /// With these columns.
    Csv(Vec<&'static str>),
    Jsonl,
}

/// A row, or what is wrong with it, and where and how it stands.
pub(super) type ReadRow = (Place, Raw, Result<Row, String>);

/// The rows of a file, one after the other.
pub(super) enum Reader {
    Csv {
        reader: csv::Reader<Box<dyn Read>>,
        /// None: one of those that are passed over.
        columns: Vec<Option<&'static Column>>,
        record: csv::ByteRecord,
        place: Place,
    },
    Jsonl {
        reader: BufReader<Box<dyn Read>>,
        columns: &'static [Column],
        line: Vec<u8>,
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
                line: Vec::new(),
                place: Place::default(),
            });
        }
        let ended: Box<dyn Read> = Box::new(source.chain(Cursor::new(format!("\n{END}\n"))));
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(ended);
        let headers = reader.byte_headers().map_err(of_reading)?;
        let headers: Vec<&str> = headers
            .iter()
            .map(|header| str::from_utf8(header).map(|text| text.trim_start_matches(BOM).trim()))
            .collect::<Result<_, _>>()
            .map_err(|_| Failure::usage(format!("the first line is {NOT_UTF_8}")))?;
        if matches!(headers.as_slice(), [] | ["" | END]) {
            return Err(Failure::usage(
                "the file is empty: the first line of CSV names its columns",
            ));
        }
        if headers.iter().any(|header| header.ends_with(END)) {
            return Err(Failure::usage(
                "the first line has a quote that is not closed",
            ));
        }
        let mut found: Vec<Option<&'static Column>> = Vec::new();
        for header in &headers {
            // As some spreadsheets write it.
            if headers.len() == 1
                && let Some(separator) = [';', '\t'].into_iter().find(|one| header.contains(*one))
            {
                return Err(Failure::usage(format!(
                    "the columns are separated by {separator:?}, and must be by commas"
                )));
            }
            if is_about(header) {
                found.push(None);
                continue;
            }
            let column = find(columns, header).map_err(Failure::usage)?;
            if found.contains(&Some(column)) {
                return Err(Failure::usage(format!(
                    "the column {} is there twice",
                    column.path
                )));
            }
            found.push(Some(column));
        }
        let missing = columns
            .iter()
            .find(|column| KNOWN_BY.contains(&column.path) && !found.contains(&Some(column)));
        if let Some(missing) = missing {
            return Err(Failure::usage(format!(
                "there is no column {}, by which a row is known",
                missing.path
            )));
        }
        Ok(Self::Csv {
            reader,
            columns: found,
            record: csv::ByteRecord::new(),
            place: Place::default(),
        })
    }

    /// How the file spells its rows.
    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Csv { columns, .. } => {
                Shape::Csv(columns.iter().flatten().map(|column| column.path).collect())
            }
            Self::Jsonl { .. } => Shape::Jsonl,
        }
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
                let more = reader.read_byte_record(record).map_err(of_reading)?;
                if !more || (record.len() == 1 && &record[0] == END.as_bytes()) {
                    return Ok(None);
                }
                let position = record.position();
                *place = Place {
                    row: place.row + 1,
                    line: position.map_or(0, csv::Position::line),
                    byte: position.map_or(0, csv::Position::byte),
                };
                Ok(Some((
                    *place,
                    raw(columns, record),
                    of_record(columns, record),
                )))
            }
            Self::Jsonl {
                reader,
                columns,
                line,
                place,
            } => loop {
                place.byte += line.len() as u64;
                line.clear();
                if reader.read_until(b'\n', line)? == 0 {
                    return Ok(None);
                }
                place.line += 1;
                let text = str::from_utf8(line).map(|text| text.trim_start_matches(BOM).trim());
                if text == Ok("") {
                    continue;
                }
                place.row += 1;
                let row = match text.map(serde_json::from_str) {
                    Ok(Ok(Value::Object(object))) => Row::of_line(columns, &object),
                    Ok(Ok(_)) => Err("not a JSON object".to_owned()),
                    Ok(Err(error)) => Err(format!("not JSON: {error}")),
                    Err(_) => Err(NOT_UTF_8.to_owned()),
                };
                let raw = Raw::Line(String::from_utf8_lossy(line).trim_end().to_owned());
                return Ok(Some((*place, raw, row)));
            },
        }
    }
}

/// Whether a column of CSV is one of a file of refused rows that is no part of the row.
fn is_about(header: &str) -> bool {
    let part = header
        .strip_prefix(ERROR)
        .and_then(|rest| rest.strip_prefix('.'));
    part.is_some_and(|part| ABOUT.contains(&part))
}

/// A record of CSV as it stands in the file.
fn raw(columns: &[Option<&'static Column>], record: &csv::ByteRecord) -> Raw {
    let cells = record.iter().enumerate();
    let own = cells.filter(|(index, _)| columns.get(*index).is_none_or(Option::is_some));
    let text = |(_, cell)| {
        let text = String::from_utf8_lossy(cell);
        text.trim_end()
            .strip_suffix(END)
            .unwrap_or(&text)
            .to_owned()
    };
    Raw::Cells(own.map(text).collect())
}

/// The row that a record of CSV spells out.
fn of_record(columns: &[Option<&'static Column>], record: &csv::ByteRecord) -> Result<Row, String> {
    if record
        .iter()
        .any(|cell| cell.trim_ascii_end().ends_with(END.as_bytes()))
    {
        return Err(
            "a quote is not closed: all from here to the end of the file is one row".to_owned(),
        );
    }
    let cells: Vec<&str> = record
        .iter()
        .map(str::from_utf8)
        .collect::<Result<_, _>>()
        .map_err(|_| NOT_UTF_8.to_owned())?;
    match cells.len() == columns.len() {
        true => {
            let cells = columns.iter().zip(cells);
            let (columns, cells): (Vec<_>, Vec<_>) = cells
                .filter_map(|(column, cell)| Some(((*column)?, cell)))
                .unzip();
            Row::of_cells(&columns, cells.into_iter())
        }
        false => Err(format!(
            "{} cells under {} columns",
            cells.len(),
            columns.len()
        )),
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

/// What goes wrong where CSV is read as bytes is the reading.
fn of_reading(error: csv::Error) -> Failure {
    Failure::new(format!("the file can't be read: {error}"))
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

    fn rows<T: AsRef<[u8]> + ?Sized>(
        text: &'static T,
        format: Format,
    ) -> Vec<(u64, u64, Result<Row, String>)> {
        let mut reader = Reader::of(Box::new(text.as_ref()), format, GRANTS).unwrap();
        let mut rows = Vec::new();
        while let Some((place, _, row)) = reader.next().unwrap() {
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
    fn bytes_of_another_encoding_are_that_rows_fault_only() {
        let csv = rows(b"user_name,reason\na@x,J\xf6rg\nb@x,z\n", Format::Csv);
        let line = b"{\"reason\": \"J\xf6rg\"}\n{\"user_name\": \"b@x\"}\n";
        for rows in [csv, rows(line, Format::Jsonl)] {
            assert_eq!(rows[0].2.as_ref().unwrap_err(), NOT_UTF_8);
            assert_eq!(rows[1].2.as_ref().unwrap().text("user_name"), Some("b@x"));
            assert_eq!(rows.len(), 2);
        }
    }

    #[test]
    fn an_open_quote_swallows_no_row_unseen() {
        for csv in [
            "user_name,reason\na@x,y\nb@x,\"z\nc@x,z\n",
            "user_name,reason\na@x,y\nb@x,\"z\nc@x,z",
            "user_name,reason\na@x,y\nb@x,\"",
            "user_name,reason\na@x,y\n\"b@x",
        ] {
            let rows = rows(csv, Format::Csv);
            assert!(rows[0].2.is_ok());
            let wrong = rows[1].2.as_ref().unwrap_err();
            assert!(wrong.contains("a quote is not closed"), "{csv:?}: {wrong}");
            assert_eq!((rows[1].0, rows[1].1, rows.len()), (2, 3, 2), "{csv:?}");
        }
        // A last row without an end of the line is one like the others.
        let rows = rows("user_name,reason\na@x,\"y\"", Format::Csv);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].2.as_ref().unwrap().text("reason"), Some("y"));
    }

    #[test]
    fn what_a_file_of_refused_rows_says_of_them_is_passed_over() {
        let csv = "error.row,error.message,user_name,reason\n7,\"no, never\",a@x,y\n";
        let mut reader = Reader::of(Box::new(csv.as_bytes()), Format::Csv, GRANTS).unwrap();
        assert_eq!(reader.shape(), Shape::Csv(vec!["user_name", "reason"]));
        let (_, raw, row) = reader.next().unwrap().unwrap();
        assert_eq!(raw, Raw::Cells(vec!["a@x".to_owned(), "y".to_owned()]));
        assert_eq!(row.unwrap().text("reason"), Some("y"));
        let line = "{\"error\": {\"row\": 7}, \"user_name\": \"a@x\"}";
        let rows = rows(line, Format::Jsonl);
        assert_eq!(rows[0].2.as_ref().unwrap().text("user_name"), Some("a@x"));
        let wrong = Reader::of(
            Box::new(&b"user_name,error.else\n"[..]),
            Format::Csv,
            GRANTS,
        );
        assert!(wrong.is_err());
    }

    #[test]
    fn a_first_line_that_names_no_columns_is_refused_before_any_row() {
        for (header, part) in [
            (&b"user_name,whatever\n"[..], "whatever"),
            (b"user_name,user_name\n", "twice"),
            (b"", "empty"),
            (b"\n\n", "empty"),
            (b"\xef\xbb\xbf", "empty"),
            (b"user_name;reason\na@x;y\n", "commas"),
            (b"user_name\treason\n", "commas"),
            (b"\xff\xfeu\0s\0e\0r\0", "not UTF-8"),
            (b"user_name,\"reason\na@x,y\n", "not closed"),
            (b"target.kind,reason\nrole,y\n", "no column user_name"),
        ] {
            let Err(failure) = Reader::of(Box::new(header), Format::Csv, GRANTS) else {
                panic!("{header:?}");
            };
            let text = failure.to_string();
            assert!(text.contains(part), "{text}");
        }
    }
}
