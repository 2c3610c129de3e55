//! The commands: each asks identity once and prints the answer.

mod access;
mod credentials;
mod events;
mod sites;

use std::io::{self, Write};

use serde_json::Value;
use tonic::{Response, Status};

use crate::{
    arguments::{Arguments, Command, Output},
    connection::Settings,
    failure::Failure,
};

/// Runs a command.
pub(crate) async fn run(settings: &Settings, arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Sites(command) => sites::run(settings, command).await,
        Command::Credentials(command) => credentials::run(settings, command).await,
        Command::Access(command) => access::run(settings, command).await,
        Command::Events(command) => events::run(settings, command).await,
    }
}

/// The answer to a call.
fn answer<T>(settings: &Settings, outcome: Result<Response<T>, Status>) -> Result<T, Failure> {
    let failed = |status: Status| Failure::of_call(settings.addr(), &status);
    outcome.map(Response::into_inner).map_err(failed)
}

/// Prints an answer: for people, or for programs.
fn print(
    settings: &Settings,
    table: impl FnOnce() -> String,
    json: impl FnOnce() -> Value,
) -> Result<(), Failure> {
    let text = match settings.output {
        Output::Table => table(),
        Output::Json => format!("{:#}", json()),
    };
    match writeln!(io::stdout(), "{text}") {
        // Whoever reads has read enough (`| head`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}
