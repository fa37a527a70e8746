//! How long reading and planning takes: `bench FILE…` prints the medians of the
//! processor time of each phase in milliseconds, as JSON. Used by
//! `make bench-plan`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a command, which does what the library must not"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use stack_api::request::Up;
use stack_planner::plan::{Observed, plan};
use stack_planner::{LoadOptions, MemorySource, Project, load};

/// What is measured is done at least this often, and for this long.
const ROUNDS: usize = 11;
const AT_LEAST: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let mut source = MemorySource::new();
    let mut files = Vec::new();
    for name in std::env::args().skip(1) {
        let path = std::path::absolute(&name).unwrap_or_default();
        match std::fs::read(&path) {
            Ok(bytes) => source = source.with(path.clone(), bytes),
            Err(error) => {
                eprintln!("{name}: {error}");
                return ExitCode::FAILURE;
            }
        }
        files.push(path);
    }
    let options = LoadOptions::new(files, PathBuf::from("/"));
    let read = || load(&source, &options);
    let loaded = read();
    let Some(project) = loaded.project else {
        eprintln!("{:#?}", loaded.diagnostics);
        return ExitCode::FAILURE;
    };
    let make = |project: &Project| project.spec().unwrap_or_default();
    let request = Up {
        spec: make(&project),
        ..Up::default()
    };
    let nothing = Observed::default();
    let times = [
        ("load", median(read)),
        ("spec", median(|| make(&project))),
        ("plan", median(|| plan(&request, &nothing))),
        ("yaml", median(|| project.to_yaml())),
        ("json", median(|| project.to_json())),
    ];
    let parts = times.map(|(name, time)| format!("\"{name}\": {:.3}", time * 1e3));
    println!("{{{}}}", parts.join(", "));
    ExitCode::SUCCESS
}

/// Median of the processor time of one call, in seconds.
fn median<T>(call: impl Fn() -> T) -> f64 {
    let begin = now();
    let mut times = Vec::new();
    while times.len() < ROUNDS || now() - begin < AT_LEAST.as_secs_f64() {
        let before = now();
        let value = std::hint::black_box(call());
        times.push(now() - before);
        // Freeing it does not count: nobody waits for that.
        drop(value);
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Processor time of this thread, in seconds.
fn now() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
