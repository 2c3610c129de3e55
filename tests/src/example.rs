//! A Roster for the examples in documentation, so that they run.

use std::error::Error;

use identity_proto::v1 as pb;

use crate::{
    rpc::{entity, role},
    world::World,
};

/// Where the example's identity is, and how to call it.
#[derive(Clone, Debug)]
pub struct Example {
    /// identity's address, `http://host:port`.
    pub address: String,
    /// A token of the site `acme` that may read, write and watch everything there.
    pub token: String,
}

/// Runs an example beside a Roster with the site `acme`, where `ada@acme.example` is a Sales Manager in
/// `EU GmbH`.
pub fn run(example: impl AsyncFnOnce(Example) -> Result<(), Box<dyn Error>>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let world = World::start().await;
        let acme = world.acme().await;
        acme.scim.make_user("ada@acme.example").await;
        for target in [role("Sales Manager"), entity("EU GmbH")] {
            acme.rpc.grant("ada@acme.example", target).await.unwrap();
        }
        let (token, _) = world
            .issue(
                "acme",
                &[pb::Scope::Read, pb::Scope::Write, pb::Scope::Watch],
            )
            .await;
        let given = Example {
            address: format!("http://{}", world.grpc_addr()),
            token,
        };
        example(given).await.unwrap();
    });
}
