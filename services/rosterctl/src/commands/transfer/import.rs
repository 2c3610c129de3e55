//! How rows are written: some hundred at a time, several at once, each known by its name.

use std::{collections::HashMap, future::Future};

use futures_util::{StreamExt, stream};
use indicatif::ProgressBar;
use roster_folding::key;

use super::{
    columns::Row,
    files::{Place, Raw, Reader},
    report::{Done, Report},
};
use crate::{connection::Settings, failure::Failure};

/// How often a row is written that others change at the same time, each time from what is there then.
const ATTEMPTS: usize = 5;

/// Writes a row, and again where others changed meanwhile what it was to be written upon, as one of these reasons
/// tells.
pub(super) async fn written(
    meanwhile: &[&str],
    mut once: impl AsyncFnMut() -> Result<Done, Failure>,
) -> Result<Done, Failure> {
    for _ in 1..ATTEMPTS {
        match once().await {
            Err(failure) if meanwhile.iter().any(|reason| failure.is(reason)) => {}
            outcome => return outcome,
        }
    }
    once().await
}

/// How an import goes about its rows.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub(super) settings: &'a Settings,
    pub(super) dry_run: bool,
    /// What is there already is made as its row says.
    pub(super) update: bool,
    /// How many rows are written at once.
    pub(super) jobs: usize,
}

/// What members, groups and grants do differently.
pub(super) trait Rows {
    /// How many rows are read and looked up together.
    const TOGETHER: usize;
    /// The name that a row is known by; two rows of a file may not have the same. None: it has none.
    fn name(row: &Row) -> Result<String, String>;
    /// Looks up what the rows need, all at once.
    fn look_up(
        &mut self,
        work: &Work<'_>,
        rows: &[&Row],
    ) -> impl Future<Output = Result<(), Failure>>;
    /// Writes a row.
    fn write(&self, work: &Work<'_>, row: &Row) -> impl Future<Output = Result<Done, Failure>>;
}

impl Work<'_> {
    /// Writes all rows of a file. A refused row goes into the report; what would refuse them all ends it.
    pub(super) async fn run<R: Rows>(
        &self,
        mut kind: R,
        mut reader: Reader,
        report: &mut Report,
        bar: &ProgressBar,
    ) -> Result<(), Failure> {
        let mut names: HashMap<String, u64> = HashMap::new();
        loop {
            let mut rows: Vec<(Place, Raw, String, Row)> = Vec::new();
            let mut read = 0;
            while read < R::TOGETHER
                && let Some((place, raw, row)) = reader.next()?
            {
                read += 1;
                let named = row.and_then(|row| Ok((R::name(&row)?, row)));
                let refusal = match named {
                    Err(message) => (String::new(), message),
                    Ok((name, row)) => match names.insert(key(&name), place.row) {
                        Some(before) => {
                            let message = format!("it stands in row {before} already");
                            names.insert(key(&name), before);
                            (name, message)
                        }
                        None => {
                            rows.push((place, raw, name, row));
                            continue;
                        }
                    },
                };
                let line = report.refuse(place, &raw, &refusal.0, "ROW_INVALID", &refusal.1)?;
                tell(bar, line);
            }
            if read == 0 {
                return Ok(());
            }
            let to_look_up: Vec<&Row> = rows.iter().map(|(_, _, _, row)| row).collect();
            kind.look_up(self, &to_look_up).await?;
            let writes = rows.iter().map(|(place, raw, name, row)| {
                let write = kind.write(self, row);
                async move { (*place, raw, name, write.await) }
            });
            let mut writes = stream::iter(writes).buffer_unordered(self.jobs);
            while let Some((place, raw, name, outcome)) = writes.next().await {
                match outcome {
                    Ok(done) => report.done(done),
                    Err(failure) if failure.is_refusal() => {
                        let message = failure.to_string();
                        let line = report.refuse(place, raw, name, failure.reason(), &message)?;
                        tell(bar, line);
                    }
                    Err(failure) => return Err(failure),
                }
                bar.set_position(bar.position().max(place.byte));
                bar.set_message(report.counted());
            }
        }
    }
}

/// Shows a line without disturbing the bar.
fn tell(bar: &ProgressBar, line: Option<String>) {
    if let Some(line) = line {
        bar.suspend(|| eprintln!("{line}"));
    }
}
