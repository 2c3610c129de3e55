//! An upgrade without downtime: the services as they were before the newest migration (`make test-upgrade`
//! builds them, and names their folder in ROSTER_PREVIOUS) work on the schema of today, and with each other's
//! successors.

use std::{path::PathBuf, sync::Arc};

use identity_tests::{
    database::migrate,
    rolling::{Load, facade},
    scim::{Scim, user},
    world::{Settings, Site, World},
};
use roster_stack::{
    ports::free_port,
    services::{Service, ServiceOptions},
};
use serde_json::json;

/// A build of before; none where nobody made one.
fn previous(program: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("ROSTER_PREVIOUS") else {
        println!(
            "skipped: `make test-upgrade` builds the previous release and sets ROSTER_PREVIOUS"
        );
        return None;
    };
    let program = PathBuf::from(folder).join(program);
    assert!(program.is_file(), "{} is missing", program.display());
    Some(program)
}

/// What an identity provider does with one member and their groups, from the first day to the last.
async fn life_cycle(scim: &Scim, site: &Site, name: &str) {
    let made = scim
        .post("/Users", &user(&format!("{name}@acme.example")))
        .await;
    let id = made.is(201).id();
    let group = json!({
        "schemas": [identity_tests::scim::GROUP],
        "displayName": format!("CB/acme/ROLE/{name}"),
        "members": [{ "value": id }],
    });
    site.make_role(name, &[]).await;
    let group = scim.post("/Groups", &group).await.is(201).id();
    let path = format!("/Groups/{group}");
    let leave = json!([{ "op": "remove", "path": format!("members[value eq \"{id}\"]") }]);
    assert_eq!(
        scim.get(&path).await.is(200).body["members"][0]["value"],
        json!(id)
    );
    scim.patch(&path, leave).await;
    assert!(
        scim.get(&path).await.is(200).body["members"]
            .as_array()
            .is_none_or(Vec::is_empty)
    );
    let leaver = json!([{ "op": "replace", "value": { "active": false } }]);
    scim.patch(&format!("/Users/{id}"), leaver).await.is(200);
    assert_eq!(
        scim.get(&format!("/Users/{id}")).await.is(200).body["active"],
        json!(false)
    );
    scim.delete(&path).await.is(204);
    scim.delete(&format!("/Users/{id}")).await.is(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_of_before_work_on_the_schema_of_today_and_with_those_of_today() {
    let (Some(identity), Some(previous_facade)) = (previous("identity"), previous("facade")) else {
        return;
    };
    let world = World::with(Settings {
        identity_build: Some(identity),
        facade_build: Some(previous_facade),
        ..Settings::default()
    })
    .await;
    let site = world.acme().await;
    life_cycle(&site.scim, &site, "before").await;
    migrate(world.database.url());

    life_cycle(&site.scim, &site, "migrated").await;
    let restarted = &world.identity;
    tokio::task::block_in_place(|| restarted.restart().unwrap());
    life_cycle(&site.scim, &site, "restarted").await;

    // Each before the other's successor.
    let new_identity = world.another_identity().await;
    let new_facade = facade(&[&world.identity], &world.logs(), "new").await;
    let token = format!("Bearer {}", site.scim_token);
    let url = format!("http://127.0.0.1:{}/acme/scim/v2", new_facade.port());
    life_cycle(&Scim::new(&url, &token), &site, "new-facade").await;
    let (port, admin_port) = (free_port().unwrap(), free_port().unwrap());
    let log = world.logs().join("facade-before.log");
    let options = ServiceOptions::facade(new_identity.port(), port, admin_port, &log)
        .built(&previous("facade").unwrap());
    let guard = &identity_tests::database::server().guard;
    let _old_facade = tokio::task::block_in_place(|| Service::start(options, guard).unwrap());
    let url = format!("http://127.0.0.1:{port}/acme/scim/v2");
    life_cycle(&Scim::new(&url, &token), &site, "new-identity").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_the_schema_is_migrated_and_each_identity_is_replaced() {
    let Some(build) = previous("identity") else {
        return;
    };
    let world = World::with(Settings {
        identity_build: Some(build.clone()),
        ..Settings::default()
    })
    .await;
    let site = world.acme().await;
    let url = world.database.url().to_owned();
    // Where a new process takes the place of an old one, it has its address.
    let identity = |build: Option<PathBuf>, port: u16, name: &str| {
        let log = world.logs().join(format!("identity-{name}.log"));
        let mut options = World::identity_options(&url, port, &log);
        if let Some(build) = build {
            options = options.built(&build);
        }
        let guard = &identity_tests::database::server().guard;
        tokio::task::block_in_place(|| Arc::new(Service::start(options, guard).unwrap()))
    };
    let old = ["a", "b"].map(|name| identity(Some(build.clone()), free_port().unwrap(), name));
    let behind = [&*old[0], &*old[1]];
    let facades = [
        facade(&behind, &world.logs(), "a").await,
        facade(&behind, &world.logs(), "b").await,
    ];

    let load = Load::begin(&facades, &site);
    load.share_of_work().await;
    let migrated = url.clone();
    tokio::task::spawn_blocking(move || migrate(&migrated))
        .await
        .unwrap();
    load.share_of_work().await;
    let mut new = Vec::new();
    for (before, name) in old.iter().zip(["c", "d"]) {
        let stopping = before.clone();
        tokio::task::spawn_blocking(move || stopping.stop())
            .await
            .unwrap();
        new.push(identity(None, before.port(), name));
        load.share_of_work().await;
    }
    load.replace(&facades[0]).await;
    let made = load.end().await;
    assert!(made.len() > 50, "there was load: {} people", made.len());
    for (id, title) in made {
        let found = site.scim.get(&format!("/Users/{id}")).await.is(200);
        assert_eq!(found.body["title"], json!(title));
    }
    // Numbers without gaps: no event of either release was lost.
    let events = world.database.number("SELECT count(*) AS n FROM events");
    let last = world.database.number("SELECT max(number) AS n FROM events");
    assert_eq!(events, last);
}
