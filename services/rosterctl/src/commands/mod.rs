//! The commands, a file a subject: what each takes and what it does.

pub(crate) mod access;
pub(crate) mod credentials;
pub(crate) mod doctor;
pub(crate) mod entities;
pub(crate) mod events;
pub(crate) mod grants;
pub(crate) mod groups;
mod lint;
pub(crate) mod members;
mod named;
pub(crate) mod roles;
pub(crate) mod sites;
pub(crate) mod transfer;

use std::{
    collections::HashMap,
    io::{self, Write},
};

use clap::CommandFactory;
use identity_proto::v1::Receipt;
use serde_json::{Value, json};
use tonic::{Response, Status};
use uuid::Uuid;

use crate::{
    arguments::{Arguments, Command, DryRun, Output},
    connection::Settings,
    failure::{self, Failure},
    json, show,
};

/// The largest answer that is taken: as large as identity's own.
const LARGEST_ANSWER: usize = 256 << 20;

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// Done; of a question: yes.
    Done,
    /// Of a question: no.
    No,
    /// Some of it.
    InPart,
}

impl Outcome {
    /// The answer to a question.
    fn of(yes: bool) -> Self {
        if yes { Self::Done } else { Self::No }
    }

    /// The exit code of the process.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => failure::NO,
            Self::InPart => failure::IN_PART,
        }
    }
}

/// Runs a command.
pub(crate) async fn run(settings: &Settings, command: Command) -> Result<Outcome, Failure> {
    match command {
        Command::Sites(command) => sites::run(settings, command).await,
        Command::Credentials(command) => credentials::run(settings, command).await,
        Command::Members(command) => members::run(settings, command).await,
        Command::Roles(command) => roles::run(settings, command).await,
        Command::Entities(command) => entities::run(settings, command).await,
        Command::Groups(command) => groups::run(settings, command).await,
        Command::Grants(command) => grants::run(settings, command).await,
        Command::Access(command) => access::run(settings, command).await,
        Command::Events(command) => events::run(settings, command).await,
        Command::Doctor(command) => doctor::run(settings, command).await,
        Command::Export(command) => transfer::export(settings, command).await,
        Command::Import(command) => transfer::import(settings, command).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "rosterctl", &mut script);
            write_out(&script)?;
            Ok(Outcome::Done)
        }
    }
}

/// The answer to a call.
fn answer<T>(settings: &Settings, outcome: Result<Response<T>, Status>) -> Result<T, Failure> {
    let failed = |status: Status| Failure::of_call(settings.addr(), &status);
    outcome.map(Response::into_inner).map_err(failed)
}

/// Names a request that makes something, so that it can be sent again safely.
fn request_id() -> String {
    Uuid::new_v4().to_string()
}

/// Prints an answer: for people, or for programs.
fn print(
    settings: &Settings,
    table: impl FnOnce() -> String,
    json: impl FnOnce() -> Value,
) -> Result<Outcome, Failure> {
    let text = match settings.output {
        Output::Table => table(),
        Output::Json => format!("{:#}", json()),
    };
    write_out(format!("{text}\n").as_bytes())?;
    Ok(Outcome::Done)
}

/// Prints what a write did: what it was about (none where that is gone), and its effect.
async fn print_write(
    settings: &Settings,
    DryRun { dry_run }: DryRun,
    receipt: Option<&Receipt>,
    table: Option<String>,
    mut object: Value,
) -> Result<Outcome, Failure> {
    object["receipt"] = json::receipt(receipt);
    object["dry_run"] = json!(dry_run);
    let names = match (settings.output, receipt) {
        (Output::Table, Some(receipt)) => named::user_names(settings, &show::named(receipt)).await,
        _ => HashMap::new(),
    };
    let text = || {
        let effect = Some(show::receipt(receipt, dry_run, &names));
        let parts = [table, effect].into_iter().flatten();
        parts.collect::<Vec<_>>().join("\n\n")
    };
    print(settings, text, || object.clone())
}

/// Writes to standard output. False: whoever read there has read enough (`| head`).
fn write_out(bytes: &[u8]) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}
