//! An image with one empty layer, as an OCI layout.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

/// Its name.
pub(crate) const NAME: &str = "made-up:1";

fn blob(dir: &Path, bytes: &[u8]) -> String {
    let digest: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    fs::write(dir.join("blobs/sha256").join(&digest), bytes).unwrap();
    format!("sha256:{digest}")
}

/// Writes the layout (OCI image layout specification 1.0). Each version is
/// another image of the same name.
pub(crate) fn write_layout(dir: &Path, version: u32) {
    fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    let layer = vec![0u8; 1024];
    let layer_digest = blob(dir, &layer);
    let config = serde_json::json!({
        "os": "linux",
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "config": {"Labels": {"version": version.to_string()}},
        "rootfs": { "type": "layers", "diff_ids": [layer_digest] },
    });
    let config = serde_json::to_vec(&config).unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": blob(dir, &config),
            "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": layer_digest,
            "size": layer.len(),
        }],
    });
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let index = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": blob(dir, &manifest),
            "size": manifest.len(),
            "annotations": { "org.opencontainers.image.ref.name": NAME },
        }],
    });
    fs::write(dir.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    fs::write(dir.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}
