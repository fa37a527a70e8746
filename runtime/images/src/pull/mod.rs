//! Getting an image from a registry.

mod artifact;
mod blob;
pub(crate) mod credentials;
mod download;
#[cfg(test)]
mod lookup_tests;
pub(crate) mod registry;
mod resolve;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod upload;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::{self, TryStreamExt};

use crate::assemble::Stack;
use crate::config::ConfigFile;
use crate::digest::Digest;
use crate::error::Error;
use crate::image::Image;
use crate::manifest::{Descriptor, Document, Manifest, choose};
use crate::options::PullOptions;
use crate::platform::Platform;
use crate::progress::{Phase, Report, Reporter};
use crate::record::{Origin, Record, text};
use crate::reference::Reference;
use crate::store::{Finished, Inner, PARALLEL};
use registry::Registry;

pub use artifact::{Artifact, ArtifactFile, artifact};
pub use resolve::{Resolved, resolve};

pub(crate) async fn pull(
    store: &Arc<Inner>,
    asked: &str,
    options: &PullOptions,
    report: Arc<Report>,
) -> Result<Image, Error> {
    let reference: Reference = asked.parse()?;
    let name = reference.to_string();
    let bad = |why: String| Error::bad(&name, why);
    let wanted = match &options.platform {
        None => Platform::host(),
        Some(text) => {
            Platform::parse(text).ok_or_else(|| bad(format!("{text:?} is not a platform")))?
        }
    };
    let held = store.shared().await?;
    let registry = Registry::connect(&reference, options).await?;
    let (digest, raw_manifest, manifest) = for_platform(&registry, &reference, &wanted).await?;

    // Nothing has changed: done.
    if let Some(record) = Record::load(&store.root, &name)?
        && record.digest == digest
        && record.archives(&store.root).is_some()
        && let Some(image) = record.image(&store.root)
    {
        for layer in &manifest.layers {
            reporter(&report, asked, layer).at(Phase::Exists, 0);
        }
        if let Err(error) = Record::touch(&store.root, &name) {
            tracing::warn!(%error, name, "when it was asked for is not kept");
        }
        return Ok(image);
    }

    let raw = registry.document(&manifest.config).await?;
    let config = ConfigFile::parse(&raw).map_err(bad)?;
    let origin = Origin {
        config: text(raw).map_err(bad)?,
        layers: config.rootfs.diff_ids.clone(),
        manifest: text(raw_manifest).ok(),
        registry: Some(registry.place()),
    };
    let platform = config.platform().unwrap_or_else(|| wanted.clone());
    if wanted.fit(&platform).is_none() {
        let available = vec![platform.to_string()];
        return Err(Error::PlatformMissing {
            image: name,
            wanted: wanted.to_string(),
            available,
        });
    }
    let diff_ids = config.rootfs.diff_ids.clone();
    if diff_ids.len() != manifest.layers.len() {
        let (layers, ids) = (manifest.layers.len(), diff_ids.len());
        return Err(bad(format!(
            "it has {layers} layers, but its configuration names {ids}"
        )));
    }
    let by_id: BTreeMap<&Digest, &Descriptor> = diff_ids.iter().zip(&manifest.layers).collect();
    let stack = Stack::new(&diff_ids);
    let needed = stack.needed(&store.root);
    for (_, layer) in by_id.iter().filter(|(id, _)| !needed.contains(id)) {
        reporter(&report, asked, layer).at(Phase::Exists, 0);
    }
    let layers = needed.iter().filter_map(|id| Some((id, *by_id.get(id)?)));
    stream::iter(layers.map(Ok))
        .try_for_each_concurrent(PARALLEL, |(diff_id, layer)| {
            let reporter = Arc::new(reporter(&report, asked, layer));
            let (store, held, registry) = (store, &held, &registry);
            async move {
                let made = Arc::clone(&reporter);
                let make = async |lock| {
                    download::layer(store, registry, layer, diff_id, made, (lock, held.clone()))
                        .await
                };
                store.ensure_layer(diff_id, &reporter, make).await
            }
        })
        .await?;

    let finished = Finished {
        reference: name.clone(),
        id: manifest.config.digest,
        digest,
        platform: platform.to_string(),
        config: config.image_config(),
        stack,
        origin,
    };
    let record = store.finish(finished, held).await?;
    record
        .image(&store.root)
        .ok_or_else(|| Error::bad(name, "one of its layers was deleted"))
}

fn reporter(report: &Arc<Report>, asked: &str, layer: &Descriptor) -> Reporter {
    Reporter::new(Arc::clone(report), asked, layer.digest.short(), layer.size)
}

// The manifest for the platform, through an index if there is one.
async fn for_platform(
    registry: &Registry,
    reference: &Reference,
    wanted: &Platform,
) -> Result<(Digest, Vec<u8>, Manifest), Error> {
    let name = reference.to_string();
    let (digest, raw) = registry.manifest(reference.digest.as_ref()).await?;
    let variants = match Document::parse(&raw).map_err(|why| Error::bad(&name, why))? {
        Document::Manifest(manifest) => return Ok((digest, raw, manifest)),
        Document::Index(variants) => variants,
    };
    let chosen = choose(&variants, wanted).map_err(|available| Error::PlatformMissing {
        image: name.clone(),
        wanted: wanted.to_string(),
        available,
    })?;
    let (digest, raw) = registry.manifest(Some(&chosen.digest)).await?;
    match Document::parse(&raw).map_err(|why| Error::bad(&name, why))? {
        Document::Manifest(manifest) => Ok((digest, raw, manifest)),
        Document::Index(_) => Err(Error::bad(name, "its index leads to another index")),
    }
}
