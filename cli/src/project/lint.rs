//! Loading a stack for looking at all of it.

use std::collections::BTreeSet;

use stack_planner::lint::Lint;
use stack_planner::{Diagnostic, Loaded};

use super::{Phases, Settings, diagnostics};
use crate::context::Context;
use crate::error::Error;
use crate::source::Files;

/// What was found, and the files it was found in.
#[derive(Debug)]
pub(crate) struct Linted {
    pub(crate) found: Vec<Lint>,
    pub(crate) loaded: Loaded,
}

impl Context {
    /// Loads the stack with every profile and everything that is not used, and
    /// looks for what is unwise. Warnings of the loader are shown.
    ///
    /// # Errors
    /// There is no file, or it has errors.
    pub(crate) fn lint(&self, allow: &BTreeSet<String>) -> Result<Linted, Error> {
        let settings = Settings::new(&self.global)?;
        let source = Files::with(settings.remotes());
        let files = self.files_to_load(&settings, &source)?;
        let phases = Phases {
            resolve_environment: false,
            prune: false,
            ..Phases::default()
        };
        let every = vec!["*".to_owned()];
        // Those that are disabled may ask for what cannot be.
        let running = Phases {
            resolve_environment: false,
            ..Phases::default()
        };
        let profiles = settings.profiles.clone();
        let unfit = self.load(&source, &settings, files.clone(), &[], running, profiles);
        let unfit = unfit.project.and_then(|project| project.spec().err());
        let mut loaded = self.load(&source, &settings, files, &[], phases, every);
        let found = match &loaded.project {
            Some(project) => stack_planner::lint::lint(project, allow),
            None => Vec::new(),
        };
        // What is a finding of its own is not told twice.
        loaded
            .diagnostics
            .retain(|found| found.code != stack_planner::diagnostic::codes::OBSOLETE_VERSION);
        let mut all = loaded.diagnostics.clone();
        all.extend(unfit.unwrap_or_default());
        diagnostics::show(self, &loaded, &all);
        if all.iter().any(Diagnostic::is_error) {
            return Err(Error::BadFile);
        }
        Ok(Linted { found, loaded })
    }
}
