//! Errors, drawn with miette.

use std::fmt::{self, Display};

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};

use super::{Ui, untrusted};
use crate::error::Error;

/// A failed command. What an image or a guest had to say of it may be a part of
/// the message.
#[derive(Debug)]
struct Failed<'a>(&'a Error);

impl Display for Failed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&untrusted::lines(&self.0.to_string()))
    }
}

impl std::error::Error for Failed<'_> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(self.0)
    }
}

impl Diagnostic for Failed<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        self.0.code().map(|code| Box::new(code) as Box<dyn Display>)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        let help = self.0.help().map(|help| untrusted::lines(&help));
        help.map(|help| Box::new(help) as Box<dyn Display>)
    }
}

/// An error as text for standard error.
pub(crate) fn failure(ui: Ui, error: &Error) -> String {
    draw(ui, &Failed(error))
}

/// Any diagnostic as text for standard error.
pub(crate) fn draw(ui: Ui, diagnostic: &dyn Diagnostic) -> String {
    let theme = match (ui.err.0, is_unicode()) {
        (true, true) => GraphicalTheme::unicode(),
        (false, true) => GraphicalTheme::unicode_nocolor(),
        (true, false) => GraphicalTheme::ascii(),
        (false, false) => GraphicalTheme::none(),
    };
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(theme).with_width(ui.width.clamp(40, 100));
    if handler.render_report(&mut text, diagnostic).is_err() {
        return diagnostic.to_string();
    }
    text.lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The locale can show more than ASCII.
pub(crate) fn is_unicode() -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .is_none_or(|locale| {
            locale
                .to_ascii_lowercase()
                .replace('-', "")
                .contains("utf8")
        })
}

#[cfg(test)]
mod tests {
    use stack_api::event::ApiError;

    use super::*;
    use crate::ui::Paint;

    #[test]
    fn what_a_guest_says_cannot_steer_the_terminal() {
        let nasty = "a\u{1b}]52;c;aGk=\u{7}b\u{9b}2J";
        let error = Error::from(ApiError::new("service_failed", nasty).help(nasty));
        let ui = Ui {
            out: Paint(false),
            err: Paint(false),
            live: false,
            width: 80,
        };
        let told = failure(ui, &error);
        assert!(told.contains("52;c;aGk="), "{told}");
        assert!(!told.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{told:?}");
    }
}
