//! `services.*.build`

use super::About;

pub(super) const ABOUT: &[About] = &[About {
    what: "a build",
    text: "How the image is built.",
    fields: &[
        (
            "context",
            "Folder or Git address with the files. Default: the project's folder.",
        ),
        (
            "dockerfile",
            "The Dockerfile, from `context`. Default: `Dockerfile`.",
        ),
        ("dockerfile_inline", "The text of the Dockerfile itself."),
        ("entitlements", "Extra privileges of the build."),
        ("args", "Values of the Dockerfile's `ARG`s."),
        ("provenance", "Whether the image says how it was built."),
        ("sbom", "Whether the image lists what is in it."),
        ("ssh", "SSH agents and keys for the build."),
        ("labels", "Labels of the image."),
        ("cache_from", "Where layers may come from."),
        ("cache_to", "Where layers are stored."),
        ("no_cache", "Build everything anew."),
        ("no_cache_filter", "Stages to build anew."),
        (
            "additional_contexts",
            "More folders, images or services that the Dockerfile can use, by name.",
        ),
        ("pull", "Pull base images even if they are there."),
        (
            "extra_hosts",
            "Host names and their addresses during the build.",
        ),
        ("isolation", "Kind of isolation (Windows)."),
        ("network", "Network of `RUN` commands, e.g. `none`."),
        ("target", "Stage of the Dockerfile to build."),
        ("secrets", "Secrets that `RUN --mount=type=secret` can use."),
        ("shm_size", "Size of `/dev/shm` during the build."),
        ("tags", "More names of the image."),
        ("ulimits", "Limits of processes during the build."),
        ("platforms", "Platforms to build for."),
        ("privileged", "Build with all privileges."),
    ],
}];
