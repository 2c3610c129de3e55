//! What a process says on `/metrics`, read as Prometheus reads it.

use std::collections::{BTreeMap, BTreeSet};

use roster_stack::services::Service;

/// Everything that a process exposes, by the name of the family.
#[derive(Clone, Debug, Default)]
pub struct Exposed {
    /// The families.
    pub families: BTreeMap<String, Family>,
}

/// Everything under one name.
#[derive(Clone, Debug, Default)]
pub struct Family {
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: String,
    /// The sentence that explains it.
    pub help: String,
    /// Its unit, where it has one.
    pub unit: String,
    /// Its samples.
    pub samples: Vec<Sample>,
}

/// One sample.
#[derive(Clone, Debug)]
pub struct Sample {
    /// With the suffix (`_total`, `_bucket`).
    pub name: String,
    /// Without those that are empty, which is the same to Prometheus.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
    /// The labels of its exemplar.
    pub exemplar: BTreeMap<String, String>,
}

impl Exposed {
    /// Asks a process, as Prometheus does.
    pub async fn of(service: &Service) -> Self {
        let url = format!("http://127.0.0.1:{}/metrics", service.admin_port());
        let answer = reqwest::Client::new()
            .get(url)
            .header(
                "accept",
                "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            )
            .send()
            .await
            .unwrap();
        let media_type = answer.headers()["content-type"].to_str().unwrap();
        assert!(media_type.starts_with("application/openmetrics-text; version=1.0.0"));
        Self::read(&answer.text().await.unwrap())
    }

    /// Reads OpenMetrics.
    #[track_caller]
    pub fn read(text: &str) -> Self {
        let mut exposed = Self::default();
        assert!(text.ends_with("# EOF\n"));
        let mut family = String::new();
        for line in text.lines() {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                    name.clone_into(&mut family);
                    let known = exposed.families.entry(name.to_owned()).or_default();
                    assert_eq!(known.help, "", "{name} twice");
                    help.clone_into(&mut known.help);
                }
                (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                    kind.clone_into(&mut exposed.families.get_mut(name).unwrap().kind);
                }
                (Some("#"), Some("UNIT"), Some(name), Some(unit)) => {
                    unit.clone_into(&mut exposed.families.get_mut(name).unwrap().unit);
                }
                (Some("#"), Some("EOF"), ..) => {}
                _ => {
                    let sample = sample(line);
                    assert!(sample.name.starts_with(&family), "{line} below {family}");
                    exposed
                        .families
                        .get_mut(&family)
                        .unwrap()
                        .samples
                        .push(sample);
                }
            }
        }
        exposed
    }

    /// The sum of all samples of this name that have these labels; 0 where there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples()
            .filter(|sample| {
                sample.name == name
                    && labels.iter().all(|(label, value)| {
                        sample.labels.get(*label).map_or("", String::as_str) == *value
                    })
            })
            .map(|sample| sample.value)
            .sum()
    }

    /// All samples.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.families.values().flat_map(|family| &family.samples)
    }

    /// What tells each sample from the others.
    pub fn series(&self) -> BTreeSet<String> {
        self.samples()
            .map(|sample| format!("{}{:?}", sample.name, sample.labels))
            .collect()
    }
}

#[track_caller]
fn sample(line: &str) -> Sample {
    let (line, exemplar) = match line.rfind(" # {") {
        Some(at) => (&line[..at], labels(&line[at + 4..]).0),
        None => (line, BTreeMap::new()),
    };
    let (name, labels, value) = match line.split_once('{') {
        Some((name, rest)) => {
            let (labels, rest) = labels(rest);
            (name, labels, rest)
        }
        None => {
            let (name, value) = line.split_once(' ').unwrap();
            (name, BTreeMap::new(), value)
        }
    };
    Sample {
        name: name.to_owned(),
        labels,
        value: value.trim().parse().unwrap_or_else(|_| panic!("{line}")),
        exemplar,
    }
}

/// Labels up to the brace that ends them, and what follows.
#[track_caller]
fn labels(mut text: &str) -> (BTreeMap<String, String>, &str) {
    let mut labels = BTreeMap::new();
    while !text.starts_with('}') {
        let (name, rest) = text.split_once("=\"").unwrap();
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next().unwrap() {
                (_, '\\') => value.push(chars.next().unwrap().1),
                (at, '"') => break at,
                (_, other) => value.push(other),
            }
        };
        if !value.is_empty() {
            labels.insert(name.to_owned(), value);
        }
        text = rest[end + 1..].trim_start_matches(',');
    }
    (labels, &text[1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exposition_is_read() {
        let exposed = Exposed::read(
            "# HELP a_seconds A.\n# TYPE a_seconds histogram\n# UNIT a_seconds seconds\n\
             a_seconds_bucket{le=\"1.0\",x=\"a\\\"b\",y=\"\"} 3 # {trace_id=\"4b\"} 0.5 1700000000.1\n\
             a_seconds_sum 1.5\n# HELP b B.\n# TYPE b counter\nb_total 2\n# EOF\n",
        );
        let family = &exposed.families["a_seconds"];
        assert_eq!(
            (family.kind.as_str(), family.unit.as_str()),
            ("histogram", "seconds")
        );
        let bucket = &family.samples[0];
        assert_eq!(bucket.labels["x"], "a\"b");
        assert_eq!(bucket.exemplar["trace_id"], "4b");
        assert!(!bucket.labels.contains_key("y"));
        assert!((exposed.sum("b_total", &[]) - 2.0).abs() < 0.1);
        assert!((exposed.sum("a_seconds_bucket", &[("le", "1.0"), ("z", "")]) - 3.0).abs() < 0.1);
    }
}
