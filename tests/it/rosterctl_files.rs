//! `rosterctl import` and `rosterctl export`: many rows, killed imports, one site made like
//! another.

use std::{
    collections::BTreeSet,
    env,
    fmt::Write as _,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use identity_tests::{
    rosterctl::{Answer, Rosterctl, counts, rows},
    world::World,
};
use serde_json::{Value, json};

/// Members in CSV: every tenth inactive, every hundredth with all that CSV can spell.
fn members_csv(count: usize) -> String {
    let mut csv = "user_name,external_id,active,profile.name.given_name,profile.name.family_name,profile.title,\
                   profile.emails,profile.enterprise.department,entitlements.roles,entitlements.business_entities\n"
        .to_owned();
    for n in 0..count {
        let active = n % 10 != 0;
        let rich = n % 100 == 1;
        let (title, emails, roles, entities) = match rich {
            true => (
                "\"Head, \"\"of\"\" sales\nand more\"",
                "\"[{\"\"value\"\":\"\"x@y.example\"\",\"\"type\"\":\"\"work\"\",\"\"primary\"\":true}]\"",
                "\"[\"\"Analyst\"\"]\"",
                "\"[\"\"EU GmbH\"\"]\"",
            ),
            false => ("", "", "", ""),
        };
        writeln!(csv, "Person{n}@acme.example,okta-{n},{active},Given{n},Fämily{n},{title},{emails},D{n},{roles},{entities}").unwrap();
    }
    csv
}

/// The rows of a file, in no order.
fn row_set(file: &Path) -> BTreeSet<String> {
    rows(file).iter().map(ToString::to_string).collect()
}

/// The columns of a kind of row, as the help of `import` lists them.
fn columns_of(help: &str, what: &str) -> Vec<String> {
    let (_, rest) = help.split_once(&format!("Columns of {what}:")).unwrap();
    let list = rest
        .split("Columns of")
        .next()
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    list.split(',').map(|name| name.trim().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_columns_that_help_lists_are_those_that_are_taken() {
    let world = World::start().await;
    let acme = world.acme().await;
    let folder = tempfile::tempdir().unwrap();
    let ctl = Rosterctl::new(&world, &acme.service_token, folder.path());
    let help = ctl.run(&["import", "--help"]).await.out;
    for (what, row) in [
        (
            "members",
            "user_name=ann@acme.example,profile.name.given_name=Ann,profile.name.family_name=Lee,active=true",
        ),
        (
            "groups",
            "display_name=CB/acme/ROLE/Analyst,target.kind=role,target.name=Analyst,members=owner@acme.example",
        ),
        (
            "grants",
            "user_name=owner@acme.example,target.kind=role,target.name=Admin,reason=she asked",
        ),
    ] {
        let columns = columns_of(&help, what);
        let cell = |column: &String| {
            let mut cells = row.split(',').map(|cell| cell.split_once('=').unwrap());
            cells
                .find(|(name, _)| name == column)
                .map_or("", |(_, value)| value)
        };
        let cells: Vec<&str> = columns.iter().map(cell).collect();
        assert_eq!(
            cells.iter().filter(|cell| !cell.is_empty()).count(),
            row.split(',').count(),
            "{columns:?}"
        );
        let text = format!("{}\n{}\n", columns.join(","), cells.join(","));
        fs::write(folder.path().join("rows.csv"), text).unwrap();
        let answer = ctl
            .run(&["--output", "json", "import", what, "rows.csv"])
            .await;
        assert_eq!(answer.code, Some(0), "{what}: {answer:?}");
        assert_eq!(counts(&answer), [1, 0, 0, 0], "{what}");
        // An export has the same ones.
        let exported = ctl.run(&["export", what, "--format", "csv"]).await.out;
        assert_eq!(
            exported.lines().next().unwrap(),
            columns.join(","),
            "{what}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_site_is_made_like_another_by_files() {
    let world = World::start().await;
    let acme = world.acme().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let ctl = Rosterctl::new(&world, &acme.service_token, folder.path());

    fs::write(path("members.csv"), members_csv(2000)).unwrap();
    let import = ["--output", "json", "import", "members", "members.csv"];
    let first = ctl.run(&import).await;
    assert_eq!(first.code, Some(0), "{first:?}");
    assert_eq!(counts(&first), [2000, 0, 0, 0]);
    assert_eq!(
        ctl.json(&["members", "list", "--limit", "1"]).await["total_size"],
        2001
    );
    let again = ctl.run(&import).await;
    assert_eq!(counts(&again), [0, 0, 2000, 0], "{again:?}");

    let mut groups = String::new();
    for (name, from) in [
        ("CB/acme/ROLE/Analyst", 0),
        ("CB/acme/BE/EU GmbH", 500),
        ("CB/acme/ROLE/Admin", 1990),
    ] {
        let members: Vec<String> = (from..from + 10)
            .map(|n| format!("person{n}@acme.example"))
            .collect();
        writeln!(
            groups,
            "{}",
            json!({"display_name": name, "external_id": format!("g{from}"), "members": members})
        )
        .unwrap();
    }
    fs::write(path("groups.jsonl"), &groups).unwrap();
    let made = ctl
        .run(&["--output", "json", "import", "groups", "groups.jsonl"])
        .await;
    assert_eq!(counts(&made), [3, 0, 0, 0], "{made:?}");
    fs::write(
        path("grants.csv"),
        "user_name,target.kind,target.name,reason,end_time\n\
         person1@acme.example,role,Tech Support,\"because, really\",\n\
         person10@acme.example,business_entity,US Inc,audit,2099-01-01T00:00:00Z\n",
    )
    .unwrap();
    let given = ctl
        .run(&["--output", "json", "import", "grants", "grants.csv"])
        .await;
    assert_eq!(counts(&given), [2, 0, 0, 0], "{given:?}");

    // Out of the one, into the other, and out of that: the same.
    let beta = world.site("beta").await;
    let other = Rosterctl::new(&world, &beta.service_token, folder.path());
    for what in ["members", "groups", "grants"] {
        for format in ["csv", "jsonl"] {
            let file = format!("{what}-out.{format}");
            let written = ctl.run(&["export", what, "--to", &file]).await;
            assert_eq!(written.code, Some(0), "{written:?}");
        }
        let (csv, jsonl) = (format!("{what}-out.csv"), format!("{what}-out.jsonl"));
        let import = ["--output", "json", "import", what, "--replace-domain"];
        let into = other.run(&[&import[..], &[&csv]].concat()).await;
        assert_eq!(into.code, Some(0), "{into:?}");
        // The same in the other form changes nothing.
        let same = other.run(&[&import[..], &[&jsonl]].concat()).await;
        let [created, updated, unchanged, refused] = counts(&same);
        assert_eq!([created, updated, refused], [0, 0, 0], "{what}: {same:?}");
        assert_eq!(unchanged as usize, rows(&path(&jsonl)).len());
        let back = format!("{what}-back.jsonl");
        other.run(&["export", what, "--to", &back]).await;
        let expected = row_set(&path(&jsonl)).into_iter();
        let mut expected: BTreeSet<String> = expected
            .map(|row| row.replace("CB/acme/", "CB/beta/"))
            .collect();
        let found = row_set(&path(&back));
        // The other site has had an Owner before.
        let own: Vec<String> = found.difference(&expected).cloned().collect();
        assert!(
            own.iter().all(|row| row.contains("owner@beta.example")),
            "{what}: {own:?}"
        );
        expected.extend(own);
        assert_eq!(found, expected, "{what}");
    }
    assert_eq!(
        beta.rpc.access("person1@acme.example").await,
        acme.rpc.access("person1@acme.example").await
    );
    assert_eq!(
        beta.rpc.roles("person1@acme.example").await,
        ["Analyst", "Tech Support"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_killed_is_finished_by_the_next() {
    let world = World::start().await;
    let acme = world.acme().await;
    let folder = tempfile::tempdir().unwrap();
    let ctl = Rosterctl::new(&world, &acme.service_token, folder.path());
    fs::write(folder.path().join("members.csv"), members_csv(2000)).unwrap();
    let arguments = ["--output", "json", "import", "members", "members.csv"];
    let mut killed = ctl.command(&arguments).spawn().unwrap();
    let total = async || {
        let list = ctl.json(&["members", "list", "--limit", "1"]).await;
        list["total_size"].as_i64().unwrap()
    };
    while total().await < 200 {
        assert!(
            killed.try_wait().unwrap().is_none(),
            "it ended too soon to be killed"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let next = ctl.run(&arguments).await;
    assert_eq!(next.code, Some(0), "{next:?}");
    let [created, updated, unchanged, refused] = counts(&next);
    assert_eq!([updated, refused], [0, 0]);
    assert!(created > 0 && unchanged > 100, "{next:?}");
    assert_eq!(created + unchanged, 2000);
    assert_eq!(total().await, 2001);
    // Each was made once, and nothing was changed after that.
    let events = acme.rpc.events().await;
    let of_kind = |kind: &str| events.iter().filter(|event| event.kind == kind).count();
    assert_eq!(of_kind("member.created"), 2000);
    assert_eq!(of_kind("member.updated"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_waits_for_an_identity_that_is_away_or_busy() {
    let settings = identity_tests::world::Settings {
        identity: vec![("ROSTER_RATE_LIMIT", "100".to_owned())],
        ..Default::default()
    };
    let world = World::with(settings).await;
    let acme = world.acme().await;
    let folder = tempfile::tempdir().unwrap();
    let ctl = Rosterctl::new(&world, &acme.service_token, folder.path());
    fs::write(folder.path().join("members.csv"), members_csv(500)).unwrap();
    let answer = ctl
        .run(&[
            "--output",
            "json",
            "import",
            "members",
            "members.csv",
            "--jobs",
            "32",
        ])
        .await;
    assert_eq!(counts(&answer), [500, 0, 0, 0], "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_members_keeps_what_others_change_meanwhile() {
    let world = World::start().await;
    let acme = world.acme().await;
    acme.rpc.make_member("ann@acme.example").await;
    let folder = tempfile::tempdir().unwrap();
    let ctl = Rosterctl::new(&world, &acme.service_token, folder.path());
    fs::write(
        folder.path().join("people.csv"),
        "user_name,profile.nick_name\nann@acme.example,Annie\n",
    )
    .unwrap();
    // Both have read the same, and wait: the other one first.
    let lock = world.database.lock_site(&acme.id);
    let start = |arguments: &[&str]| {
        let mut command = ctl.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let other = start(&["members", "update", "ann@acme.example", "--title", "Head"]);
    world.database.wait_until_waiting(1).await;
    let import = start(&["--output", "json", "import", "members", "people.csv"]);
    world.database.wait_until_waiting(2).await;
    lock.release();
    let ends = |child: Child| {
        tokio::task::spawn_blocking(move || Answer::of(child.wait_with_output().unwrap()))
    };
    let (other, import) = (ends(other).await.unwrap(), ends(import).await.unwrap());
    assert_eq!(other.code, Some(0), "{other:?}");
    assert_eq!(counts(&import), [0, 1, 0, 0], "{import:?}");
    let ann = ctl.json(&["members", "show", "ann@acme.example"]).await;
    assert_eq!(ann["member"]["profile"]["title"], "Head");
    assert_eq!(ann["member"]["profile"]["nick_name"], "Annie");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_interrupted_says_how_far_it_came() {
    let world = World::start().await;
    let acme = world.acme().await;
    let folder = tempfile::tempdir().unwrap();
    let ctl = Rosterctl::new(&world, &acme.service_token, folder.path());
    fs::write(folder.path().join("members.csv"), members_csv(1000)).unwrap();
    let arguments = ["--output", "json", "import", "members", "members.csv"];
    let mut command = ctl.command(&arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let total = async || {
        let list = ctl.json(&["members", "list", "--limit", "1"]).await;
        list["total_size"].as_i64().unwrap()
    };
    while total().await < 50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(sent.success());
    let stopped = Answer::of(child.wait_with_output().unwrap());
    assert_eq!(stopped.code, Some(130), "{stopped:?}");
    assert!(stopped.out.is_empty(), "{stopped:?}");
    assert!(
        stopped.err.contains(" created, 0 updated") && stopped.err.contains("run the same again"),
        "{stopped:?}"
    );
    let next = ctl.run(&arguments).await;
    assert_eq!(next.code, Some(0), "{next:?}");
    let [created, updated, unchanged, refused] = counts(&next);
    assert_eq!([updated, refused], [0, 0]);
    assert!(unchanged >= 49 && created + unchanged == 1000, "{next:?}");
}

/// Tens of thousands of rows take minutes: `ROSTER_IMPORT_ROWS=20000` says how long.
#[tokio::test(flavor = "multi_thread")]
async fn many_rows_take_minutes() {
    let count = env::var("ROSTER_IMPORT_ROWS").map_or(1000, |rows| rows.parse().unwrap());
    let world = World::start().await;
    let acme = world.acme().await;
    let folder = tempfile::tempdir().unwrap();
    let ctl = Rosterctl::new(&world, &acme.service_token, folder.path());
    fs::write(folder.path().join("members.csv"), members_csv(count)).unwrap();
    for expected in [[count as i64, 0, 0, 0], [0, 0, count as i64, 0]] {
        let answer = ctl
            .run(&["--output", "json", "import", "members", "members.csv"])
            .await;
        assert_eq!(counts(&answer), expected, "{answer:?}");
        let said: Value = serde_json::from_str(&answer.out).unwrap();
        let seconds = said["seconds"].as_f64().unwrap();
        println!("{expected:?}: {seconds:.1} s");
        // Tens of thousands in minutes: 10 ms a row, and some time to begin.
        assert!(seconds < 5.0 + count as f64 * 0.01, "{seconds} s");
    }
}
