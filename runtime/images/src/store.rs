//! The store.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::DirBuilder;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;

use crate::assemble::{Built, Stack};
use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::error::Error;
use crate::gc::{self, Freed};
use crate::image::{Image, ImageSummary};
use crate::layer::{Job, LayerError, Limits};
use crate::load;
use crate::lock::{LayerLock, Locks, Shared, blocking, shared};
use crate::options::PullOptions;
use crate::progress::{Phase, Progress, Reporter};
use crate::pull;
use crate::record::{LayerFile, Origin, Record};
use crate::reference::Reference;

/// Layers that are made at a time.
pub(crate) const PARALLEL: usize = 4;

/// A directory of images. Cheap to clone; all clones share their locks.
///
/// The methods that are not `async` do a little file I/O and return at once.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

/// The digits of an id, as far as `docker images` shows them, or more.
fn is_id(word: &str) -> bool {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (12..=64).contains(&word.len()) && word.bytes().all(digit)
}

/// What the parts of the crate share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub root: PathBuf,
    pub limits: Limits,
    locks: Locks,
    slots: Semaphore,
    /// Files whose content is in a merged one; they go when nobody adds files.
    replaced: Mutex<BTreeSet<LayerFile>>,
    used: OnceLock<Used>,
}

/// Says which files of the store somebody uses that no image names, or `None`
/// when that is not known.
struct Used(Box<dyn Fn() -> Option<BTreeSet<PathBuf>> + Send + Sync>);

impl fmt::Debug for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Used")
    }
}

impl Store {
    /// Opens the store in a directory, which is made (mode 0700) when it is
    /// not there.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(root: &Path) -> Result<Store, Error> {
        Store::with_limits(root, Limits::default())
    }

    pub(crate) fn with_limits(root: &Path, limits: Limits) -> Result<Store, Error> {
        let root = std::path::absolute(root).map_err(Error::store("opening it"))?;
        for dir in ["images", "layers", "chains", "partial", "tmp", "locks"] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(root.join(dir))
                .map_err(Error::store("opening it"))?;
        }
        gc::sweep_temporary(&root).map_err(Error::store("opening it"))?;
        let (locks, slots) = (Locks::default(), Semaphore::new(PARALLEL));
        Ok(Store(Arc::new(Inner {
            root,
            limits,
            locks,
            slots,
            replaced: Mutex::default(),
            used: OnceLock::new(),
        })))
    }

    /// Has `used` asked before layers are deleted because their content is in
    /// a merged file: what it names stays, layers of containers whose image
    /// was removed. On `None` nothing goes. Only the first call counts.
    pub fn keep_used(&self, used: impl Fn() -> Option<BTreeSet<PathBuf>> + Send + Sync + 'static) {
        drop(self.0.used.set(Used(Box::new(used))));
    }

    /// Deletes layers whose content is in a merged file now, unless somebody
    /// adds files. Whoever has loaded an image while holding the store calls
    /// this afterwards.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn settle(&self) -> Result<(), Error> {
        self.0.drop_replaced()
    }

    /// Looks an image up by reference, or by id or manifest digest
    /// (`sha256:…`); by an id also without `sha256:`, and by its first twelve
    /// digits or more, unless an image has that name. `None` when it, or one of its files, is not here.
    ///
    /// # Errors
    /// The reference is not good, or the store cannot be read.
    pub fn get(&self, reference: &str) -> Result<Option<Image>, Error> {
        let root = &self.0.root;
        if let Ok(digest) = reference.parse::<Digest>() {
            let all = Record::all(root)?;
            let found = all
                .iter()
                .find(|record| record.id == digest || record.digest == digest);
            return Ok(found.and_then(|record| record.image(root)));
        }
        let named = reference.parse::<Reference>();
        let record = match &named {
            Ok(named) => Record::load(root, &named.to_string())?,
            Err(_) => None,
        };
        let record = match record {
            None if is_id(reference) => self.by_id(reference)?,
            None => named.map(|_| None)?,
            record => record,
        };
        Ok(record.and_then(|record| record.image(root)))
    }

    /// When a registry was last asked for this reference, or it was made or
    /// loaded; `None` when it is not here.
    pub fn asked(&self, reference: &str) -> Option<SystemTime> {
        let reference: Reference = reference.parse().ok()?;
        Record::asked(&self.0.root, &reference.to_string())
    }

    /// The image whose id begins with these digits, unless it is not clear which.
    fn by_id(&self, digits: &str) -> Result<Option<Record>, Error> {
        let all = Record::all(&self.0.root)?.into_iter();
        let mut found = all.filter(|record| record.id.hex().starts_with(digits));
        let first = found.next();
        let id = first.as_ref().map(|record| record.id.clone());
        let is_clear = found.all(|other| Some(&other.id) == id.as_ref());
        Ok(first.filter(|_| is_clear))
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    /// Its directory.
    pub(crate) fn root(&self) -> &Path {
        &self.0.root
    }

    /// Gets an image from its registry, as far as it is not here. What a
    /// pull that failed has got is kept for the next one. Dropping the
    /// future ends the pull.
    ///
    /// `progress` is called from several threads.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn pull(
        &self,
        reference: &str,
        options: &PullOptions,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Image, Error> {
        pull::pull(&self.0, reference, options, Arc::new(progress)).await
    }

    /// Takes in the images of a file or directory: an OCI layout, an OCI
    /// archive or what `docker save` writes; archives may be compressed with
    /// gzip or zstd. Images without a name are known by their id.
    ///
    /// # Errors
    /// See [`Error`]; images before the failing one stay.
    pub async fn load(
        &self,
        path: &Path,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Vec<ImageSummary>, Error> {
        load::load(&self.0, path, Arc::new(progress)).await
    }

    /// All images, by reference.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn list(&self) -> Result<Vec<ImageSummary>, Error> {
        let root = &self.0.root;
        Ok(Record::all(root)?
            .iter()
            .map(|record| record.summary(root))
            .collect())
    }

    /// Forgets an image, named as in [`Store::get`]; [`Store::gc`] frees its
    /// space.
    ///
    /// # Errors
    /// It is not here, or the store cannot be written.
    pub fn remove(&self, reference: &str) -> Result<(), Error> {
        let root = &self.0.root;
        let names = match reference.parse::<Digest>() {
            Err(_) => vec![reference.parse::<Reference>()?.to_string()],
            Ok(digest) => {
                let named = |record: &Record| record.id == digest || record.digest == digest;
                let all = Record::all(root)?.into_iter();
                all.filter(named).map(|record| record.reference).collect()
            }
        };
        let mut found = false;
        for name in names {
            found |= Record::remove(root, &name)?;
        }
        if found {
            Ok(())
        } else {
            Err(Error::NotInStore {
                image: reference.to_owned(),
            })
        }
    }

    /// Deletes layers that no image names, and what dead processes left.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn gc(&self) -> Result<Freed, Error> {
        gc::collect(&self.0.root, &BTreeSet::new())
    }

    /// As [`Store::gc`], but keeps these files too: layers of containers
    /// whose image has been replaced or removed.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn gc_keeping(&self, keep: &BTreeSet<PathBuf>) -> Result<Freed, Error> {
        gc::collect(&self.0.root, keep)
    }
}

/// An image whose layers are all in the store.
pub(crate) struct Finished {
    pub reference: String,
    pub id: Digest,
    pub digest: Digest,
    pub platform: String,
    pub config: ImageConfig,
    pub stack: Stack,
    pub origin: Origin,
}

impl Inner {
    /// The job that makes a layer of the store from `source`; `blob` is the
    /// digest of what that reads, when it is known.
    pub(crate) fn job(
        &self,
        source: impl Read + Send + 'static,
        blob: Option<Digest>,
        diff_id: &Digest,
    ) -> Job {
        Job {
            source: Box::new(source),
            blob,
            diff_id: diff_id.clone(),
            limits: self.limits.clone(),
            tmp: self.root.join("tmp"),
            target: LayerFile::Layer(diff_id.clone()).path(&self.root),
            recipe: LayerFile::recipe(&self.root, diff_id),
            blobs: LayerFile::blobs(&self.root, diff_id),
        }
    }

    /// Keeps others from deleting files.
    ///
    /// # Errors
    /// Those of the lock file.
    pub(crate) async fn shared(&self) -> Result<Shared, Error> {
        shared(&self.root).await.map_err(Error::store("locking it"))
    }

    /// Sees to it that a layer is in the store; `make` does so when it is
    /// not. Of several that want the same layer, in this process or others,
    /// one makes it.
    ///
    /// # Errors
    /// Those of `make` and of the locks.
    pub(crate) async fn ensure_layer(
        &self,
        diff_id: &Digest,
        reporter: &Reporter,
        make: impl AsyncFnOnce(LayerLock) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let layer = LayerFile::Layer(diff_id.clone());
        if layer.is_whole(&self.root) {
            reporter.at(Phase::Exists, 0);
            return Ok(());
        }
        let lock = self.locks.layer(&self.root, diff_id.hex()).await;
        let lock = lock.map_err(Error::store("locking a layer"))?;
        if layer.is_whole(&self.root) {
            reporter.at(Phase::Exists, 0);
            return Ok(());
        }
        // Never closed.
        let _slot = self.slots.acquire().await;
        make(lock).await?;
        reporter.at(Phase::Done, 0);
        Ok(())
    }

    /// Makes an image known.
    ///
    /// # Errors
    /// Its layers cannot be merged, or the record not be written.
    pub(crate) async fn finish(
        self: &Arc<Self>,
        finished: Finished,
        held: Shared,
    ) -> Result<Record, Error> {
        let Finished {
            reference,
            id,
            digest,
            platform,
            config,
            stack,
            origin,
        } = finished;
        let name = reference.clone();
        // Two pulls of one image need not merge it twice.
        let key = format!("image-{}", stack.id().hex());
        let lock = self.locks.layer(&self.root, &key).await;
        let lock = lock.map_err(Error::store("locking an image"))?;
        let store = Arc::clone(self);
        let record = blocking(move || {
            let _held = (lock, held);
            let Built {
                files,
                hidden,
                replaced,
            } = stack.build(&store.root)?;
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            let created_ms = u64::try_from(now.as_millis()).unwrap_or(0);
            let record = Record {
                reference,
                id,
                digest,
                platform,
                config,
                files,
                hidden,
                created_ms,
                origin,
            };
            let kept = record.keep_former(&store.root);
            let saved = kept.and_then(|()| record.save(&store.root));
            Ok(saved.map(|()| (record, replaced)))
        });
        let failed = |error| Error::layer(LayerError::from(error), &name, &self.root);
        let (record, replaced) = record.await.map_err(failed)??;
        self.replaced().extend(replaced);
        self.drop_replaced()?;
        Ok(record)
    }

    fn replaced(&self) -> MutexGuard<'_, BTreeSet<LayerFile>> {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes layers whose content is in a merged file now. While somebody
    /// adds files they stay for the next time.
    ///
    /// # Errors
    /// Those of the files.
    pub(crate) fn drop_replaced(&self) -> Result<(), Error> {
        let mut replaced = self.replaced();
        if replaced.is_empty() {
            return Ok(());
        }
        let used = || match self.used.get() {
            Some(Used(used)) => used(),
            None => Some(BTreeSet::new()),
        };
        if gc::drop_replaced(&self.root, &replaced, used)? {
            replaced.clear();
        }
        Ok(())
    }
}
