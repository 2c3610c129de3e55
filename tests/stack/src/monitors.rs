//! A real Prometheus that scrapes the services and keeps the rules of `k8s/monitoring`, and a real Alertmanager that it
//! sends its alerts to. Both come from the distribution's packages (`prometheus`, `prometheus-alertmanager`).

use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    guard::{Charge, Guard, SERVICE_STEPS},
    logs,
    ports::is_taken,
    process::{Identity, wait_for},
};

/// How long one of them may take to listen.
const READY: Duration = Duration::from_secs(30);

/// What they are started with.
#[derive(Clone, Debug)]
pub struct MonitorOptions {
    /// Where their settings, data and logs go.
    pub folder: PathBuf,
    /// Prometheus' port, at 127.0.0.1.
    pub prometheus: u16,
    /// Alertmanager's port, at 127.0.0.1.
    pub alertmanager: u16,
    /// The job and the admin port of each process to scrape.
    pub targets: Vec<(&'static str, u16)>,
    /// Where Alertmanager sends alerts to; none: nowhere.
    pub webhook: Option<String>,
}

/// Both, running; stopped when dropped.
#[derive(Debug)]
pub struct Monitors {
    _prometheus: Program,
    _alertmanager: Program,
}

impl Monitors {
    /// Whether both programs are installed.
    pub fn are_installed() -> bool {
        [PROMETHEUS, ALERTMANAGER].iter().all(|name| found(name))
    }

    /// Starts both, and waits until they listen.
    pub fn start(options: &MonitorOptions, guard: &Guard) -> Result<Self> {
        let folder = &options.folder;
        write_rules(&folder.join("rules"))?;
        fs::write(folder.join("prometheus.yaml"), scrapes(options))?;
        fs::write(folder.join("alertmanager.yaml"), routes(options))?;
        let mut alertmanager = Command::new(ALERTMANAGER);
        alertmanager
            .arg(flag("--config.file", &folder.join("alertmanager.yaml")))
            .arg(flag("--storage.path", &folder.join("alertmanager")))
            .arg(format!(
                "--web.listen-address=127.0.0.1:{}",
                options.alertmanager
            ))
            // Alone: it looks for no others.
            .arg("--cluster.listen-address=");
        let mut prometheus = Command::new(PROMETHEUS);
        prometheus
            .arg(flag("--config.file", &folder.join("prometheus.yaml")))
            .arg(flag("--storage.tsdb.path", &folder.join("prometheus")))
            .arg(format!(
                "--web.listen-address=127.0.0.1:{}",
                options.prometheus
            ))
            .arg("--enable-feature=exemplar-storage");
        let log = |name: &str| folder.join(format!("{name}.log"));
        Ok(Self {
            _alertmanager: Program::start(
                alertmanager,
                options.alertmanager,
                &log("alertmanager"),
                guard,
            )?,
            _prometheus: Program::start(prometheus, options.prometheus, &log("prometheus"), guard)?,
        })
    }
}

const PROMETHEUS: &str = "prometheus";
const ALERTMANAGER: &str = "prometheus-alertmanager";

fn found(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

fn flag(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

/// Writes the rules of `k8s/monitoring` into a folder as Prometheus itself takes them: the objects' `spec`, moved to the
/// margin, and otherwise unchanged.
pub fn write_rules(folder: &Path) -> Result<()> {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../k8s/monitoring/rules");
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(rules).context("the rules are in k8s/monitoring/rules")? {
        let path = entry?.path();
        let object = fs::read_to_string(&path)?;
        let spec = object
            .contains("kind: PrometheusRule")
            .then(|| object.split_once("\nspec:\n"));
        if let (Some(name), Some(Some((_, spec)))) = (path.file_name(), spec) {
            let lines = spec
                .lines()
                .map(|line| line.strip_prefix("  ").unwrap_or(line));
            let text: String = lines.map(|line| format!("{line}\n")).collect();
            fs::write(folder.join(name), text)?;
        }
    }
    Ok(())
}

fn scrapes(options: &MonitorOptions) -> String {
    let jobs = options.targets.iter().map(|(job, port)| {
        format!("  - job_name: {job}\n    static_configs: [{{ targets: ['127.0.0.1:{port}'] }}]\n")
    });
    let jobs: String = jobs.collect();
    format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
         rule_files: [rules/*.yaml]\n\
         alerting:\n  alertmanagers:\n    - static_configs: [{{ targets: ['127.0.0.1:{}'] }}]\n\
         scrape_configs:\n{jobs}",
        options.alertmanager
    )
}

fn routes(options: &MonitorOptions) -> String {
    let receiver = options.webhook.as_ref().map_or_else(String::new, |url| {
        format!("    webhook_configs: [{{ url: '{url}' }}]\n")
    });
    format!(
        "route: {{ receiver: all, group_by: [alertname], group_wait: 1s, group_interval: 1s, repeat_interval: 1h }}\n\
         receivers:\n  - name: all\n{receiver}"
    )
}

/// A process of another project's program.
#[derive(Debug)]
struct Program {
    child: Child,
    identity: Identity,
    charge: Charge,
    guard: Guard,
}

impl Program {
    fn start(mut command: Command, port: u16, log: &Path, guard: &Guard) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let output = logs::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // A group of its own: Ctrl-C is for the launcher.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{name} could not be started"))?;
        let identity = Identity::of(child.id())
            .with_context(|| format!("{name} ended at once:\n{}", logs::last_lines(log, 15)))?;
        let charge = Charge::Service(identity.clone());
        guard.watch(charge.clone())?;
        let program = Self {
            child,
            identity,
            charge,
            guard: guard.clone(),
        };
        let listens = wait_for(READY, || is_taken(port) || !program.identity.is_alive());
        if !listens || !program.identity.is_alive() {
            bail!("{name} does not start:\n{}", logs::last_lines(log, 15));
        }
        Ok(program)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        for (signal, patience) in SERVICE_STEPS {
            self.identity.signal(*signal);
            if wait_for(*patience, || !matches!(self.child.try_wait(), Ok(None))) {
                break;
            }
        }
        self.guard.forget(&self.charge);
    }
}
