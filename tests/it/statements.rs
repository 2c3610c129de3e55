//! Statements of `tests/conformance.toml` that no other test holds as they stand, asked of a running Roster over
//! HTTP alone.

mod data;
mod lists;
mod messages;
mod patch;
mod put;
mod resources;

use identity_tests::{
    scim::{Scim, encode},
    world::{Site, World},
};
use serde_json::Value;

/// A Roster with the site `acme`.
struct Place {
    _world: World,
    acme: Site,
}

impl Place {
    async fn new() -> Self {
        let world = World::start().await;
        let acme = world.acme().await;
        Self {
            _world: world,
            acme,
        }
    }

    fn scim(&self) -> &Scim {
        &self.acme.scim
    }
}

/// The user names that a filter finds, without what follows the @, in the order of their making.
async fn found(scim: &Scim, filter: &str) -> String {
    let answer = scim.get(&format!("/Users?filter={}", encode(filter))).await;
    assert_eq!(answer.status.as_u16(), 200, "{filter}: {:#}", answer.body);
    let names: Vec<String> = answer
        .resources()
        .iter()
        .map(|user| {
            let name = user["userName"].as_str().unwrap();
            name.split('@').next().unwrap().to_owned()
        })
        .collect();
    assert_eq!(answer.body["totalResults"], names.len());
    names.join(" ")
}

/// What a resource shows, without what changes with time.
fn apart_from_meta(resource: &Value) -> Value {
    let mut resource = resource.clone();
    resource["meta"] = Value::Null;
    resource
}
