//! The catalogue of permissions: listed, documented, and carried by the built-in roles as their privileges
//! say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use identity_proto::v1 as pb;
use identity_tests::{
    rpc::{Rpc, role},
    world::World,
    writes::{reason, refused},
};
use tonic::Code;

const BUILT_IN: [&str; 8] = [
    "Owner",
    "Admin",
    "Tech Support",
    "Analyst",
    "Sales Agent",
    "Customer Support",
    "Sales Manager",
    "Finance Executive",
];

async fn catalogue(rpc: &Rpc) -> Vec<pb::Permission> {
    let request = rpc.caller.request(pb::ListPermissionsRequest {});
    let answer = rpc.caller.roles().list_permissions(request).await;
    answer.unwrap().into_inner().permissions
}

/// The catalogue as `docs/permissions.md` shows it.
fn rendered(permissions: &[pb::Permission]) -> String {
    let mut text = String::from("| permission | what it allows |");
    for name in BUILT_IN {
        text += &format!(" {name} |");
    }
    text += "\n|---|---|";
    text += &":-:|".repeat(BUILT_IN.len());
    text.push('\n');
    for permission in permissions {
        text += &format!("| `{}` | {} |", permission.name, permission.description);
        for name in BUILT_IN {
            let carries = permission.built_in_roles.iter().any(|role| role == name);
            text += if carries { " yes |" } else { " |" };
        }
        text.push('\n');
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_in_the_docs_is_the_one_that_is_listed_and_that_sites_are_made_with() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let listed = catalogue(&acme.rpc).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/permissions.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- table -->\n").unwrap();
    let (table, after) = rest.split_once("<!-- end -->").unwrap();
    if std::env::var_os("ROSTER_REWRITE_DOCS").is_some() {
        let text = format!(
            "{before}<!-- table -->\n{}<!-- end -->{after}",
            rendered(&listed)
        );
        fs::write(&path, text).unwrap();
    } else {
        assert!(
            table == rendered(&listed),
            "docs/permissions.md has another table: run this test with ROSTER_REWRITE_DOCS=1"
        );
    }
    let names: Vec<&String> = listed.iter().map(|permission| &permission.name).collect();
    assert!(names.is_sorted() && names.len() > 30);
    let mut carried: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for permission in &listed {
        assert!(!permission.description.is_empty());
        assert!(permission.built_in_roles.is_sorted());
        for role in &permission.built_in_roles {
            carried
                .entry(role)
                .or_default()
                .insert(permission.name.clone());
        }
    }
    let roles = acme.rpc.list_roles().await;
    assert_eq!(roles.len(), BUILT_IN.len());
    for role in roles {
        assert!(role.built_in);
        let permissions: BTreeSet<String> = role.permissions.into_iter().collect();
        assert_eq!(permissions, carried[role.name.as_str()], "{}", role.name);
    }
    // Who may only ask who may do what, has to know what there is to ask about.
    let (token, _) = world.issue("acme", &[pb::Scope::Check]).await;
    let checker = Rpc {
        caller: world.caller(&token),
        site: None,
    };
    assert_eq!(catalogue(&checker).await, listed);
    let (token, _) = world.issue("acme", &[pb::Scope::Administer]).await;
    let caller = world.caller(&token);
    let request = caller.request(pb::ListPermissionsRequest {});
    let outcome = caller.roles().list_permissions(request).await;
    assert_eq!(reason(outcome, Code::PermissionDenied), "SCOPE_MISSING");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_roles_have_the_privileges_that_their_names_promise() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let all: BTreeSet<String> = catalogue(&acme.rpc)
        .await
        .into_iter()
        .map(|permission| permission.name)
        .collect();
    let has: BTreeMap<String, BTreeSet<String>> = acme
        .rpc
        .list_roles()
        .await
        .into_iter()
        .map(|role| (role.name, role.permissions.into_iter().collect()))
        .collect();
    let set = |names: &[&str]| -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    };
    let plus = |base: &str, more: &[&str]| -> BTreeSet<String> { &has[base] | &set(more) };

    // Admins have full access; handing over the site is its Owner's.
    assert_eq!(has["Owner"], all);
    assert_eq!(has["Admin"], &all - &set(&["site.own"]));
    // Views subscriptions and the catalogue; views, comments on, sends and downloads invoices and credit
    // notes.
    let tech_support = set(&[
        "subscriptions.view",
        "catalog.view",
        "invoices.view",
        "invoices.comment",
        "invoices.send",
        "invoices.download",
        "credit_notes.view",
        "credit_notes.comment",
        "credit_notes.send",
        "credit_notes.download",
    ]);
    assert_eq!(has["Tech Support"], tech_support);
    assert_eq!(has["Analyst"], plus("Tech Support", &["metrics.view"]));
    let selling = ["subscriptions.change_trial_end", "subscriptions.discount"];
    assert_eq!(has["Sales Agent"], plus("Tech Support", &selling));
    // Manages customers, subscriptions, invoices, transactions and credit notes, and deletes nothing.
    let managing = [
        "customers.view",
        "customers.manage",
        "customers.comment",
        "subscriptions.manage",
        "subscriptions.comment",
        "invoices.manage",
        "transactions.view",
        "transactions.manage",
        "credit_notes.manage",
    ];
    assert_eq!(has["Customer Support"], plus("Sales Agent", &managing));
    let coupons = ["coupons.view", "coupons.manage"];
    assert_eq!(has["Sales Manager"], plus("Customer Support", &coupons));
    // Reads everywhere but the settings, exports and comments; a download reads.
    let finance: BTreeSet<String> = all
        .iter()
        .filter(|name| match name.split_once('.').unwrap().1 {
            "view" => *name != "settings.view",
            "comment" | "download" | "export" => true,
            _ => false,
        })
        .cloned()
        .collect();
    assert_eq!(has["Finance Executive"], finance);
    let deleting = |names: &BTreeSet<String>| names.iter().any(|name| name.ends_with(".delete"));
    for (name, permissions) in &has {
        let chief = ["Owner", "Admin"].contains(&name.as_str());
        assert_eq!(deleting(permissions), chief, "{name}");
        assert_eq!(permissions.contains("settings.manage"), chief, "{name}");
        assert_eq!(permissions.contains("team.manage"), chief, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_roles_choose_their_permissions_and_several_roles_add_up() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let rpc = &acme.rpc;
    for n in 0..10 {
        acme.make_role(&format!("Custom {n}"), &["coupons.view"])
            .await;
    }
    let (why, metadata) = refused(
        rpc.create_role("One more", &[]).await,
        Code::ResourceExhausted,
    );
    assert_eq!(
        (why.as_str(), metadata["maximum"].as_str()),
        ("LIMIT_EXCEEDED", "10")
    );
    let unknown = rpc
        .create_role("Odd", &["coupons.view", "coupons.eat"])
        .await;
    // The limit is reached already; a change names the fault.
    assert_eq!(reason(unknown, Code::ResourceExhausted), "LIMIT_EXCEEDED");
    let custom = rpc
        .list_roles()
        .await
        .into_iter()
        .find(|role| role.name == "Custom 0")
        .unwrap();
    let values = |permissions: &[&str]| pb::Role {
        permissions: permissions.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    };
    let odd = rpc
        .update_role(&custom.id, values(&["coupons.eat"]), &["permissions"])
        .await;
    assert_eq!(
        refused(odd, Code::InvalidArgument).1["field"],
        "permissions"
    );
    rpc.make_member("ann@acme.example").await;
    rpc.grant("ann@acme.example", role("Custom 0"))
        .await
        .unwrap();
    rpc.grant("ann@acme.example", role("Analyst"))
        .await
        .unwrap();
    let permissions = || async {
        let ann = identity_tests::rpc::by_user_name("ann@acme.example");
        let access = rpc.list_member_access(ann).await.unwrap();
        access.permissions.into_iter().collect::<BTreeSet<String>>()
    };
    let analyst = rpc
        .list_roles()
        .await
        .into_iter()
        .find(|role| role.name == "Analyst");
    let mut expected: BTreeSet<String> = analyst.unwrap().permissions.into_iter().collect();
    expected.insert("coupons.view".to_owned());
    assert_eq!(permissions().await, expected);
    rpc.update_role(&custom.id, values(&["team.view"]), &["permissions"])
        .await
        .unwrap();
    expected.remove("coupons.view");
    expected.insert("team.view".to_owned());
    assert_eq!(permissions().await, expected);
}
