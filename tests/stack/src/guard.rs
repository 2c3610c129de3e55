//! The guard: a small process that outlives whoever started the stack and leaves nothing running.
//!
//! The launcher holds the guard's standard input open and writes a line for everything that it starts.
//! When the input ends, and be it because the launcher was killed, the guard stops what is left. What
//! the guard knows also stands in a file (the ledger), for the case that both were killed: the next
//! launcher begins by reading it.

use std::{
    env, fs,
    io::{self, BufRead, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::process::Identity;

/// Something that must not outlive the launcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charge {
    /// A service: asked to stop, then stopped.
    Service(Identity),
    /// A PostgreSQL server whose data is kept: shut down in order.
    Postgres(Identity),
    /// A PostgreSQL server whose data is thrown away: stopped at once.
    ThrowawayPostgres(Identity),
    /// A folder: removed, after all that runs has stopped.
    Folder(PathBuf),
}

impl Charge {
    fn to_line(&self) -> String {
        match self {
            Self::Service(process) => format!("service {}", process.to_line()),
            Self::Postgres(process) => format!("postgres {}", process.to_line()),
            Self::ThrowawayPostgres(process) => format!("throwaway {}", process.to_line()),
            Self::Folder(path) => format!("folder {}", path.display()),
        }
    }

    fn from_line(line: &str) -> Option<Self> {
        let (kind, rest) = line.split_once(' ')?;
        match kind {
            "service" => Identity::from_line(rest).map(Self::Service),
            "postgres" => Identity::from_line(rest).map(Self::Postgres),
            "throwaway" => Identity::from_line(rest).map(Self::ThrowawayPostgres),
            "folder" => Some(Self::Folder(PathBuf::from(rest))),
            _ => None,
        }
    }

    fn discharge(&self) {
        match self {
            Self::Service(process) => process.stop(SERVICE_STEPS),
            Self::Postgres(process) => process.stop(POSTGRES_STEPS),
            Self::ThrowawayPostgres(process) => process.stop(THROWAWAY_STEPS),
            Self::Folder(path) => fs::remove_dir_all(path).is_ok(),
        };
    }
}

/// How a service is stopped: it may finish its requests.
pub(crate) const SERVICE_STEPS: &[(Signal, Duration)] = &[
    (Signal::SIGTERM, Duration::from_secs(15)),
    (Signal::SIGKILL, Duration::from_secs(5)),
];
/// How PostgreSQL is stopped: fast shutdown, immediate shutdown, the end.
pub(crate) const POSTGRES_STEPS: &[(Signal, Duration)] = &[
    (Signal::SIGINT, Duration::from_secs(30)),
    (Signal::SIGQUIT, Duration::from_secs(10)),
    (Signal::SIGKILL, Duration::from_secs(5)),
];
/// How PostgreSQL is stopped where its data is thrown away.
pub(crate) const THROWAWAY_STEPS: &[(Signal, Duration)] = &[
    (Signal::SIGQUIT, Duration::from_secs(10)),
    (Signal::SIGKILL, Duration::from_secs(5)),
];

/// A running guard. Clones speak to the same one; when the last is dropped, the guard stops what was
/// not forgotten, and ends.
#[derive(Clone, Debug)]
pub struct Guard {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    process: Child,
    lines: Option<ChildStdin>,
    charges: Vec<Charge>,
    ledger: Option<PathBuf>,
}

impl Guard {
    /// Starts a guard, with a file that says what it guards, where one is wanted.
    pub fn spawn(ledger: Option<PathBuf>) -> Result<Self> {
        let mut process = Command::new(program("roster-stack")?)
            .arg("guard")
            .stdin(Stdio::piped())
            // A group of its own: Ctrl-C is for the launcher.
            .process_group(0)
            .spawn()
            .context("the guard process could not be started")?;
        let lines = process.stdin.take();
        let state = State {
            process,
            lines,
            charges: Vec::new(),
            ledger,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
            }),
        })
    }

    /// Puts something under guard.
    pub fn watch(&self, charge: Charge) -> Result<()> {
        let mut state = self
            .inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state
            .tell(&charge.to_line())
            .context("the guard process is gone")?;
        state.charges.push(charge);
        state.write_ledger()
    }

    /// Takes something out of guard: it was stopped, or removed.
    pub fn forget(&self, charge: &Charge) {
        let mut state = self
            .inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state.charges.retain(|known| known != charge);
        // A guard that is gone can guard nothing: there is nothing to take back.
        drop(state.tell(&format!("forget {}", charge.to_line())));
        drop(state.write_ledger());
    }
}

impl State {
    fn tell(&mut self, line: &str) -> io::Result<()> {
        let lines = self.lines.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(lines, "{line}")?;
        lines.flush()
    }

    fn write_ledger(&self) -> Result<()> {
        let Some(ledger) = &self.ledger else {
            return Ok(());
        };
        let lines: String = self
            .charges
            .iter()
            .map(|charge| charge.to_line() + "\n")
            .collect();
        fs::write(ledger, lines).with_context(|| format!("{} can't be written", ledger.display()))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // The end of its input is the guard's sign to stop what is left.
        self.lines = None;
        drop(self.process.wait());
    }
}

/// What the guard process does: reads lines until its input ends, then stops what is left, the latest
/// first, as what was started later needs what was started before.
pub fn run_guard() -> Result<()> {
    let mut charges = Vec::new();
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        match line.strip_prefix("forget ") {
            Some(known) => charges.retain(|charge: &Charge| charge.to_line() != known),
            None => charges.extend(Charge::from_line(&line)),
        }
    }
    discharge(&charges);
    Ok(())
}

/// Stops what a launcher left behind that was killed together with its guard.
pub fn recover(ledger: &Path) -> usize {
    let Ok(text) = fs::read_to_string(ledger) else {
        return 0;
    };
    let charges: Vec<Charge> = text.lines().filter_map(Charge::from_line).collect();
    let alive = charges
        .iter()
        .filter(|charge| match charge {
            Charge::Service(process)
            | Charge::Postgres(process)
            | Charge::ThrowawayPostgres(process) => process.is_alive(),
            Charge::Folder(_) => false,
        })
        .count();
    discharge(&charges);
    drop(fs::remove_file(ledger));
    alive
}

fn discharge(charges: &[Charge]) {
    let (folders, processes): (Vec<_>, Vec<_>) = charges
        .iter()
        .rev()
        .partition(|charge| matches!(charge, Charge::Folder(_)));
    for charge in processes.into_iter().chain(folders) {
        charge.discharge();
    }
}

/// Where cargo puts the programs of this workspace, seen from an example in documentation, which runs in a
/// folder of its own.
fn target() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        PathBuf::from,
    );
    target.join("debug")
}

/// A program of this workspace: beside the running one, or above it where that is a test.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("the running program has no path")?;
    let beside = own.ancestors().skip(1).take(2).map(Path::to_owned);
    for folder in beside.chain([target()]) {
        let candidate = folder.join(name);
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!(
        "the program `{name}` was not found beside {}: run `cargo build --workspace --bins` first",
        own.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_they_said() {
        let process = Identity::of(std::process::id()).unwrap();
        for charge in [
            Charge::Service(process.clone()),
            Charge::Postgres(process.clone()),
            Charge::ThrowawayPostgres(process),
            Charge::Folder(PathBuf::from("/tmp/a folder")),
        ] {
            assert_eq!(Charge::from_line(&charge.to_line()), Some(charge));
        }
        assert_eq!(Charge::from_line("nonsense"), None);
        assert_eq!(Charge::from_line("service x y"), None);
    }

    #[test]
    fn a_missing_ledger_means_that_nothing_was_left() {
        assert_eq!(recover(Path::new("/nowhere/processes")), 0);
    }
}
