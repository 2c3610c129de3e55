//! The conformance table: what `tests/conformance.toml` states, which tests hold it, and how they ended.
//!
//! A test names the statements that it holds in its comment: `/// Conformance: 12, 97.` How it ended is read from
//! what `cargo test` prints, so that nobody can write an outcome that was not one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// The sentence that makes a test hold statements.
const MARK: &str = "/// Conformance:";

/// Where tests stand: the folder, and what cargo calls the binary that they are built into.
const PLACES: [(&str, &str); 8] = [
    ("facade/protocol/src", "scim_protocol"),
    ("facade/server/src", "scim_facade"),
    ("facade/fuzz/src", "scim_fuzz"),
    ("services/identity/src", "identity_service"),
    ("services/folding/src", "roster_folding"),
    ("services/runtime/src", "identity_runtime"),
    ("tests/stack/src", "roster_stack"),
    ("tests/it", "it"),
];

/// The statements, as they are written down.
#[derive(Clone, Debug, Deserialize)]
pub struct Statements {
    /// What they are about, in order.
    #[serde(rename = "section")]
    pub sections: Vec<Section>,
}

/// Statements about one subject.
#[derive(Clone, Debug, Deserialize)]
pub struct Section {
    /// The subject.
    pub name: String,
    /// The statements.
    #[serde(rename = "statement")]
    pub statements: Vec<Statement>,
}

/// One statement.
#[derive(Clone, Debug, Deserialize)]
pub struct Statement {
    /// What tests call it.
    pub number: u32,
    /// `M`, `S` or `C`.
    pub level: String,
    /// Who says so.
    pub rfc: String,
    /// What it says.
    pub says: String,
    /// Where Roster does otherwise, and why.
    #[serde(default)]
    pub differs: String,
}

/// A test that holds statements.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The binary that it is built into.
    pub binary: String,
    /// Its name there, with its modules.
    pub name: String,
    /// Its file, below the repository's root.
    pub file: String,
    /// Whether it only runs when asked to.
    pub is_ignored: bool,
}

/// How tests ended, by binary and name.
pub type Outcomes = BTreeMap<(String, String), bool>;

/// The repository's root.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// Reads the statements.
pub fn statements() -> anyhow::Result<Statements> {
    let text = fs::read_to_string(root().join("tests/conformance.toml"))?;
    Ok(toml::from_str(&text)?)
}

/// Finds the tests that hold statements, by number.
pub fn holders() -> anyhow::Result<BTreeMap<u32, BTreeSet<Holder>>> {
    let mut found = BTreeMap::new();
    for (folder, binary) in PLACES {
        let mut files = Vec::new();
        sources(&root().join(folder), &mut files)?;
        for file in files {
            let text = fs::read_to_string(&file)?;
            let place = file.strip_prefix(root().join(folder))?;
            let shown = file.strip_prefix(root())?.display().to_string();
            holders_in(&text, &modules(place, &text), binary, &shown, &mut found)?;
        }
    }
    Ok(found)
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    // A folder that there is not has no tests.
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The modules of the tests in a file: those of the file itself, and `tests` where they stand beside the code.
fn modules(place: &Path, text: &str) -> Vec<String> {
    let mut modules: Vec<String> = place
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .filter(|part| !["lib", "main", "mod"].contains(&part.as_str()))
        .collect();
    if text.contains("\nmod tests {") {
        modules.push("tests".to_owned());
    }
    modules
}

fn holders_in(
    text: &str,
    modules: &[String],
    binary: &str,
    file: &str,
    found: &mut BTreeMap<u32, BTreeSet<Holder>>,
) -> anyhow::Result<()> {
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(said) = line.strip_prefix(MARK) else {
            continue;
        };
        let mut is_ignored = false;
        let mut is_test = false;
        let name = loop {
            let line = lines
                .next()
                .ok_or_else(|| anyhow::anyhow!("{file}: {MARK}{said} stands at no test"))?;
            is_ignored |= line.starts_with("#[ignore");
            is_test |= line.starts_with("#[test") || line.starts_with("#[tokio::test");
            let function = line.strip_prefix("async ").unwrap_or(line);
            if let Some(signature) = function.strip_prefix("fn ") {
                break signature.split('(').next().unwrap_or_default();
            }
        };
        anyhow::ensure!(is_test, "{file}: {MARK}{said} stands at no test");
        let mut path = modules.to_vec();
        path.push(name.to_owned());
        let holder = Holder {
            binary: binary.to_owned(),
            name: path.join("::"),
            file: file.to_owned(),
            is_ignored,
        };
        for number in said.trim_end_matches('.').split(',') {
            let number = number
                .trim()
                .parse()
                .map_err(|_| anyhow::anyhow!("{file}: {MARK}{said} names no numbers"))?;
            found.entry(number).or_default().insert(holder.clone());
        }
    }
    Ok(())
}

/// Reads how tests ended from what `cargo test` printed.
pub fn outcomes(printed: &str) -> Outcomes {
    let mut outcomes = Outcomes::new();
    let mut binary = String::new();
    for line in printed.lines().map(str::trim) {
        if let Some((_, path)) = line
            .strip_prefix("Running ")
            .and_then(|line| line.rsplit_once('('))
        {
            let program = path.trim_end_matches(')').rsplit('/').next();
            let program = program.unwrap_or_default();
            // `target/debug/deps/it-621acb3470708de5`
            binary = program
                .rsplit_once('-')
                .map_or(program, |(name, _)| name)
                .to_owned();
        } else if let Some((name, outcome)) = line
            .strip_prefix("test ")
            .and_then(|line| line.split_once(" ... "))
        {
            let name = name.split(" - ").next().unwrap_or_default();
            outcomes.insert((binary.clone(), name.to_owned()), outcome == "ok");
        }
    }
    outcomes
}

/// Writes the table. A test whose outcome is not known did not pass.
pub fn table(
    statements: &Statements,
    holders: &BTreeMap<u32, BTreeSet<Holder>>,
    passed: &dyn Fn(&Holder) -> bool,
) -> String {
    let mut text = HEAD.to_owned();
    for section in &statements.sections {
        // Writing into a String can't fail.
        let _written = write!(text, "\n## {}\n\n{COLUMNS}", section.name);
        for statement in &section.statements {
            let _written = writeln!(text, "{}", row(statement, holders, passed));
        }
    }
    text
}

fn row(
    statement: &Statement,
    holders: &BTreeMap<u32, BTreeSet<Holder>>,
    passed: &dyn Fn(&Holder) -> bool,
) -> String {
    let none = BTreeSet::new();
    let tests = holders.get(&statement.number).unwrap_or(&none);
    let links: Vec<String> = tests
        .iter()
        .map(|test| format!("[`{} {}`](../{})", test.binary, test.name, test.file))
        .collect();
    let failed: Vec<&str> = tests
        .iter()
        .filter(|test| !passed(test))
        .map(|test| test.name.as_str())
        .collect();
    let outcome = match (tests.len(), failed.as_slice()) {
        (0, _) => "no test".to_owned(),
        (_, []) => "passed".to_owned(),
        (_, failed) => format!("FAILED: {}", failed.join(", ")),
    };
    let differs = if statement.differs.is_empty() {
        String::new()
    } else {
        format!("<br>**Differs**: {}", statement.differs)
    };
    format!(
        "| {} | {} | {} | {}{differs} | {} | {outcome} |",
        statement.number,
        statement.level,
        statement.rfc,
        statement.says,
        links.join("<br>"),
    )
}

const COLUMNS: &str = "| # | | RFC | statement | held by | outcome |\n|---|---|---|---|---|---|\n";

const HEAD: &str = "# Conformance

What a SCIM 2.0 server is held to, statement by statement, with the tests that hold Roster to it and how they
ended. **M** is what an RFC demands, **S** what it recommends, **C** what it leaves open and was decided here.
Where Roster does otherwise, the row says so and why.

`make conformance` runs the tests and writes this file from `tests/conformance.toml`, from the comments of the
tests (`/// Conformance: 12, 97.`) and from how they ended; nothing in it is written by hand. `make test` fails
where it is out of date.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_by_their_comments() {
        let text = "mod tests {\n    /// Conformance: 1, 20.\n    #[tokio::test(flavor = \"x\")]\n    \
                    async fn it_is_so() {}\n    /// Conformance: 3.\n    #[test]\n    #[ignore = \"slow\"]\n    \
                    fn it_may_be() {}\n}";
        let mut found = BTreeMap::new();
        let modules = ["a".to_owned()];
        holders_in(text, &modules, "it", "tests/it/a.rs", &mut found).unwrap();
        let names = |number| -> Vec<(&str, bool)> {
            let holders: &BTreeSet<Holder> = &found[&number];
            let names = holders.iter();
            names
                .map(|holder| (holder.name.as_str(), holder.is_ignored))
                .collect()
        };
        assert_eq!(names(1), [("a::it_is_so", false)]);
        assert_eq!(names(20), names(1));
        assert_eq!(names(3), [("a::it_may_be", true)]);
        for wrong in [
            "/// Conformance: 1.\nfn no_test() {}",
            "/// Conformance: one.\n#[test]\nfn a() {}",
            "/// Conformance: 1.",
        ] {
            assert!(holders_in(wrong, &[], "it", "x", &mut BTreeMap::new()).is_err());
        }
    }

    #[test]
    fn outcomes_are_those_that_cargo_prints() {
        let outcomes = outcomes(
            "     Running unittests src/lib.rs (target/debug/deps/scim_protocol-a9f4139a2c3c9910)\n\
             test path::tests::a ... ok\ntest path::tests::b ... FAILED\ntest c - should panic ... ok\n     \
             Running it/main.rs (target/debug/deps/it-62)\ntest d ... ignored\n",
        );
        let of = |binary: &str, name: &str| outcomes[&(binary.to_owned(), name.to_owned())];
        assert!(of("scim_protocol", "path::tests::a"));
        assert!(!of("scim_protocol", "path::tests::b"));
        assert!(of("scim_protocol", "c"));
        assert!(!of("it", "d"));
    }
}
