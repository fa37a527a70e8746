//! Open files whose name goes, whoever removes it: they cannot be opened again, so
//! the keeper gets them before that, and they outlive this server.

use std::os::fd::AsFd;
use std::sync::{Arc, Weak};

use super::handles::Open;
use super::resolve::{identity, is_kind, look, stat};
use super::tree::Identity;
use super::{Fs, guard};
use crate::fuse::Res;
use crate::link::ToKeeper;

/// A file that the keeper has got for a VM.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) fs: Arc<Fs>,
    pub(super) node: u64,
}

impl Fs {
    /// A name is about to go. Every VM that has its file open, or may have, and
    /// knows no other name of it keeps the file.
    ///
    /// # Errors
    /// `EMFILE`: there is no room for it.
    pub(super) fn before_removal(
        &self,
        share: u32,
        parent: u64,
        dir: impl AsFd,
        name: &[u8],
    ) -> Res<Vec<Kept>> {
        let node = self.tree().child(parent, name);
        let used = node.is_some_and(|node| self.may_be_open(node));
        if !used && !self.held[share as usize].is_shared() {
            return Ok(Vec::new());
        }
        let Ok(found) = look(dir, name) else {
            return Ok(Vec::new());
        };
        if !is_kind(&found.stat, libc::S_IFREG) {
            return Ok(Vec::new());
        }
        let last = found.stat.stx_nlink <= 1;
        let mut kept = Vec::new();
        for fs in self.common.all() {
            let own = fs.session == self.session;
            // What another VM may have open is its own to lose: without end it would be
            // left no room to open anything.
            if !own && !fs.has_much_room() {
                continue;
            }
            for node in fs.nodes_of(identity(&found.stat), last, own.then_some(node).flatten()) {
                match fs.keep(node) {
                    Ok(true) => kept.push(Kept {
                        fs: Arc::clone(&fs),
                        node,
                    }),
                    Err(error) if own && self.is_open(node) => {
                        give_back(kept);
                        return Err(error);
                    }
                    // What another VM has too many of is its own loss, and what an
                    // earlier server knew is seldom open.
                    Ok(false) | Err(_) => {}
                }
            }
        }
        Ok(kept)
    }

    /// The nodes of this file that may be open here and cannot be found any more
    /// without the name. `last`: it is the last one. `removed`: the node that has it.
    fn nodes_of(&self, identity: Identity, last: bool, removed: Option<u64>) -> Vec<u64> {
        let mut nodes = self.tree().of_identity(identity);
        nodes.retain(|(node, names)| {
            // Of another VM's names it is not known which one goes.
            let lost = last || *names <= 1 || removed.is_none();
            lost && self.may_be_open(*node)
        });
        nodes.into_iter().map(|(node, _)| node).collect()
    }

    pub(super) fn may_be_open(&self, node: u64) -> bool {
        self.is_open(node) || self.tree().is_recovered(node)
    }

    fn is_open(&self, node: u64) -> bool {
        guard(&self.files).get(&node).is_some_and(Open::is_used)
    }

    /// Gives the file to the keeper. `false`: it has it, or there is none.
    pub(super) fn keep(&self, node: u64) -> Res<bool> {
        let opened = self.file(node, true).or_else(|error| match error {
            libc::EMFILE | libc::ENFILE => Err(error),
            _ => self.file(node, false),
        });
        match opened {
            Err(error @ (libc::EMFILE | libc::ENFILE)) => return Err(error),
            Err(_) => return Ok(false),
            Ok(_) => {}
        }
        let mut files = guard(&self.files);
        let Some(open) = files.get_mut(&node).filter(|open| !open.held) else {
            return Ok(false);
        };
        let Some(file) = open.get(false) else {
            return Ok(false);
        };
        open.held = true;
        let session = self.session;
        let hold = ToKeeper::Hold { session, node };
        self.keeper.send(&hold, Some(file.as_fd()));
        Ok(true)
    }

    /// Somebody on the host has removed a name, or put another file in its place.
    pub(super) fn after_removal_elsewhere(&self, parent: u64, name: &[u8]) {
        let Some(node) = self.tree().child(parent, name) else {
            return;
        };
        let gone = self
            .open_stat(node)
            .is_some_and(|(_, stat)| stat.stx_nlink == 0);
        if gone {
            let _ = self.keep(node);
        }
    }
}

/// The name has stayed.
pub(super) fn give_back(kept: Vec<Kept>) {
    for Kept { fs, node } in kept {
        let mut files = guard(&fs.files);
        let Some(open) = files.get_mut(&node) else {
            continue;
        };
        let linked = open
            .get(false)
            .is_some_and(|file| stat(&*file).is_ok_and(|stat| stat.stx_nlink > 0));
        // Another one may have removed it at the same time.
        if linked {
            open.held = false;
            let session = fs.session;
            fs.keeper.send(&ToKeeper::Release { session, node }, None);
        }
    }
}

impl super::Common {
    /// The file systems of all VMs.
    pub(super) fn all(&self) -> Vec<Arc<Fs>> {
        guard(&self.all)
            .values()
            .filter_map(Weak::upgrade)
            .collect()
    }
}
