//! A folder with a stack file, and the command in it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::command::{self, Background, Finished};
use crate::home::Home;

/// No command takes longer, not even under emulation.
const LIMIT: Duration = Duration::from_secs(240);

/// A project. Dropping it removes the stack with its volumes.
#[derive(Debug)]
pub struct Project<'h> {
    home: &'h Home,
    dir: PathBuf,
    environment: Vec<(String, String)>,
}

impl<'h> Project<'h> {
    pub(crate) fn new(home: &'h Home, dir: PathBuf) -> Project<'h> {
        Project {
            home,
            dir,
            environment: Vec::new(),
        }
    }

    /// Sets a variable for the commands of this project.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl ToString) -> Project<'h> {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs `stack` with these arguments to its end.
    ///
    /// # Panics
    /// It cannot be started or does not end.
    pub fn stack(&self, arguments: &[&str]) -> Finished {
        command::start(self.command(arguments)).finish(LIMIT)
    }

    /// Runs a script of the shell to its end; `$STACK` is the command.
    ///
    /// # Panics
    /// It cannot be started or does not end.
    pub fn shell(&self, script: &str) -> Finished {
        let stack = self.command(&[]);
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(&self.dir);
        for (name, value) in stack.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("STACK", stack.get_program());
        command::start(command).finish(LIMIT)
    }

    /// Starts `stack` with these arguments.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn begin(&self, arguments: &[&str]) -> Begun {
        Begun(command::start(self.command(arguments)))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.command();
        command.args(arguments).current_dir(&self.dir);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// What `ps --all --format json` shows.
    ///
    /// # Panics
    /// The command fails or prints something else.
    #[track_caller]
    pub fn containers(&self) -> Vec<Value> {
        let text = self.stack(&["ps", "--all", "--format", "json"]).ok();
        serde_json::Deserializer::from_str(&text)
            .into_iter::<Value>()
            .map(|value| value.unwrap_or_else(|error| panic!("{error} in {text}")))
            .collect()
    }

    /// The only container of a service.
    ///
    /// # Panics
    /// There is none, or more than one.
    #[track_caller]
    pub fn container(&self, service: &str) -> Value {
        let mut found = self.containers();
        found.retain(|container| container["Service"] == service);
        assert_eq!(found.len(), 1, "containers of {service}");
        found.remove(0)
    }

    /// A text field of the only container of a service; empty if there is none.
    #[track_caller]
    pub fn field(&self, service: &str, field: &str) -> String {
        self.container(service)[field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        // Never panics: this may run while the test is failing.
        if std::thread::panicking() {
            for arguments in [
                &["ps", "--all"][..],
                &["logs", "--no-color", "--tail", "20"],
            ] {
                let shown = self.command(arguments).output();
                let text = shown.map(|output| output.stdout).unwrap_or_default();
                eprintln!(
                    "--- stack {}\n{}",
                    arguments[0],
                    String::from_utf8_lossy(&text)
                );
            }
        }
        let mut command = self.command(&["down", "--volumes", "--timeout", "2"]);
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let Ok(mut child) = command.spawn() else {
            return;
        };
        let limit = Duration::from_secs(30);
        if !matches!(
            wait_timeout::ChildExt::wait_timeout(&mut child, limit),
            Ok(Some(_))
        ) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A `stack` that runs beside the test.
#[derive(Debug)]
pub struct Begun(Background);

impl Begun {
    /// What Ctrl-C sends.
    pub fn interrupt(&self) {
        self.signal(Signal::SIGINT);
    }

    /// `kill -9`.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.0.child.id()) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Has it ended?
    pub fn has_ended(&mut self) -> bool {
        self.0.child.try_wait().is_ok_and(|ended| ended.is_some())
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It does not end within `seconds`.
    #[track_caller]
    pub fn finish(self, seconds: u64) -> Finished {
        self.0.finish(Duration::from_secs(seconds))
    }
}
