//! What a rule saw last, and what has changed since.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};
use stack_protocol::sync::{Kind, Stamp};

use crate::beneath::Dir;
use crate::patterns::Patterns;

/// What is looked at below a path.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Any of these leaves a path out; relative to the rule's path, but the
    /// build context's.
    pub ignore: Vec<(PathBuf, Patterns)>,
    /// With any, only what matches.
    pub include: Patterns,
}

impl Filter {
    /// Is this one left out? `path` is absolute, `relative` to the rule's.
    fn leaves_out(&self, path: &Path, relative: &str) -> bool {
        let ignored = self.ignore.iter().any(|(base, patterns)| {
            below(base, path).is_some_and(|path| !path.is_empty() && patterns.matches(&path))
        });
        ignored || !(self.include.is_empty() || self.include.matches(relative))
    }

    /// Is everything in this directory left out?
    pub fn prunes(&self, path: &Path) -> bool {
        self.ignore.iter().any(|(base, patterns)| {
            below(base, path).is_some_and(|path| !path.is_empty() && patterns.matches_all_in(&path))
        })
    }
}

/// `path` relative to `base`, with `/`; `None` when it is not below, or not
/// text.
pub fn below(base: &Path, path: &Path) -> Option<String> {
    path.strip_prefix(base).ok()?.to_str().map(str::to_owned)
}

/// Something is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Relative to the rule's path.
    pub path: String,
    /// What is there now; `None`: nothing.
    pub now: Option<Kind>,
}

/// What a look has found.
#[derive(Debug, Default)]
pub struct Found {
    /// What has changed.
    pub changes: Vec<Change>,
    /// What could not be looked at, and is as it was.
    pub unreadable: Vec<Unreadable>,
}

/// What is known of a path.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    kind: Kind,
    /// Of a file: another one may have the same size and time (`mv`,
    /// `rsync -ac`). The time of its inode says too much: a service that calls
    /// chown(2) when it starts would be restarted for ever.
    inode: Option<u64>,
}

/// The files of one rule.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    filter: Filter,
    exact: bool,
    seen: BTreeMap<String, Seen>,
    /// Directories that have been read: device and inode.
    directories: HashMap<String, (u64, u64)>,
}

impl Tree {
    /// Nothing has been seen yet.
    pub fn new(root: PathBuf, filter: Filter) -> Tree {
        Tree {
            root,
            filter,
            exact: false,
            seen: BTreeMap::new(),
            directories: HashMap::new(),
        }
    }

    /// The first thing that cannot be looked at is the end. Modes have their
    /// setuid, setgid and sticky bits.
    #[must_use]
    pub fn exact(self) -> Tree {
        Tree {
            exact: true,
            ..self
        }
    }

    /// The same files, with another filter: what that lets in is new, what it
    /// leaves out is left alone from now on.
    pub fn with(self, filter: Filter) -> Tree {
        Tree { filter, ..self }
    }

    /// Was there something at `path`?
    pub fn knows(&self, path: &Path) -> bool {
        below(&self.root, path).is_some_and(|relative| self.seen.contains_key(&relative))
    }

    /// Would what is at `path` be looked at?
    pub fn wants(&self, path: &Path) -> bool {
        below(&self.root, path).is_some_and(|relative| {
            !self.filter.prunes(path) && !self.filter.leaves_out(path, &relative)
        })
    }

    /// Looks at `path`, which is the root, above or below it, and notes what
    /// has changed; with `deep`, also in directories that are known.
    /// Directories that are read are given to `enter` before, which is to
    /// watch them. A name, or where a link leads, that is not UTF-8 cannot be said,
    /// and is unreadable.
    pub fn look(&mut self, path: &Path, deep: bool, enter: &mut dyn FnMut(&Path)) -> Found {
        let path = if self.root.starts_with(path) {
            self.root.clone()
        } else if path.starts_with(&self.root) {
            path.to_path_buf()
        } else {
            return Found::default();
        };
        let mut found = Found::default();
        let depth = if deep { usize::MAX } else { 1 };
        let looked = self
            .way_to(&path)
            .and_then(|dir| self.visit(&path, dir.as_ref(), enter, &mut found, depth));
        if let Err(unreadable) = looked {
            found.unreadable.push(unreadable);
        }
        found
    }

    /// The directory that `path` is in; `None`: there is none below the root.
    fn way_to(&self, path: &Path) -> Result<Option<Dir>, Unreadable> {
        let relative = below(&self.root, path).unwrap_or_default();
        if relative.is_empty() || self.filter.prunes(path) {
            return Ok(None);
        }
        match Dir::parent(&self.root, &relative) {
            Ok((dir, _)) => Ok(Some(dir)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(Unreadable::new(path, error)),
        }
    }

    /// `dir` is the directory that it is in, if there is one and it is not the
    /// root.
    fn visit(
        &mut self,
        path: &Path,
        dir: Option<&Dir>,
        enter: &mut dyn FnMut(&Path),
        found: &mut Found,
        depth: usize,
    ) -> Result<(), Unreadable> {
        let Some(relative) = below(&self.root, path) else {
            return match path.symlink_metadata() {
                Ok(_) => self.check_left_out(path),
                Err(_) => Ok(()),
            };
        };
        if self.filter.prunes(path) {
            return Ok(());
        }
        let name = relative.rsplit('/').next().unwrap_or_default();
        let stat = match dir {
            // A rule's own path may be a link to what it means.
            _ if relative.is_empty() => rustix::fs::stat(path).map_err(io::Error::from),
            Some(dir) => dir.stat(name),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let stat = match stat {
            Ok(stat) => Some(stat),
            Err(error) if is_gone(&error) => None,
            Err(error) => return Err(Unreadable::new(path, error)),
        };
        let left_out = self.filter.leaves_out(path, &relative);
        let now = match stat.as_ref().map(|stat| self.kind(dir, name, stat)) {
            Some(Ok(kind)) => kind,
            Some(Err(error)) if !left_out => return Err(Unreadable::new(path, error)),
            Some(Err(_)) | None => None,
        };
        let is_dir = matches!(now, Some(Kind::Directory { .. }));
        let known_dir = self.directories.contains_key(&relative);
        if !is_dir && known_dir {
            self.forget_below(&relative, &mut found.changes);
        }
        // A directory of which files are wanted is made with them.
        let now = now.map(|kind| Seen {
            inode: stat
                .as_ref()
                .filter(|stat| file_type(stat) == FileType::RegularFile)
                .map(|stat| stat.st_ino),
            kind,
        });
        if !left_out && self.seen.get(&relative) != now.as_ref() {
            found.changes.push(Change {
                path: relative.clone(),
                now: now.as_ref().map(|now| now.kind.clone()),
            });
            match now {
                Some(now) => self.seen.insert(relative.clone(), now),
                None => self.seen.remove(&relative),
            };
        }
        let Some(stat) = stat.filter(|_| is_dir) else {
            return Ok(());
        };
        let this = (stat.st_dev, stat.st_ino);
        // One that was moved here is read whole: nobody tells what is in it.
        let is_same = self.directories.get(&relative) == Some(&this);
        if is_same && depth == 0 {
            return Ok(());
        }
        enter(path);
        let opened = match dir {
            Some(dir) if !relative.is_empty() => dir.inside(name),
            _ => Dir::root(path),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(Unreadable::new(path, error)),
        };
        let depth = match is_same {
            true => depth - 1,
            false => usize::MAX,
        };
        self.directories.insert(relative.clone(), this);
        self.visit_inside((path, &relative), &opened, enter, found, depth)
    }

    fn visit_inside(
        &mut self,
        (path, relative): (&Path, &str),
        dir: &Dir,
        enter: &mut dyn FnMut(&Path),
        found: &mut Found,
        depth: usize,
    ) -> Result<(), Unreadable> {
        let entries = match dir.names() {
            Ok(entries) => entries,
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(Unreadable::new(path, error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            match entry.into_string() {
                Ok(name) => names.push(name),
                Err(name) => match self.check_left_out(&path.join(name)) {
                    Err(unreadable) if self.exact => return Err(unreadable),
                    Err(unreadable) => found.unreadable.push(unreadable),
                    Ok(()) => {}
                },
            }
        }
        names.sort();
        // What was here and is no more.
        let gone: Vec<PathBuf> = self
            .children(relative)
            .filter(|name| names.binary_search(name).is_err())
            .map(|name| path.join(name))
            .collect();
        let there = names.into_iter().map(|name| path.join(name));
        for child in gone.into_iter().chain(there) {
            match self.visit(&child, Some(dir), enter, found, depth) {
                Err(unreadable) if self.exact => return Err(unreadable),
                // The others are looked at all the same.
                Err(unreadable) => found.unreadable.push(unreadable),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// `None` for what is not copied: sockets, pipes and devices.
    fn kind(&self, dir: Option<&Dir>, name: &str, stat: &Stat) -> io::Result<Option<Kind>> {
        let mode = stat.st_mode & if self.exact { 0o7777 } else { 0o777 };
        match (file_type(stat), dir) {
            (FileType::Directory, _) => Ok(Some(Kind::Directory { mode })),
            (FileType::RegularFile, _) => {
                let stamp = stamp(stat);
                Ok(Some(Kind::File { stamp, mode }))
            }
            (FileType::Symlink, Some(dir)) => {
                let to = match dir.link(name) {
                    Ok(to) => to,
                    Err(error) if is_gone(&error) => return Ok(None),
                    Err(error) => return Err(error),
                };
                match to.into_string() {
                    Ok(to) => Ok(Some(Kind::Symlink { to })),
                    Err(_) => Err(io::Error::other("where it leads is not UTF-8")),
                }
            }
            _ => Ok(None),
        }
    }

    /// A name that is not UTF-8 must be left out.
    fn check_left_out(&self, path: &Path) -> Result<(), Unreadable> {
        let path = PathBuf::from(path.to_string_lossy().as_ref());
        let relative = below(&self.root, &path).unwrap_or_default();
        if self.filter.prunes(&path) || self.filter.leaves_out(&path, &relative) {
            return Ok(());
        }
        let error = io::Error::other("its name is not UTF-8");
        Err(Unreadable::new(&path, error))
    }

    /// Names of what was seen directly in a directory.
    fn children(&self, relative: &str) -> impl Iterator<Item = String> {
        let prefix = match relative {
            "" => String::new(),
            _ => format!("{relative}/"),
        };
        let mut last = String::new();
        self.seen
            .range(prefix.clone()..)
            .take_while({
                let prefix = prefix.clone();
                move |(path, _)| path.starts_with(&prefix)
            })
            .filter_map(move |(path, _)| {
                let name = path[prefix.len()..].split('/').next()?;
                let new = !name.is_empty() && name != last;
                new.then(|| name.clone_into(&mut last))
                    .map(|()| name.to_owned())
            })
    }

    /// Forgets what was in a directory that is none any more; the directory's
    /// own removal removes it too.
    fn forget_below(&mut self, relative: &str, changes: &mut Vec<Change>) {
        let is_inside = |path: &str| {
            relative.is_empty() && !path.is_empty()
                || path
                    .strip_prefix(relative)
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        self.directories
            .retain(|path, _| path != relative && !is_inside(path));
        let inside: Vec<String> = self
            .seen
            .keys()
            .filter(|path| is_inside(path))
            .cloned()
            .collect();
        for path in inside {
            self.seen.remove(&path);
            changes.push(Change { path, now: None });
        }
    }
}

/// A directory or file that cannot be looked at.
#[derive(Debug)]
pub struct Unreadable {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub error: io::Error,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}

impl std::error::Error for Unreadable {}

impl Unreadable {
    pub(crate) fn new(path: &Path, error: io::Error) -> Unreadable {
        Unreadable {
            path: path.to_path_buf(),
            error,
        }
    }
}

/// It is not there, or something else stands in the way.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    let looped = rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::LOOP);
    let kind = error.kind();
    looped || matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// How a change of a file is noticed.
pub(crate) fn stamp(stat: &Stat) -> Stamp {
    Stamp {
        size: stat.st_size.cast_unsigned(),
        modified_ns: stat
            .st_mtime
            .saturating_mul(1_000_000_000)
            .saturating_add_unsigned(stat.st_mtime_nsec),
    }
}

#[cfg(test)]
mod tests;
