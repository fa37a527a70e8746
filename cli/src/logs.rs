//! Log lines as the user reads them: `web-1  | text`, a colour per
//! container, the bars one below the other.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use anstyle::AnsiColor;
use stack_api::container::Container;
use stack_api::logs::LogLine;

use crate::error::Error;
use crate::ui::{Paint, palette, untrusted};

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
    /// Colour of prefixes.
    pub(crate) paint: Paint,
    /// Say which container a line is from.
    pub(crate) prefix: bool,
    /// Say when it was written.
    pub(crate) timestamps: bool,
}

/// Writes lines to standard output.
#[derive(Debug)]
pub(crate) struct Printer<W: Write = BufWriter<Stdout>> {
    out: W,
    look: Look,
    terminal: bool,
    project: String,
    colours: BTreeMap<String, AnsiColor>,
    width: usize,
}

impl Printer {
    /// A printer; containers that are known give the width of the prefix.
    pub(crate) fn new(look: Look, project: &str, known: &[Container]) -> Printer {
        let terminal = io::stdout().is_terminal();
        Printer::to(BufWriter::new(io::stdout()), terminal, look, project, known)
    }
}

impl<W: Write> Printer<W> {
    fn to(out: W, terminal: bool, look: Look, project: &str, known: &[Container]) -> Self {
        let project = project.to_owned();
        let mut printer = Printer {
            out,
            look,
            terminal,
            project,
            colours: BTreeMap::new(),
            width: 0,
        };
        for container in known {
            printer.meet(&container.name);
        }
        printer
    }

    /// Prints a line; it may stay in a buffer until [`flush`](Self::flush).
    ///
    /// # Errors
    /// Standard output is closed.
    pub(crate) fn line(&mut self, line: &LogLine) -> Result<(), Error> {
        let mut text = String::new();
        if self.look.prefix {
            text.push_str(&self.prefix(&line.container));
        }
        if self.look.timestamps {
            text.push_str(&self.look.paint.paint(palette::DIM, timestamp(line.time_ns)));
            text.push(' ');
        }
        if self.terminal {
            text.push_str(&untrusted::for_terminal(&line.line));
        } else {
            text.push_str(&line.line);
        }
        writeln!(self.out, "{text}").map_err(Error::Output)
    }

    /// A remark about a container in place of a line of it.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub(crate) fn remark(&mut self, container: &str, remark: &str) -> Result<(), Error> {
        let name = self.short(container).to_owned();
        let text = self
            .look
            .paint
            .paint(palette::DIM, format_args!("{name} {remark}"));
        writeln!(self.out, "{text}").map_err(Error::Output)
    }

    /// Brings everything to the user's eyes.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.out.flush().map_err(Error::Output)
    }

    fn prefix(&mut self, container: &str) -> String {
        let colour = self.meet(container);
        let (name, width) = (self.short(container), self.width);
        let prefix = self
            .look
            .paint
            .paint(colour.on_default(), format_args!("{name:<width$}  |"));
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
        }
    }

    fn print(terminal: bool, look: Look, lines: &[LogLine]) -> String {
        let known = [Container {
            name: "shop-database-1".to_owned(),
            ..Container::default()
        }];
        let mut printer = Printer::to(Vec::new(), terminal, look, "shop", &known);
        lines.iter().for_each(|line| printer.line(line).unwrap());
        String::from_utf8(printer.out).unwrap()
    }

    const PLAIN: Look = Look {
        paint: Paint(false),
        prefix: true,
        timestamps: false,
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
}
