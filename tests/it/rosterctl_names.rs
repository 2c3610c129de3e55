//! Names as people type them: mistyped ones get the one that was meant, those of groups are checked beforehand.

use identity_tests::rosterctl::{Operator, operator};

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
