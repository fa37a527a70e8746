//! Logs and ends of containers, as they come.

use std::time::Duration;

use stack_api::container::{Container, State};
use stack_api::logs::LogLine;
use stack_api::request::LogQuery;
use tokio::time::MissedTickBehavior;

use super::super::menu::{Menu, Wish};
use super::{Abort, Foreground};
use crate::client::{Client, Lines};
use crate::context::containers;
use crate::error::Error;
use crate::exit;
use crate::exits::{Exited, Exits};
use crate::interrupt::Interrupts;
use crate::logs::Printer;

/// How often containers are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(400);

/// Why following ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Ctrl-C.
    Interrupted,
    /// A container ended, and that ends all.
    Aborted {
        /// Its exit code.
        code: u8,
    },
    /// The user has seen enough, and the services go on.
    Detached,
    /// Nothing runs any more of what is watched.
    Over,
}

/// What is being watched, and how far it has been shown.
pub(super) struct Watch<'a> {
    what: &'a Foreground,
    client: &'a Client,
    lines: Lines<LogLine>,
    printer: Printer,
    exits: Exits,
    /// Ends that will be told at the next look: their last lines may still
    /// be on their way.
    pending: Vec<Exited>,
    /// The daemon has more lines.
    open: bool,
    last_ns: u64,
    /// Exit code of the first container to end of the service whose code is
    /// ours.
    code: Option<u8>,
    /// Nothing that is watched ran at the last look.
    idle: bool,
}

impl<'a> Watch<'a> {
    /// Begins with lines and ends after `since_ms`.
    ///
    /// # Errors
    /// The daemon is not there.
    pub(super) async fn new(
        what: &'a Foreground,
        client: &'a Client,
        since_ms: u64,
    ) -> Result<Watch<'a>, Error> {
        let mut known = containers(client, &what.stack).await?;
        known.retain(|one| !one.one_off && what.attached.contains(&one.service));
        let last_ns = since_ms.saturating_mul(1_000_000);
        Ok(Watch {
            lines: lines(what, client, last_ns).await?,
            printer: Printer::new(what.look, &what.stack, &known),
            exits: Exits::since(since_ms),
            pending: Vec::new(),
            open: !what.attached.is_empty(),
            last_ns,
            code: None,
            idle: false,
            what,
            client,
        })
    }

    /// Shows lines until there is a reason to end.
    ///
    /// # Errors
    /// The daemon goes away, or standard output does.
    pub(super) async fn follow(
        &mut self,
        interrupts: &mut Interrupts,
        menu: &mut Option<Menu>,
    ) -> Result<End, Error> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        // Lines have their turn, too.
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let printer = &mut self.printer;
            let line = tokio::select! {
                biased;
                () = interrupts.next() => return Ok(End::Interrupted),
                wish = wish(menu) => match wish {
                    Wish::Detach => {
                        printer.flush()?;
                        return Ok(End::Detached);
                    }
                    Wish::Watch => {
                        menu.iter().for_each(Menu::toggle_watch);
                        continue;
                    }
                },
                // Before the lines: a service that never stops talking must
                // not hide the end of another one.
                _ = look.tick() => {
                    if let Some(end) = self.look().await? {
                        return Ok(end);
                    }
                    continue;
                }
                line = self.lines.next_or_idle(|| printer.flush()), if self.open => line?,
            };
            match line {
                Some(line) => self.show(&line)?,
                // The daemon has nothing more to follow.
                None => {
                    self.open = false;
                    look.reset_immediately();
                }
            }
        }
    }

    /// Goes on showing lines until `stop` is done.
    ///
    /// # Errors
    /// As [`follow`](Self::follow), and what `stop` gives.
    pub(super) async fn while_stopping(
        &mut self,
        stop: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        tokio::select! {
            stopped = stop => stopped?,
            shown = self.drain_for_ever() => shown?,
        }
        // Last words that are on their way.
        if let Ok(rest) = tokio::time::timeout(LOOK_EVERY, self.drain()).await {
            rest?;
        }
        self.printer.flush()
    }

    /// Looks at the containers.
    async fn look(&mut self) -> Result<Option<End>, Error> {
        let list = self
            .what
            .ours(containers(self.client, &self.what.stack).await?);
        let mut ended = std::mem::replace(&mut self.pending, self.exits.news(&list));
        if !self.open {
            ended.append(&mut self.pending);
        }
        for exited in &ended {
            if self.what.exit_code_from.as_ref() == Some(&exited.service) {
                self.code.get_or_insert(exit::clamp(exited.code));
            }
            if self.is_attached(&exited.service) {
                self.printer.exited(exited)?;
            }
        }
        self.printer.flush()?;
        let fatal = |exited: &&Exited| match self.what.abort {
            _ if !self.what.watched.contains(&exited.service) => false,
            Abort::Never => false,
            Abort::AnyEnd => true,
            Abort::Failure => exited.code != 0,
        };
        if let Some(first) = ended.iter().find(fatal) {
            return Ok(Some(End::Aborted {
                code: exit::clamp(first.code),
            }));
        }
        let live: Vec<&Container> = list.iter().filter(|c| c.goes_on()).collect();
        if !self.open
            && live
                .iter()
                .any(|container| self.is_attached(&container.service))
        {
            // A new container in the place of one that had ended.
            self.lines = lines(self.what, self.client, self.last_ns + 1).await?;
            self.open = true;
        }
        let is_watched = |container: &Container| self.what.watched.contains(&container.service);
        // One that is made anew may take its time to start.
        let to_come = |c: &Container| c.goes_on() || c.state == State::Created;
        let idle = !list.iter().any(|c| is_watched(c) && to_come(c));
        let was_idle = std::mem::replace(&mut self.idle, idle);
        // Until the next look there are last lines, where logs of others go on,
        // or a new container for one that is gone.
        let ended = list
            .iter()
            .any(|c| is_watched(c) && c.state != State::Created);
        let over = idle && (was_idle || !self.open && ended) && self.pending.is_empty();
        Ok(over.then_some(End::Over))
    }

    /// The exit code of the service that was named for it, if it has ended.
    pub(super) fn code(&self) -> Option<u8> {
        self.code
    }

    async fn drain_for_ever(&mut self) -> Result<(), Error> {
        self.drain().await?;
        std::future::pending().await
    }

    async fn drain(&mut self) -> Result<(), Error> {
        while self.open {
            let printer = &mut self.printer;
            match self.lines.next_or_idle(|| printer.flush()).await? {
                Some(line) => self.show(&line)?,
                None => self.open = false,
            }
        }
        Ok(())
    }

    fn show(&mut self, line: &LogLine) -> Result<(), Error> {
        self.last_ns = self.last_ns.max(line.time_ns);
        self.printer.line(line)
    }

    fn is_attached(&self, service: &str) -> bool {
        self.what
            .attached
            .iter()
            .any(|attached| attached == service)
    }
}

/// The next key that means something.
async fn wish(menu: &mut Option<Menu>) -> Wish {
    match menu {
        Some(menu) => menu.wish().await,
        None => std::future::pending().await,
    }
}

async fn lines(what: &Foreground, client: &Client, since_ns: u64) -> Result<Lines<LogLine>, Error> {
    let query = LogQuery {
        services: Some(what.attached.join(",")),
        follow: true,
        since_ns: Some(since_ns),
        ..LogQuery::default()
    };
    client.logs(&what.stack, &query).await
}
