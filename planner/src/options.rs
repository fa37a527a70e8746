//! What to load and how.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything the loader needs to know besides the files' content.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Stack files in merge order: absolute, or `-` for standard input.
    pub files: Vec<PathBuf>,
    /// Folder for relative paths and `.env`; default: the first file's.
    pub project_directory: Option<PathBuf>,
    /// Absolute folder the command runs in.
    pub working_dir: PathBuf,
    /// Name that wins over every other.
    pub project_name: Option<String>,
    /// The process's environment.
    pub environment: BTreeMap<String, String>,
    /// Environment files named by the user, absolute, the last wins. When empty, `.env`
    /// in the project folder is read if it is there.
    pub env_files: Vec<PathBuf>,
    /// Folder whose `.env` was looked at before the stack file was found; its
    /// variables win over those of the project folder's `.env`.
    pub outer_folder: Option<PathBuf>,
    /// Profiles to enable; `*` is all. When empty, `COMPOSE_PROFILES` counts.
    pub profiles: Vec<String>,
    /// Services named by the user; their profiles are enabled. What only others lack, or
    /// ask for in vain, is no error then: all others are set aside.
    pub services: Vec<String>,
    /// Replace variables.
    pub interpolate: bool,
    /// Add what is understood: default network, full names, implied dependencies.
    pub normalize: bool,
    /// Make relative paths absolute.
    pub resolve_paths: bool,
    /// Check references between services and resources.
    pub check_consistency: bool,
    /// Read `env_file` and `label_file` into `environment` and `labels`.
    pub resolve_environment: bool,
    /// Leave out networks, volumes, configs and secrets that no enabled service uses.
    pub prune: bool,
}

impl LoadOptions {
    /// These files in this folder, with everything switched on.
    pub fn new(files: Vec<PathBuf>, working_dir: PathBuf) -> Self {
        Self {
            files,
            project_directory: None,
            working_dir,
            project_name: None,
            environment: BTreeMap::new(),
            env_files: Vec::new(),
            outer_folder: None,
            profiles: Vec::new(),
            services: Vec::new(),
            interpolate: true,
            normalize: true,
            resolve_paths: true,
            check_consistency: true,
            resolve_environment: true,
            prune: true,
        }
    }
}
