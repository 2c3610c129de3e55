//! Which build runs: the same wherever it is told.

use std::{fs, process::Command};

use identity_tests::{collector::Collector, world::World};
use roster_stack::guard::program;

/// The version and the commit that `--version` tells.
fn told(name: &str) -> (String, String) {
    let output = Command::new(program(name).unwrap())
        .arg("--version")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (version, commit) = text
        .trim()
        .strip_prefix(&format!("{name} "))
        .and_then(|rest| rest.strip_suffix(')'))
        .and_then(|rest| rest.split_once(" (commit "))
        .unwrap_or_else(|| panic!("{text}"));
    (version.to_owned(), commit.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_program_says_its_build_in_its_version_log_spans_and_metrics() {
    let build = told("identity");
    assert_eq!(build.0, env!("CARGO_PKG_VERSION"));
    assert_eq!(build.1, option_env!("ROSTER_COMMIT").unwrap_or("unknown"));
    assert_eq!(told("facade"), build);
    assert_eq!(told("rosterctl"), build);
    let (version, commit) = build;

    let collector = Collector::start().await.unwrap();
    let world = World::exporting(&collector, &[]).await;
    let acme = world.acme().await;
    acme.scim.make_user("ann@acme.example").await;
    for service in [&world.identity, &world.facade] {
        let log = fs::read_to_string(service.log()).unwrap();
        let first = log.lines().next().unwrap();
        for part in [
            "starting".to_owned(),
            format!("service={}", service.name()),
            format!("version={version}"),
            format!("commit={commit}"),
        ] {
            assert!(first.contains(&part), "{part}: {first}");
        }
        let metrics = service.metrics().unwrap();
        let line = format!(
            "target_info{{service_name=\"{}\",service_version=\"{version}\",vcs_ref_head_revision=\"{commit}\"}} 1",
            service.name()
        );
        assert!(metrics.lines().any(|found| found == line), "{metrics}");
        let mut spans = Vec::new();
        for _ in 0..100 {
            spans = collector.spans();
            spans.retain(|span| span.service == service.name());
            if !spans.is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert!(!spans.is_empty());
        for span in spans {
            assert_eq!((&span.version, &span.commit), (&version, &commit));
        }
    }
}
