//! `stack config`

use std::path::PathBuf;

use stack_planner::Project;

use crate::context::Context;
use crate::error::Error;
use crate::project::Phases;
use crate::{exit, ui};

/// Print the stack file as it is understood
///
/// Files are merged, variables replaced and short forms written out. No
/// daemon is needed.
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

    /// Print names of images
    #[arg(long, group = "list")]
    images: bool,

    /// Print names of profiles
    #[arg(long, group = "list")]
    profiles: bool,

    /// Print services with the hash of their configuration; `*` is all
    #[arg(long, value_name = "SERVICE", group = "list")]
    hash: Option<String>,

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
    pub(super) fn run(self, context: &Context) -> Result<u8, Error> {
        let phases = Phases {
            interpolate: !self.no_interpolate,
            normalize: !self.no_normalize,
            resolve_paths: !self.no_path_resolution,
            check_consistency: !self.no_consistency,
            resolve_environment: !self.no_env_resolution,
            prune: true,
        };
        let mut project = context.project(&self.only, phases)?;
        if !self.only.is_empty() {
            let names = project.with_dependencies(self.only.iter().map(String::as_str));
            project = project.select(&names);
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
