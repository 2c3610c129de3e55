//! `docs/rosterctl.md`: all that `--help` says, held to it by a test.

use std::{env, fs, path::Path};

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
