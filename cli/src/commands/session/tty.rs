//! Whether a command gets this terminal, and what is typed on it.

use crate::terminal;

/// The options for it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Terminal {
    /// Do not give the command a terminal
    #[arg(short = 'T', long, alias = "no-TTY")]
    no_tty: bool,

    /// Keep its standard input open; this is the default
    #[arg(
        short,
        long,
        value_name = "BOOL",
        default_value_t = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        hide = true
    )]
    pub(crate) interactive: bool,

    /// Give it a terminal if there is one; this is the default
    #[arg(
        short,
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        hide = true
    )]
    tty: Option<bool>,
}

impl Terminal {
    /// It is to have a terminal, and there is one.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.no_tty && self.tty != Some(false) && terminal::is_interactive()
    }
}
