//! Shows how far an operation is.
//!
//! | `--progress` | on a terminal | elsewhere |
//! |---|---|---|
//! | `auto` | as `tty` | as `plain` |
//! | `tty` | live lines with bars and spinners | the same |
//! | `plain` | one line per finished step | the same |
//! | `json` | the daemon's events, one JSON object per line, on standard output | the same |
//! | `quiet` | warnings only | the same |

mod live;
mod plain;
mod steps;

use std::collections::VecDeque;
use std::time::Duration;

use indicatif::MultiProgress;
use stack_api::event::{ApiError, Event};

use crate::client::Lines;
use crate::error::{Error, is_service_failure};
use crate::exit;
use crate::interrupt::Interrupts;
use crate::ui::{self, Ui, untrusted};
use live::Live;
use plain::Plain;

/// `--progress`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// Live on a terminal, plain elsewhere.
    #[default]
    Auto,
    /// Live lines.
    Tty,
    /// One line per finished step.
    Plain,
    /// The events as they are, one JSON object per line.
    Json,
    /// Nothing but warnings.
    Quiet,
}

/// How often what takes long is looked at.
const TICK: Duration = Duration::from_millis(500);

/// Lines of a build that nobody sees, kept for the case that it fails.
const HELD: usize = 20;

enum Show {
    Live(Box<Live>),
    Plain(Plain),
    Json,
    Quiet,
}

/// Lines that are redrawn in place, if there are some: for others who write
/// meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Screen(Option<MultiProgress>);

impl Screen {
    /// Writes whole lines above them.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(lines) => lines.suspend(write),
            None => write(),
        }
    }
}

/// The display of one operation.
pub(crate) struct Progress {
    ui: Ui,
    show: Show,
    pulls: bool,
    /// What builds say is shown.
    builds: bool,
    /// The last of it that was not.
    held: VecDeque<String>,
}

impl Progress {
    /// A display; nothing is shown yet.
    pub(crate) fn new(ui: Ui, mode: Mode) -> Progress {
        let show = match mode {
            Mode::Auto if ui.live => Show::Live(Box::new(Live::new(ui))),
            Mode::Tty => Show::Live(Box::new(Live::new(ui))),
            Mode::Auto | Mode::Plain => Show::Plain(Plain::new(ui)),
            Mode::Json => Show::Json,
            Mode::Quiet => Show::Quiet,
        };
        Progress {
            ui,
            show,
            pulls: true,
            builds: true,
            held: VecDeque::new(),
        }
    }

    /// Says nothing of images.
    #[must_use]
    pub(crate) fn without_pulls(self) -> Progress {
        Progress {
            pulls: false,
            ..self
        }
    }

    /// Says nothing of what builds say.
    #[must_use]
    pub(crate) fn without_builds(self) -> Progress {
        Progress {
            builds: false,
            ..self
        }
    }

    /// For lines that are written while it is shown.
    pub(crate) fn screen(&self) -> Screen {
        Screen(match &self.show {
            Show::Live(live) => Some(live.lines()),
            Show::Plain(_) | Show::Json | Show::Quiet => None,
        })
    }

    /// Follows an operation to its end. Dropped before that, it cancels the
    /// operation.
    ///
    /// # Errors
    /// The operation failed; the connection broke; or the user pressed
    /// Ctrl-C ([`Error::Interrupted`]): the answer has been dropped then,
    /// which cancels the operation on the daemon's side.
    pub(crate) async fn follow(
        mut self,
        mut events: Lines<Event>,
        interrupts: &mut Interrupts,
    ) -> Result<Summary, Error> {
        let result = self.run(&mut events, interrupts).await;
        drop(events);
        match &mut self.show {
            Show::Live(live) => live.end(result.is_ok()),
            Show::Plain(_) | Show::Json | Show::Quiet => {}
        }
        result
    }

    async fn run(
        &mut self,
        events: &mut Lines<Event>,
        interrupts: &mut Interrupts,
    ) -> Result<Summary, Error> {
        let mut summary = Summary::default();
        let mut tick = tokio::time::interval(TICK);
        loop {
            let event = tokio::select! {
                event = events.next() => event?,
                () = interrupts.next() => return Err(Error::Interrupted),
                _ = tick.tick() => {
                    self.tick();
                    continue;
                }
            };
            let Some(event) = event else {
                return Err(Error::Lost("the answer ended too early".to_owned()));
            };
            self.event(&event)?;
            match event {
                Event::Done { took_ms } => {
                    summary.took_ms = took_ms;
                    return Ok(summary);
                }
                Event::Failed(error) => return Err(own_code(error).into()),
                Event::Step {
                    kind,
                    name,
                    status,
                    finished,
                    ..
                } if kind == "container" && finished => {
                    summary.containers.insert(name, status != "removed");
                }
                Event::Step { .. }
                | Event::Layer { .. }
                | Event::Output { .. }
                | Event::Warning { .. }
                | Event::Note { .. } => {}
            }
        }
    }

    fn event(&mut self, event: &Event) -> Result<(), Error> {
        let is_pull = match event {
            Event::Layer { .. } => true,
            Event::Step { kind, .. } => kind == "image",
            Event::Output { .. }
            | Event::Warning { .. }
            | Event::Note { .. }
            | Event::Done { .. }
            | Event::Failed(_) => false,
        };
        let is_build = matches!(event, Event::Output { .. });
        let is_hidden = !self.builds || matches!(self.show, Show::Quiet);
        match event {
            Event::Output { name, line } if is_hidden => self.hold(name, line),
            Event::Failed(error) if error.code == "build_failed" => {
                let held = std::mem::take(&mut self.held);
                self.screen().aside(|| held.into_iter().for_each(ui::say));
            }
            _ => {}
        }
        if (is_pull && !self.pulls) || (is_build && !self.builds) {
            return Ok(());
        }
        match (&mut self.show, event) {
            (Show::Json, event) => {
                let line = serde_json::to_string(event).map_err(std::io::Error::from);
                ui::print_line(line.map_err(Error::Output)?)?;
            }
            (Show::Live(live), event) => live.event(event),
            (Show::Plain(plain), event) => plain.event(event),
            (Show::Quiet, Event::Warning { message }) => self.ui.warn(untrusted::plain(message)),
            (Show::Quiet, _) => {}
        }
        Ok(())
    }

    /// Keeps a line for the case that the build fails.
    fn hold(&mut self, name: &str, line: &str) {
        if self.held.len() == HELD {
            self.held.pop_front();
        }
        let (name, line) = (untrusted::plain(name), untrusted::plain(line));
        self.held.push_back(format!("{name} | {line}"));
    }

    fn tick(&mut self) {
        match &mut self.show {
            Show::Plain(plain) => plain.tick(),
            Show::Live(_) | Show::Json | Show::Quiet => {}
        }
    }
}

/// A service that failed is that, whatever its program's exit code: only commands
/// that run one themselves end with those.
fn own_code(mut error: ApiError) -> ApiError {
    if is_service_failure(&error) {
        error.exit_code = i32::from(exit::FAILURE);
    }
    error
}

/// What an operation came to.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// Milliseconds it took.
    pub(crate) took_ms: u64,
    /// Containers it finished something with, and whether they are there.
    containers: std::collections::BTreeMap<String, bool>,
}

impl Summary {
    /// How many containers it finished something with.
    pub(crate) fn containers(&self) -> usize {
        self.containers.len()
    }

    /// How many of them were not removed by it.
    pub(crate) fn that_stay(&self) -> usize {
        self.containers.values().filter(|stays| **stays).count()
    }
}
