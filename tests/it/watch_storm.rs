//! Everything at once: many writers over several sites, several processes that are killed and started again,
//! connections to the database that are cut, transactions that stay open or are undone, and watchers of one
//! site and of all that come and go. In the end each watcher has had exactly what the table of events holds.
//!
//! `ROSTER_STORM_SECONDS` makes it longer.

use std::{
    collections::{BTreeMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use diesel::connection::SimpleConnection;
use futures_util::future::join_all;
use identity_proto::v1 as pb;
use identity_tests::{
    database::server,
    faults::Proxy,
    locks::eventually,
    rpc::{Rpc, by_id, role},
    watch::{after, resume},
    world::{Site, World},
    writes::member,
};
use roster_stack::grpc::{Caller, site};
use tonic::Code;

/// Numbers that nobody can tell before: where the test should come to rest differs each time.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        Self(RandomState::new().hash_one(0) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        // Xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn milliseconds(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }
}

/// What an event is known by: number, kind, subject, trace.
type Known = (i64, String, String, String);

fn known(event: &pb::Event) -> (String, Known) {
    let known = (
        event.number,
        event.kind.clone(),
        event.subject_id.clone(),
        event.trace_id.clone(),
    );
    (event.site_id.clone(), known)
}

/// One watcher: what it has kept, and what it wants.
struct Follower {
    caller: Caller,
    addresses: Vec<String>,
    site: Option<pb::SiteRef>,
    /// All it was sent, a list a site, each in the order in which it came.
    seen: BTreeMap<String, Vec<Known>>,
    token: Option<String>,
    opened: u64,
    ends: BTreeMap<String, u64>,
}

impl Follower {
    fn new(caller: &Caller, addresses: &[String], site: Option<pb::SiteRef>) -> Self {
        Self {
            caller: caller.clone(),
            addresses: addresses.to_vec(),
            site,
            seen: BTreeMap::new(),
            token: None,
            opened: 0,
            ends: BTreeMap::new(),
        }
    }

    /// Watches, for a while each time, until it has as many events as `enough` says in the end.
    async fn run(mut self, enough: Arc<AtomicU64>, patience: Instant) -> Self {
        let mut dice = Dice::new();
        while Instant::now() < patience {
            let address = &self.addresses[dice.below(self.addresses.len() as u64) as usize];
            let caller = self.caller.at(address).unwrap();
            let leaves = Instant::now() + Duration::from_millis(50) + dice.milliseconds(1500);
            let end = self.watch(&caller, leaves, &mut dice, &enough).await;
            if self.has(&enough) {
                break;
            }
            if let Err(status) = end {
                let code = status.code();
                // A killed process, a database that is away, or a stream that was cut.
                assert!(
                    matches!(
                        code,
                        Code::Unavailable
                            | Code::Unknown
                            | Code::Internal
                            | Code::DeadlineExceeded
                            | Code::Cancelled
                    ),
                    "{status:?}"
                );
                *self.ends.entry(format!("{code:?}")).or_default() += 1;
                tokio::time::sleep(dice.milliseconds(60)).await;
            }
        }
        self
    }

    fn has(&self, enough: &AtomicU64) -> bool {
        let count: usize = self.seen.values().map(Vec::len).sum();
        count as u64 >= enough.load(Ordering::Acquire)
    }

    async fn watch(
        &mut self,
        caller: &Caller,
        leaves: Instant,
        dice: &mut Dice,
        enough: &AtomicU64,
    ) -> Result<(), tonic::Status> {
        let mut request = match &self.token {
            Some(token) => resume(token),
            None => after(0),
        };
        request.site = self.site.clone();
        request.heartbeat_seconds = Some(1);
        let mut request = caller.request(request);
        request.metadata_mut().remove("grpc-timeout");
        let channel = caller.channel();
        let mut client = pb::event_service_client::EventServiceClient::new(channel);
        let mut stream = client.watch_events(request).await?.into_inner();
        self.opened += 1;
        while Instant::now() < leaves && !self.has(enough) {
            let message = tokio::select! {
                message = stream.message() => message?,
                () = tokio::time::sleep_until(leaves.into()) => return Ok(()),
            };
            let Some(message) = message else {
                return Err(tonic::Status::unavailable(
                    "the stream ended without a status",
                ));
            };
            // What is made of an event and the token are kept together.
            self.token = Some(message.resume_token);
            if let Some(pb::watch_events_response::Message::Event(event)) = message.message {
                let (site, known) = known(&event);
                self.seen.entry(site).or_default().push(known);
            }
            if dice.below(200) == 0 {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Writes to one site through any process, until told to stop.
async fn write(rpc: Rpc, addresses: Vec<String>, stop: Arc<AtomicBool>) -> u64 {
    let mut dice = Dice::new();
    let (mut done, mut members) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let address = &addresses[dice.below(addresses.len() as u64) as usize];
        let rpc = Rpc {
            caller: rpc.caller.at(address).unwrap(),
            site: None,
        };
        let outcome = match dice.below(10) {
            0..5 => {
                let name = format!("{}@storm.example", uuid::Uuid::new_v4());
                let made = rpc.create_member(member(&name)).await;
                made.map(|made| members.extend(made.member.map(|member| member.id)))
            }
            // One that is undone leaves a gap.
            5 => {
                let mut client = rpc.caller.members();
                let request = pb::CreateMemberRequest {
                    member: Some(member("dry@storm.example")),
                    validate_only: true,
                    ..Default::default()
                };
                client
                    .create_member(rpc.caller.request(request))
                    .await
                    .map(drop)
            }
            // One that ends by itself, soon.
            6 => match members.last() {
                None => Ok(()),
                Some(id) => {
                    let end = chrono::Utc::now() + chrono::TimeDelta::milliseconds(1200);
                    let request = pb::CreateGrantRequest {
                        member: by_id(id),
                        target: role("Analyst"),
                        reason: "storm".to_owned(),
                        end_time: Some(std::time::SystemTime::from(end).into()),
                        ..Default::default()
                    };
                    let mut client = rpc.grants();
                    client
                        .create_grant(rpc.caller.request(request))
                        .await
                        .map(drop)
                }
            },
            choice => match members.pop() {
                None => Ok(()),
                Some(id) if choice == 7 => rpc.delete_member(&id).await.map(drop),
                Some(id) => {
                    let changed = rpc.set_active(&id, choice == 8).await.map(drop);
                    members.push(id);
                    changed
                }
            },
        };
        match outcome {
            Ok(()) => done += 1,
            Err(_away) => tokio::time::sleep(dice.milliseconds(40)).await,
        }
    }
    done
}

/// Writes events of a site in transactions that stay open for a while, and are undone now and then.
fn dawdle(mut connection: diesel::PgConnection, site_id: &str, stop: &AtomicBool) {
    let mut dice = Dice::new();
    while !stop.load(Ordering::Relaxed) {
        let event = format!(
            "UPDATE site_clocks SET revision = revision + 1 WHERE site_id = '{site_id}'; \
             INSERT INTO events SELECT site_id, revision, ticked_at, 'site.updated', NULL, 'slow', site_id, \
                 md5(random()::text), '{{}}', '{{}}', '[]' FROM site_clocks WHERE site_id = '{site_id}'"
        );
        let events = vec![event; 1 + dice.below(3) as usize].join("; ");
        connection
            .batch_execute(&format!("BEGIN; {events}"))
            .unwrap();
        std::thread::sleep(dice.milliseconds(900));
        let end = if dice.below(4) == 0 {
            "ROLLBACK"
        } else {
            "COMMIT"
        };
        connection.batch_execute(end).unwrap();
        std::thread::sleep(dice.milliseconds(100));
    }
}

/// Kills processes and cuts connections, until told to stop.
async fn break_things(
    world: &World,
    others: &[roster_stack::services::Service],
    proxy: &Proxy,
    stop: &AtomicBool,
) {
    let mut dice = Dice::new();
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(200) + dice.milliseconds(500)).await;
        match dice.below(3) {
            0 => tokio::task::block_in_place(|| {
                world.identity.kill();
                world.identity.restart().unwrap();
            }),
            1 => tokio::task::block_in_place(|| {
                others[0].kill();
                others[0].restart().unwrap();
            }),
            _ => {
                proxy.cut();
                tokio::time::sleep(dice.milliseconds(200)).await;
                proxy.mend();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_watcher_misses_an_event_or_gets_one_twice_in_a_storm() {
    let seconds = std::env::var("ROSTER_STORM_SECONDS").ok();
    let seconds: u64 = seconds.map_or(8, |seconds| seconds.parse().unwrap());
    let world = World::start().await;
    let proxy = Proxy::before(server().cluster.port()).await;
    // Two that are killed, and one whose connections to the database are cut.
    let others = [
        world.another_identity().await,
        world
            .identity_at(&world.database.url_through(proxy.port()))
            .await,
    ];
    let mut addresses = vec![world.grpc_addr()];
    addresses.extend(
        others
            .iter()
            .map(|other| format!("127.0.0.1:{}", other.port())),
    );
    let mut sites: Vec<Site> = Vec::new();
    for domain in ["acme", "bolt", "cord", "slow"] {
        sites.push(world.bare_site(domain).await);
    }
    let (token, _) = world.issue_for_all(&[pb::Scope::Watch]).await;
    let caller = world.caller(&token);

    let enough = Arc::new(AtomicU64::new(u64::MAX));
    let of_one: Vec<Arc<AtomicU64>> = sites
        .iter()
        .map(|_| Arc::new(AtomicU64::new(u64::MAX)))
        .collect();
    let patience = Instant::now() + Duration::from_secs(seconds + 40);
    let mut followers = Vec::new();
    for _ in 0..4 {
        let follower = Follower::new(&caller, &addresses, None);
        followers.push(tokio::spawn(follower.run(enough.clone(), patience)));
    }
    for (n, one) in sites.iter().enumerate() {
        let follower = Follower::new(&caller, &addresses, site(&one.domain));
        followers.push(tokio::spawn(follower.run(of_one[n].clone(), patience)));
    }

    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for site in &sites[..3] {
        for _ in 0..3 {
            writers.push(tokio::spawn(write(
                site.rpc.clone(),
                addresses.clone(),
                stop.clone(),
            )));
        }
    }
    let slow = std::thread::spawn({
        let (connection, id, stop) = (world.database.connect(), sites[3].id.clone(), stop.clone());
        move || dawdle(connection, &id, &stop)
    });
    let storm = break_things(&world, &others, &proxy, &stop);
    let calm = async {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(storm, calm);
    let written: u64 = join_all(writers)
        .await
        .into_iter()
        .map(Result::unwrap)
        .sum();
    tokio::task::spawn_blocking(move || slow.join())
        .await
        .unwrap()
        .unwrap();
    proxy.mend();
    eventually("every grant with an end has ended", || {
        let left =
            "SELECT count(*) AS n FROM grants WHERE to_event IS NULL AND ends_at IS NOT NULL";
        world.database.number(left) == 0
    })
    .await;
    assert!(written > 20 * seconds, "{written}");

    // What there is, and how much of it each follower is to have.
    let mut table: BTreeMap<String, Vec<Known>> = BTreeMap::new();
    let rows = world.database.texts(
        "SELECT concat_ws(' ', site_id, number, kind, subject_id, trace_id) AS t FROM events ORDER BY site_id, number",
    );
    for row in &rows {
        let mut parts = row.split(' ').map(str::to_owned);
        let site = parts.next().unwrap();
        let number = parts.next().unwrap().parse().unwrap();
        let mut next = || parts.next().unwrap_or_default();
        table
            .entry(site)
            .or_default()
            .push((number, next(), next(), next()));
    }
    enough.store(rows.len() as u64, Ordering::Release);
    for (site, enough) in sites.iter().zip(&of_one) {
        world.database.check_events(&site.id);
        enough.store(table[&site.id].len() as u64, Ordering::Release);
    }
    for (n, follower) in join_all(followers).await.into_iter().enumerate() {
        let follower = follower.unwrap();
        println!(
            "follower {n}: {} watches, ends {:?}",
            follower.opened, follower.ends
        );
        let mut expected = table.clone();
        if n >= 4 {
            expected.retain(|site, _| *site == sites[n - 4].id);
        }
        for (site, events) in &expected {
            let seen = follower
                .seen
                .get(site)
                .map(Vec::as_slice)
                .unwrap_or_default();
            let same = events
                .iter()
                .zip(seen)
                .take_while(|(one, other)| one == other)
                .count();
            assert!(
                seen == events.as_slice(),
                "follower {n}, site {site}: {} of {} events, the first difference after {same}: {:?} and {:?}",
                seen.len(),
                events.len(),
                seen.get(same),
                events.get(same),
            );
        }
        assert_eq!(follower.seen.len(), expected.len());
        assert!(follower.opened > seconds / 2, "{}", follower.opened);
    }
    println!("{} events, {written} writes answered", rows.len());
}
