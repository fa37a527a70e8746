//! `stack lock`

use std::collections::BTreeSet;

use stack_api::request;
use stack_planner::{Lock as LockFile, Project};

use crate::context::Context;
use crate::error::Error;
use crate::project::{Phases, lock};
use crate::ui::{human, palette};
use crate::{exit, ui};

/// Pin every image to its digest, in stack.lock
///
/// The file is made beside the stack file and belongs into version control:
/// `stack up` then runs the same images everywhere. Images that are locked
/// already keep their digests, what no service uses any more goes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: get what the tags lead to today\n  \
                  stack lock --update\n\n\
                  Example: fail in a pipeline when the lock was forgotten\n  \
                  stack lock --check")]
pub(crate) struct Lock {
    /// With --update: only the images of these services (default: all)
    #[arg(value_name = "SERVICE", requires = "update")]
    services: Vec<String>,

    /// Look up locked images anew
    #[arg(long)]
    update: bool,

    /// Change nothing; fail when the lock does not fit the stack file
    #[arg(long, conflicts_with = "update")]
    check: bool,

    /// Say nothing
    #[arg(short, long)]
    quiet: bool,
}

impl Lock {
    pub(super) async fn run(self, context: &Context) -> Result<u8, Error> {
        let phases = Phases {
            resolve_environment: false,
            ..Phases::default()
        };
        let project = context.project(&[], phases)?;
        let path = lock::path(&project);
        let old = lock::read(&path)?;
        let needed = project.pinnable_images();
        if self.check {
            let old = old.unwrap_or_default();
            let drift = old.drift(&needed);
            return match drift.is_empty() {
                true => Ok(exit::OK),
                false => Err(lock::refusal(&drift)),
            };
        }
        let fresh = self.fresh(context, &project)?;
        let mut new = LockFile::default();
        let mut asked = Vec::new();
        for (reference, services) in &needed {
            let known = old.as_ref().and_then(|old| old.images.get(reference));
            match known.filter(|_| services.is_disjoint(&fresh)) {
                Some(digest) => _ = new.images.insert(reference.clone(), digest.clone()),
                None => asked.push(reference.clone()),
            }
        }
        for (reference, found) in context.resolve(asked).await? {
            new.images.insert(reference, found.digest);
        }
        if old.as_ref() != Some(&new) {
            lock::write(&path, &new)?;
        }
        if !self.quiet {
            say(context, &old.unwrap_or_default(), &new);
        }
        Ok(exit::OK)
    }

    /// Services whose images are looked up even if they are locked.
    fn fresh(&self, context: &Context, project: &Project) -> Result<BTreeSet<String>, Error> {
        let mut all: BTreeSet<String> = project.service_names().into_iter().collect();
        all.extend(project.disabled_service_names());
        if let Some(unknown) = self.services.iter().find(|name| !all.contains(*name)) {
            let known: Vec<String> = all.into_iter().collect();
            let message = format!("there is no service {unknown}");
            return Err(Error::usage(message, context.known(&known)));
        }
        Ok(match (self.update, self.services.is_empty()) {
            (false, _) => BTreeSet::new(),
            (true, true) => all,
            (true, false) => self.services.iter().cloned().collect(),
        })
    }
}

impl Context {
    /// Asks registries what references lead to, through the daemon.
    ///
    /// # Errors
    /// One of them cannot be found.
    pub(crate) async fn resolve(&self, images: Vec<String>) -> Result<lock::Found, Error> {
        if images.is_empty() {
            return Ok(lock::Found::new());
        }
        let client = self.client().await?;
        let found: Vec<request::Resolved> = client
            .call("/v1/images/resolve", &request::Resolve { images })
            .await?;
        let by_reference = found
            .into_iter()
            .map(|found| (found.reference.clone(), found));
        Ok(by_reference.collect())
    }
}

/// A line per change, and one for all.
fn say(context: &Context, old: &LockFile, new: &LockFile) {
    let paint = context.ui.err;
    let short = |digest: &str| {
        digest
            .chars()
            .take("sha256:".len() + 12)
            .collect::<String>()
    };
    let mut changes = 0;
    let names: BTreeSet<&String> = old.images.keys().chain(new.images.keys()).collect();
    for name in names {
        let (mark, style, text) = match (old.images.get(name), new.images.get(name)) {
            (Some(a), Some(b)) if a == b => continue,
            (Some(a), Some(b)) => ('~', palette::WARN, format!("{} → {}", short(a), short(b))),
            (None, Some(b)) => ('+', palette::GOOD, short(b)),
            (Some(a), None) => ('-', palette::BAD, short(a)),
            (None, None) => continue,
        };
        changes += 1;
        let mark = paint.paint(style, mark);
        let text = paint.paint(palette::DIM, text);
        ui::say(format_args!("{mark} {name} {text}"));
    }
    let count = human::count(new.images.len(), "image");
    let changed = match changes {
        0 => "nothing changed".to_owned(),
        n => human::count(n, "change"),
    };
    context.ui.note(format_args!(
        "{}: {count}, {changed}",
        stack_planner::LOCK_FILE
    ));
}
