//! Watching files beside the logs: on and off, and after a change of the stack file.

use std::convert::Infallible;

use stack_api::request;
use stack_planner::Project;
use tokio::sync::watch;

use crate::client::Client;
use crate::context::Context;
use crate::error::Error;
use crate::project::diagnostics;
use crate::project::lock::LockUse;
use crate::watch::{Alone, StackFiles, Watching};

/// What `up` was asked for, for as long as it shows logs.
pub(super) struct Watcher<'a> {
    pub(super) context: &'a Context,
    pub(super) client: &'a Client,
    pub(super) lock: LockUse,
    pub(super) started: &'a request::Up,
}

impl Watcher<'_> {
    /// Watches the files of the project that is being started.
    ///
    /// # Errors
    /// Somebody else does, or a rule cannot be followed.
    pub(super) fn first(&self, project: &Project, files: StackFiles) -> Result<Watching, Error> {
        let alone = Alone::with(&self.started.spec.name)?;
        self.make((project, files), self.started, alone)
    }

    /// Watches files as long as it is wanted. When the system cannot, it is not
    /// wanted any more, and the logs go on.
    pub(super) async fn when_wanted(
        &self,
        mut watching: Option<Watching>,
        on: &watch::Sender<bool>,
    ) -> Infallible {
        let mut wanted = on.subscribe();
        loop {
            if !*wanted.borrow_and_update() {
                // Another one may watch now.
                watching = None;
            } else if watching.is_none() {
                watching = self.begin().map_err(|error| self.off(on, &error)).ok();
            }
            let Some(current) = &mut watching else {
                // The sender lives as long as this does.
                let _ = wanted.changed().await;
                continue;
            };
            let ended = tokio::select! {
                ended = current.until_files_change(std::future::pending::<()>()) => ended,
                _ = wanted.changed() => {
                    // However often: it begins anew.
                    watching = None;
                    continue;
                }
            };
            match ended {
                Ok(_) => {
                    let note = "the stack file changed: `stack up -d` applies it";
                    self.context.ui.note(note);
                    if let Err(error) = self.go_on(current) {
                        self.show(&error);
                        self.context.ui.note("the old rules stay in force");
                    }
                }
                Err(error) => {
                    watching = None;
                    self.off(on, &error);
                }
            }
        }
    }

    /// Watches what the stack files say now.
    ///
    /// # Errors
    /// They have mistakes, or as [`first`](Self::first).
    fn begin(&self) -> Result<Watching, Error> {
        let (loaded, files) = self.load();
        let (project, started) = loaded?;
        let alone = Alone::with(&started.spec.name)?;
        self.make((&project, files), &started, alone)
    }

    /// Goes on with what the stack files say now.
    ///
    /// # Errors
    /// They have mistakes: the rules stay.
    fn go_on(&self, watching: &mut Watching) -> Result<(), Error> {
        let (loaded, files) = self.load();
        let made = loaded.and_then(|(project, started)| {
            let files = (&project, files.clone());
            self.make(files, &started, watching.alone())
        });
        match made {
            Ok(new) => {
                let before = std::mem::replace(watching, new);
                watching.go_on_from(before);
                Ok(())
            }
            Err(error) => {
                watching.look_at(files);
                Err(error)
            }
        }
    }

    fn load(&self) -> (Result<(Project, request::Up), Error>, StackFiles) {
        let services = &self.started.services;
        let (loaded, paths) = self.context.spec_and_files(services, self.lock);
        let of_files = |(spec, project)| {
            let started = request::Up {
                spec,
                builds: crate::builds::of(&project),
                ..self.started.clone()
            };
            (project, started)
        };
        (loaded.map(of_files), StackFiles::new(paths))
    }

    fn make(
        &self,
        files: (&Project, StackFiles),
        started: &request::Up,
        alone: Alone,
    ) -> Result<Watching, Error> {
        let how = (false, true);
        Watching::new(
            self.context.ui,
            self.client.clone(),
            files,
            started,
            how,
            alone,
        )
    }

    fn off(&self, on: &watch::Sender<bool>, error: &Error) {
        self.show(error);
        self.context.ui.note("files are not watched any more");
        on.send_replace(false);
    }

    fn show(&self, error: &Error) {
        if !error.is_silent() {
            let context = self.context;
            diagnostics::failure(context.ui, context.global.diagnostics, error);
        }
    }
}
