//! `rosterctl events`: what happened, and what happens.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Stdio},
    time::Duration,
};

use identity_proto::v1::Scope;
use identity_tests::{rosterctl::Rosterctl, world::World};
use serde_json::Value;

/// A tail, and what it prints.
struct Tail {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Tail {
    fn start(ctl: &Rosterctl, arguments: &[&str]) -> Self {
        let all: Vec<&str> = ["--output", "json", "events", "tail"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        let mut child = ctl.command(&all).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next so many events.
    fn take(&mut self, count: usize) -> Vec<Value> {
        let lines = self.lines.by_ref().take(count);
        let events: Vec<Value> = lines
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect();
        assert_eq!(events.len(), count, "it ended");
        events
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn numbers(events: &[Value]) -> Vec<i64> {
    events
        .iter()
        .map(|event| event["number"].as_i64().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_listed_by_what_they_are_about() {
    let world = World::start().await;
    let acme = world.acme().await;
    let folder = tempfile::tempdir().unwrap();
    let ctl = Rosterctl::new(&world, &acme.service_token, folder.path());
    let ann = acme.rpc.make_member("ann@acme.example").await;
    acme.rpc.make_member("bob@acme.example").await;
    let group = acme.scim.make_group("CB/acme/ROLE/Analyst", &[&ann]).await;
    acme.rpc.set_active(&ann, false).await.unwrap();
    let list = async |arguments: &[&str]| {
        let all: Vec<&str> = ["events", "list"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        let events = ctl.json(&all).await["events"].as_array().unwrap().clone();
        events
            .iter()
            .map(|event| event["kind"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        list(&["--member", "ann@acme.example"]).await,
        ["member.created", "group.created", "member.deactivated"]
    );
    assert_eq!(
        list(&["--member", &ann, "--subject", &group]).await,
        ["group.created"]
    );
    assert_eq!(
        list(&["--subject", &ann, "--kind", "member.created"]).await,
        ["member.created"]
    );
    assert_eq!(
        list(&["--kind", "site.*", "--actor", "bootstrap"]).await,
        ["site.created"]
    );
    assert_eq!(
        list(&["--to", "2020-01-01T00:00:00Z"]).await,
        Vec::<String>::new()
    );
    let (early, late) = ("2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z");
    let turned = ["events", "list", "--from", late, "--to", early];
    assert_eq!(ctl.run(&turned).await.code, Some(2));
    assert_eq!(list(&["--limit", "1"]).await, ["member.deactivated"]);
    let table = ctl.run(&["events", "list", "--limit", "1"]).await.out;
    assert!(
        table.contains("member.deactivated") && table.contains("ann@acme.example"),
        "{table}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn people_read_names_and_programs_ids() {
    let world = World::start().await;
    let acme = world.acme().await;
    let folder = tempfile::tempdir().unwrap();
    let ctl = Rosterctl::new(&world, &acme.service_token, folder.path());
    let ann = acme.rpc.make_member("ann@acme.example").await;
    let bob = acme.rpc.make_member("bob@acme.example").await;
    let made = acme.rpc.events().await.last().unwrap().number;
    acme.rpc.set_active(&ann, false).await.unwrap();
    acme.rpc
        .grant("ann@acme.example", identity_tests::rpc::role("Analyst"))
        .await
        .unwrap();
    let group = acme.scim.make_group("CB/acme/BE/EU GmbH", &[]).await;
    let add = serde_json::json!([{"op": "add", "path": "members", "value": [{"value": ann}]}]);
    let patched = acme.scim.patch(&format!("/Groups/{group}"), add).await;
    assert!(patched.status.is_success(), "{patched:?}");
    acme.rpc.delete_member(&bob).await.unwrap();
    let after = made.to_string();
    let list = ["events", "list", "--after", &after];
    let tail = ["events", "tail", "--after", &after, "--limit", "5"];
    for arguments in [&list[..], &tail] {
        let text = ctl.run(arguments).await.out;
        let whom: Vec<&str> = [
            "ann@acme.example",
            "ann@acme.example: Analyst",
            "CB/acme/BE/EU GmbH",
            "CB/acme/BE/EU GmbH",
            "bob@acme.example",
        ]
        .into();
        let lines = text.lines().filter(|line| line.contains("20"));
        for (line, whom) in lines.zip(whom) {
            assert!(line.contains(whom), "{whom}: {text}");
        }
        for id in [&ann, &bob, &group] {
            assert!(!text.contains(id.as_str()), "{text}");
        }
    }
    let events = ctl.json(&list).await;
    assert_eq!(events["events"][0]["subject_id"], ann);
    // A token that may only watch finds no names, and the events all the same.
    let (watch, _) = world.issue("acme", &[Scope::Watch]).await;
    let text = ctl.with_token(&watch).run(&list).await;
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(text.out.contains(&ann) && text.out.contains("bob@acme.example"));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_tail_goes_on_from_its_state_it_says_so() {
    let world = World::start().await;
    let acme = world.acme().await;
    let folder = tempfile::tempdir().unwrap();
    let ctl = Rosterctl::new(&world, &acme.service_token, folder.path());
    let (watch, _) = world.issue("acme", &[Scope::Watch]).await;
    let ctl = ctl.with_token(&watch);
    let tail = async |after: &str| {
        let tail = [
            "events", "tail", "--after", after, "--state", "seen", "--limit", "1",
        ];
        let mut all = vec!["--output", "json"];
        all.extend(tail);
        let answer = ctl.run(&all).await;
        let event: Value = serde_json::from_str(&answer.out).unwrap();
        (event["number"].as_i64().unwrap(), answer.err)
    };
    assert_eq!(tail("1").await, (2, String::new()));
    let (number, said) = tail("1").await;
    assert_eq!(number, 3);
    assert!(
        said.contains("going on from where seen says, not after 1"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_would_follow_something_else_is_refused() {
    let world = World::start().await;
    world.bare_site("acme").await;
    let folder = tempfile::tempdir().unwrap();
    let (watch, _) = world.issue("acme", &[Scope::Watch]).await;
    let ctl = Rosterctl::new(&world, &watch, folder.path());
    // Of all sites it would be silent about the others.
    let all = [
        "events",
        "tail",
        "--all-sites",
        "--after",
        "0",
        "--limit",
        "1",
    ];
    let one_site = ctl.run(&all).await;
    assert_eq!(one_site.code, Some(3), "{one_site:?}");
    assert!(one_site.err.contains("the site acme only"), "{one_site:?}");
    let tail = [
        "events", "tail", "--after", "0", "--limit", "1", "--state", "seen",
    ];
    assert_eq!(ctl.run(&tail).await.code, Some(0));
    let other = ctl
        .run(&[&tail[..], &["--kind", "member.*"]].concat())
        .await;
    assert_eq!(other.code, Some(2), "{other:?}");
    assert!(
        other.err.contains("seen says where") && other.err.contains("--kind"),
        "{other:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_prints_what_happens_and_goes_on_when_identity_restarts() {
    let world = World::start().await;
    let acme = world.acme().await;
    let folder = tempfile::tempdir().unwrap();
    let (token, _) = world.issue("acme", &[Scope::Watch]).await;
    let ctl = Rosterctl::new(&world, &token, folder.path());
    let before = acme.rpc.events().await.last().unwrap().number;
    let mut tail = Tail::start(
        &ctl,
        &["--after", &before.to_string(), "--kind", "member.*"],
    );
    acme.rpc.make_member("a@acme.example").await;
    acme.make_entity("UK Ltd").await;
    acme.rpc.make_member("b@acme.example").await;
    let seen = tail.take(2);
    assert_eq!(numbers(&seen), [before + 1, before + 3]);
    assert_eq!(seen[0]["site_domain"], "acme");
    assert_eq!(seen[0]["after"]["user_name"], "a@acme.example");
    for n in 0..3 {
        tokio::task::block_in_place(|| {
            world.identity.kill();
            world.identity.restart().unwrap();
        });
        let user_name = format!("r{n}@acme.example");
        // The test's own connection has to find its way back too.
        while acme
            .rpc
            .create_member(identity_tests::writes::member(&user_name))
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let seen = tail.take(1);
        assert_eq!(seen[0]["after"]["user_name"], user_name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_keeps_its_state_goes_on_where_it_was() {
    let world = World::start().await;
    let acme = world.acme().await;
    let beta = world.site("beta").await;
    let folder = tempfile::tempdir().unwrap();
    let (token, _) = world.issue_for_all(&[Scope::Watch]).await;
    let ctl = Rosterctl::new(&world, &token, folder.path());
    let first = [
        "--output",
        "json",
        "events",
        "tail",
        "--all-sites",
        "--after",
        "0",
        "--state",
        "seen",
        "--limit",
        "3",
    ];
    let mut seen = Vec::new();
    loop {
        let answer = ctl.run(&first).await;
        assert_eq!(answer.code, Some(0), "{answer:?}");
        let events: Vec<Value> = answer
            .out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(events.len(), 3);
        seen.extend(events);
        if seen.len() >= 12 {
            break;
        }
    }
    for (site, domain) in [(&acme, "acme"), (&beta, "beta")] {
        let of_site: Vec<Value> = seen
            .iter()
            .filter(|event| event["site_domain"] == domain)
            .cloned()
            .collect();
        let expected: Vec<i64> = (1..=of_site.len() as i64).collect();
        assert_eq!(numbers(&of_site), expected, "{domain}");
        assert!(of_site.len() <= site.rpc.events().await.len());
    }

    // Another watch's state is refused, and a credential that may not watch too.
    let other = ctl
        .run(&["--site", "acme", "events", "tail", "--state", "seen"])
        .await;
    assert_eq!(other.code, Some(2), "{other:?}");
    let (check, _) = world.issue("acme", &[Scope::Check]).await;
    assert_eq!(
        ctl.with_token(&check).run(&["events", "tail"]).await.code,
        Some(3)
    );
}
