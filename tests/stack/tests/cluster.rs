//! A private cluster, with the real server programs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use diesel::{Connection, PgConnection, RunQueryDsl, sql_query};
use roster_stack::{
    guard::Guard,
    postgres::{Cluster, ClusterOptions},
    process::Identity,
};

fn answers(url: &str) -> bool {
    PgConnection::establish(url)
        .is_ok_and(|mut connection| sql_query("SELECT 1").execute(&mut connection).is_ok())
}

fn server(cluster: &Cluster) -> Identity {
    let file = cluster.folder().join("data/postmaster.pid");
    let text = std::fs::read_to_string(file).unwrap();
    Identity::of(text.lines().next().unwrap().parse().unwrap()).unwrap()
}

#[test]
fn a_cluster_lives_is_killed_and_comes_back() {
    let guard = Guard::spawn(None).unwrap();
    let cluster = Cluster::start(ClusterOptions::temporary().unwrap(), &guard).unwrap();
    cluster.create_database("first", None).unwrap();
    let mut connection = PgConnection::establish(&cluster.url("first")).unwrap();
    sql_query("CREATE TABLE kept (n int)")
        .execute(&mut connection)
        .unwrap();
    sql_query("INSERT INTO kept VALUES (1)")
        .execute(&mut connection)
        .unwrap();
    drop(connection);
    cluster.create_database("second", Some("first")).unwrap();
    cluster.ensure_database("second").unwrap();

    cluster.kill();
    assert!(!cluster.is_running());
    assert!(!answers(&cluster.url("second")));
    cluster.restart().unwrap();
    let mut connection = PgConnection::establish(&cluster.url("second")).unwrap();
    // What was acknowledged has survived.
    let updated = sql_query("UPDATE kept SET n = 2")
        .execute(&mut connection)
        .unwrap();
    assert_eq!(updated, 1);
    drop(connection);
    cluster.drop_database("second").unwrap();
    assert!(!answers(&cluster.url("second")));

    let (folder, process) = (cluster.folder().to_owned(), server(&cluster));
    drop(cluster);
    assert!(!process.is_alive());
    assert!(!folder.exists());
}

#[test]
fn nothing_is_left_of_a_launcher_that_was_killed() {
    // This test, run again by itself as the launcher that is killed.
    if let Ok(folder) = std::env::var("ROSTER_STACK_TEST_LAUNCHER") {
        let guard = Guard::spawn(None).unwrap();
        let cluster = Cluster::start(ClusterOptions::temporary().unwrap(), &guard).unwrap();
        let facts = format!("{} {}", server(&cluster).pid(), cluster.folder().display());
        std::fs::write(Path::new(&folder).join("facts"), facts).unwrap();
        std::thread::sleep(Duration::from_secs(600));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut launcher = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "nothing_is_left_of_a_launcher_that_was_killed"])
        .env("ROSTER_STACK_TEST_LAUNCHER", folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let facts = folder.path().join("facts");
    let deadline = Instant::now() + Duration::from_secs(120);
    while !facts.exists() {
        assert!(Instant::now() < deadline, "the launcher did not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(50));
    let text = std::fs::read_to_string(&facts).unwrap();
    let (pid, cluster) = text.split_once(' ').unwrap();
    let server = Identity::of(pid.parse().unwrap()).unwrap();

    launcher.kill().unwrap();
    launcher.wait().unwrap();
    assert!(server.wait_until_gone(Duration::from_secs(30)));
    let deadline = Instant::now() + Duration::from_secs(30);
    while Path::new(cluster).exists() {
        assert!(Instant::now() < deadline, "the folder {cluster} was left");
        std::thread::sleep(Duration::from_millis(50));
    }
}
