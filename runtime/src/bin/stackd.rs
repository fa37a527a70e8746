//! `stackd`: one per user, started by `stack` when it is needed.

use std::process::ExitCode;

use stack_api::event::ApiError;
use stack_runtime::api;
use stack_runtime::assets::Assets;
use stack_runtime::daemon::Daemon;
use stack_runtime::paths::Paths;
use stack_vmm::AnyBackend;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("STACK_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        // A log that cannot be written, on a full disk, stops nothing.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stackd: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    allow_files();
    let paths = Paths::from_env()?;
    // One daemon per home: a second one leaves the first alone.
    let lock = std::fs::File::create(paths.data.join("lock"))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| "another stackd serves this user already")?;
    let assets = Assets::find().map_err(told)?;
    let backend = AnyBackend::from_env(&paths.cache, &assets.kernel, &assets.initramfs);
    let daemon = Daemon::open(paths, assets, backend).await.map_err(told)?;
    tracing::info!(socket = %daemon.paths.socket.display(), "serving");
    api::serve(daemon).await?;
    drop(lock);
    Ok(())
}

/// So many files at most. Some programs that are started look at each number that
/// they may have.
const FILES: u64 = 1 << 16;

/// As many open files as it may have: several are needed for each VM, and the
/// usual limit (1024) is one for programs that use select(2).
fn allow_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(FILES, |most| most.min(FILES));
    if limit.current.is_some_and(|current| current < most) {
        limit.current = Some(most);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files stays");
        }
    }
}

fn told(error: ApiError) -> String {
    match error.help {
        Some(help) => format!("{}\n  help: {help}", error.message),
        None => error.message,
    }
}
