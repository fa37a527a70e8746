//! What every command gets: how to talk, and what was said on the command
//! line for all of them.

use hyper::Method;
use serde::Serialize;
use stack_api::container::Container;

use crate::args::Global;
use crate::client::{Client, daemon};
use crate::error::Error;
use crate::exit;
use crate::interrupt::Interrupts;
use crate::progress::{Mode, Progress, Summary};
use crate::ui::{Ui, human};

/// What every command gets.
#[derive(Debug)]
pub(crate) struct Context {
    /// How to talk to this user.
    pub(crate) ui: Ui,
    /// Options of every command.
    pub(crate) global: Global,
}

impl Context {
    /// A client; the daemon is started if need be.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) async fn client(&self) -> Result<Client, Error> {
        daemon::connect(self.ui).await
    }

    /// Says why something failed.
    pub(crate) fn tell(&self, error: &Error) {
        if error.is_silent() {
            return;
        }
        if !error.is_annotated() {
            self.global.annotate.failure(error, Vec::new());
        }
        crate::project::diagnostics::failure(self.ui, self.global.diagnostics, error);
    }

    /// Does something for each word. What fails is told, and the others are done all
    /// the same; the exit code is that of the first failure.
    ///
    /// # Errors
    /// There is only one word, or nothing can be done any more.
    pub(crate) async fn each(
        &self,
        words: &[String],
        mut one: impl AsyncFnMut(&str) -> Result<(), Error>,
    ) -> Result<u8, Error> {
        let mut code = exit::OK;
        for word in words {
            match one(word).await {
                Ok(()) => {}
                Err(error) if words.len() == 1 || error.is_final() => return Err(error),
                Err(error) => {
                    self.tell(&error);
                    if code == exit::OK {
                        code = error.exit_code();
                    }
                }
            }
        }
        Ok(code)
    }

    /// Has the daemon bring images here or elsewhere, and says how many they
    /// are and how long it took, unless `quiet`.
    ///
    /// # Errors
    /// As [`Progress::follow`], and the daemon is not there.
    pub(crate) async fn transfer(
        &self,
        path: &str,
        images: usize,
        body: &impl Serialize,
        quiet: bool,
    ) -> Result<(), Error> {
        let client = self.client().await?;
        let summary = self.operate(&client, path, body, quiet).await?;
        if !quiet {
            let (count, took) = (human::count(images, "image"), human::took(summary.took_ms));
            self.ui.note(format_args!("{count} in {took}"));
        }
        Ok(())
    }

    /// Does a call that answers with events and shows them as the user wants
    /// it, unless `quiet`.
    ///
    /// # Errors
    /// As [`Progress::follow`].
    pub(crate) async fn operate(
        &self,
        client: &Client,
        path: &str,
        body: &impl Serialize,
        quiet: bool,
    ) -> Result<Summary, Error> {
        let mut interrupts = Interrupts::take()?;
        let events = client.events(Method::POST, path, body).await?;
        let mode = if quiet {
            Mode::Quiet
        } else {
            self.global.progress
        };
        Progress::new(self.ui, mode)
            .follow(events, &mut interrupts)
            .await
    }
}

/// All containers of a stack.
///
/// # Errors
/// The daemon is not there.
pub(crate) async fn containers(client: &Client, stack: &str) -> Result<Vec<Container>, Error> {
    client.get(&format!("/v1/stacks/{stack}/containers")).await
}
