//! `post_start` and `pre_stop`: commands beside the service.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stack_api::container::State;
use stack_api::event::ApiError;
use stack_api::hook::Hook;
use stack_protocol::config::Exec;
use stack_vmm::Agent;
use tokio::sync::mpsc;

use super::{Handle, Record, process, vm_error};

/// Longest piece of a hook's output that is one line of the log, in bytes.
const LONGEST: usize = 16 << 10;

/// A line that a hook wrote.
#[derive(Debug)]
pub(super) struct Said {
    /// Standard error instead of standard output.
    pub stderr: bool,
    /// The line without its newline.
    pub line: Vec<u8>,
}

/// Runs `post_start`, one after the other.
///
/// # Errors
/// One cannot be started or ends with another code than 0.
pub(super) async fn begin(
    handle: &Arc<Handle>,
    agent: Agent,
    say: mpsc::Sender<Said>,
) -> Result<(), ApiError> {
    let record = handle.record();
    if record.container.state != State::Starting {
        return Ok(());
    }
    for hook in &record.spec.hooks.post_start {
        one(&record, &agent, &say, "post_start", hook).await?;
    }
    Ok(())
}

/// Runs `pre_stop` within the grace period; gives what is left of that, in
/// milliseconds. What goes wrong is told in the log: the stop goes on.
pub(super) async fn end(
    record: &Record,
    agent: &Agent,
    say: &mpsc::Sender<Said>,
    grace_ms: u64,
) -> u64 {
    let began = Instant::now();
    let all = async {
        for hook in &record.spec.hooks.pre_stop {
            if let Err(error) = one(record, agent, say, "pre_stop", hook).await {
                complain(say, error.message).await;
            }
        }
    };
    let limit = Duration::from_millis(grace_ms);
    if tokio::time::timeout(limit, all).await.is_err() {
        complain(
            say,
            "the pre_stop hooks took all of the grace period".to_owned(),
        )
        .await;
    }
    let took = began.elapsed().as_millis() as u64;
    grace_ms.saturating_sub(took)
}

async fn complain(say: &mpsc::Sender<Said>, line: String) {
    let _ = say
        .send(Said {
            stderr: true,
            line: line.into_bytes(),
        })
        .await;
}

async fn one(
    record: &Record,
    agent: &Agent,
    say: &mpsc::Sender<Said>,
    kind: &str,
    hook: &Hook,
) -> Result<(), ApiError> {
    let failed = |why: String| {
        let name = &record.container.name;
        let command = hook.command.join(" ");
        ApiError::new(
            "service_failed",
            format!("the {kind} hook `{command}` of {name} {why}"),
        )
    };
    let mut session = agent
        .exec(exec(record, hook))
        .await
        .map_err(|error| failed(format!("cannot be run: {}", vm_error(error).message)))?;
    session.write(Vec::new()).await;
    let mut lines = [Vec::new(), Vec::new()];
    while let Some((stream, data)) = session.output.recv().await {
        let line = &mut lines[usize::from(stream == 2)];
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            if line.ends_with(b"\n") || line.len() >= LONGEST {
                tell(say, stream == 2, line).await;
            }
        }
    }
    for (n, line) in lines.iter_mut().enumerate() {
        if !line.is_empty() {
            tell(say, n == 1, line).await;
        }
    }
    let exit = session.exit().await;
    match (exit.error, exit.code) {
        (Some(why), _) => Err(failed(format!("failed: {why}"))),
        (None, 0) => Ok(()),
        (None, code) => Err(failed(format!("ended with exit code {code}"))),
    }
}

async fn tell(say: &mpsc::Sender<Said>, stderr: bool, line: &mut Vec<u8>) {
    let mut line = std::mem::take(line);
    if line.ends_with(b"\n") {
        line.pop();
    }
    let _ = say.send(Said { stderr, line }).await;
}

fn exec(record: &Record, hook: &Hook) -> Exec {
    let service = &record.blueprint.config.process;
    Exec {
        args: hook.command.clone(),
        env: process::over(&service.env, &hook.environment),
        cwd: hook
            .working_dir
            .clone()
            .unwrap_or_else(|| service.cwd.clone()),
        user: hook.user.clone().unwrap_or_else(|| service.user.clone()),
        tty: false,
        size: None,
        stdin: true,
        privileged: hook.privileged || service.privileged,
        ..service.clone()
    }
}
