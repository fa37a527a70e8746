//! Logs and ends of containers, as they come.

use std::collections::BTreeSet;
use std::time::Duration;

use stack_api::container::{Container, State};
use stack_api::logs::LogLine;
use stack_api::request::LogQuery;
use tokio::time::{Interval, MissedTickBehavior};

use super::super::menu::{Menu, Wish};
use super::{Abort, Foreground};
use crate::client::{Client, Lines};
use crate::context::containers;
use crate::error::Error;
use crate::exit;
use crate::exits::{Exited, Exits};
use crate::interrupt::Interrupts;
use crate::logs::Printer;
use crate::progress::Screen;
use crate::ui::human;

/// How often containers are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(400);

/// Why following ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Ctrl-C.
    Interrupted,
    /// A container ended, and that ends all.
    Aborted {
        /// Which, and how.
        by: Exited,
    },
    /// The user has seen enough, and the services go on.
    Detached,
    /// Nothing runs any more of what is watched.
    Over,
}

/// What is being watched, and how far it has been shown.
pub(in super::super) struct Watch<'a> {
    what: &'a Foreground<'a>,
    client: &'a Client,
    lines: Lines<LogLine>,
    printer: Printer,
    exits: Exits,
    looks: Interval,
    /// Containers that ran before the start, until that is done: it may stop and replace
    /// them, and then their ends mean nothing.
    before: BTreeSet<String>,
    /// The services are being started.
    starting: bool,
    /// Why following ends before it begins.
    end: Option<End>,
    /// Ends that will be told at the next look: their last lines may still
    /// be on their way.
    pending: Vec<Exited>,
    /// What ran before the start and was stopped during it: told if nothing replaces it.
    held: Vec<Exited>,
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
    /// Begins with lines and ends from this moment on, before the start. Lines are
    /// written beside its progress.
    ///
    /// # Errors
    /// The daemon is not there.
    pub(in super::super) async fn new(
        what: &'a Foreground<'a>,
        client: &'a Client,
        screen: Screen,
    ) -> Result<Watch<'a>, Error> {
        let last_ns = human::now_ms().saturating_mul(1_000_000);
        let (exits, list) = Exits::from_now_on(client, &what.stack).await?;
        let before = list.iter().filter(|container| container.goes_on());
        let mut looks = tokio::time::interval(LOOK_EVERY);
        // Lines have their turn, too.
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut printer = Printer::new(what.look, &what.stack, &[]);
        printer.beside(Some(screen));
        Ok(Watch {
            lines: lines(what, client, last_ns).await?,
            printer,
            exits,
            looks,
            before: before.map(|container| container.id.clone()).collect(),
            starting: true,
            end: None,
            pending: Vec::new(),
            held: Vec::new(),
            open: !what.attached.is_empty(),
            last_ns,
            code: None,
            idle: false,
            what,
            client,
        })
    }

    /// Shows lines until the start is done. `None`: a container has ended before
    /// that, and that ends all.
    ///
    /// # Errors
    /// The start fails; or the daemon goes away, or standard output does.
    pub(in super::super) async fn while_starting<T>(
        &mut self,
        start: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, Error> {
        let until_end = async {
            loop {
                if let Some(end) = self.step().await? {
                    return Ok(end);
                }
            }
        };
        let result = tokio::select! {
            biased;
            started = start => started.map(Ok),
            end = until_end => end.map(Err),
        };
        self.starting = false;
        self.printer.beside(None);
        Ok(match result? {
            Ok(started) => Some(started),
            Err(end) => {
                self.end = Some(end);
                None
            }
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
        if let Some(end) = self.end.take() {
            return Ok(end);
        }
        loop {
            tokio::select! {
                biased;
                () = interrupts.next() => return Ok(End::Interrupted),
                wish = wish(menu) => match wish {
                    Wish::Detach => {
                        self.printer.flush()?;
                        return Ok(End::Detached);
                    }
                    Wish::Watch => menu.iter().for_each(Menu::toggle_watch),
                },
                end = self.step() => if let Some(end) = end? {
                    return Ok(end);
                },
            }
        }
    }

    /// Shows the next line, or looks at the containers. Cancel-safe: a look that
    /// was cut off is followed by another one.
    async fn step(&mut self) -> Result<Option<End>, Error> {
        let printer = &mut self.printer;
        let line = tokio::select! {
            biased;
            // Before the lines: a service that never stops talking must
            // not hide the end of another one.
            _ = self.looks.tick() => return self.look().await,
            never = self.exits.attend() => match never? {},
            line = self.lines.next_or_idle(|| printer.flush()), if self.open => line?,
        };
        match line {
            Some(line) => self.show(&line)?,
            // The daemon has nothing more to follow.
            None => {
                self.open = false;
                self.looks.reset_immediately();
            }
        }
        Ok(None)
    }

    /// Goes on showing lines until `stop` is done.
    ///
    /// # Errors
    /// As [`follow`](Self::follow), and what `stop` gives.
    pub(in super::super) async fn while_stopping(
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
        let shown = list.iter().filter(|c| self.is_attached(&c.service));
        let shown: Vec<&Container> = shown.collect();
        self.printer.know(shown);
        let mut news = self.exits.news(&list).await?;
        let ran_before = |exited: &Exited| {
            let same = |one: &&Container| one.name == exited.name && self.before.contains(&one.id);
            list.iter().find(same)
        };
        if self.starting {
            // They may be stopped to make way for others.
            let held = news.extract_if(.., |exited| exited.stopped && ran_before(exited).is_some());
            self.held.extend(held);
        } else {
            let held = std::mem::take(&mut self.held).into_iter();
            let down = |exited: &Exited| ran_before(exited).is_some_and(|one| !one.goes_on());
            news.extend(held.filter(down));
            self.before.clear();
        }
        // It may have begun and ended between two looks, and nobody has its lines.
        let is_news = !self.open && news.iter().any(|one| self.is_attached(&one.service));
        let mut ended = std::mem::replace(&mut self.pending, news);
        if is_news {
            self.reopen().await?;
        } else if !self.open {
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
            Abort::AnyEnd => exited.code != 0 || !self.what.jobs.contains(&exited.service),
            Abort::Failure => exited.code != 0,
        };
        if let Some(first) = ended.iter().find(fatal) {
            return Ok(Some(End::Aborted { by: first.clone() }));
        }
        let live: Vec<&Container> = list.iter().filter(|c| c.goes_on()).collect();
        if !self.open
            && live
                .iter()
                .any(|container| self.is_attached(&container.service))
        {
            // A new container in the place of one that had ended.
            self.reopen().await?;
        }
        if self.starting {
            return Ok(None);
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

    /// Asks for the lines behind the last one.
    async fn reopen(&mut self) -> Result<(), Error> {
        self.lines = lines(self.what, self.client, self.last_ns + 1).await?;
        self.open = true;
        Ok(())
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

async fn lines(
    what: &Foreground<'_>,
    client: &Client,
    since_ns: u64,
) -> Result<Lines<LogLine>, Error> {
    let query = LogQuery {
        services: Some(what.attached.join(",")),
        follow: true,
        since_ns: Some(since_ns),
        ..LogQuery::default()
    };
    client.logs(&what.stack, &query).await
}
