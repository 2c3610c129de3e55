//! The settings of the programs: mistakes are told all at once, secrets come from files and are never shown, and
//! `docs/settings.md` says what `--help` says.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use identity_tests::{
    database::server,
    world::{BOOTSTRAP, World},
};
use roster_stack::{
    grpc::Caller,
    guard::program,
    ports::free_port,
    services::{Service, ServiceOptions},
};

/// A program with these variables and no others.
fn run(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(program(name).unwrap())
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

/// What a program says of settings that it can't use.
fn mistakes(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    let output = run(name, arguments, variables);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    let mut lines = said.lines().map(str::to_owned);
    let first = lines.next().unwrap();
    let lines: Vec<String> = lines.collect();
    let count = match lines.len() {
        1 => "1 setting".to_owned(),
        many => format!("{many} settings"),
    };
    assert_eq!(first, format!("{name}: {count} can't be used:"), "{said}");
    lines
}

/// A setting as `--help` shows it.
#[derive(Debug, Default)]
struct Shown {
    flag: String,
    default: Option<String>,
    text: String,
}

impl Shown {
    /// The bounds that its help names, as `1 to 1000`.
    fn bounds(&self) -> Option<(i64, i64)> {
        let words: Vec<&str> = self.text.split_whitespace().collect();
        words.windows(3).find_map(|words| match words {
            [least, "to", most] => {
                let most = most.trim_end_matches([',', ';', '.', ':']);
                Some((least.parse().ok()?, most.parse().ok()?))
            }
            _ => None,
        })
    }
}

/// The settings that `--help` of a program shows, by their variables.
fn shown(name: &str, arguments: &[&str]) -> BTreeMap<String, Shown> {
    let mut all = arguments.to_vec();
    all.push("--help");
    let help = String::from_utf8(run(name, &all, &[]).stdout).unwrap();
    let mut settings = BTreeMap::new();
    let mut flag = String::new();
    let mut text = String::new();
    let options = help.split_once("Options:").unwrap().1;
    // An option that ends the text closes the last one.
    for line in options.lines().chain(["      --end"]) {
        let line = line.trim();
        if line.starts_with("--") || line.starts_with("-h") || line.starts_with("-V") {
            let part = |begin: &str| {
                let (_, rest) = text.split_once(begin)?;
                let (value, _) = rest.split_once(']')?;
                Some(value.trim_end_matches('=').to_owned())
            };
            if let Some(variable) = part("[env: ") {
                let default = part("[default: ");
                let shown = Shown {
                    flag: flag.clone(),
                    default,
                    text: text.clone(),
                };
                settings.insert(variable, shown);
            }
            flag = line.split([' ', '=']).next().unwrap().to_owned();
            text.clear();
        } else {
            text.push_str(line);
            text.push(' ');
        }
    }
    settings
}

/// The rows of a section of `docs/settings.md`, by their variables: flag, default, and what is said.
fn documented(section: &str) -> BTreeMap<String, (String, String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once(&format!("\n## {section}\n")).unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [variable, flag, default, what] = cells[..] else {
            panic!("{row}");
        };
        let bare = |cell: &str| cell.trim_matches('`').to_owned();
        (
            bare(variable),
            (bare(flag), default.to_owned(), what.to_owned()),
        )
    })
    .collect()
}

#[track_caller]
fn agree(shown: &BTreeMap<String, Shown>, documented: &BTreeMap<String, (String, String, String)>) {
    for (variable, (flag, default, what)) in documented {
        let Some(shown) = shown.get(variable) else {
            panic!("{variable} is documented and in no --help");
        };
        assert_eq!(*flag, shown.flag, "{variable}");
        let expected = shown.default.as_ref().map(|value| format!("`{value}`"));
        match expected {
            Some(expected) => assert_eq!(*default, expected, "{variable}"),
            None => assert!(default.starts_with('('), "{variable} has no default"),
        }
        if let Some((least, most)) = shown.bounds() {
            assert!(
                what.contains(&format!("{least} to {most}")),
                "{variable}: {what}"
            );
        }
    }
    for variable in shown.keys() {
        assert!(
            documented.contains_key(variable),
            "{variable} is not documented"
        );
    }
}

#[test]
fn the_page_of_settings_says_what_help_says() {
    let both = documented("Both");
    for (name, arguments) in [("identity", &["serve"][..]), ("facade", &[])] {
        let mut page = documented(name);
        page.extend(both.clone());
        agree(&shown(name, arguments), &page);
    }
    let of_migrate = shown("identity", &["migrate"]);
    let names: Vec<&str> = of_migrate.keys().map(String::as_str).collect();
    let mut expected: Vec<&str> = both.keys().map(String::as_str).collect();
    expected.extend(["DATABASE_URL", "DATABASE_URL_FILE"]);
    expected.sort_unstable();
    assert_eq!(names, expected);
    // What rosterctl takes from the environment alone stands in its notes.
    let mut page = documented("rosterctl");
    let notes = String::from_utf8(run("rosterctl", &["--help"], &[]).stdout).unwrap();
    page.retain(|variable, (flag, ..)| {
        assert!(
            !flag.is_empty() || notes.contains(variable.as_str()),
            "{variable}"
        );
        !flag.is_empty()
    });
    let mut ctl = shown("rosterctl", &[]);
    ctl.extend(shown("rosterctl", &["groups", "lint"]));
    ctl.extend(shown("rosterctl", &["doctor"]));
    agree(&ctl, &page);
}

#[test]
fn five_mistakes_of_identity_are_told_at_once() {
    let secret = "canary-of-a-bootstrap-token";
    let told = mistakes(
        "identity",
        &["serve", "--rate-limit", "many"],
        &[
            ("DATABASE_URL", "mysql://root:canary@db/roster"),
            ("ROSTER_BOOTSTRAP_TOKEN", secret),
            ("ROSTER_DB_POOL", "1001"),
            ("ROSTER_TLS_KEY", "/not/there.key"),
            ("ROSTER_LOG_FORMAT", "xml"),
            // Not set, in other words.
            ("ROSTER_DRAIN_DELAY_MS", ""),
        ],
    );
    let expected = [
        "ROSTER_DB_POOL (--db-pool) is \"1001\" and must be a whole number, 1 to 1000 [default: 10]",
        "ROSTER_RATE_LIMIT (--rate-limit) is \"many\" and must be a whole number, 1 to 1000000 [default: 1000]",
        "ROSTER_LOG_FORMAT (--log-format) is \"xml\" and must be text or json [default: text]",
        "DATABASE_URL (--database-url) must be the address of a database, \
         postgres://user:password@host:port/database",
        "ROSTER_TLS_CERT (--tls-cert) must be set too: the certificate and its key go together, and an authority \
         for clients with them",
        "ROSTER_TLS_KEY (--tls-key) is \"/not/there.key\" and must name a file of use: ",
        "ROSTER_BOOTSTRAP_TOKEN (--bootstrap-token) must be 32 up to 256 visible ASCII characters",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for expected in expected {
        assert!(
            told.iter().any(|line| line.trim().starts_with(expected)),
            "{expected}: {told:#?}"
        );
    }
    assert!(
        !told.iter().any(|line| line.contains("canary")),
        "{told:#?}"
    );
}

#[test]
fn five_mistakes_of_the_facade_are_told_at_once() {
    let told = mistakes(
        "facade",
        &["--max-body", "0", "--group-prefix=C/B"],
        &[
            ("ROSTER_PUBLIC_URL", "roster.example"),
            ("ROSTER_FACADE_LISTEN", "localhost"),
            ("ROSTER_REQUEST_TIMEOUT_MS", "40000"),
            ("ROSTER_IDENTITY_CERT", "/not/there.crt"),
            ("ROSTER_TRACE_RATIO", "2"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=1,region"),
        ],
    );
    let expected = [
        "OTEL_RESOURCE_ATTRIBUTES (--resource-attributes) is \"service.instance.id=1,region\" and must be key=value, \
         or several, separated by commas",
        "ROSTER_MAX_BODY_BYTES (--max-body) is \"0\" and must be a whole number, 1 to 4194304 [default: 1048576]",
        "ROSTER_GROUP_PREFIX (--group-prefix) is \"C/B\" and must be a text without slashes and surrounding space \
         [default: CB]",
        "ROSTER_PUBLIC_URL (--public-url) is \"roster.example\" and must be a URL that begins with http:// or https://",
        "ROSTER_FACADE_LISTEN (--listen) is \"localhost\" and must be an IP address and a port",
        "ROSTER_REQUEST_TIMEOUT_MS (--request-timeout) is \"40000\" and must be at most 58000 together with \
         ROSTER_BODY_TIMEOUT_MS, and they are 60000",
        "ROSTER_IDENTITY_KEY (--identity-key) must be set too",
        "ROSTER_IDENTITY_CERT (--identity-cert) is \"/not/there.crt\" and must name a file of use",
        "ROSTER_TRACE_RATIO (--trace-ratio) is \"2\" and must be a number, 0.0 to 1.0 [default: 1.0]",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for expected in expected {
        assert!(
            told.iter().any(|line| line.trim().starts_with(expected)),
            "{expected}: {told:#?}"
        );
    }
}

#[test]
fn the_bounds_that_help_names_are_the_bounds() {
    for (name, arguments, least_known) in [("identity", &["serve"][..], 4), ("facade", &[], 7)] {
        let settings = shown(name, arguments);
        let bounded: BTreeMap<&str, (i64, i64)> = settings
            .iter()
            .filter_map(|(variable, shown)| Some((variable.as_str(), shown.bounds()?)))
            .collect();
        assert!(bounded.len() >= least_known, "{bounded:?}");
        // One mistake of its own keeps the process from serving.
        let refused = |of: fn((i64, i64)) -> i64| {
            let values: Vec<(&str, String)> = bounded
                .iter()
                .map(|(variable, bounds)| (*variable, of(*bounds).to_string()))
                .collect();
            let mut variables: Vec<(&str, &str)> = values
                .iter()
                .map(|(variable, value)| (*variable, value.as_str()))
                .collect();
            variables.push(("ROSTER_LOG_FORMAT", "xml"));
            variables.push(("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"));
            mistakes(name, arguments, &variables)
        };
        let told = |lines: &[String], variable: &str, bounds: (i64, i64)| {
            lines.iter().any(|line| {
                line.trim().starts_with(variable)
                    && line.contains(&format!("{} to {}", bounds.0, bounds.1))
            })
        };
        let (below, above) = (
            refused(|(least, _)| least - 1),
            refused(|(_, most)| most + 1),
        );
        let (least, most) = (refused(|(least, _)| least), refused(|(_, most)| most));
        for (variable, bounds) in &bounded {
            assert!(told(&below, variable, *bounds), "{variable}: {below:#?}");
            assert!(told(&above, variable, *bounds), "{variable}: {above:#?}");
            assert!(!told(&least, variable, *bounds), "{variable}: {least:#?}");
            assert!(!told(&most, variable, *bounds), "{variable}: {most:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_come_from_files_and_are_not_printed() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let url = world.database.url().to_owned();
    let token = "bootstrap-token-that-stands-in-a-file";
    let log = folder.path().join("identity.log");
    let port = free_port().unwrap();
    let options = ServiceOptions::identity("", port, free_port().unwrap(), &log)
        .variable("DATABASE_URL_FILE", file("url", &format!("{url}\n")))
        .variable(
            "ROSTER_BOOTSTRAP_TOKEN_FILE",
            file("token", &format!("{token}\n")),
        );
    let service =
        tokio::task::spawn_blocking(move || Service::start(options, &server().guard).unwrap())
            .await
            .unwrap();
    let addr = format!("127.0.0.1:{port}");
    for (token, known) in [(token, true), (BOOTSTRAP, false)] {
        let caller = Caller::new(&addr, token).unwrap();
        let who = caller
            .credentials()
            .get_caller(caller.request(Default::default()))
            .await;
        assert_eq!(who.is_ok(), known);
    }
    service.stop();
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("identity serves"), "{log}");
    let password = url.split([':', '@']).nth(2).unwrap();
    assert!(!log.contains(token) && !log.contains(password), "{log}");

    // One place is enough, and what can't be read is told.
    let told = mistakes(
        "identity",
        &["migrate"],
        &[("DATABASE_URL", &url), ("DATABASE_URL_FILE", "/not/there")],
    );
    assert!(
        told[0].contains("must not be set beside DATABASE_URL"),
        "{told:?}"
    );
    let told = mistakes(
        "identity",
        &["migrate"],
        &[("DATABASE_URL_FILE", &file("none", "\n"))],
    );
    assert!(told[0].contains("it is empty"), "{told:?}");
    let told = mistakes("identity", &["migrate"], &[]);
    assert!(
        told[0].contains("must be set, or DATABASE_URL_FILE"),
        "{told:?}"
    );
}
