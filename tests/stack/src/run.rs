//! `make run`: the stack of a project's folder, in the foreground, until it is told to stop.

use std::{
    env,
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

use crate::{
    dev_env::DevEnv,
    files::make_folder,
    guard::{Guard, program, recover},
    logs,
    observe::Observer,
    ports::{is_taken, wished_or_free},
    postgres::ClusterOptions,
    secret::random_text,
    services::StopFlag,
    site,
    stack::{Database, Ports, Stack, StackOptions},
};

/// Where a project keeps what belongs to its stack.
pub(crate) const FOLDER: &str = ".roster";
/// The facts of the stack, in that folder.
pub(crate) const DEV_ENV: &str = "dev.env";

/// Runs the stack of the current folder until it is told to stop, if wished with all that watches over it; fails where
/// it ends by itself.
pub fn run(observed: bool) -> Result<ExitCode> {
    let project = env::current_dir().context("the current folder is gone")?;
    let folder = project.join(FOLDER);
    make_folder(&folder, 0o700)?;
    let _lock = lock(&folder.join("lock"))?;
    let ledger = folder.join("processes");
    let left = recover(&ledger);
    if left > 0 {
        say(&format!(
            "Left over    {left} processes of a run that was killed: stopped"
        ));
    }

    let stop = StopFlag::default();
    let runtime = Runtime::new().context("no runtime")?;
    listen_for_signals(&runtime, &stop)?;
    let env_path = folder.join(DEV_ENV);
    let mut known = DevEnv::read(&env_path)?.unwrap_or_default();
    if known.bootstrap_token.is_empty() {
        known.bootstrap_token = random_text(43);
    }
    let ports = ports()?;
    let observer = match observed {
        true => Some(Observer::new(&folder, ports, &runtime)?),
        false => None,
    };
    let options = StackOptions {
        database: database(&project, &folder)?,
        ports,
        logs: folder.join("log"),
        known,
        inherit_settings: true,
        variables: observer
            .as_ref()
            .map(Observer::variables)
            .unwrap_or_default(),
        stop: stop.clone(),
    };
    let guard = Guard::spawn(Some(ledger.clone()))?;
    let stack = match Stack::start(options, &guard, &runtime, say) {
        Ok(stack) => stack,
        // Told to stop while starting.
        Err(_) if stop.is_set() => {
            say("\nStopped");
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => return Err(error),
    };
    stack.facts().write(&env_path)?;
    print_banner(stack.facts()).context("the banner can't be printed")?;
    let monitors = match &observer {
        Some(observer) => Some(observer.observe(stack.facts(), &guard, &runtime)?),
        None => None,
    };

    let outcome = wait(&stack, &stop);
    drop(monitors);
    drop(stack);
    drop(guard);
    fs::remove_file(&ledger).ok();
    if outcome.is_ok() {
        say("Stopped");
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

fn say(line: &str) {
    eprintln!("{line}");
}

/// Takes the lock of the project's stack, for as long as the file is held.
fn lock(path: &Path) -> Result<File> {
    let context = || path.display().to_string();
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .with_context(context)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0).with_context(context)?;
            write!(file, "{}", std::process::id()).with_context(context)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(path).unwrap_or_default();
            bail!("this folder's stack runs already, as process {holder}; stop that one first")
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(context),
    }
}

/// The server that `DATABASE_URL` names, or the project's private cluster.
fn database(project: &Path, folder: &Path) -> Result<Database> {
    match env::var("DATABASE_URL") {
        Ok(url) if !url.is_empty() => Ok(Database::Url(url)),
        _ => {
            let log = folder.join("log/postgres.log");
            Ok(Database::Private(ClusterOptions::kept(project, log)?))
        }
    }
}

/// The ports that the environment chooses; those that people see must be free.
fn ports() -> Result<Ports> {
    let facade = port("ROSTER_FACADE_PORT", 8480)?;
    let identity = port("ROSTER_IDENTITY_PORT", 8481)?;
    if facade == identity {
        bail!("ROSTER_FACADE_PORT and ROSTER_IDENTITY_PORT are both {facade}");
    }
    // Nobody types the admin ports: another will do.
    let facade_admin = admin_port(facade, &[facade, identity])?;
    let identity_admin = admin_port(identity, &[facade, identity, facade_admin])?;
    Ok(Ports {
        facade,
        facade_admin,
        identity,
        identity_admin,
    })
}

fn port(variable: &str, default: u16) -> Result<u16> {
    let port = match env::var(variable) {
        Ok(text) if !text.is_empty() => match text.parse() {
            Ok(port) if port > 0 => port,
            _ => bail!("{variable}={text} is no port: it must be a number from 1 to 65535"),
        },
        _ => default,
    };
    if is_taken(port) {
        bail!(
            "port {port} is taken by another program; choose another: make run {variable}=<port>"
        );
    }
    Ok(port)
}

fn admin_port(port: u16, others: &[u16]) -> Result<u16> {
    let wish = port.checked_add(10).filter(|wish| !others.contains(wish));
    loop {
        let port = wished_or_free(wish.unwrap_or(0))?;
        if !others.contains(&port) {
            return Ok(port);
        }
    }
}

/// Sets the flag on the first signal. On a later one ends at once, and the guard stops the rest.
fn listen_for_signals(runtime: &Runtime, stop: &StopFlag) -> Result<()> {
    let _context = runtime.enter();
    let first: Arc<OnceLock<Instant>> = Arc::default();
    for kind in [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ] {
        let mut signals = signal(kind).context("signals can't be received")?;
        let (stop, first) = (stop.clone(), first.clone());
        runtime.spawn(async move {
            while signals.recv().await.is_some() {
                stop.set();
                // One wish may come as several signals: make passes on what its group gets as well.
                if first.get_or_init(Instant::now).elapsed() > Duration::from_secs(1) {
                    std::process::exit(130);
                }
            }
        });
    }
    Ok(())
}

/// How often parts may be started again within [`LATELY`] before something is really wrong.
const REVIVALS: usize = 5;
/// What counts as lately.
const LATELY: Duration = Duration::from_secs(60);

/// Waits until it is to stop. What ends by itself is started again, as a platform would do it.
fn wait(stack: &Stack, stop: &StopFlag) -> Result<()> {
    let mut revivals: Vec<Instant> = Vec::new();
    loop {
        if stop.is_set() {
            say("\nStopping");
            return Ok(());
        }
        if let Some(ended) = stack.ended() {
            let last = logs::last_lines(&ended.log, 15);
            let (name, how) = (ended.name, ended.how);
            revivals.retain(|at| at.elapsed() < LATELY);
            if revivals.len() >= REVIVALS {
                bail!("{name} keeps ending by itself{how}; stopping. The end of its log:\n{last}");
            }
            revivals.push(Instant::now());
            say(&format!(
                "{name} has ended by itself{how}; starting it again"
            ));
            stack.revive().with_context(|| {
                format!("{name} has ended by itself{how} and could not be started again")
            })?;
            say(&format!("{name} runs again"));
        }
        thread::sleep(Duration::from_millis(200));
    }
}

fn print_banner(facts: &DevEnv) -> io::Result<()> {
    let site_url = match env::var("ROSTER_PUBLIC_URL") {
        Ok(public_url) => format!(
            "{}/{}/scim/v2",
            public_url.trim_end_matches('/'),
            site::DOMAIN
        ),
        Err(_) => facts.scim_url.clone(),
    };
    let rosterctl = program("rosterctl").map_or_else(|_| "rosterctl".into(), shown);
    let banner = format!(
        "
Roster is running. Ctrl-C stops it; the next `make run` goes on with the same data and token.

  Site URL      {site_url}
  Bearer token  {token}
  gRPC address  {grpc}
  Facts         {FOLDER}/{DEV_ENV}
  Logs          {FOLDER}/log

Try in another terminal:

  . {FOLDER}/{DEV_ENV}; curl -H \"Authorization: Bearer $ROSTER_SCIM_TOKEN\" \"$ROSTER_SCIM_URL/Users\"
  {rosterctl} access show {owner}
  make demo
",
        token = facts.scim_token,
        grpc = facts.grpc_addr,
        rosterctl = rosterctl.display(),
        owner = site::OWNER,
    );
    let mut out = io::stdout().lock();
    writeln!(out, "{banner}")?;
    out.flush()
}

/// A path as one would type it here.
fn shown(path: PathBuf) -> PathBuf {
    let here = env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).map(Path::to_owned).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_run_of_a_folder_is_told_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = lock(&path).unwrap();
        let error = lock(&path).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(first);
        lock(&path).unwrap();
    }

    #[test]
    fn admin_ports_keep_clear_of_the_others() {
        let port = admin_port(40000, &[40000, 40010]).unwrap();
        assert!(port != 40000 && port != 40010);
        assert!(admin_port(65535, &[65535]).is_ok());
    }
}
