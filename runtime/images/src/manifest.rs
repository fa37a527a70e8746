//! Manifests and indexes (OCI image specification, manifest.md and
//! image-index.md; Docker's schema 2 has the same shape).

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::digest::Digest;
use crate::platform::Platform;

/// Most bytes of a manifest, an index or a configuration.
pub(crate) const MAX_DOCUMENT: u64 = 4 << 20;

/// Most layers of an image.
const MAX_LAYERS: usize = 1000;

/// What a manifest can be.
pub(crate) const MEDIA_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// Names a blob.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    #[serde(default)]
    pub platform: Option<Platform>,
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    // Compressions are told apart by content; encrypted layers and things
    // that are no layers by the type.
    fn is_archive(&self) -> bool {
        self.media_type.is_empty()
            || self.media_type.contains(".tar") && !self.media_type.ends_with("+encrypted")
    }
}

/// A manifest or an index.
#[derive(Debug)]
pub(crate) enum Document {
    /// One image.
    Manifest(Manifest),
    /// Variants of an image.
    Index(Vec<Descriptor>),
}

/// One image.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub config: Descriptor,
    /// Lowest first.
    pub layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    schema_version: u32,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

impl Document {
    /// Reads a document; its shape says what it is.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse(raw: &[u8]) -> Result<Document, String> {
        let raw: Raw =
            serde_json::from_slice(raw).map_err(|error| format!("its manifest: {error}"))?;
        match raw {
            Raw {
                schema_version: 1, ..
            } => Err("its manifest has the format of 2015 (schema 1)".to_owned()),
            Raw {
                manifests: Some(manifests),
                ..
            } => Ok(Document::Index(manifests)),
            Raw {
                config: Some(config),
                layers: Some(layers),
                ..
            } => {
                if layers.len() > MAX_LAYERS {
                    return Err(format!("it has more than {MAX_LAYERS} layers"));
                }
                if let Some(other) = layers.iter().find(|layer| !layer.is_archive()) {
                    return Err(format!("a layer of the type {:.100}", other.media_type));
                }
                if config.size > MAX_DOCUMENT {
                    return Err("its configuration is larger than 4 MiB".to_owned());
                }
                Ok(Document::Manifest(Manifest { config, layers }))
            }
            _ => Err("its manifest is neither an image nor an index".to_owned()),
        }
    }
}

/// The variant that fits best, or the platforms there are.
///
/// # Errors
/// None fits.
pub(crate) fn choose<'a>(
    variants: &'a [Descriptor],
    wanted: &Platform,
) -> Result<&'a Descriptor, Vec<String>> {
    let fitting = variants.iter().filter_map(|variant| {
        // An index of a single platform may leave it out.
        let fit = variant
            .platform
            .as_ref()
            .map_or(Some(u32::MAX), |there| wanted.fit(there));
        Some((fit?, variant))
    });
    fitting
        .min_by_key(|(fit, _)| *fit)
        .map(|(_, variant)| variant)
        .ok_or_else(|| {
            let platforms = variants
                .iter()
                .filter_map(|variant| variant.platform.as_ref());
            let known = platforms.filter(|platform| platform.os != "unknown");
            known.map(Platform::to_string).collect()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[&str]) -> Vec<Descriptor> {
        let of = |(n, text): (usize, &&str)| Descriptor {
            media_type: String::new(),
            digest: Digest::of(&[n as u8]),
            size: 1,
            platform: Platform::parse(text),
            annotations: None,
        };
        platforms.iter().enumerate().map(of).collect()
    }

    #[test]
    fn the_best_variant_is_chosen() {
        let all = index(&[
            "unknown/unknown",
            "linux/arm/v6",
            "linux/arm/v7",
            "linux/amd64",
        ]);
        let choose = |wanted| choose(&all, &Platform::parse(wanted).unwrap());
        assert_eq!(choose("linux/arm").unwrap().digest, all[2].digest);
        assert_eq!(choose("linux/arm/v6").unwrap().digest, all[1].digest);
        assert_eq!(choose("linux/amd64").unwrap().digest, all[3].digest);
        let there = choose("linux/riscv64").unwrap_err();
        assert_eq!(there, ["linux/arm/v6", "linux/arm/v7", "linux/amd64"]);
    }

    #[test]
    fn layers_are_archives() {
        let with = |media_type: &str| {
            let digest = Digest::of(b"");
            let layer = format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":0}}"#);
            Document::parse(format!(r#"{{"config":{layer},"layers":[{layer}]}}"#).as_bytes())
        };
        assert!(with("application/vnd.oci.image.layer.v1.tar+zstd").is_ok());
        assert!(with("application/vnd.docker.image.rootfs.diff.tar.gzip").is_ok());
        assert!(with("").is_ok());
        assert!(with("application/vnd.oci.image.layer.v1.tar+gzip+encrypted").is_err());
        assert!(with("application/vnd.in-toto+json").is_err());
    }

    #[test]
    fn old_and_broken_manifests_are_refused() {
        for bad in [
            &br#"{"schemaVersion":1}"#[..],
            b"{}",
            b"[]",
            b"\xff",
            br#"{"layers":[]}"#,
        ] {
            assert!(Document::parse(bad).is_err());
        }
    }
}
