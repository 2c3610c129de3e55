//! Bulk requests, as they are refused whole; what they do is tested end to end.

use scim_protocol::bulk::REQUEST_SCHEMA;
use serde_json::{Value, json};

use super::{Answer, Facade, request};

impl Facade {
    async fn bulk(&self, operations: Value) -> Answer {
        let body = json!({"schemas": [REQUEST_SCHEMA], "Operations": operations});
        self.call("POST", "/Bulk", body).await
    }
}

#[tokio::test]
async fn limits_are_named() {
    let facade = Facade::with(&["--max-bulk-operations", "2", "--max-bulk-body", "400"]).await;
    let one = json!({"method": "DELETE", "path": "/Users/1"});
    let answer = facade.bulk(json!([one, one, one])).await;
    assert_eq!(answer.status, 413);
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains("2 operations (maxOperations)"), "{detail}");
    let answer = facade.bulk(json!(["x".repeat(400)])).await;
    assert_eq!(answer.status, 413);
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains("400 bytes (maxPayloadSize)"), "{detail}");
    assert_eq!(facade.bulk(json!([one, one])).await.status, 200);
    let config = facade.get("/ServiceProviderConfig").await.body;
    assert_eq!(
        config["bulk"],
        json!({"supported": true, "maxOperations": 2, "maxPayloadSize": 400})
    );
}

#[tokio::test]
async fn nothing_is_carried_out_for_who_has_no_token() {
    let facade = Facade::start().await;
    let body = json!({
        "schemas": [REQUEST_SCHEMA],
        "Operations": [{"method": "POST", "path": "/Nowhere", "bulkId": "a"}],
    });
    for (body, token, status) in [
        (body.to_string(), "bad", 401),
        ("{".to_owned(), "bad", 401),
        ("{".to_owned(), "good", 400),
        (body.to_string(), "good", 200),
    ] {
        let request = request("POST", "/Bulk", token).body(body.into()).unwrap();
        assert_eq!(facade.send(request).await.status, status);
        assert_eq!(facade.names(), ["GetCaller"]);
    }
}

#[tokio::test]
async fn an_operation_is_the_single_request() {
    let facade = Facade::start().await;
    let answer = facade
        .bulk(json!([
            {"method": "patch", "path": "/Users/m1?attributes=userName", "version": "W/\"7-x\"",
             "data": [{"op": "replace", "path": "active", "value": false}]},
            {"method": "DELETE", "path": "/Groups/g1/"},
        ]))
        .await;
    assert_eq!(facade.names(), ["GetCaller", "UpdateMember", "DeleteGroup"]);
    assert_eq!(
        answer.body["Operations"],
        json!([
            {
                "method": "patch", "status": "200", "version": "W/\"7-abc\"",
                "location": "https://scim.example/acme/scim/v2/Users/m1",
                "response": {
                    "schemas": answer.body["Operations"][0]["response"]["schemas"],
                    "id": "m1", "userName": "a@b",
                },
            },
            {
                "method": "DELETE", "status": "204",
                "location": "https://scim.example/acme/scim/v2/Groups/g1",
            },
        ])
    );
    assert_eq!(
        answer.header("roster-effect"),
        "members=4, skipped=2, gained=2, lost=0"
    );
}
