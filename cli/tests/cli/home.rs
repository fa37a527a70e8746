//! A hermetic place to run the command in.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use crate::fake::Fake;

/// The stack file of most tests.
pub(crate) const STACK: &str = "\
name: shop
services:
  web:
    image: web:1
    depends_on: [db]
  db:
    image: db:1
";

/// A home of its own with a stack file in `work`.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    /// A home with [`STACK`] as its stack file.
    pub(crate) fn new() -> Home {
        Home::with(STACK)
    }

    /// A home with this stack file.
    pub(crate) fn with(stack: &str) -> Home {
        let dir = tempfile::Builder::new()
            .prefix("stack-cli")
            .tempdir()
            .unwrap();
        for sub in ["work", "run", "data"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        std::fs::write(dir.path().join("work/stack.yaml"), stack).unwrap();
        Home { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.path().join("work")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join("run/stackd.sock")
    }

    /// A scripted daemon on this home's socket.
    pub(crate) fn daemon(&self) -> Fake {
        Fake::listen(&self.socket())
    }

    /// The command, ready to run; nothing of this process's environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_stack")), args)
    }

    /// The same for another copy of the program.
    pub(crate) fn command_of(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .env("STACK_HOME", self.path())
            .env("HOME", self.path())
            .env("PATH", "/usr/bin:/bin")
            .current_dir(self.work())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        Run::of(self.command(args).output().unwrap())
    }

    /// Runs the command with something on standard input.
    pub(crate) fn run_with_input(&self, args: &[&str], input: &[u8]) -> Run {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        Run::of(child.wait_with_output().unwrap())
    }

    /// Starts the command and lets it run.
    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn of(output: Output) -> Run {
        Run {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It ended with this code, or the test shows what it said.
    #[track_caller]
    pub(crate) fn ended_with(self, code: i32) -> Run {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }
}

/// Sends a signal by its name.
pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args(["-s", name, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}
