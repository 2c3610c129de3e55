//! The operator's command line, against a real Roster: what it does, prints and exits with.

use identity_proto::v1 as pb;
use identity_tests::{
    certificates::Authority,
    database::server,
    faults::Proxy,
    rosterctl::{Answer, Rosterctl},
    world::{BOOTSTRAP, Site, World},
};
use roster_stack::{ports::free_port, services::Service};
use tempfile::TempDir;

/// An operator who may do everything at a site that has no one but its Owner.
struct Operator {
    world: World,
    acme: Site,
    folder: TempDir,
    ctl: Rosterctl,
}

async fn operator() -> Operator {
    let world = World::start().await;
    let acme = world.acme().await;
    let folder = tempfile::tempdir().unwrap();
    let ctl = Rosterctl::new(&world, &acme.service_token, folder.path());
    Operator {
        world,
        acme,
        folder,
        ctl,
    }
}

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
async fn questions_of_access_are_answered_now_and_as_of_then() {
    let roster = operator().await;
    let Operator { acme, ctl, .. } = &roster;
    acme.rpc.make_member("ann@acme.example").await;
    let before = ctl.json(&["sites", "show"]).await["site"]["revision"].clone();
    let grant = ctl
        .json(&[
            "grants",
            "create",
            "ann@acme.example",
            "--role",
            "Analyst",
            "--reason",
            "r",
        ])
        .await;
    ctl.json(&[
        "grants",
        "create",
        "ann@acme.example",
        "--entity",
        "EU GmbH",
        "--reason",
        "r",
    ])
    .await;

    let eu = [
        "access",
        "check",
        "ann@acme.example",
        "--permission",
        "invoices.view",
        "--entity",
        "EU GmbH",
    ];
    let yes = ctl.json(&eu).await;
    assert_eq!(yes["answer"]["allowed"], true);
    assert_eq!(yes["answer"]["grants"][0]["target"]["name"], "Analyst");
    let us = ctl
        .run(&[
            "access",
            "check",
            "ann@acme.example",
            "--permission",
            "invoices.view",
            "--entity",
            "US Inc",
        ])
        .await;
    assert_eq!(us.code, Some(7), "{us:?}");
    assert!(us.out.starts_with("No: "), "{us:?}");
    let then: Vec<String> = eu
        .iter()
        .map(|part| (*part).to_owned())
        .chain(["--as-of".to_owned(), before.to_string()])
        .collect();
    let then: Vec<&str> = then.iter().map(String::as_str).collect();
    assert_eq!(ctl.run(&then).await.code, Some(7));

    let explained = ctl
        .run(&[
            "access",
            "explain",
            "ann@acme.example",
            "--permission",
            "invoices.view",
            "--entity",
            "US Inc",
        ])
        .await;
    assert_eq!(explained.code, Some(0));
    assert!(explained.out.contains("US Inc"), "{explained:?}");

    let who = ctl.json(&["access", "who", "--role", "Analyst"]).await;
    assert_eq!(who["members"][0]["user_name"], "ann@acme.example");
    let past = before.to_string();
    let who = ctl
        .json(&["access", "who", "--role", "Analyst", "--as-of", &past])
        .await;
    assert_eq!(who["members"], serde_json::json!([]));
    let who = ctl
        .json(&[
            "access",
            "who",
            "--permission",
            "invoices.view",
            "--entity",
            "EU GmbH",
        ])
        .await;
    let names: Vec<&str> = who["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| member["user_name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"ann@acme.example") && names.contains(&"owner@acme.example"),
        "{names:?}"
    );
    let time = acme
        .rpc
        .events()
        .await
        .last()
        .unwrap()
        .time
        .unwrap()
        .to_string();
    let shown = ctl
        .json(&["access", "show", "ann@acme.example", "--as-of", &time])
        .await;
    assert_eq!(shown["roles"][0]["target"]["name"], "Analyst");
    assert_eq!(shown["revision"], shown["revision"].as_i64().unwrap());
    assert!(grant["receipt"]["gained"] == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_failures_apart() {
    let roster = operator().await;
    let Operator { world, ctl, .. } = &roster;
    let code = async |ctl: &Rosterctl, arguments: &[&str]| ctl.run(arguments).await.code.unwrap();
    assert_eq!(code(ctl, &["sites", "show"]).await, 0);
    assert_eq!(code(ctl, &["sites", "shown"]).await, 2);
    assert_eq!(code(ctl, &["roles", "create", ""]).await, 2);
    assert_eq!(
        code(&ctl.with_token("roster_made_up"), &["sites", "show"]).await,
        3
    );
    let (check, _) = world.issue("acme", &[pb::Scope::Check]).await;
    let denied = ctl.with_token(&check).run(&["members", "list"]).await;
    assert_eq!(denied.code, Some(3));
    let without = ctl.with_token("").run(&["sites", "show"]).await;
    assert_eq!(without.code, Some(2), "{without:?}");
    assert!(without.err.contains("--token-file"), "{without:?}");
    for wrong in ["hunter2", "tökén"] {
        let refused = ctl.with_token(wrong).run(&["sites", "show"]).await;
        assert_eq!(refused.code, Some(3), "{refused:?}");
    }
    assert!(denied.err.contains("SCOPE_MISSING"), "{denied:?}");
    let far = [
        "grants",
        "create",
        "owner@acme.example",
        "--role",
        "Admin",
        "--reason",
        "r",
        "--until",
        "10000-01-01T00:00:00Z",
    ];
    let far = ctl.run(&far).await;
    assert_eq!(far.code, Some(2), "{far:?}");
    assert!(far.err.contains("0001 to 9999"), "{far:?}");
    assert_eq!(code(ctl, &["--site", "nowhere", "sites", "show"]).await, 4);
    let nobody = format!("127.0.0.1:{}", free_port().unwrap());
    let away = ctl.at(&nobody).run(&["sites", "show"]).await;
    assert_eq!(away.code, Some(5));
    assert!(away.err.contains(&nobody), "{away:?}");
    let owner = ["members", "delete", "owner@acme.example"];
    assert_eq!(code(ctl, &owner).await, 3);
    assert_eq!(
        code(
            ctl,
            &["access", "check", "owner@acme.example", "--role", "Analyst"]
        )
        .await,
        7
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_known_by_the_name_in_its_certificate_wherever_it_is_reached() {
    const NAME: &str = "identity.roster.svc";
    let roster = operator().await;
    let Operator {
        world, ctl, folder, ..
    } = &roster;
    let authority = Authority::new();
    let certified = authority.client("identity", NAME, "spiffe://roster/identity");
    let (certificate, key) = certified.write(folder.path(), "server");
    let log = folder.path().join("identity.log");
    let options = World::identity_options(world.database.url(), free_port().unwrap(), &log)
        .variable("ROSTER_TLS_CERT", certificate.display().to_string())
        .variable("ROSTER_TLS_KEY", key.display().to_string());
    let start = move || Service::start(options, &server().guard).unwrap();
    let identity = tokio::task::spawn_blocking(start).await.unwrap();
    std::fs::write(folder.path().join("ca.crt"), &authority.pem).unwrap();

    let at = ctl.at(&format!("https://127.0.0.1:{}", identity.port()));
    let show = ["--identity-ca", "ca.crt", "sites", "show"];
    let named = |name| [&["--tls-server-name", name], &show[..]].concat();
    let other = at.run(&show).await;
    assert_eq!(other.code, Some(5), "{other:?}");
    assert!(other.err.contains("--tls-server-name"), "{other:?}");
    let known = at.run(&named(NAME)).await;
    assert_eq!(known.code, Some(0), "{known:?}");
    // An address without a scheme means TLS where a name is set, and a host's name serves as well as its address.
    let bare = ctl.at(&format!("localhost:{}", identity.port()));
    let mut command = bare.command(&show);
    command.env("ROSTER_TLS_SERVER_NAME", NAME);
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let known = Answer::of(output.unwrap().unwrap());
    assert_eq!(known.code, Some(0), "{known:?}");
    // The certificate counts, not what we call it.
    let wrong = at.run(&named("identity.other.svc")).await;
    assert_eq!(wrong.code, Some(5), "{wrong:?}");
    let nobody = ctl.at(&format!("https://127.0.0.1:{}", free_port().unwrap()));
    let away = nobody.run(&named(NAME)).await;
    assert_eq!(away.code, Some(5), "{away:?}");
    assert!(away.err.contains("refused"), "{away:?}");
    let plain = ctl.at(&format!("http://{}", world.grpc_addr()));
    assert_eq!(plain.run(&named(NAME)).await.code, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_made_and_its_credentials_issued_verified_and_revoked() {
    let roster = operator().await;
    let Operator { folder, ctl, .. } = &roster;
    let boot = ctl.with_token(BOOTSTRAP);
    let made = boot
        .json(&[
            "sites",
            "create",
            "beta",
            "--owner-email",
            "o@beta.example",
            "--given-name",
            "O",
            "--family-name",
            "B",
            "--outside-groups",
            "keep",
        ])
        .await;
    assert_eq!(made["site"]["outside_groups"], "OUTSIDE_GROUPS_KEEP");
    let issued = boot
        .run(&[
            "--site",
            "beta",
            "credentials",
            "issue",
            "--label",
            "ops",
            "--scope",
            "read",
            "--scope",
            "administer",
            "--expires-in",
            "90d",
        ])
        .await;
    assert_eq!(issued.code, Some(0), "{issued:?}");
    // The token alone goes to standard output, to be kept in a file.
    let token = issued.out.trim();
    assert!(token.starts_with("roster_") && !token.contains(char::is_whitespace));
    assert!(issued.err.contains("ops"));
    let beta = ctl.with_token(token);
    assert_eq!(
        beta.json(&["sites", "show"]).await["site"]["domain"],
        "beta"
    );

    std::fs::write(folder.path().join("token"), &issued.out).unwrap();
    // Without any service to ask.
    let alone = ctl.at("127.0.0.1:1").with_token("");
    let verified = alone.json(&["credentials", "verify", "token"]).await;
    assert_eq!(verified["site_id"], made["site"]["id"]);
    std::fs::write(folder.path().join("token"), &token[..token.len() - 1]).unwrap();
    let cut = alone.run(&["credentials", "verify", "token"]).await;
    assert_eq!(cut.code, Some(7));
    assert!(cut.out.contains("cut short"), "{cut:?}");

    let list = beta.json(&["credentials", "list"]).await;
    let first = &list["credentials"][0];
    assert_eq!(first["days_left"], 89);
    let id = first["id"].as_str().unwrap();
    beta.json(&["credentials", "revoke", id]).await;
    assert_eq!(beta.run(&["sites", "show"]).await.code, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_changed_in_what_is_said_of_it() {
    let roster = operator().await;
    let ctl = &roster.ctl;
    let issue = ["credentials", "issue", "--label", "x", "--scope", "read"];
    let issued = ctl.json(&issue).await;
    let id = issued["credential"]["id"].as_str().unwrap();
    let update = async |more: &[&str]| {
        let arguments = [&["credentials", "update", id], more].concat();
        ctl.json(&arguments).await["credential"].clone()
    };
    let changed = ["--label", "y", "--expires-in", "30d"];
    let dry = update(&[&changed[..], &["--dry-run"]].concat()).await;
    assert_eq!(
        (&dry["label"], &dry["days_left"]),
        (&"y".into(), &29.into())
    );
    let listed = ctl.json(&["credentials", "list"]).await;
    let listed = listed["credentials"].as_array().unwrap();
    assert!(listed.contains(&issued["credential"]), "{listed:?}");

    let done = update(&changed).await;
    assert_eq!(
        (&done["label"], &done["days_left"]),
        (&"y".into(), &29.into())
    );
    assert_eq!((&done["version"], &done["id"]), (&2.into(), &id.into()));
    let pinned = update(&["--certificate-name", "billing.internal", "--no-expiry"]).await;
    assert_eq!(pinned["certificate_name"], "billing.internal");
    assert!(pinned["expire_time"].is_null(), "{pinned}");
    // Its token is the same, and asks for the certificate now.
    let caller = ctl.with_token(issued["token"].as_str().unwrap());
    assert_eq!(caller.run(&["sites", "show"]).await.code, Some(3));
    update(&["--any-certificate"]).await;
    assert_eq!(caller.run(&["sites", "show"]).await.code, Some(0));
    for wrong in [
        &[][..],
        &["--expires-in", "1d", "--no-expiry"],
        &["--certificate-name", "x", "--any-certificate"],
    ] {
        let arguments = [&["credentials", "update", id], wrong].concat();
        assert_eq!(ctl.run(&arguments).await.code, Some(2), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_credential_works_on_for_the_overlap() {
    let roster = operator().await;
    let ctl = &roster.ctl;
    let issue = [
        "credentials",
        "issue",
        "--label",
        "billing",
        "--scope",
        "read",
        "--scope",
        "write_groups",
        "--expires-in",
        "90d",
    ];
    let pinned: Vec<&str> = issue
        .iter()
        .copied()
        .chain(["--certificate-name", "billing.internal", "--dry-run"])
        .collect();
    let pinned = ctl.json(&pinned).await;
    assert_eq!(pinned["credential"]["certificate_name"], "billing.internal");
    let old = ctl.json(&issue).await;
    let id = old["credential"]["id"].as_str().unwrap();
    let events = roster.acme.rpc.events().await.len();
    let dry = ctl
        .json(&["credentials", "rotate", id, "--overlap", "3d", "--dry-run"])
        .await;
    assert_eq!(dry["rotated"]["days_left"], 2);
    assert!(dry.get("token").is_none());
    assert_eq!(roster.acme.rpc.events().await.len(), events);

    let rotated = ctl
        .json(&["credentials", "rotate", id, "--overlap", "3d"])
        .await;
    assert_eq!(rotated["rotated"]["id"], id);
    assert_eq!(rotated["rotated"]["days_left"], 2);
    for field in ["label", "scopes"] {
        assert_eq!(rotated["credential"][field], old["credential"][field]);
    }
    assert!(rotated["credential"]["days_left"].as_i64().unwrap() >= 89);
    // Both work.
    for token in [&old["token"], &rotated["token"]] {
        let caller = ctl.with_token(token.as_str().unwrap());
        assert_eq!(caller.run(&["sites", "show"]).await.code, Some(0));
    }
    // Its end is the rotation's now, and no measure for another successor.
    let again = ["credentials", "rotate", id, "--overlap", "9d"];
    let refused = ctl.run(&again).await;
    assert_eq!(refused.code, Some(6), "{refused:?}");
    let newer = rotated["credential"]["id"].as_str().unwrap();
    assert!(
        refused.err.contains(newer) && refused.err.contains("--expires-in"),
        "{refused:?}"
    );
    assert_eq!(refused.out, "");
    // The overlap never makes the old one last longer; and it really ends.
    let again = ctl
        .json(&[&again[..], &["--expires-in", "90d"]].concat())
        .await;
    assert_eq!(again["credential"]["days_left"], 89);
    assert_eq!(
        again["rotated"]["expire_time"],
        rotated["rotated"]["expire_time"]
    );
    // The newest one is rotated like the first.
    let newest = again["credential"]["id"].as_str().unwrap();
    let next = ctl
        .run(&["credentials", "rotate", newest, "--overlap", "1d"])
        .await;
    assert_eq!(next.code, Some(0), "{next:?}");
    assert!(
        next.err.contains("The successor works until 20"),
        "{next:?}"
    );
    ctl.json(&["credentials", "revoke", id]).await;
    let gone = ctl
        .run(&["credentials", "rotate", id, "--overlap", "1d"])
        .await;
    assert_eq!(gone.code, Some(2), "{gone:?}");

    // One without an end has a successor without one, the second time too.
    let issue = [
        "credentials",
        "issue",
        "--label",
        "endless",
        "--scope",
        "read",
    ];
    let endless = ctl.json(&issue).await;
    let id = endless["credential"]["id"].as_str().unwrap();
    let rotate = ["credentials", "rotate", id, "--overlap", "1d"];
    let first = ctl.json(&rotate).await;
    assert!(first["credential"]["expire_time"].is_null(), "{first}");
    assert_eq!(ctl.run(&rotate).await.code, Some(6));
    let second = ctl.json(&[&rotate[..], &["--no-expiry"]].concat()).await;
    assert!(second["credential"]["expire_time"].is_null(), "{second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_is_made_once_where_the_answer_is_lost() {
    let roster = operator().await;
    let Operator {
        world, acme, ctl, ..
    } = &roster;
    let proxy = Proxy::before(world.identity.port()).await;
    let behind = ctl.at(&format!("127.0.0.1:{}", proxy.port()));
    let lock = world.database.lock_site(&acme.id);
    let making = tokio::spawn(async move {
        let create = [
            "roles",
            "create",
            "Auditor",
            "--permission",
            "invoices.view",
        ];
        behind.run(&create).await
    });
    world.database.wait_until_waiting(1).await;
    // Under way, and nobody will hear of it.
    proxy.cut();
    proxy.mend();
    lock.release();
    let made = making.await.unwrap();
    assert_eq!(made.code, Some(0), "{made:?}");
    let events = acme.rpc.events().await;
    let of_kind = events.iter().filter(|event| event.kind == "role.created");
    assert_eq!(of_kind.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_name_is_answered_with_the_one_that_was_meant() {
    let roster = operator().await;
    let Operator { acme, ctl, .. } = &roster;
    acme.rpc.make_member("bob@acme.example").await;
    acme.make_role("Auditor", &["invoices.view"]).await;
    let bob = "bob@acme.example";
    for (code, meant, arguments) in [
        (
            4,
            "Auditor",
            &["grants", "create", bob, "--role", "Auditr", "--reason", "r"][..],
        ),
        (
            4,
            "EU GmbH",
            &[
                "grants", "create", bob, "--entity", "EU Gmb", "--reason", "r",
            ],
        ),
        (
            2,
            "invoices.view",
            &["roles", "create", "X", "--permission", "invoices.veiw"],
        ),
        (
            2,
            "invoices.view",
            &[
                "roles",
                "update",
                "Auditor",
                "--add-permission",
                "invoices.veiw",
            ],
        ),
        (4, bob, &["members", "show", "bbo@acme.example"]),
        (4, bob, &["access", "show", "bbo@acme.example"]),
        (
            4,
            bob,
            &[
                "groups",
                "create",
                "CB/acme/ROLE/Admin",
                "--member",
                "bbo@acme.example",
            ],
        ),
        // No confident no.
        (4, "Auditor", &["access", "check", bob, "--role", "Auditr"]),
        (
            4,
            bob,
            &["access", "check", "bbo@acme.example", "--role", "Auditor"],
        ),
        (
            4,
            "EU GmbH",
            &[
                "access", "check", bob, "--role", "Auditor", "--entity", "EU Gmb",
            ],
        ),
        (
            2,
            "invoices.view",
            &["access", "check", bob, "--permission", "invoices.veiw"],
        ),
        (
            4,
            "Auditor",
            &["access", "explain", bob, "--role", "Auditr"],
        ),
        (
            2,
            "invoices.view",
            &["access", "explain", bob, "--permission", "invoices.veiw"],
        ),
        (4, "Auditor", &["access", "who", "--role", "Auditr"]),
        (2, "Auditor", &["groups", "create", "CB/acme/ROLE/Auditr"]),
        (
            2,
            "CB/acme/ROLE/Auditor",
            &["groups", "create", "CB/acme/Role/Auditr"],
        ),
    ] {
        let answer = ctl.run(arguments).await;
        assert_eq!(answer.code, Some(code), "{arguments:?}: {answer:?}");
        let hint = format!("did you mean {meant}");
        assert!(answer.err.contains(&hint), "{arguments:?}: {answer:?}");
        assert_eq!(answer.out, "", "{arguments:?}");
    }
    let expected = ctl.run(&["groups", "create", "CB/acme/ROLE/Auditr"]).await;
    assert!(
        expected.err.contains("expected CB/acme/ROLE/<role>"),
        "{expected:?}"
    );
    // A program is told as before, and by the exit code.
    let check = [
        "--output", "json", "access", "check", bob, "--role", "Auditr",
    ];
    let answer = ctl.run(&check).await;
    assert_eq!(answer.code, Some(4), "{answer:?}");
    assert!(answer.out.contains("DENIAL_ROLE_UNKNOWN"), "{answer:?}");
    // What has to be named is named, each way.
    for (arguments, ways) in [
        (
            &["access", "check", bob][..],
            &["--permission", "--role"][..],
        ),
        (&["access", "who"], &["--role", "--permission", "--entity"]),
    ] {
        let wrong = ctl.run(arguments).await;
        assert_eq!(wrong.code, Some(2), "{wrong:?}");
        assert!(ways.iter().all(|way| wrong.err.contains(way)), "{wrong:?}");
    }
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
async fn names_of_groups_are_checked_before_they_are_pushed() {
    let roster = operator().await;
    let Operator {
        acme, ctl, folder, ..
    } = &roster;
    ctl.json(&["groups", "create", "CB/acme/ROLE/Admin"]).await;
    let names = "id,displayName\n1,CB/acme/ROLE/Analyst\n2,CB/acme/ROLE/Analist\n3,CB/acme/ROLE/Admin\n\
                 4,CB/acme/be/EU GmbH\n5,Everyone\n6,CB/acme/BE/eu gmbh\n7,CB/other/ROLE/Sales Agent\n";
    std::fs::write(folder.path().join("groups.csv"), names).unwrap();
    let lint = ["--output", "json", "groups", "lint", "groups.csv"];
    let answer = ctl.run(&lint).await;
    assert_eq!(answer.code, Some(7), "{answer:?}");
    let said: serde_json::Value = serde_json::from_str(&answer.out).unwrap();
    let names = said["names"].as_array().unwrap();
    let verdicts: Vec<&str> = names
        .iter()
        .map(|name| name["verdict"].as_str().unwrap())
        .collect();
    assert_eq!(
        verdicts,
        [
            "good", "refused", "good", "refused", "refused", "good", "refused"
        ]
    );
    assert_eq!(said["refused"], 4);
    // In the very words of the facade.
    for name in names.iter().filter(|name| name["verdict"] == "refused") {
        let body = serde_json::json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": name["display_name"],
        });
        let refusal = acme.scim.post("/Groups", &body).await.is(400);
        let detail = refusal.body["detail"].as_str().unwrap().to_owned();
        let message = name["message"].as_str().unwrap();
        assert!(detail.starts_with(message), "{detail}\n{message}");
    }
    for name in names
        .iter()
        .filter(|name| name["verdict"] == "good" && name["display_name"] != "CB/acme/ROLE/Admin")
    {
        acme.scim
            .make_group(name["display_name"].as_str().unwrap(), &[])
            .await;
    }

    // Offline only the form and the domain.
    let offline = ctl
        .at("127.0.0.1:1")
        .run(&[
            "--site",
            "acme",
            "groups",
            "lint",
            "groups.csv",
            "--offline",
        ])
        .await;
    assert_eq!(offline.code, Some(7));
    assert!(
        offline.out.contains("3 of them to be refused"),
        "{}",
        offline.out
    );
    // Nobody was asked, so nothing is called good.
    assert!(
        offline.out.contains("well formed, not looked up") && !offline.out.contains("good"),
        "{}",
        offline.out
    );
    std::fs::write(
        folder.path().join("good.csv"),
        "CB/acme/ROLE/Tech Support\n",
    )
    .unwrap();
    assert_eq!(ctl.run(&["groups", "lint", "good.csv"]).await.code, Some(0));
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
