//! Log lines as the user reads them: `web-1  | text`, a colour per
//! container, the bars one below the other.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal, Stderr, Stdout, Write};

use anstyle::AnsiColor;
use stack_api::container::Container;
use stack_api::logs::LogLine;

use crate::error::Error;
use crate::exits::Exited;
use crate::progress::Screen;
use crate::ui::{Paint, Ui, palette, untrusted};

/// The colours of the prefixes, in turn.
const COLOURS: [AnsiColor; 10] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
    AnsiColor::BrightYellow,
    AnsiColor::BrightGreen,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightBlue,
];

/// How lines are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// Colour of prefixes on standard output.
    pub(crate) paint: Paint,
    /// The same, on standard error.
    pub(crate) paint_err: Paint,
    /// Say which container a line is from.
    pub(crate) prefix: bool,
    /// Say when it was written.
    pub(crate) timestamps: bool,
    /// What came from standard error goes there: as with Docker Compose not for `logs`,
    /// whose output is searched and kept.
    pub(crate) apart: bool,
}

impl Look {
    /// As this user wants it, without colours unless `colour`.
    pub(crate) fn new(ui: Ui, colour: bool) -> Look {
        Look {
            paint: Paint(colour && ui.out.0),
            paint_err: Paint(colour && ui.err.0),
            prefix: true,
            timestamps: false,
            apart: true,
        }
    }
}

/// Writes lines to the stream that they came from: standard output or standard
/// error.
#[derive(Debug)]
pub(crate) struct Printer<W: Write = BufWriter<Stdout>, E: Write = BufWriter<Stderr>> {
    out: W,
    err: E,
    /// The last line went to standard error.
    to_err: bool,
    look: Look,
    /// What else is on the screen.
    screen: Option<Screen>,
    /// Standard output and standard error are terminals.
    terminals: (bool, bool),
    project: String,
    colours: BTreeMap<String, AnsiColor>,
    width: usize,
}

impl Printer {
    /// A printer; containers that are known give the width of the prefix.
    pub(crate) fn new(look: Look, project: &str, known: &[Container]) -> Printer {
        let terminals = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let streams = (BufWriter::new(io::stdout()), BufWriter::new(io::stderr()));
        Printer::to(streams, terminals, look, project, known)
    }
}

impl<W: Write, E: Write> Printer<W, E> {
    fn to(
        (out, err): (W, E),
        terminals: (bool, bool),
        look: Look,
        project: &str,
        known: &[Container],
    ) -> Self {
        let project = project.to_owned();
        let mut printer = Printer {
            out,
            err,
            to_err: false,
            look,
            screen: None,
            terminals,
            project,
            colours: BTreeMap::new(),
            width: 0,
        };
        printer.know(known);
        printer
    }

    /// Makes room for the names of these containers.
    pub(crate) fn know<'a>(&mut self, containers: impl IntoIterator<Item = &'a Container>) {
        for container in containers {
            self.meet(&container.name);
        }
    }

    /// From now on lines are written beside this, or beside nothing.
    pub(crate) fn beside(&mut self, screen: Option<Screen>) {
        self.screen = screen;
    }

    /// Prints a line; it may stay in a buffer until [`flush`](Self::flush).
    ///
    /// # Errors
    /// Its stream is closed.
    pub(crate) fn line(&mut self, line: &LogLine) -> Result<(), Error> {
        if line.missed {
            let word = self.look.paint_err.paint(palette::WARN, "warning:");
            let name = self.short(&line.container);
            let text = format!(
                "{word} lines of {name} are missing here: they were deleted from its log before \
                 they were read (`logging.options` says how much is kept)"
            );
            self.write(true, &text)?;
        }
        let to_err = line.stderr && self.look.apart;
        let (paint, terminal) = match to_err {
            true => (self.look.paint_err, self.terminals.1),
            false => (self.look.paint, self.terminals.0),
        };
        let mut text = String::new();
        if self.look.prefix {
            text.push_str(&self.prefix(&line.container, paint));
        }
        if self.look.timestamps {
            text.push_str(&paint.paint(palette::DIM, timestamp(line.time_ns)));
            text.push(' ');
        }
        if terminal {
            text.push_str(&untrusted::for_terminal(&line.line));
        } else {
            text.push_str(&line.line);
        }
        self.write(to_err, &text)
    }

    /// Says how a container has ended, in place of a line of it.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub(crate) fn exited(&mut self, exited: &Exited) -> Result<(), Error> {
        let name = self.short(&exited.name);
        let remark = format_args!("{name} exited with code {}", exited.code);
        let text = self.look.paint.paint(palette::DIM, remark);
        self.write(false, &text)
    }

    /// Both streams may lead to one place, where the order of lines is kept.
    fn write(&mut self, to_err: bool, text: &str) -> Result<(), Error> {
        match self.screen.clone() {
            // What it shows comes between whole lines.
            Some(screen) => screen.aside(|| {
                self.put(to_err, text)?;
                self.flush()
            }),
            None => self.put(to_err, text),
        }
    }

    fn put(&mut self, to_err: bool, text: &str) -> Result<(), Error> {
        if self.to_err != to_err {
            self.flush()?;
            self.to_err = to_err;
        }
        let written = match to_err {
            true => writeln!(self.err, "{text}"),
            false => writeln!(self.out, "{text}"),
        };
        written.map_err(Error::Output)
    }

    /// Brings everything to the user's eyes.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let flushed = match self.to_err {
            true => self.err.flush(),
            false => self.out.flush(),
        };
        flushed.map_err(Error::Output)
    }

    fn prefix(&mut self, container: &str, paint: Paint) -> String {
        let colour = self.meet(container);
        let (name, width) = (self.short(container), self.width);
        let prefix = paint.paint(colour.on_default(), format_args!("{name:<width$}  |"));
        format!("{prefix} ")
    }

    fn meet(&mut self, container: &str) -> AnsiColor {
        self.width = self.width.max(self.short(container).chars().count());
        let next = COLOURS[self.colours.len() % COLOURS.len()];
        *self.colours.entry(container.to_owned()).or_insert(next)
    }

    /// The name without the project, which is the same for all.
    fn short<'a>(&self, container: &'a str) -> &'a str {
        let rest = container.strip_prefix(self.project.as_str());
        rest.and_then(|rest| rest.strip_prefix('-'))
            .unwrap_or(container)
    }
}

/// A time in UTC, with nanoseconds.
pub(crate) fn timestamp(ns: u64) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(ns)) {
        Ok(time) => format!("{time:.9}"),
        Err(_) => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(container: &str, text: &str) -> LogLine {
        LogLine {
            container: container.to_owned(),
            service: "web".to_owned(),
            number: 1,
            time_ns: 1_700_000_000_123_456_789,
            stderr: false,
            line: text.to_owned(),
            missed: false,
        }
    }

    fn print(terminal: bool, look: Look, lines: &[LogLine]) -> String {
        let (out, err) = print_both(terminal, look, lines);
        assert_eq!(err, "");
        out
    }

    fn print_both(terminal: bool, look: Look, lines: &[LogLine]) -> (String, String) {
        let known = [Container {
            name: "shop-database-1".to_owned(),
            ..Container::default()
        }];
        let streams = (Vec::new(), Vec::new());
        let mut printer = Printer::to(streams, (terminal, terminal), look, "shop", &known);
        lines.iter().for_each(|line| printer.line(line).unwrap());
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(printer.out), text(printer.err))
    }

    const PLAIN: Look = Look {
        paint: Paint(false),
        paint_err: Paint(false),
        prefix: true,
        timestamps: false,
        apart: true,
    };

    #[test]
    fn prefixes_are_aligned() {
        let out = print(
            false,
            PLAIN,
            &[line("shop-web-1", "hello"), line("own-name", "x")],
        );
        assert_eq!(out, "web-1       | hello\nown-name    | x\n");
    }

    #[test]
    fn each_line_goes_to_its_own_stream() {
        let wrong = LogLine {
            stderr: true,
            ..line("shop-web-1", "wrong")
        };
        let (out, err) = print_both(false, PLAIN, &[line("shop-web-1", "well"), wrong]);
        assert_eq!(out, "web-1       | well\n");
        assert_eq!(err, "web-1       | wrong\n");
        let look = Look {
            apart: false,
            ..PLAIN
        };
        let wrong = LogLine {
            stderr: true,
            ..line("shop-web-1", "wrong")
        };
        assert_eq!(print(false, look, &[wrong]), "web-1       | wrong\n");
    }

    #[test]
    fn a_container_keeps_its_colour() {
        let look = Look {
            paint: Paint(true),
            ..PLAIN
        };
        let out = print(
            false,
            look,
            &[line("shop-web-1", "a"), line("shop-web-1", "b")],
        );
        assert_eq!(out.matches("\u{1b}[33mweb-1").count(), 2, "{out:?}");
    }

    #[test]
    fn times_and_bare_lines() {
        let look = Look {
            timestamps: true,
            prefix: false,
            ..PLAIN
        };
        let out = print(false, look, &[line("shop-web-1", "a")]);
        assert_eq!(out, "2023-11-14T22:13:20.123456789Z a\n");
    }

    #[test]
    fn only_a_terminal_is_protected() {
        let nasty = line("shop-web-1", "a\u{1b}[2Jb");
        assert_eq!(
            print(true, PLAIN, std::slice::from_ref(&nasty)),
            "web-1       | ab\n"
        );
        assert_eq!(print(false, PLAIN, &[nasty]), "web-1       | a\u{1b}[2Jb\n");
    }

    #[test]
    fn a_gap_is_told_of_beside_the_lines() {
        let after_gap = LogLine {
            missed: true,
            ..line("shop-web-1", "on")
        };
        let look = Look {
            apart: false,
            ..PLAIN
        };
        let (out, err) = print_both(false, look, &[line("shop-web-1", "well"), after_gap]);
        assert_eq!(out, "web-1       | well\nweb-1       | on\n");
        assert!(
            err.starts_with("warning: lines of web-1 are missing here"),
            "{err}"
        );
    }
}
