//! `stack.lock` beside the stack file: read, written and used.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use stack_planner::{Drift, LOCK_FILE, Lock, Project};

use crate::context::Context;
use crate::error::Error;
use crate::source::remote;

/// Bytes of a lock at most.
const MAX_LOCK: u64 = 8 << 20;

/// What to do when the lock and the stack file differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockUse {
    /// Warn, and take images that are not locked as they are written.
    Advise,
    /// Refuse.
    Demand,
}

/// The lock's file of a project: beside its first stack file, or in the working
/// directory when that was fetched from elsewhere.
pub(crate) fn path(project: &Project) -> PathBuf {
    let cache = remote::cache();
    let is_fetched = |file: &Path| cache.as_ref().is_some_and(|cache| file.starts_with(cache));
    match project.files().first() {
        // The cache is no place for what is checked in.
        Some(file) if is_fetched(file) => PathBuf::from(LOCK_FILE),
        Some(file) if file.is_absolute() => file.with_file_name(LOCK_FILE),
        _ => project.working_dir().join(LOCK_FILE),
    }
}

/// The lock, when there is one.
///
/// # Errors
/// It cannot be read or is no lock.
pub(crate) fn read(path: &Path) -> Result<Option<Lock>, Error> {
    let failed = |source| Error::File {
        doing: "cannot read",
        path: path.to_path_buf(),
        source,
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(meta) if meta.len() > MAX_LOCK => {
            return Err(failed(std::io::Error::other("it is larger than 8 MiB")));
        }
        Ok(_) => {}
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let lock = Lock::parse(&text).map_err(|why| Error::Lock {
        message: format!("{} is no lock: {why}", path.display()),
        help: "repair it, or delete it and run `stack lock`".to_owned(),
    })?;
    Ok(Some(lock))
}

/// Writes the lock, whole or not at all.
///
/// # Errors
/// The folder cannot be written.
pub(crate) fn write(path: &Path, lock: &Lock) -> Result<(), Error> {
    let failed = |source| Error::File {
        doing: "cannot write",
        path: path.to_path_buf(),
        source,
    };
    let new = path.with_extension(format!("lock.{}", std::process::id()));
    let written = std::fs::File::create(&new)
        .and_then(|mut file| {
            file.write_all(lock.to_text().as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&new, path));
    written.map_err(|error| {
        // What is left of it is of no use to anybody.
        drop(std::fs::remove_file(&new));
        failed(error)
    })
}

impl Context {
    /// The project with the images of its lock, if there is one.
    ///
    /// # Errors
    /// The lock cannot be read; with [`LockUse::Demand`], there is none or it
    /// does not fit.
    pub(crate) fn locked(&self, project: Project, demand: LockUse) -> Result<Project, Error> {
        let path = path(&project);
        let Some(lock) = read(&path)? else {
            return match demand {
                LockUse::Advise => Ok(project),
                LockUse::Demand => Err(Error::Lock {
                    message: format!("there is no {}", path.display()),
                    help: "`stack lock` makes it".to_owned(),
                }),
            };
        };
        // What is built here is not pinned any more.
        let lock = lock.without(&project.built_images());
        let drift = lock.drift(&project.pinnable_images());
        if !drift.is_empty() {
            match demand {
                LockUse::Advise => self.ui.warn(format_args!(
                    "{}; `stack lock` brings it up to date",
                    describe(&drift)
                )),
                LockUse::Demand => return Err(refusal(&drift)),
            }
        }
        Ok(project.pinned(&lock.pins()))
    }
}

/// An error that says how the lock differs.
pub(crate) fn refusal(drift: &Drift) -> Error {
    Error::Lock {
        message: describe(drift),
        help: "`stack lock` brings it up to date".to_owned(),
    }
}

/// Sentences without a full stop.
fn describe(drift: &Drift) -> String {
    let mut parts = Vec::new();
    if !drift.missing.is_empty() {
        let of = |(reference, services): (&String, &std::collections::BTreeSet<String>)| {
            let services: Vec<&str> = services.iter().map(String::as_str).collect();
            format!("{reference} ({})", services.join(", "))
        };
        let all: Vec<String> = drift.missing.iter().map(of).collect();
        parts.push(format!("not in {LOCK_FILE}: {}", all.join(", ")));
    }
    if !drift.unused.is_empty() {
        let all: Vec<&str> = drift.unused.iter().map(String::as_str).collect();
        parts.push(format!("in {LOCK_FILE} for no service: {}", all.join(", ")));
    }
    parts.join("; ")
}

/// What registries say about references: reference and digest by reference
/// as asked.
pub(crate) type Found = BTreeMap<String, stack_api::request::Resolved>;
