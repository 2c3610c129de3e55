//! Log files of what was started, and their last lines for when it went wrong.

use std::{
    fs::{self, File},
    path::Path,
};

use anyhow::{Context, Result};

/// A new log file, empty, readable by its owner only.
pub(crate) fn create(path: &Path) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    // Several processes may hold it, each writes at its end.
    let options = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path);
    let file = options.with_context(|| format!("the log {} can't be written", path.display()))?;
    file.set_len(0)?;
    Ok(file)
}

/// The last lines of a log, each indented.
pub fn last_lines(path: &Path, count: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().rev().take(count).collect();
    if lines.is_empty() {
        return format!("    ({} is empty)", path.display());
    }
    lines
        .into_iter()
        .rev()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_come_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log/some.log");
        create(&path).unwrap();
        assert!(last_lines(&path, 3).contains("empty"));
        fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(last_lines(&path, 2), "    two\n    three");
    }
}
