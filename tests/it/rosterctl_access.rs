//! `rosterctl` asks who may do what, now and as of then.

use identity_tests::rosterctl::{Operator, operator};

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
