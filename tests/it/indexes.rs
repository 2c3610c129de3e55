//! What identity providers look up by is found by an index, also among 100,000 members: PostgreSQL's own
//! statistics tell whether a look-up read the table from end to end.

use std::time::{Duration, Instant};

use identity_tests::{
    database::Database,
    scim::{encode, group, user},
    world::World,
};

/// How many members have been read by reading the whole table, and how many times an index of members or
/// memberships was asked.
fn reads(database: &Database) -> (i64, i64) {
    let sum = |column: &str, tables: &str| {
        database.number(&format!(
            "SELECT coalesce(sum({column}), 0)::bigint AS n FROM pg_stat_user_tables \
             WHERE relname IN ({tables})"
        ))
    };
    (
        sum("seq_tup_read", "'members'"),
        sum("idx_scan", "'members', 'group_members'"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn look_ups_ask_an_index_and_never_read_the_whole_table() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ids = world.database.seed_members(&acme.id, 100_000);
    let ann = acme
        .scim
        .post("/Users", &user("ann@acme.example"))
        .await
        .is(201)
        .id();
    let some: Vec<&str> = ids
        .iter()
        .take(20_000)
        .map(String::as_str)
        .chain([ann.as_str()])
        .collect();
    let analysts = acme
        .scim
        .post("/Groups", &group("CB/acme/ROLE/Analyst", &some))
        .await
        .is(201)
        .id();
    world.database.execute("ANALYZE");
    // What making the group read is to be reported before the counting begins.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    acme.scim.get(&format!("/Users/{ann}")).await.is(200);

    for (path, filter) in [
        ("Users", "userName eq \"ANN@acme.example\"".to_owned()),
        ("Users", "externalId eq \"00uann@acme.example\"".to_owned()),
        ("Users", "emails.value eq \"Ann@acme.example\"".to_owned()),
        (
            "Users",
            "emails[type eq \"work\"].value eq \"Ann@acme.example\"".to_owned(),
        ),
        ("Users", "displayName eq \"given family\"".to_owned()),
        ("Users", format!("id eq \"{ann}\"")),
        ("Users", format!("groups.value eq \"{analysts}\"")),
        ("Groups", format!("members.value eq \"{ann}\"")),
        (
            "Groups",
            "displayName eq \"CB/acme/ROLE/Analyst\"".to_owned(),
        ),
    ] {
        let (before, asked) = reads(&world.database);
        let path = format!("/{path}?count=10&filter={}", encode(&filter));
        // Several times, so that a plan that is kept for all values shows itself too.
        for _ in 0..8 {
            let found = acme.scim.get(&path).await.is(200);
            assert!(
                found.body["totalResults"].as_i64().unwrap() >= 1,
                "{filter}"
            );
        }
        // A backend reports what it read when it is next used a second later.
        let patience = Instant::now() + Duration::from_secs(20);
        loop {
            tokio::time::sleep(Duration::from_millis(1100)).await;
            acme.scim.get(&path).await.is(200);
            let (read, now_asked) = reads(&world.database);
            assert!(
                read - before < 1000,
                "{filter} read {} rows one by one",
                read - before
            );
            if now_asked > asked || Instant::now() > patience {
                assert!(now_asked > asked, "{filter} asked no index");
                break;
            }
        }
    }
}
