//! Brings a built image from the builder into the store. Only layers that
//! the store lacks are written out and sent.

use std::fs::File;
use std::io::Write;

use sha2::{Digest, Sha256};
use stack_api::event::ApiError;
use stack_images::Spool;
use tokio::sync::mpsc;

use super::super::commit;
use super::super::images::error;
use super::builder::{Lease, STORE};
use super::shell::{self, Running};
use crate::daemon::Daemon;

/// Pieces of a layer that wait for the disk.
const PIECES: usize = 16;

/// Imports the image `id` (64 hexadecimal digits) under these names.
///
/// # Errors
/// The builder does not give it, or the disk is full.
pub(super) async fn import(
    daemon: &Daemon,
    lease: &Lease,
    (id, run): (&str, &str),
    names: &[String],
) -> Result<String, ApiError> {
    let config = config(lease, id).await?;
    let digest = format!("sha256:{id}");
    // What the store has now, it still has when the rest arrives.
    let held = daemon.images.hold().await.map_err(error)?;
    let mut known = true;
    for name in names {
        let image = daemon.images.get(name).map_err(error)?;
        known &= image.is_some_and(|image| image.id == digest);
    }
    if known {
        return Ok(digest);
    }
    let layers = daemon.images.layers_to_bring(&config).map_err(error)?;
    let out = format!("{STORE}/stack/out/{run}");
    let dir = tempfile::Builder::new()
        .prefix("build-")
        .tempdir_in(&daemon.paths.cache)
        .map_err(io("a directory for the image"))?;
    if layers.iter().any(|(_, brought)| *brought) {
        let known = layers.iter().filter(|(_, brought)| !brought);
        let known: Vec<&str> = known.map(|(id, _)| hex(id)).collect();
        let blobs = write_out(lease, id, &out, &known).await?;
        if blobs.len() != layers.len() {
            return Err(odd("how many layers the image has"));
        }
        for (blob, (layer, _)) in blobs
            .iter()
            .zip(&layers)
            .filter(|(_, (_, brought))| *brought)
        {
            let path = format!("{out}/{}", path_of(blob));
            let to = dir.path().join(format!("{}.tar", hex(layer)));
            let file = File::create(to).map_err(io("a layer"))?;
            fetch(lease, &path, daemon.images.spool_to(file)).await?;
        }
        shell::answer(lease, &["rm", "-rf", &out], None).await?;
    }
    // As `docker save` writes it: `stack_images` says which layers it needs.
    let config_name = format!("{id}.json");
    let manifest = serde_json::json!([{
        "Config": config_name,
        "RepoTags": names,
        "Layers": layers.iter().map(|(id, _)| format!("{}.tar", hex(id))).collect::<Vec<_>>(),
    }]);
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(dir.path().join(name), bytes).map_err(io("the image"))
    };
    write(&config_name, &config)?;
    write("manifest.json", manifest.to_string().as_bytes())?;
    daemon
        .images
        .load(dir.path(), |_| {})
        .await
        .map_err(error)?;
    drop(held);
    daemon.images.settle().map_err(error)?;
    Ok(digest)
}

fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

fn io(what: &str) -> impl Fn(std::io::Error) -> ApiError {
    move |error| commit::unwritten(what, &error)
}

/// The configuration, byte for byte.
async fn config(lease: &Lease, id: &str) -> Result<Vec<u8>, ApiError> {
    let raw = shell::answer(lease, &["buildah", "inspect", "--type", "image", id], None).await?;
    let inspected: serde_json::Value = serde_json::from_slice(&raw).unwrap_or_default();
    let config = inspected["Config"].as_str().unwrap_or_default().as_bytes();
    let digest = Sha256::digest(config);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    match digest == id {
        true => Ok(config.to_vec()),
        false => Err(odd("how the image is configured")),
    }
}

/// Has the builder write layers out as an OCI layout; gives the digests of
/// their blobs, lowest first. Files that are there already are taken for
/// layers and left alone, so what the store has is not written.
async fn write_out(
    lease: &Lease,
    id: &str,
    out: &str,
    known: &[&str],
) -> Result<Vec<String>, ApiError> {
    let script = "rm -rf \"$1\" && mkdir -p \"$1/blobs/sha256\" && cd \"$1/blobs/sha256\" && \
        shift && for layer; do : > \"$layer\" || exit 1; done";
    let mut args = vec!["sh", "-c", script, "sh", out];
    args.extend(known);
    shell::answer(lease, &args, None).await?;
    let to = format!("oci:{out}:image");
    // Packing costs more than the short way out.
    let push = "buildah push --quiet --disable-compression --format oci";
    let push: Vec<&str> = push.split(' ').chain([id, to.as_str()]).collect();
    shell::answer(lease, &push, None).await?;
    let index = document(lease, &format!("{out}/index.json")).await?;
    let manifest = index["manifests"][0]["digest"].as_str().unwrap_or_default();
    let manifest = document(lease, &format!("{out}/{}", path_of(manifest))).await?;
    let layers = manifest["layers"].as_array().into_iter().flatten();
    let digests = layers.map(|layer| layer["digest"].as_str().unwrap_or_default().to_owned());
    Ok(digests.collect())
}

/// The path of a blob in an OCI layout.
fn path_of(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

async fn document(lease: &Lease, path: &str) -> Result<serde_json::Value, ApiError> {
    let raw = shell::answer(lease, &["cat", path], None).await?;
    serde_json::from_slice(&raw).map_err(|_| odd("what the image consists of"))
}

fn odd(what: &str) -> ApiError {
    ApiError::new("builder", format!("the builder does not say {what}"))
}

/// Brings a file of the builder; it is written by a thread that may wait.
async fn fetch(lease: &Lease, path: &str, mut to: Spool) -> Result<(), ApiError> {
    let args = ["cat".to_owned(), path.to_owned()];
    let mut running = Running::start(lease, lease.exec(&args, &[])).await?;
    let (pieces, mut arrived) = mpsc::channel::<Vec<u8>>(PIECES);
    let writing = tokio::task::spawn_blocking(move || {
        while let Some(piece) = arrived.blocking_recv() {
            to.write_all(&piece)?;
        }
        to.flush()
    });
    let mut said = String::new();
    while let Some((stream, bytes)) = running.recv().await {
        if stream != 1 {
            said += &String::from_utf8_lossy(&bytes);
        } else if pieces.send(bytes).await.is_err() {
            break;
        }
    }
    drop(pieces);
    let written = writing
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)));
    written.map_err(io("a layer"))?;
    match running.exit().await.code {
        0 => Ok(()),
        _ => Err(ApiError::new(
            "builder",
            format!("a layer does not come out of the builder: {}", said.trim()),
        )),
    }
}
