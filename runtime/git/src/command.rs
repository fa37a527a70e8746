//! One call of `git`.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

/// Characters of what git said that are kept.
const MESSAGE: usize = 300;

/// What is checked out goes into images: its modes are the same wherever it is
/// fetched, and not those that this process keeps its own files to itself with.
const WITH_MODES: &str = "umask 022 && exec git \"$@\"";
/// How a shell says that there is no such program.
const NOT_FOUND: i32 = 127;

/// Gives what it printed. It ends when the future is dropped.
///
/// # Errors
/// It is not there, or fails: what it said last, in one sentence.
pub(crate) async fn git(args: &[&str], folder: Option<&Path>) -> Result<String, String> {
    let mut command = Command::new("sh");
    command
        .args(["-c", WITH_MODES, "git"])
        // No hooks, and no way to run commands that a URL names.
        .args(["-c", "core.hooksPath=/dev/null"])
        .args(["-c", "protocol.ext.allow=never"])
        // No repository names one of this machine as its submodule.
        .args(["-c", "protocol.file.allow=user"])
        .args(args)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_HTTP_LOW_SPEED_LIMIT", "1000")
        .env("GIT_HTTP_LOW_SPEED_TIME", "30")
        // A stack in a repository must not be taken for that one.
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let output = command.output().await;
    let output = output.map_err(|error| format!("git: {error}"))?;
    if output.status.code() == Some(NOT_FOUND) {
        return Err("it needs git, which is not in PATH".to_owned());
    }
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let mut lines = said.lines().map(str::trim);
    let telling = lines
        .clone()
        .find(|line| line.starts_with("fatal:") || line.starts_with("error:"))
        .or_else(|| lines.rfind(|line| !line.is_empty()));
    let words = telling.unwrap_or("it failed").chars();
    // The other end may have had its say in it.
    let words: String = words.filter(|c| !c.is_control()).take(MESSAGE).collect();
    Err(format!("git: {words}"))
}
