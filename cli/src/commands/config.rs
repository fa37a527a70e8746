//! `stack config`

mod variables;

use std::collections::BTreeMap;
use std::path::PathBuf;

use stack_planner::Project;

use crate::context::Context;
use crate::error::Error;
use crate::project::Phases;
use crate::project::lock::LockUse;
use crate::{exit, ui};

/// Print the stack file as it is understood
///
/// Files are merged, variables replaced and short forms written out. No
/// daemon is needed, but for --resolve-image-digests, which asks registries.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: is the file correct?\n  stack config -q && echo yes")]
pub(crate) struct Config {
    /// Services, with all that they depend on (default: all)
    #[arg(value_name = "SERVICE")]
    only: Vec<String>,

    /// yaml or json
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    format: Format,

    /// Only check: print nothing
    #[arg(short, long)]
    quiet: bool,

    /// Write into a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Print names of services, one per line
    #[arg(long, group = "list")]
    services: bool,

    /// Print names of volumes
    #[arg(long, group = "list")]
    volumes: bool,

    /// Print names of networks
    #[arg(long, group = "list")]
    networks: bool,

    /// Print names of models
    #[arg(long, group = "list")]
    models: bool,

    /// Print names of images
    #[arg(long, group = "list")]
    images: bool,

    /// Print names of profiles
    #[arg(long, group = "list")]
    profiles: bool,

    /// Print services with the hash of their configuration; `*` is all
    #[arg(long, value_name = "SERVICE", group = "list")]
    hash: Option<String>,

    /// Print the variables that references are looked up in
    #[arg(long, group = "list")]
    environment: bool,

    /// Print the variables that the file refers to, with their defaults
    #[arg(long, group = "list")]
    variables: bool,

    /// Pin images to the digests that their tags lead to now
    #[arg(long)]
    resolve_image_digests: bool,

    /// Print an override file that pins images to their digests
    #[arg(long)]
    lock_image_digests: bool,

    /// Pin images as stack.lock says; fail when it does not have them all
    #[arg(long, conflicts_with_all = ["resolve_image_digests", "lock_image_digests", "no_interpolate"])]
    locked: bool,

    /// Do not replace variables
    #[arg(long)]
    no_interpolate: bool,

    /// Do not fill in defaults
    #[arg(long)]
    no_normalize: bool,

    /// Do not make paths absolute
    #[arg(long)]
    no_path_resolution: bool,

    /// Do not check references between elements
    #[arg(long)]
    no_consistency: bool,

    /// Do not read env_file and label_file
    #[arg(long)]
    no_env_resolution: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    #[default]
    Yaml,
    Json,
}

impl Config {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let phases = Phases {
            interpolate: !(self.no_interpolate || self.variables),
            normalize: !self.no_normalize,
            resolve_paths: !self.no_path_resolution,
            check_consistency: !self.no_consistency,
            resolve_environment: !self.no_env_resolution && !self.is_list(),
            prune: true,
        };
        let mut project = context.project(&self.resolved(), phases)?;
        if !self.only.is_empty() {
            let names = project.with_dependencies(self.only.iter().map(String::as_str));
            project = project.select(&names);
        }
        if self.locked {
            project = context.locked(project, LockUse::Demand)?;
        }
        if self.resolve_image_digests || self.lock_image_digests {
            project = resolved(context, project).await?;
        }
        if self.lock_image_digests {
            project = project.images_only();
        }
        if self.quiet {
            return Ok(exit::OK);
        }
        let mut text = self.text(&project, context)?;
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        match &self.output {
            Some(path) => std::fs::write(path, text).map_err(|source| Error::File {
                doing: "cannot write",
                path: path.clone(),
                source,
            })?,
            None => ui::print(text)?,
        }
        Ok(exit::OK)
    }

    /// Prints names only, as which nothing of an environment file is.
    fn is_list(&self) -> bool {
        self.services
            || self.volumes
            || self.networks
            || self.models
            || self.images
            || self.profiles
            || self.environment
    }

    /// The services that have to be known in full: all without any.
    fn resolved(&self) -> Vec<String> {
        match self.hash.as_deref() {
            None | Some("*") => self.only.clone(),
            Some(list) => list.split(',').map(str::to_owned).collect(),
        }
    }

    fn text(&self, project: &Project, context: &Context) -> Result<String, Error> {
        let lines = |names: Vec<String>| names.join("\n");
        if self.services {
            return Ok(lines(project.service_names()));
        }
        if self.volumes {
            return Ok(lines(project.volumes()));
        }
        if self.networks {
            return Ok(lines(project.networks()));
        }
        if self.models {
            return Ok(lines(project.models()));
        }
        if self.environment {
            let all = project.environment().iter();
            return Ok(lines(
                all.map(|(name, value)| format!("{name}={value}")).collect(),
            ));
        }
        if self.variables {
            return Ok(match self.format {
                Format::Yaml => variables::table(&project.variables()),
                Format::Json => variables::json(&project.variables()),
            });
        }
        if self.images {
            return Ok(lines(project.images()));
        }
        if self.profiles {
            return Ok(lines(project.profiles()));
        }
        if let Some(which) = &self.hash {
            return hashes(project, which, context);
        }
        Ok(match self.format {
            Format::Yaml => project.to_yaml(),
            Format::Json => project.to_json(),
        })
    }
}

/// The project with digests of today at its images.
async fn resolved(context: &Context, project: Project) -> Result<Project, Error> {
    let mut images = project.unresolved_images();
    // With --no-interpolate there may be variables.
    images.retain(|image| !image.contains('$'));
    let found = context.resolve(images.into_iter().collect()).await?;
    let pinned: BTreeMap<String, String> = found
        .into_iter()
        .map(|(reference, found)| (reference, format!("{}@{}", found.name, found.digest)))
        .collect();
    Ok(project.with_images(&pinned))
}

/// `service hash`, one per line.
fn hashes(project: &Project, which: &str, context: &Context) -> Result<String, Error> {
    let known = project.service_names();
    let chosen: Vec<String> = match which {
        "*" => known.clone(),
        list => list.split(',').map(str::to_owned).collect(),
    };
    let mut lines = Vec::new();
    for name in chosen {
        let Some(hash) = project.config_hash(&name) else {
            let message = format!("there is no service {name}");
            return Err(Error::usage(message, context.known(&known)));
        };
        lines.push(format!("{name} {hash}"));
    }
    Ok(lines.join("\n"))
}
