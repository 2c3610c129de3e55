//! The development stack's command line.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use roster_stack::{demo::demo, okta::AppKind};

/// Runs a whole Roster on this machine.
#[derive(Parser)]
#[command(name = "roster-stack", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the stack of the current folder until Ctrl-C.
    Run,
    /// Runs it with a collector of traces, Prometheus and Alertmanager.
    Observe,
    /// Acts as Okta for a company of 200 people, beside a running stack or by itself.
    Demo {
        /// As an app that was made by Okta's App Integration Wizard, which sends everything as PUT.
        #[arg(long)]
        wizard: bool,
    },
    /// Writes the rules of k8s/monitoring into a folder, as Prometheus itself takes them.
    Rules {
        /// The folder.
        folder: PathBuf,
    },
    /// Stops what its launcher leaves behind (started by the launcher itself).
    #[command(hide = true)]
    Guard,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run => roster_stack::run::run(false),
        Command::Observe => roster_stack::run::run(true),
        Command::Demo { wizard: false } => demo(AppKind::Catalogue),
        Command::Demo { wizard: true } => demo(AppKind::Wizard),
        Command::Rules { folder } => {
            roster_stack::monitors::write_rules(&folder).map(|()| ExitCode::SUCCESS)
        }
        Command::Guard => roster_stack::guard::run_guard().map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
