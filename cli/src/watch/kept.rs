//! What watching knows of its rules when it ends, for when it goes on: a
//! stack file has changed, and other files may have at the same time.

use std::path::PathBuf;

use stack_planner::Rule;
use stack_sync::Tree;

use super::batch::OfRule;

/// Rules and their files, as they were seen last.
#[derive(Debug, Default)]
pub(super) struct Kept {
    rules: Vec<(Key, Rest)>,
}

/// What makes a rule the same as before: it may do or leave out other things.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    service: String,
    path: PathBuf,
    target: Option<String>,
    initial_sync: bool,
}

impl Key {
    fn of(rule: &Rule) -> Key {
        Key {
            service: rule.service.clone(),
            path: rule.path.clone(),
            target: rule.target.clone(),
            initial_sync: rule.initial_sync,
        }
    }
}

/// What is known of one rule.
#[derive(Debug)]
pub(super) struct Rest {
    /// The files.
    pub(super) tree: Tree,
    /// What its worker has left.
    pub(super) left: OfRule,
}

impl Kept {
    /// Takes what is known of a rule.
    pub(super) fn take(&mut self, rule: &Rule) -> Option<Rest> {
        let wanted = Key::of(rule);
        let at = self.rules.iter().position(|(key, _)| *key == wanted)?;
        Some(self.rules.remove(at).1)
    }

    /// Keeps it.
    pub(super) fn keep(&mut self, rule: &Rule, rest: Rest) {
        self.rules.push((Key::of(rule), rest));
    }
}
