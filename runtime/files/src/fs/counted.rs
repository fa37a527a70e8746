//! What has been counted of how often a guest knows its nodes. A request that an
//! earlier server took may be carried out again: it has been counted already.

use std::collections::{BTreeSet, VecDeque};

use super::journal::Record;

/// So many requests that tell the guest of nodes are remembered: of those that are
/// counted and not answered there is one for each thread.
const RECENT: usize = 64;

/// The last ones.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// Requests of an earlier server, each with the nodes that it told of.
    told: VecDeque<(u64, Vec<u64>)>,
    /// The last request to forget: they are carried out one after the other.
    forgets: u64,
    forgot: BTreeSet<u64>,
}

impl Counted {
    /// An earlier server told the guest of the node.
    pub(super) fn replay_told(&mut self, request: u64, node: u64) {
        let known = self
            .told
            .iter_mut()
            .rev()
            .find(|(known, _)| *known == request);
        match known {
            Some((_, nodes)) => nodes.push(node),
            None => self.told.push_back((request, vec![node])),
        }
        if self.told.len() > RECENT {
            self.told.pop_front();
        }
    }

    /// The request tells of the node. `true`: an earlier server has counted that.
    pub(super) fn has_told(&mut self, request: u64, node: u64) -> bool {
        let mut same = self.told.iter_mut().filter(|(known, _)| *known == request);
        same.any(
            |(_, nodes)| match nodes.iter().position(|known| *known == node) {
                Some(at) => {
                    nodes.swap_remove(at);
                    true
                }
                None => false,
            },
        )
    }

    /// The request has the node forgotten. `true`: that has been counted.
    pub(super) fn has_forgotten(&mut self, request: u64, node: u64) -> bool {
        // Who gives no numbers is never asked twice for the same.
        if request == 0 {
            return false;
        }
        if self.forgets != request {
            (self.forgets, self.forgot) = (request, BTreeSet::new());
        }
        !self.forgot.insert(node)
    }

    /// What the next server must know of it, if all else starts anew.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        let request = self.forgets;
        self.forgot.iter().map(move |node| Record::Forget {
            node: *node,
            times: 0,
            request,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_not_counted_again() {
        let mut counted = Counted::default();
        counted.replay_told(2, 7);
        counted.replay_told(2, 7);
        counted.replay_told(4, 8);
        // Two names of one file in a directory.
        assert!(counted.has_told(2, 7) && counted.has_told(2, 7));
        assert!(!counted.has_told(2, 7) && !counted.has_told(4, 7));
        for request in 0..RECENT as u64 {
            counted.replay_told(10 + request, 1);
        }
        assert!(!counted.has_told(4, 8));
        assert!(!counted.has_forgotten(2, 7) && counted.has_forgotten(2, 7));
        assert_eq!(counted.records().count(), 1);
        assert!(!counted.has_forgotten(4, 7) && !counted.has_forgotten(4, 8));
        assert_eq!(counted.records().count(), 2);
        assert!(!counted.has_forgotten(0, 7) && !counted.has_forgotten(0, 7));
    }
}
