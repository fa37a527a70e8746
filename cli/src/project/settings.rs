//! Options and `COMPOSE_…` variables, as one.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use stack_planner::Source;

use crate::args::Global;
use crate::error::Error;

/// Where the project is and what it is called.
#[derive(Debug)]
pub(super) struct Settings {
    /// `-f` or `COMPOSE_FILE`, absolute; empty: to be looked for.
    chosen: Vec<PathBuf>,
    /// Directory of this process.
    pub(super) working_dir: PathBuf,
    /// `--project-directory`, absolute.
    pub(super) project_directory: Option<PathBuf>,
    /// `-p` or `COMPOSE_PROJECT_NAME`.
    pub(super) project_name: Option<String>,
    /// `--env-file` or `COMPOSE_ENV_FILES`, absolute.
    pub(super) env_files: Vec<PathBuf>,
    /// `--profile` and `COMPOSE_PROFILES`.
    pub(super) profiles: Vec<String>,
    /// Variables of this process that are text.
    pub(super) environment: BTreeMap<String, String>,
}

impl Settings {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// The working directory is gone.
    pub(super) fn new(global: &Global) -> Result<Settings, Error> {
        let working_dir = std::env::current_dir().map_err(|source| Error::File {
            doing: "cannot find out",
            path: PathBuf::from("the working directory"),
            source,
        })?;
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Ok(Settings::from_parts(global, working_dir, environment))
    }

    fn from_parts(
        global: &Global,
        working_dir: PathBuf,
        environment: BTreeMap<String, String>,
    ) -> Settings {
        let env = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let list = |name: &str, separator: &str| -> Vec<String> {
            let parts = env(name)
                .map(|value| value.split(separator))
                .into_iter()
                .flatten();
            parts
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let absolute = |paths: Vec<PathBuf>| paths.iter().map(|p| clean(&working_dir, p)).collect();
        let separator = env("COMPOSE_PATH_SEPARATOR").map_or(":", String::as_str);
        let paths = |given: &[PathBuf], otherwise: Vec<String>| match given {
            [] => otherwise.into_iter().map(PathBuf::from).collect(),
            given => given.to_vec(),
        };
        let profiles = match global.profiles.as_slice() {
            [] => list("COMPOSE_PROFILES", ","),
            given => given.to_vec(),
        };
        Settings {
            chosen: absolute(paths(&global.files, list("COMPOSE_FILE", separator))),
            project_directory: global
                .project_directory
                .as_ref()
                .map(|d| clean(&working_dir, d)),
            project_name: global
                .project_name
                .clone()
                .or_else(|| env("COMPOSE_PROJECT_NAME").cloned()),
            env_files: absolute(paths(&global.env_files, list("COMPOSE_ENV_FILES", ","))),
            profiles,
            working_dir,
            environment,
        }
    }

    /// The stack files, which exist.
    ///
    /// # Errors
    /// There are none.
    pub(super) fn files(&self, source: &dyn Source) -> Result<Vec<PathBuf>, Error> {
        if let Some(missing) = self.chosen.iter().find(|file| !source.exists(file)) {
            return Err(Error::NoSuchFile(missing.clone()));
        }
        if !self.chosen.is_empty() {
            return Ok(self.chosen.clone());
        }
        let start = self.project_directory.as_ref().unwrap_or(&self.working_dir);
        let found = stack_planner::discover(source, start);
        found.ok_or_else(|| Error::NoFile(start.clone()))
    }

    /// The name that was given, if it can be one.
    ///
    /// # Errors
    /// It cannot.
    pub(super) fn name(&self) -> Result<Option<String>, Error> {
        let Some(name) = &self.project_name else {
            return Ok(None);
        };
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if name.starts_with(['-', '_']) || !name.chars().all(good) {
            return Err(Error::usage(
                format!("\"{name}\" is not a project name"),
                "use lower-case letters, digits, - and _, with a letter or digit in front",
            ));
        }
        Ok(Some(name.clone()))
    }
}

/// Absolute and without `.` and `..`, by text alone; `-` stays.
fn clean(base: &Path, path: &Path) -> PathBuf {
    if path == Path::new("-") {
        return path.to_path_buf();
    }
    let mut out = PathBuf::new();
    for part in base.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(out.pop()),
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Mode;
    use crate::ui::Ansi;

    fn global() -> Global {
        Global {
            files: Vec::new(),
            env_files: Vec::new(),
            profiles: Vec::new(),
            project_name: None,
            project_directory: None,
            ansi: Ansi::Never,
            diagnostics: crate::project::diagnostics::Form::default(),
            progress: Mode::Plain,
        }
    }

    fn settings(global: &Global, env: &[(&str, &str)]) -> Settings {
        let env = env
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        Settings::from_parts(global, PathBuf::from("/home/u/shop"), env)
    }

    #[test]
    fn variables_stand_in_for_options() {
        let env = [
            ("COMPOSE_FILE", "a.yaml,../b.yaml"),
            ("COMPOSE_PATH_SEPARATOR", ","),
            ("COMPOSE_PROFILES", "x,y"),
            ("COMPOSE_PROJECT_NAME", "shop"),
        ];
        let from_env = settings(&global(), &env);
        let paths = ["/home/u/shop/a.yaml", "/home/u/b.yaml"].map(PathBuf::from);
        assert_eq!(from_env.chosen, paths);
        assert_eq!(from_env.profiles, ["x", "y"]);
        assert_eq!(from_env.name().unwrap().as_deref(), Some("shop"));
        let mut given = global();
        given.files = vec![PathBuf::from("-")];
        given.project_name = Some("other".to_owned());
        let given = settings(&given, &env);
        assert_eq!(given.chosen, [PathBuf::from("-")]);
        assert_eq!(given.name().unwrap().as_deref(), Some("other"));
    }

    #[test]
    fn names_that_cannot_be() {
        for bad in ["../x", "Shop", "-x", "a/b", "a b"] {
            let mut wrong = global();
            wrong.project_name = Some(bad.to_owned());
            assert!(settings(&wrong, &[]).name().is_err(), "{bad}");
        }
    }
}
