//! `stack-fsd`: the file server of one user's VMs.
//!
//! usage: `stack-fsd --control SOCKET`

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("STACK_LOG")
                .unwrap_or_else(|_| "info".into()),
        )
        .with_writer(std::io::stderr)
        // A log that cannot be written, on a full disk, stops nothing.
        .log_internal_errors(false)
        .with_ansi(false)
        .init();
    let mut args = std::env::args_os().skip(1);
    let first = args.next().unwrap_or_default();
    let result = match first.to_str() {
        Some("--control") => match args.next() {
            Some(socket) => stack_files::keep(&PathBuf::from(socket)),
            None => Err(std::io::Error::other("--control needs a path")),
        },
        // The keeper starts its server so.
        Some("--serve") => stack_files::serve(),
        _ => Err(std::io::Error::other("usage: stack-fsd --control SOCKET")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the file server ends");
            ExitCode::FAILURE
        }
    }
}
