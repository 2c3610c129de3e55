//! The two services as processes of their own: started, watched, stopped, killed, started again.

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::{
    guard::{Charge, Guard, SERVICE_STEPS, program},
    logs,
    process::{self, Identity, wait_for},
};

/// How long a service may take to be ready.
const READY: Duration = Duration::from_secs(60);

/// Says that everything that waits should stop waiting. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Asks to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error once somebody asked to stop.
    pub fn check(&self) -> Result<()> {
        if self.is_set() {
            bail!("interrupted");
        }
        Ok(())
    }
}

/// What to start a service with.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    name: &'static str,
    program: Option<PathBuf>,
    arguments: &'static [&'static str],
    port: u16,
    admin_port: u16,
    log: PathBuf,
    variables: Vec<(String, String)>,
    inherits: bool,
    stop: StopFlag,
}

impl ServiceOptions {
    /// The identity service on a database, with its gRPC and its admin port.
    pub fn identity(database_url: &str, port: u16, admin_port: u16, log: &Path) -> Self {
        Self::new("identity", &["serve"], port, admin_port, log)
            .variable("DATABASE_URL", database_url)
            .variable("ROSTER_IDENTITY_LISTEN", format!("127.0.0.1:{port}"))
            .variable(
                "ROSTER_IDENTITY_ADMIN_LISTEN",
                format!("127.0.0.1:{admin_port}"),
            )
    }

    /// The facade before an identity service, with its SCIM and its admin port.
    pub fn facade(identity_port: u16, port: u16, admin_port: u16, log: &Path) -> Self {
        Self::new("facade", &[], port, admin_port, log)
            .variable(
                "ROSTER_IDENTITY_URL",
                format!("http://127.0.0.1:{identity_port}"),
            )
            .variable("ROSTER_PUBLIC_URL", format!("http://127.0.0.1:{port}"))
            .variable("ROSTER_FACADE_LISTEN", format!("127.0.0.1:{port}"))
            .variable(
                "ROSTER_FACADE_ADMIN_LISTEN",
                format!("127.0.0.1:{admin_port}"),
            )
    }

    fn new(
        name: &'static str,
        arguments: &'static [&'static str],
        port: u16,
        admin_port: u16,
        log: &Path,
    ) -> Self {
        Self {
            name,
            program: None,
            arguments,
            port,
            admin_port,
            log: log.to_owned(),
            variables: Vec::new(),
            inherits: false,
            stop: StopFlag::default(),
        }
    }

    /// Runs this build of the program instead of the one beside the running program.
    #[must_use]
    pub fn built(mut self, program: &Path) -> Self {
        self.program = Some(program.to_owned());
        self
    }

    /// Sets a variable of the service's environment; the last one of a name counts.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Passes on the settings of this process's own environment, where they are not set here. Without
    /// it the service knows only what was given.
    #[must_use]
    pub fn inherit_settings(mut self) -> Self {
        self.inherits = true;
        self
    }

    /// Lets the wait for the service be interrupted.
    #[must_use]
    pub fn interrupted_by(mut self, stop: &StopFlag) -> Self {
        self.stop = stop.clone();
        self
    }
}

/// A command with the given variables and, unless it inherits, no other settings of Roster's.
pub(crate) fn command(
    program: &Path,
    variables: &[(String, String)],
    inherits: bool,
) -> Result<Command> {
    let mut command = Command::new(program);
    if !inherits {
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("ROSTER_") || name.starts_with("OTEL_") || name == "DATABASE_URL" {
                command.env_remove(name.as_ref());
            }
        }
    }
    for (name, value) in variables {
        command.env(name, value);
    }
    command.stdin(Stdio::null());
    // A group of its own: Ctrl-C is for the launcher.
    command.process_group(0);
    Ok(command)
}

/// A service. It runs, unless it was stopped or killed or has ended; it is stopped when dropped.
#[derive(Debug)]
pub struct Service {
    options: ServiceOptions,
    guard: Guard,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    identity: Identity,
    charge: Charge,
}

impl Service {
    /// Starts the service and waits until it is ready.
    pub fn start(options: ServiceOptions, guard: &Guard) -> Result<Self> {
        let service = Self {
            options,
            guard: guard.clone(),
            running: Mutex::new(None),
        };
        service.restart()?;
        Ok(service)
    }

    /// Stops the service if it runs, starts it again with the same options and waits until it is ready.
    pub fn restart(&self) -> Result<()> {
        self.stop();
        let options = &self.options;
        let log = logs::create(&options.log)?;
        let program = match &options.program {
            Some(built) => built.clone(),
            None => program(options.name)?,
        };
        let child = command(&program, &options.variables, options.inherits)?
            .args(options.arguments)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} could not be started", options.name))?;
        let identity = Identity::of(child.id()).with_context(|| {
            let last = logs::last_lines(&options.log, 15);
            format!(
                "{} ended at once; the end of its log:\n{last}",
                options.name
            )
        })?;
        let charge = Charge::Service(identity.clone());
        self.guard.watch(charge.clone())?;
        *self.lock() = Some(Running {
            child,
            identity,
            charge,
        });
        self.wait_until_ready()
    }

    fn wait_until_ready(&self) -> Result<()> {
        let options = &self.options;
        let deadline = Instant::now() + READY;
        loop {
            options.stop.check()?;
            if let Some(status) = self.ended() {
                bail!(
                    "{} does not start ({status}); the end of its log:\n{}",
                    options.name,
                    logs::last_lines(&options.log, 15)
                );
            }
            match self.is_ready() {
                Ok(()) => return Ok(()),
                Err(why) if Instant::now() >= deadline => bail!(
                    "{} was not ready after {} seconds ({why}); the end of its log:\n{}",
                    options.name,
                    READY.as_secs(),
                    logs::last_lines(&options.log, 15)
                ),
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Whether the service says that it can do its work; the error says why not.
    pub fn is_ready(&self) -> Result<()> {
        let (status, body) = get(self.options.admin_port, "/readyz")?;
        if status == 200 {
            return Ok(());
        }
        bail!("it says: {}", body.trim())
    }

    /// The program's name.
    pub fn name(&self) -> &'static str {
        self.options.name
    }

    /// The port it serves on, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.options.port
    }

    /// The port of `/livez`, `/readyz` and `/metrics`, at 127.0.0.1.
    pub fn admin_port(&self) -> u16 {
        self.options.admin_port
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        &self.options.log
    }

    /// What `/metrics` says.
    pub fn metrics(&self) -> Result<String> {
        Ok(get(self.options.admin_port, "/metrics")?.1)
    }

    /// The exit status of a service that has ended by itself.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.lock().as_mut()?.child.try_wait().ok().flatten()
    }

    /// Stops the service: it may finish what it has begun.
    pub fn stop(&self) {
        let Some(mut running) = self.lock().take() else {
            return;
        };
        running.identity.resume();
        for (signal, patience) in SERVICE_STEPS {
            let mut ended = || !matches!(running.child.try_wait(), Ok(None));
            if ended() {
                break;
            }
            process::send(running.identity.pid(), *signal);
            if wait_for(*patience, ended) {
                break;
            }
        }
        self.guard.forget(&running.charge);
    }

    /// Kills the service at once.
    pub fn kill(&self) {
        let Some(mut running) = self.lock().take() else {
            return;
        };
        running.child.kill().ok();
        running.child.wait().ok();
        self.guard.forget(&running.charge);
    }

    /// Sends the service a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(running) = self.lock().as_ref() {
            running.identity.signal(signal);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One HTTP request to an admin port: its status and body. Too small a need for an HTTP client.
fn get(port: u16, path: &str) -> Result<(u16, String)> {
    let patience = Duration::from_secs(5);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse_answer(&String::from_utf8_lossy(&answer)).context("the admin port does not speak HTTP")
}

fn parse_answer(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\nstopping\n";
        assert_eq!(parse_answer(answer), Some((503, "stopping\n".to_owned())));
        assert_eq!(parse_answer("SSH-2.0"), None);
    }

    #[test]
    fn waiting_can_be_interrupted() {
        let stop = StopFlag::default();
        assert!(stop.clone().check().is_ok());
        stop.set();
        assert_eq!(stop.clone().check().unwrap_err().to_string(), "interrupted");
    }
}
