//! Options of `docker compose build` that mean something to BuildKit or to old
//! engines.

use crate::error::Error;

/// Taken so that they can be answered.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Foreign {
    /// Builder of `docker buildx`
    #[arg(long, value_name = "NAME", hide = true)]
    builder: Option<String>,

    /// Check Dockerfiles only
    #[arg(long, hide = true)]
    check: bool,

    /// Print a file for `docker buildx bake`
    #[arg(long, hide = true)]
    print: bool,

    /// Memory of the builder
    #[arg(short, long, value_name = "BYTES", hide = true)]
    memory: Option<String>,

    /// Attestation of how it was built
    #[arg(long, value_name = "ATTRIBUTES", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", hide = true)]
    provenance: Option<String>,

    /// Attestation of what is in it
    #[arg(long, value_name = "ATTRIBUTES", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", hide = true)]
    sbom: Option<String>,

    /// Without effect, as in Docker Compose
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    compress: Option<bool>,

    /// Without effect, as in Docker Compose
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    force_rm: Option<bool>,

    /// Without effect, as in Docker Compose
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    no_rm: Option<bool>,

    /// Without effect, as in Docker Compose
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    parallel: Option<bool>,
}

impl Foreign {
    /// # Errors
    /// One was given that would change the outcome: what to do instead.
    pub(super) fn check(&self) -> Result<(), Error> {
        let is_on = |value: &Option<String>| value.as_deref().is_some_and(|v| v != "false");
        let (option, help) = if self
            .builder
            .as_deref()
            .is_some_and(|name| name != "default")
        {
            (
                "--builder",
                "there is one builder for each user; STACK_BUILDER_IMAGE chooses its engine",
            )
        } else if self.check {
            (
                "--check",
                "`stack lint` checks the stack file; a Dockerfile is checked when it is built",
            )
        } else if self.print {
            (
                "--print",
                "images are built by buildah, which has no bake files; `stack config` shows how \
                 each image is built",
            )
        } else if self.memory.is_some() {
            (
                "--memory",
                "the builder has as much as STACK_BUILDER_MEMORY says when it starts, e.g. 8g",
            )
        } else if is_on(&self.provenance) || is_on(&self.sbom) {
            (
                "--provenance and --sbom",
                "leave them out: images have no attestations; tools that make them from an \
                 image take what `stack save` writes",
            )
        } else {
            return Ok(());
        };
        Err(Error::usage(format!("there is no {option} here"), help))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_ignored_is_refused() {
        assert!(Foreign::default().check().is_ok());
        let default = Foreign {
            builder: Some("default".to_owned()),
            provenance: Some("false".to_owned()),
            ..Foreign::default()
        };
        assert!(default.check().is_ok());
        let memory = Foreign {
            memory: Some("1g".to_owned()),
            ..Foreign::default()
        };
        let error = memory.check().unwrap_err().to_string();
        assert!(error.contains("--memory"), "{error}");
    }
}
