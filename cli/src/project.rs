//! The project: which files, which name, which services. Everything about
//! the language is the planner's; this finds the files and shows what the
//! planner finds.

pub(crate) mod diagnostics;
mod lint;
pub(crate) mod lock;
mod outline;
mod settings;
mod stack_files;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use stack_api::container::Container;
use stack_api::spec::{StackSpec, VolumeSpec};
use stack_api::volume::Form;
use stack_planner::{Diagnostic, LoadOptions, Loaded, Project};

use crate::args::Global;
use crate::context::Context;
use crate::error::Error;
use crate::source::Files;
use crate::ui;
use lock::LockUse;
use settings::Settings;

/// What diagnostics call the file that is made of command-line options.
const COMMAND_LINE: &str = "(command line)";

/// What the loader is asked to leave out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phases {
    /// Replace variables.
    pub(crate) interpolate: bool,
    /// Fill in defaults.
    pub(crate) normalize: bool,
    /// Make paths absolute.
    pub(crate) resolve_paths: bool,
    /// Check references between elements.
    pub(crate) check_consistency: bool,
    /// Read `env_file` and `label_file`.
    pub(crate) resolve_environment: bool,
    /// Leave out what no enabled service uses.
    pub(crate) prune: bool,
}

impl Default for Phases {
    fn default() -> Phases {
        Phases {
            interpolate: true,
            normalize: true,
            resolve_paths: true,
            check_consistency: true,
            resolve_environment: true,
            prune: true,
        }
    }
}

/// Options that neither the command line nor the environment gave, from the
/// environment files.
pub(crate) fn complete_options(global: &mut Global) {
    // `-p ""` is as good as none, as in Docker Compose.
    global.project_name.take_if(|name| name.is_empty());
    // A working directory that is gone is told by the command that needs it.
    let Ok(settings) = Settings::new(global) else {
        return;
    };
    fn word<T: ValueEnum>(settings: &Settings, name: &str) -> Option<T> {
        T::from_str(settings.setting(name)?, true).ok()
    }
    if global.ansi_is_open {
        global.ansi = word(&settings, "COMPOSE_ANSI").unwrap_or_default();
    }
    if global.progress_is_open {
        global.progress = word(&settings, "COMPOSE_PROGRESS").unwrap_or_default();
    }
    if is_true(settings.setting("COMPOSE_STATUS_STDOUT")) {
        ui::send_status_to_stdout();
    }
}

/// What Docker Compose takes for yes.
fn is_true(value: Option<&str>) -> bool {
    let value = value.unwrap_or_default().to_ascii_lowercase();
    matches!(value.as_str(), "1" | "t" | "true" | "y" | "yes" | "on")
}

/// A stack by its name, and what the file knows about it.
#[derive(Debug)]
pub(crate) struct Named {
    /// Name of the project.
    pub(crate) name: String,
    /// All services of the file, also those that no profile enables; `None`
    /// when there is no file (the name was given).
    pub(crate) services: Option<Vec<String>>,
    /// Those that take part; `None` when there is no file.
    pub(crate) enabled: Option<Vec<String>>,
    /// What references in the file are looked up in.
    pub(crate) environment: BTreeMap<String, String>,
    /// Full names of the volumes that the file's enabled services use and that are not
    /// external; `None` when there is no file.
    pub(crate) volumes: Option<Vec<String>>,
    /// Full names of all its volumes, by their keys.
    pub(crate) volume_names: BTreeMap<String, String>,
}

impl Context {
    /// Is this `COMPOSE_…` variable set to yes, in the environment or an
    /// environment file?
    ///
    /// # Errors
    /// The working directory is gone.
    pub(crate) fn is_set(&self, name: &str) -> Result<bool, Error> {
        Ok(is_true(Settings::new(&self.global)?.setting(name)))
    }

    /// Does a variable not say no?
    ///
    /// # Errors
    /// An environment file cannot be read.
    pub(crate) fn is_not_denied(&self, name: &str) -> Result<bool, Error> {
        let settings = Settings::new(&self.global)?;
        let value = settings.setting(name);
        Ok(value.is_none() || is_true(value))
    }

    /// The project. Its problems are shown: errors end the command, warnings
    /// do not. Services on the command line enable their profiles.
    ///
    /// # Errors
    /// There is no file, or it has errors.
    pub(crate) fn project(&self, services: &[String], phases: Phases) -> Result<Project, Error> {
        let settings = Settings::new(&self.global)?;
        let source = Files::with(settings.remotes());
        let files = self.files_to_load(&settings, &source)?;
        let loaded = self.load(
            &source,
            &settings,
            files,
            services,
            phases,
            settings.profiles.clone(),
        );
        diagnostics::show(self, &loaded, &loaded.diagnostics);
        match loaded.project {
            Some(project) if !loaded.diagnostics.iter().any(|d| d.is_error()) => Ok(project),
            _ => Err(Error::BadFile),
        }
    }

    /// The stack as the daemon wants it.
    ///
    /// # Errors
    /// As [`project`](Self::project), or it needs what is not there yet.
    pub(crate) fn spec(&self, services: &[String]) -> Result<StackSpec, Error> {
        Ok(self.spec_and_project(services, LockUse::Advise)?.0)
    }

    /// The stack as the files have it, for a remark: without a word about what is
    /// wrong with them, which is `None`.
    pub(crate) fn wanted(&self) -> Option<StackSpec> {
        let settings = Settings::new(&self.global).ok()?;
        let source = Files::with(settings.remotes());
        let files = settings.files(&source).ok()?;
        let profiles = settings.profiles.clone();
        let loaded = self.load(&source, &settings, files, &[], Phases::default(), profiles);
        loaded.project?.spec().ok()
    }

    /// As [`spec`](Self::spec), with the lock as strict as asked for, and the project that
    /// knows the lines.
    ///
    /// # Errors
    /// As [`spec`](Self::spec) and [`locked`](Self::locked).
    pub(crate) fn spec_and_project(
        &self,
        services: &[String],
        lock: LockUse,
    ) -> Result<(StackSpec, Project), Error> {
        self.spec_with(services, lock, None)
    }

    /// The same with one more file, which is merged over the others.
    ///
    /// # Errors
    /// As [`spec_and_project`](Self::spec_and_project).
    pub(crate) fn spec_with(
        &self,
        services: &[String],
        lock: LockUse,
        extra: Option<String>,
    ) -> Result<(StackSpec, Project), Error> {
        let settings = Settings::new(&self.global)?;
        let mut source = Files::with(settings.remotes());
        self.spec_from(&settings, &mut source, services, lock, extra)
    }

    /// As [`spec_and_project`](Self::spec_and_project), with all files that decide it,
    /// also when there is an error: those that were read, and those that would have
    /// been if they were there.
    pub(crate) fn spec_and_files(
        &self,
        services: &[String],
        lock: LockUse,
    ) -> (Result<(StackSpec, Project), Error>, BTreeSet<PathBuf>) {
        match Settings::new(&self.global) {
            Ok(settings) => {
                let mut source = Files::with(settings.remotes());
                let made = self.spec_from(&settings, &mut source, services, lock, None);
                (made, source.asked())
            }
            Err(error) => (Err(error), BTreeSet::new()),
        }
    }

    fn spec_from(
        &self,
        settings: &Settings,
        source: &mut Files,
        services: &[String],
        lock: LockUse,
        extra: Option<String>,
    ) -> Result<(StackSpec, Project), Error> {
        let mut files = self.files_to_load(settings, source)?;
        let extra_path = settings.working_dir.join(COMMAND_LINE);
        let extra_given = extra.is_some();
        if let Some(text) = extra {
            *source = std::mem::take(source).and(extra_path.clone(), text);
            files.push(extra_path.clone());
        }
        let profiles = settings.profiles.clone();
        let phases = Phases::default();
        let loaded = self.load(source, settings, files, services, phases, profiles);
        let mut found = loaded.all_diagnostics();
        if extra_given {
            // The others were loaded without it before, and warned about then.
            found.retain(|found| found.is_error() || found.is_in(&extra_path));
        }
        if found.iter().any(Diagnostic::is_error) {
            diagnostics::show(self, &loaded, &found);
            return Err(Error::BadFile);
        }
        diagnostics::mention(self, &loaded, &found);
        let Some(project) = loaded.project else {
            return Err(Error::BadFile);
        };
        source.will_ask(lock::path(&project));
        let project = self.locked(project, lock)?;
        match project.spec() {
            Ok(mut spec) => {
                spec.files.retain(|file| *file != extra_path);
                Ok((spec, project))
            }
            _ => Err(Error::BadFile),
        }
    }

    /// Tells what stands in the way of building these services.
    ///
    /// # Errors
    /// Something does.
    pub(crate) fn can_build(
        &self,
        project: &Project,
        services: &BTreeSet<String>,
    ) -> Result<(), Error> {
        let found = project.hindrances(services);
        if found.is_empty() {
            return Ok(());
        }
        let text = |file: &Path| project.source_text(file).map(str::to_owned);
        diagnostics::show_all(self, &found, text);
        Err(Error::BadFile)
    }

    /// The stack's name, for commands on what exists. As in Docker Compose, a name on the
    /// command line does without the file, unless that is there, too. A file that nobody
    /// named on the command line and that is not there or has errors is no obstacle when
    /// `COMPOSE_PROJECT_NAME` has a name.
    ///
    /// # Errors
    /// There is neither a file that can be read nor a name that does without, or a file on
    /// the command line cannot be read.
    pub(crate) fn named(&self) -> Result<Named, Error> {
        let settings = Settings::new(&self.global)?;
        let source = Files::with(settings.remotes());
        let file_given = !self.global.files.is_empty();
        let instead = settings.name()?.filter(|_| !file_given);
        let without_file =
            |name: &String| Named::without_file(name.clone(), settings.variables(&source));
        if let (Some(name), true) = (&instead, self.global.project_name.is_some()) {
            return Ok(without_file(name));
        }
        let files = match (settings.files(&source), &instead) {
            (Ok(files), _) => files,
            (Err(Error::NoFile(_)), Some(name)) => return Ok(without_file(name)),
            (Err(error), Some(name)) => {
                self.ui.warn(format_args!("{error}; going on without it"));
                return Ok(without_file(name));
            }
            (Err(error), None) => return Err(error),
        };
        let profiles = settings.profiles.clone();
        let loaded = self.load_unchecked(&source, &settings, files, profiles);
        match (&loaded.project, &instead) {
            (Some(project), _) => Ok(Named::of_file(project)),
            (None, Some(name)) => {
                self.ui.warn("the stack file has errors and was not read");
                Ok(without_file(name))
            }
            (None, None) => {
                diagnostics::show(self, &loaded, &loaded.diagnostics);
                self.ui
                    .note("-p NAME without -f does without the file (`stack ls` shows the names)");
                Err(Error::BadFile)
            }
        }
    }

    /// All services of the files, also those that no profile enables, and
    /// without what their containers would need to start.
    ///
    /// # Errors
    /// There is no file, or it or its lock has errors.
    pub(crate) fn all_services(&self) -> Result<Project, Error> {
        let settings = Settings::new(&self.global)?;
        let source = Files::with(settings.remotes());
        let files = settings.files(&source)?;
        let all = vec!["*".to_owned()];
        let loaded = self.load_unchecked(&source, &settings, files, all);
        match loaded.project {
            Some(project) => self.locked(project, LockUse::Advise),
            None => {
                diagnostics::show(self, &loaded, &loaded.diagnostics);
                Err(Error::BadFile)
            }
        }
    }

    /// The volume that the file has with this key, and what it is when it is new. `None`: it
    /// has none, or one that is no volume in truth.
    ///
    /// # Errors
    /// There is no file, or it has errors.
    pub(crate) fn volume(&self, key: &str) -> Result<Option<(VolumeSpec, Form)>, Error> {
        let settings = Settings::new(&self.global)?;
        let source = Files::with(settings.remotes());
        let files = settings.files(&source)?;
        let profiles = settings.profiles.clone();
        let loaded = self.load_unchecked(&source, &settings, files, profiles);
        let found = match &loaded.project {
            Some(project) => project.volume(key),
            None => Err(loaded.diagnostics.clone()),
        };
        found.map_err(|found| {
            diagnostics::show(self, &loaded, &found);
            Error::BadFile
        })
    }

    /// What names on the command line mean is checked against the containers
    /// as well, later.
    fn load_unchecked(
        &self,
        source: &Files,
        settings: &Settings,
        files: Vec<PathBuf>,
        profiles: Vec<String>,
    ) -> Loaded {
        let phases = Phases {
            check_consistency: false,
            resolve_environment: false,
            prune: false,
            ..Phases::default()
        };
        self.load(source, settings, files, &[], phases, profiles)
    }

    fn load(
        &self,
        source: &Files,
        settings: &Settings,
        files: Vec<PathBuf>,
        services: &[String],
        phases: Phases,
        profiles: Vec<String>,
    ) -> Loaded {
        let options = LoadOptions {
            project_directory: settings.project_directory.clone(),
            project_name: settings.project_name.clone(),
            environment: settings.environment.clone(),
            env_files: settings.env_files.clone(),
            outer_folder: Some(settings.outer_folder.clone()),
            profiles,
            services: services.to_vec(),
            interpolate: phases.interpolate,
            normalize: phases.normalize,
            resolve_paths: phases.resolve_paths,
            check_consistency: phases.check_consistency,
            resolve_environment: phases.resolve_environment,
            prune: phases.prune,
            ..LoadOptions::new(files, settings.working_dir.clone())
        };
        stack_planner::load(source, &options)
    }

    /// Advice that lists what there is.
    pub(crate) fn known(&self, services: &[String]) -> String {
        match services {
            [] => "the stack has no services".to_owned(),
            services => format!("services are: {}", services.join(", ")),
        }
    }
}

impl Named {
    fn without_file(name: String, environment: BTreeMap<String, String>) -> Named {
        Named {
            name,
            services: None,
            enabled: None,
            environment,
            volumes: None,
            volume_names: BTreeMap::new(),
        }
    }

    fn of_file(project: &Project) -> Named {
        let enabled = project.service_names();
        let mut services = project.disabled_service_names();
        services.extend(enabled.iter().cloned());
        services.sort();
        Named {
            name: project.name().to_owned(),
            services: Some(services),
            enabled: Some(enabled),
            environment: project.environment().clone(),
            volumes: Some(project.own_volumes()),
            volume_names: project.volume_names(),
        }
    }

    /// Every name is a service of the file or of a container.
    ///
    /// # Errors
    /// One is not; the advice says which there are.
    pub(crate) fn check_services(
        &self,
        names: &[String],
        containers: &[Container],
    ) -> Result<(), Error> {
        let mut known: Vec<&str> = containers.iter().map(|c| c.service.as_str()).collect();
        known.extend(self.services.iter().flatten().map(String::as_str));
        known.sort_unstable();
        known.dedup();
        let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) else {
            return Ok(());
        };
        let help = match known.as_slice() {
            [] => format!("stack {} has no services", self.name),
            known => format!("services are: {}", known.join(", ")),
        };
        Err(Error::Usage {
            message: format!("there is no service {unknown}"),
            help: Some(help),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_service_is_told_with_the_right_ones() {
        let named = Named {
            name: "shop".to_owned(),
            services: Some(vec!["web".into(), "db".into()]),
            ..Named::without_file(String::new(), BTreeMap::new())
        };
        let orphan = Container {
            service: "old".to_owned(),
            ..Container::default()
        };
        let orphans = [orphan];
        assert!(
            named
                .check_services(&["web".into(), "old".into()], &orphans)
                .is_ok()
        );
        let error = named.check_services(&["wbe".into()], &orphans).unwrap_err();
        assert_eq!(error.to_string(), "there is no service wbe");
        assert_eq!(error.help().unwrap(), "services are: db, old, web");
    }
}
