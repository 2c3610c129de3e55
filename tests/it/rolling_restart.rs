//! A rolling restart of both services, one process after the other, while identity providers push: no request
//! fails, nothing is lost, and each process goes in time.

use std::sync::Arc;

use identity_tests::{
    rolling::{Load, facade},
    world::World,
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_both_services_are_restarted_one_process_after_the_other() {
    let world = World::start().await;
    let site = world.acme().await;
    let identities = [
        Arc::new(world.another_identity().await),
        Arc::new(world.another_identity().await),
    ];
    let behind = [&*identities[0], &*identities[1]];
    let facades = [
        facade(&behind, &world.logs(), "a").await,
        facade(&behind, &world.logs(), "b").await,
    ];

    let load = Load::begin(&facades, &site);
    for round in 0..2 {
        for service in [&identities[0], &facades[0], &identities[1], &facades[1]] {
            load.replace(service).await;
        }
        println!("round {round} is over");
    }
    let made = load.end().await;
    assert!(made.len() > 100, "there was load: {} people", made.len());
    for (id, title) in made {
        let found = site.scim.get(&format!("/Users/{id}")).await.is(200);
        assert_eq!(found.body["title"], json!(title));
    }
    for facade in &facades {
        let log = std::fs::read_to_string(facade.log()).unwrap();
        assert!(!log.contains("unanswered"), "{log}");
    }
}
