//! `rosterctl`, run as an operator runs it.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use roster_stack::guard::program;
use serde_json::Value;
use tempfile::TempDir;

use crate::world::{Site, World};

/// The command line of an operator who holds a token.
#[derive(Clone, Debug)]
pub struct Rosterctl {
    addr: String,
    token: String,
    folder: std::path::PathBuf,
}

/// What a command answered.
#[derive(Debug)]
pub struct Answer {
    /// The exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it said beside that.
    pub err: String,
}

impl Rosterctl {
    /// An operator at this Roster, in this folder.
    pub fn new(world: &World, token: &str, folder: &Path) -> Self {
        Self {
            addr: world.grpc_addr(),
            token: token.to_owned(),
            folder: folder.to_owned(),
        }
    }

    /// The same operator at another address.
    pub fn at(&self, addr: &str) -> Self {
        Self {
            addr: addr.to_owned(),
            ..self.clone()
        }
    }

    /// The same operator with another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// A command, not run yet. Nothing of this process's environment is passed on.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("rosterctl").unwrap());
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .env("ROSTER_GRPC_ADDR", &self.addr)
            .env("ROSTER_TOKEN", &self.token)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Answer {
        let mut command = self.command(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        Answer::of(output.unwrap().unwrap())
    }

    /// Runs a command that is to succeed and answers with its JSON.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> impl Future<Output = Value> {
        let mut all = vec!["--output", "json"];
        all.extend(arguments);
        let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let this = self.clone();
        async move {
            let arguments: Vec<&str> = all.iter().map(String::as_str).collect();
            let answer = this.run(&arguments).await;
            assert_eq!(answer.code, Some(0), "{arguments:?}: {answer:?}");
            serde_json::from_str(&answer.out).unwrap()
        }
    }
}

impl Answer {
    /// Of a process that has ended.
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

/// An operator who may do everything at a site that has no one but its Owner.
#[derive(Debug)]
pub struct Operator {
    /// The Roster.
    pub world: World,
    /// The site.
    pub acme: Site,
    /// Where commands run.
    pub folder: TempDir,
    /// The command line, with the site's service token.
    pub ctl: Rosterctl,
}

/// Starts a Roster with a site, and an operator at it.
pub async fn operator() -> Operator {
    let world = World::start().await;
    let acme = world.acme().await;
    let folder = tempfile::tempdir().unwrap();
    let ctl = Rosterctl::new(&world, &acme.service_token, folder.path());
    Operator {
        world,
        acme,
        folder,
        ctl,
    }
}

/// The rows of a file in JSON lines.
pub fn rows(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// How many rows an import created, updated, left unchanged and refused.
pub fn counts(answer: &Answer) -> [i64; 4] {
    let said: Value = serde_json::from_str(&answer.out).unwrap();
    ["created", "updated", "unchanged", "refused"].map(|name| said[name].as_i64().unwrap())
}
