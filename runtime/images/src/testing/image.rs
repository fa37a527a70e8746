//! Images for tests.

use std::io::Write;

use serde_json::{Value, json};

use crate::digest::Digest;

/// An image: documents and blobs.
#[derive(Debug, Clone)]
pub(crate) struct TestImage {
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    /// Compressed, lowest first.
    pub layers: Vec<Vec<u8>>,
    pub diff_ids: Vec<Digest>,
}

/// Compresses.
pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

impl TestImage {
    /// An image of these archives for Linux on this machine; gzip, zstd and
    /// plain layers take turns.
    pub(crate) fn new(archives: &[Vec<u8>]) -> TestImage {
        let compress = |(n, archive): (usize, &Vec<u8>)| match n % 3 {
            0 => gzip(archive),
            1 => zstd::encode_all(&archive[..], 1).unwrap(),
            _ => archive.clone(),
        };
        let layers = archives.iter().enumerate().map(compress).collect();
        let diff_ids = archives.iter().map(|archive| Digest::of(archive)).collect();
        let platform = crate::platform::Platform::host();
        TestImage::with(
            layers,
            diff_ids,
            &platform.architecture,
            json!({"Cmd": ["/bin/x"]}),
        )
    }

    /// An image with everything chosen.
    pub(crate) fn with(
        layers: Vec<Vec<u8>>,
        diff_ids: Vec<Digest>,
        architecture: &str,
        config: Value,
    ) -> TestImage {
        let config = json!({
            "os": "linux",
            "architecture": architecture,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = serde_json::to_vec(&config).unwrap();
        let mut image = TestImage {
            manifest: Vec::new(),
            config,
            layers,
            diff_ids,
        };
        image.describe();
        image
    }

    /// Makes the manifest anew.
    pub(crate) fn describe(&mut self) {
        let of = |media_type: &str, blob: &[u8]| json!({"mediaType": media_type, "digest": Digest::of(blob), "size": blob.len()});
        let layer = |blob: &Vec<u8>| of("application/vnd.oci.image.layer.v1.tar+gzip", blob);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": of("application/vnd.oci.image.config.v1+json", &self.config),
            "layers": self.layers.iter().map(layer).collect::<Vec<_>>(),
        });
        self.manifest = serde_json::to_vec(&manifest).unwrap();
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }
}
