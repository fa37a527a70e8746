//! Options and `COMPOSE_…` variables, as one.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use stack_planner::{Discovered, Source, default_env_file, read_environment};

use crate::args::Global;
use crate::error::Error;
use crate::source::Files;
use crate::source::remote::{self, Remotes};

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
    /// Variables of this process that are text, and the `COMPOSE_…` ones of
    /// the environment files.
    pub(super) environment: BTreeMap<String, String>,
    /// Where `.env` was looked for before the stack file was.
    pub(super) outer_folder: PathBuf,
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
        let mut environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        // Files use it, and not every parent process sets it.
        if let Some(here) = working_dir.to_str() {
            let set = environment.entry("PWD".to_owned());
            set.or_insert_with(|| here.to_owned());
        }
        let source = Files::default();
        Ok(Settings::from_parts(
            global,
            &source,
            working_dir,
            environment,
        ))
    }

    fn from_parts(
        global: &Global,
        source: &dyn Source,
        working_dir: PathBuf,
        mut environment: BTreeMap<String, String>,
    ) -> Settings {
        let outer_folder = outer_folder(global, &working_dir);
        let chosen = match global.env_files.as_slice() {
            [] => split(environment.get("COMPOSE_ENV_FILES"), ",").collect(),
            given => given.to_vec(),
        };
        let env_files: Vec<PathBuf> = chosen.iter().map(|p| clean(&working_dir, p)).collect();
        for (name, value) in early_variables(source, &env_files, &outer_folder, &environment) {
            if name.starts_with("COMPOSE_") {
                environment.entry(name).or_insert(value);
            }
        }
        let env = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let absolute = |paths: Vec<PathBuf>| paths.iter().map(|p| clean(&working_dir, p)).collect();
        let separator = env("COMPOSE_PATH_SEPARATOR").map_or(":", String::as_str);
        let files = match global.files.as_slice() {
            [] => split(env("COMPOSE_FILE"), separator).collect(),
            given => given.to_vec(),
        };
        Settings {
            chosen: absolute(files),
            project_directory: global
                .project_directory
                .as_ref()
                .map(|d| clean(&working_dir, d)),
            project_name: global
                .project_name
                .clone()
                .or_else(|| env("COMPOSE_PROJECT_NAME").cloned()),
            env_files,
            // The loader looks at COMPOSE_PROFILES, in every environment file.
            profiles: global.profiles.clone(),
            working_dir,
            environment,
            outer_folder,
        }
    }

    /// A `COMPOSE_…` variable of the environment or an environment file.
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        let value = self.environment.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// All variables, for those who do without a stack file: this process's and those of
    /// the environment files.
    pub(super) fn variables(&self, source: &dyn Source) -> BTreeMap<String, String> {
        let known = &self.environment;
        let mut all = early_variables(source, &self.env_files, &self.outer_folder, known);
        all.extend(known.clone());
        all
    }

    /// What may be fetched from elsewhere.
    pub(super) fn remotes(&self) -> Remotes {
        // As in Docker Compose: on, unless it is switched off.
        let is_on = |name: &str| {
            let value = self.setting(name).unwrap_or("true").to_ascii_lowercase();
            !matches!(value.as_str(), "0" | "f" | "false" | "n" | "no" | "off")
        };
        Remotes {
            git: is_on("COMPOSE_EXPERIMENTAL_GIT_REMOTE"),
            oci: is_on("COMPOSE_EXPERIMENTAL_OCI_REMOTE"),
            cache: remote::cache(),
        }
    }

    /// The stack files, which exist.
    ///
    /// # Errors
    /// There are none.
    pub(super) fn files(&self, source: &dyn Source) -> Result<Vec<PathBuf>, Error> {
        Ok(self.found(source)?.files)
    }

    /// The same with those that could have been meant instead.
    ///
    /// # Errors
    /// As [`files`](Self::files).
    pub(super) fn found(&self, source: &dyn Source) -> Result<Discovered, Error> {
        let mut files = Vec::new();
        for file in &self.chosen {
            let name = file.to_str().unwrap_or_default();
            files.push(match source.remote(name) {
                Some(Ok(path)) => path,
                Some(Err(error)) => {
                    return Err(Error::NotFetched {
                        name: name.to_owned(),
                        why: error.to_string(),
                    });
                }
                None => file.clone(),
            });
        }
        if let Some(missing) = files.iter().find(|file| !source.exists(file)) {
            return Err(Error::NoSuchFile(missing.clone()));
        }
        if !files.is_empty() {
            return Ok(Discovered {
                files,
                passed_over: Vec::new(),
            });
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

/// The variables of the environment files, or of the `.env` that is there before the
/// stack file is known.
fn early_variables(
    source: &dyn Source,
    env_files: &[PathBuf],
    outer_folder: &Path,
    environment: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut files = env_files.to_vec();
    if files.is_empty() {
        files.extend(default_env_file(source, outer_folder, environment));
    }
    read_environment(source, &files, environment)
}

/// Where Docker Compose looks for `.env` when it does not know the stack file
/// yet: the project's folder if it is given, else the first `-f`'s, else here.
fn outer_folder(global: &Global, working_dir: &Path) -> PathBuf {
    let first = global.files.first().filter(|file| is_local(file));
    match (&global.project_directory, first) {
        (Some(folder), _) => clean(working_dir, folder),
        (None, Some(file)) => clean(working_dir, file)
            .parent()
            .unwrap_or(Path::new("/"))
            .to_path_buf(),
        (None, None) => working_dir.to_path_buf(),
    }
}

/// Neither standard input nor something that has to be fetched.
fn is_local(file: &Path) -> bool {
    file != Path::new("-") && !file.to_str().is_some_and(remote::is_remote)
}

/// The parts of a list that are not empty, as paths.
fn split<'a>(list: Option<&'a String>, separator: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
    let parts = list.into_iter().flat_map(move |list| list.split(separator));
    parts.filter(|part| !part.is_empty()).map(PathBuf::from)
}

/// Absolute and without `.` and `..`, by text alone; what is no path stays.
fn clean(base: &Path, path: &Path) -> PathBuf {
    if !is_local(path) {
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
    use stack_planner::MemorySource;

    fn global() -> Global {
        Global {
            files: Vec::new(),
            env_files: Vec::new(),
            profiles: Vec::new(),
            project_name: None,
            project_directory: None,
            ansi: Ansi::Never,
            diagnostics: crate::project::diagnostics::Form::default(),
            annotate: crate::annotate::Annotate::default(),
            progress: Mode::Plain,
            ansi_is_open: false,
            progress_is_open: false,
        }
    }

    fn settings(global: &Global, env: &[(&str, &str)]) -> Settings {
        let env = env
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        settings_with(global, &MemorySource::new(), env)
    }

    fn settings_with(
        global: &Global,
        source: &MemorySource,
        env: BTreeMap<String, String>,
    ) -> Settings {
        Settings::from_parts(global, source, PathBuf::from("/home/u/shop"), env)
    }

    #[test]
    fn variables_stand_in_for_options() {
        let env = [
            ("COMPOSE_FILE", "a.yaml,../b.yaml"),
            ("COMPOSE_PATH_SEPARATOR", ","),
            ("COMPOSE_PROJECT_NAME", "shop"),
        ];
        let from_env = settings(&global(), &env);
        let paths = ["/home/u/shop/a.yaml", "/home/u/b.yaml"].map(PathBuf::from);
        assert_eq!(from_env.chosen, paths);
        assert_eq!(from_env.name().unwrap().as_deref(), Some("shop"));
        let mut given = global();
        given.files = vec![PathBuf::from("-")];
        given.project_name = Some("other".to_owned());
        let given = settings(&given, &env);
        assert_eq!(given.chosen, [PathBuf::from("-")]);
        assert_eq!(given.name().unwrap().as_deref(), Some("other"));
    }

    #[test]
    fn the_env_file_may_say_where_the_stack_is() {
        let source = MemorySource::new()
            .with(
                "/home/u/shop/.env",
                "COMPOSE_FILE=a.yaml;-\nCOMPOSE_PATH_SEPARATOR=;\nA=1\n",
            )
            .with("/home/u/shop/sub/.env", "COMPOSE_PROJECT_NAME=sub\n")
            .with(
                "/home/u/shop/one.env",
                "COMPOSE_PROJECT_NAME=one\nCOMPOSE_ANSI=never\n",
            );
        let of = |global: &Global, env: &[(&str, &str)]| {
            let env = env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
            settings_with(global, &source, env.collect())
        };
        let plain = of(&global(), &[]);
        let paths = ["/home/u/shop/a.yaml", "-"].map(PathBuf::from);
        assert_eq!(plain.chosen, paths);
        assert_eq!(plain.setting("A"), None, "only COMPOSE_ variables");
        let off = of(&global(), &[("COMPOSE_DISABLE_ENV_FILE", "1")]);
        assert!(off.chosen.is_empty());
        let other = of(&global(), &[("COMPOSE_FILE", "b.yaml")]);
        assert_eq!(other.chosen, [PathBuf::from("/home/u/shop/b.yaml")]);
        let mut named = global();
        named.files = vec![PathBuf::from("sub/c.yaml")];
        assert_eq!(of(&named, &[]).project_name.as_deref(), Some("sub"));
        let listed = of(&global(), &[("COMPOSE_ENV_FILES", "one.env")]);
        assert_eq!(listed.project_name.as_deref(), Some("one"));
        assert_eq!(listed.setting("COMPOSE_ANSI"), Some("never"));
        assert!(listed.chosen.is_empty(), "instead of .env");
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
