//! When to stop, SIGTERM or SIGINT, and how to end.

use std::{io, process::ExitCode, time::Duration};

use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// How long threads may end what they do when all else has ended.
const LEFT_AFTER: Duration = Duration::from_secs(1);

/// A token that is cancelled at the first SIGTERM or SIGINT.
///
/// # Errors
/// Where the process may not listen for signals.
pub fn on_signal() -> io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = token.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
        stop.cancel();
    });
    Ok(token)
}

/// Runs a process to its end and answers with its exit code. What a thread still waits for a second later is left as it is: a
/// database that does not answer, or a name that nobody resolves, must not keep the process until it is killed.
pub fn run(process: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the process can't begin: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(process);
    runtime.shutdown_timeout(LEFT_AFTER);
    code
}
