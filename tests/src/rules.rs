//! The rules and dashboards of `k8s/monitoring`, and which metrics their PromQL asks for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files of a folder of the repository with this extension, in order.
pub fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository().join(folder)).unwrap();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// A rule that alerts, or that records.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// The alert's name; empty for one that records.
    pub alert: String,
    /// What it records as; empty for an alert.
    pub record: String,
    /// The PromQL.
    pub expr: String,
    /// Its other settings: `for`, `severity`, `summary`, `runbook_url`, ..
    pub settings: BTreeMap<String, String>,
}

/// All rules.
pub fn rules() -> Vec<Rule> {
    let files = files("k8s/monitoring/rules", "yaml");
    let texts = files.iter().map(|path| fs::read_to_string(path).unwrap());
    texts
        .filter(|text| text.contains("kind: PrometheusRule"))
        .flat_map(|text| read_rules(&text))
        .collect()
}

/// Reads the rules of one file, which is laid out as ours are; promtool reads them as YAML.
fn read_rules(text: &str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut block = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        if let Some(depth) = block {
            if indent > depth {
                let rule = rules.last_mut().unwrap();
                rule.expr.push_str(line.trim_start());
                rule.expr.push('\n');
                continue;
            }
            block = None;
        }
        let line = line.trim_start();
        let Some((key, value)) = line.trim_start_matches("- ").split_once(": ") else {
            continue;
        };
        let value = value.trim_matches('"').to_owned();
        match (key, rules.last_mut()) {
            ("alert", _) if line.starts_with("- ") => rules.push(Rule {
                alert: value,
                ..Rule::default()
            }),
            ("record", _) if line.starts_with("- ") => rules.push(Rule {
                record: value,
                ..Rule::default()
            }),
            ("expr", Some(_)) if value == "|-" => block = Some(indent),
            ("expr", Some(rule)) => rule.expr = value,
            (_, Some(rule)) => {
                rule.settings.insert(key.to_owned(), value);
            }
            _ => {}
        }
    }
    rules
}

/// The dashboards, by their file's name.
pub fn dashboards() -> Vec<(String, Value)> {
    files("k8s/monitoring/dashboards", "json")
        .iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(path).unwrap();
            (name, serde_json::from_str(&text).unwrap())
        })
        .collect()
}

/// What a piece of PromQL asks for: metrics, and the labels that it names anywhere.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Asked {
    /// The metrics.
    pub metrics: BTreeSet<String>,
    /// The labels, and the values that they are compared with by `=` and `!=`.
    pub labels: BTreeSet<(String, String)>,
    /// Each metric with the job whose series it selects, by `=` or `=~`; empty where it takes anybody's.
    pub jobs: BTreeSet<(String, String)>,
}

/// Reads what a piece of PromQL asks for.
pub fn asked(expr: &str) -> Asked {
    const WORDS: [&str; 9] = [
        "and",
        "or",
        "unless",
        "bool",
        "offset",
        "inf",
        "nan",
        "ignoring",
        "group_left",
    ];
    const LISTS: [&str; 4] = ["by", "without", "on", "ignoring"];
    let mut asked = Asked::default();
    let mut rest = expr;
    let mut list = false;
    while let Some(first) = rest.chars().next() {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        if first == '{' {
            let (_, end) = matchers(rest, &mut asked);
            rest = &rest[end..];
        } else if first == '"' {
            rest = &rest[rest[1..].find('"').unwrap() + 2..];
        } else if first == '[' {
            rest = &rest[rest.find(']').unwrap() + 1..];
        } else if first.is_ascii_digit() {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
        } else if is_name(first) {
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            let next = after.trim_start();
            // A function, or an aggregation whose labels come first.
            let called = ["(", "by ", "without "]
                .iter()
                .any(|word| next.starts_with(word));
            if list {
                asked.labels.insert((name.to_owned(), String::new()));
            } else if LISTS.contains(&name) && called {
                list = true;
            } else if !called && !WORDS.contains(&name) {
                asked.metrics.insert(name.to_owned());
                let (job, end) = match after.starts_with('{') {
                    true => matchers(after, &mut asked),
                    false => (String::new(), 0),
                };
                asked.jobs.insert((name.to_owned(), job));
                rest = &after[end..];
                continue;
            }
            rest = after;
        } else {
            list &= first != ')';
            rest = &rest[first.len_utf8()..];
        }
    }
    asked
}

/// Reads `{a="b",c=~"d"}`; gives the job that it selects, and where it ends.
fn matchers(text: &str, asked: &mut Asked) -> (String, usize) {
    let mut at = 1;
    let mut job = String::new();
    loop {
        let rest = &text[at..];
        if let Some(after) = rest.strip_prefix('}') {
            return (job, text.len() - after.len());
        }
        let start = rest.find(['=', '!']).unwrap();
        let name = rest[..start].trim_matches([',', ' ']);
        let (operator, after) = rest[start..].split_once('"').unwrap();
        let mut escaped = false;
        let end = after
            .find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            })
            .unwrap();
        let value = &after[..end];
        if name == "job" && operator.starts_with('=') {
            value.clone_into(&mut job);
        }
        // Of a pattern its alternatives, where it is made of words alone.
        let is_words = value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '|');
        let values = match operator.ends_with('~') {
            false => vec![value],
            true if is_words => value.split('|').collect(),
            true => vec![""],
        };
        for value in values {
            asked.labels.insert((name.to_owned(), value.to_owned()));
        }
        at = text.len() - after.len() + end + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promql_is_asked_for_its_metrics_and_labels() {
        let of = |expr: &str| {
            let asked = asked(expr);
            let labels: Vec<String> = asked
                .labels
                .into_iter()
                .map(|(label, value)| format!("{label}={value}"))
                .collect();
            (
                asked.metrics.into_iter().collect::<Vec<_>>().join(" "),
                labels.join(" "),
            )
        };
        assert_eq!(
            of(
                "sum by (le, b) (rate(a_bucket{v=~\"s|t_u\",x=\"y\",z=~\"w\\\"}|(\"}[5m])) / on (c) 14.4 * (d or vector(0))"
            ),
            (
                "a_bucket d".to_owned(),
                "b= c= le= v=s v=t_u x=y z=".to_owned()
            )
        );
        assert_eq!(
            of("label_replace(a, \"b\", \"c\", \"\", \"\")"),
            ("a".to_owned(), String::new())
        );
        assert_eq!(
            of("time() - max(a:b:c{l!=\"\"}) > 1e3\nand on (job)\ne"),
            ("a:b:c e".to_owned(), "job= l=".to_owned())
        );
    }

    #[test]
    fn a_selector_says_whose_series_it_takes() {
        let jobs: Vec<(String, String)> = asked(
            "rate(a{x=\"y\",job=\"facade\"}[5m]) / on (job) sum by (job) (b{job!=\"c\"}) + d{job=~\"e|f\"} > g",
        )
        .jobs
        .into_iter()
        .collect();
        let jobs: Vec<String> = jobs.iter().map(|(a, b)| format!("{a}={b}")).collect();
        assert_eq!(jobs, ["a=facade", "b=", "d=e|f", "g="]);
    }

    #[test]
    fn rules_are_read_with_their_settings() {
        let text = "spec:\n  groups:\n    - name: x\n      rules:\n        - alert: A\n          expr: |-\n            a\n              > 1\n          for: 2m\n          annotations:\n            runbook_url: docs/A.md\n        - record: b:c\n          expr: vector(1)\n";
        let rules = read_rules(text);
        assert_eq!(
            (rules[0].alert.as_str(), rules[0].expr.as_str()),
            ("A", "a\n> 1\n")
        );
        assert_eq!(rules[0].settings["for"], "2m");
        assert_eq!(rules[0].settings["runbook_url"], "docs/A.md");
        assert_eq!(
            (rules[1].record.as_str(), rules[1].expr.as_str()),
            ("b:c", "vector(1)")
        );
    }
}
