//! What `stack init` asks on a terminal. An empty line takes what is offered.

use std::io::{self, BufRead, Write};

use stack_planner::init::{self, Answers, Server};

use crate::error::Error;

/// Asks about what was found, and changes it by the answers.
///
/// # Errors
/// The terminal is gone, or the input ended.
pub(super) fn ask(answers: &mut Answers) -> Result<(), Error> {
    let (mut input, mut output) = (io::stdin().lock(), io::stderr().lock());
    Dialog {
        input: &mut input,
        output: &mut output,
    }
    .all(answers)
    .map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::Interrupted,
        _ => Error::Output(error),
    })
}

struct Dialog<'a> {
    input: &'a mut dyn BufRead,
    output: &'a mut dyn Write,
}

impl Dialog<'_> {
    fn all(&mut self, answers: &mut Answers) -> io::Result<()> {
        let name = self.line("Project name", &answers.project)?;
        answers.project = init::project_name(&name);
        if let Some(app) = &mut answers.app {
            app.image = self.checked(&format!("Image of {}", app.service), &app.image, is_image)?;
            let port = self.checked(
                "Port it listens on (0: none)",
                &app.port.to_string(),
                |text| text.parse::<u16>().is_ok(),
            )?;
            app.port = port.parse().unwrap_or(app.port);
        }
        for server in Server::all() {
            let there = answers.servers.contains(&server);
            match (
                there,
                self.yes(&format!("With {}?", server.title()), there)?,
            ) {
                (false, true) => answers.servers.push(server),
                (true, false) => answers.servers.retain(|other| *other != server),
                (true, true) | (false, false) => {}
            }
        }
        Ok(())
    }

    /// One line of the user, or what is offered.
    fn line(&mut self, question: &str, offered: &str) -> io::Result<String> {
        write!(self.output, "{question} [{offered}]: ")?;
        self.output.flush()?;
        let mut text = String::new();
        let mut limited = io::Read::take(&mut *self.input, 4096);
        if limited.read_line(&mut text)? == 0 {
            writeln!(self.output)?;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = text.trim();
        Ok(if text.is_empty() { offered } else { text }.to_owned())
    }

    /// Asks until the answer will do.
    fn checked(
        &mut self,
        question: &str,
        offered: &str,
        good: impl Fn(&str) -> bool,
    ) -> io::Result<String> {
        loop {
            let text = self.line(question, offered)?;
            if good(&text) {
                return Ok(text);
            }
            writeln!(self.output, "That cannot be.")?;
        }
    }

    fn yes(&mut self, question: &str, offered: bool) -> io::Result<bool> {
        let known = |text: &str| matches!(text.to_lowercase().as_str(), "y" | "yes" | "n" | "no");
        let answer = self.checked(question, if offered { "y" } else { "n" }, known)?;
        Ok(answer.to_lowercase().starts_with('y'))
    }
}

fn is_image(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-/:@".contains(c))
        && text.chars().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_change_what_was_found() {
        let mut answers = init::template("web-postgres", "Shop").unwrap();
        let mut output = Vec::new();
        let mut input: &[u8] = b"\nnginx:1.29\nmany\n8080\nno\n\n\n\nYES\n\n";
        let mut dialog = Dialog {
            input: &mut input,
            output: &mut output,
        };
        dialog.all(&mut answers).unwrap();
        let app = answers.app.unwrap();
        assert_eq!(
            (answers.project.as_str(), app.image.as_str(), app.port),
            ("shop", "nginx:1.29", 8080)
        );
        let names: Vec<_> = answers.servers.iter().map(Server::name).collect();
        assert_eq!(names, ["redis"]);
        assert!(
            String::from_utf8(output)
                .unwrap()
                .contains("That cannot be.")
        );
    }

    #[test]
    fn the_end_of_the_input_is_no_answer() {
        let mut answers = init::template("redis", "x").unwrap();
        let mut input: &[u8] = b"name\n";
        let mut dialog = Dialog {
            input: &mut input,
            output: &mut io::sink(),
        };
        assert!(dialog.all(&mut answers).is_err());
    }
}
