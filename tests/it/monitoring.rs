//! What watches over Roster: each alert has its runbook, and rules and dashboards ask for metrics that there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use identity_tests::rules::{Asked, asked, dashboards, files, repository, rules};
use serde_json::Value;

/// What Prometheus itself adds: labels of a target, and metrics about them.
const TARGET: [&str; 3] = ["namespace", "job", "instance"];
const OF_PROMETHEUS: [&str; 2] = ["up", "ALERTS"];

/// The metrics of docs/metrics.md, which another test holds to the processes: their labels by their name.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let page = fs::read_to_string(repository().join("docs/metrics.md")).unwrap();
    let mut metrics = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        if cells.len() < 4 && !line.contains("| |") {
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
        let quoted = |cell: &str| -> BTreeSet<String> {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect()
        };
        let (name, labels) = (quoted(cells[0]), quoted(cells[2]));
        let name = name.into_iter().next().unwrap();
        match cells[1].trim() {
            "histogram" => {
                for suffix in ["_bucket", "_sum", "_count"] {
                    let mut labels = labels.clone();
                    labels.insert("le".to_owned());
                    metrics.insert(format!("{name}{suffix}"), labels);
                }
            }
            _ => {
                metrics.insert(name, labels);
            }
        }
    }
    metrics
}

/// The jobs whose series a metric has, as a selector writes them, by the section of docs/metrics.md that it stands in.
fn job_of(metric: &str) -> String {
    let page = fs::read_to_string(repository().join("docs/metrics.md")).unwrap();
    let family = ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|suffix| metric.strip_suffix(suffix))
        .filter(|family| page.contains(&format!("\n| `{family}` |")))
        .unwrap_or(metric);
    let Some((before, _)) = page.split_once(&format!("\n| `{family}` |")) else {
        return "facade|identity".to_owned();
    };
    match before.rsplit_once("\n## ").unwrap().1.lines().next() {
        Some("Both") => "facade|identity".to_owned(),
        Some(section) => section.to_owned(),
        None => unreachable!(),
    }
}

/// Asserts that each selector takes Roster's own series alone. `http_*`, `rpc_*`, `db_*` and `up` are everybody's names, and
/// under the same Prometheus there are others.
#[track_caller]
fn takes_its_own(asked: &Asked, place: &str) {
    for (metric, job) in &asked.jobs {
        // What our own rules record has ours in it, and an alert its name.
        if metric.contains(':') || metric == "ALERTS" {
            continue;
        }
        let whose = job_of(metric);
        let one_of = whose.split('|').any(|one| one == job);
        assert!(
            *job == whose || one_of,
            "{place}: {metric} is asked for without job of {whose}"
        );
    }
}

/// Asserts that there is everything that is asked for.
#[track_caller]
fn exists(asked: &Asked, place: &str) {
    let documented = documented();
    let recorded: BTreeSet<String> = rules().into_iter().map(|rule| rule.record).collect();
    let mut labels: BTreeSet<&str> = TARGET.into();
    for metric in &asked.metrics {
        if let Some(known) = documented.get(metric) {
            labels.extend(known.iter().map(String::as_str));
        } else if recorded.contains(metric) {
            labels.insert("objective");
        } else {
            assert!(
                OF_PROMETHEUS.contains(&metric.as_str()),
                "{place}: no metric {metric}"
            );
            labels.extend(["alertname", "alertstate"]);
        }
    }
    let values = label_values();
    for (label, value) in &asked.labels {
        assert!(labels.contains(label.as_str()), "{place}: no label {label}");
        if let Some(values) = values.get(label) {
            let known = value.is_empty() || values.contains(value);
            assert!(known, "{place}: no {label} is {value}");
        }
    }
}

/// The labels whose values can be told beforehand, with them, from the documentation of the metrics.
fn label_values() -> BTreeMap<String, BTreeSet<String>> {
    let page = fs::read_to_string(repository().join("docs/metrics.md")).unwrap();
    let (_, table) = page.split_once("\n## The values of labels\n").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let values = rows.map(|row| {
        let mut words = row.split('`').skip(1).step_by(2).map(str::to_owned);
        (words.next().unwrap(), words.collect())
    });
    values.collect()
}

/// What an alert asks for is seen to come about in `alerts.rs`, where each has its fault.
#[test]
fn every_alert_has_a_fault() {
    let faults = include_str!("alerts.rs");
    for rule in rules().iter().filter(|rule| !rule.alert.is_empty()) {
        let name = format!("\"{}\"", rule.alert);
        assert!(faults.contains(&name), "no fault in alerts.rs for {name}");
    }
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let (mut alerts, mut severities) = (BTreeSet::new(), BTreeSet::new());
    for rule in rules().iter().filter(|rule| !rule.alert.is_empty()) {
        let name = &rule.alert;
        let severity = rule.settings["severity"].clone();
        assert!(["page", "ticket"].contains(&severity.as_str()), "{name}");
        // One may be both, first the one and then the other.
        assert!(severities.insert((name.clone(), severity)), "{name} twice");
        alerts.insert(name.clone());
        assert!(name.starts_with("Roster"), "{name}");
        assert!(
            rule.settings.contains_key("for") && rule.settings.contains_key("summary"),
            "{name}"
        );
        let path = format!("docs/runbooks/{name}.md");
        assert_eq!(rule.settings["runbook_url"], path);
        let page = fs::read_to_string(repository().join(&path)).unwrap_or_default();
        assert!(page.starts_with(&format!("# {name}\n")), "{path}");
        for part in [
            "\n## What it means\n",
            "\n## How to look\n",
            "\n## What to do\n",
        ] {
            let (_, text) = page
                .split_once(part)
                .unwrap_or_else(|| panic!("{path}: {part}"));
            assert!(text.trim().len() > 80, "{path}: {part}");
        }
    }
    assert!(alerts.len() > 10);
    let pages: BTreeSet<String> = files("docs/runbooks", "md")
        .iter()
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != "README")
        .collect();
    assert_eq!(pages, alerts);
    // The list of them says which wake somebody.
    let list = fs::read_to_string(repository().join("docs/runbooks/README.md")).unwrap();
    for name in &alerts {
        let wakes = |severity: &str| severities.contains(&(name.clone(), severity.to_owned()));
        let wakes = match (wakes("page"), wakes("ticket")) {
            (true, true) => "at last",
            (true, false) => "yes",
            _ => "no",
        };
        let row = format!("| [{name}]({name}.md) | {wakes} |");
        assert!(list.contains(&row), "no {row}");
    }
}

#[test]
fn rules_ask_for_metrics_and_labels_that_there_are() {
    let all = rules();
    assert!(all.len() > 30);
    for rule in &all {
        let asked = asked(&rule.expr);
        takes_its_own(&asked, &format!("{}{}", rule.alert, rule.record));
        assert!(
            !asked.metrics.is_empty() || rule.expr.starts_with("vector("),
            "{rule:?}"
        );
        exists(&asked, &format!("{}{}", rule.alert, rule.record));
    }
}

#[test]
fn runbooks_and_objectives_ask_for_metrics_that_there_are() {
    let mut pages = files("docs/runbooks", "md");
    pages.push(repository().join("docs/objectives.md"));
    let mut count = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for block in text.split("```promql\n").skip(1) {
            let asked = asked(block.split("```").next().unwrap());
            exists(&asked, &page.display().to_string());
            takes_its_own(&asked, &page.display().to_string());
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn the_page_of_objectives_is_the_one_that_the_rules_keep() {
    let page = fs::read_to_string(repository().join("docs/objectives.md")).unwrap();
    let mut objectives = BTreeSet::new();
    for rule in rules()
        .iter()
        .filter(|rule| rule.record == "roster:objective_budget:ratio")
    {
        let name = rule.settings["objective"].clone();
        let budget: f64 = rule
            .expr
            .trim_start_matches("vector(")
            .trim_end_matches(')')
            .parse()
            .unwrap();
        let percent = format!("{} %", (1000.0 - 1000.0 * budget).round() / 10.0);
        let row = page
            .lines()
            .find(|line| line.contains(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("{name} is not in docs/objectives.md"));
        assert!(row.contains(&percent), "{name}: {percent}");
        objectives.insert(name);
    }
    let listed = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(listed, objectives.len());
    // Of each it is counted how many there are and how many miss it; the spans that the alerts look at are made of that.
    for record in [
        "roster:objective_requests:rate5m",
        "roster:objective_missed:rate5m",
    ] {
        let measured: BTreeSet<String> = rules()
            .into_iter()
            .filter(|rule| rule.record == record)
            .map(|rule| rule.settings["objective"].clone())
            .collect();
        assert_eq!(measured, objectives, "{record}");
    }
    for rule in rules()
        .iter()
        .filter(|rule| rule.alert.starts_with("RosterBudget"))
    {
        let row = page
            .lines()
            .find(|line| line.contains(&format!("[{}]", rule.alert)));
        let row = row.unwrap_or_else(|| panic!("{} is not in docs/objectives.md", rule.alert));
        for (span, words) in [
            ("ratio_rate5m", "5 m"),
            ("ratio_rate30m", "30 m"),
            ("ratio_rate1h", "1 h"),
            ("ratio_rate6h", "6 h"),
            ("ratio_rate3d", "3 d"),
        ] {
            let looks = rule.expr.contains(span);
            assert_eq!(row.contains(words), looks, "{}: {span}", rule.alert);
        }
    }
}

#[test]
#[should_panic(expected = "http_server_request_duration_seconds_count is asked for without job")]
fn a_selector_of_anybodys_series_is_refused() {
    let expr = "rate(http_server_request_duration_seconds_count{http_request_method=\"GET\"}[5m])";
    takes_its_own(&asked(expr), "here");
}

#[test]
#[should_panic(expected = "db_client_connection_max is asked for without job of identity")]
fn a_selector_of_the_other_process_is_refused() {
    takes_its_own(&asked("db_client_connection_max{job=\"facade\"}"), "here");
}

#[test]
fn dashboards_ask_for_metrics_that_there_are_and_show_all_of_them() {
    let mut shown = BTreeSet::new();
    let (mut uids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    for (name, dashboard) in dashboards() {
        assert!(uids.insert(dashboard["uid"].as_str().unwrap().to_owned()));
        assert!(titles.insert(dashboard["title"].as_str().unwrap().to_owned()));
        let panels = dashboard["panels"].as_array().unwrap();
        let ids: BTreeSet<i64> = panels
            .iter()
            .map(|panel| panel["id"].as_i64().unwrap())
            .collect();
        assert_eq!(ids.len(), panels.len(), "{name}");
        for panel in panels.iter().filter(|panel| panel["type"] != "row") {
            let place = format!("{name}: {}", panel["title"]);
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{place}");
            for target in panel["targets"].as_array().unwrap() {
                let expr = target["expr"].as_str().unwrap();
                let asked = asked(expr);
                exists(&asked, &place);
                takes_its_own(&asked, &place);
                // A point of a histogram leads to its trace.
                assert_eq!(
                    target["exemplar"],
                    Value::Bool(expr.contains("_bucket")),
                    "{place}"
                );
                shown.extend(asked.metrics);
            }
        }
    }
    // What is counted and nobody sees was counted for nothing.
    for metric in documented().keys() {
        let family = metric
            .trim_end_matches("_bucket")
            .trim_end_matches("_count")
            .trim_end_matches("_sum");
        let of_family = shown.iter().any(|shown| shown.starts_with(family));
        assert!(of_family, "no dashboard shows {metric}");
    }
}

#[test]
fn promtool_is_asked_about_every_alert_with_series_that_there_are() {
    let (mut fires, mut rests) = (BTreeSet::new(), BTreeSet::new());
    for path in files("tests/promtool", "yaml") {
        let text = fs::read_to_string(&path).unwrap();
        for series in text.split("series: '").skip(1) {
            exists(
                &asked(series.split('\'').next().unwrap()),
                &path.display().to_string(),
            );
        }
        for check in text.split("alertname: ").skip(1) {
            let mut lines = check.lines();
            let alert = lines.next().unwrap().to_owned();
            let rest = lines.next().unwrap().trim();
            match rest {
                "exp_alerts: []" => rests.insert(alert),
                "exp_alerts:" => fires.insert(alert),
                other => panic!("{other}"),
            };
        }
    }
    let alerts: BTreeSet<String> = rules()
        .into_iter()
        .map(|rule| rule.alert)
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(fires, alerts, "each is shown to fire");
    assert_eq!(rests, alerts, "and to rest");
}

/// The keys below a top-level section of a YAML file that is laid out as ours are.
fn keys(yaml: &str, section: &str) -> BTreeSet<String> {
    let (_, below) = yaml.split_once(&format!("\n{section}:\n")).unwrap();
    below
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with(' '))
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
        .filter(|key| !key.starts_with([' ', '#']))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_collector_is_whole_and_waits_until_a_request_has_ended() {
    let config = repository().join("k8s/monitoring/collector/config.yaml");
    let config = fs::read_to_string(config).unwrap();
    let (_, pipeline) = config.split_once("    traces:\n").unwrap();
    for section in ["receivers", "processors", "exporters"] {
        let (_, used) = pipeline.split_once(&format!("{section}: [")).unwrap();
        let used = used.split(']').next().unwrap().split(", ");
        let used: BTreeSet<String> = used.map(str::to_owned).collect();
        assert_eq!(used, keys(&config, section), "{section}");
    }
    // A request may take 58 seconds at the facade; a test of traces sees that the attribute is there.
    assert!(config.contains("decision_wait: 70s"));
    for policy in [
        "[ERROR]",
        "{ key: roster.access_changed, value: true }",
        "threshold_ms: 1000",
        // The bound of their objective.
        "{ threshold_ms: 50 }",
        "identity.v1.AccessService/CheckAccess",
    ] {
        assert!(config.contains(policy), "{policy}");
    }
    // The port is the one that the services send to.
    let service = repository().join("k8s/monitoring/collector/service.yaml");
    assert!(fs::read_to_string(service).unwrap().contains("port: 4317"));
    assert!(config.contains("endpoint: 0.0.0.0:4317"));
}
