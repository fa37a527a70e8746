//! Asking before something goes.

use std::io::{IsTerminal, stdin};

use crate::error::Error;
use crate::ui;

/// Asks, unless there is nobody to ask.
///
/// # Errors
/// Standard input is no terminal.
pub(crate) fn confirmed(what: &str, question: &str) -> Result<bool, Error> {
    if !stdin().is_terminal() {
        return Err(Error::Usage {
            message: format!("there is nobody to ask whether {what} shall be removed"),
            help: Some("say so with --force".to_owned()),
        });
    }
    ui::say(format!("{question} [y/N]"));
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer);
    let yes = matches!(answer.trim(), "y" | "Y" | "yes");
    Ok(read.is_ok() && yes)
}
