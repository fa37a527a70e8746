//! Changes on their way to a service, and what is left of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use stack_protocol::sync::{Kind, Stamp};
use stack_sync::Change;

/// Changes of one rule.
#[derive(Debug)]
pub(super) struct Batch {
    /// Index of the rule among those of its service.
    pub(super) rule: usize,
    /// What has changed.
    pub(super) changes: Vec<Change>,
    /// Files that may be there already are compared first, and that is all:
    /// no restart, no command. Without changes it is for new containers, which get
    /// what was copied into others.
    pub(super) initial: bool,
    /// More of it is to come, and may change it again: it is prepared.
    pub(super) part: bool,
    /// When the first change was seen.
    pub(super) began: Instant,
}

impl Batch {
    /// Brings new containers up to date with a rule.
    pub(super) fn of_new(rule: usize) -> Batch {
        Batch {
            rule,
            changes: Vec::new(),
            initial: true,
            part: false,
            began: Instant::now(),
        }
    }

    /// Only new containers are meant.
    pub(super) fn is_of_new(&self) -> bool {
        self.initial && self.changes.is_empty()
    }
}

/// What a worker leaves to the next one for its service.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// All that was ever copied, by rule: what a new container must get.
    pub(super) touched: Vec<Copied>,
    /// What was written last, by rule: in the same container it is what the next
    /// change is to find.
    pub(super) written: Vec<Written>,
    /// What could not be copied yet.
    pub(super) waiting: Vec<Batch>,
}

impl Left {
    /// Adds what is known of the next rule.
    pub(super) fn put(&mut self, known: Option<&mut OfRule>) {
        let rule = self.touched.len();
        let known = known.map(std::mem::take).unwrap_or_default();
        self.touched.push(known.touched);
        self.written.push(known.written);
        let waiting = known.waiting;
        self.waiting
            .extend(waiting.map(|batch| Batch { rule, ..batch }));
    }

    /// Takes what is known of a rule.
    pub(super) fn take(&mut self, rule: usize) -> OfRule {
        let at = self.waiting.iter().position(|batch| batch.rule == rule);
        OfRule {
            touched: self
                .touched
                .get_mut(rule)
                .map(std::mem::take)
                .unwrap_or_default(),
            written: self
                .written
                .get_mut(rule)
                .map(std::mem::take)
                .unwrap_or_default(),
            waiting: at.map(|at| self.waiting.remove(at)),
        }
    }

    /// Forgets what was written into containers that are gone.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        for written in &mut self.written {
            written.retain(|id, _| is_there(id));
        }
    }
}

/// The part of a [`Left`] that belongs to one rule.
#[derive(Debug, Default)]
pub(super) struct OfRule {
    touched: Copied,
    written: Written,
    waiting: Option<Batch>,
}

/// Paths and what is to be there.
pub(super) type Copied = BTreeMap<String, Option<Kind>>;
/// Paths and the files that were written there.
pub(super) type Stamps = HashMap<String, Stamp>;
/// The same by the ids of containers.
pub(super) type Written = HashMap<String, Stamps>;

/// One batch for each rule, the latest state of each path.
pub(super) fn merged(batches: Vec<Batch>, rules: usize) -> Vec<Batch> {
    let mut by_rule: Vec<Option<Batch>> = (0..rules).map(|_| None).collect();
    for batch in batches {
        match &mut by_rule[batch.rule] {
            empty @ None => *empty = Some(batch),
            Some(first) => {
                let newer: HashSet<&str> = batch
                    .changes
                    .iter()
                    .map(|change| change.path.as_str())
                    .collect();
                first
                    .changes
                    .retain(|change| !newer.contains(change.path.as_str()));
                first.changes.extend(batch.changes);
                first.initial &= batch.initial;
                if std::mem::replace(&mut first.part, batch.part) {
                    first.began = batch.began;
                }
            }
        }
    }
    by_rule.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waited_is_one_batch_with_the_last_state() {
        let batch = |rule, path: &str, gone: bool| Batch {
            rule,
            changes: vec![Change {
                path: path.to_owned(),
                now: (!gone).then_some(Kind::Directory { mode: 0o755 }),
            }],
            initial: false,
            part: false,
            began: Instant::now(),
        };
        let all = vec![
            batch(1, "a", false),
            batch(0, "x", false),
            batch(1, "a", true),
        ];
        let merged = merged(all, 2);
        assert_eq!(merged.len(), 2);
        assert_eq!(merged[1].changes.len(), 1);
        assert_eq!(merged[1].changes[0].now, None);
    }
}
