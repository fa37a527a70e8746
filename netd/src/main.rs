//! `stack-netd`: serves one stack's networks until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use stack_netd::Options;
use tracing_subscriber::EnvFilter;

/// The network daemon of one stack.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Control socket to serve.
    #[arg(long, value_name = "SOCKET")]
    control: PathBuf,
    /// Where the last applied configuration is kept, and read from at start.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Resolver to ask in place of those in /etc/resolv.conf; repeatable.
    #[arg(long, value_name = "ADDRESS:PORT")]
    resolver: Vec<SocketAddr>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_env("STACK_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A log that cannot be written, on a full disk, stops nothing.
        .log_internal_errors(false)
        .with_ansi(false)
        .init();
    // Sockets and files are for this user alone, from their first moment.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let options = Options {
        control: args.control,
        config: args.config,
        resolvers: args.resolver,
    };
    match stack_netd::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the network daemon ends");
            ExitCode::FAILURE
        }
    }
}
