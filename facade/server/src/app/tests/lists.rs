//! Lists, as identity is asked for them.

use serde_json::{Value, json};

use super::{Answer, Facade, SEARCH_SCHEMA, Seen};

impl Facade {
    async fn search(&self, path: &str, mut body: Value) -> Answer {
        body["schemas"] = json!([SEARCH_SCHEMA]);
        self.call("POST", path, body).await
    }
}

#[tokio::test]
async fn a_query_and_a_search_ask_the_same() {
    let facade = Facade::start().await;
    let query = "filter=userName%20sw%20%22a%22&sortBy=name.familyName&sortOrder=descending\
                 &startIndex=3&count=7&attributes=userName";
    let answer = facade.get(&format!("/Users?{query}")).await;
    let mut seen = facade.seen();
    let body = json!({
        "filter": "userName sw \"a\"", "sortBy": "name.familyName", "sortOrder": "descending",
        "startIndex": 3, "count": 7, "attributes": ["userName"],
    });
    let searched = facade.search("/Users/.search", body).await;
    seen.extend(facade.seen());
    let [Seen::ListMembers(one), Seen::ListMembers(other)] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    assert_eq!(one, other);
    assert_eq!((one.skip, one.page_size), (2, Some(7)));
    let order = one.order.as_ref().unwrap();
    assert_eq!(
        (order.field.as_str(), order.descending),
        ("profile.name.family_name", true)
    );
    assert_eq!((answer.status, &answer.body), (200, &searched.body));
    assert_eq!(answer.body["startIndex"], 3);
    assert_eq!(answer.body["Resources"][0]["userName"], "a@b");
    assert_eq!(answer.body["Resources"][0].get("active"), None);
}

#[tokio::test]
async fn a_cursor_is_asked_for_and_given_back() {
    let facade = Facade::start().await;
    let answer = facade.get("/Groups?cursor&count=1").await;
    assert_eq!(answer.body["nextCursor"], "more");
    assert_eq!(answer.body.get("startIndex"), None);
    facade.get("/Groups?cursor=more&count=1").await;
    let seen = facade.seen();
    let [Seen::ListGroups(first), Seen::ListGroups(second)] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    assert_eq!(
        (first.page_token.as_str(), second.page_token.as_str()),
        ("", "more")
    );
    // Who does not ask for one gets none.
    assert_eq!(facade.get("/Groups").await.body.get("nextCursor"), None);
    for (query, scim_type) in [
        ("cursor&count=0", "invalidCount"),
        ("cursor=&startIndex=1", "invalidValue"),
    ] {
        let answer = facade.get(&format!("/Users?{query}")).await;
        assert_eq!(
            (answer.status, &answer.body["scimType"]),
            (400, &json!(scim_type))
        );
    }
}

#[tokio::test]
async fn the_root_lists_users_and_then_groups() {
    let facade = Facade::start().await;
    for path in ["", "/", "?count=2"] {
        let answer = facade.get(path).await;
        assert_eq!(answer.body["totalResults"], 2, "{path}");
        assert_eq!(answer.body["itemsPerPage"], 2);
        let types: Vec<&Value> = answer.body["Resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["meta"]["resourceType"])
            .collect();
        assert_eq!(types, ["User", "Group"]);
        assert_eq!(facade.names(), ["ListMembers", "ListGroups"]);
    }
    let filter = json!({
        "filter": "userName eq \"a\" or members pr", "startIndex": 4, "count": 3,
    });
    facade.search("/.search", filter).await;
    let seen = facade.seen();
    let [Seen::ListMembers(users), Seen::ListGroups(groups)] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    assert_eq!((users.skip, users.page_size), (3, Some(3)));
    // One of three users was shown, of which there is one.
    assert_eq!((groups.skip, groups.page_size), (2, Some(2)));
    assert!(format!("{:?}", users.filter).contains("user_name"));
    assert!(!format!("{:?}", users.filter).contains("members"));
    assert!(!format!("{:?}", groups.filter).contains("user_name"));
}

#[tokio::test]
async fn a_cursor_of_the_root_knows_where_it_is() {
    let facade = Facade::start().await;
    let next = |answer: &Answer| answer.body["nextCursor"].as_str().unwrap().to_owned();
    let answer = facade.get("?cursor&count=1").await;
    assert_eq!(next(&answer), "umore");
    facade.seen();
    facade.get("?cursor=gmore&count=1").await;
    let seen = facade.seen();
    let [Seen::ListMembers(users), Seen::ListGroups(groups)] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    assert_eq!(
        (users.page_size, groups.page_token.as_str()),
        (Some(0), "more")
    );
    let answer = facade.get("?cursor=nonsense").await;
    assert_eq!(answer.body["scimType"], "invalidCursor");
}

#[tokio::test]
async fn what_a_search_asks_in_its_url_is_not_passed_over() {
    let facade = Facade::start().await;
    let answer = facade
        .search("/Users/.search?filter=userName%20pr", json!({}))
        .await;
    assert_eq!((answer.status, facade.names()), (400, vec!["GetCaller"]));
    assert_eq!(facade.get("/Users/.search").await.status, 405);
}
