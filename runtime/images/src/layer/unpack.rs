//! The threads that turn a blob into an image, and their channels.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::apply::apply;
use super::{Compression, LayerError, decode};
use crate::blobs::{self, Blob};
use crate::digest::{Digest, Hasher};
use crate::erofs::{Contents, Tree, finish};
use crate::recipe::{self, Notes};

/// Bounds of one layer.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Bytes of the archive after decompression.
    pub unpacked: u64,
    /// Bytes of all files as they seem, holes included.
    pub logical: u64,
    /// Entries of the archive, and files that it makes.
    pub entries: u64,
    /// Bytes of names and attributes.
    pub memory: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            unpacked: 64 << 30,
            logical: 4 << 40,
            entries: 2_000_000,
            memory: 512 << 20,
        }
    }
}

/// A blob to unpack.
pub(crate) struct Job {
    /// The blob, compressed or not. Its errors are taken for what they are
    /// when they are [`LayerError`]s.
    pub source: Box<dyn Read + Send>,
    /// Digest of the blob, when it is known.
    pub blob: Option<Digest>,
    /// Digest of the content.
    pub diff_id: Digest,
    pub limits: Limits,
    /// Where temporary files may be.
    pub tmp: PathBuf,
    /// Where the image goes.
    pub target: PathBuf,
    /// Where the way to make the archive again goes.
    pub recipe: PathBuf,
    /// Where the blob is noted, if its digest is known.
    pub blobs: PathBuf,
}

/// Bytes that go through a channel at once, and how many chunks may wait.
const CHUNK: usize = 256 << 10;
const WAITING: usize = 8;

/// Does the job; blocks until it is done. The image is complete and on disk
/// when it appears under its name.
///
/// # Errors
/// The layer is not good, or the disk is not.
pub(crate) fn unpack(job: Job) -> Result<(), LayerError> {
    let Job {
        source,
        blob,
        diff_id,
        limits,
        tmp,
        target,
        recipe,
        blobs: notes,
    } = job;
    let out = temporary(&tmp)?;
    let (to_tar, from_tar) = sync_channel(WAITING);
    let (to_hash, from_hash) = sync_channel(WAITING);
    let unpacked = limits.unpacked;
    let stop = AtomicBool::new(false);
    let (decoded, content, written) = thread::scope(|scope| {
        let source = Hashing {
            source,
            hasher: Hasher::new(),
            size: 0,
            stop: &stop,
        };
        let decoder = scope.spawn(move || decode(source, unpacked, &to_tar, &to_hash));
        let hasher = scope.spawn(move || hash(&from_hash));
        let written = write(from_tar, &limits, &out, &tmp);
        // The digest can explain a bad archive, so that one is read on.
        stop.store(
            matches!(&written, Err(e) if !matches!(e, LayerError::Bad(_))),
            Relaxed,
        );
        (decoder.join(), hasher.join(), written)
    });
    let crashed = |_| LayerError::bad("unpacking it failed");
    let (read, decoded) = decoded.map_err(crashed)?;
    // Content that is not what it should be explains all other trouble.
    if let (Some(expected), Some((actual, _))) = (&blob, &read)
        && expected != actual
    {
        return Err(mismatch("a layer", expected, actual));
    }
    let (made, compression) = match written {
        Ok(made) => (made, decoded?),
        // An archive that seems cut off may be one that could not be read.
        Err(error @ LayerError::Bad(_)) => return Err(decoded.err().unwrap_or(error)),
        Err(error) => return Err(error),
    };
    let content = content.map_err(crashed)?;
    if content != diff_id {
        return Err(mismatch("the content of a layer", &diff_id, &content));
    }
    // A layer that is there can be made again.
    made.end(&recipe)?;
    persist(out, &target)?;
    if let (Some(_), Some((digest, size))) = (&blob, read) {
        let seen = Blob::new(digest, size, compression);
        if let Err(error) = blobs::note(&notes, seen, &tmp) {
            // A push makes one more blob then.
            tracing::warn!(%error, path = %notes.display(), "not written");
        }
    }
    Ok(())
}

fn mismatch(what: &'static str, expected: &Digest, actual: &Digest) -> LayerError {
    LayerError::Digest {
        what,
        expected: expected.to_string(),
        actual: actual.to_string(),
    }
}

/// A file that is deleted unless it is [`persist`]ed.
pub(crate) fn temporary(dir: &Path) -> io::Result<tempfile::NamedTempFile> {
    let open = |path: &Path| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
    };
    tempfile::Builder::new().prefix("layer-").make_in(dir, open)
}

/// Gives a finished file its name, durably.
pub(crate) fn persist(file: tempfile::NamedTempFile, target: &Path) -> Result<(), LayerError> {
    file.as_file().sync_all()?;
    file.persist(target).map_err(|error| error.error)?;
    if let Some(dir) = target.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

type Chunk = Arc<Vec<u8>>;

// Digest and size of the blob are there unless the source broke.
fn decode(
    mut source: Hashing<'_>,
    limit: u64,
    to_tar: &SyncSender<Chunk>,
    to_hash: &SyncSender<Chunk>,
) -> (Option<(Digest, u64)>, Result<Compression, LayerError>) {
    let decoded = decode_all(&mut source, limit, to_tar, to_hash);
    // What the decoder left is part of the blob.
    let rest = match &decoded {
        Ok(_) | Err(LayerError::Bad(_)) => io::copy(&mut source, &mut io::sink()),
        Err(_) => return (None, decoded),
    };
    match rest {
        Ok(_) => (Some((source.hasher.finish(), source.size)), decoded),
        Err(error) => (None, decoded.and_then(|_| Err(error.into()))),
    }
}

fn decode_all(
    source: &mut Hashing<'_>,
    limit: u64,
    to_tar: &SyncSender<Chunk>,
    to_hash: &SyncSender<Chunk>,
) -> Result<Compression, LayerError> {
    let (mut plain, compression) = decode::decompress(source)?;
    let mut total = 0;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let len = plain.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)? as u64;
        if len == 0 {
            return Ok(compression);
        }
        total += len;
        if total > limit {
            return Err(LayerError::bad(format!(
                "more than {limit} bytes when decompressed"
            )));
        }
        let chunk = Arc::new(chunk);
        // A receiver that is gone has its own error to report.
        if to_hash.send(Arc::clone(&chunk)).is_err() || to_tar.send(chunk).is_err() {
            return Ok(compression);
        }
    }
}

struct Hashing<'a> {
    source: Box<dyn Read + Send>,
    hasher: Hasher,
    /// Bytes read.
    size: u64,
    stop: &'a AtomicBool,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Relaxed) {
            return Err(LayerError::Cancelled.into());
        }
        let len = self
            .source
            .read(buffer)
            .map_err(|error| match error.kind() {
                io::ErrorKind::Interrupted => error,
                _ => LayerError::from(error).into(),
            })?;
        self.hasher.update(&buffer[..len]);
        self.size += len as u64;
        Ok(len)
    }
}

fn hash(chunks: &Receiver<Chunk>) -> Digest {
    let mut hasher = Hasher::new();
    for chunk in chunks {
        hasher.update(&chunk);
    }
    hasher.finish()
}

fn write(
    chunks: Receiver<Chunk>,
    limits: &Limits,
    out: &tempfile::NamedTempFile,
    tmp: &Path,
) -> Result<recipe::Made, LayerError> {
    let mut tree = Tree::new();
    let mut contents = Contents::new(out.as_file().try_clone()?, tmp)?;
    let source = Chunks {
        chunks,
        current: None,
        at: 0,
    };
    let notes = apply(source, limits, &mut tree, &mut contents, Notes::new(tmp)?)?;
    let written = finish(&tree, contents)?;
    recipe::write(notes, &tree, (out.as_file(), &written), tmp)
}

// A decoder that stopped early looks like the end of the archive; its error
// is the one that is reported.
struct Chunks {
    chunks: Receiver<Chunk>,
    current: Option<Chunk>,
    at: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let rest = self
                .current
                .as_deref()
                .map(|chunk| &chunk[self.at..])
                .unwrap_or_default();
            if !rest.is_empty() {
                let len = rest.len().min(buffer.len());
                buffer[..len].copy_from_slice(&rest[..len]);
                self.at += len;
                return Ok(len);
            }
            // The end stays the end, however often it is asked for.
            (self.current, self.at) = (None, 0);
            match self.chunks.recv() {
                Ok(chunk) => self.current = Some(chunk),
                Err(_) => return Ok(0),
            }
        }
    }
}

/// Bytes that a file takes on disk.
pub(crate) fn disk_size(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata(path)?.blocks() * 512)
}
