//! Loading a stack for its images alone.

use stack_api::spec::StackSpec;
use stack_planner::Project;

use super::lock::LockUse;
use super::settings::Settings;
use super::{Phases, diagnostics};
use crate::context::Context;
use crate::error::Error;
use crate::source::Files;

impl Context {
    /// The services with their images, and the project that knows how these are built.
    /// As in Docker Compose, nothing is asked of what only containers need: environment
    /// files may be missing, and mounts may be what no machine can have.
    ///
    /// # Errors
    /// There is no file, or it or its lock has errors.
    pub(crate) fn outline(&self, services: &[String]) -> Result<(StackSpec, Project), Error> {
        let settings = Settings::new(&self.global)?;
        let source = Files::with(settings.remotes());
        let files = self.files_to_load(&settings, &source)?;
        let phases = Phases {
            resolve_environment: false,
            ..Phases::default()
        };
        let profiles = settings.profiles.clone();
        let loaded = self.load(&source, &settings, files, services, phases, profiles);
        if loaded.has_errors() {
            diagnostics::show(self, &loaded, &loaded.diagnostics);
            return Err(Error::BadFile);
        }
        diagnostics::mention(self, &loaded, &loaded.diagnostics);
        let Some(project) = loaded.project else {
            return Err(Error::BadFile);
        };
        let project = self.locked(project, LockUse::Advise)?;
        match project.outline() {
            Ok(outline) => Ok((outline, project)),
            Err(found) => {
                let text = |file: &std::path::Path| project.source_text(file).map(str::to_owned);
                diagnostics::show_all(self, &found, text);
                Err(Error::BadFile)
            }
        }
    }
}
