//! The nodes that a guest knows, by name: a node is found on the host by the
//! names that lead to it from its share's root, each time anew. So no
//! descriptor is held for it, a restarted server finds it again, and nothing
//! that is moved out of a share stays reachable.

use std::collections::HashMap;

use super::counted::Counted;
use super::journal::Record;
use crate::fuse::Res;

/// The made-up directory above the shares.
pub(super) const ROOT: u64 = 1;
/// Most nodes of a VM.
const NODES: usize = 4 << 20;
/// Deepest directory.
const DEPTH: usize = 1024;
/// Names of one file that are tried.
const NAMES: usize = 64;

/// What makes a file this file and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    /// Nanoseconds: inode numbers are used again. 0 if it is not known.
    pub(crate) born: u64,
}

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) share: u32,
    pub(super) identity: Identity,
    /// Parent and name.
    names: Vec<(u64, Vec<u8>)>,
    /// How often the guest has been told of it, and has not forgotten.
    lookups: u64,
    /// The guest had it from an earlier server.
    recovered: bool,
}

/// All nodes of a VM.
#[derive(Debug, Default)]
pub(super) struct Tree {
    shares: u64,
    nodes: HashMap<u64, Node>,
    children: HashMap<(u64, Vec<u8>), u64>,
    by_identity: HashMap<(u32, Identity), u64>,
    next: u64,
    counted: Counted,
}

/// Where a node is: its share and names to try, each from the share's root.
pub(super) type Place = (u32, Vec<Vec<u8>>);

impl Tree {
    pub(super) fn new(shares: usize) -> Tree {
        let shares = shares as u64;
        Tree {
            shares,
            next: first(shares),
            ..Tree::default()
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        // Numbers are never used again: a guest that starts anew must not
        // take an old request's node for a new one.
        *self = Tree {
            next: self.next,
            ..Tree::new(self.shares as usize)
        };
    }

    /// The share whose root this node is.
    pub(super) fn share_root(&self, node: u64) -> Option<u32> {
        let share = node.checked_sub(ROOT + 1)?;
        (share < self.shares).then_some(share as u32)
    }

    /// The node of a share's root.
    pub(super) fn root_of(share: u32) -> u64 {
        ROOT + 1 + u64::from(share)
    }

    /// The node, unless it is a share's root.
    pub(super) fn get(&self, node: u64) -> Option<&Node> {
        self.nodes.get(&node)
    }

    /// Its share.
    pub(super) fn share(&self, node: u64) -> Res<u32> {
        let known = || self.nodes.get(&node).map(|node| node.share);
        self.share_root(node).or_else(known).ok_or(libc::ESTALE)
    }

    /// The node of this name.
    pub(super) fn child(&self, parent: u64, name: &[u8]) -> Option<u64> {
        self.children.get(&(parent, name.to_vec())).copied()
    }

    /// Where the node is.
    pub(super) fn place(&self, node: u64) -> Res<Place> {
        if let Some(share) = self.share_root(node) {
            return Ok((share, vec![Vec::new()]));
        }
        let known = self.nodes.get(&node).ok_or(libc::ESTALE)?;
        let paths = known.names.iter().rev().take(NAMES);
        let paths: Vec<_> = paths
            .filter_map(|(parent, name)| self.path(*parent, name))
            .collect();
        match paths.is_empty() {
            true => Err(libc::ESTALE),
            false => Ok((known.share, paths)),
        }
    }

    fn path(&self, parent: u64, name: &[u8]) -> Option<Vec<u8>> {
        let mut parts = vec![name];
        let mut at = parent;
        while self.share_root(at).is_none() {
            let (parent, name) = self.nodes.get(&at)?.names.last()?;
            parts.push(name);
            at = *parent;
            if parts.len() > DEPTH {
                return None;
            }
        }
        parts.reverse();
        Some(parts.join(&b'/'))
    }

    /// The request tells the guest of this file under this name: gives its node, and
    /// records of what is new.
    pub(super) fn found(
        &mut self,
        request: u64,
        (parent, name): (u64, &[u8]),
        share: u32,
        identity: Identity,
    ) -> Res<(u64, Vec<Record>)> {
        let node = match self.by_identity.get(&(share, identity)) {
            Some(node) => *node,
            None if self.nodes.len() >= NODES => return Err(libc::ENOMEM),
            None => self.next,
        };
        let mut records = Vec::new();
        if self.name(node, share, identity, parent, name) {
            records.push(Record::Name {
                node,
                share,
                identity,
                parent,
                name: name.to_vec(),
            });
        }
        if !self.counted.has_told(request, node) {
            self.tell(node);
            records.push(Record::Told { node, request });
        }
        Ok((node, records))
    }

    fn tell(&mut self, node: u64) {
        if let Some(known) = self.nodes.get_mut(&node) {
            known.lookups += 1;
        }
    }

    /// Adds a name, which is the last one from now on. `true`: it was not.
    fn name(&mut self, id: u64, share: u32, identity: Identity, parent: u64, name: &[u8]) -> bool {
        let key = (parent, name.to_vec());
        match self.children.insert(key, id) {
            Some(old) if old == id => {
                let names = self.nodes.get(&id).map(|node| &node.names);
                let last = names.and_then(|names| names.last());
                if last.is_some_and(|(p, n)| *p == parent && n == name) {
                    return false;
                }
                // What is below it is found by this name again.
                self.unlist(id, parent, name);
            }
            Some(old) => self.unlist(old, parent, name),
            None => {}
        }
        let node = self.node(id, share, identity);
        node.names.push((parent, name.to_vec()));
        true
    }

    /// The node of this number, made if need be.
    fn node(&mut self, id: u64, share: u32, identity: Identity) -> &mut Node {
        self.next = self.next.max(id + 1);
        self.by_identity.insert((share, identity), id);
        self.nodes.entry(id).or_insert_with(|| Node {
            share,
            identity,
            names: Vec::new(),
            lookups: 0,
            recovered: false,
        })
    }

    fn unlist(&mut self, node: u64, parent: u64, name: &[u8]) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.names.retain(|(p, n)| !(*p == parent && n == name));
        }
    }

    /// The name leads nowhere any more.
    pub(super) fn unname(&mut self, parent: u64, name: &[u8]) -> Option<Record> {
        let name = name.to_vec();
        let node = self.children.remove(&(parent, name.clone()))?;
        self.unlist(node, parent, &name);
        Some(Record::Unname { parent, name })
    }

    /// The node that had one name has another.
    pub(super) fn moved(
        &mut self,
        (from, old): (u64, &[u8]),
        (to, new): (u64, &[u8]),
    ) -> Vec<Record> {
        let Some(node) = self.child(from, old) else {
            // An earlier server has noted it.
            return Vec::new();
        };
        let mut records: Vec<Record> = self.unname(from, old).into_iter().collect();
        records.extend(self.unname(to, new));
        records.extend(self.rename(node, to, new));
        records
    }

    /// Two names have changed places.
    pub(super) fn exchanged(
        &mut self,
        (one, first): (u64, &[u8]),
        (two, second): (u64, &[u8]),
    ) -> Vec<Record> {
        let moving = [
            (self.child(one, first), two, second),
            (self.child(two, second), one, first),
        ];
        let mut records: Vec<Record> = self.unname(one, first).into_iter().collect();
        records.extend(self.unname(two, second));
        for (node, parent, name) in moving {
            records.extend(node.and_then(|node| self.rename(node, parent, name)));
        }
        records
    }

    /// Another machine has moved what this node is. `from` is its place until then, as
    /// far as it is known here.
    pub(super) fn renamed(
        &mut self,
        node: u64,
        from: Option<(u64, &[u8])>,
        (to, new): (u64, &[u8]),
    ) -> Vec<Record> {
        let from = from.filter(|(parent, name)| self.child(*parent, name) == Some(node));
        let gone = from.and_then(|(parent, name)| self.unname(parent, name));
        let there = self.rename(node, to, new);
        gone.into_iter().chain(there).collect()
    }

    fn rename(&mut self, id: u64, parent: u64, name: &[u8]) -> Option<Record> {
        let node = self.nodes.get(&id)?;
        let (share, identity) = (node.share, node.identity);
        self.name(id, share, identity, parent, name);
        Some(Record::Name {
            node: id,
            share,
            identity,
            parent,
            name: name.to_vec(),
        })
    }

    /// By this request the guest knows the node so many times less: what to do with it,
    /// and a record. A guest may forget a node that it looks up at the same time, and
    /// one look of several.
    pub(super) fn forget(&mut self, request: u64, node: u64, times: u64) -> (bool, Option<Record>) {
        if !self.nodes.contains_key(&node) || self.counted.has_forgotten(request, node) {
            return (false, None);
        }
        let record = Record::Forget {
            node,
            times,
            request,
        };
        (self.untell(node, times), Some(record))
    }

    /// `true`: the node is gone.
    fn untell(&mut self, id: u64, times: u64) -> bool {
        let Some(node) = self.nodes.get_mut(&id) else {
            return false;
        };
        node.lookups = node.lookups.saturating_sub(times);
        if node.lookups > 0 {
            return false;
        }
        self.drop_node(id);
        true
    }

    fn drop_node(&mut self, id: u64) {
        let Some(node) = self.nodes.remove(&id) else {
            return;
        };
        for (parent, name) in node.names {
            let key = (parent, name);
            if self.children.get(&key) == Some(&id) {
                self.children.remove(&key);
            }
        }
        let key = (node.share, node.identity);
        if self.by_identity.get(&key) == Some(&id) {
            self.by_identity.remove(&key);
        }
    }

    /// Takes a record of an earlier server.
    pub(super) fn replay(&mut self, record: &Record) {
        match record {
            Record::Name {
                node,
                share,
                identity,
                parent,
                name,
            } => {
                self.name(*node, *share, *identity, *parent, name);
                self.node(*node, *share, *identity).recovered = true;
            }
            Record::Node {
                node,
                share,
                identity,
                lookups,
            } => {
                let node = self.node(*node, *share, *identity);
                (node.lookups, node.recovered) = (*lookups, true);
            }
            Record::Next { node } => self.next = self.next.max(*node),
            Record::Told { node, request } => {
                self.tell(*node);
                self.counted.replay_told(*request, *node);
            }
            Record::Unname { parent, name } => {
                self.unname(*parent, name);
            }
            Record::Forget {
                node,
                times,
                request,
            } => {
                self.counted.has_forgotten(*request, *node);
                self.untell(*node, *times);
            }
            Record::Locks { .. } | Record::Absent { .. } | Record::Begun { .. } => {}
        }
    }

    /// A directory's own place: its parent and name.
    pub(super) fn name_of(&self, node: u64) -> Option<(u64, Vec<u8>)> {
        if let Some(share) = self.share_root(node) {
            return Some((ROOT, share.to_string().into_bytes()));
        }
        self.nodes.get(&node)?.names.last().cloned()
    }

    /// All names that the guest may know, the shares' included.
    pub(super) fn all_names(&self) -> Vec<(u64, Vec<u8>)> {
        let roots = (0..self.shares).map(|share| (ROOT, share.to_string().into_bytes()));
        roots.chain(self.children.keys().cloned()).collect()
    }

    /// How many these are.
    pub(super) fn count(&self) -> usize {
        self.shares as usize + self.children.len()
    }

    /// Everything as records. A node that has no name any more may still be open.
    pub(super) fn records(&self) -> Vec<Record> {
        let mut records = vec![Record::Next { node: self.next }];
        for (id, node) in &self.nodes {
            records.push(Record::Node {
                node: *id,
                share: node.share,
                identity: node.identity,
                lookups: node.lookups,
            });
            let named = |(parent, name): &(u64, Vec<u8>)| Record::Name {
                node: *id,
                share: node.share,
                identity: node.identity,
                parent: *parent,
                name: name.clone(),
            };
            records.extend(node.names.iter().map(named));
        }
        records.extend(self.counted.records());
        records
    }

    /// The guest had it from an earlier server, and may have it open.
    pub(super) fn is_recovered(&self, node: u64) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.recovered)
    }

    /// The guest's node of this file in a share.
    pub(super) fn node_of(&self, share: u32, identity: Identity) -> Option<u64> {
        self.by_identity.get(&(share, identity)).copied()
    }

    /// The guest's nodes of this file, one for each share that shows it, each
    /// with the number of its names.
    pub(super) fn of_identity(&self, identity: Identity) -> Vec<(u64, usize)> {
        let nodes = (0..self.shares as u32).filter_map(|share| self.node_of(share, identity));
        let names = |node: u64| self.nodes.get(&node).map_or(0, |node| node.names.len());
        nodes.map(|node| (node, names(node))).collect()
    }
}

fn first(shares: u64) -> u64 {
    ROOT + 1 + shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(ino: u64) -> Identity {
        Identity {
            dev: 1,
            ino,
            born: 0,
        }
    }

    fn path(tree: &Tree, node: u64) -> String {
        let (_, paths) = tree.place(node).unwrap();
        String::from_utf8(paths[0].clone()).unwrap()
    }

    #[test]
    fn what_is_below_a_moved_directory_moves_along() {
        let mut tree = Tree::new(1);
        let root = Tree::root_of(0);
        let (dir, _) = tree.found(2, (root, b"a"), 0, identity(10)).unwrap();
        let (file, _) = tree.found(4, (dir, b"f"), 0, identity(11)).unwrap();
        assert_eq!(path(&tree, file), "a/f");
        tree.moved((root, b"a"), (root, b"b"));
        assert_eq!(path(&tree, file), "b/f");
        assert_eq!(tree.child(root, b"a"), None);
    }

    #[test]
    fn a_directory_that_is_moved_there_and_back_is_found() {
        let mut tree = Tree::new(1);
        let root = Tree::root_of(0);
        let (dir, first) = tree.found(6, (root, b"a"), 0, identity(10)).unwrap();
        let (file, below) = tree.found(8, (dir, b"f"), 0, identity(11)).unwrap();
        let (_, there) = tree.found(10, (root, b"b"), 0, identity(10)).unwrap();
        assert_eq!(path(&tree, file), "b/f");
        let (_, back) = tree.found(12, (root, b"a"), 0, identity(10)).unwrap();
        assert_eq!(path(&tree, file), "a/f");
        assert_eq!(
            tree.found(14, (root, b"a"), 0, identity(10))
                .unwrap()
                .1
                .len(),
            1
        );
        // The next server finds it, too.
        let mut next = Tree::new(1);
        let records = [first, below, there, back].concat();
        records.iter().for_each(|record| next.replay(record));
        assert_eq!(path(&next, file), "a/f");
    }

    /// The server after one that has noted this.
    fn next(records: &[Record]) -> Tree {
        let mut tree = Tree::new(1);
        records.iter().for_each(|record| tree.replay(record));
        tree
    }

    #[test]
    fn what_is_looked_up_again_is_not_forgotten_with_what_the_guest_knew_before() {
        let mut tree = Tree::new(1);
        let root = Tree::root_of(0);
        let (file, mut records) = tree.found(2, (root, b"f"), 0, identity(10)).unwrap();
        // The guest has forgotten it, which has not arrived yet, and looks again.
        records.extend(tree.found(4, (root, b"f"), 0, identity(10)).unwrap().1);
        for renewed in [false, true] {
            let mut tree = next(&records);
            if renewed {
                tree = next(&tree.records());
            }
            // The answer was not given, and is counted already.
            let again = tree.found(4, (root, b"f"), 0, identity(10)).unwrap();
            assert_eq!(again == (file, Vec::new()), !renewed);
            let (gone, record) = tree.forget(6, file, 1);
            assert!(!gone && record.is_some());
            assert_eq!(path(&tree, file), "f");
            assert!(tree.forget(8, file, 1 + u64::from(renewed)).0);
        }
    }

    #[test]
    fn to_forget_is_counted_once() {
        let mut tree = Tree::new(1);
        let root = Tree::root_of(0);
        let mut records = Vec::new();
        let (file, record) = tree.found(2, (root, b"f"), 0, identity(10)).unwrap();
        records.extend(record);
        records.extend(tree.found(4, (root, b"f"), 0, identity(10)).unwrap().1);
        records.extend(tree.forget(6, file, 1).1);
        for records in [&records, &tree.records()] {
            let mut tree = next(records);
            assert_eq!(tree.forget(6, file, 1), (false, None));
            assert!(tree.forget(8, file, 1).0);
            assert_eq!(tree.forget(8, file, 1), (false, None));
        }
    }

    #[test]
    fn a_file_without_a_name_stays_known_and_its_number_stays_its_own() {
        let mut tree = Tree::new(1);
        let root = Tree::root_of(0);
        let (open, _) = tree.found(2, (root, b"f"), 0, identity(10)).unwrap();
        tree.unname(root, b"f");
        let mut next = next(&tree.records());
        assert_eq!(next.share(open), Ok(0));
        assert!(next.is_recovered(open));
        let (new, _) = next.found(4, (root, b"f"), 0, identity(11)).unwrap();
        assert!(new > open);
        assert!(next.forget(6, open, 1).0);
        // Nor is it given again when nobody knows it any more.
        next.forget(8, new, 1);
        let mut third = Tree::new(1);
        next.records()
            .iter()
            .for_each(|record| third.replay(record));
        assert!(third.found(10, (root, b"g"), 0, identity(12)).unwrap().0 > new);
    }

    #[test]
    fn what_was_renamed_and_noted_is_not_unnamed_the_second_time() {
        let mut tree = Tree::new(1);
        let root = Tree::root_of(0);
        let (file, _) = tree.found(20, (root, b"a"), 0, identity(10)).unwrap();
        assert_eq!(tree.moved((root, b"a"), (root, b"b")).len(), 2);
        assert_eq!(tree.moved((root, b"a"), (root, b"b")), []);
        assert_eq!(path(&tree, file), "b");
    }

    #[test]
    fn two_names_are_one_node_until_both_are_gone() {
        let mut tree = Tree::new(1);
        let root = Tree::root_of(0);
        let (one, _) = tree.found(22, (root, b"a"), 0, identity(10)).unwrap();
        let (two, _) = tree.found(24, (root, b"b"), 0, identity(10)).unwrap();
        assert_eq!(one, two);
        tree.unname(root, b"b");
        assert_eq!(path(&tree, one), "a");
        tree.unname(root, b"a");
        assert_eq!(tree.place(one), Err(libc::ESTALE));
    }

    #[test]
    fn a_new_file_with_an_old_name_is_another_node() {
        let mut tree = Tree::new(1);
        let root = Tree::root_of(0);
        let (old, _) = tree.found(26, (root, b"a"), 0, identity(10)).unwrap();
        let (new, _) = tree.found(28, (root, b"a"), 0, identity(11)).unwrap();
        assert_ne!(old, new);
        assert_eq!(tree.place(old), Err(libc::ESTALE));
        assert!(!tree.forget(6, new, 0).0);
        assert!(tree.forget(8, old, 1).0);
    }

    #[test]
    fn the_next_server_knows_what_the_records_say() {
        let mut tree = Tree::new(2);
        let root = Tree::root_of(1);
        let mut records = Vec::new();
        let (dir, record) = tree.found(30, (root, b"d"), 1, identity(1)).unwrap();
        records.extend(record);
        let (file, record) = tree.found(32, (dir, b"f"), 1, identity(2)).unwrap();
        records.extend(record);
        records.extend(tree.moved((dir, b"f"), (root, b"g")));
        let mut next = Tree::new(2);
        records.iter().for_each(|record| next.replay(record));
        assert_eq!(path(&next, file), "g");
        assert_eq!(next.child(dir, b"f"), None);
        assert!(next.is_recovered(file));
        let (again, record) = next.found(34, (root, b"new"), 1, identity(3)).unwrap();
        assert!(again > file && record.len() == 2);
        // The same from a fresh journal.
        let mut third = Tree::new(2);
        next.records()
            .iter()
            .for_each(|record| third.replay(record));
        assert_eq!(path(&third, file), "g");
    }
}
