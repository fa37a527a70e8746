//! The project: which files, which name, which services. Everything about
//! the language is the planner's; this finds the files and shows what the
//! planner finds.

mod diagnostics;
mod settings;

use std::path::PathBuf;

use stack_api::container::Container;
use stack_api::spec::StackSpec;
use stack_planner::{LoadOptions, Loaded, Project};

use crate::context::Context;
use crate::error::Error;
use crate::source::Files;
use settings::Settings;

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

/// A stack by its name, and what the file knows about it.
#[derive(Debug)]
pub(crate) struct Named {
    /// Name of the project.
    pub(crate) name: String,
    /// All services of the file, also those that no profile enables; `None`
    /// when there is no file (the name was given).
    pub(crate) services: Option<Vec<String>>,
}

impl Context {
    /// The project. Its problems are shown: errors end the command, warnings
    /// do not. Services on the command line enable their profiles.
    ///
    /// # Errors
    /// There is no file, or it has errors.
    pub(crate) fn project(&self, services: &[String], phases: Phases) -> Result<Project, Error> {
        let settings = Settings::new(&self.global)?;
        let files = settings.files(&Files::default())?;
        let loaded = self.load(
            &settings,
            files,
            services,
            phases,
            settings.profiles.clone(),
        );
        diagnostics::show(self.ui, &loaded);
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
        Ok(self.spec_and_project(services)?.0)
    }

    /// The same, and the project that knows the lines.
    ///
    /// # Errors
    /// As [`spec`](Self::spec).
    pub(crate) fn spec_and_project(
        &self,
        services: &[String],
    ) -> Result<(StackSpec, Project), Error> {
        let settings = Settings::new(&self.global)?;
        let files = settings.files(&Files::default())?;
        let profiles = settings.profiles.clone();
        let mut loaded = self.load(&settings, files, services, Phases::default(), profiles);
        let spec = match &loaded.project {
            Some(project) => project.spec(),
            None => Err(Vec::new()),
        };
        let spec = match spec {
            Ok(spec) => Some(spec),
            Err(more) => {
                loaded.diagnostics.extend(more);
                None
            }
        };
        diagnostics::show(self.ui, &loaded);
        let errors = loaded.diagnostics.iter().any(|d| d.is_error());
        match (spec, loaded.project) {
            (Some(spec), Some(project)) if !errors => Ok((spec, project)),
            _ => Err(Error::BadFile),
        }
    }

    /// The stack's name, for commands on what exists. A file that is not
    /// there or has errors is no obstacle when a name was given.
    ///
    /// # Errors
    /// There is neither a file that can be read nor a name.
    pub(crate) fn named(&self) -> Result<Named, Error> {
        let settings = Settings::new(&self.global)?;
        let files = match (settings.files(&Files::default()), settings.name()?) {
            (Ok(files), _) => files,
            (Err(_), Some(name)) => {
                return Ok(Named {
                    name,
                    services: None,
                });
            }
            (Err(error), None) => return Err(error),
        };
        // What names on the command line mean is checked against the
        // containers as well, later.
        let phases = Phases {
            check_consistency: false,
            resolve_environment: false,
            prune: false,
            ..Phases::default()
        };
        let loaded = self.load(&settings, files, &[], phases, vec!["*".to_owned()]);
        match (&loaded.project, settings.name()?) {
            (Some(project), _) => {
                let services = project
                    .service_names()
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                Ok(Named {
                    name: project.name().to_owned(),
                    services: Some(services),
                })
            }
            (None, Some(name)) => {
                self.ui.warn("the stack file has errors and was not read");
                Ok(Named {
                    name,
                    services: None,
                })
            }
            (None, None) => {
                diagnostics::show(self.ui, &loaded);
                self.ui
                    .note("-p NAME does without the file (`stack ls` shows the names)");
                Err(Error::BadFile)
            }
        }
    }

    fn load(
        &self,
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
        stack_planner::load(&Files::default(), &options)
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
