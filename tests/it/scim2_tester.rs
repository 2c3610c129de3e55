//! The published suite scim2-tester, by itself and as `scim test` of scim2-cli, against both processes.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use identity_tests::world::World;

/// How many groups the suite may name at once, and more, so that two of them seldom get one name.
const ENTITIES: u32 = 300;

/// Where the driver and what it needs are.
fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scim2_tester")
}

/// A Python with what `requirements.txt` names, below the target folder; made where it is not there yet.
fn python() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scim2-tester");
    let python = folder.join("bin/python");
    let requirements = here().join("requirements.txt");
    let wanted = fs::read_to_string(&requirements).unwrap();
    let installed = folder.join("installed");
    // Another run of the tests may be at it.
    let lock = File::create(folder.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
        return python;
    }
    let version = "import sys; sys.exit(sys.version_info < (3, 11))";
    done(
        Command::new("python3").args(["-c", version]),
        "scim2-tester needs Python 3.11 or later as `python3`",
    );
    done(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder),
        "`python3` can't make a virtual environment: install its venv module (Debian: python3-venv)",
    );
    done(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(&requirements),
        "pip can't install scim2-tester: it must reach a package index",
    );
    fs::write(installed, wanted).unwrap();
    python
}

/// Runs a command that must succeed; panics with what it takes and what the command said.
#[track_caller]
fn done(command: &mut Command, needed: &str) -> Output {
    match command.output() {
        Ok(output) if output.status.success() => output,
        Ok(output) => panic!(
            "{needed}\n{command:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => panic!("{needed}\n{command:?}: {error}"),
    }
}

/// Conformance: 108, 109.
#[tokio::test(flavor = "multi_thread")]
async fn every_check_of_the_published_suite_succeeds() {
    let python = tokio::task::spawn_blocking(python).await.unwrap();
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
