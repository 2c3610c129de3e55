//! `docs/rosterctl.md`: all that `--help` says, held to it by a test.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use clap::{Command, CommandFactory};

use crate::arguments::Arguments;

const BEGIN: &str = "\
# rosterctl

The operator's command line. This page is what `--help` says of each command; a test holds it to that. What all \
commands take stands with the first only.
";

/// The options that all commands take.
const GLOBAL: [&str; 8] = [
    "addr",
    "identity_ca",
    "identity_cert",
    "identity_key",
    "tls_server_name",
    "token_file",
    "site",
    "output",
];

fn render() -> String {
    let mut root = Arguments::command().term_width(100);
    root.build();
    let mut text = BEGIN.to_owned();
    section(&mut text, root.clone());
    commands(&mut text, &root);
    text
}

fn commands(text: &mut String, of: &Command) {
    for command in of
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
    {
        let mut command = command.clone().term_width(100);
        for global in GLOBAL {
            command = command.mut_arg(global, |argument| argument.hide(true));
        }
        if command.has_subcommands() {
            commands(text, &command);
        } else {
            section(text, command);
        }
    }
}

fn section(text: &mut String, mut command: Command) {
    let name = command.get_bin_name().unwrap_or("rosterctl").to_owned();
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    text.push_str(&format!(
        "\n## {name}\n\n```text\n{}\n```\n",
        lines.join("\n").trim_end()
    ));
}

#[test]
fn the_page_says_what_help_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rosterctl.md");
    let expected = render();
    if env::var_os("ROSTER_REWRITE_DOCS").is_some() {
        fs::write(&page, &expected).unwrap();
    }
    let found = fs::read_to_string(&page).unwrap_or_default();
    assert!(
        found == expected,
        "docs/rosterctl.md says something else: run this test with ROSTER_REWRITE_DOCS=1"
    );
}

/// The pages in which commands are written down for people.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages: Vec<PathBuf> = ["README.md", "k8s/README.md"]
        .map(|page| root.join(page))
        .into();
    for folder in ["docs", "docs/runbooks"] {
        let entries = fs::read_dir(root.join(folder)).unwrap();
        let files = entries.map(|entry| entry.unwrap().path());
        pages.extend(files.filter(|path| path.extension().is_some_and(|found| found == "md")));
    }
    pages
}

/// The words of a command as a shell parts them, up to where it goes on with something else.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None::<String>;
    let (mut quoted, mut placeholder) = (None, false);
    for c in text.chars() {
        match (quoted, c) {
            (Some(quote), c) if c == quote => quoted = None,
            (None, '"' | '\'') => {
                quoted = Some(c);
                word.get_or_insert_default();
            }
            (None, '|' | ';' | '&' | '#') if word.is_none() => break,
            (None, '>') if word.is_none() => break,
            (None, c) if c.is_whitespace() && !placeholder => words.extend(word.take()),
            (_, c) => {
                // `<a member>` stands for one word.
                placeholder = (placeholder || c == '<') && c != '>';
                word.get_or_insert_default().push(c);
            }
        }
    }
    words.extend(word);
    words
}

/// The commands of a page: whole ones, of its examples, and those that its text names.
fn commands_of(page: &str) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    for (number, part) in page.split("```").enumerate() {
        match number % 2 {
            1 => {
                let lines = part.replace("\\\n", " ");
                let begins = lines
                    .lines()
                    .filter_map(|line| line.split_once("rosterctl "));
                let commands = begins.filter(|(before, _)| {
                    let before = before.trim_end_matches("target/debug/");
                    before.is_empty() || before.ends_with([' ', '(', '|'])
                });
                found.extend(commands.map(|(_, command)| (true, command.to_owned())));
            }
            _ => {
                let text = part.replace('\n', " ");
                let quoted = text.split('`').skip(1).step_by(2);
                let commands = quoted.filter_map(|code| code.strip_prefix("rosterctl "));
                found.extend(commands.map(|command| (false, command.to_owned())));
            }
        }
    }
    found
}

#[test]
fn commands_in_the_documentation_are_commands() {
    use clap::error::ErrorKind;

    let mut whole = 0;
    for page in pages() {
        if page.ends_with("docs/rosterctl.md") {
            continue;
        }
        let text = fs::read_to_string(&page).unwrap();
        for (complete, command) in commands_of(&text) {
            let words = ["rosterctl".to_owned()].into_iter().chain(words(&command));
            let outcome = Arguments::command().try_get_matches_from(words);
            let Err(error) = outcome else {
                whole += usize::from(complete);
                continue;
            };
            // What is named in a sentence may lack what it takes, but not be something else.
            let is_command = !matches!(
                error.kind(),
                ErrorKind::UnknownArgument
                    | ErrorKind::InvalidSubcommand
                    | ErrorKind::MissingSubcommand
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            );
            let shown = page.display();
            assert!(
                is_command && !complete || error.kind() == ErrorKind::DisplayHelp,
                "{shown}: rosterctl {command}: {error}"
            );
        }
    }
    assert!(whole > 5, "{whole} whole commands were found");
}
