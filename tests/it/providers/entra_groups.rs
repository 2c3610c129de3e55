//! Groups as Microsoft Entra ID pushes them: made without members, read without members, and filled one PATCH after
//! another, whose removals name whom they mean beside the path.

use identity_proto::v1::OutsideGroups;
use identity_tests::{scim::GROUP, world::World};

use super::{
    entra::{entra, new_group, new_user},
    *,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_group_from_its_creation_to_its_end() {
    let world = World::start().await;
    let acme = world.acme().await;
    let entra = entra(&acme);
    let mut people = Vec::new();
    for name in ["ann@acme.example", "bob@acme.example", "cem@acme.example"] {
        let made = entra.post("/Users", &new_user(name, None)).await.is(201);
        people.push(made.id());
    }
    let [ann, bob, cem]: [String; 3] = people.try_into().unwrap();
    let access = |name: &'static str| {
        let rpc = acme.rpc.clone();
        async move { rpc.roles(name).await }
    };

    let lookup = format!("/Groups?excludedAttributes=members&filter=displayName eq \"{ANALYSTS}\"");
    assert_eq!(entra.found(&lookup).await, [""; 0]);
    let made = entra.post("/Groups", &new_group(ANALYSTS)).await.is(201);
    let group = made.id();
    assert_eq!(made.body["schemas"], json!([GROUP]));
    assert_eq!(made.body["displayName"], ANALYSTS);
    assert_eq!(made.body["externalId"], format!("ext-{ANALYSTS}"));
    assert_eq!(made.body["meta"]["resourceType"], "Group");
    let path = format!("/Groups/{group}");
    entra
        .post("/Groups", &new_group(ANALYSTS))
        .await
        .error(409, "uniqueness");

    // Members come one or several at a time, some with a $ref of null; the answer has no body.
    let add = json!([
        { "op": "Add", "path": "members", "value": [{ "$ref": null, "value": ann }, { "value": bob }] },
        { "op": "Add", "path": "members", "value": [{ "value": cem }] },
    ]);
    entra.patch(&path, add).await.is(204);
    for name in ["ann@acme.example", "bob@acme.example", "cem@acme.example"] {
        assert_eq!(access(name).await, ["Analyst"]);
    }
    // Entra looks at groups without their members, and asks for one of them.
    for read in [&lookup, &format!("{path}?excludedAttributes=members")] {
        let read = entra.get(read).await.is(200).body;
        let shown = read.get("Resources").map_or(&read, |list| &list[0]);
        assert_eq!(shown["displayName"], ANALYSTS);
        assert_eq!(shown.get("members"), None);
    }
    let is_in = |id: &str| {
        format!("/Groups?filter=id eq \"{group}\" and members eq \"{id}\"&attributes=id")
    };
    assert_eq!(entra.found(&is_in(&ann)).await, [group.as_str()]);

    // A removal with a value means those, and never everybody.
    let remove = |value: Value| json!([{ "op": "Remove", "path": "members", "value": value }]);
    entra
        .patch(&path, remove(json!([{ "$ref": null, "value": ann }])))
        .await
        .is(204);
    assert_eq!(access("ann@acme.example").await, Vec::<String>::new());
    assert_eq!(access("bob@acme.example").await, ["Analyst"]);
    for nobody in [json!([]), json!([{ "value": ann }])] {
        entra.patch(&path, remove(nobody)).await.is(204);
    }
    let mut left = [bob.clone(), cem.clone()];
    left.sort();
    assert_eq!(acme.scim.members(&group).await, left);
    assert_eq!(entra.found(&is_in(&ann)).await, [""; 0]);

    // A rename moves what the members have.
    let rename = json!([{ "op": "Replace", "path": "displayName", "value": AGENTS }]);
    entra.patch(&path, rename).await.is(204);
    assert_eq!(access("bob@acme.example").await, ["Sales Agent"]);
    let id = json!([{ "op": "Replace", "path": "externalId", "value": "ext-3" }]);
    entra.patch(&path, id).await.is(204);
    assert_eq!(
        entra
            .found("/Groups?excludedAttributes=members&filter=externalId eq \"ext-3\"")
            .await,
        [group.as_str()]
    );

    entra.delete(&path).await.is(204);
    entra.get(&path).await.error(404, "");
    assert_eq!(access("bob@acme.example").await, Vec::<String>::new());
    entra.get(&format!("/Users/{bob}")).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_its_own_is_refused_or_kept_as_the_site_wants() {
    let world = World::start().await;
    let acme = world.acme().await;
    let entra = entra(&acme);
    let ann = entra
        .post("/Users", &new_user("ann@acme.example", None))
        .await
        .is(201)
        .id();
    let name = "All Employees";
    let detail = entra
        .post("/Groups", &new_group(name))
        .await
        .error(400, "invalidValue");
    assert!(detail.contains("CB/acme/ROLE/"), "{detail}");

    acme.set_outside_groups(OutsideGroups::Keep).await;
    let group = entra.post("/Groups", &new_group(name)).await.is(201).id();
    let path = format!("/Groups/{group}");
    let add = json!([{ "op": "Add", "path": "members", "value": [{ "value": ann }] }]);
    entra.patch(&path, add).await.is(204);
    assert_eq!(acme.scim.members(&group).await, [ann.as_str()]);
    // It grants nothing, until it is renamed to something that does.
    assert_eq!(
        acme.rpc.roles("ann@acme.example").await,
        Vec::<String>::new()
    );
    let rename = |name: &str| json!([{ "op": "Replace", "path": "displayName", "value": name }]);
    entra.patch(&path, rename(ANALYSTS)).await.is(204);
    assert_eq!(acme.rpc.roles("ann@acme.example").await, ["Analyst"]);
    entra.patch(&path, rename(name)).await.is(204);
    assert_eq!(
        acme.rpc.roles("ann@acme.example").await,
        Vec::<String>::new()
    );
    entra.delete(&path).await.is(204);
}
