//! `stack pull`

use std::collections::BTreeMap;

use stack_api::request;
use stack_api::spec::PullPolicy;
use stack_planner::Project;

use crate::context::Context;
use crate::error::Error;
use crate::exit;

/// Get the images of services from their registries
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: newer images, then new containers for those that changed\n  \
                  stack pull && stack up -d"
)]
pub(crate) struct Pull {
    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,

    /// always, or missing: only images that are not here (default: what
    /// `pull_policy` says, and always without one)
    #[arg(long, value_enum, hide_possible_values = true)]
    policy: Option<Policy>,

    /// Go on when an image cannot be had
    #[arg(long)]
    ignore_pull_failures: bool,

    /// Leave out images that can be built
    #[arg(long)]
    ignore_buildable: bool,

    /// Without effect, as in Docker Compose
    #[arg(long, hide = true)]
    parallel: bool,

    /// Without effect, as in Docker Compose
    #[arg(long, hide = true)]
    no_parallel: bool,

    /// Also images of services that these depend on
    #[arg(long)]
    include_deps: bool,

    /// Say nothing
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Policy {
    Always,
    Missing,
}

impl Pull {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let (spec, project) = context.outline(&self.services)?;
        let builds = crate::builds::of(&project);
        let chosen = stack_planner::plan::select(&spec.services, &self.services, self.include_deps)
            .map_err(|error| Error::usage(error.to_string(), context.known(&error.known)))?;
        // What is only built here is in no registry.
        let only_built = |name: &str| {
            let image = &spec.services[name].image;
            let Some((builder, build)) = crate::builds::builder(&builds, name, image) else {
                return false;
            };
            // The name of an image that was given none.
            self.ignore_buildable || !build.is_named(project.name(), builder)
        };
        // By image: is it left alone when it is here?
        let mut wanted: BTreeMap<String, bool> = BTreeMap::new();
        for name in chosen.iter().filter(|name| !only_built(name)) {
            let image = &spec.services[name].image;
            let kept = match (self.policy, policy_of(&project, name)) {
                (Some(_), _) => false,
                (None, Some("never" | "build")) => continue,
                (None, Some("missing" | "if_not_present")) => is_fixed(image),
                (None, _) => false,
            };
            wanted
                .entry(image.clone())
                .and_modify(|others| *others &= kept)
                .or_insert(kept);
        }
        // What they mount has no policy of its own.
        let mounted = chosen
            .iter()
            .flat_map(|name| spec.services[name].mounted_images());
        let is_built = |image: &&String| builds.values().any(|build| build.image == **image);
        for image in mounted.filter(|image| !is_built(image)) {
            let kept = self.policy.is_none() && is_fixed(image);
            wanted.entry(image.clone()).or_insert(kept);
        }
        let images: Vec<String> = wanted.keys().cloned().collect();
        let count = images.len();
        let buildable = images.iter().filter(is_built).cloned().collect();
        let request = request::Pull {
            images,
            policy: match self.policy {
                Some(Policy::Missing) => PullPolicy::Missing,
                Some(Policy::Always) | None => PullPolicy::Always,
            },
            ignore_failures: self.ignore_pull_failures,
            buildable,
            platforms: crate::builds::platforms(chosen.iter().map(|name| &spec.services[name])),
            kept: wanted
                .into_iter()
                .filter_map(|(image, kept)| kept.then_some(image))
                .collect(),
        };
        context
            .transfer("/v1/images/pull", count, &request, self.quiet)
            .await?;
        Ok(exit::OK)
    }
}

/// `pull_policy` of a service, if it has one.
fn policy_of<'a>(project: &'a Project, service: &str) -> Option<&'a str> {
    let services = project.model().get("services")?;
    services.get(service)?.get("pull_policy")?.as_str()
}

/// Has it a tag other than `latest`, which is expected to stay what it is?
fn is_fixed(image: &str) -> bool {
    let last = image.rsplit('/').next().unwrap_or(image);
    let tag = last.split_once(':').map(|(_, tag)| tag);
    !last.contains('@') && tag.is_some_and(|tag| tag != "latest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_a_tag_are_looked_for_each_time() {
        for fixed in ["a:1", "r.x:5000/a:1", "a/b:v2"] {
            assert!(is_fixed(fixed), "{fixed}");
        }
        for other in ["a", "a:latest", "r.x:5000/a", "a@sha256:00"] {
            assert!(!is_fixed(other), "{other}");
        }
    }
}
