//! Processes, known for sure. A process id alone may belong to another process by now, so that each
//! is held together with the moment it started.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

/// How often a wait looks again.
const POLL: Duration = Duration::from_millis(20);

/// A process that was seen alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pid: u32,
    started: String,
}

impl Identity {
    /// The process that has this id now; none where nothing runs under it.
    pub fn of(pid: u32) -> Option<Self> {
        started(pid).map(|started| Self { pid, started })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether this very process still runs.
    pub fn is_alive(&self) -> bool {
        started(self.pid).is_some_and(|started| started == self.started)
    }

    /// Sends a signal, unless the process is gone.
    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            send(self.pid, signal);
        }
    }

    /// Waits until the process is gone; false where it outlasts the time.
    pub fn wait_until_gone(&self, patience: Duration) -> bool {
        wait_for(patience, || !self.is_alive())
    }

    /// Lets the process and its children go on, in case they were stopped.
    pub fn resume(&self) {
        if self.is_alive() {
            for child in children(self.pid) {
                send(child, Signal::SIGCONT);
            }
            send(self.pid, Signal::SIGCONT);
        }
    }

    /// Sends one signal after another, each with its time to take effect, until the process is gone.
    pub fn stop(&self, steps: &[(Signal, Duration)]) -> bool {
        // What is stopped takes no notice of most signals.
        self.resume();
        for (signal, patience) in steps {
            self.signal(*signal);
            if self.wait_until_gone(*patience) {
                return true;
            }
        }
        false
    }

    /// One line, for [`Identity::from_line`].
    pub(crate) fn to_line(&self) -> String {
        format!("{} {}", self.pid, self.started)
    }

    /// Reads what [`Identity::to_line`] wrote.
    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let (pid, started) = line.split_once(' ')?;
        Some(Self {
            pid: pid.parse().ok()?,
            started: started.to_owned(),
        })
    }
}

/// Sends a signal to a process; one that is gone already is as good.
pub(crate) fn send(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid)
        && pid > 1
    {
        signal::kill(Pid::from_raw(pid), signal).ok();
    }
}

/// Looks until the condition holds or the time is over; whether it held.
pub(crate) fn wait_for(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(POLL);
    }
}

/// The children of a process.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| stat_fields(*pid).is_some_and(|fields| fields.parent == parent))
        .collect()
}

/// The parts of `/proc/<pid>/stat` that matter here.
struct StatFields {
    state: String,
    parent: u32,
    started: String,
}

fn stat_fields(pid: u32) -> Option<StatFields> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets, which may itself hold spaces and brackets.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    Some(StatFields {
        state: fields.next()?.to_owned(),
        parent: fields.next()?.parse().ok()?,
        // Field 22 of the line; two came before and two have been taken.
        started: fields.nth(17)?.to_owned(),
    })
}

/// When the process started, in whatever way the system tells it; none where it is gone. A process that
/// has ended and waits for its parent to notice is gone.
fn started(pid: u32) -> Option<String> {
    if fs::exists("/proc/self/stat").unwrap_or(false) {
        return stat_fields(pid)
            .filter(|fields| !matches!(fields.state.as_str(), "Z" | "X"))
            .map(|fields| fields.started);
    }
    let output = Command::new("ps")
        .args(["-o", "stat=,lstart=", "-p", &pid.to_string()])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (state, started) = text.trim().split_once(' ')?;
    (!state.starts_with('Z')).then(|| started.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_known_until_it_ends() {
        let mut child = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let identity = Identity::of(child.id()).unwrap();
        assert!(identity.is_alive());
        assert_eq!(
            Identity::from_line(&identity.to_line()),
            Some(identity.clone())
        );
        assert!(identity.stop(&[(Signal::SIGTERM, Duration::from_secs(10))]));
        // It has ended, though nobody has waited for it yet.
        assert!(!identity.is_alive());
        child.wait().unwrap();
    }

    #[test]
    fn an_id_that_was_given_to_another_process_is_left_alone() {
        let mut child = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let predecessor = Identity {
            pid: child.id(),
            started: "a different moment".to_owned(),
        };
        assert!(!predecessor.is_alive());
        assert!(predecessor.stop(&[(Signal::SIGKILL, Duration::from_millis(50))]));
        assert!(Identity::of(child.id()).is_some());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn children_are_found() {
        let mut child = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        assert!(children(std::process::id()).contains(&child.id()) || !cfg!(target_os = "linux"));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
