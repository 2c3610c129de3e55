//! A whole Roster: a database, identity, the facade and the demonstration site, started in order.

use std::{path::PathBuf, process::Stdio, thread, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::runtime::Runtime;

use crate::{
    dev_env::DevEnv,
    guard::{Charge, Guard, program},
    postgres::{Cluster, ClusterOptions},
    process::Identity,
    services::{Service, ServiceOptions, StopFlag, command},
    site,
};

/// The database of a private cluster.
const DATABASE: &str = "roster";

/// Which database a stack uses.
#[derive(Debug)]
pub enum Database {
    /// One that somebody else runs.
    Url(String),
    /// One in a private cluster.
    Private(ClusterOptions),
}

/// The ports of a stack, all on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// SCIM.
    pub facade: u16,
    /// The facade's admin port.
    pub facade_admin: u16,
    /// gRPC.
    pub identity: u16,
    /// Identity's admin port.
    pub identity_admin: u16,
}

/// What a stack is started with.
#[derive(Debug)]
pub struct StackOptions {
    /// The database.
    pub database: Database,
    /// The ports.
    pub ports: Ports,
    /// Where the logs go.
    pub logs: PathBuf,
    /// What an earlier run of the same stack knew: its tokens are kept while they work.
    pub known: DevEnv,
    /// Where the settings of this process's environment reach the services.
    pub inherit_settings: bool,
    /// More variables of both services' environment.
    pub variables: Vec<(&'static str, String)>,
    /// Interrupts the start.
    pub stop: StopFlag,
}

/// A running stack; it stops when dropped, the facade first.
#[derive(Debug)]
pub struct Stack {
    facade: Service,
    identity: Service,
    cluster: Option<Cluster>,
    facts: DevEnv,
}

impl Stack {
    /// Starts everything, with a line about each step.
    pub fn start(
        options: StackOptions,
        guard: &Guard,
        runtime: &Runtime,
        say: impl Fn(&str),
    ) -> Result<Self> {
        let StackOptions {
            database,
            ports,
            logs,
            known,
            inherit_settings,
            variables,
            stop,
        } = options;
        for name in ["identity", "facade"] {
            program(name)?;
        }
        let (cluster, database_url) = start_database(database, guard, &say)?;
        stop.check()?;

        let url = ("DATABASE_URL".to_owned(), database_url.clone());
        migrate(url, inherit_settings, guard, &stop).map_err(|error| match &cluster {
            Some(cluster) => with_advice(error, cluster.folder()),
            None => error,
        })?;
        say("Database     migrated");

        let settle = |options: ServiceOptions| {
            let more = variables.iter();
            let options = more.fold(options, |options, (name, value)| {
                options.variable(name, value)
            });
            match inherit_settings {
                true => options.inherit_settings().interrupted_by(&stop),
                false => options.interrupted_by(&stop),
            }
        };
        let log = logs.join("identity.log");
        let identity =
            ServiceOptions::identity(&database_url, ports.identity, ports.identity_admin, &log)
                .variable("ROSTER_BOOTSTRAP_TOKEN", &known.bootstrap_token);
        let identity = Service::start(settle(identity), guard)?;
        let grpc_addr = format!("127.0.0.1:{}", ports.identity);
        say(&format!("identity     gRPC on {grpc_addr}"));

        let log = logs.join("facade.log");
        let mut facade =
            ServiceOptions::facade(ports.identity, ports.facade, ports.facade_admin, &log);
        if inherit_settings && let Ok(public_url) = std::env::var("ROSTER_PUBLIC_URL") {
            facade = facade.variable("ROSTER_PUBLIC_URL", public_url);
        }
        let facade = Service::start(settle(facade), guard)?;
        say(&format!("facade       SCIM on 127.0.0.1:{}", ports.facade));

        let tokens = site::Tokens {
            scim: known.scim_token,
            service: known.service_token,
        };
        let tokens = runtime
            .block_on(site::set_up(&grpc_addr, &known.bootstrap_token, tokens))
            .context("the demonstration site could not be made")?;
        say(&format!("Site         {}", site::DOMAIN));

        let facts = DevEnv {
            scim_url: format!("http://127.0.0.1:{}/{}/scim/v2", ports.facade, site::DOMAIN),
            scim_token: tokens.scim,
            site_domain: site::DOMAIN.to_owned(),
            grpc_addr,
            service_token: tokens.service,
            bootstrap_token: known.bootstrap_token,
            database_url,
        };
        Ok(Self {
            facade,
            identity,
            cluster,
            facts,
        })
    }

    /// The facts of the stack.
    pub fn facts(&self) -> &DevEnv {
        &self.facts
    }

    /// The first part that has ended by itself: its name, how it ended, and its log.
    pub fn ended(&self) -> Option<Ended> {
        for service in [&self.identity, &self.facade] {
            if let Some(status) = service.ended() {
                return Some(Ended {
                    name: service.name(),
                    how: format!(" ({status})"),
                    log: service.log().to_owned(),
                });
            }
        }
        let cluster = self
            .cluster
            .as_ref()
            .filter(|cluster| !cluster.is_running())?;
        Some(Ended {
            name: "PostgreSQL",
            how: String::new(),
            log: cluster.log().to_owned(),
        })
    }

    /// Starts everything again that has ended, PostgreSQL first.
    pub fn revive(&self) -> Result<()> {
        if let Some(cluster) = &self.cluster
            && !cluster.is_running()
        {
            cluster.restart()?;
        }
        for service in [&self.identity, &self.facade] {
            if service.ended().is_some() {
                service.restart()?;
            }
        }
        Ok(())
    }
}

/// A part of the stack that has ended by itself.
#[derive(Debug)]
pub struct Ended {
    /// Its name.
    pub name: &'static str,
    /// How it ended, for people; empty where that is not known.
    pub how: String,
    /// Its log.
    pub log: PathBuf,
}

fn start_database(
    database: Database,
    guard: &Guard,
    say: &impl Fn(&str),
) -> Result<(Option<Cluster>, String)> {
    let options = match database {
        Database::Url(url) => {
            say("PostgreSQL   the server that DATABASE_URL names");
            return Ok((None, url));
        }
        Database::Private(options) => options,
    };
    let folder = options.folder().to_owned();
    let existed = folder.join("data").exists();
    let started = Cluster::start(options, guard).and_then(|cluster| {
        cluster.ensure_database(DATABASE)?;
        Ok(cluster)
    });
    let cluster = started.map_err(|error| match existed {
        true => with_advice(error, &folder),
        false => error,
    })?;
    let port = cluster.port();
    say(&format!(
        "PostgreSQL   {} on 127.0.0.1:{port}, in {}",
        cluster.major(),
        folder.display()
    ));
    let url = cluster.url(DATABASE);
    Ok((Some(cluster), url))
}

/// Tells how to begin anew where the private cluster may be broken. Nothing is ever deleted unasked.
fn with_advice(error: anyhow::Error, folder: &std::path::Path) -> anyhow::Error {
    let error = format!("{error:#}");
    anyhow::anyhow!(
        "{}\n\
         If the private database is broken, start afresh by removing it with all its data:\n    \
         rm -r {}",
        error.trim_end(),
        folder.display()
    )
}

/// Brings the database's schema up to date.
fn migrate(url: (String, String), inherits: bool, guard: &Guard, stop: &StopFlag) -> Result<()> {
    let mut output = tempfile::tempfile()?;
    let mut child = command(&program("identity")?, &[url], inherits)?
        .arg("migrate")
        .stdout(Stdio::from(output.try_clone()?))
        .stderr(Stdio::from(output.try_clone()?))
        .spawn()
        .context("`identity migrate` could not be started")?;
    let charge = Identity::of(child.id()).map(Charge::Service);
    if let Some(charge) = &charge {
        guard.watch(charge.clone())?;
    }
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if stop.is_set() {
            child.kill()?;
            child.wait()?;
            bail!("interrupted");
        }
        thread::sleep(Duration::from_millis(10));
    };
    if let Some(charge) = &charge {
        guard.forget(charge);
    }
    if !status.success() {
        use std::io::{Read, Seek};
        let mut text = String::new();
        output.rewind()?;
        output.read_to_string(&mut text)?;
        bail!("`identity migrate` failed ({status}):\n{}", text.trim_end());
    }
    Ok(())
}
