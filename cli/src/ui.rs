//! What the user sees: where colour goes, and how text is laid out.
//!
//! Standard output is data, standard error is talk; each has its own colour
//! decision, since one may be a terminal when the other is not.

pub(crate) mod form;
pub(crate) mod human;
pub(crate) mod report;
pub(crate) mod table;
pub(crate) mod untrusted;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use anstyle::{AnsiColor, Style};

use crate::error::Error;

/// The colours, by what they say.
pub(crate) mod palette {
    use super::{AnsiColor, Style};

    /// It is well.
    pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
    /// It needs a look.
    pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
    /// It failed.
    pub(crate) const BAD: Style = AnsiColor::Red.on_default();
    /// It moves.
    pub(crate) const BUSY: Style = AnsiColor::Cyan.on_default();
    /// It is not the point.
    pub(crate) const DIM: Style = Style::new().dimmed();
    /// It is the point.
    pub(crate) const STRONG: Style = Style::new().bold();
}

/// `--ansi`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Ansi {
    /// Colour and live progress on terminals.
    #[default]
    Auto,
    /// Colour even into pipes and files.
    Always,
    /// Neither.
    Never,
}

/// Colour or not, for one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    /// `text` in a style, or as it is.
    pub(crate) fn paint(self, style: Style, text: impl Display) -> String {
        if self.0 {
            format!("{style}{text}{style:#}")
        } else {
            text.to_string()
        }
    }
}

/// How to talk to this user.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ui {
    /// Colour on standard output.
    pub(crate) out: Paint,
    /// Colour on standard error.
    pub(crate) err: Paint,
    /// Standard error is a terminal that can move its cursor.
    pub(crate) live: bool,
    /// Columns of the terminal; a wide one when there is none.
    pub(crate) width: usize,
}

impl Ui {
    /// Decides by `--ansi`, the environment (`NO_COLOR`, `CLICOLOR`,
    /// `CLICOLOR_FORCE`, `TERM`) and what the streams are.
    pub(crate) fn new(ansi: Ansi) -> Ui {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let capable = env("TERM").is_none_or(|term| term != "dumb");
        let wish = wish(ansi, env);
        let decide = |terminal: bool| match wish {
            Some(colour) => Paint(colour),
            None => Paint(terminal && capable),
        };
        let err_terminal = io::stderr().is_terminal();
        Ui {
            out: decide(io::stdout().is_terminal()),
            err: decide(err_terminal),
            live: err_terminal && capable && ansi != Ansi::Never,
            width: width(),
        }
    }

    /// One sentence that is not an error, to standard error.
    pub(crate) fn warn(self, message: impl Display) {
        let word = self.err.paint(palette::WARN, "warning:");
        say(format_args!("{word} {message}"));
    }

    /// A remark, to standard error.
    pub(crate) fn note(self, message: impl Display) {
        say(self.err.paint(palette::DIM, message));
    }
}

/// A line to standard error. Nobody listening is not an error.
pub(crate) fn say(message: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{message}");
}

/// Where progress goes instead of standard error (`COMPOSE_STATUS_STDOUT`).
static STATUS_TO_STDOUT: AtomicBool = AtomicBool::new(false);

/// From now on progress goes to standard output.
pub(crate) fn send_status_to_stdout() {
    STATUS_TO_STDOUT.store(true, Ordering::Relaxed);
}

/// Does progress go to standard output?
pub(crate) fn status_is_on_stdout() -> bool {
    STATUS_TO_STDOUT.load(Ordering::Relaxed)
}

/// A line of progress. Nobody listening is not an error.
pub(crate) fn status(message: impl Display) {
    if status_is_on_stdout() {
        let _ = writeln!(io::stdout().lock(), "{message}");
    } else {
        say(message);
    }
}

/// Text to standard output.
///
/// # Errors
/// It could not be written; see [`Error::is_silent`].
pub(crate) fn print(text: impl Display) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    write!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(Error::Output)
}

/// Writes into this file, or to standard output when there is none.
///
/// # Errors
/// It could not be written.
pub(crate) fn print_into(file: Option<PathBuf>, text: String) -> Result<(), Error> {
    match file {
        Some(path) => std::fs::write(&path, text).map_err(|source| Error::File {
            doing: "cannot write",
            path,
            source,
        }),
        None => print(text),
    }
}

/// A line to standard output.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_line(text: impl Display) -> Result<(), Error> {
    print(format_args!("{text}\n"))
}

/// What was asked for, whatever the streams are.
fn wish(ansi: Ansi, env: impl Fn(&str) -> Option<String>) -> Option<bool> {
    match ansi {
        Ansi::Always => return Some(true),
        Ansi::Never => return Some(false),
        Ansi::Auto => {}
    }
    if env("NO_COLOR").is_some() {
        return Some(false);
    }
    if env("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
        return Some(true);
    }
    env("CLICOLOR").filter(|value| value == "0").map(|_| false)
}

fn width() -> usize {
    screen().map_or(200, |(width, _)| width)
}

/// Columns and lines of the terminal as it is now.
pub(crate) fn screen() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout())
        .or_else(|_| rustix::termios::tcgetwinsize(rustix::stdio::stderr()))
        .ok()?;
    let (width, height) = (usize::from(size.ws_col), usize::from(size.ws_row));
    (width > 0).then_some((width, height))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(ansi: Ansi, set: &[(&str, &str)]) -> Option<bool> {
        wish(ansi, |name| {
            set.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn the_option_beats_the_environment() {
        assert_eq!(with(Ansi::Always, &[("NO_COLOR", "1")]), Some(true));
        assert_eq!(with(Ansi::Never, &[("CLICOLOR_FORCE", "1")]), Some(false));
        assert_eq!(
            with(Ansi::Auto, &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]),
            Some(false)
        );
        assert_eq!(with(Ansi::Auto, &[("CLICOLOR_FORCE", "1")]), Some(true));
        assert_eq!(with(Ansi::Auto, &[("CLICOLOR", "0")]), Some(false));
        assert_eq!(with(Ansi::Auto, &[("CLICOLOR", "1")]), None);
        assert_eq!(with(Ansi::Auto, &[]), None);
    }

    #[test]
    fn paint_leaves_plain_text_alone() {
        assert_eq!(Paint(false).paint(palette::GOOD, "x"), "x");
        assert_eq!(
            Paint(true).paint(palette::GOOD, "x"),
            "\u{1b}[32mx\u{1b}[0m"
        );
    }
}
