//! How images are built (Compose Build Specification).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spec::StackSpec;

/// `POST /v1/stacks/{name}/build`. Answer: events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// Project name.
    pub project: String,
    /// All services that can be built.
    pub builds: BTreeMap<String, BuildSpec>,
    /// Those to build, besides what they are built from.
    pub services: Vec<String>,
    /// When.
    pub when: BuildWhen,
}

impl Build {
    /// The services of a stack that are built.
    pub fn of(spec: &StackSpec, builds: BTreeMap<String, BuildSpec>) -> Build {
        Build {
            project: spec.name.clone(),
            services: builds.keys().cloned().collect(),
            builds,
            when: BuildWhen::Always,
        }
    }
}

/// `POST /v1/builder/prune`. Answer: the bytes on disk that were freed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneBuilder {}

/// When an image is built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildWhen {
    /// Every time; what has not changed comes from the cache.
    Always,
    /// When it is not there.
    #[default]
    Missing,
    /// Never.
    Never,
}

/// How the image of one service is built. Secrets are in it: it is kept
/// nowhere.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildSpec {
    /// Reference that the image gets.
    pub image: String,
    /// More of them.
    pub tags: Vec<String>,
    /// Absolute path of a directory, or the URL of a git repository or
    /// archive.
    pub context: String,
    /// Relative to the context, or absolute.
    pub dockerfile: String,
    /// The Dockerfile itself, instead.
    pub dockerfile_inline: Option<String>,
    /// Values of `ARG`.
    pub args: BTreeMap<String, String>,
    /// Stage to build; the last one.
    pub target: Option<String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Repositories to take layers from.
    pub cache_from: Vec<String>,
    /// Repositories to bring layers to.
    pub cache_to: Vec<String>,
    /// Files for `RUN --mount=type=secret`, by id.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// Keys for `RUN --mount=type=ssh`: id, absolute path of the key.
    pub ssh: BTreeMap<String, String>,
    /// `none`, or the default.
    pub network: Option<String>,
    /// More contexts by name: absolute path, `docker-image://…`,
    /// `service:…` or URL.
    pub additional_contexts: BTreeMap<String, String>,
    /// Name and address.
    pub extra_hosts: Vec<(String, String)>,
    /// Take nothing from the cache.
    pub no_cache: bool,
    /// Ask registries for newer base images.
    pub pull: bool,
    /// `/dev/shm` of `RUN` in bytes.
    pub shm_size: Option<u64>,
    /// Limits: name, (soft, hard); -1 is unlimited.
    pub ulimits: BTreeMap<String, (i64, i64)>,
    /// `RUN` has all capabilities.
    pub privileged: bool,
    /// Proxies: `HTTP_PROXY` and the like. They may have passwords in them.
    pub proxies: BTreeMap<String, String>,
    /// Those of `build.platforms` and of the environment that it is not built for.
    pub foreign_platforms: Vec<String>,
    /// Why it cannot be built, if that is known: nobody but who builds it has to
    /// care.
    pub hindrance: Option<String>,
    /// `pull_policy: build`.
    pub always: bool,
}

impl BuildSpec {
    /// The image of a service of which the file does not say how it is called.
    pub fn image_of(project: &str, service: &str) -> String {
        format!("{project}-{service}").to_lowercase()
    }

    /// Does the file name the image, so that a registry may have it?
    pub fn is_named(&self, project: &str, service: &str) -> bool {
        self.image != BuildSpec::image_of(project, service)
    }

    /// The services whose images are contexts of it (`additional_contexts: {base: service:base}`).
    pub fn base_services(&self) -> impl Iterator<Item = &str> {
        let contexts = self.additional_contexts.values();
        contexts.filter_map(|place| place.strip_prefix("service:"))
    }
}

impl std::fmt::Debug for BuildSpec {
    /// Without what may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuildSpec")
            .field("image", &self.image)
            .field("context", &self.context)
            .field("dockerfile", &self.dockerfile)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
