//! Which build a process is: the version of the source, and the commit that it was built from.

use std::sync::LazyLock;

use prometheus_client::metrics::{family::Family, gauge::Gauge};

use crate::metrics::Metrics;

/// The version of the source.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that was built, as `ROSTER_COMMIT` said to the compiler; `unknown` where it did not. It is not read
/// from the checkout: every commit would then compile everything again.
pub const COMMIT: &str = match option_env!("ROSTER_COMMIT") {
    Some(commit) if !commit.is_empty() => commit,
    _ => "unknown",
};

/// Both, as `--version` shows them.
#[must_use]
pub fn stamp() -> &'static str {
    static STAMP: LazyLock<String> = LazyLock::new(|| format!("{VERSION} (commit {COMMIT})"));
    &STAMP
}

/// Shows both as the labels of `roster_build_info`, whose value is 1.
pub fn register(metrics: &Metrics) {
    let build: Family<Vec<(&str, &str)>, Gauge> = Family::default();
    let build = metrics.register("roster_build_info", "Which build this process is", build);
    build
        .get_or_create(&vec![("version", VERSION), ("commit", COMMIT)])
        .set(1);
}
