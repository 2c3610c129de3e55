//! `rosterctl` and the identity it reaches: exit codes, certificates, answers that were lost.

use identity_proto::v1 as pb;
use identity_tests::{
    certificates::Authority,
    faults::Proxy,
    rosterctl::{Answer, Operator, Rosterctl, operator},
};
use roster_stack::ports::free_port;

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
    let identity = world
        .identity_over_tls(&certified, None, folder.path())
        .await;
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
