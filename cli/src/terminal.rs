//! The terminal as a device: raw mode and size.

use std::io::{self, IsTerminal};

use rustix::process::getpgrp;
use rustix::stdio::stdin;
use rustix::termios::{
    LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
};

/// Standard input in raw mode: keys come one by one, Ctrl-C is a byte.
/// Dropping it restores what was.
#[derive(Debug)]
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// Switches to raw mode.
    ///
    /// # Errors
    /// Standard input is not a terminal.
    pub(crate) fn enter() -> io::Result<Raw> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Raw { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that has gone needs no restoring.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

/// A terminal that does not show what is typed: the `^C` of a Ctrl-C would
/// move lines that are redrawn in place. Dropping it restores what was.
#[derive(Debug)]
pub(crate) struct NoEcho {
    before: Termios,
}

impl NoEcho {
    /// Switches the echo off, if this process may: one in the background
    /// would be stopped for it.
    pub(crate) fn enter() -> Option<NoEcho> {
        let before = tcgetattr(stdin()).ok().filter(|_| is_foreground())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin(), OptionalActions::Now, &silent).ok()?;
        Some(NoEcho { before })
    }
}

impl Drop for NoEcho {
    fn drop(&mut self) {
        if is_foreground() {
            let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
        }
    }
}

/// A terminal that gives each key at once and shows none; Ctrl-C is a signal
/// as ever. Dropping it restores what was.
#[derive(Debug)]
pub(crate) struct KeyByKey {
    before: Termios,
}

impl KeyByKey {
    /// Takes the keys, if standard input is a terminal that this process may
    /// read.
    pub(crate) fn enter() -> Option<KeyByKey> {
        let before = tcgetattr(stdin()).ok().filter(|_| is_foreground())?;
        let mut mode = before.clone();
        mode.local_modes
            .remove(LocalModes::ECHO | LocalModes::ICANON);
        tcsetattr(stdin(), OptionalActions::Now, &mode).ok()?;
        Some(KeyByKey { before })
    }
}

impl Drop for KeyByKey {
    fn drop(&mut self) {
        if is_foreground() {
            let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
        }
    }
}

fn is_foreground() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp())
}

/// Rows and columns of the terminal, if there is one.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(rustix::stdio::stdout())
        .or_else(|_| tcgetwinsize(stdin()))
        .ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Standard input and output are a terminal.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}
