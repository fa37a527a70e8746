//! Asking before something goes: what it is and how much is shown first.

use std::io::{IsTerminal, stdin};

use crate::error::Error;
use crate::ui::{self, Ui, human};

/// The options of what deletes.
#[derive(Debug, clap::Args)]
pub(crate) struct Care {
    /// Do not ask
    #[arg(short, long)]
    force: bool,

    /// Only show
    #[arg(long)]
    dry_run: bool,
}

/// Things that would go, or are gone.
pub(crate) trait Going {
    /// What they are, in the plural.
    const KIND: &'static str;

    /// There are none.
    fn is_empty(&self) -> bool;

    /// A line for each.
    fn lines(&self, ui: Ui) -> Vec<String>;

    /// Bytes of the disk.
    fn bytes(&self) -> u64;
}

impl Care {
    /// Has `order` say what would go (`true`), asks, and has it go (`false`).
    /// What is gone, or what would go when that is all that is wanted; `None`
    /// when the answer is no.
    ///
    /// # Errors
    /// Those of `order`, or there is nobody to ask.
    pub(crate) async fn take<T: Going>(
        &self,
        ui: Ui,
        order: impl AsyncFn(bool) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        if self.dry_run || !self.force {
            let found = order(true).await?;
            if self.dry_run || found.is_empty() {
                return Ok(Some(found));
            }
            for line in found.lines(ui) {
                ui::say(line);
            }
            let frees = format!("This frees {}. Go on?", human::bytes(found.bytes()));
            if !confirmed(T::KIND, &frees)? {
                return Ok(None);
            }
        }
        order(false).await.map(Some)
    }
}

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
