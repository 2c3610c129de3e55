//! `make demo`: acts as Okta for a made-up company, and holds what came of it to the company's CSV.

mod company;
mod progress;
mod report;
mod story;

use std::{env, path::Path, process::ExitCode};

use anyhow::{Context, Result};
use company::Company;
use identity_proto::v1::GetCallerRequest;
use tokio::runtime::Runtime;

use crate::{
    dev_env::DevEnv,
    grpc::{Caller, site},
    guard::{Charge, Guard},
    okta::{AppKind, Okta},
    ports::free_port,
    postgres::ClusterOptions,
    run::{DEV_ENV, FOLDER},
    secret::random_text,
    services::StopFlag,
    stack::{Database, Ports, Stack, StackOptions},
};

/// Plays the demonstration beside the stack of the current folder, or on one of its own.
pub fn demo(app: AppKind) -> Result<ExitCode> {
    let company = Company::load()?;
    let runtime = Runtime::new().context("no runtime")?;
    let folder = env::current_dir()
        .context("the current folder is gone")?
        .join(FOLDER);
    let facts = DevEnv::read(&folder.join(DEV_ENV))?;
    if let Some(facts) = facts.filter(|facts| runtime.block_on(answers(facts))) {
        eprintln!("Beside the running stack: {}", facts.scim_url);
        return runtime.block_on(play(&facts, &company, app));
    }
    eprintln!("No stack is running here; starting one for the demonstration");
    let guard = Guard::spawn(None)?;
    let folder = tempfile::Builder::new().prefix("roster-demo-").tempdir()?;
    guard.watch(Charge::Folder(folder.path().to_owned()))?;
    let stack = Stack::start(own_stack(folder.path())?, &guard, &runtime, |line| {
        eprintln!("  {line}");
    })?;
    let outcome = runtime.block_on(play(stack.facts(), &company, app));
    drop(stack);
    outcome
}

async fn play(facts: &DevEnv, company: &Company, app: AppKind) -> Result<ExitCode> {
    eprintln!(
        "Okta pushes a company of {} people and {} groups",
        company.people.len(),
        company.groups.len()
    );
    story::play(facts, company, app).await?;
    let differences = report::report(facts, company).await?;
    if differences.is_empty() {
        println!(
            "All {} people hold what the CSV says.",
            company.people.len()
        );
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} differences from what the CSV says:", differences.len());
    for difference in differences {
        println!("  {difference}");
    }
    Ok(ExitCode::FAILURE)
}

/// Whether a stack with these facts runs, and takes these tokens.
async fn answers(facts: &DevEnv) -> bool {
    let scim = async {
        Okta::new(&facts.scim_url, &facts.scim_token)?
            .test_credentials()
            .await
    };
    let grpc = async {
        let caller = Caller::new(&facts.grpc_addr, &facts.service_token)?;
        let request = caller.request(GetCallerRequest {
            site: site(&facts.site_domain),
            ..Default::default()
        });
        caller.credentials().get_caller(request).await?;
        anyhow::Ok(())
    };
    scim.await.is_ok() && grpc.await.is_ok()
}

/// A stack on free ports with a database that is thrown away.
fn own_stack(folder: &Path) -> Result<StackOptions> {
    Ok(StackOptions {
        database: Database::Private(ClusterOptions::temporary()?),
        ports: Ports {
            facade: free_port()?,
            facade_admin: free_port()?,
            identity: free_port()?,
            identity_admin: free_port()?,
        },
        logs: folder.to_owned(),
        known: DevEnv {
            bootstrap_token: random_text(43),
            ..DevEnv::default()
        },
        inherit_settings: false,
        variables: Vec::new(),
        stop: StopFlag::default(),
    })
}
