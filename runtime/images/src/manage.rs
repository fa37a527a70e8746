//! Finding, naming and forgetting images.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::digest::Digest;
use crate::error::Error;
use crate::gc::{self, Freed};
use crate::image::Details;
use crate::layer::{disk_size, unpack};
use crate::lock::{Shared, blocking, exclusive};
use crate::progress::Reporter;
use crate::recipe::Replay;
use crate::record::Record;
use crate::reference::Reference;
use crate::store::Store;

/// Fewest digits of an id that is not written out.
const SHORTEST: usize = 4;

/// As long as there is one, no image and no file of the store is deleted.
#[derive(Debug, Clone)]
pub struct Hold(Shared);

impl Hold {
    pub(crate) fn into_inner(self) -> Shared {
        self.0
    }
}

/// What became of an image that was to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// Its reference, or its id when it had none.
    pub reference: String,
    /// `sha256:…`
    pub id: String,
    /// No other name led to it: it is gone.
    pub last: bool,
}

impl Record {
    /// It is known by its id only.
    pub(crate) fn is_nameless(&self) -> bool {
        self.reference.parse::<Digest>().is_ok()
    }

    fn details(&self, store: &Store, uses: &BTreeMap<PathBuf, BTreeSet<Digest>>) -> Details {
        let config: serde_json::Value =
            serde_json::from_str(&self.origin.config).unwrap_or_default();
        let own = |path: &&PathBuf| uses.get(*path).is_some_and(|ids| ids.len() == 1);
        let needs = self.needs(store.root());
        let size = |path: &PathBuf| disk_size(path).unwrap_or(0);
        Details {
            reference: self.reference.clone(),
            nameless: self.is_nameless(),
            id: self.id.to_string(),
            digest: (self.digest != self.id).then(|| self.digest.to_string()),
            size: needs.iter().map(size).sum(),
            unique: needs.iter().filter(own).map(size).sum(),
            platform: self.platform.clone(),
            stored_ms: self.created_ms,
            made: config["created"].as_str().map(str::to_owned),
            config: self.config.clone(),
            raw: config,
        }
    }
}

impl Store {
    /// Keeps everybody from deleting images as long as the result lives.
    ///
    /// # Errors
    /// Those of the lock file.
    pub async fn hold(&self) -> Result<Hold, Error> {
        Ok(Hold(self.inner().shared().await?))
    }

    /// What is known of all images, by reference.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn details(&self) -> Result<Vec<Details>, Error> {
        let records = Record::all(self.root())?;
        let mut uses: BTreeMap<PathBuf, BTreeSet<Digest>> = BTreeMap::new();
        for record in &records {
            for path in record.needs(self.root()) {
                uses.entry(path).or_default().insert(record.id.clone());
            }
        }
        let all = records.iter().map(|record| record.details(self, &uses));
        Ok(all.collect())
    }

    /// The full reference of an image that is named by a reference, by its id
    /// or the digest of its manifest (`sha256:…`), or by the first digits of
    /// its id.
    ///
    /// # Errors
    /// It is not here, or several begin with these digits.
    pub fn find_image(&self, word: &str) -> Result<String, Error> {
        Ok(self.find(word)?.reference)
    }

    pub(crate) fn find(&self, word: &str) -> Result<Record, Error> {
        let missing = || Error::NotInStore {
            image: word.to_owned(),
        };
        let root = self.root();
        if let Ok(digest) = word.parse::<Digest>() {
            let fits = |record: &Record| record.id == digest || record.digest == digest;
            return Record::all(root)?
                .into_iter()
                .find(fits)
                .ok_or_else(missing);
        }
        let reference = word.parse::<Reference>();
        if let Ok(reference) = &reference
            && let Some(record) = Record::load(root, &reference.to_string())?
        {
            return Ok(record);
        }
        let all = Record::all(root)?;
        // By the digest of its manifest: one of the repository has it.
        if let Ok(reference) = &reference
            && let Some(digest) = &reference.digest
        {
            let fits = |record: &Record| {
                let other = record.reference.parse::<Reference>().ok();
                record.digest == *digest
                    && other.is_some_and(|other| {
                        (&other.registry, &other.repository)
                            == (&reference.registry, &reference.repository)
                    })
            };
            return all.into_iter().find(fits).ok_or_else(missing);
        }
        let digits = word.strip_prefix("sha256:").unwrap_or(word);
        let is_short = digits.len() >= SHORTEST
            && digits
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_short {
            return match reference {
                Err(error) if word.strip_prefix("sha256:").is_none() => Err(error),
                Err(_) | Ok(_) => Err(missing()),
            };
        }
        let mut found = all
            .into_iter()
            .filter(|record| record.id.hex().starts_with(digits));
        let first = found.next().ok_or_else(missing)?;
        match found.find(|other| other.id != first.id) {
            Some(_) => Err(Error::Ambiguous {
                image: word.to_owned(),
            }),
            None => Ok(first),
        }
    }

    /// Makes a layer of an image that is part of a merged file a file again.
    ///
    /// # Errors
    /// The store is damaged, or the disk is full.
    pub(crate) async fn make_again(
        &self,
        record: &Record,
        layer: &Digest,
        held: &Hold,
    ) -> Result<(), Error> {
        let name = record.reference.clone();
        let archives = record.archives(self.root()).unwrap_or_default();
        let found = archives.into_iter().find(|(id, ..)| id == layer);
        let Some((diff_id, image, recipe)) = found else {
            return Err(Error::NotWhole { image: name });
        };
        let inner = self.inner();
        let reporter = Reporter::new(Arc::new(|_| {}), &name, layer.short(), 0);
        let make = async |lock| {
            let failed = |error| Error::layer(error, &name, &inner.root);
            let replay = Replay::open(&image, &recipe).map_err(|error| failed(error.into()))?;
            let job = inner.job(replay, None, &diff_id);
            let held = (lock, held.clone());
            blocking(move || {
                let _held = held;
                unpack(job).map_err(std::io::Error::from)
            })
            .await
            .map_err(|error| failed(error.into()))
        };
        inner.ensure_layer(layer, &reporter, make).await
    }

    /// Gives an image one more name. Another image that had the name so far
    /// stays known by its id.
    ///
    /// # Errors
    /// It is not here, or the name is not good.
    pub async fn tag(&self, image: &str, name: &str) -> Result<String, Error> {
        let _held = self.hold().await?;
        let reference = Reference::to_give(name)?;
        let record = Record {
            reference: reference.to_string(),
            ..self.find(image)?
        };
        record.keep_former(self.root())?;
        record.save(self.root())?;
        Ok(record.reference)
    }

    /// Makes an image known by its id, too.
    ///
    /// # Errors
    /// It is not here, or the store cannot be written.
    pub fn keep_by_id(&self, image: &str) -> Result<(), Error> {
        let record = self.find(image)?;
        let by_id = Record {
            reference: record.id.to_string(),
            ..record
        };
        by_id.save(self.root())
    }

    /// Forgets images, and deletes what only they needed. `plan` is told of
    /// all images there are and chooses; nobody adds one meanwhile. Files
    /// that `keep` names stay in any case.
    ///
    /// # Errors
    /// [`Error::Busy`] while somebody adds images or uses the store; else the
    /// store cannot be written.
    pub fn forget(
        &self,
        plan: impl FnOnce(&[Details]) -> Result<Vec<String>, Error>,
        keep: &BTreeSet<PathBuf>,
    ) -> Result<(Vec<Forgotten>, Freed), Error> {
        let root = self.root();
        let alone = exclusive(root).map_err(Error::store("removing images"))?;
        let Some(alone) = alone else {
            return Err(Error::Busy);
        };
        let chosen = plan(&self.details()?)?;
        let mut forgotten = Vec::new();
        for reference in chosen {
            let Some(record) = Record::load(root, &reference)? else {
                continue;
            };
            Record::remove(root, &reference)?;
            let last = !Record::all(root)?.iter().any(|other| other.id == record.id);
            forgotten.push(Forgotten {
                reference,
                id: record.id.to_string(),
                last,
            });
        }
        let freed = gc::collect_alone(&alone, root, keep)?;
        Ok((forgotten, freed))
    }

    /// As after [`Store::forget`], but says only what it would be.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn would_free(
        &self,
        chosen: &BTreeSet<String>,
        keep: &BTreeSet<PathBuf>,
    ) -> Result<Freed, Error> {
        gc::would_free(self.root(), chosen, keep)
    }

    /// Bytes on disk of everything in the store.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn disk_size(&self) -> Result<u64, Error> {
        gc::total(self.root())
    }
}
