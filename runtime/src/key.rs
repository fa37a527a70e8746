//! A random key of this installation. Digests that are made with it tell nothing to who
//! has only the ledger: not even whether a guess is right.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac};
use sha2::Sha256;
use stack_api::event::ApiError;

/// Bytes.
const LENGTH: usize = 32;

/// The key, which is in a file of its own that only its user can read.
pub struct Key {
    bytes: [u8; LENGTH],
    file: PathBuf,
    is_settled: bool,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// The one that is kept; a new one, where there is none.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn of(file: PathBuf) -> Result<Key, ApiError> {
        let known = |path: &Path| fs::read(path).ok()?.try_into().ok();
        let settled = known(&file);
        let is_settled = settled.is_some();
        let bytes = match settled.or_else(|| known(&partial(&file))) {
            Some(bytes) => bytes,
            None => {
                let bytes = random().map_err(|error| ApiError::new("io", error.to_string()))?;
                if let Err(error) = write(&partial(&file), &bytes) {
                    tracing::warn!(%error, "the key of digests cannot be kept");
                }
                bytes
            }
        };
        Ok(Key {
            bytes,
            file,
            is_settled,
        })
    }

    /// What was there before the key has been brought up to date.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// From now on it has been.
    pub(crate) fn settle(&self) {
        if let Err(error) = fs::rename(partial(&self.file), &self.file) {
            tracing::warn!(%error, "the key of digests cannot be kept");
        }
    }

    /// The digest of these parts: HMAC-SHA-256 (RFC 2104), each behind its length.
    pub(crate) fn digest(&self, parts: &[&[u8]]) -> [u8; LENGTH] {
        // It takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.bytes) else {
            unreachable!("a key of {LENGTH} bytes")
        };
        for part in parts {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Makes bytes unreadable, to who has not the key, and readable again. No two may have the
    /// same purpose.
    pub(crate) fn mask(&self, purpose: &[&[u8]], bytes: &mut [u8]) {
        let seed = self.digest(purpose);
        for (n, chunk) in bytes.chunks_mut(LENGTH).enumerate() {
            let pad = self.digest(&[b"mask", &seed, &n.to_le_bytes()]);
            chunk
                .iter_mut()
                .zip(pad)
                .for_each(|(byte, pad)| *byte ^= pad);
        }
    }
}

/// Its name until it is settled.
fn partial(file: &Path) -> PathBuf {
    file.with_extension("partial")
}

fn random() -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    // As many as these come at once (getrandom(2)).
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    match got {
        LENGTH => Ok(bytes),
        _ => Err(io::Error::other("the system has no random numbers")),
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_stays_and_is_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("digest.key");
        let key = Key::of(file.clone()).unwrap();
        assert!(!key.is_settled());
        let digest = key.digest(&[b"1234"]);
        // Killed before it was settled: the same one.
        let again = Key::of(file.clone()).unwrap();
        assert!(!again.is_settled());
        assert_eq!(again.digest(&[b"1234"]), digest);
        again.settle();
        let settled = Key::of(file.clone()).unwrap();
        assert!(settled.is_settled());
        assert_eq!(settled.digest(&[b"1234"]), digest);
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(settled.digest(&[b"12", b"34"]), digest);
        let other = Key::of(dir.path().join("other.key")).unwrap();
        assert_ne!(other.digest(&[b"1234"]), digest);
    }

    #[test]
    fn a_mask_is_taken_off_again() {
        let dir = tempfile::tempdir().unwrap();
        let key = Key::of(dir.path().join("digest.key")).unwrap();
        let text = [7; 70];
        let mut masked = text;
        key.mask(&[b"a"], &mut masked);
        assert!(masked.chunks(10).all(|part| part != [7; 10]));
        key.mask(&[b"a"], &mut masked);
        assert_eq!(masked, text);
    }
}
