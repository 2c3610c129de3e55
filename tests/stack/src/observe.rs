//! `make observe`: what watches over the stack, beside it.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use tokio::runtime::Runtime;

use crate::{
    collector::{Collector, tree},
    dev_env::DevEnv,
    guard::Guard,
    monitors::{MonitorOptions, Monitors},
    ports::wished_or_free,
    stack::Ports,
};

/// How many spans a dry run of a new user has at least: two requests' of the services, and the statements.
const SPANS: usize = 7;

/// A collector that runs, and the ports of what will.
#[derive(Debug)]
pub(crate) struct Observer {
    collector: Collector,
    monitors: MonitorOptions,
    log: PathBuf,
}

impl Observer {
    /// Starts the collector, whose address the services need to start.
    pub(crate) fn new(folder: &Path, ports: Ports, runtime: &Runtime) -> Result<Self> {
        if !Monitors::are_installed() {
            bail!(
                "Prometheus and Alertmanager are not installed. On Debian and Ubuntu:\n    \
                 apt-get install --no-install-recommends prometheus prometheus-alertmanager"
            );
        }
        Ok(Self {
            collector: runtime.block_on(Collector::start())?,
            monitors: MonitorOptions {
                folder: folder.join("monitors"),
                prometheus: wished_or_free(9090)?,
                alertmanager: wished_or_free(9093)?,
                targets: vec![
                    ("facade", ports.facade_admin),
                    ("identity", ports.identity_admin),
                ],
                webhook: None,
            },
            log: folder.join("monitors"),
        })
    }

    /// What the services' environment needs.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        self.collector.variables()
    }

    /// Starts Prometheus and Alertmanager, makes a request that changes nothing, and prints its trace and the
    /// addresses.
    pub(crate) fn observe(
        &self,
        facts: &DevEnv,
        guard: &Guard,
        runtime: &Runtime,
    ) -> Result<Monitors> {
        let monitors = Monitors::start(&self.monitors, guard)?;
        let trace = runtime.block_on(self.trace(facts))?;
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "What watches over it:\n\n  \
             Prometheus    http://127.0.0.1:{}\n  \
             Alertmanager  http://127.0.0.1:{}\n  \
             Traces        OTLP over gRPC at {}\n  \
             Logs          {}\n\n\
             The trace of a new user's dry run, from SCIM to SQL:\n\n{trace}",
            self.monitors.prometheus,
            self.monitors.alertmanager,
            self.collector.endpoint(),
            self.log.display(),
        )?;
        out.flush()?;
        Ok(monitors)
    }

    async fn trace(&self, facts: &DevEnv) -> Result<String> {
        let body = r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"trace@observe.example",
                       "name":{"givenName":"Tracy","familyName":"Observe"}}"#;
        let answer = reqwest::Client::new()
            .post(format!("{}/Users", facts.scim_url))
            .bearer_auth(&facts.scim_token)
            .header("content-type", "application/scim+json")
            .header("roster-dry-run", "true")
            .body(body)
            .send()
            .await?;
        let trace_id = answer.headers().get("x-trace-id");
        let trace_id = trace_id.context("an answer without X-Trace-Id")?.to_str()?;
        Ok(tree(&self.collector.trace(trace_id, SPANS).await))
    }
}
