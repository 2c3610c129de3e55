//! Files that only their owner may read.

use std::{fs::Permissions, io::Write, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, Result};

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let context = || format!("{} can't be written", path.display());
    let folder = path.parent().with_context(context)?;
    // A temporary file is made readable by its owner only.
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(context)?;
    file.write_all(text.as_bytes()).with_context(context)?;
    file.persist(path).with_context(context)?;
    Ok(())
}

/// Makes a folder with these permissions, and those above it as the system does.
pub(crate) fn make_folder(path: &Path, mode: u32) -> Result<()> {
    let context = || format!("the folder {} can't be made", path.display());
    std::fs::create_dir_all(path).with_context(context)?;
    std::fs::set_permissions(path, Permissions::from_mode(mode)).with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dev.env");
        write_private(&path, "A=1\n").unwrap();
        write_private(&path, "A=2\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "A=2\n");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
