//! Several processes of identity behind one name, as a headless service has it. The name stands in a hosts file
//! that only the facade under test sees, in a mount namespace of its own.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use identity_tests::{
    database::server,
    scim::{Scim, user},
    world::World,
};
use reqwest::StatusCode;
use roster_stack::{guard::program, ports::free_port, services::Service};

const NAME: &str = "identities.test";

/// The addresses that the name has from now on. Written in place: the file is what is mounted.
fn name(hosts: &Path, addresses: &[&str]) {
    let lines = addresses
        .iter()
        .map(|address| format!("{address} {NAME}\n"));
    fs::write(hosts, lines.collect::<String>()).unwrap();
}

/// Whether this machine lets a process have mounts of its own.
fn can_mount(hosts: &Path) -> bool {
    let tried = in_own_mounts(hosts).arg("true").output();
    let can = tried.is_ok_and(|output| output.status.success());
    if !can {
        assert!(
            std::env::var_os("CI").is_none(),
            "a mount namespace (unshare of util-linux, user namespaces) is needed"
        );
        println!("skipped: this machine has no unshare, or does not let it make mounts");
    }
    can
}

/// A command whose arguments are run where `hosts` is /etc/hosts.
fn in_own_mounts(hosts: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--mount", "sh", "-c"])
        .arg(r#"mount --bind "$0" /etc/hosts && exec "$@""#)
        .arg(hosts);
    command
}

/// A facade that finds identity by the name.
struct Facade {
    process: Child,
    port: u16,
}

impl Facade {
    async fn start(hosts: &Path, identity_port: u16) -> Self {
        let (port, admin) = (free_port().unwrap(), free_port().unwrap());
        let process = in_own_mounts(hosts)
            .arg(program("facade").unwrap())
            .env("ROSTER_FACADE_LISTEN", format!("127.0.0.1:{port}"))
            .env("ROSTER_FACADE_ADMIN_LISTEN", format!("127.0.0.1:{admin}"))
            .env(
                "ROSTER_IDENTITY_URL",
                format!("http://{NAME}:{identity_port}"),
            )
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let facade = Self { process, port };
        let ready = format!("http://127.0.0.1:{admin}/readyz");
        soon(async || reqwest::get(&ready).await.is_ok()).await;
        facade
    }
}

impl Drop for Facade {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Waits until a name that has changed was looked up and acted on: every five seconds, that is.
async fn soon(holds: impl AsyncFn() -> bool) {
    for _ in 0..60 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("not within 15 seconds");
}

/// How many calls a process has answered.
fn calls(service: &Service) -> usize {
    let log = fs::read_to_string(service.log()).unwrap();
    log.lines()
        .filter(|line| line.contains("identity.v1."))
        .count()
}

/// How many of the calls behind these many reads each process answered.
async fn shares(scim: &Scim, reads: usize, services: &[&Service]) -> Vec<usize> {
    let before: Vec<_> = services.iter().map(|service| calls(service)).collect();
    for _ in 0..reads {
        assert_eq!(scim.get("/Users?count=1").await.status, StatusCode::OK);
    }
    let now = services.iter().map(|service| calls(service));
    now.zip(before).map(|(now, before)| now - before).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_facade_uses_every_process_behind_the_name_and_outlives_each() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    name(&hosts, &["127.0.0.1", "127.0.0.2"]);
    if !can_mount(&hosts) {
        return;
    }
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let port = world.identity.port();
    let at = |address: &str| {
        let log = folder.path().join(address);
        let options = World::identity_options(world.database.url(), port, &log)
            .variable("ROSTER_IDENTITY_LISTEN", format!("{address}:{port}"));
        tokio::task::block_in_place(|| Service::start(options, &server().guard).unwrap())
    };
    let (first, second) = (&world.identity, at("127.0.0.2"));
    let facade = Facade::start(&hosts, port).await;
    let url = format!("http://127.0.0.1:{}/acme/scim/v2", facade.port);
    let scim = Scim::new(&url, &acme.scim.authorization);

    // In turn: with as many calls, equal shares.
    soon(async || shares(&scim, 2, &[first, &second]).await == [1, 1]).await;
    assert_eq!(shares(&scim, 20, &[first, &second]).await, [10, 10]);

    // One is killed while its address still stands. What was on its way to it is refused, as nobody knows what
    // became of it; once its connection is seen to be gone, no write is, and the other one does them all.
    first.kill();
    let probe = user("probe@acme.example");
    soon(async || scim.post("/Users", &probe).await.status != StatusCode::TOO_MANY_REQUESTS).await;
    for number in 0..10 {
        scim.make_user(&format!("ada{number}@acme.example")).await;
    }

    // A new one is found by itself, and one that left the name is not asked any more.
    let third = at("127.0.0.3");
    name(&hosts, &["127.0.0.2", "127.0.0.3"]);
    soon(async || shares(&scim, 2, &[&second, &third]).await == [1, 1]).await;
    name(&hosts, &["127.0.0.3"]);
    soon(async || shares(&scim, 2, &[&second, &third]).await == [0, 2]).await;

    // A name without addresses, as between two rollouts, changes nothing.
    name(&hosts, &[]);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(shares(&scim, 4, &[&second, &third]).await, [0, 4]);
}
