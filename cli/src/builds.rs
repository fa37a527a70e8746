//! How the services of a project are built, with what only this process
//! knows: where its SSH agent is.

use std::collections::BTreeMap;

use stack_api::build::BuildSpec;
use stack_planner::Project;

/// `build` of all services.
pub(crate) fn of(project: &Project) -> BTreeMap<String, BuildSpec> {
    let mut builds = project.builds();
    for build in builds.values_mut() {
        fill_in(build);
    }
    builds
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

/// Keys without a file are the agent's. Without an agent they stay empty: that
/// is an error only when the image has to be built.
pub(crate) fn fill_in(build: &mut BuildSpec) {
    let agent = std::env::var("SSH_AUTH_SOCK").unwrap_or_default();
    for key in build.ssh.values_mut().filter(|key| key.is_empty()) {
        agent.clone_into(key);
    }
}
