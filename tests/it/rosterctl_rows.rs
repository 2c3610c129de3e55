//! Rows of `rosterctl import`: what each comes to, and those that are refused.

use std::{fs, path::Path};

use identity_tests::{
    rosterctl::{Rosterctl, counts, rows},
    world::World,
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn refused_rows_are_written_down_and_stop_no_other() {
    let world = World::start().await;
    let acme = world.acme().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let ctl = Rosterctl::new(&world, &acme.service_token, folder.path());
    fs::write(
        path("people.csv"),
        "user_name,active,profile.name.given_name,profile.name.family_name,entitlements.roles\n\
         ann@acme.example,true,Ann,A,\n\
         not-an-address,true,B,B,\n\
         cy@acme.example,perhaps,C,C,\n\
         ANN@acme.example,true,Ann,A,\n\
         dee@acme.example,true,D,D,\"[\"\"Analist\"\"]\"\n\
         eve@acme.example,true,E,E\n\
         fay@acme.example,,F,F,\n",
    )
    .unwrap();
    let answer = ctl
        .run(&["--output", "json", "import", "members", "people.csv"])
        .await;
    assert_eq!(answer.code, Some(8), "{answer:?}");
    assert_eq!(counts(&answer), [2, 0, 0, 5]);
    let mut report = csv_rows(&path("people.csv.errors.csv"));
    report.sort();
    let places: Vec<(&str, &str)> = report
        .iter()
        .map(|row| (row[0].as_str(), row[1].as_str()))
        .collect();
    assert_eq!(
        places,
        [("2", "3"), ("3", "4"), ("4", "5"), ("5", "6"), ("6", "7")]
    );
    // As they stand in the file, so that they can be mended there.
    let own: Vec<&[String]> = report.iter().map(|row| &row[5..]).collect();
    assert_eq!(own[0], ["not-an-address", "true", "B", "B", ""]);
    assert_eq!(own[1], ["cy@acme.example", "perhaps", "C", "C", ""]);
    assert_eq!(own[4], ["eve@acme.example", "true", "E", "E"]);
    for (row, part) in report.iter().zip([
        "e-mail address",
        "true or false",
        "row 1 already",
        "no role \"Analist\"",
        "4 cells",
    ]) {
        assert!(row[4].contains(part), "{row:?}");
    }
    // An empty flag says nothing: a new member is active.
    assert_eq!(
        ctl.json(&["members", "show", "fay@acme.example"]).await["member"]["active"],
        true
    );

    // What is there is made as the row says, or left alone.
    fs::write(
        path("people.csv"),
        "user_name,profile.title,active\nann@acme.example,Head,false\n",
    )
    .unwrap();
    let left = ctl
        .run(&[
            "--output",
            "json",
            "import",
            "members",
            "people.csv",
            "--existing",
            "leave",
        ])
        .await;
    assert_eq!(counts(&left), [0, 0, 1, 0]);
    assert!(
        !path("people.csv.errors.csv").exists(),
        "the errors of before are no errors now"
    );
    let dry = ctl
        .run(&[
            "--output",
            "json",
            "import",
            "members",
            "people.csv",
            "--dry-run",
        ])
        .await;
    assert_eq!(counts(&dry), [0, 1, 0, 0], "{dry:?}");
    let updated = ctl
        .run(&["--output", "json", "import", "members", "people.csv"])
        .await;
    assert_eq!(counts(&updated), [0, 1, 0, 0], "{updated:?}");
    let ann = ctl.json(&["members", "show", "ann@acme.example"]).await;
    assert_eq!(ann["member"]["profile"]["title"], "Head");
    assert_eq!(ann["member"]["profile"]["name"]["given_name"], "Ann");
    assert_eq!(ann["member"]["active"], false);

    fs::write(
        path("groups.csv"),
        "display_name,members\nCB/acme/ROLE/Analyst,ann@acme.example nobody@acme.example\n\
         CB/acme/ROLE/Nothing,\nCB/acme/ROLE/Admin,ann@acme.example fay@acme.example\n",
    )
    .unwrap();
    let groups = ctl
        .run(&[
            "--output",
            "json",
            "import",
            "groups",
            "groups.csv",
            "--errors",
            "bad.csv",
        ])
        .await;
    assert_eq!(counts(&groups), [1, 0, 0, 2], "{groups:?}");
    let report = csv_rows(&path("bad.csv"));
    assert!(
        report
            .iter()
            .any(|row| row[4].contains("nobody@acme.example")),
        "{report:?}"
    );
    assert!(
        report.iter().any(|row| row[3] == "TARGET_UNKNOWN"),
        "{report:?}"
    );

    // A file that is none is refused as a whole.
    fs::write(path("wrong.csv"), "user_name,given_name\nx@y,X\n").unwrap();
    let wrong = ctl.run(&["import", "members", "wrong.csv"]).await;
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.err.contains("did you mean profile.name.given_name?"),
        "{wrong:?}"
    );
    // What would refuse every row ends the import.
    let denied = ctl
        .with_token("roster_none")
        .run(&["import", "grants", "people.csv", "--format", "jsonl"])
        .await;
    assert!(denied.code == Some(8), "{denied:?}");
    let denied = ctl
        .with_token("roster_none")
        .run(&["import", "groups", "groups.csv"])
        .await;
    assert_eq!(denied.code, Some(3), "{denied:?}");
    assert!(denied.err.contains("run the same again"), "{denied:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_rows_are_mended_where_they_were_written_and_sent_again() {
    let world = World::start().await;
    let acme = world.acme().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let ctl = Rosterctl::new(&world, &acme.service_token, folder.path());
    let import = async |file: &str| {
        ctl.run(&["--output", "json", "import", "members", file])
            .await
    };
    let mend = |file: &str, wrong: &str, right: &str| {
        let text = fs::read_to_string(path(file)).unwrap();
        assert!(text.contains(wrong), "{text}");
        fs::write(path(file), text.replace(wrong, right)).unwrap();
    };
    fs::write(
        path("p.csv"),
        "profile.name.given_name,active,user_name,profile.name.family_name\n\
         Ann,yes,ann@acme.example,\"A, \"\"B\"\"\"\nBob,true,bob@acme.example,B\n",
    )
    .unwrap();
    assert_eq!(counts(&import("p.csv").await), [1, 0, 0, 1]);
    mend("p.csv.errors.csv", "Ann,yes", "Ann,true");
    assert_eq!(counts(&import("p.csv.errors.csv").await), [1, 0, 0, 0]);
    let ann = ctl.json(&["members", "show", "ann@acme.example"]).await;
    assert_eq!(ann["member"]["profile"]["name"]["family_name"], "A, \"B\"");

    let name = json!({"given_name": "C", "family_name": "C"});
    let row = json!({"user_name": "cy.acme.example", "profile": {"name": name}});
    fs::write(path("p.jsonl"), format!("{row}\nnot JSON\n")).unwrap();
    assert_eq!(counts(&import("p.jsonl").await), [0, 0, 0, 2]);
    let mut refused = rows(&path("p.jsonl.errors.jsonl"));
    refused.sort_by_key(|row| row["error"]["line"].to_string());
    let message = refused[0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("e-mail address"), "{message}");
    assert_eq!(refused[1]["error"]["text"], "not JSON");
    mend("p.jsonl.errors.jsonl", "\"cy.acme", "\"cy@acme");
    // The columns that the row did not have are still none of it.
    assert_eq!(counts(&import("p.jsonl.errors.jsonl").await), [1, 0, 0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_named_by_another_site_is_refused_unless_its_domain_is_to_be_replaced() {
    let world = World::start().await;
    let acme = world.acme().await;
    let folder = tempfile::tempdir().unwrap();
    let ctl = Rosterctl::new(&world, &acme.service_token, folder.path());
    fs::write(
        folder.path().join("g.csv"),
        "display_name,target.kind,target.name\nCB/imp/ROLE/Analyst,role,Analyst\n",
    )
    .unwrap();
    let import = ["--output", "json", "import", "groups", "g.csv"];
    let refused = ctl.run(&import).await;
    assert_eq!(counts(&refused), [0, 0, 0, 1], "{refused:?}");
    for part in ["expected CB/acme/ROLE/Analyst", "--replace-domain"] {
        assert!(refused.err.contains(part), "{refused:?}");
    }
    let replaced = ctl
        .run(&[&import[..], &["--replace-domain"]].concat())
        .await;
    assert_eq!(counts(&replaced), [1, 0, 0, 0], "{replaced:?}");
    let groups = ctl.json(&["groups", "list"]).await;
    assert_eq!(groups["groups"][0]["display_name"], "CB/acme/ROLE/Analyst");

    // One that has such a name keeps it.
    ctl.json(&["groups", "delete", "CB/acme/ROLE/Analyst"])
        .await;
    ctl.json(&[
        "groups",
        "create",
        "CB/imp/ROLE/Analyst",
        "--gives-role",
        "Analyst",
    ])
    .await;
    assert_eq!(counts(&ctl.run(&import).await), [0, 0, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_there_gets_the_end_and_the_reason_of_its_row() {
    let world = World::start().await;
    let acme = world.acme().await;
    acme.rpc.make_member("ann@acme.example").await;
    let folder = tempfile::tempdir().unwrap();
    let ctl = Rosterctl::new(&world, &acme.service_token, folder.path());
    let import = async |text: &str, more: &[&str]| {
        fs::write(folder.path().join("grants.csv"), text).unwrap();
        let arguments = ["--output", "json", "import", "grants", "grants.csv"];
        let answer = ctl.run(&[&arguments[..], more].concat()).await;
        assert_eq!(answer.code, Some(0), "{answer:?}");
        counts(&answer)
    };
    // Role, reason and end of all that hold.
    let held = async || {
        let list = ctl.json(&["grants", "list"]).await;
        let grants = list["grants"].as_array().unwrap();
        let mut held: Vec<[String; 3]> = grants
            .iter()
            .filter(|given| given["user_name"] == "ann@acme.example")
            .map(|given| {
                let direct = &given["grant"]["source"]["direct"];
                let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
                [
                    text(&given["grant"]["target"]["name"]),
                    text(&direct["reason"]),
                    text(&direct["end_time"]),
                ]
            })
            .collect();
        held.sort();
        held
    };
    let header = "user_name,target.kind,target.name,reason,end_time";
    let rows = |rows: [[&str; 3]; 5]| {
        let line = |[role, reason, end]: &[&str; 3]| {
            format!("ann@acme.example,role,{role},{reason},{end}\n")
        };
        format!("{header}\n{}", rows.iter().map(line).collect::<String>())
    };
    let (soon, late) = ("2098-01-01T00:00:00Z", "2099-01-01T00:00:00Z");
    let before = [
        ["Admin", "stays", ""],
        ["Analyst", "helps", ""],
        ["Finance Executive", "audit", late],
        ["Sales Agent", "sells", late],
        ["Tech Support", "fixes", late],
    ];
    assert_eq!(import(&rows(before), &[]).await, [5, 0, 0, 0]);
    let as_before = held().await;
    // An end is set, one is moved, one taken off, and a reason changed.
    let after = rows([
        ["Admin", "stays", ""],
        ["Analyst", "helps", soon],
        ["Finance Executive", "audit", soon],
        ["Sales Agent", "sells", ""],
        ["Tech Support", "mends", late],
    ]);
    assert_eq!(import(&after, &["--dry-run"]).await, [0, 4, 1, 0]);
    assert_eq!(import(&after, &["--existing", "leave"]).await, [0, 0, 5, 0]);
    assert_eq!(held().await, as_before);
    assert_eq!(import(&after, &[]).await, [0, 4, 1, 0]);
    let row = |role: &str, reason: &str, end: &str| [role, reason, end].map(str::to_owned);
    assert_eq!(
        held().await,
        [
            row("Admin", "stays", "-"),
            row("Analyst", "helps", soon),
            row("Finance Executive", "audit", soon),
            row("Sales Agent", "sells", "-"),
            row("Tech Support", "mends", late),
        ]
    );
    assert_eq!(import(&after, &[]).await, [0, 0, 5, 0]);

    // What the file has no column for stays, also the reason, which a new grant needs.
    let ends = format!(
        "user_name,target.kind,target.name,end_time\nann@acme.example,role,Tech Support,{soon}\n"
    );
    assert_eq!(import(&ends, &[]).await, [0, 1, 0, 0]);
    let reasons =
        "user_name,target.kind,target.name,reason\nann@acme.example,role,Analyst,learns\n";
    assert_eq!(import(reasons, &[]).await, [0, 1, 0, 0]);
    let now = held().await;
    assert_eq!(now[1], row("Analyst", "learns", soon));
    assert_eq!(now[4], row("Tech Support", "mends", soon));
    // Each is still the same grant.
    let events = acme.rpc.events().await;
    let of_kind = |kind: &str| events.iter().filter(|event| event.kind == kind).count();
    assert_eq!(of_kind("grant.ended"), 0);
    assert_eq!(of_kind("grant.updated"), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_gives_something_else_than_its_row_says_gets_none_of_its_members() {
    let world = World::start().await;
    let acme = world.acme().await;
    acme.rpc.make_member("ann@acme.example").await;
    let folder = tempfile::tempdir().unwrap();
    let ctl = Rosterctl::new(&world, &acme.service_token, folder.path());
    ctl.json(&["groups", "create", "Our people", "--gives-role", "Admin"])
        .await;
    let import = async |role: &str| {
        let text = format!(
            "display_name,target.kind,target.name,members\nOur people,role,{role},ann@acme.example\n"
        );
        fs::write(folder.path().join("groups.csv"), text).unwrap();
        ctl.run(&["--output", "json", "import", "groups", "groups.csv"])
            .await
    };
    let refused = import("Analyst").await;
    assert_eq!(counts(&refused), [0, 0, 0, 1], "{refused:?}");
    assert!(
        refused.err.contains("it gives the role \"Admin\""),
        "{refused:?}"
    );
    assert!(acme.rpc.roles("ann@acme.example").await.is_empty());
    let done = import("admin").await;
    assert_eq!(counts(&done), [0, 1, 0, 0], "{done:?}");
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Admin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_import_can_t_read_is_told_and_costs_nothing_else() {
    let world = World::start().await;
    let acme = world.acme().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let ctl = Rosterctl::new(&world, &acme.service_token, folder.path());
    let header = "user_name,profile.name.given_name,profile.name.family_name";
    let mut latin = format!("{header}\nann@acme.example,J").into_bytes();
    latin.extend(
        b"\xf6rg,A\nbob@acme.example,Bob,B\ncy@acme.example,\"Cy,C\ndee@acme.example,D,D\n",
    );
    fs::write(path("people.csv"), latin).unwrap();
    let import = ["--output", "json", "import", "members", "people.csv"];
    let answer = ctl.run(&import).await;
    assert_eq!(answer.code, Some(8), "{answer:?}");
    assert_eq!(counts(&answer), [1, 0, 0, 2]);
    let report = csv_rows(&path("people.csv.errors.csv"));
    assert!(report[0][4].contains("not UTF-8"), "{report:?}");
    assert!(report[1][4].contains("a quote is not closed"), "{report:?}");

    // A run that stops before it has looked leaves what the one before it has written.
    let denied = ctl.with_token("roster_none").run(&import).await;
    assert_eq!(denied.code, Some(3), "{denied:?}");
    assert!(path("people.csv.errors.csv").exists());
    let nothing = ctl
        .run(&[&import[..], &["--errors", "./people.csv"]].concat())
        .await;
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
    assert!(
        fs::read(path("people.csv"))
            .unwrap()
            .starts_with(b"user_name")
    );

    for (text, part) in [
        ("", "empty"),
        ("user_name;active\nann@acme.example;true\n", "commas"),
    ] {
        fs::write(path("wrong.csv"), text).unwrap();
        let wrong = ctl.run(&["import", "members", "wrong.csv"]).await;
        assert_eq!(wrong.code, Some(2), "{wrong:?}");
        assert!(wrong.err.contains(part), "{wrong:?}");
    }
}

fn csv_rows(file: &Path) -> Vec<Vec<String>> {
    // A refused row has the cells that it has in its file.
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.flexible(true).from_path(file).unwrap();
    reader
        .records()
        .map(|record| record.unwrap().iter().map(str::to_owned).collect())
        .collect()
}
