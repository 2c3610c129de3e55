//! The development stack's command line.

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Runs a whole Roster on this machine.
#[derive(Parser)]
#[command(name = "roster-stack", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Stops what its launcher leaves behind (started by the launcher itself).
    #[command(hide = true)]
    Guard,
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Guard => roster_stack::guard::run_guard(),
    }
}
