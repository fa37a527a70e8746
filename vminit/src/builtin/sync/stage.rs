//! A batch: everything is written aside first, then renamed into place, so
//! that the service never sees half of a file, and hardly half of a batch.

use std::collections::HashMap;
use std::fs::{self, File, FileTimes, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};
use stack_protocol::sync::{Item, Kind, MOST_TOLD, Outcome, Stamp};

use super::aside::Aside;
use super::last::{self, Last};
use super::place::{self, Target};
use super::settle::{self, Replaced};
use super::{compare, remove, rename};

/// Contents up to this size are written at once, bytes.
const SMALL: usize = 64 << 10;
/// Files that lie aside in one directory: to find a name there, half of them
/// are looked at.
const TOGETHER: usize = 64;
/// Why a file does not take the place of the target.
const NO_FILE: &str = "a directory is there; a `target` that ends in `/` puts the file into it";

/// A batch that is being said.
pub(super) struct Stage {
    target: Target,
    owner: (u32, u32),
    /// Whom a file belongs to that this process makes.
    own: (u32, u32),
    /// Where the last file went.
    parent: Last<Path>,
    aside: Option<Aside>,
    /// Where it lies, if blocks can be reserved there.
    disk: Option<File>,
    /// Where in it the last file lies.
    shelf: Last<usize>,
    steps: Vec<Step>,
    /// What was said last of a path.
    last: HashMap<String, usize>,
    replaced: Replaced,
    outcome: Outcome,
    /// Nothing can be put into place.
    broken: bool,
}

struct Step {
    path: String,
    expected: Option<Stamp>,
    what: What,
}

enum What {
    /// Lies aside.
    Move {
        staged: Staged,
        /// Of a file.
        mode: Option<u32>,
    },
    Directory {
        mode: u32,
    },
    Remove,
    /// Something else was said later.
    Nothing,
}

/// A number on a shelf.
#[derive(Clone, Copy)]
struct Staged(usize);

impl Staged {
    fn shelf(self) -> usize {
        self.0 / TOGETHER
    }

    fn name(self) -> String {
        (self.0 % TOGETHER).to_string()
    }
}

impl Stage {
    /// `most_held`: files that are held open when they have been replaced.
    pub(super) fn new(target: &Target, owner: (u32, u32), most_held: usize) -> Stage {
        let mut stage = Stage {
            target: target.clone(),
            owner,
            own: (geteuid().as_raw(), getegid().as_raw()),
            parent: Last::none(),
            aside: None,
            disk: None,
            shelf: Last::none(),
            steps: Vec::new(),
            last: HashMap::new(),
            replaced: Replaced::new(most_held),
            outcome: Outcome::default(),
            broken: false,
        };
        match Aside::for_target(&target.path) {
            Ok(aside) => {
                stage.disk = aside.disk();
                stage.aside = Some(aside);
            }
            Err(error) => {
                stage.broken = true;
                stage.fail("", &error);
            }
        }
        stage
    }

    /// Stages an item, in place of what was said of it before; the content of a
    /// file is read whatever happens. One that cannot be staged is told, and
    /// does not keep the others back.
    ///
    /// # Errors
    /// The content ends too early.
    pub(super) fn put(
        &mut self,
        item: Item,
        expected: Option<Stamp>,
        input: &mut impl Read,
    ) -> io::Result<()> {
        let size = match &item.kind {
            Kind::File { stamp, .. } => stamp.size,
            Kind::Directory { .. } | Kind::Symlink { .. } => 0,
        };
        let mut content = input.take(size);
        if !self.broken {
            self.forget(&item.path);
            match self.stage(&item, expected.is_some(), &mut content) {
                Ok(what) => self.push(item.path, expected, what),
                Err(error) => {
                    // What there is of it takes room from the others.
                    let _ = fs::remove_file(self.path_of(self.next()));
                    self.fail(&item.path, &error);
                }
            }
        }
        io::copy(&mut content, &mut io::sink())?;
        match content.limit() {
            0 => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn push(&mut self, path: String, expected: Option<Stamp>, what: What) {
        self.last.insert(path.clone(), self.steps.len());
        self.steps.push(Step {
            path,
            expected,
            what,
        });
    }

    /// What was said of `path` is not to be done.
    fn forget(&mut self, path: &str) {
        if let Some(step) = self.last.remove(path)
            && let What::Move { staged, .. } =
                std::mem::replace(&mut self.steps[step].what, What::Nothing)
        {
            let _ = fs::remove_file(self.path_of(staged));
        }
    }

    fn stage(&mut self, item: &Item, is_known: bool, content: &mut impl Read) -> io::Result<What> {
        if let Kind::Directory { mode } = &item.kind {
            return Ok(What::Directory { mode: *mode });
        }
        let staged = self.next();
        let name = staged.name();
        let replaces = || {
            let path = place::below(&self.target.path, &item.path);
            is_known || path.is_ok_and(|path| fs::symlink_metadata(path).is_ok())
        };
        let is_reserved = self.disk.is_some() && replaces();
        let path = self.path_of_shelf(staged.shelf());
        let shelf = self.shelf.or(&staged.shelf(), || {
            fs::create_dir(&path)?;
            last::open(&path)
        })?;
        let mut has_mode = None;
        match &item.kind {
            Kind::Directory { .. } => {}
            Kind::Symlink { to } => rustix::fs::symlinkat(to, shelf, name)?,
            Kind::File { stamp, mode } => {
                has_mode = Some(*mode);
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                let own = Mode::from_raw_mode(mode & 0o777);
                let mut file = File::from(rustix::fs::openat(shelf, name, flags, own)?);
                if is_reserved && stamp.size > 0 {
                    settle::reserve(&file, stamp.size);
                }
                match usize::try_from(stamp.size) {
                    Ok(size @ 0..=SMALL) => {
                        let mut bytes = Vec::with_capacity(size);
                        content.read_to_end(&mut bytes)?;
                        file.write_all(&bytes)?;
                    }
                    _ => drop(io::copy(content, &mut file)?),
                }
                let age = Duration::from_nanos(stamp.modified_ns.unsigned_abs());
                let modified = match stamp.modified_ns < 0 {
                    true => SystemTime::UNIX_EPOCH - age,
                    false => SystemTime::UNIX_EPOCH + age,
                };
                file.set_times(FileTimes::new().set_modified(modified))?;
            }
        }
        let mode = has_mode;
        Ok(What::Move { staged, mode })
    }

    /// Where the next item is staged.
    fn next(&self) -> Staged {
        Staged(self.steps.len())
    }

    fn path_of(&self, staged: Staged) -> PathBuf {
        self.path_of_shelf(staged.shelf()).join(staged.name())
    }

    fn path_of_shelf(&self, number: usize) -> PathBuf {
        let aside = self.aside.as_ref().map(|aside| aside.path.as_path());
        aside.unwrap_or(Path::new("/")).join(number.to_string())
    }

    pub(super) fn remove(&mut self, path: String, expected: Option<Stamp>) {
        self.forget(&path);
        self.push(path, expected, What::Remove);
    }

    fn fail(&mut self, path: &str, error: &io::Error) {
        if self.outcome.failures.len() < MOST_TOLD {
            let failure = (path.to_owned(), error.to_string());
            self.outcome.failures.push(failure);
        }
    }

    /// What is left to do when the answer is sent: the disk to be written, and
    /// the files that were replaced.
    pub(super) fn into_rest(mut self) -> (Option<File>, Replaced) {
        (self.disk.take(), std::mem::take(&mut self.replaced))
    }

    /// Puts everything into place, in the order in which it was said.
    pub(super) fn commit(&mut self) -> Outcome {
        if !self.broken {
            for step in std::mem::take(&mut self.steps) {
                match self.carry_out(&step) {
                    Ok(()) => {}
                    Err(error) => self.fail(&step.path, &error),
                }
            }
        }
        std::mem::take(&mut self.outcome)
    }

    fn carry_out(&mut self, step: &Step) -> io::Result<()> {
        if matches!(step.what, What::Nothing) {
            return Ok(());
        }
        let path = place::below(&self.target.path, &step.path)?;
        let bits = self.target.mode_bits();
        if let What::Move { staged, mode } = step.what {
            self.put_into_place(step, staged, mode, &path)?;
            self.outcome.written += 1;
            return Ok(());
        }
        self.parent = Last::none();
        // What is behind a link is not ours.
        if self.target.exact
            && matches!(step.what, What::Remove)
            && !place::is_direct(&self.target.path, &step.path)
        {
            return Ok(());
        }
        let there = fs::symlink_metadata(&path).ok();
        self.compare(step, there.as_ref());
        match (&step.what, there) {
            (What::Remove, None) | (What::Nothing | What::Move { .. }, _) => return Ok(()),
            (What::Remove, Some(there)) => {
                if there.is_dir() {
                    remove::directory(&path)?;
                } else {
                    fs::remove_file(&path)?;
                }
                self.outcome.removed += 1;
                return Ok(());
            }
            (What::Directory { mode }, there) => {
                place::make_parents(&self.target, &path, self.owner)?;
                place::make_dir(&self.target, &path, *mode, self.owner)?;
                let mode = mode & bits;
                let mode = match there.filter(Metadata::is_dir).map(|there| there.mode()) {
                    Some(has) if has & bits == mode => return Ok(()),
                    // Not said by the host.
                    Some(has) => has & 0o7777 & !bits | mode,
                    None => mode,
                };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            }
        }
        self.outcome.written += 1;
        Ok(())
    }

    /// Notes a conflict if `there` is not what was written last.
    fn compare(&mut self, step: &Step, there: Option<&Metadata>) {
        if let (Some(expected), Some(there)) = (&step.expected, there)
            && there.is_file()
            && !compare::stamp(there).is_like(expected)
            && self.outcome.conflicts.len() < MOST_TOLD
        {
            self.outcome.conflicts.push(step.path.clone());
        }
    }

    fn put_into_place(
        &mut self,
        step: &Step,
        staged: Staged,
        mode: Option<u32>,
        path: &Path,
    ) -> io::Result<()> {
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::other(NO_FILE));
        };
        let from = self.path_of_shelf(staged.shelf());
        let (target, owner) = (&self.target, self.owner);
        let parent = self.parent.or(above, || {
            if !target.exact
                && let Ok(parent) = last::open(above)
            {
                return Ok(parent);
            }
            place::make_parents(target, path, owner)?;
            last::open(above)
        })?;
        let there = self.replaced.open(parent, name);
        let meta = there.as_ref().map(File::metadata).transpose()?;
        let is_dir = meta.as_ref().is_some_and(Metadata::is_dir);
        // Who watches one file does not mean all that is here.
        if is_dir && step.path.is_empty() {
            return Err(io::Error::other(NO_FILE));
        }
        if is_dir {
            remove::directory(path)?;
        }
        let shelf = self.shelf.or(&staged.shelf(), || last::open(&from))?;
        let (name_there, bits) = (staged.name(), self.target.mode_bits());
        let owner = match &meta {
            Some(there) if !is_dir => (there.uid(), there.gid()),
            _ => owner,
        };
        if owner != self.own {
            let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(shelf, &name_there, Some(uid), Some(gid), flags)?;
        }
        // Writing and chown(2) take these away.
        if let Some(mode) = mode.filter(|mode| mode & bits & 0o7000 != 0) {
            let mode = Mode::from_raw_mode(mode & bits);
            rustix::fs::chmodat(shelf, &name_there, mode, AtFlags::empty())?;
        }
        match rustix::fs::renameat(shelf, &name_there, parent, name) {
            Err(Errno::XDEV) => rename::across(&from.join(name_there), path)?,
            Err(Errno::BUSY) => rename::fill(&from.join(name_there), path)?,
            result => result?,
        }
        self.compare(step, meta.as_ref());
        if let Some(there) = there.filter(|_| !is_dir && self.disk.is_some()) {
            self.replaced.hold(there);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
