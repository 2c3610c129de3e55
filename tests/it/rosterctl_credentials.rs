//! `rosterctl` and the credentials of a site: issued, verified, changed, rotated, revoked.

use identity_tests::{
    rosterctl::{Operator, operator},
    world::BOOTSTRAP,
};

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
