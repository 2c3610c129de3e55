//! Which build a process is: the version of the source, and the commit that it was built from.

use std::sync::LazyLock;

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
