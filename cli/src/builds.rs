//! How the services of a project are built, with what only this process
//! knows: where its SSH agent is, and its proxies.

use std::collections::BTreeMap;

use stack_api::build::{BuildSpec, BuildWhen};
use stack_api::request::Up;
use stack_api::spec::ServiceSpec;
use stack_planner::Project;

use crate::context::Context;
use crate::error::Error;

/// `build` of all services.
pub(crate) fn of(project: &Project) -> BTreeMap<String, BuildSpec> {
    let mut builds = project.builds();
    let proxies = crate::proxies::of_builds();
    for build in builds.values_mut() {
        proxies.clone_into(&mut build.proxies);
        fill_in(build);
    }
    builds
}

/// With `--build`, images are built for certain: what stands in the way is told
/// with its lines, before anything is done.
///
/// # Errors
/// Something does.
pub(crate) fn check(context: &Context, project: &Project, request: &Up) -> Result<(), Error> {
    if request.build != Some(BuildWhen::Always) {
        return Ok(());
    }
    let services = &request.spec.services;
    let chosen = stack_planner::plan::select(services, &request.services, !request.no_deps);
    // What is not there is told when it is looked for.
    context.can_build(project, &chosen.unwrap_or_default())
}

/// The service that builds the image of this one: itself, or another that
/// has the same image.
pub(crate) fn builder<'a>(
    builds: &'a BTreeMap<String, BuildSpec>,
    service: &str,
    image: &str,
) -> Option<(&'a String, &'a BuildSpec)> {
    let mut all = builds.iter();
    let own = builds.get_key_value(service);
    own.or_else(|| all.find(|(_, build)| build.image == image))
}

/// For which platform images are pulled, by reference, where services say so.
pub(crate) fn platforms<'a>(
    services: impl Iterator<Item = &'a ServiceSpec>,
) -> BTreeMap<String, String> {
    let named = services.filter_map(|service| {
        let platform = service.platform.clone()?;
        Some((service.image.clone(), platform))
    });
    named.collect()
}

/// Keys without a file are the agent's. Without an agent they stay empty: that
/// is an error only when the image has to be built.
pub(crate) fn fill_in(build: &mut BuildSpec) {
    let agent = std::env::var("SSH_AUTH_SOCK").unwrap_or_default();
    for key in build.ssh.values_mut().filter(|key| key.is_empty()) {
        agent.clone_into(key);
    }
}
