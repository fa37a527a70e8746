//! `stack build`

mod foreign;

use std::collections::BTreeSet;

use stack_api::build::{self, BuildWhen};

use crate::context::Context;
use crate::error::Error;
use crate::exit;
use crate::ui::{self, human};

/// Build the images of services that have a `build`
///
/// What has not changed since the last build comes from the cache. Builds run
/// in a micro-VM of their own, which is started when it is needed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: build everything anew, with newer base images\n  \
                  stack build --no-cache --pull\n\n\
                  Example: one service with another value of an ARG\n  \
                  stack build --build-arg VERSION=2 web"
)]
pub(crate) struct Build {
    /// Services (default: all that have a `build`)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,

    /// A value of an ARG; without `=`, the one of the environment
    #[arg(long = "build-arg", value_name = "NAME=VALUE")]
    build_args: Vec<String>,

    /// Take nothing from the cache
    #[arg(long)]
    no_cache: bool,

    /// Ask registries for newer base images
    #[arg(long)]
    pull: bool,

    /// Also services that these depend on
    #[arg(long)]
    with_dependencies: bool,

    /// An SSH key for builds: ID=PATH; without `=`, the agent
    #[arg(long, value_name = "ID=PATH")]
    ssh: Vec<String>,

    /// Bring the images to their registries afterwards
    #[arg(long)]
    push: bool,

    #[command(flatten)]
    foreign: foreign::Foreign,

    /// Say nothing
    #[arg(short, long)]
    quiet: bool,
}

impl Build {
    pub(super) async fn run(self: Box<Self>, context: &Context) -> Result<u8, Error> {
        self.foreign.check()?;
        let (spec, project) = context.outline(&self.services)?;
        let mut builds = crate::builds::of(&project);
        let services = self.chosen(context, &spec, &builds)?;
        context.can_build(&project, &services)?;
        for build in builds.values_mut() {
            build.no_cache |= self.no_cache;
            build.pull |= self.pull;
            for arg in &self.build_args {
                let (name, value) = match arg.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (arg.as_str(), project.environment().get(arg).cloned()),
                };
                build
                    .args
                    .extend(value.map(|value| (name.to_owned(), value)));
            }
            for key in &self.ssh {
                let (id, path) = key.split_once('=').unwrap_or((key, ""));
                let path = match path {
                    "" => String::new(),
                    path => absolute(path)?,
                };
                build.ssh.insert(id.to_owned(), path);
            }
            crate::builds::fill_in(build);
        }
        if services.is_empty() {
            context
                .ui
                .warn("no service has a `build`: there is nothing to build");
            return Ok(exit::OK);
        }
        for name in &services {
            let others = builds[name].foreign_platforms.join(", ");
            if others.is_empty() {
                continue;
            }
            let what =
                format!("{name} is built for the platform of this machine, not for {others}");
            if self.push {
                return Err(Error::usage(
                    format!("{what}: whoever pulls it there would not find it"),
                    "build it on such machines, too, and join the images, or shorten \
                     `build.platforms`",
                ));
            }
            context.ui.warn(what);
        }
        let count = human::count(services.len(), "image");
        let client = context.client().await?;
        let request = build::Build {
            project: spec.name.clone(),
            builds,
            services: services.into_iter().collect(),
            when: BuildWhen::Always,
        };
        let named: Vec<String> = request.services.clone();
        let path = format!("/v1/stacks/{}/build", spec.name);
        let summary = context
            .operate(&client, &path, &request, self.quiet)
            .await?;
        if !self.quiet {
            ui::say(format_args!(
                "{count} built in {}",
                human::took(summary.took_ms)
            ));
        }
        if self.push {
            super::push::push(
                context,
                super::push::images(context, &spec, &project, &named),
                self.quiet,
            )
            .await?;
        }
        Ok(exit::OK)
    }

    /// The services to build.
    fn chosen(
        &self,
        context: &Context,
        spec: &stack_api::spec::StackSpec,
        builds: &std::collections::BTreeMap<String, build::BuildSpec>,
    ) -> Result<BTreeSet<String>, Error> {
        let chosen =
            stack_planner::plan::select(&spec.services, &self.services, self.with_dependencies)
                .map_err(|error| Error::usage(error.to_string(), context.known(&error.known)))?;
        for name in chosen.iter().filter(|name| !builds.contains_key(*name)) {
            if self.services.contains(name) {
                context
                    .ui
                    .warn(format_args!("{name} has no `build`: its image is pulled"));
            }
        }
        Ok(chosen
            .into_iter()
            .filter(|name| builds.contains_key(name))
            .collect())
    }
}

fn absolute(path: &str) -> Result<String, Error> {
    let path = match path.strip_prefix("~/") {
        Some(rest) => std::env::home_dir().unwrap_or_default().join(rest),
        None => path.into(),
    };
    let full = std::path::absolute(&path).map_err(|source| Error::File {
        doing: "cannot find",
        path: path.clone(),
        source,
    })?;
    Ok(full.display().to_string())
}
