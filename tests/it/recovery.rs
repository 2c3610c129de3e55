//! Backups as docs/operations.md tells to make them, and databases made from them again: dumps, and a moment
//! of the past out of a base backup and the archived log.

use std::{
    fs::File,
    process::{Command, Stdio},
    time::Duration,
};

use identity_proto::v1 as pb;
use identity_tests::{
    database::{Database, migrate, server},
    rolling::{Load, facade},
    watch::{resume, watch, watch_from_now},
    world::{Settings, Site, World},
    writes::reason,
};
use roster_stack::{
    guard::program,
    postgres::{Cluster, ClusterOptions},
};
use tonic::Code;

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A dump of a database of the tests' cluster, made into another database there.
fn dumped_and_restored(database: &Database) -> Database {
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("roster.dump");
    let name = database.url().rsplit('/').next().unwrap();
    run(server()
        .cluster
        .tool("pg_dump")
        .args(["--format=custom", name])
        .stdout(File::create(&dump).unwrap()));
    let restored = Database::empty();
    let name = restored.url().rsplit('/').next().unwrap();
    run(server()
        .cluster
        .tool("pg_restore")
        .args(["--exit-on-error", "--no-owner", "--dbname", name])
        .stdin(Stdio::from(File::open(&dump).unwrap())));
    restored
}

/// Says, as the operator does, that a database is an earlier one.
fn say_restored(database: &Database) {
    run(Command::new(program("identity").unwrap())
        .arg("restored")
        .env("DATABASE_URL", database.url()));
}

/// A site in another world that has the same database contents.
fn same_site(world: &World, site: &Site) -> Site {
    let token = &site.service_token;
    Site {
        id: site.id.clone(),
        domain: site.domain.clone(),
        scim: world.scim(&site.domain, &format!("Bearer {}", site.scim_token)),
        scim_token: site.scim_token.clone(),
        rpc: identity_tests::rpc::Rpc {
            caller: world.caller(token),
            site: None,
        },
        service_token: token.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_was_made_under_load_is_whole_and_serves() {
    let world = World::start().await;
    let site = world.acme().await;
    let before = [facade(&[&world.identity], &world.logs(), "load").await];
    let load = Load::begin(&before, &site);
    load.share_of_work().await;
    let restored = tokio::task::block_in_place(|| dumped_and_restored(&world.database));
    let made = load.end().await;
    assert!(!made.is_empty());

    restored.check_events(&site.id);
    let members = restored.number("SELECT count(*) AS n FROM members");
    assert!(members > 1, "{members}");
    say_restored(&restored);
    let again = World::with(Settings {
        database: Some(restored),
        ..Settings::default()
    })
    .await;
    let site = same_site(&again, &site);
    let found = site.scim.get("/Users?count=0").await.is(200);
    assert_eq!(found.body["totalResults"], members);
    site.scim.make_user("after@acme.example").await;
    again.database.check_events(&site.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_a_database_at_rest_is_the_same_in_every_row() {
    let world = World::start().await;
    let site = world.acme().await;
    for n in 0..5 {
        site.scim.make_user(&format!("m{n}@acme.example")).await;
    }
    let restored = tokio::task::block_in_place(|| dumped_and_restored(&world.database));
    assert!(restored.snapshot() == world.database.snapshot());
    // Nothing is left to migrate.
    migrate(restored.url());
}

/// A cluster that archives its log in a folder, and the folder.
fn archiving() -> (Cluster, std::path::PathBuf) {
    let options = ClusterOptions::temporary().unwrap();
    let archive = options.folder().join("archive");
    let options = options
        .setting("wal_level", "replica")
        .setting("archive_mode", "on")
        .setting(
            "archive_command",
            &format!("cp %p {}/%f", archive.display()),
        );
    let cluster = Cluster::start(options, &server().guard).unwrap();
    cluster.make_folder("archive").unwrap();
    cluster.create_database("roster", None).unwrap();
    migrate(&cluster.url("roster"));
    (cluster, archive)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_of_a_moment_of_the_past_is_made_again_and_who_watched_starts_over() {
    let (cluster, archive) = tokio::task::block_in_place(archiving);
    let world = World::with(Settings {
        database: Some(Database::elsewhere(&cluster, "roster")),
        ..Settings::default()
    })
    .await;
    let site = world.acme().await;
    site.scim.make_user("early@acme.example").await;
    let backup = tokio::task::block_in_place(|| cluster.back_up(true).unwrap());
    let leaver = site.scim.make_user("leaver@acme.example").await;
    site.rpc.delete_member(&leaver).await.unwrap();
    let (watching, _) = world.issue(&site.domain, &[pb::Scope::Watch]).await;
    let at_the_moment = watch_from_now(&world.caller(&watching)).await.token;
    let kept = world.database.snapshot();
    let revision = site.rpc.get_site().await.revision;
    let moment = world
        .database
        .texts("SELECT clock_timestamp()::text AS t")
        .pop()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;

    // The disaster, told to whoever watches.
    for n in 0..3 {
        site.scim.make_user(&format!("lost{n}@acme.example")).await;
    }
    let after = watch_from_now(&world.caller(&watching)).await.token;
    world.database.execute("SELECT pg_switch_wal()");
    world.identity.stop();
    tokio::task::block_in_place(|| cluster.stop());

    let options = backup
        .setting(
            "restore_command",
            &format!("cp {}/%f %p", archive.display()),
        )
        .setting("recovery_target_time", &moment)
        .setting("recovery_target_action", "promote")
        // Nobody is let in before it is what it shall be.
        .setting("hot_standby", "off");
    let recovered =
        tokio::task::block_in_place(|| Cluster::start(options, &server().guard).unwrap());
    let database = Database::elsewhere(&recovered, "roster");
    assert!(
        database.snapshot() == kept,
        "something was lost, or is too much"
    );
    say_restored(&database);
    let again = World::with(Settings {
        database: Some(database),
        ..Settings::default()
    })
    .await;
    let site = same_site(&again, &site);
    assert_eq!(site.rpc.get_site().await.revision, revision);
    assert!(site.scim.get(&format!("/Users/{leaver}")).await.status == 404);
    let caller = again.caller(&watching);
    // The numbers of what was lost are given once more, so that the tokens of before would pass over these.
    for n in 0..5 {
        site.scim.make_user(&format!("new{n}@acme.example")).await;
    }
    for token in [&at_the_moment, &after] {
        let refusal = watch(&caller, resume(token)).await;
        assert_eq!(
            reason(refusal, Code::InvalidArgument),
            "RESUME_TOKEN_INVALID"
        );
    }
    let mut fresh = watch_from_now(&caller).await;
    site.scim.make_user("last@acme.example").await;
    assert_eq!(fresh.numbers(1).await, [revision + 6]);
    again.database.check_events(&site.id);
}
