//! Python with the packages that a test needs, each at one version, below the target folder.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The `python` of a virtual environment with what the file `requirements` names; made where it is not
/// there yet. `folder` is one for temporary files of the tests (`CARGO_TARGET_TMPDIR`), `name` says who
/// needs it.
///
/// # Panics
/// Without Python 3.11 or later, its venv module, or a package index, and says which.
pub fn environment(folder: &str, name: &str, requirements: &Path) -> PathBuf {
    let folder = Path::new(folder).join(name);
    let python = folder.join("bin/python");
    let wanted = fs::read_to_string(requirements).unwrap();
    let installed = folder.join("installed");
    // Another run of the tests may be at it.
    let lock = File::create(folder.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
        return python;
    }
    let version = "import sys; sys.exit(sys.version_info < (3, 11))";
    done(
        Command::new("python3").args(["-c", version]),
        &format!("{name} needs Python 3.11 or later as `python3`"),
    );
    done(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder),
        "`python3` can't make a virtual environment: install its venv module (Debian: python3-venv)",
    );
    done(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(requirements),
        &format!("pip can't install what {name} needs: it must reach a package index"),
    );
    fs::write(installed, wanted).unwrap();
    python
}

/// Runs a command that must succeed; panics with what it takes and what the command said.
#[track_caller]
pub fn done(command: &mut Command, needed: &str) -> Output {
    match command.output() {
        Ok(output) if output.status.success() => output,
        Ok(output) => panic!(
            "{needed}\n{command:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => panic!("{needed}\n{command:?}: {error}"),
    }
}
