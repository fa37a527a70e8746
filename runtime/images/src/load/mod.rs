//! Taking in images from files: OCI layouts and what `docker save` writes.

mod archive;
mod docker;
mod layout;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use futures_util::stream::{self, TryStreamExt};

use crate::assemble::Stack;
use crate::config::ConfigFile;
use crate::digest::Digest;
use crate::error::Error;
use crate::image::ImageSummary;
use crate::layer::{LayerError, unpack};
use crate::lock::{LayerLock, Shared, blocking};
use crate::platform::Platform;
use crate::progress::{Phase, Report, Reporter};
use crate::record::Origin;
use crate::store::{Finished, Inner, PARALLEL};
use source::{Source, WithProgress};

/// An image that was found in a source.
#[derive(Debug)]
struct Found {
    /// Full references; none for an image without a name.
    names: Vec<String>,
    id: Digest,
    /// Of the manifest, or of the configuration when there is none.
    digest: Digest,
    config: ConfigFile,
    /// The configuration, byte for byte.
    raw: String,
    /// Lowest first, as many as diff ids.
    layers: Vec<FoundLayer>,
}

#[derive(Debug, Clone)]
struct FoundLayer {
    /// Its name in the source.
    file: String,
    /// Of the file, when the source says so.
    digest: Option<Digest>,
}

pub(crate) async fn load(
    store: &Arc<Inner>,
    path: &Path,
    report: Arc<Report>,
) -> Result<Vec<ImageSummary>, Error> {
    let held = store.shared().await?;
    let shown = path.display().to_string();
    let (source, images) = {
        let (inner, path, held) = (Arc::clone(store), path.to_owned(), held.clone());
        blocking(move || {
            let _held = held;
            Ok(find(&inner, &path))
        })
        .await
        .map_err(|error| Error::layer(error.into(), &shown, &store.root))??
    };
    let source = Arc::new(source);
    let mut loaded = Vec::new();
    for found in images {
        loaded.extend(one(store, &source, found, &shown, &report, &held).await?);
    }
    drop(held);
    store.drop_replaced()?;
    Ok(loaded)
}

fn find(store: &Inner, path: &Path) -> Result<(Source, Vec<Found>), Error> {
    let source = Source::open(path, store)?;
    let shown = path.display().to_string();
    let images = if source.size("manifest.json").is_some() {
        docker::images(&source)
    } else if source.size("index.json").is_some() {
        // The name without what archives end in.
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let stem = name
            .as_deref()
            .and_then(|name| name.split('.').next())
            .unwrap_or_default();
        layout::images(&source, stem, &Platform::host())
    } else {
        return Err(Error::bad(
            shown,
            "it is neither an OCI layout nor made by `docker save`",
        ));
    };
    let images = images.map_err(|error| Error::layer(error, &shown, &store.root))?;
    if images.is_empty() {
        return Err(Error::bad(
            shown,
            "there is no image in it for this machine",
        ));
    }
    Ok((source, images))
}

async fn one(
    store: &Arc<Inner>,
    source: &Arc<Source>,
    found: Found,
    shown: &str,
    report: &Arc<Report>,
    held: &Shared,
) -> Result<Vec<ImageSummary>, Error> {
    let Found {
        names,
        id,
        digest,
        config,
        raw,
        layers,
    } = found;
    let name = names.first().cloned().unwrap_or_else(|| id.to_string());
    let platform = config.platform().unwrap_or_else(Platform::host).to_string();
    let diff_ids = config.rootfs.diff_ids.clone();
    let by_id: BTreeMap<&Digest, &FoundLayer> = diff_ids.iter().zip(&layers).collect();
    let stack = Stack::new(&diff_ids);
    let needed = stack.needed(&store.root);
    let layers = needed.iter().filter_map(|id| Some((id, *by_id.get(id)?)));
    stream::iter(layers.map(Ok))
        .try_for_each_concurrent(PARALLEL, |(diff_id, layer)| {
            let size = source.size(&layer.file).unwrap_or(0);
            let short = layer.digest.as_ref().unwrap_or(diff_id).short();
            let reporter = Reporter::new(Arc::clone(report), &name, short, size);
            let reporter = Arc::new(reporter);
            async move {
                let made = Arc::clone(&reporter);
                let make = async |lock| {
                    let held = (lock, held.clone());
                    unpack_layer(store, source, layer, diff_id, made, held, shown).await
                };
                store.ensure_layer(diff_id, &reporter, make).await
            }
        })
        .await?;

    let origin = Origin {
        config: raw,
        layers: diff_ids,
        ..Origin::default()
    };
    let config = config.image_config();
    let names = if names.is_empty() {
        vec![id.to_string()]
    } else {
        names
    };
    let mut loaded = Vec::new();
    for reference in names {
        let finished = Finished {
            reference,
            id: id.clone(),
            digest: digest.clone(),
            platform: platform.clone(),
            config: config.clone(),
            stack: stack.clone(),
            origin: origin.clone(),
        };
        loaded.push(
            store
                .finish(finished, held.clone())
                .await?
                .summary(&store.root),
        );
    }
    Ok(loaded)
}

async fn unpack_layer(
    store: &Arc<Inner>,
    source: &Arc<Source>,
    layer: &FoundLayer,
    diff_id: &Digest,
    reporter: Arc<Reporter>,
    held: (LayerLock, Shared),
    shown: &str,
) -> Result<(), Error> {
    let failed = |error| Error::layer(error, shown, &store.root);
    let reader = source.open_file(&layer.file).map_err(failed)?;
    let progress = move |done| reporter.at(Phase::Extracting, done);
    let job = store.job(
        WithProgress::new(reader, progress),
        layer.digest.clone(),
        diff_id,
    );
    let work = tokio::task::spawn_blocking(move || {
        let _held = held;
        unpack(job)
    });
    work.await
        .unwrap_or_else(|error| Err(io::Error::other(error).into()))
        .map_err(failed)
}

// Checks that each layer has its diff id.
fn pair(config: &ConfigFile, layers: &[FoundLayer]) -> Result<(), LayerError> {
    let (ids, layers) = (config.rootfs.diff_ids.len(), layers.len());
    if ids != layers {
        let why = format!("an image has {layers} layers, but its configuration names {ids}");
        return Err(LayerError::bad(why));
    }
    Ok(())
}
