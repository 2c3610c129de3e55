//! Shows how far a step of the demonstration is: a bar on a terminal, plain lines elsewhere.

use std::{
    future::Future,
    io::{self, IsTerminal},
};

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};

/// How many requests are under way at once; Okta uses a few connections too.
const CONNECTIONS: usize = 8;

/// One step: its name, and how many parts it has.
pub(super) struct Step {
    name: &'static str,
    bar: Option<ProgressBar>,
    count: usize,
}

impl Step {
    pub(super) fn begin(name: &'static str, count: usize) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(count as u64);
            let style = ProgressStyle::with_template("  {msg:<26} {wide_bar} {pos:>4}/{len}");
            // The template is right: it is a constant, and each run shows it.
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.with_message(name)
        });
        Self { name, bar, count }
    }

    /// Does the parts, a few at once.
    pub(super) async fn each<T, F, R>(
        self,
        parts: impl IntoIterator<Item = T>,
        work: impl Fn(T) -> F,
    ) -> Result<Vec<R>>
    where
        F: Future<Output = Result<R>>,
    {
        let results = stream::iter(parts)
            .map(|part| async {
                let result = work(part).await;
                if let Some(bar) = &self.bar {
                    bar.inc(1);
                }
                result
            })
            .buffer_unordered(CONNECTIONS)
            .try_collect()
            .await?;
        self.done();
        Ok(results)
    }

    /// Says that the step is done.
    pub(super) fn done(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        eprintln!("  {:<26} {:>4} done", self.name, self.count);
    }
}
