//! A rolling restart of both services, one process after the other, while identity providers push: no request
//! fails, nothing is lost, and each process goes in time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use identity_tests::{
    database::server,
    scim::{Scim, user},
    world::{Site, World},
};
use roster_stack::{
    ports::free_port,
    services::{Service, ServiceOptions},
};
use serde_json::json;

/// How long a facade that is to end still takes connections; whoever spreads requests looks every 50 ms.
const DRAIN_DELAY: Duration = Duration::from_millis(400);
const LOOKS_EVERY: Duration = Duration::from_millis(50);

/// How long a process may take to end; Kubernetes gives 30 seconds where nothing else is said, our manifests more.
const GRACE: Duration = Duration::from_secs(10);

/// Sends requests in turn to each facade that was ready when last looked at, as an Ingress does.
struct Balancer {
    facades: Vec<(Arc<Service>, Scim, AtomicBool)>,
    next: AtomicUsize,
}

impl Balancer {
    fn new(facades: &[Arc<Service>], site: &Site) -> Arc<Self> {
        let facades = facades.iter().map(|facade| {
            let url = format!("http://127.0.0.1:{}/{}/scim/v2", facade.port(), site.domain);
            let scim = Scim::new(&url, &format!("Bearer {}", site.scim_token));
            (facade.clone(), scim, AtomicBool::new(true))
        });
        Arc::new(Self {
            facades: facades.collect(),
            next: AtomicUsize::new(0),
        })
    }

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

/// Makes people and changes them until it is told to stop; answers with the ids of those who shall be there.
async fn push(
    balancer: Arc<Balancer>,
    worker: usize,
    stop: Arc<AtomicBool>,
) -> Vec<(String, String)> {
    let mut made = Vec::new();
    let group = json!({ "displayName": format!("CB/acme/BE/{}", ["EU GmbH", "US Inc"][worker % 2]), "members": [] });
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let person = user(&format!("worker{worker}-{number}@acme.example"));
        let id = balancer.next().post("/Users", &person).await.is(201).id();
        let path = format!("/Users/{id}");
        balancer.next().get(&path).await.is(200);
        let title = format!("title {number}");
        let change = json!([{ "op": "replace", "path": "title", "value": title }]);
        balancer.next().patch(&path, change).await.is(200);
        let filter =
            identity_tests::scim::encode(&format!("displayName eq {}", group["displayName"]));
        balancer
            .next()
            .get(&format!("/Groups?filter={filter}"))
            .await
            .is(200);
        made.push((id, title));
    }
    made
}

async fn restart(service: &Arc<Service>) -> (Duration, Duration) {
    let service = service.clone();
    tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        service.stop();
        let ended = begun.elapsed();
        service.restart().unwrap();
        (ended, begun.elapsed())
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_both_services_are_restarted_one_process_after_the_other() {
    let world = World::start().await;
    let site = world.acme().await;
    let second = Arc::new(world.another_identity().await);
    let third = Arc::new(world.another_identity().await);
    let urls = [&second, &third].map(|identity| format!("http://127.0.0.1:{}", identity.port()));
    let mut facades = Vec::new();
    for name in ["a", "b"] {
        let log = world.logs().join(format!("facade-{name}.log"));
        let (port, admin_port) = (free_port().unwrap(), free_port().unwrap());
        let options = ServiceOptions::facade(0, port, admin_port, &log)
            .variable("ROSTER_IDENTITY_URL", urls.join(","))
            .variable("ROSTER_DRAIN_DELAY_MS", DRAIN_DELAY.as_millis().to_string());
        let start = move || Service::start(options, &server().guard).unwrap();
        facades.push(Arc::new(tokio::task::spawn_blocking(start).await.unwrap()));
    }

    let balancer = Balancer::new(&facades, &site);
    let stop = Arc::new(AtomicBool::new(false));
    let looking = tokio::task::spawn_blocking({
        let (balancer, stop) = (balancer.clone(), stop.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                balancer.look();
                std::thread::sleep(LOOKS_EVERY);
            }
        }
    });
    let workers: Vec<_> = (0..6)
        .map(|worker| tokio::spawn(push(balancer.clone(), worker, stop.clone())))
        .collect();

    for service in [
        &second,
        &facades[0],
        &third,
        &facades[1],
        &second,
        &facades[0],
    ] {
        let (ended, whole) = restart(service).await;
        println!(
            "{}: ended after {ended:?}, ready after {whole:?}",
            service.name()
        );
        assert!(ended < GRACE, "{} took {ended:?} to end", service.name());
        // The next one follows when this one has had its share of work again.
        tokio::time::sleep(LOOKS_EVERY * 6).await;
    }
    stop.store(true, Ordering::Relaxed);
    looking.await.unwrap();
    let mut made = 0;
    for worker in workers {
        let people = worker.await.expect("no request of this worker failed");
        made += people.len();
        for (id, title) in people {
            let found = site.scim.get(&format!("/Users/{id}")).await.is(200);
            assert_eq!(found.body["title"], json!(title));
        }
    }
    assert!(made > 100, "there was load: {made} people");
    for facade in &facades {
        let log = std::fs::read_to_string(facade.log()).unwrap();
        assert!(!log.contains("unanswered"), "{log}");
    }
}
