//! `stack image`

pub(crate) mod filter;
mod inspect;
mod ls;
mod prune;
mod rm;
mod tag;

use clap::Subcommand;
use stack_api::image::Removed;

use crate::context::Context;
use crate::error::Error;
use crate::ui;
use crate::ui::human;

/// Manage images
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: images that no container needs\n  stack image prune --all")]
pub(crate) struct Image {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Inspect(inspect::Inspect),
    Ls(ls::Ls),
    Prune(prune::Prune),
    Rm(rm::Rm),
    Tag(tag::Tag),
}

impl Image {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        match self.verb {
            Verb::Inspect(verb) => verb.run(context).await,
            Verb::Ls(verb) => verb.run(context).await,
            Verb::Prune(verb) => verb.run(context).await,
            Verb::Rm(verb) => verb.run(context).await,
            Verb::Tag(verb) => verb.run(context).await,
        }
    }
}

/// As Docker shows it: `nginx:1`.
pub(super) fn familiar(reference: &str) -> String {
    let hub = reference.strip_prefix("docker.io/");
    let short = hub.map(|rest| rest.strip_prefix("library/").unwrap_or(rest));
    short.unwrap_or(reference).to_owned()
}

/// Repository and tag.
pub(super) fn parts(reference: &str) -> (&str, Option<&str>) {
    let name = reference.split('@').next().unwrap_or(reference);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    }
}

/// Says what is gone.
fn show(removed: &Removed) -> Result<(), Error> {
    for name in &removed.untagged {
        ui::print_line(format_args!("Untagged: {}", familiar(name)))?;
    }
    for id in &removed.deleted {
        ui::print_line(format_args!("Deleted: {id}"))?;
    }
    ui::say(format!("{} in all", human::bytes(removed.bytes)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_parts() {
        assert_eq!(familiar("docker.io/library/a:1"), "a:1");
        assert_eq!(familiar("docker.io/x/a:1"), "x/a:1");
        assert_eq!(familiar("localhost:5/a:1"), "localhost:5/a:1");
        assert_eq!(parts("localhost:5/a"), ("localhost:5/a", None));
        assert_eq!(parts("a:1@sha256:2"), ("a", Some("1")));
    }
}
