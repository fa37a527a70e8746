//! Running a command with a time limit and keeping what it said.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wait_timeout::ChildExt;

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How it was called.
    pub line: String,
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Finished {
    /// Standard output of a command that must have succeeded.
    ///
    /// # Panics
    /// It failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self}");
        self.stdout
    }

    /// A command that must have failed, in an orderly way.
    ///
    /// # Panics
    /// It succeeded, was ended by a signal, or panicked.
    #[track_caller]
    pub fn fails(self) -> Finished {
        assert!(
            matches!(self.code, Some(code) if code != 0),
            "should have failed: {self}"
        );
        assert!(!self.stderr.contains("panicked at"), "{self}");
        self
    }

    /// A command that must have failed with this exit code, in an orderly way.
    ///
    /// # Panics
    /// It ended with another one, was ended by a signal, or panicked.
    #[track_caller]
    pub fn fails_with(self, code: i32) -> Finished {
        let failed = self.fails();
        assert_eq!(failed.code, Some(code), "{failed}");
        failed
    }

    /// Asserts that the user was told `text`, in either letter case.
    ///
    /// # Panics
    /// It is nowhere in the output.
    #[track_caller]
    pub fn says(self, text: &str) -> Finished {
        // Long messages are wrapped to the terminal's width.
        let said = format!("{} {}", self.stdout, self.stderr).to_lowercase();
        let flat: String = said
            .split(|c: char| c.is_whitespace() || c == '│')
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        assert!(
            flat.contains(&text.to_lowercase()),
            "{text:?} is not in: {self}"
        );
        self
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Finished {
            line,
            code,
            stdout,
            stderr,
            took,
        } = self;
        writeln!(f, "`{line}` ended with {code:?} after {took:?}")?;
        write!(f, "--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// A command that runs in the background of a test.
#[derive(Debug)]
pub(crate) struct Background {
    pub(crate) child: Child,
    line: String,
    began: Instant,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
}

/// Starts a command, collecting its output.
///
/// # Panics
/// It cannot be started.
pub(crate) fn start(mut command: Command) -> Background {
    let line = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let began = Instant::now();
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("`{line}`: {error}"));
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    Background {
        child,
        line,
        began,
        stdout,
        stderr,
    }
}

impl Background {
    /// Waits for its end.
    ///
    /// # Panics
    /// It does not end within the limit.
    pub(crate) fn finish(mut self, limit: Duration) -> Finished {
        let status = self
            .child
            .wait_timeout(limit)
            .expect("cannot wait for a child");
        if status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let finished = Finished {
            line: self.line,
            code: status.and_then(|status: ExitStatus| status.code()),
            stdout: self.stdout.join().unwrap_or_default(),
            stderr: self.stderr.join().unwrap_or_default(),
            took: self.began.elapsed(),
        };
        assert!(status.is_some(), "did not end within {limit:?}: {finished}");
        finished
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
