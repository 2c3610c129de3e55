//! One run of the PostgreSQL server on a data folder: start, wait until it answers, stop.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::{account::Account, binaries::Binaries};
use crate::{
    guard::{Charge, Guard, POSTGRES_STEPS, THROWAWAY_STEPS},
    logs,
    ports::{free_port, is_taken},
    process::{self, Identity, wait_for},
};

/// How long a start may take: after a crash, PostgreSQL first replays its log.
const START: Duration = Duration::from_secs(120);
/// How long processes of a killed server may hold its memory.
const LEFTOVERS: Duration = Duration::from_secs(20);

/// What a server is started with.
#[derive(Debug)]
pub(super) struct ServerOptions {
    pub(super) account: Account,
    pub(super) binaries: Binaries,
    pub(super) data: PathBuf,
    pub(super) log: PathBuf,
    pub(super) durable: bool,
    pub(super) settings: Vec<(String, String)>,
}

/// A server that runs.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    identity: Identity,
    charge: Charge,
    guard: Guard,
    pub(super) port: u16,
}

impl Server {
    /// Starts the server, on the wished port if that is free, and waits until it takes connections.
    pub(super) fn start(options: &ServerOptions, guard: &Guard, wish: Option<u16>) -> Result<Self> {
        stop_orphan(&options.data)?;
        let mut port = match wish {
            Some(port) if !is_taken(port) => port,
            _ => free_port()?,
        };
        let deadline = Instant::now() + LEFTOVERS;
        loop {
            let mut server = Self::spawn(options, guard, port)?;
            let Some(status) = server.wait_until_ready(&options.data)? else {
                return Ok(server);
            };
            server.guard.forget(&server.charge);
            let last = logs::last_lines(&options.log, 15);
            let in_time = Instant::now() < deadline;
            if in_time && last.contains("could not bind IPv4 address") {
                // Somebody was faster.
                port = free_port()?;
            } else if in_time && last.contains("is still in use") {
                // Processes of a killed server are still ending.
                thread::sleep(Duration::from_millis(100));
            } else {
                bail!("PostgreSQL does not start ({status}); the end of its log:\n{last}");
            }
        }
    }

    fn spawn(options: &ServerOptions, guard: &Guard, port: u16) -> Result<Self> {
        let log = logs::create(&options.log)?;
        let mut command = options.account.command(&options.binaries.postgres());
        command
            .arg("-D")
            .arg(&options.data)
            .args(["-c", &format!("port={port}")])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .args([
                "-c",
                "logging_collector=off",
                "-c",
                "log_destination=stderr",
            ]);
        if !options.durable {
            // Safe against killed processes, not against a lost machine. synchronous_commit stays on:
            // without it, a killed server loses what it had acknowledged.
            command.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        }
        for (name, value) in &options.settings {
            command.args(["-c", &format!("{name}={value}")]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: Ctrl-C is for the launcher.
            .process_group(0)
            .spawn()
            .context("the PostgreSQL server could not be started")?;
        // One that has ended already is noticed by the wait for it to be ready.
        let identity = Identity::of(child.id()).with_context(|| {
            let last = logs::last_lines(&options.log, 15);
            format!("the PostgreSQL server ended at once; the end of its log:\n{last}")
        })?;
        let charge = match options.durable {
            true => Charge::Postgres(identity.clone()),
            false => Charge::ThrowawayPostgres(identity.clone()),
        };
        guard.watch(charge.clone())?;
        Ok(Self {
            child,
            identity,
            charge,
            guard: guard.clone(),
            port,
        })
    }

    /// Waits until the server takes connections; its exit status where it ended instead.
    fn wait_until_ready(&mut self, data: &Path) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            let pid_file = PidFile::read(data);
            if pid_file.is_some_and(|file| file.pid == self.child.id() && file.ready) {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.stop(false);
        bail!("PostgreSQL was not ready after {} seconds", START.as_secs())
    }

    /// Whether the server runs.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Stops the server: in order where its data is kept, at once where not.
    pub(super) fn stop(&mut self, durable: bool) {
        self.resume();
        let steps = if durable {
            POSTGRES_STEPS
        } else {
            THROWAWAY_STEPS
        };
        for (signal, patience) in steps {
            if !self.is_running() {
                break;
            }
            process::send(self.child.id(), *signal);
            if wait_for(*patience, || !self.is_running()) {
                break;
            }
        }
        self.guard.forget(&self.charge);
    }

    /// Kills the server and all its processes, as a machine under memory pressure might.
    pub(super) fn kill(&mut self) {
        let children: Vec<Identity> = process::children(self.child.id())
            .into_iter()
            .filter_map(Identity::of)
            .collect();
        process::send(self.child.id(), Signal::SIGKILL);
        for child in &children {
            child.signal(Signal::SIGKILL);
        }
        self.child.wait().ok();
        for child in &children {
            child.wait_until_gone(Duration::from_secs(5));
        }
        self.guard.forget(&self.charge);
    }

    /// Stops the clock for the server: connections stay open and nothing answers.
    pub(super) fn pause(&self) {
        self.identity.signal(Signal::SIGSTOP);
        for child in process::children(self.child.id()) {
            process::send(child, Signal::SIGSTOP);
        }
    }

    /// Lets a paused server go on.
    pub(super) fn resume(&self) {
        self.identity.resume();
    }
}

/// What `postmaster.pid` says.
struct PidFile {
    pid: u32,
    ready: bool,
}

impl PidFile {
    fn read(data: &Path) -> Option<Self> {
        let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        let ready = lines.nth(6).is_some_and(|status| status.trim() == "ready");
        Some(Self { pid, ready })
    }
}

/// Stops a server that a killed predecessor left on this data folder. The caller holds the lock of the
/// folder, so that no other launcher is at work on it.
fn stop_orphan(data: &Path) -> Result<()> {
    let Some(file) = PidFile::read(data) else {
        return Ok(());
    };
    let Some(orphan) = Identity::of(file.pid) else {
        return Ok(());
    };
    if serves(file.pid, data) {
        if !orphan.stop(POSTGRES_STEPS) {
            bail!(
                "a PostgreSQL server (process {}) holds {} and does not stop",
                file.pid,
                data.display()
            );
        }
    } else {
        // The number belongs to another program by now. PostgreSQL can't tell and would refuse to start.
        fs::remove_file(data.join("postmaster.pid")).ok();
    }
    Ok(())
}

/// Whether the process is a PostgreSQL server on the data folder, which is where it works in.
fn serves(pid: u32, data: &Path) -> bool {
    match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(folder) => fs::canonicalize(data).is_ok_and(|data| data == folder),
        // No such link where there is no /proc: believe the file.
        Err(_) => !Path::new("/proc/self/cwd").exists(),
    }
}
