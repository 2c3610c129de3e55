//! Load that no restart may disturb: identity providers that push through several facades, and the processes
//! that are replaced under them.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use roster_stack::{
    ports::free_port,
    services::{Service, ServiceOptions},
};
use serde_json::json;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    database::server,
    scim::{Scim, encode, user},
    world::Site,
};

/// How long a facade that is to end still takes connections.
const DRAIN_DELAY: Duration = Duration::from_millis(400);

/// How often whoever spreads requests looks which facades are ready.
const LOOKS_EVERY: Duration = Duration::from_millis(50);

/// How long a process may take to end; Kubernetes gives 30 seconds where nothing else is said.
const GRACE: Duration = Duration::from_secs(10);

/// How many push at once.
const WORKERS: usize = 6;

/// How many people are to be pushed between one replacement and the next, however slow the machine.
const SHARE: usize = 15;

/// Starts a facade before these identities, with its log (`facade-<name>.log`) in a folder.
pub async fn facade(identities: &[&Service], logs: &Path, name: &str) -> Arc<Service> {
    let urls = identities
        .iter()
        .map(|identity| format!("http://127.0.0.1:{}", identity.port()));
    let urls: Vec<_> = urls.collect();
    let log = logs.join(format!("facade-{name}.log"));
    let (port, admin_port) = (free_port().unwrap(), free_port().unwrap());
    let options = ServiceOptions::facade(0, port, admin_port, &log)
        .variable("ROSTER_IDENTITY_URL", urls.join(","))
        .variable("ROSTER_DRAIN_DELAY_MS", DRAIN_DELAY.as_millis().to_string());
    let start = move || Service::start(options, &server().guard).unwrap();
    Arc::new(spawn_blocking(start).await.unwrap())
}

/// Sends requests in turn to each facade that was ready when last looked at, as an Ingress does.
struct Balancer {
    facades: Vec<(Arc<Service>, Scim, AtomicBool)>,
    next: AtomicUsize,
}

impl Balancer {
    fn look(&self) {
        for (facade, _, ready) in &self.facades {
            ready.store(facade.is_ready().is_ok(), Ordering::Relaxed);
        }
    }

    fn next(&self) -> Scim {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.facades.len();
        let mut turns = (first..first + count).map(|turn| &self.facades[turn % count]);
        let (_, scim, _) = turns
            .find(|(_, _, ready)| ready.load(Ordering::Relaxed))
            .expect("a facade that is ready");
        scim.clone()
    }
}

/// Identity providers at work. They end with it, also where a test fails.
#[derive(Debug)]
pub struct Load {
    stop: StopWhenDropped,
    looking: JoinHandle<()>,
    pushed: Arc<AtomicUsize>,
    workers: Vec<JoinHandle<Vec<(String, String)>>>,
}

/// Says that everything should end, once it is dropped.
#[derive(Debug)]
struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Load {
    /// Begins to push to a site (`acme`) through these facades. Any answer but the right one is a panic.
    pub fn begin(facades: &[Arc<Service>], site: &Site) -> Self {
        let facades = facades.iter().map(|facade| {
            let url = format!("http://127.0.0.1:{}/{}/scim/v2", facade.port(), site.domain);
            let scim = Scim::new(&url, &format!("Bearer {}", site.scim_token));
            (facade.clone(), scim, AtomicBool::new(true))
        });
        let balancer = Arc::new(Balancer {
            facades: facades.collect(),
            next: AtomicUsize::new(0),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let looking = spawn_blocking({
            let (balancer, stop) = (balancer.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    balancer.look();
                    thread::sleep(LOOKS_EVERY);
                }
            }
        });
        let pushed = Arc::new(AtomicUsize::new(0));
        let workers = (0..WORKERS)
            .map(|worker| {
                let (balancer, stop, pushed) = (balancer.clone(), stop.clone(), pushed.clone());
                tokio::spawn(push(balancer, worker, stop, pushed))
            })
            .collect();
        Self {
            stop: StopWhenDropped(stop),
            looking,
            pushed,
            workers,
        }
    }

    /// Stops a service, starts it again, and lets it have its share of work. It has to end
    /// in time.
    pub async fn replace(&self, service: &Arc<Service>) {
        let stopping = service.clone();
        let ended = spawn_blocking(move || {
            let begun = Instant::now();
            stopping.stop();
            let ended = begun.elapsed();
            stopping.restart().unwrap();
            ended
        });
        let ended = ended.await.unwrap();
        assert!(ended < GRACE, "{} took {ended:?} to end", service.name());
        self.share_of_work().await;
    }

    /// Waits until each facade that is ready has been found so, and some people were pushed.
    pub async fn share_of_work(&self) {
        let enough = self.pushed.load(Ordering::Relaxed) + SHARE;
        tokio::time::sleep(LOOKS_EVERY * 6).await;
        // A worker that failed has pushed its last: then the end tells why.
        let at_work = || self.workers.iter().all(|worker| !worker.is_finished());
        while self.pushed.load(Ordering::Relaxed) < enough && at_work() {
            tokio::time::sleep(LOOKS_EVERY).await;
        }
    }

    /// Ends it; answers with the ids of the members that were made, and their titles.
    pub async fn end(self) -> Vec<(String, String)> {
        drop(self.stop);
        self.looking.await.unwrap();
        let mut made = Vec::new();
        for worker in self.workers {
            made.extend(worker.await.expect("no request of this worker failed"));
        }
        made
    }
}

/// Makes people and changes them until it is told to stop.
async fn push(
    balancer: Arc<Balancer>,
    worker: usize,
    stop: Arc<AtomicBool>,
    pushed: Arc<AtomicUsize>,
) -> Vec<(String, String)> {
    let mut made = Vec::new();
    let path = format!(
        "/Groups?filter={}",
        encode("displayName eq \"CB/acme/BE/EU GmbH\"")
    );
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let person = user(&format!("worker{worker}-{number}@acme.example"));
        let id = balancer.next().post("/Users", &person).await.is(201).id();
        balancer.next().get(&format!("/Users/{id}")).await.is(200);
        let title = format!("title {number}");
        let change = json!([{ "op": "replace", "path": "title", "value": title }]);
        balancer
            .next()
            .patch(&format!("/Users/{id}"), change)
            .await
            .is(200);
        balancer.next().get(&path).await.is(200);
        made.push((id, title));
        pushed.fetch_add(1, Ordering::Relaxed);
    }
    made
}
