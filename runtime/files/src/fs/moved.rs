//! What gets another name by one machine, or by somebody on the host: whoever knows it
//! by its old name, and may have it open, goes on with the new one.

use std::sync::Arc;

use super::Fs;
use super::nameless::Kept;
use super::resolve::{Found, identity, look, stat};
use super::tree::{Identity, Tree};

/// A directory and a name in it.
type Place<'a> = (&'a Found, &'a [u8]);

impl Fs {
    /// A file is about to be moved into this directory. Machines that do not know the
    /// directory keep it, if they may have it open.
    pub(super) fn before_move(&self, moved: Identity, to: &Found) -> Vec<Kept> {
        let mut kept = Vec::new();
        for fs in self.common.all() {
            if fs.session == self.session || !fs.has_much_room() {
                continue;
            }
            let nodes = fs.tree().of_identity(moved);
            for (node, _) in nodes {
                let share = fs.tree().share(node);
                let known = share.is_ok_and(|share| fs.dir_of(share, to).is_some());
                if !known && fs.may_be_open(node) && fs.keep(node) == Ok(true) {
                    let fs = Arc::clone(&fs);
                    kept.push(Kept { fs, node });
                }
            }
        }
        kept
    }

    /// It has moved: who else knows it finds it there. `share`: where this machine has
    /// moved it.
    pub(super) fn after_move(&self, share: u32, moved: Identity, from: Place<'_>, to: Place<'_>) {
        for fs in self.common.all() {
            let nodes = fs.tree().of_identity(moved);
            for (node, _) in nodes {
                let Ok(of) = fs.tree().share(node) else {
                    continue;
                };
                if (fs.session, of) == (self.session, share) {
                    continue;
                }
                let old = fs.dir_of(of, from.0).map(|dir| (dir, from.1));
                if let Some(dir) = fs.dir_of(of, to.0) {
                    let mut tree = fs.tree();
                    let _ = fs.note(tree.renamed(node, old, (dir, to.1)));
                }
            }
        }
    }

    /// The node of a directory in this share.
    fn dir_of(&self, share: u32, dir: &Found) -> Option<u64> {
        let wanted = identity(&dir.stat);
        if let Some(node) = self.tree().node_of(share, wanted) {
            return Some(node);
        }
        let top = stat(self.roots.get(share as usize)?).ok()?;
        (identity(&top) == wanted).then(|| Tree::root_of(share))
    }

    /// Somebody on the host has given something this name.
    pub(super) fn after_move_elsewhere(&self, parent: u64, name: &[u8]) {
        let Some(found) = (self.find_dir(parent).ok()).and_then(|dir| look(&dir.fd, name).ok())
        else {
            return;
        };
        let mut tree = self.tree();
        let share = tree.share(parent);
        let known = share.map(|share| tree.node_of(share, identity(&found.stat)));
        if let Ok(Some(node)) = known
            && tree.child(parent, name) != Some(node)
        {
            let _ = self.note(tree.renamed(node, None, (parent, name)));
        }
    }
}
