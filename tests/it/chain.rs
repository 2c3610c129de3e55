//! The whole chain as it is in production, with other people's programs: Prometheus scrapes both services and keeps our
//! rules unchanged, Alertmanager passes an alert on. Run by `make test-monitoring`, which sees to it that they are
//! installed; elsewhere it is skipped.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use identity_tests::{
    collector::Collector,
    database::{Database, server},
    faults::Proxy,
    scim,
    world::{Settings, World},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use roster_stack::{
    guard::program,
    monitors::{MonitorOptions, Monitors},
    ports::free_port,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

/// Set where it is to run.
const WANTED: &str = "ROSTER_TEST_MONITORING";

/// Takes what Alertmanager sends: the alerts of each message.
async fn webhook() -> (String, mpsc::UnboundedReceiver<Value>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (sender, alerts) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut message = Vec::new();
            let mut buffer = [0; 4096];
            // One request a connection: the body is there when it can be read as JSON.
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                message.extend_from_slice(&buffer[..count]);
                let text = String::from_utf8_lossy(&message);
                let body = text
                    .split_once("\r\n\r\n")
                    .map(|(_, body)| serde_json::from_str(body));
                if let Some(Ok(body)) = body {
                    let answer =
                        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    let _test_is_over = sender.send(body);
                    break;
                }
            }
        }
    });
    (url, alerts)
}

/// Asks Prometheus until the answer is there.
async fn asked(port: u16, path: &str, good: impl Fn(&Value) -> bool) -> Value {
    let url = format!("http://127.0.0.1:{port}/api/v1/{path}");
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = reqwest::get(&url).await.unwrap().text().await.unwrap();
        // Until it is ready it answers with a sentence.
        if let Ok(answer) = serde_json::from_str::<Value>(&answer)
            && good(&answer["data"])
        {
            return answer["data"].clone();
        }
        assert!(Instant::now() < patience, "{path}: {answer}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_both_and_a_cut_database_reaches_who_is_on_call() {
    if std::env::var_os(WANTED).is_none() {
        println!("skipped: {WANTED} is not set");
        return;
    }
    let proxy = Proxy::before(server().cluster.port()).await;
    let collector = Collector::start().await.unwrap();
    let world = World::with(Settings {
        database_port: Some(proxy.port()),
        identity: collector.variables(),
        facade: collector.variables(),
        ..Settings::default()
    })
    .await;
    let acme = world.acme().await;
    let (url, mut alerts) = webhook().await;
    let folder = tempfile::tempdir().unwrap();
    let options = MonitorOptions {
        folder: folder.path().to_owned(),
        prometheus: free_port().unwrap(),
        alertmanager: free_port().unwrap(),
        targets: vec![
            ("facade", world.facade.admin_port()),
            ("identity", world.identity.admin_port()),
        ],
        webhook: Some(url),
    };
    let port = options.prometheus;
    let _monitors =
        tokio::task::spawn_blocking(move || Monitors::start(&options, &server().guard).unwrap())
            .await
            .unwrap();

    // Both are scraped, and every rule can be worked out.
    let list = |data: &Value| data.as_array().map_or(0, Vec::len);
    asked(port, "query?query=up==1", |data| list(&data["result"]) == 2).await;
    let rules = asked(port, "rules", |data| {
        let groups = data["groups"].as_array().unwrap();
        let rules = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap());
        rules.clone().count() > 30 && rules.clone().all(|rule| rule["health"] == "ok")
    })
    .await;
    assert!(rules.to_string().contains("RosterDatabaseDown"));
    // An exemplar leads from a duration to the trace that the collector has, from the facade to SQL.
    let made = acme
        .scim
        .post("/Users", &scim::user("ann@acme.example"))
        .await
        .is(201);
    let now = chrono::Utc::now().timestamp();
    let exemplars = format!(
        "query_exemplars?query=http_server_request_duration_seconds_bucket&start={}&end={}",
        now - 60,
        now + 60
    );
    asked(port, &exemplars, |data| {
        data.to_string().contains(made.trace_id())
    })
    .await;
    let spans = collector.trace(made.trace_id(), 8).await;
    for name in [
        "POST /{domain}/scim/v2/Users",
        "identity.v1.MemberService/CreateMember",
        "insert member",
        "COMMIT",
    ] {
        assert!(spans.iter().any(|span| span.span.name == name), "{name}");
    }
    // Prometheus' own linter has nothing to say of the names.
    for service in [&world.facade, &world.identity] {
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let metrics = service.metrics().unwrap();
        promtool
            .stdin
            .take()
            .unwrap()
            .write_all(metrics.as_bytes())
            .unwrap();
        let output = promtool.wait_with_output().unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        // But of the one that is OpenTelemetry's.
        let complaints = complaints
            .lines()
            .filter(|line| !line.starts_with("db_client_connection_count non-histogram"));
        assert_eq!(complaints.collect::<Vec<_>>(), Vec::<&str>::new());
    }

    // The fault, and a minute later the alert, with the way to its runbook.
    proxy.cut();
    let patience = Duration::from_secs(120);
    let fired = async |status: &str| loop {
        let message = alerts.recv().await.unwrap();
        let all = message["alerts"].as_array().unwrap();
        let found = all.iter().find(|alert| {
            alert["labels"]["alertname"] == "RosterDatabaseDown" && alert["status"] == *status
        });
        if let Some(alert) = found {
            return alert.clone();
        }
    };
    let mut fired = fired;
    let alert = tokio::time::timeout(patience, fired("firing"))
        .await
        .unwrap();
    assert_eq!(alert["labels"]["severity"], "page");
    assert_eq!(alert["labels"]["job"], "identity");
    assert_eq!(
        alert["annotations"]["runbook_url"],
        "docs/runbooks/RosterDatabaseDown.md"
    );
    proxy.mend();
    tokio::time::timeout(patience, fired("resolved"))
        .await
        .unwrap();
}

/// A stack as a newcomer starts it; stopped as they stop it, also where a test fails.
struct Stack(Child);

impl Stack {
    /// Stops it; none where it does not end in time, and is killed.
    fn stop(&mut self) -> Option<ExitStatus> {
        if let Ok(Some(ended)) = self.0.try_wait() {
            return Some(ended);
        }
        let id = i32::try_from(self.0.id()).unwrap();
        kill(Pid::from_raw(id), Signal::SIGINT).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            if let Ok(Some(ended)) = self.0.try_wait() {
                return Some(ended);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.0.kill().unwrap();
        None
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.stop();
    }
}

/// `make observe`, as a newcomer starts it.
#[tokio::test(flavor = "multi_thread")]
async fn the_observed_stack_prints_its_addresses_and_a_trace_as_a_tree() {
    if std::env::var_os(WANTED).is_none() {
        println!("skipped: `make test-monitoring` sets {WANTED}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Not one of its own, which would be kept.
    let database = Database::empty();
    let stack = Command::new(program("roster-stack").unwrap())
        .arg("observe")
        // Not those of a stack that may run here already.
        .env("ROSTER_FACADE_PORT", free_port().unwrap().to_string())
        .env("ROSTER_IDENTITY_PORT", free_port().unwrap().to_string())
        .env("DATABASE_URL", database.url())
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut stack = Stack(stack.unwrap());
    let lines = BufReader::new(stack.0.stdout.take().unwrap()).lines();
    let (found, mut said) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let _test_is_over = found.send(line);
        }
    });
    let mut text = Vec::new();
    loop {
        let next = tokio::time::timeout(Duration::from_secs(90), said.recv()).await;
        let line = next.expect("it goes on").expect("it is not over");
        let last = line.contains("ROLLBACK");
        text.push(line);
        if last {
            break;
        }
    }
    let begin = text
        .iter()
        .position(|line| line.contains("from SCIM to SQL"));
    let tree = &text[begin.unwrap()..];
    // Each span below the one that it is part of.
    let depth = |what: &str| {
        let line = tree.iter().find(|line| line.contains(what));
        let line = line.unwrap_or_else(|| panic!("{what} is not in {tree:#?}"));
        line.len() - line.trim_start().len()
    };
    assert!(depth("POST /{domain}/scim/v2/Users") < depth("MemberService/CreateMember"));
    assert!(depth("MemberService/CreateMember") < depth("ROLLBACK"));
    for name in ["Prometheus", "Alertmanager"] {
        let line = text.iter().find(|line| line.trim_start().starts_with(name));
        let url = line.unwrap().split_whitespace().last().unwrap();
        let patience = Instant::now() + Duration::from_secs(30);
        // It says that it is unavailable until it has read what it keeps.
        while !reqwest::get(url).await.unwrap().status().is_success() {
            assert!(Instant::now() < patience, "{url}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    let ended = tokio::task::block_in_place(|| stack.stop());
    assert!(ended.unwrap().success());
}
