//! Who may do what at a time, in this process and in others.
//!
//! The store's own lock is shared by all that add files and exclusive for
//! the one that deletes them. Each layer has a lock for the one that makes
//! it. Both are file locks, which end with their process; tasks of one
//! process queue up before them, so that they do not occupy a thread each.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Locks of one store.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    layers: Mutex<HashMap<String, Weak<AsyncMutex<()>>>>,
}

/// Held while files are added.
#[derive(Debug, Clone)]
pub(crate) struct Shared(#[expect(dead_code, reason = "holds the lock")] Arc<File>);

/// Held while files are deleted.
#[derive(Debug)]
pub(crate) struct Exclusive(#[expect(dead_code, reason = "holds the lock")] File);

/// Held while one layer is made.
#[derive(Debug)]
pub(crate) struct LayerLock {
    _file: File,
    _turn: OwnedMutexGuard<()>,
}

impl Locks {
    /// Waits for the right to make a layer.
    ///
    /// # Errors
    /// Those of the lock file.
    pub(crate) async fn layer(&self, root: &Path, key: &str) -> io::Result<LayerLock> {
        let turn = {
            let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
            layers.retain(|_, lock| lock.strong_count() > 0);
            let known = layers.get(key).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let lock = Arc::default();
                layers.insert(key.to_owned(), Arc::downgrade(&lock));
                lock
            })
        };
        let turn = turn.lock_owned().await;
        let file = open(&root.join("locks").join(key))?;
        let file = blocking(move || file.lock().map(|()| file)).await?;
        Ok(LayerLock {
            _file: file,
            _turn: turn,
        })
    }
}

/// Waits until nobody deletes.
///
/// # Errors
/// Those of the lock file.
pub(crate) async fn shared(root: &Path) -> io::Result<Shared> {
    let file = open(&root.join("lock"))?;
    let file = blocking(move || file.lock_shared().map(|()| file)).await?;
    Ok(Shared(Arc::new(file)))
}

/// The right to delete; `None` while somebody adds.
///
/// # Errors
/// Those of the lock file.
pub(crate) fn exclusive(root: &Path) -> io::Result<Option<Exclusive>> {
    let file = open(&root.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Exclusive(file))),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Runs something that blocks on a thread that may.
///
/// # Errors
/// Its own, or `Other` when it panics.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
