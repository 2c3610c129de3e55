//! A private cluster in a folder of its own: made once, started and stopped as often as needed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use diesel::{Connection, PgConnection, RunQueryDsl, sql_query};
use nix::unistd::Uid;

use super::{
    account::Account,
    binaries::Binaries,
    server::{Server, ServerOptions},
};
use crate::{
    files::{make_folder, write_private},
    guard::{Charge, Guard},
    ports::is_taken,
    process::wait_for,
    secret::random_text,
};

/// The superuser of a private cluster.
const SUPERUSER: &str = "roster";

/// What cluster to start.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    folder: PathBuf,
    log: PathBuf,
    temporary: bool,
    settings: Vec<(String, String)>,
}

impl ClusterOptions {
    /// A cluster that is kept, for a project's folder. The caller holds a lock of its own on it.
    pub fn kept(project: &Path, log: PathBuf) -> Result<Self> {
        let folder = match Uid::effective().is_root() {
            // The server runs as another user, who may not be able to enter the project's folder.
            true => Path::new("/var/lib/roster-dev").join(name_of(project)),
            false => project.join(".roster/postgres"),
        };
        Ok(Self {
            folder,
            log,
            temporary: false,
            settings: Vec::new(),
        })
    }

    /// A cluster that is thrown away when it is stopped.
    pub fn temporary() -> Result<Self> {
        let account = Account::choose()?;
        let parents = [
            env::temp_dir(),
            PathBuf::from("/tmp"),
            PathBuf::from("/var/tmp"),
        ];
        let parent = parents
            .iter()
            .find(|parent| account.can_enter(parent))
            .context("no temporary folder that PostgreSQL's account can enter")?;
        let folder = parent.join(format!("roster-postgres-{}", random_text(12)));
        let log = folder.join("postgres.log");
        Ok(Self {
            folder,
            log,
            temporary: true,
            settings: Vec::new(),
        })
    }

    /// The folder of the cluster; removing it removes the cluster.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Sets a setting of the server.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A short name for a project's folder, the same each time.
fn name_of(project: &Path) -> String {
    // FNV-1a: stable from one version of Rust to the next, which the standard library's hash is not.
    let path = fs::canonicalize(project).unwrap_or_else(|_| project.to_owned());
    let hash = path
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let name: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(32)
        .collect();
    format!("{name}-{hash:016x}")
}

/// A private cluster whose server runs, unless it was stopped or killed. It is stopped when dropped,
/// and removed where it is temporary.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    temporary: bool,
    options: ServerOptions,
    password: String,
    guard: Guard,
    server: Mutex<Option<Server>>,
    port: u16,
}

impl Cluster {
    /// Makes the cluster where there is none yet, and starts its server.
    pub fn start(options: ClusterOptions, guard: &Guard) -> Result<Self> {
        let data = options.folder.join("data");
        let (account, binaries, exists) = match data.exists() {
            true => {
                let account = Account::owner_of(&data)?;
                let binaries = Binaries::find(&account, Some(read_major(&data)?))?;
                (account, binaries, true)
            }
            false => {
                let binaries = Binaries::find(&Account::choose()?, None)?;
                // Where a package was installed, it has brought its account along.
                (Account::choose()?, binaries, false)
            }
        };
        // The server's account passes through, and nobody else looks in.
        let mode = if matches!(account, Account::Own) {
            0o700
        } else {
            0o711
        };
        make_folder(&options.folder, mode)?;
        let folder_charge = Charge::Folder(options.folder.clone());
        if options.temporary {
            guard.watch(folder_charge)?;
        }
        if !exists {
            initdb(&account, &binaries, &options)?;
        }
        let password = fs::read_to_string(options.folder.join("password"))
            .with_context(|| format!("{}/password can't be read", options.folder.display()))?;
        let server_options = ServerOptions {
            account,
            binaries,
            data,
            log: options.log,
            durable: !options.temporary,
            settings: options.settings,
        };
        let port_file = options.folder.join("port");
        let wish = fs::read_to_string(&port_file)
            .ok()
            .and_then(|port| port.trim().parse().ok());
        let server = Server::start(&server_options, guard, wish)?;
        write_private(&port_file, &format!("{}\n", server.port))?;
        Ok(Self {
            folder: options.folder,
            temporary: options.temporary,
            options: server_options,
            password,
            guard: guard.clone(),
            port: server.port,
            server: Mutex::new(Some(server)),
        })
    }

    /// The URL of a database of this cluster.
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://{SUPERUSER}:{}@127.0.0.1:{}/{database}",
            self.password, self.port
        )
    }

    /// The port on 127.0.0.1; the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// PostgreSQL's major version.
    pub fn major(&self) -> u32 {
        self.options.binaries.major
    }

    /// The folder of the cluster; removing it removes the cluster.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The server's log.
    pub fn log(&self) -> &Path {
        &self.options.log
    }

    /// Whether the server runs.
    pub fn is_running(&self) -> bool {
        self.server().as_mut().is_some_and(Server::is_running)
    }

    /// One of PostgreSQL's own programs (`pg_dump`, `pg_restore`, ..), as the server's account, for this server.
    pub fn tool(&self, name: &str) -> Command {
        let mut command = self
            .options
            .account
            .command(&self.options.binaries.tool(name));
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", SUPERUSER)
            .env("PGPASSWORD", &self.password);
        command
    }

    /// Makes a base backup; answers with the cluster that it can be started as, once. Started with
    /// `recover`, it first replays the log that this server has archived.
    pub fn back_up(&self, recover: bool) -> Result<ClusterOptions> {
        let options = ClusterOptions::temporary()?;
        make_folder(&options.folder, 0o711)?;
        let data = options.folder.join("data");
        make_folder(&data, 0o700)?;
        self.options.account.own(&data)?;
        let output = self
            .tool("pg_basebackup")
            .args(["--checkpoint=fast", "--no-sync", "--pgdata"])
            .arg(&data)
            .output()
            .context("pg_basebackup could not be run")?;
        if !output.status.success() {
            bail!(
                "pg_basebackup failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        if recover {
            let signal = data.join("recovery.signal");
            write_private(&signal, "")?;
            self.options.account.own(&signal)?;
        }
        write_private(&options.folder.join("password"), &self.password)?;
        Ok(options)
    }

    /// Makes a folder in the cluster's own that its server can write to.
    pub fn make_folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        make_folder(&folder, 0o700)?;
        self.options.account.own(&folder)?;
        Ok(folder)
    }

    /// Makes a database, empty or as a copy of another that nobody is connected to.
    pub fn create_database(&self, name: &str, template: Option<&str>) -> Result<()> {
        let name = plain(name)?;
        let template = plain(template.unwrap_or("template0"))?;
        self.admin()?
            .run(&format!("CREATE DATABASE {name} TEMPLATE {template}"))
    }

    /// Makes a database unless there is one of that name.
    pub fn ensure_database(&self, name: &str) -> Result<()> {
        let plain_name = plain(name)?;
        let mut admin = self.admin()?;
        let found: i64 = diesel::select(diesel::dsl::sql::<diesel::sql_types::BigInt>(&format!(
            "(SELECT count(*) FROM pg_database WHERE datname = '{plain_name}')"
        )))
        .get_result(&mut admin.0)?;
        match found {
            0 => admin.run(&format!("CREATE DATABASE {plain_name} TEMPLATE template0")),
            _ => Ok(()),
        }
    }

    /// Drops a database, whoever is connected to it.
    pub fn drop_database(&self, name: &str) -> Result<()> {
        let name = plain(name)?;
        self.admin()?
            .run(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
    }

    /// Stops the server.
    pub fn stop(&self) {
        if let Some(mut server) = self.server().take() {
            server.stop(self.options.durable);
        }
    }

    /// Kills the server with all its processes.
    pub fn kill(&self) {
        if let Some(mut server) = self.server().take() {
            server.kill();
        }
    }

    /// Starts the server again on the same port, after [`Cluster::stop`] or [`Cluster::kill`].
    pub fn restart(&self) -> Result<()> {
        self.stop();
        // A connection that is just ending may hold the port for a moment.
        wait_for(Duration::from_secs(5), || !is_taken(self.port));
        let server = Server::start(&self.options, &self.guard, Some(self.port))?;
        if server.port != self.port {
            // Dropping the server does not stop it: it is kept, and stopped with the cluster.
            *self.server() = Some(server);
            bail!("port {} was taken while PostgreSQL was stopped", self.port);
        }
        *self.server() = Some(server);
        Ok(())
    }

    /// Makes the server hang: connections stay open and nothing answers.
    pub fn pause(&self) {
        if let Some(server) = self.server().as_ref() {
            server.pause();
        }
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        if let Some(server) = self.server().as_ref() {
            server.resume();
        }
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admin(&self) -> Result<Admin> {
        let connection = PgConnection::establish(&self.url("postgres"))
            .context("the private PostgreSQL does not take a connection")?;
        Ok(Admin(connection))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
        if self.temporary && fs::remove_dir_all(&self.folder).is_ok() {
            self.guard.forget(&Charge::Folder(self.folder.clone()));
        }
    }
}

/// A connection of the superuser's, for statements about databases.
struct Admin(PgConnection);

impl Admin {
    fn run(&mut self, statement: &str) -> Result<()> {
        sql_query(statement)
            .execute(&mut self.0)
            .with_context(|| statement.to_owned())?;
        Ok(())
    }
}

/// A name that needs no quotes.
fn plain(name: &str) -> Result<&str> {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.len() > 63 || !name.chars().all(letters) {
        bail!("a database's name is 1 to 63 of a-z, 0-9 and _, not {name:?}");
    }
    Ok(name)
}

/// The major version that made a data folder.
fn read_major(data: &Path) -> Result<u32> {
    let file = data.join("PG_VERSION");
    let text = fs::read_to_string(&file)
        .with_context(|| format!("the cluster is damaged: {} can't be read", file.display()))?;
    text.trim().parse().with_context(|| {
        format!(
            "the cluster is damaged: {} says {:?}",
            file.display(),
            text.trim()
        )
    })
}

/// Makes the cluster beside its final place and moves it there when it is whole, so that a killed run
/// leaves no half of one.
fn initdb(account: &Account, binaries: &Binaries, options: &ClusterOptions) -> Result<()> {
    let unfinished = options.folder.join("data.unfinished");
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context(unfinished.display().to_string());
        }
        _ => {}
    }
    make_folder(&unfinished, 0o700)?;
    account.own(&unfinished)?;
    let password = random_text(32);
    write_private(&options.folder.join("password"), &password)?;
    // initdb reads it as the server's account.
    let password_file = options.folder.join("password.initdb");
    write_private(&password_file, &password)?;
    account.own(&password_file)?;
    let mut command = account.command(&binaries.initdb());
    command
        .args([
            "--encoding=UTF8",
            "--locale=C",
            "--auth=scram-sha-256",
            "--no-instructions",
        ])
        .arg(format!("--username={SUPERUSER}"))
        .arg(format!("--pwfile={}", password_file.display()))
        .arg(format!("--pgdata={}", unfinished.display()));
    if options.temporary {
        command.arg("--no-sync");
    }
    let output = command.output().context("initdb could not be run")?;
    fs::remove_file(&password_file).ok();
    if !output.status.success() {
        fs::remove_dir_all(&unfinished).ok();
        bail!(
            "initdb failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    fs::rename(&unfinished, options.folder.join("data"))
        .context("the new cluster can't be moved")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_need_quotes_are_refused() {
        assert!(plain("test_1").is_ok());
        for name in ["", "a-b", "A", "a\"b", &"a".repeat(64)] {
            assert!(plain(name).is_err());
        }
    }

    #[test]
    fn a_projects_name_is_stable_and_tells_folders_apart() {
        let folder = tempfile::tempdir().unwrap();
        let one = folder.path().join("one");
        fs::create_dir(&one).unwrap();
        assert_eq!(name_of(&one), name_of(&one));
        assert_ne!(name_of(&one), name_of(folder.path()));
        assert!(name_of(&one).starts_with("one-"));
    }
}
