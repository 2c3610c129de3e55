//! What Microsoft Entra ID sends where app roles are mapped to `roles`. The `Value` of an app role is the id of the
//! role, as `/Roles` lists it.

use identity_tests::{rpc::role, world::World};

use super::{
    entra::{entra, new_user},
    *,
};

const ANN: &str = "ann@acme.example";
const KIND: &str = "WindowsAzureActiveDirectoryRole";
const THE_ONE: &str = "roles[primary eq \"True\"].value";

#[tokio::test(flavor = "multi_thread")]
async fn a_single_role_is_given_changed_and_taken_as_the_primary_one() {
    let world = World::start().await;
    let acme = world.acme().await;
    let entra = entra(&acme);
    let analyst = acme.scim.id_of("/Roles", "Analyst").await;
    let agent = acme.scim.id_of("/Roles", "Sales Agent").await;

    // SingleAppRoleAssignment: a create ...
    let mut body = new_user(ANN, None);
    body["roles"] = json!([{ "primary": true, "type": KIND, "value": analyst }]);
    let made = entra.post("/Users", &body).await.is(201);
    let path = format!("/Users/{}", made.id());
    let the_one = |id: &str, name: &str| json!([{ "value": id, "display": name, "primary": true }]);
    assert_eq!(made.body["roles"], the_one(&analyst, "Analyst"));
    assert_eq!(acme.rpc.roles(ANN).await, ["Analyst"]);
    // ... which Entra finds again where its mapping says ...
    let lookup = format!("/Users?filter=roles[primary eq \"True\"].value eq \"{analyst}\"");
    assert_eq!(entra.found(&lookup).await, [made.id()]);
    // ... changes ...
    for op in ["Replace", "Add"] {
        let change = json!([{ "op": op, "path": THE_ONE, "value": agent }]);
        let changed = entra.patch(&path, change).await.is(200);
        assert_eq!(changed.body["roles"], the_one(&agent, "Sales Agent"));
        assert_eq!(acme.rpc.roles(ANN).await, ["Sales Agent"]);
    }
    // ... takes away, and gives for the first time, with everything that it knows of it.
    let remove = json!([{ "op": "Remove", "path": THE_ONE }]);
    let removed = entra.patch(&path, remove).await.is(200);
    assert_eq!(removed.body.get("roles"), None);
    assert_eq!(acme.rpc.roles(ANN).await, Vec::<String>::new());
    let whole = json!([
        { "op": "Add", "path": "roles[primary eq \"True\"].display", "value": "Analyst" },
        { "op": "Add", "path": THE_ONE, "value": analyst },
        { "op": "Add", "path": "roles[primary eq \"True\"].type", "value": KIND },
        { "op": "Replace", "path": "displayName", "value": "Ann Ray" },
    ]);
    let given = entra.patch(&path, whole).await.is(200);
    assert_eq!(given.body["roles"], the_one(&analyst, "Analyst"));
    assert_eq!(given.body["displayName"], "Ann Ray");
    assert_eq!(acme.rpc.roles(ANN).await, ["Analyst"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_roles_come_as_documents_or_as_a_whole_list() {
    let world = World::start().await;
    let acme = world.acme().await;
    let entra = entra(&acme);
    let analyst = acme.scim.id_of("/Roles", "Analyst").await;
    let agent = acme.scim.id_of("/Roles", "Sales Agent").await;
    let element = |id: &str, name: &str| json!({ "primary": false, "type": KIND, "display": name, "value": id });
    let document = |id: &str, name: &str| {
        let document = json!({ "id": "06b07648-ecfe-589f-9d2f-6325724a46ee", "value": id, "displayName": name });
        json!({ "value": document.to_string() })
    };

    // AppRoleAssignmentsComplex: objects in the create, documents within texts in the PATCH.
    let mut body = new_user(ANN, None);
    body["roles"] = json!([element(&analyst, "Analyst"), element(&agent, "Sales Agent")]);
    let made = entra.post("/Users", &body).await.is(201);
    let path = format!("/Users/{}", made.id());
    assert_eq!(acme.rpc.roles(ANN).await, ["Analyst", "Sales Agent"]);
    let remove =
        json!([{ "op": "Remove", "path": "roles", "value": [document(&agent, "Sales Agent")] }]);
    entra.patch(&path, remove).await.is(200);
    assert_eq!(acme.rpc.roles(ANN).await, ["Analyst"]);
    let add = json!([{ "op": "Add", "path": "roles", "value": [document(&agent, "Sales Agent")] }]);
    let added = entra.patch(&path, add.clone()).await.is(200);
    assert_eq!(
        added.body["roles"],
        json!([
            { "value": analyst, "display": "Analyst" },
            { "value": agent, "display": "Sales Agent" },
        ])
    );
    // Sent again, as Entra does as long as what it reads is not what it sent, it changes nothing.
    let again = entra.patch(&path, add).await.is(200);
    assert_eq!(again.body, added.body);
    assert_eq!(
        again.header("roster-effect"),
        "members=0, skipped=0, gained=0, lost=0"
    );

    // AssertiveAppRoleAssignmentsComplex: these and no others, of what was given here.
    acme.rpc.grant(ANN, role("Tech Support")).await.unwrap();
    let only =
        json!([{ "op": "Replace", "path": "roles", "value": [element(&agent, "Sales Agent")] }]);
    entra.patch(&path, only).await.is(200);
    assert_eq!(acme.rpc.roles(ANN).await, ["Sales Agent", "Tech Support"]);
    let none = json!([{ "op": "Replace", "path": "roles", "value": [] }]);
    entra.patch(&path, none).await.is(200);
    assert_eq!(acme.rpc.roles(ANN).await, ["Tech Support"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_app_role_can_not_be_is_told_to_the_administrator() {
    let world = World::start().await;
    let acme = world.acme().await;
    let entra = entra(&acme);
    let admin = acme.scim.id_of("/Roles", "Admin").await;
    let made = entra.post("/Users", &new_user(ANN, None)).await.is(201);
    let path = format!("/Users/{}", made.id());
    for (value, told) in [
        // The name of a role, as one would try first; the role that nobody is given; one that there is not.
        ("Admin", admin.as_str()),
        ("Owner", "Owner can't be given"),
        ("User", "no role with the id"),
    ] {
        let document =
            json!({ "id": "06b07648", "value": value, "displayName": value }).to_string();
        for operation in [
            json!({ "op": "Add", "path": THE_ONE, "value": value }),
            json!({ "op": "Add", "path": "roles", "value": [{ "value": document }] }),
        ] {
            let detail = entra
                .patch(&path, json!([operation]))
                .await
                .error(400, "invalidValue");
            assert!(detail.contains(told), "{detail}");
        }
    }
    assert_eq!(entra.get(&path).await.is(200).body, made.body);
    // With several roles none is the primary one, and which was meant nobody can tell.
    let analyst = acme.scim.id_of("/Roles", "Analyst").await;
    let two = json!([{ "op": "Add", "path": "roles", "value": [{ "value": admin }, { "value": analyst }] }]);
    entra.patch(&path, two).await.is(200);
    let one = json!([{ "op": "Replace", "path": THE_ONE, "value": analyst }]);
    entra.patch(&path, one).await.error(400, "noTarget");
    assert_eq!(acme.rpc.roles(ANN).await, ["Admin", "Analyst"]);
}
