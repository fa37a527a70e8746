//! The stack files as files: for commands that look at the text itself.

use std::path::{Path, PathBuf};
use std::sync::Once;

use stack_planner::Diagnostic;

use super::{Settings, diagnostics};
use crate::context::Context;
use crate::error::Error;
use crate::source::Files;

impl Context {
    /// The stack files to load. What could have been meant instead is told, once.
    ///
    /// # Errors
    /// There are none.
    pub(super) fn files_to_load(
        &self,
        settings: &Settings,
        source: &Files,
    ) -> Result<Vec<PathBuf>, Error> {
        static TOLD: Once = Once::new();
        let found = settings.found(source)?;
        TOLD.call_once(|| {
            for (other, taken) in &found.passed_over {
                let [other, taken] = [other, taken].map(|path| self.shown(path));
                self.ui.warn(format_args!(
                    "{} is not read, for {} comes first: name the files with -f, or remove one",
                    other.display(),
                    taken.display()
                ));
            }
        });
        Ok(found.files)
    }

    /// The stack files of this project, absolute; `-` is standard input.
    ///
    /// # Errors
    /// There are none.
    pub(crate) fn stack_files(&self) -> Result<Vec<PathBuf>, Error> {
        let settings = Settings::new(&self.global)?;
        settings.files(&Files::with(settings.remotes()))
    }

    /// Shows findings that do not come of loading a project.
    pub(crate) fn show(&self, found: &[Diagnostic], text: impl Fn(&Path) -> Option<String>) {
        diagnostics::show_all(self, found, text);
    }

    /// A finding as `--diagnostics json` writes it.
    pub(crate) fn finding_json(
        &self,
        found: &Diagnostic,
        text: impl Fn(&Path) -> Option<String>,
    ) -> String {
        diagnostics::json::line(found, text)
    }

    /// A path as the user would write it here.
    pub(crate) fn shown(&self, path: &Path) -> PathBuf {
        let here = std::env::current_dir().unwrap_or_default();
        path.strip_prefix(&here).unwrap_or(path).to_path_buf()
    }

    /// A path of the command line, absolute; `-` stays.
    ///
    /// # Errors
    /// The working directory is gone.
    pub(crate) fn absolute(&self, path: &Path) -> Result<PathBuf, Error> {
        if path.as_os_str() == "-" {
            return Ok(path.to_path_buf());
        }
        let settings = Settings::new(&self.global)?;
        Ok(settings.working_dir.join(path))
    }
}
