//! A batch: everything is written aside first, then renamed into place, so
//! that the service never sees half of a file, and hardly half of a batch.

use std::collections::HashMap;
use std::fs::{self, File, FileTimes, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags};
use rustix::process::{getegid, geteuid};
use stack_protocol::sync::{Item, Kind, MOST_TOLD, Outcome, Stamp};

use super::aside::{self, Aside};
use super::place::{self, Target};
use super::{compare, remove, settle};

/// Contents up to this size are written at once, bytes.
const SMALL: u64 = 64 << 10;
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
    /// Directory that is known to be there: files of one follow each other.
    parent: Option<PathBuf>,
    aside: Option<Aside>,
    /// Where it lies, if blocks can be reserved there.
    disk: Option<File>,
    /// The last directory in it that was made.
    shelf: Option<usize>,
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
        staged: PathBuf,
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

impl Stage {
    /// `most_held`: files that are held open when they have been replaced.
    pub(super) fn new(target: &Target, owner: (u32, u32), most_held: usize) -> Stage {
        let mut stage = Stage {
            target: target.clone(),
            owner,
            own: (geteuid().as_raw(), getegid().as_raw()),
            parent: None,
            aside: None,
            disk: None,
            shelf: None,
            steps: Vec::new(),
            last: HashMap::new(),
            replaced: Replaced {
                most: most_held,
                ..Replaced::default()
            },
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
                    let _ = fs::remove_file(self.next());
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
            let _ = fs::remove_file(staged);
        }
    }

    fn stage(&mut self, item: &Item, is_known: bool, content: &mut impl Read) -> io::Result<What> {
        if let Kind::Directory { mode } = &item.kind {
            return Ok(What::Directory { mode: *mode });
        }
        self.make_shelf()?;
        let staged = self.next();
        let mut has_mode = None;
        match &item.kind {
            Kind::Directory { .. } => {}
            Kind::Symlink { to } => symlink(to, &staged)?,
            Kind::File { stamp, mode } => {
                has_mode = Some(*mode);
                let mut file = File::options()
                    .write(true)
                    .create_new(true)
                    .mode(mode & 0o777)
                    .open(&staged)?;
                let replaces = || {
                    let path = place::below(&self.target.path, &item.path);
                    is_known || path.is_ok_and(|path| fs::symlink_metadata(path).is_ok())
                };
                if self.disk.is_some() && stamp.size > 0 && replaces() {
                    settle::reserve(&file, stamp.size);
                }
                match stamp.size {
                    0..=SMALL => {
                        let mut bytes = Vec::new();
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
    fn next(&self) -> PathBuf {
        let n = self.steps.len();
        self.shelf(n / TOGETHER).join((n % TOGETHER).to_string())
    }

    fn shelf(&self, number: usize) -> PathBuf {
        let aside = self.aside.as_ref().map(|aside| aside.path.as_path());
        aside.unwrap_or(Path::new("/")).join(number.to_string())
    }

    /// Makes the directory where the next item is staged.
    fn make_shelf(&mut self) -> io::Result<()> {
        let number = self.steps.len() / TOGETHER;
        if self.shelf != Some(number) {
            fs::create_dir(self.shelf(number))?;
            self.shelf = Some(number);
        }
        Ok(())
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
        if self.target.exact && self.parent.as_deref() != path.parent() {
            self.parent = None;
            match step.what {
                // What is behind a link is not ours.
                What::Remove if !place::is_direct(&self.target.path, &step.path) => return Ok(()),
                What::Remove | What::Nothing => {}
                What::Move { .. } | What::Directory { .. } => {
                    place::make_parents(&self.target, &path, self.owner)?;
                    self.parent = path.parent().map(Path::to_path_buf);
                }
            }
        }
        let there = fs::symlink_metadata(&path).ok();
        if let (Some(expected), Some(there)) = (&step.expected, &there)
            && there.is_file()
            && !compare::stamp(there).is_like(expected)
            && self.outcome.conflicts.len() < MOST_TOLD
        {
            self.outcome.conflicts.push(step.path.clone());
        }
        if !matches!(step.what, What::Move { .. }) {
            self.parent = None;
        }
        match (&step.what, there) {
            (What::Remove, None) | (What::Nothing, _) => return Ok(()),
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
            (What::Move { staged, mode }, there) => {
                let is_dir = there.as_ref().is_some_and(Metadata::is_dir);
                // Who watches one file does not mean all that is here.
                if is_dir && step.path.is_empty() {
                    return Err(io::Error::other(NO_FILE));
                }
                if there.is_none() && self.parent.as_deref() != path.parent() {
                    place::make_parents(&self.target, &path, self.owner)?;
                    self.parent = path.parent().map(Path::to_path_buf);
                }
                let owner = there
                    .as_ref()
                    .filter(|there| !there.is_dir())
                    .map_or(self.owner, |there| (there.uid(), there.gid()));
                if owner != self.own {
                    lchown(staged, Some(owner.0), Some(owner.1))?;
                }
                // Writing and chown(2) take these away.
                if let Some(mode) = mode.filter(|mode| mode & bits & 0o7000 != 0) {
                    fs::set_permissions(staged, fs::Permissions::from_mode(mode & bits))?;
                }
                if is_dir {
                    remove::directory(&path)?;
                    self.parent = None;
                } else if there.is_some() && self.disk.is_some() {
                    self.replaced.hold(&path);
                }
                rename(staged, &path)?;
            }
        }
        self.outcome.written += 1;
        Ok(())
    }
}

/// Files that have been replaced. Their blocks are freed when this is dropped:
/// what an unlinked file costs is paid behind the answer.
#[derive(Default)]
pub(super) struct Replaced {
    files: Vec<OwnedFd>,
    /// So many at most.
    most: usize,
}

impl Replaced {
    fn hold(&mut self, path: &Path) {
        if self.files.len() >= self.most {
            return;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => self.files.push(file),
            // There is no room for any.
            Err(_) => *self = Replaced::default(),
        }
    }
}

/// rename(2), also to another mount below the target.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return fill(from, to),
        result => return result,
    }
    // Others may write to that mount, too.
    let mut beside = to.as_os_str().to_owned();
    beside.push(format!(".stack-sync-{}", aside::random_name()?));
    let beside = PathBuf::from(beside);
    let renamed = copy(from, &beside).and_then(|()| fs::rename(&beside, to));
    if renamed.is_err() {
        let _ = fs::remove_file(&beside);
    }
    renamed
}

/// A file that is itself a mount point gets another content, time and mode.
fn fill(from: &Path, to: &Path) -> io::Result<()> {
    let (meta, there) = (fs::symlink_metadata(from)?, fs::metadata(to)?);
    if meta.is_symlink() {
        return Err(io::Error::other("it is a mount point"));
    }
    let mut file = File::options().write(true).truncate(true).open(to)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    if there.mode() != meta.mode() {
        file.set_permissions(meta.permissions())?;
    }
    file.set_modified(meta.modified()?)
}

/// A file or a link with all that matters of it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    if meta.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    fs::copy(from, to)?;
    chown(to, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(to, meta.permissions())?;
    let file = File::options().write(true).open(to)?;
    file.set_modified(meta.modified()?)
}

#[cfg(test)]
mod tests;
