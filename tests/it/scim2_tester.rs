//! The published suite scim2-tester, by itself and as `scim test` of scim2-cli, against both processes.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use identity_tests::{python::environment, world::World};

/// How many groups the suite may name at once, and more, so that two of them seldom get one name.
const ENTITIES: u32 = 300;

/// Where the driver and what it needs are.
fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scim2_tester")
}

/// Conformance: 108, 109.
#[tokio::test(flavor = "multi_thread")]
async fn every_check_of_the_published_suite_succeeds() {
    let python = tokio::task::spawn_blocking(|| {
        let requirements = here().join("requirements.txt");
        environment(env!("CARGO_TARGET_TMPDIR"), "scim2-tester", &requirements)
    })
    .await
    .unwrap();
    let world = World::start().await;
    let acme = world.acme().await;
    for number in 1..=ENTITIES {
        acme.make_entity(&format!("Tester {number}")).await;
    }
    let mut driver = Command::new(python);
    driver
        .arg("-I")
        .arg(here().join("drive.py"))
        .env("ROSTER_SCIM_URL", &acme.scim.url)
        .env("ROSTER_SCIM_TOKEN", &acme.scim_token)
        .env("ROSTER_SITE_DOMAIN", &acme.domain);
    let output = tokio::task::spawn_blocking(move || driver.output())
        .await
        .unwrap()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let (good, bad): (Vec<&str>, Vec<&str>) =
        said.lines().partition(|line| line.starts_with("SUCCESS "));
    assert!(
        output.status.success() && bad.is_empty(),
        "{}\n{}",
        bad.join("\n"),
        String::from_utf8_lossy(&output.stderr)
    );
    // The suite goes attribute by attribute: a schema that hides one would pass with less.
    let of = |what: &str| good.iter().filter(|line| line.contains(what)).count();
    assert_eq!(of(" User check_add_attribute "), 27);
    assert_eq!(of(" User check_remove_attribute "), 26);
    assert_eq!(of(" User check_replace_attribute "), 28);
    assert_eq!(of(" Group check_replace_attribute "), 3);
    assert_eq!(of(" scim test "), 1);
}
