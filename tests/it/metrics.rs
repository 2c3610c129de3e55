//! The metrics of both processes: named and labelled as OpenMetrics and OpenTelemetry want it, as docs/metrics.md
//! says, and without a series that a caller could make up.

use std::collections::{BTreeMap, BTreeSet};

use identity_proto::v1 as pb;
use identity_tests::{
    certificates::Authority,
    metrics::Exposed,
    scim,
    watch::watch_from_now,
    world::{Settings, Site, World},
    writes::{new_trace_id, traced},
};
use reqwest::Method;
use serde_json::json;
use tonic::{Code, Request, client::Grpc, codegen::http::uri::PathAndQuery};
use uuid::Uuid;

const PAGE: &str = include_str!("../../docs/metrics.md");

/// A sample's name and labels, and the value that is to be seen.
type Counted<'a> = (&'a str, &'a [(&'a str, &'a str)], i64);

/// Lets everything happen that is counted; `salt` is in whatever a caller may make up.
async fn everything(world: &World, acme: &Site, salt: &str) {
    let scim = &acme.scim;
    let (token, _) = world.issue("acme", &[pb::Scope::Watch]).await;
    let mut watch = watch_from_now(&world.caller(&token)).await;
    let member = scim.make_user(&format!("{salt}@acme.example")).await;
    let groups = "/Groups";
    for name in [
        format!("CB/acme/ROLE/{salt}"),
        format!("CB/{salt}/ROLE/Analyst"),
        salt.to_owned(),
        "CB/acme/ROLE/Owner".to_owned(),
    ] {
        scim.post(groups, &scim::group(&name, &[]))
            .await
            .error(400, "invalidValue");
    }
    let group = scim.make_group("CB/acme/ROLE/Analyst", &[&member]).await;
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": Uuid::new_v4() }] }]);
    scim.patch(&format!("/Groups/{group}"), add).await.is(204);
    scim.delete(&format!("/Groups/{group}")).await.is(204);
    assert_eq!(watch.numbers(3).await.len(), 3);
    let operations = json!([{ "method": "DELETE", "path": format!("/Users/{member}") }]);
    let bulk = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations,
    });
    scim.post("/Bulk", &bulk).await.is(200);
    scim.get(&format!("/Users/{salt}")).await.error(404, "");
    scim.get(&format!("/{salt}/{salt}")).await.error(404, "");
    let odd = Method::from_bytes(salt.to_ascii_uppercase().as_bytes()).unwrap();
    scim::Scim::send(scim.request(odd, "/Users")).await;
    world
        .scim(salt, &format!("Bearer {salt}"))
        .get("/Users")
        .await
        .is(401);
    // A method that is none, over gRPC.
    let path = PathAndQuery::try_from(format!("/identity.v1.{salt}/{salt}")).unwrap();
    let mut grpc = Grpc::new(acme.rpc.caller.channel());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let error = grpc.unary(Request::new(()), path, codec).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
}

/// The rows of a page's tables with so many cells, without their frame.
fn rows(page: &str, cells: usize) -> Vec<Vec<String>> {
    page.lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let row = line.trim_matches('|').split('|');
            row.map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
        })
        .filter(|row| row.len() == cells)
        .collect()
}

fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Looks at every family as a linter does. Gives them by the name that Prometheus queries.
fn lint(exposed: &Exposed) -> BTreeMap<String, (String, String, BTreeSet<String>)> {
    let mut found = BTreeMap::new();
    for (name, family) in &exposed.families {
        let good = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_lowercase())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
                && !name.contains("__")
        };
        assert!(good(name), "{name}");
        assert!(
            family.help.ends_with('.') && family.help.len() > 10,
            "{name}: {}",
            family.help
        );
        for word in [
            "milli",
            "_ms",
            "minutes",
            "hours",
            "counter",
            "gauge",
            "histogram",
        ] {
            assert!(!name.contains(word), "{name}");
        }
        let query = match family.kind.as_str() {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            "gauge" => {
                assert!(!name.ends_with("_total"), "{name}");
                name.clone()
            }
            "histogram" => {
                assert_eq!(family.unit, "seconds", "{name}");
                assert!(name.ends_with("_seconds"), "{name}");
                name.clone()
            }
            other => panic!("{name} is a {other}"),
        };
        let mut labels = BTreeSet::new();
        for sample in &family.samples {
            assert!(sample.name.starts_with(&query), "{}", sample.name);
            assert!(sample.value.is_finite(), "{}", sample.name);
            labels.extend(sample.labels.keys().filter(|label| *label != "le").cloned());
            assert!(
                sample.labels.keys().all(|label| good(label)),
                "{name} {labels:?}"
            );
        }
        let help = family.help.trim_end_matches('.').to_owned();
        found.insert(query, (family.kind.clone(), help, labels));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_labels_are_good_bounded_and_as_the_page_says() {
    let world = World::with(Settings {
        identity: vec![("ROSTER_CENSUS_EVERY_MS", "200".to_owned())],
        ..Settings::default()
    })
    .await;
    let acme = world.acme().await;
    everything(&world, &acme, "salt1").await;
    // Another time with all else that can be made up: not one series more.
    let both = async || {
        (
            Exposed::of(&world.facade).await,
            Exposed::of(&world.identity).await,
        )
    };
    let before = both().await;
    everything(&world, &acme, "pepper").await;
    let after = both().await;
    for (before, after) in [(&before.0, &after.0), (&before.1, &after.1)] {
        let new: Vec<String> = after
            .series()
            .difference(&before.series())
            .cloned()
            .collect();
        // A statement that lost a race, or was told its time anew, may be the first of its kind.
        let new: Vec<&String> = new
            .iter()
            .filter(|series| !series.contains("statement_timeout") && !series.contains("contended"))
            .collect();
        assert_eq!(new, Vec::<&String>::new());
    }

    // Identity is away for a moment, which is counted at the facade.
    world.identity.stop();
    acme.scim.get("/Users?count=1").await.error(429, "");
    let facade = Exposed::of(&world.facade).await;
    assert!(
        facade.sum(
            "scim_requests_total",
            &[("fault", "service"), ("outcome", "UNAVAILABLE")]
        ) > 0.5
    );

    let mut documented = BTreeMap::new();
    for row in rows(PAGE, 4) {
        let [name, kind, labels, help] = row.try_into().unwrap();
        let name = name.trim_matches('`').to_owned();
        documented.insert(name, (kind, help, quoted(&labels)));
    }
    // One that speaks TLS has a certificate.
    let folder = tempfile::tempdir().unwrap();
    let secured = world
        .identity_over_tls(&Authority::new().server(), None, folder.path())
        .await;
    let secured = Exposed::of(&secured).await;
    let mut found = lint(&facade);
    found.extend(lint(&secured));
    found.extend(lint(&after.1));
    for (name, (kind, help, labels)) in &found {
        let (known_kind, known_help, known_labels) = documented
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not in docs/metrics.md"));
        assert_eq!((kind, help), (known_kind, known_help), "{name}");
        assert!(labels.is_subset(known_labels), "{name}: {labels:?}");
    }
    let names: BTreeSet<&String> = found.keys().collect();
    assert_eq!(
        names,
        documented.keys().collect(),
        "all of the page is there"
    );

    // The values of labels are those that the page lists.
    let values: BTreeMap<String, BTreeSet<String>> = rows(PAGE, 2)
        .into_iter()
        .map(|row| (row[0].trim_matches('`').to_owned(), quoted(&row[1])))
        .collect();
    let samples = facade.samples().chain(secured.samples());
    for sample in samples.chain(after.1.samples()) {
        for (label, value) in &sample.labels {
            let good = match label.as_str() {
                "http_route" => value == "unmatched" || value.starts_with("/{domain}/scim"),
                "rpc_method" => value == "_OTHER" || value.starts_with("identity.v1."),
                "http_response_status_code" => value.parse::<u16>().is_ok(),
                "le" => value == "+Inf" || value.parse::<f64>().is_ok(),
                "service_version" => value.starts_with(|c: char| c.is_ascii_digit()),
                "vcs_ref_head_revision" => value == "unknown" || value.len() >= 7,
                "db_query_summary" => value.len() < 40,
                "outcome" | "error_type" | "rpc_response_status_code" => {
                    value.len() < 40
                        && value
                            .bytes()
                            .all(|b| b.is_ascii_alphanumeric() || b == b'_')
                }
                _ => values.get(label).is_some_and(|known| known.contains(value)),
            };
            assert!(good, "{}: {label}={value:?}", sample.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_calls_and_statements_are_counted_with_exemplars_that_name_their_trace() {
    let world = World::start().await;
    let acme = world.acme().await;
    let made = acme
        .scim
        .post("/Users", &scim::user("ann@acme.example"))
        .await
        .is(201);
    let (facade, identity) = (
        Exposed::of(&world.facade).await,
        Exposed::of(&world.identity).await,
    );
    let method = ("rpc_method", "identity.v1.MemberService/CreateMember");
    for (exposed, name, labels) in [
        (
            &facade,
            "http_server_request_duration_seconds",
            vec![
                ("http_request_method", "POST"),
                ("http_route", "/{domain}/scim/v2/Users"),
                ("http_response_status_code", "201"),
                ("error_type", ""),
            ],
        ),
        (
            &facade,
            "rpc_client_call_duration_seconds",
            vec![method, ("rpc_response_status_code", "OK")],
        ),
        (
            &identity,
            "rpc_server_call_duration_seconds",
            vec![method, ("rpc_response_status_code", "OK")],
        ),
        (
            &identity,
            "db_client_operation_duration_seconds",
            vec![
                ("db_query_summary", "insert member"),
                ("db_operation_name", "INSERT"),
            ],
        ),
    ] {
        let (count, sum) = (format!("{name}_count"), format!("{name}_sum"));
        assert!(exposed.sum(&count, &labels) > 0.5, "{name} {labels:?}");
        assert!(exposed.sum(&sum, &labels) > 0.0, "{name}");
        let bucket = exposed.samples().find(|sample| {
            sample.name.ends_with("_bucket")
                && sample.name.starts_with(name)
                && sample
                    .exemplar
                    .get("trace_id")
                    .is_some_and(|id| id == made.trace_id())
                && labels.iter().all(|(label, value)| {
                    sample.labels.get(*label).map_or("", String::as_str) == *value
                })
        });
        let exemplar = &bucket
            .unwrap_or_else(|| panic!("{name} {labels:?}"))
            .exemplar;
        assert_eq!(exemplar["span_id"].len(), 16);
    }
    // What a caller does not sample is counted, and names no trace.
    let trace_id = new_trace_id();
    let request = acme.rpc.caller.request(pb::GetSiteRequest::default());
    let mut request = traced(request, &trace_id);
    let unsampled = format!("00-{trace_id}-00f067aa0ba902b7-00");
    request
        .metadata_mut()
        .insert("traceparent", unsampled.parse().unwrap());
    acme.rpc.caller.sites().get_site(request).await.unwrap();
    let exposed = Exposed::of(&world.identity).await;
    let of_call = [("rpc_method", "identity.v1.SiteService/GetSite")];
    assert!(exposed.sum("rpc_server_call_duration_seconds_count", &of_call) > 0.5);
    let named = exposed.samples().any(|sample| {
        sample
            .exemplar
            .get("trace_id")
            .is_some_and(|id| *id == trace_id)
    });
    assert!(!named);
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_of_provisioning_are_counted_by_kind() {
    let world = World::start().await;
    let acme = world.acme().await;
    let ann = acme.scim.make_user("ann@acme.example").await;
    acme.scim
        .post("/Users", &scim::user("ann@acme.example"))
        .await
        .error(409, "uniqueness");
    acme.scim
        .post("/Groups", &scim::group("CB/acme/ROLE/Analist", &[]))
        .await
        .error(400, "invalidValue");
    acme.scim
        .post(
            "/Groups",
            &scim::group("CB/acme/ROLE/Analyst", &[&ann, "x", "y"]),
        )
        .await
        .is(201);
    world
        .scim("acme", "Bearer roster_x")
        .get("/Users")
        .await
        .is(401);
    let facade = Exposed::of(&world.facade).await;
    let ended = |resource, operation, outcome, fault| {
        let labels = [
            ("resource", resource),
            ("operation", operation),
            ("outcome", outcome),
            ("fault", fault),
        ];
        facade.sum("scim_requests_total", &labels) as i64
    };
    assert_eq!(ended("user", "create", "ok", "none"), 1);
    assert_eq!(ended("user", "create", "USER_NAME_TAKEN", "client"), 1);
    assert_eq!(ended("group", "create", "TARGET_UNKNOWN", "client"), 1);
    assert_eq!(ended("group", "create", "ok", "none"), 1);
    assert_eq!(ended("user", "list", "TOKEN_INVALID", "client"), 1);
    assert_eq!(facade.sum("scim_unknown_members_total", &[]) as i64, 2);
    let unknown = [("cause", "unknown")];
    assert_eq!(
        facade.sum("scim_names_not_understood_total", &unknown) as i64,
        1
    );
    let identity = Exposed::of(&world.identity).await;
    let malformed = [("cause", "malformed")];
    assert_eq!(
        identity.sum("identity_tokens_refused_total", &malformed) as i64,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sites_are_counted_by_their_providers_last_contact_and_credentials_by_their_end() {
    let world = World::with(Settings {
        identity: vec![
            ("ROSTER_CENSUS_EVERY_MS", "100".to_owned()),
            ("ROSTER_SILENT_AFTER_HOURS", "48".to_owned()),
        ],
        ..Settings::default()
    })
    .await;
    let mut sites = Vec::new();
    for domain in ["acme", "bolt", "core", "dome", "edge"] {
        sites.push(world.bare_site(domain).await);
    }
    let used = |domain: &str, ago: &str| {
        world.database.execute(&format!(
            "UPDATE credentials SET last_used_at = clock_timestamp() - interval '{ago}' \
             WHERE site_id = (SELECT site_id FROM sites WHERE domain = '{domain}') AND 'provision' = ANY(scopes)"
        ));
    };
    for (domain, ago) in [
        ("acme", "1 minute"),
        ("bolt", "3 hours"),
        ("core", "3 days"),
        ("dome", "30 days"),
    ] {
        used(domain, ago);
    }
    let counted = async |expected: &[Counted<'_>]| {
        let mut seen = Vec::new();
        for _ in 0..100 {
            let exposed = Exposed::of(&world.identity).await;
            seen = expected
                .iter()
                .map(|(name, labels, _)| exposed.sum(name, labels) as i64)
                .collect();
            if seen
                .iter()
                .zip(expected)
                .all(|(seen, (.., value))| seen == value)
            {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{seen:?} and not {expected:?}");
    };
    counted(&[
        ("identity_sites", &[("last_contact", "hour")], 1),
        ("identity_sites", &[("last_contact", "day")], 1),
        ("identity_sites", &[("last_contact", "week")], 1),
        ("identity_sites", &[("last_contact", "longer")], 1),
        ("identity_sites", &[("last_contact", "never")], 1),
        ("identity_sites_silent", &[], 2),
        ("identity_credentials_expiring", &[("within", "30d")], 0),
    ])
    .await;
    // The log names them; a site whose token was revoked is not expected to call.
    let log = world.log();
    assert!(
        log.contains("silent_sites=core,dome") || log.contains("silent_sites=\"core,dome\""),
        "{log}"
    );
    world.database.execute(
        "UPDATE credentials SET revoked_at = clock_timestamp() \
         WHERE site_id = (SELECT site_id FROM sites WHERE domain = 'dome')",
    );
    counted(&[("identity_sites_silent", &[], 1)]).await;

    let expires = |domain: &str, left: &str| {
        world.database.execute(&format!(
            "UPDATE credentials SET expires_at = clock_timestamp() + interval '{left}' \
             WHERE site_id = (SELECT site_id FROM sites WHERE domain = '{domain}') AND 'provision' = ANY(scopes)"
        ));
    };
    expires("acme", "20 days");
    expires("bolt", "5 days");
    // Never used: nobody would miss it.
    expires("edge", "5 days");
    let (week, month) = ([("within", "7d")], [("within", "30d")]);
    counted(&[
        ("identity_credentials_expiring", &week, 1),
        ("identity_credentials_expiring", &month, 2),
    ])
    .await;
    // A newer one that has been used since takes its place.
    let (token, _) = world.issue("bolt", &[pb::Scope::Provision]).await;
    counted(&[("identity_credentials_expiring", &week, 1)]).await;
    world
        .scim("bolt", &format!("Bearer {token}"))
        .get("/Users")
        .await
        .is(200);
    counted(&[
        ("identity_credentials_expiring", &week, 0),
        ("identity_credentials_expiring", &month, 1),
    ])
    .await;
    // One whose token has expired is shut out, whatever it sends: that is silence, and no departure.
    counted(&[("identity_sites_silent", &[], 1)]).await;
    used("edge", "3 days");
    expires("edge", "-1 second");
    counted(&[("identity_sites_silent", &[], 2)]).await;
    drop(sites);
}
