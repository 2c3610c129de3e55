//! Lists of roles, business entities, sites and credentials: filtered, ordered and paged like those of
//! members and groups.

use std::{collections::BTreeSet, future::Future, time::SystemTime};

use identity_proto::v1::{self as pb, comparison::Value, filter::Node};
use identity_tests::{
    rpc::Rpc,
    world::{BOOTSTRAP, World},
    writes::refused,
};
use prost_types::Timestamp;
use roster_stack::grpc::site;
use tonic::{Code, Response, Status};

/// What every list is asked by.
#[derive(Clone, Debug, Default)]
struct Ask {
    filter: Option<pb::Filter>,
    page_size: Option<i32>,
    skip: i64,
    order: Option<pb::Order>,
    page_token: String,
}

/// What every list answers: the names, how many there are, the next token.
type Page = Result<(Vec<String>, i64, String), Status>;

fn compare(field: &str, operator: pb::Operator, value: Value) -> Option<pb::Filter> {
    Some(pb::Filter {
        node: Some(Node::Comparison(pb::Comparison {
            field: field.to_owned(),
            operator: operator.into(),
            value: Some(value),
            ..Default::default()
        })),
    })
}

fn text(field: &str, operator: pb::Operator, value: &str) -> Option<pb::Filter> {
    compare(field, operator, Value::Text(value.to_owned()))
}

fn by(field: &str, descending: bool) -> Option<pb::Order> {
    Some(pb::Order {
        field: field.to_owned(),
        descending,
        exact: false,
    })
}

/// Holds a list against all its names in its own order: whole, in pages, backwards, and within bounds.
async fn check_list<F: Future<Output = Page>>(field: &str, all: &[&str], list: impl Fn(Ask) -> F) {
    let (names, total, next) = list(Ask::default()).await.unwrap();
    assert_eq!(
        (names, total, next.as_str()),
        (owned(all), all.len() as i64, "")
    );
    let mut paged = Vec::new();
    let mut ask = Ask {
        page_size: Some(2),
        ..Ask::default()
    };
    loop {
        let (names, total, next) = list(ask.clone()).await.unwrap();
        assert_eq!(total, all.len() as i64);
        assert!(names.len() <= 2);
        paged.extend(names);
        if next.is_empty() {
            break;
        }
        ask.page_token = next;
    }
    assert_eq!(paged, owned(all));
    let (rest, ..) = list(Ask {
        skip: 1,
        ..Ask::default()
    })
    .await
    .unwrap();
    assert_eq!(rest, owned(&all[1..]));
    let (none, total, _) = list(Ask {
        page_size: Some(0),
        ..Ask::default()
    })
    .await
    .unwrap();
    assert_eq!((none.len(), total), (0, all.len() as i64));
    let ordered = |descending| {
        list(Ask {
            order: by(field, descending),
            ..Ask::default()
        })
    };
    let mut sorted = owned(all);
    sorted.sort_by_key(|name| name.to_lowercase());
    assert_eq!(ordered(false).await.unwrap().0, sorted);
    sorted.reverse();
    assert_eq!(ordered(true).await.unwrap().0, sorted);
    let one = all[0];
    let found = list(Ask {
        filter: text(field, pb::Operator::Equal, one),
        ..Ask::default()
    });
    assert_eq!(found.await.unwrap().0, [one]);

    let foreign = Ask {
        order: by(field, true),
        page_token: ask.page_token.clone(),
        ..Ask::default()
    };
    assert_eq!(
        refused(list(foreign).await, Code::InvalidArgument).0,
        "PAGE_TOKEN_INVALID"
    );
    for (ask, at) in [
        (
            Ask {
                page_size: Some(1001),
                ..Ask::default()
            },
            "page_size",
        ),
        (
            Ask {
                page_size: Some(-1),
                ..Ask::default()
            },
            "page_size",
        ),
        (
            Ask {
                skip: -1,
                ..Ask::default()
            },
            "skip",
        ),
        (
            Ask {
                order: by("nothing", false),
                ..Ask::default()
            },
            "order",
        ),
        (
            Ask {
                filter: text("nothing", pb::Operator::Equal, "x"),
                ..Ask::default()
            },
            "filter",
        ),
    ] {
        assert_eq!(
            refused(list(ask).await, Code::InvalidArgument).1["field"],
            at
        );
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn roles(rpc: &Rpc, ask: Ask) -> Page {
    let request = rpc.caller.request(pb::ListRolesRequest {
        filter: ask.filter,
        page_size: ask.page_size,
        skip: ask.skip,
        order: ask.order,
        page_token: ask.page_token,
        ..Default::default()
    });
    let answer = rpc.caller.roles().list_roles(request).await?.into_inner();
    let names = answer.roles.into_iter().map(|role| role.name).collect();
    Ok((names, answer.total_size, answer.next_page_token))
}

async fn credentials(rpc: &Rpc, ask: Ask) -> Page {
    let request = rpc.caller.request(pb::ListCredentialsRequest {
        filter: ask.filter,
        page_size: ask.page_size,
        skip: ask.skip,
        order: ask.order,
        page_token: ask.page_token,
        all_sites: rpc.site.is_none(),
        site: rpc.site.clone(),
        ..Default::default()
    });
    let mut client = rpc.caller.credentials();
    let answer = client.list_credentials(request).await?.into_inner();
    let labels = answer
        .credentials
        .into_iter()
        .map(|credential| credential.label);
    Ok((labels.collect(), answer.total_size, answer.next_page_token))
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_and_business_entities_are_filtered_ordered_and_paged() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let rpc = &acme.rpc;
    acme.make_role("billing", &["invoices.view", "catalog.view"])
        .await;
    let all = [
        "Admin",
        "Analyst",
        "billing",
        "Customer Support",
        "Finance Executive",
        "Owner",
        "Sales Agent",
        "Sales Manager",
        "Tech Support",
    ];
    check_list("name", &all, |ask| roles(rpc, ask)).await;
    let filtered = |filter| {
        let ask = Ask {
            filter,
            ..Ask::default()
        };
        async move { roles(rpc, ask).await.unwrap().0 }
    };
    let custom = compare("built_in", pb::Operator::Equal, Value::Flag(false));
    assert_eq!(filtered(custom).await, ["billing"]);
    let carrying = text("permissions.name", pb::Operator::Equal, "coupons.manage");
    assert_eq!(
        filtered(carrying).await,
        ["Admin", "Owner", "Sales Manager"]
    );
    let named = text("name", pb::Operator::StartsWith, "SALES");
    assert_eq!(filtered(named).await, ["Sales Agent", "Sales Manager"]);

    for name in ["Zeta", "EU GmbH", "us Inc"] {
        acme.make_entity(name).await;
    }
    let list = |ask: Ask| async move {
        let request = rpc.caller.request(pb::ListBusinessEntitiesRequest {
            filter: ask.filter,
            page_size: ask.page_size,
            skip: ask.skip,
            order: ask.order,
            page_token: ask.page_token,
            ..Default::default()
        });
        let mut client = rpc.caller.business_entities();
        let answer = client.list_business_entities(request).await?.into_inner();
        let names = answer
            .business_entities
            .into_iter()
            .map(|entity| entity.name);
        Ok((names.collect(), answer.total_size, answer.next_page_token))
    };
    check_list("name", &["EU GmbH", "us Inc", "Zeta"], list).await;
    let handle = text("handle", pb::Operator::Equal, "eu-gmbh");
    let found = list(Ask {
        filter: handle,
        ..Ask::default()
    });
    assert_eq!(found.await.unwrap().0, ["EU GmbH"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sites_are_listed_by_domain_to_who_reads_all_of_them() {
    let world = World::start().await;
    let bolt = world.bare_site("bolt").await;
    for domain in ["acme", "Cart", "dash"] {
        world.bare_site(domain).await;
    }
    let bootstrap = world.caller(BOOTSTRAP);
    let issue = bootstrap.request(pb::IssueCredentialRequest {
        all_sites: true,
        label: "all".to_owned(),
        scopes: vec![pb::Scope::Read.into()],
        ..Default::default()
    });
    let issued = bootstrap
        .credentials()
        .issue_credential(issue)
        .await
        .unwrap();
    let caller = world.caller(&issued.into_inner().token);
    let list = |ask: Ask| {
        let request = caller.request(pb::ListSitesRequest {
            filter: ask.filter,
            page_size: ask.page_size,
            skip: ask.skip,
            order: ask.order,
            page_token: ask.page_token,
        });
        let mut client = caller.sites();
        async move {
            let answer = client.list_sites(request).await?.into_inner();
            let domains = answer.sites.into_iter().map(|site| site.domain).collect();
            Ok((domains, answer.total_size, answer.next_page_token))
        }
    };
    check_list("domain", &["acme", "bolt", "Cart", "dash"], list).await;
    let request = caller.request(pb::ListSitesRequest {
        filter: text("domain", pb::Operator::Equal, "BOLT"),
        ..Default::default()
    });
    let found = caller
        .sites()
        .list_sites(request)
        .await
        .unwrap()
        .into_inner()
        .sites;
    assert_eq!(found, [bolt.rpc.get_site().await]);

    // Nobody who speaks for one site learns of the others, and the bootstrap token reads nothing.
    for token in [&bolt.service_token, BOOTSTRAP] {
        let caller = world.caller(token);
        let request = caller.request(pb::ListSitesRequest::default());
        let outcome = caller.sites().list_sites(request).await;
        assert_eq!(refused(outcome, Code::PermissionDenied).0, "SCOPE_MISSING");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_found_by_label_by_scope_and_by_when_they_end() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let bootstrap = world.caller(BOOTSTRAP);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64;
    let day = 86_400;
    let at = |seconds| Timestamp { seconds, nanos: 0 };
    for all_sites in [false, true] {
        for (label, days) in [("delta", 1), ("beta", 40), ("gamma", 0), ("alpha", 3)] {
            let issue = bootstrap.request(pb::IssueCredentialRequest {
                site: if all_sites { None } else { site("acme") },
                all_sites,
                label: label.to_owned(),
                scopes: vec![pb::Scope::Read.into()],
                expire_time: (days > 0).then(|| at(now + days * day)),
                ..Default::default()
            });
            bootstrap
                .credentials()
                .issue_credential(issue)
                .await
                .unwrap();
        }
        let rpc = Rpc {
            caller: bootstrap.clone(),
            site: if all_sites { None } else { site("acme") },
        };
        let rpc = &rpc;
        let ending = compare(
            "expire_time",
            pb::Operator::Less,
            Value::Moment(at(now + 7 * day)),
        );
        let list = |filter, order| {
            let ask = Ask {
                filter,
                order,
                ..Ask::default()
            };
            async move { credentials(rpc, ask).await.unwrap().0 }
        };
        assert_eq!(
            list(ending, by("expire_time", false)).await,
            ["delta", "alpha"]
        );
        let lasting = Some(pb::Filter {
            node: Some(Node::Not(Box::new(pb::Filter {
                node: Some(Node::Present("expire_time".to_owned())),
            }))),
        });
        let lasting: BTreeSet<String> = list(lasting, None).await.into_iter().collect();
        assert!(lasting.contains("gamma") && !lasting.contains("delta"));
        let reading = text("scopes.name", pb::Operator::Equal, "provision");
        assert_eq!(list(reading, None).await.len(), usize::from(!all_sites));
        if all_sites {
            // The newest first.
            let newest = ["alpha", "gamma", "beta", "delta"];
            check_list("label", &newest, |ask| credentials(rpc, ask)).await;
        }
    }
    // The site's own administrator lists them too, and sees at which revision.
    let request = acme
        .rpc
        .caller
        .request(pb::ListCredentialsRequest::default());
    let mut client = acme.rpc.caller.credentials();
    let answer = client
        .list_credentials(request)
        .await
        .map(Response::into_inner);
    let answer = answer.unwrap();
    assert_eq!(answer.total_size, answer.credentials.len() as i64);
    assert_eq!(answer.revision, acme.rpc.get_site().await.revision);
}
