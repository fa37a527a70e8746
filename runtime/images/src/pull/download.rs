//! One layer: downloaded, unpacked while it arrives, resumed when it breaks.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;

use super::blob::{self, BlobWriter};
use super::registry::{Failure, Registry, pauses};
use crate::digest::Digest;
use crate::error::Error;
use crate::layer::{LayerError, unpack};
use crate::lock::{LayerLock, Shared, blocking};
use crate::manifest::Descriptor;
use crate::progress::{Phase, Reporter};
use crate::store::Inner;

/// Pieces of the network that are written at once.
const BATCH: usize = 64;

/// Brings a layer into the store. `held` is kept until nothing is written
/// any more, even when the future is dropped.
///
/// # Errors
/// See [`Error`].
pub(super) async fn layer(
    store: &Arc<Inner>,
    registry: &Registry,
    layer: &Descriptor,
    diff_id: &Digest,
    reporter: Arc<Reporter>,
    held: (LayerLock, Shared),
) -> Result<(), Error> {
    let image = registry.image();
    if layer.size > store.limits.unpacked {
        return Err(Error::bad(
            image,
            format!("a layer of {} bytes", layer.size),
        ));
    }
    let held = Arc::new(held);
    // Another content may be claimed for the same blob.
    let name = format!("{}-{}", layer.digest.hex(), diff_id.short());
    let partial = store.root.join("partial").join(name);
    let resumed = fs::metadata(&partial).is_ok_and(|meta| meta.len() > 0);
    let mut result = attempt(store, registry, layer, diff_id, &reporter, &partial, &held).await;
    if let Err(Error::DigestMismatch { .. }) = &result {
        discard(&partial);
        if resumed {
            // The old part may have suffered when the machine went down.
            result = attempt(store, registry, layer, diff_id, &reporter, &partial, &held).await;
        }
    }
    match &result {
        Ok(()) | Err(Error::BadImage { .. } | Error::DiskFull { .. }) => discard(&partial),
        // What is good for another attempt is kept.
        Err(_) => {}
    }
    result
}

fn discard(partial: &Path) {
    if let Err(error) = fs::remove_file(partial)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %partial.display(), "a downloaded blob cannot be deleted");
    }
}

async fn attempt(
    store: &Arc<Inner>,
    registry: &Registry,
    layer: &Descriptor,
    diff_id: &Digest,
    reporter: &Arc<Reporter>,
    partial: &Path,
    held: &Arc<(LayerLock, Shared)>,
) -> Result<(), Error> {
    let failed = |error: LayerError| Error::layer(error, registry.image(), &store.root);
    let extracting = Arc::clone(reporter);
    let progress = move |done| extracting.at(Phase::Extracting, done);
    let (writer, reader) =
        blob::open(partial, layer.size, progress).map_err(|error| failed(error.into()))?;
    let job = store.job(reader, Some(layer.digest.clone()), diff_id);
    let held = Arc::clone(held);
    let unpacking = tokio::task::spawn_blocking(move || {
        let _held = held;
        unpack(job)
    });
    let fetched = fetch(store, registry, layer, writer, reporter).await;
    let unpacked = unpacking
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error).into()));
    match (fetched, unpacked) {
        (Ok(()), unpacked) => unpacked.map_err(failed),
        // The download failed because nobody read it.
        (Err(_), Err(error)) if !matches!(error, LayerError::Cancelled) => Err(failed(error)),
        (Err(error), _) => Err(error),
    }
}

// Appends until the blob is complete; goes on where it broke, as long as it
// gets on.
async fn fetch(
    store: &Arc<Inner>,
    registry: &Registry,
    layer: &Descriptor,
    mut writer: BlobWriter,
    reporter: &Reporter,
) -> Result<(), Error> {
    let mut pauses_left = pauses();
    reporter.at(Phase::Downloading, writer.len());
    while writer.len() < layer.size {
        let before = writer.len();
        let (returned, result) = read_on(store, registry, layer, writer, reporter).await?;
        writer = returned;
        if writer.reader_gone() {
            return Ok(());
        }
        let Err(failure) = result else { continue };
        if writer.len() > before {
            pauses_left = pauses();
        }
        match pauses_left.next() {
            Some(pause) if failure.transient => tokio::time::sleep(pause).await,
            _ => return Err(failure.error),
        }
    }
    writer.complete();
    Ok(())
}

// One request. Returns the writer with the outcome unless the file broke.
async fn read_on(
    store: &Arc<Inner>,
    registry: &Registry,
    layer: &Descriptor,
    mut writer: BlobWriter,
    reporter: &Reporter,
) -> Result<(BlobWriter, Result<(), Failure>), Error> {
    let before = writer.len();
    let (start, stream) = match registry.blob(&layer.digest, before).await {
        Ok(answer) => answer,
        Err(failure) => return Ok((writer, Err(failure))),
    };
    // A registry without ranges sends again what is already here.
    let mut again = before - start;
    let mut batches = stream.stream.ready_chunks(BATCH);
    while let Some(batch) = batches.next().await {
        let mut parts = Vec::new();
        let mut broken = None;
        for part in batch {
            match part {
                Ok(mut part) => {
                    let known = again.min(part.len() as u64);
                    again -= known;
                    parts.push(part.split_off(known as usize));
                }
                Err(error) => broken = Some(registry.failure(error.into())),
            }
        }
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if writer.len() + len as u64 > layer.size {
            return Err(Error::bad(
                registry.image(),
                format!(
                    "layer {} is longer than its {} bytes",
                    layer.digest.short(),
                    layer.size
                ),
            ));
        }
        let written = blocking(move || writer.append(&parts).map(|()| writer)).await;
        writer =
            written.map_err(|error| Error::layer(error.into(), registry.image(), &store.root))?;
        reporter.at(Phase::Downloading, writer.len());
        if let Some(failure) = broken {
            return Ok((writer, Err(failure)));
        }
        if writer.reader_gone() {
            return Ok((writer, Ok(())));
        }
    }
    let len = writer.len();
    if len == before && len < layer.size {
        // The answer was complete, and there is nothing more to come.
        let digest = layer.digest.short();
        let why = format!("layer {digest} is shorter than its {} bytes", layer.size);
        return Err(Error::bad(registry.image(), why));
    }
    let result = match len < layer.size {
        true => Err(registry.failure(io::Error::from(io::ErrorKind::UnexpectedEof).into())),
        false => Ok(()),
    };
    Ok((writer, result))
}
