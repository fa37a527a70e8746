//! Writing into one container: what is known of its files, and what has to be
//! written.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use stack_protocol::sync::{Item, Kind, MOST_TOLD, Outcome};
use stack_sync::{Change, Failure, Step};

use super::batch::{Batch, Copied, Stamps};
use super::session::{Session, lost};
use crate::error::Error;

/// What a rule says and where it copies.
#[derive(Debug, Clone)]
pub(super) struct Copying {
    /// On the host.
    pub(super) root: PathBuf,
    /// In the container.
    pub(super) target: String,
}

impl Copying {
    /// A target that ends in `/` is a directory that one file goes into.
    pub(super) fn new(root: &Path, target: &str, changes: &[Change], touched: &Copied) -> Copying {
        let name = root.file_name().and_then(OsStr::to_str);
        let target = match name {
            Some(name) if target.ends_with('/') && is_file(root, changes, touched) => {
                format!("{target}{name}")
            }
            _ => target.to_owned(),
        };
        let root = root.to_path_buf();
        Copying { root, target }
    }
}

/// Is the root of a rule no directory, or was it none when it was there?
fn is_file(root: &Path, changes: &[Change], touched: &Copied) -> bool {
    let below = |path: &String| !path.is_empty();
    if changes.iter().any(|change| below(&change.path)) || touched.keys().any(below) {
        return false;
    }
    let now = changes.iter().find_map(|change| change.now.as_ref());
    match now.or_else(|| touched.get("")?.as_ref()) {
        Some(kind) => !matches!(kind, Kind::Directory { .. }),
        None => !root.is_dir(),
    }
}

/// A container that is being written to.
pub(super) struct Open {
    pub(super) session: Session,
    /// By rule.
    pub(super) rules: Vec<Known>,
}

/// What is known of the files of one rule in a container.
#[derive(Clone, Default)]
pub(super) struct Known {
    /// Everything that was ever copied is there.
    pub(super) current: bool,
    /// What could not be written: the next batch tries again.
    unwritten: Copied,
}

impl Open {
    pub(super) fn new(session: Session, rules: usize) -> Open {
        Open {
            session,
            rules: vec![Known::default(); rules],
        }
    }

    /// Writes a batch, or for the first time `all` that was ever copied. Gives
    /// whether all of the batch is there. `written` is what was written before.
    pub(super) async fn write(
        &mut self,
        (copying, batch, all): (&Copying, &Batch, &Copied),
        written: &mut Stamps,
        sum: &mut Outcome,
    ) -> Result<bool, Error> {
        let known = &mut self.rules[batch.rule];
        let mut changes = match known.current {
            true => known.with_unwritten(&batch.changes),
            false => all.clone().into_iter().collect(),
        };
        if batch.initial || !known.current {
            changes = without_same(&mut self.session, copying, changes).await?;
        }
        let mut steps = steps(changes, written);
        if !steps.is_empty() {
            let (outcome, left_out) = self
                .session
                .apply(&copying.root, &copying.target, &mut steps)
                .await
                .map_err(lost)?;
            known.note(steps, (&outcome, &left_out), written);
            sum.written = sum.written.max(outcome.written);
            sum.removed = sum.removed.max(outcome.removed);
            sum.conflicts.extend(outcome.conflicts);
            sum.failures.extend(outcome.failures);
            sum.failures.extend(left_out);
        }
        known.current = true;
        let unwritten = |change: &Change| known.unwritten.contains_key(&change.path);
        Ok(!batch.changes.iter().any(unwritten))
    }
}

impl Known {
    /// The changes, and before them what others have left.
    fn with_unwritten(&self, changes: &[Change]) -> Vec<(String, Option<Kind>)> {
        let newer: HashSet<&str> = changes.iter().map(|change| change.path.as_str()).collect();
        let older = self.unwritten.iter();
        let older = older.filter(|(path, _)| !newer.contains(path.as_str()));
        let own = changes.iter().map(|change| (&change.path, &change.now));
        older
            .chain(own)
            .map(|(path, now)| (path.clone(), now.clone()))
            .collect()
    }

    /// Notes what came of a batch. `left_out`: what was not sent.
    fn note(
        &mut self,
        steps: Vec<Step>,
        (outcome, left_out): (&Outcome, &[Failure]),
        written: &mut Stamps,
    ) {
        let failures = &outcome.failures;
        // The rest of the failures is not told, or a guest from before an upgrade
        // has put nothing into its place.
        let nothing = !failures.is_empty() && outcome.written + outcome.removed == 0;
        let every = nothing
            || failures.len() >= MOST_TOLD
            || failures.iter().any(|(path, _)| path.is_empty());
        let failed = failures.iter().chain(left_out);
        let failed: HashSet<&str> = failed.map(|(path, _)| path.as_str()).collect();
        for step in steps {
            if every || failed.contains(step.path.as_str()) {
                self.unwritten.insert(step.path, step.now);
                continue;
            }
            self.unwritten.remove(&step.path);
            match step.now {
                Some(Kind::File { stamp, .. }) => drop(written.insert(step.path, stamp)),
                _ => drop(written.remove(&step.path)),
            }
        }
    }
}

/// What is to be done, and what it is to find there.
pub(super) fn steps(changes: Vec<(String, Option<Kind>)>, written: &Stamps) -> Vec<Step> {
    let step = |(path, now)| Step {
        expected: written.get(&path).copied(),
        path,
        now,
    };
    changes.into_iter().map(step).collect()
}

/// Leaves out what the container has already.
async fn without_same(
    session: &mut Session,
    copying: &Copying,
    changes: Vec<(String, Option<Kind>)>,
) -> Result<Vec<(String, Option<Kind>)>, Error> {
    let (there, gone): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, now)| now.is_some());
    let items = there
        .into_iter()
        .filter_map(|(path, kind)| Some(Item { path, kind: kind? }))
        .collect();
    let missing = session
        .missing(&copying.root, &copying.target, items)
        .await
        .map_err(lost)?;
    let mut changes = gone;
    changes.extend(missing.into_iter().map(|item| (item.path, Some(item.kind))));
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use stack_protocol::sync::Stamp;

    use super::*;

    #[test]
    fn one_file_goes_into_a_target_that_ends_in_a_slash() {
        let stamp = Stamp {
            size: 1,
            modified_ns: 0,
        };
        let file = Some(Kind::File { stamp, mode: 0o644 });
        let directory = Some(Kind::Directory { mode: 0o755 });
        let change = |path: &str, now: &Option<Kind>| Change {
            path: path.to_owned(),
            now: now.clone(),
        };
        let (root, none) = (Path::new("/nowhere/conf"), Copied::new());
        let target = |target: &str, changes: &[Change], touched: &Copied| {
            Copying::new(root, target, changes, touched).target
        };
        let changed = [change("", &file)];
        assert_eq!(target("/app/", &changed, &none), "/app/conf");
        assert_eq!(target("/", &changed, &none), "/conf");
        assert_eq!(target("/app", &changed, &none), "/app");
        // Gone: what it was decides.
        let gone = [change("", &None)];
        let was = |kind: &Option<Kind>| Copied::from([(String::new(), kind.clone())]);
        assert_eq!(target("/app/", &gone, &was(&file)), "/app/conf");
        assert_eq!(target("/app/", &gone, &was(&directory)), "/app/");
        assert_eq!(target("/app/", &[change("a", &file)], &none), "/app/");
        assert_eq!(target("/app/", &[change("a", &None)], &none), "/app/");
    }

    #[test]
    fn what_could_not_be_written_is_tried_again() {
        let step = |path: &str| Step {
            path: path.to_owned(),
            now: Some(Kind::Directory { mode: 0o755 }),
            expected: None,
        };
        let outcome = |failed: &[&str]| Outcome {
            failures: failed
                .iter()
                .map(|path| ((*path).to_owned(), "no space".to_owned()))
                .collect(),
            written: 1,
            ..Outcome::default()
        };
        let change = |path: &str| Change {
            path: path.to_owned(),
            now: None,
        };
        let paths = |known: &Known, changes: &[Change]| -> Vec<String> {
            let all = known.with_unwritten(changes);
            all.into_iter().map(|(path, _)| path).collect()
        };
        let mut known = Known::default();
        let mut written = Stamps::new();
        known.note(
            vec![step("a"), step("b"), step("c")],
            (&outcome(&["a", "c"]), &[]),
            &mut written,
        );
        assert_eq!(paths(&known, &[change("c"), change("x")]), ["a", "c", "x"]);
        known.note(vec![step("a")], (&outcome(&[]), &[]), &mut written);
        assert_eq!(paths(&known, &[]), ["c"]);
        // What was not sent says nothing of the rest.
        let none = Outcome::default();
        let left_out = [("x".to_owned(), "it cannot be read".to_owned())];
        known.note(vec![step("x"), step("y")], (&none, &left_out), &mut written);
        assert_eq!(paths(&known, &[]), ["c", "x"]);
        known.note(vec![step("x")], (&outcome(&[]), &[]), &mut written);
        // The target itself: nothing of it is there.
        known.note(
            vec![step("b"), step("c")],
            (&outcome(&[""]), &[]),
            &mut written,
        );
        assert_eq!(paths(&known, &[]), ["b", "c"]);
    }
}
