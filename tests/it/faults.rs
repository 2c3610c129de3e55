//! A bad day: processes killed, the database away, channels cut, deadlines over, nothing left to wait
//! with. A request is either done or not, and whoever asked is told to come back.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use identity_proto::v1 as pb;
use identity_tests::{
    database::server,
    faults::Proxy,
    locks::{SiteLock, eventually},
    rpc::{Rpc, by_user_name},
    scim::{self, Scim},
    world::{OWNER, Settings, Site, World},
    writes::{member, new_trace_id, reason, traced},
};
use nix::sys::signal::Signal;
use serde_json::json;
use tonic::{Code, Request, Status};

/// Asserts the one answer that an identity provider repeats by itself.
#[track_caller]
fn come_back(answer: scim::Answer) {
    let seconds: u32 = answer.header("retry-after").parse().expect("whole seconds");
    assert!((1..=60).contains(&seconds));
    answer.error(429, "");
}

fn unavailable<T: std::fmt::Debug>(outcome: Result<T, Status>) {
    use tonic_types::StatusExt;
    let delay = outcome
        .as_ref()
        .err()
        .and_then(StatusExt::get_details_retry_info);
    assert!(delay.is_some_and(|info| info.retry_delay.is_some()));
    assert_eq!(reason(outcome, Code::Unavailable), "UNAVAILABLE");
}

/// A request with its own deadline.
fn within<T>(rpc: &Rpc, message: T, time: Duration) -> Request<T> {
    let mut request = rpc.caller.request(message);
    request.set_timeout(time);
    request
}

fn create(user_name: &str) -> pb::CreateMemberRequest {
    pb::CreateMemberRequest {
        member: Some(member(user_name)),
        ..Default::default()
    }
}

fn get_owner() -> pb::GetMemberRequest {
    pb::GetMemberRequest {
        member: by_user_name(OWNER),
        ..Default::default()
    }
}

/// Waits until a request of an identity provider is answered again.
async fn recovers(site: &Site) {
    let begun = Instant::now();
    while site.scim.get("/Users?count=1").await.status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(15), "still away");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What a client was told.
#[derive(Debug, Default)]
struct Told {
    /// User names and ids of members that it was told are made.
    made: BTreeSet<(String, String)>,
    /// Ids of members that it was told are in the group.
    joined: BTreeSet<String>,
    /// User names that it asked for and was not told of.
    open: BTreeSet<String>,
    refusals: usize,
}

/// Makes members and puts them into a group until it is told to stop.
async fn hire(
    client: usize,
    scim: Scim,
    group: String,
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<Told>>,
) {
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let user_name = format!("c{client}n{n}@acme.example");
        let answer = scim.post("/Users", &scim::user(&user_name)).await;
        if answer.status != 201 {
            come_back(answer);
            let mut told = told.lock().unwrap();
            told.refusals += 1;
            told.open.insert(user_name);
            continue;
        }
        let id = answer.id();
        told.lock().unwrap().made.insert((user_name, id.clone()));
        let add = json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }]);
        let answer = scim.patch(&format!("/Groups/{group}"), add).await;
        if answer.status == 204 {
            told.lock().unwrap().joined.insert(id);
        } else {
            come_back(answer);
            told.lock().unwrap().refusals += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_identity_loses_nothing_it_acknowledged_and_leaves_nothing_half_done() {
    let world = World::start().await;
    let acme = world.acme().await;
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[]).await;
    let (stop, told) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Told>>::default());
    let clients: Vec<_> = (0..6)
        .map(|client| {
            let scim = world.scim("acme", &acme.scim_token);
            tokio::spawn(hire(
                client,
                scim,
                group.clone(),
                stop.clone(),
                told.clone(),
            ))
        })
        .collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        tokio::task::block_in_place(|| {
            world.identity.kill();
            world.identity.restart().unwrap();
        });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }

    let told = std::mem::take(&mut *told.lock().unwrap());
    assert!(told.made.len() > 20 && told.refusals > 0, "{told:?}");
    let kept: BTreeSet<(String, String)> = world
        .database
        .texts("SELECT user_name || ' ' || member_id AS t FROM members WHERE deleted_event IS NULL")
        .into_iter()
        .filter_map(|row| {
            let (name, id) = row.split_once(' ')?;
            (name != OWNER).then(|| (name.to_owned(), id.to_owned()))
        })
        .collect();
    assert!(told.made.is_subset(&kept), "an acknowledged member is lost");
    for (name, _) in kept.difference(&told.made) {
        assert!(told.open.contains(name), "{name} was never asked for");
    }
    let joined: BTreeSet<String> = acme.scim.members(&group).await.into_iter().collect();
    assert!(
        told.joined.is_subset(&joined),
        "an acknowledged membership is lost"
    );

    // Whatever is there is there whole: the row, its history and its event.
    world.database.check_events(&acme.id);
    let torn = world.database.number(
        "SELECT (SELECT count(*) FROM members m LEFT JOIN events e ON e.site_id = m.site_id \
                   AND e.number = m.version AND e.subject_id = m.member_id AND e.kind = 'member.created' \
                 LEFT JOIN member_activity a ON a.site_id = m.site_id AND a.member_id = m.member_id \
                   AND a.from_event = m.version \
                 WHERE m.version > 1 AND (e.number IS NULL OR a.from_event IS NULL)) \
              + (SELECT count(*) FROM group_members gm LEFT JOIN events e ON e.site_id = gm.site_id \
                   AND e.number = gm.from_event AND e.kind = 'group.updated' \
                   AND e.after -> 'added_member_ids' ? gm.member_id::text WHERE e.number IS NULL) \
              + (SELECT count(*) FROM events e WHERE e.kind = 'member.created' \
                   AND NOT EXISTS (SELECT FROM members m WHERE m.member_id = e.subject_id)) AS n",
    );
    assert_eq!(torn, 0);
    // A retry is safe: who asks again learns the id of what was done after all.
    for name in &told.open {
        let again = acme.scim.post("/Users", &scim::user(name)).await;
        if let Some((_, id)) = kept.iter().find(|(kept, _)| kept == name) {
            let detail = again.error(409, "uniqueness");
            assert!(detail.contains(id), "{detail}");
        } else {
            again.is(201);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_went_away_is_said_to_be_and_is_found_again() {
    let proxy = Proxy::before(server().cluster.port()).await;
    let world = World::with(Settings {
        database_port: Some(proxy.port()),
        ..Settings::default()
    })
    .await;
    let acme = world.acme().await;
    // Every connection of the pool is in use once, so that all of them are stale afterwards.
    join_all((0..12).map(|_| acme.scim.get("/Users"))).await;
    let before = world.database.snapshot();

    proxy.cut();
    let begun = Instant::now();
    let new = scim::user("new@acme.example");
    let (read, write, get, create) = tokio::join!(
        acme.scim.get("/Users"),
        acme.scim.post("/Users", &new),
        acme.rpc.get_member(by_user_name(OWNER)),
        acme.rpc.create_member(member("x@acme.example")),
    );
    come_back(read);
    come_back(write);
    unavailable(get);
    unavailable(create);
    assert!(begun.elapsed() < Duration::from_secs(10), "bounded waits");
    eventually("identity is not ready", || {
        world.identity.is_ready().is_err()
    })
    .await;
    // The facade stays: its 429 is what identity providers repeat.
    world.facade.is_ready().unwrap();
    assert_eq!(world.database.snapshot(), before);

    proxy.mend();
    recovers(&acme).await;
    eventually("identity is ready", || world.identity.is_ready().is_ok()).await;
    acme.scim.post("/Users", &new).await.is(201);

    // A connection that dies while it is idle costs nobody an answer.
    proxy.cut();
    proxy.mend();
    for answer in join_all((0..6).map(|_| acme.scim.get("/Users"))).await {
        answer.is(200);
    }
    world.database.check_events(&acme.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_says_nothing_holds_nobody_longer_than_their_deadline() {
    let proxy = Proxy::before(server().cluster.port()).await;
    let world = World::with(Settings {
        database_port: Some(proxy.port()),
        facade: vec![("ROSTER_REQUEST_TIMEOUT_MS", "1000".to_owned())],
        ..Settings::default()
    })
    .await;
    let acme = world.acme().await;
    proxy.freeze();
    let begun = Instant::now();
    let new = scim::user("new@acme.example");
    let mut members = acme.rpc.caller.members();
    let call = members.get_member(within(&acme.rpc, get_owner(), Duration::from_millis(500)));
    let (read, write, called) = tokio::join!(
        acme.scim.get("/Users"),
        acme.scim.post("/Users", &new),
        call,
    );
    come_back(read);
    come_back(write);
    assert_eq!(called.unwrap_err().code(), Code::DeadlineExceeded);
    assert!(
        begun.elapsed() < Duration::from_millis(2500),
        "{:?}",
        begun.elapsed()
    );
    proxy.mend();
    recovers(&acme).await;
    // The write was done or was not; asked for again it is there, once.
    let again = acme.scim.post("/Users", &new).await;
    assert!(again.status == 201 || again.status == 409, "{again:?}");
    let filter = scim::encode("userName eq \"new@acme.example\"");
    let found = acme.scim.get(&format!("/Users?filter={filter}")).await;
    assert_eq!(found.is(200).body["totalResults"], 1);
    world.database.check_events(&acme.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_told_to_stop_does_not_wait_for_a_database_that_says_nothing() {
    let proxy = Proxy::before(server().cluster.port()).await;
    let world = World::with(Settings {
        database_port: Some(proxy.port()),
        ..Settings::default()
    })
    .await;
    let acme = world.acme().await;
    proxy.freeze();
    let mut members = acme.rpc.caller.members();
    let call = within(&acme.rpc, get_owner(), Duration::from_secs(1));
    let refused = members.get_member(call).await.unwrap_err();
    assert_eq!(refused.code(), Code::DeadlineExceeded);
    let took = tokio::task::block_in_place(|| {
        let begun = Instant::now();
        world.identity.stop();
        begun.elapsed()
    });
    assert!(took < Duration::from_secs(5), "{took:?}");
    let log = std::fs::read_to_string(world.identity.log()).unwrap();
    assert!(log.contains("identity stopped"), "{log}");
}

/// Conformance: 129, 130.
#[tokio::test(flavor = "multi_thread")]
async fn a_facade_cut_from_identity_tells_its_clients_to_come_back() {
    let identity_port = roster_stack::ports::free_port().unwrap();
    let proxy = Proxy::before(identity_port).await;
    let world = World::with(Settings {
        identity: vec![(
            "ROSTER_IDENTITY_LISTEN",
            format!("127.0.0.1:{identity_port}"),
        )],
        identity_port: Some(proxy.port()),
        facade: vec![("ROSTER_REQUEST_TIMEOUT_MS", "1500".to_owned())],
        ..Settings::default()
    })
    .await;
    // The test's own calls go straight to identity.
    let bootstrap = roster_stack::grpc::Caller::new(
        &format!("127.0.0.1:{identity_port}"),
        identity_tests::world::BOOTSTRAP,
    )
    .unwrap();
    let request = bootstrap.request(pb::CreateSiteRequest {
        domain: "acme".to_owned(),
        owner: Some(pb::NewOwner {
            user_name: OWNER.to_owned(),
            given_name: "O".to_owned(),
            family_name: "A".to_owned(),
        }),
        ..Default::default()
    });
    bootstrap.sites().create_site(request).await.unwrap();
    let request = bootstrap.request(pb::IssueCredentialRequest {
        site: roster_stack::grpc::site("acme"),
        label: "Okta".to_owned(),
        scopes: vec![pb::Scope::Provision.into()],
        ..Default::default()
    });
    let issued = bootstrap.credentials().issue_credential(request).await;
    let scim = world.scim("acme", &issued.unwrap().into_inner().token);
    scim.get("/Users").await.is(200);

    let (new, no_user) = (scim::user("new@acme.example"), json!([]));
    proxy.cut();
    let (read, write, refused) = tokio::join!(
        scim.get("/Users"),
        scim.post("/Users", &new),
        // What the facade alone would refuse waits too: it can't know whose token this is.
        scim.post("/Users", &no_user),
    );
    for answer in [read, write, refused] {
        come_back(answer);
    }
    proxy.mend();
    let back = async {
        while scim.get("/Users").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), back)
        .await
        .unwrap();

    proxy.freeze();
    let begun = Instant::now();
    let (read, write) = tokio::join!(scim.get("/Users"), scim.post("/Users", &new));
    come_back(read);
    come_back(write);
    assert!(begun.elapsed() < Duration::from_secs(3));
    proxy.mend();
    let done = async {
        loop {
            let answer = scim.post("/Users", &new).await;
            match answer.status.as_u16() {
                429 => tokio::time::sleep(Duration::from_millis(50)).await,
                201 | 409 => return,
                other => panic!("{other}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), done)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_deadline_ends_its_statements_too() {
    let world = World::start().await;
    let acme = world.acme().await;
    let before = world.database.snapshot();
    let lock = world.database.lock_site(&acme.id);
    for milliseconds in [300, 1000] {
        let time = Duration::from_millis(milliseconds);
        let trace_id = new_trace_id();
        let request = within(&acme.rpc, create("x@acme.example"), time);
        let mut members = acme.rpc.caller.members();
        let begun = Instant::now();
        let outcome = members.create_member(traced(request, &trace_id)).await;
        let took = begun.elapsed();
        assert!(took >= time / 2 && took < time + time / 5, "{took:?}");
        // Its answer is there before the caller gives up by itself, which is no answer of identity's.
        assert_eq!(reason(outcome, Code::DeadlineExceeded), "DEADLINE_EXCEEDED");
        eventually("no statement is left", || world.database.running() == 0).await;
        assert!(begun.elapsed() < time + Duration::from_millis(500));
        // It is told as what it is.
        eventually("the call is logged", || {
            let log = std::fs::read_to_string(world.identity.log()).unwrap();
            let mut lines = log.lines().filter(|line| line.contains(&trace_id));
            lines.any(|line| line.contains(": call ") && line.contains("code=DEADLINE_EXCEEDED"))
        })
        .await;
    }
    lock.release();
    assert_eq!(world.database.snapshot(), before);
    acme.rpc
        .create_member(member("x@acme.example"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_all_connections_busy_waits_a_bounded_time() {
    let world = World::with(Settings {
        identity: vec![("ROSTER_DB_POOL", "2".to_owned())],
        ..Settings::default()
    })
    .await;
    let acme = world.acme().await;
    let beta = world.bare_site("beta").await;
    let locks = [&acme, &beta].map(|site| world.database.lock_site(&site.id));
    // One of each: no site may have more than half.
    let writes = [&acme, &beta].map(|site| {
        let rpc = site.rpc.clone();
        tokio::spawn(async move { rpc.create_member(member("a@acme.example")).await })
    });
    world.database.wait_until_waiting(2).await;

    // The third waits for its turn, and no longer than a few seconds.
    let begun = Instant::now();
    let (read, over_scim, abandoned) = tokio::join!(
        acme.rpc.get_member(by_user_name(OWNER)),
        acme.scim.get("/Users"),
        async {
            // This one's caller leaves while it waits.
            let trace_id = new_trace_id();
            let request = acme.rpc.caller.request(create("left@acme.example"));
            let mut client = acme.rpc.caller.members();
            let call = client.create_member(traced(request, &trace_id));
            let left = tokio::time::timeout(Duration::from_millis(500), call).await;
            assert!(left.is_err());
            trace_id
        },
    );
    unavailable(read);
    come_back(over_scim);
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_secs(8),
        "{took:?}"
    );
    // Its deadline, where that comes first, ends the wait.
    let begun = Instant::now();
    let request = within(&acme.rpc, get_owner(), Duration::from_millis(200));
    let outcome = acme.rpc.caller.members().get_member(request).await;
    assert_eq!(outcome.unwrap_err().code(), Code::DeadlineExceeded);
    assert!(begun.elapsed() < Duration::from_millis(700));

    // And one that leaves now, just before there is a turn for it.
    let late = new_trace_id();
    let request = traced(acme.rpc.caller.request(create("late@acme.example")), &late);
    let mut client = acme.rpc.caller.members();
    let call = client.create_member(request);
    let left = tokio::time::timeout(Duration::from_millis(300), call).await;
    assert!(left.is_err());
    tokio::time::sleep(Duration::from_millis(200)).await;
    locks.into_iter().for_each(SiteLock::release);
    for write in writes {
        write.await.unwrap().unwrap();
    }
    acme.scim.get("/Users").await.is(200);
    // Work whose caller has gone was not begun.
    let log = std::fs::read(server().cluster.log()).unwrap();
    let log = String::from_utf8_lossy(&log).into_owned();
    for trace_id in [&abandoned, &late] {
        assert!(!log.contains(&format!("identity {trace_id}|")));
    }
    for name in ["left@acme.example", "late@acme.example"] {
        let outcome = acme.rpc.get_member(by_user_name(name)).await;
        assert_eq!(reason(outcome, Code::NotFound), "MEMBER_NOT_FOUND");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_when_a_process_is_told_to_stop_is_finished() {
    let world = World::start().await;
    let acme = world.acme().await;
    let lock = world.database.lock_site(&acme.id);
    let over_scim = tokio::spawn({
        let scim = acme.scim.clone();
        async move { scim.post("/Users", &scim::user("a@acme.example")).await }
    });
    let over_grpc = tokio::spawn({
        let rpc = acme.rpc.clone();
        async move { rpc.create_member(member("b@acme.example")).await }
    });
    world.database.wait_until_waiting(2).await;
    world.identity.signal(Signal::SIGTERM);
    world.facade.signal(Signal::SIGTERM);
    eventually("both say that they stop", || {
        world.identity.is_ready().is_err() && world.facade.is_ready().is_err()
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(world.identity.ended().is_none() && world.facade.ended().is_none());
    lock.release();
    over_scim.await.unwrap().is(201);
    over_grpc.await.unwrap().unwrap();
    eventually("both have ended", || {
        world.identity.ended().is_some() && world.facade.ended().is_some()
    })
    .await;
    for service in [&world.identity, &world.facade] {
        assert!(service.ended().unwrap().success(), "{}", service.name());
    }
    assert_eq!(world.database.check_events(&acme.id), 8);
}
