//! The operator's command line, against a real Roster: what it does, prints and exits with.

use identity_proto::v1 as pb;
use identity_tests::{
    rosterctl::{Operator, Rosterctl, operator},
    world::World,
};

#[tokio::test(flavor = "multi_thread")]
async fn members_are_made_shown_changed_and_deleted() {
    let roster = operator().await;
    let Operator { acme, ctl, .. } = &roster;
    let create = [
        "members",
        "create",
        "ann@acme.example",
        "--given-name",
        "Ann",
        "--family-name",
        "Brown",
        "--title",
        "Head",
    ];
    let made = ctl.json(&create).await;
    let id = made["member"]["id"].as_str().unwrap().to_owned();
    assert_eq!(made["receipt"]["changed"], true);
    assert_eq!(made["receipt"]["members"], 1);
    assert_eq!(made["dry_run"], false);

    let again = ctl.run(&create).await;
    assert_eq!(again.code, Some(6), "{again:?}");
    assert!(again.err.contains("USER_NAME_TAKEN"), "{again:?}");

    // What was not named stays.
    ctl.json(&[
        "members",
        "update",
        "ANN@acme.example",
        "--given-name",
        "Anna",
    ])
    .await;
    let shown = ctl.json(&["members", "show", &id]).await;
    assert_eq!(shown["member"]["profile"]["name"]["given_name"], "Anna");
    assert_eq!(shown["member"]["profile"]["name"]["family_name"], "Brown");
    assert_eq!(shown["member"]["profile"]["title"], "Head");

    ctl.json(&["members", "deactivate", "ann@acme.example"])
        .await;
    let inactive = ctl.json(&["members", "list", "--inactive"]).await;
    assert_eq!(inactive["total_size"], 1);
    assert_eq!(inactive["members"][0]["id"], id);
    ctl.json(&["members", "activate", "ann@acme.example"]).await;
    let found = ctl
        .json(&["members", "list", "--containing", "ann@", "--active"])
        .await;
    assert_eq!(found["total_size"], 1);
    let table = ctl.run(&["members", "list"]).await.out;
    assert!(
        table.contains("ann@acme.example") && table.contains("Anna Brown"),
        "{table}"
    );
    assert!(table.contains("2 of 2"), "{table}");

    let deleted = ctl.json(&["members", "delete", "ann@acme.example"]).await;
    assert_eq!(deleted["receipt"]["changed"], true);
    let gone = ctl.run(&["members", "show", "ann@acme.example"]).await;
    assert_eq!(gone.code, Some(4), "{gone:?}");
    assert!(
        acme.rpc
            .get_member(identity_tests::rpc::by_id(&id))
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_the_effect_and_writes_nothing() {
    let roster = operator().await;
    let Operator {
        acme, ctl, folder, ..
    } = &roster;
    acme.rpc.make_member("ann@acme.example").await;
    acme.make_role("Auditor", &["invoices.view"]).await;
    let group = "CB/acme/ROLE/Analyst";
    ctl.json(&["groups", "create", group, "--member", "ann@acme.example"])
        .await;
    let grant = acme
        .rpc
        .grant("ann@acme.example", identity_tests::rpc::role("Admin"))
        .await
        .unwrap();
    let credential = ctl
        .json(&["credentials", "issue", "--label", "x", "--scope", "read"])
        .await;
    let credential = credential["credential"]["id"].as_str().unwrap();
    let people = folder.path().join("people.csv");
    std::fs::write(
        &people,
        "user_name,profile.name.given_name,profile.name.family_name\nbob@acme.example,Bob,B\n",
    )
    .unwrap();
    let before = acme.rpc.events().await.len();
    let writes: &[&[&str]] = &[
        &["sites", "update", "--outside-groups", "keep"],
        &[
            "members",
            "create",
            "bob@acme.example",
            "--given-name",
            "B",
            "--family-name",
            "B",
        ],
        &["members", "update", "ann@acme.example", "--title", "T"],
        &["members", "deactivate", "ann@acme.example"],
        &["members", "delete", "ann@acme.example"],
        &[
            "roles",
            "create",
            "Examiner",
            "--permission",
            "invoices.view",
        ],
        &[
            "roles",
            "update",
            "Auditor",
            "--add-permission",
            "invoices.send",
        ],
        &["roles", "delete", "Auditor"],
        &["entities", "create", "UK Ltd"],
        &["entities", "rename", "EU GmbH", "Europe GmbH"],
        &["entities", "delete", "EU GmbH"],
        &["groups", "create", "CB/acme/BE/EU GmbH"],
        &["groups", "update", group, "--remove", "ann@acme.example"],
        &["groups", "delete", group],
        &[
            "grants",
            "create",
            "ann@acme.example",
            "--role",
            "Tech Support",
            "--reason",
            "r",
        ],
        &["grants", "update", &grant, "--reason", "another"],
        &["grants", "end", &grant],
        &["credentials", "issue", "--label", "y", "--scope", "read"],
        &["credentials", "update", credential, "--label", "z"],
        &["credentials", "revoke", credential],
        &["import", "members", "people.csv"],
    ];
    for write in writes {
        let dry: Vec<&str> = write.iter().copied().chain(["--dry-run"]).collect();
        let answer = ctl.json(&dry).await;
        assert_eq!(answer["dry_run"], true, "{write:?}");
        if write[0] != "import" {
            assert_eq!(answer["receipt"]["changed"], true, "{write:?}");
        }
        assert!(answer.get("token").is_none(), "{write:?}");
    }
    assert_eq!(acme.rpc.events().await.len(), before);

    let effect = ctl.json(&["groups", "delete", group, "--dry-run"]).await;
    assert_eq!(effect["receipt"]["lost"], 1);
    assert_eq!(
        effect["receipt"]["access_changes"][0]["target"]["name"],
        "Analyst"
    );
    let table = ctl.run(&["groups", "delete", group, "--dry-run"]).await.out;
    assert!(table.contains("Dry run: nothing was changed"), "{table}");
    assert!(table.contains("lost    role Analyst"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_entities_groups_and_grants_are_commanded_by_name() {
    let roster = operator().await;
    let Operator { acme, ctl, .. } = &roster;
    for name in ["ann@acme.example", "bob@acme.example"] {
        acme.rpc.make_member(name).await;
    }
    ctl.json(&[
        "roles",
        "create",
        "Auditor",
        "--permission",
        "invoices.view",
    ])
    .await;
    let role = ctl
        .json(&[
            "roles",
            "update",
            "auditor",
            "--name",
            "Examiner",
            "--add-permission",
            "invoices.send",
        ])
        .await;
    assert_eq!(
        role["role"]["permissions"],
        serde_json::json!(["invoices.send", "invoices.view"])
    );
    let closest = ctl.run(&["roles", "show", "Analist"]).await;
    assert_eq!(closest.code, Some(4));
    assert!(closest.err.contains("did you mean Analyst?"), "{closest:?}");

    ctl.json(&["entities", "create", "UK Ltd", "--handle", "uk"])
        .await;
    ctl.json(&["entities", "rename", "UK Ltd", "United Ltd"])
        .await;
    let entity = ctl.json(&["entities", "show", "united ltd"]).await;
    assert_eq!(entity["business_entity"]["handle"], "uk");

    // By its name a group gives what the convention says; otherwise what was said.
    ctl.json(&[
        "groups",
        "create",
        "CB/acme/ROLE/Examiner",
        "--member",
        "ann@acme.example",
    ])
    .await;
    ctl.json(&[
        "groups",
        "create",
        "Our people",
        "--gives-entity",
        "United Ltd",
        "--member",
        "ann@acme.example",
    ])
    .await;
    let refused = ctl.run(&["groups", "create", "CB/acme/ROLE/Analist"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let moved = ctl
        .json(&[
            "groups",
            "update",
            "Our people",
            "--add",
            "bob@acme.example",
            "--remove",
            "ann@acme.example",
        ])
        .await;
    assert_eq!(moved["receipt"]["gained"], 1);
    assert_eq!(moved["receipt"]["lost"], 1);
    let unknown = ctl
        .run(&[
            "groups",
            "update",
            "Our people",
            "--add",
            "nobody@acme.example",
        ])
        .await;
    assert_eq!(unknown.code, Some(4));
    assert!(unknown.err.contains("nobody@acme.example"), "{unknown:?}");
    assert_eq!(
        acme.rpc.access("bob@acme.example").await.entities,
        ["United Ltd"]
    );

    // What grants something is not deleted by accident.
    let held = ctl.run(&["entities", "delete", "United Ltd"]).await;
    assert_eq!(held.code, Some(6), "{held:?}");
    ctl.json(&["groups", "delete", "Our people"]).await;
    ctl.json(&["entities", "delete", "United Ltd"]).await;

    let given = ctl
        .json(&[
            "grants",
            "create",
            "bob@acme.example",
            "--role",
            "Admin",
            "--reason",
            "stands in",
            "--until",
            "2099-01-01T00:00:00Z",
        ])
        .await;
    let id = given["grant"]["source"]["direct"]["grant_id"]
        .as_str()
        .unwrap();
    assert_eq!(
        given["grant"]["source"]["direct"]["end_time"],
        "2099-01-01T00:00:00Z"
    );
    assert_eq!(acme.rpc.roles("bob@acme.example").await, ["Admin"]);
    let listed = ctl
        .json(&["grants", "list", "--member", "bob@acme.example"])
        .await;
    assert_eq!(
        listed["grants"][0]["grant"]["source"]["direct"]["grant_id"],
        id
    );
    let updated = ctl
        .json(&["grants", "update", id, "--no-end", "--reason", "stays on"])
        .await;
    let direct = &updated["grant"]["grant"]["source"]["direct"];
    assert_eq!(direct["reason"], "stays on");
    assert!(direct["end_time"].is_null(), "{updated}");
    assert_eq!(updated["grant"]["version"], updated["receipt"]["revision"]);
    let until = ["grants", "update", id, "--until", "2098-01-01T00:00:00Z"];
    let rehearsed = ctl.json(&[&until[..], &["--dry-run"]].concat()).await;
    let direct = &rehearsed["grant"]["grant"]["source"]["direct"];
    assert_eq!(direct["end_time"], "2098-01-01T00:00:00Z");
    let shown = ctl.json(&["grants", "show", id]).await;
    assert_eq!(shown["grant"], updated["grant"], "nothing was changed");
    for wrong in [
        &["grants", "update", id][..],
        &[&until[..], &["--no-end"]].concat(),
    ] {
        assert_eq!(ctl.run(wrong).await.code, Some(2), "{wrong:?}");
    }
    ctl.json(&["grants", "end", id, "--reason", "Bob is back"])
        .await;
    let listed = ctl
        .json(&["grants", "list", "--role", "Admin", "--ended"])
        .await;
    assert!(
        listed["grants"][0]["ending"]["time"].is_string(),
        "{listed}"
    );
    assert_eq!(listed["grants"][0]["ending"]["reason"], "Bob is back");
    assert_eq!(
        ctl.json(&["grants", "list", "--role", "Admin"]).await["grants"],
        serde_json::json!([])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn people_read_whom_a_write_is_about() {
    let roster = operator().await;
    let Operator { acme, ctl, .. } = &roster;
    let mut create = vec!["groups", "create", "CB/acme/ROLE/Analyst"];
    let names: Vec<String> = (0..12).map(|n| format!("m{n}@acme.example")).collect();
    for name in &names {
        acme.rpc.make_member(name).await;
        create.extend(["--member", name]);
    }
    ctl.json(&create).await;
    let delete = ["groups", "delete", "CB/acme/ROLE/Analyst", "--dry-run"];
    let text = ctl.run(&delete).await.out;
    assert_eq!(text.matches("@acme.example").count(), 10, "{text}");
    assert!(text.trim_end().ends_with(" and 2 more"), "{text}");
    let all = ctl.json(&delete).await;
    let lost = &all["receipt"]["access_changes"][0]["lost_member_ids"];
    assert_eq!(lost.as_array().unwrap().len(), 12);
    let given = ctl
        .run(&[
            "grants",
            "create",
            "m0@acme.example",
            "--role",
            "Admin",
            "--reason",
            "stands in",
            "--until",
            "7d",
        ])
        .await;
    assert_eq!(given.code, Some(0), "{given:?}");
    for part in ["To     m0@acme.example", "Why    stands in", "Until  20"] {
        assert!(given.out.contains(part), "{}", given.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sites_and_permissions_are_listed_and_a_role_is_deleted_with_what_it_grants() {
    let roster = operator().await;
    let Operator {
        world, acme, ctl, ..
    } = &roster;
    world.bare_site("beta").await;
    let (all, _) = world.issue_for_all(&[pb::Scope::Read]).await;
    let sites = ctl.with_token(&all).json(&["sites", "list"]).await;
    let domains: Vec<&str> = sites["sites"]
        .as_array()
        .unwrap()
        .iter()
        .map(|site| site["domain"].as_str().unwrap())
        .collect();
    assert_eq!(domains, ["acme", "beta"]);
    assert_ne!(ctl.run(&["sites", "list"]).await.code, Some(0));

    let permissions = ctl.json(&["roles", "permissions"]).await;
    let view = permissions["permissions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|permission| permission["name"] == "invoices.view");
    assert!(
        view.unwrap()["built_in_roles"]
            .as_array()
            .unwrap()
            .contains(&"Analyst".into())
    );

    acme.rpc.make_member("ann@acme.example").await;
    acme.make_role("Auditor", &["invoices.view"]).await;
    acme.rpc
        .grant("ann@acme.example", identity_tests::rpc::role("Auditor"))
        .await
        .unwrap();
    assert_eq!(ctl.run(&["roles", "delete", "Auditor"]).await.code, Some(6));
    let deleted = ctl
        .json(&["roles", "delete", "Auditor", "--end-grants"])
        .await;
    assert_eq!(deleted["receipt"]["lost"], 1);
    assert_eq!(
        acme.rpc.roles("ann@acme.example").await,
        Vec::<String>::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn shells_are_told_how_to_complete() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start().await;
    let ctl = Rosterctl::new(&world, "", folder.path());
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let answer = ctl.run(&["completions", shell]).await;
        assert_eq!(answer.code, Some(0), "{answer:?}");
        assert!(answer.out.contains("deactivate"), "{shell}");
    }
}
