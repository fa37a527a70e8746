//! What can go wrong with an image.

use std::io;
use std::path::PathBuf;

use crate::layer::LayerError;

/// An error of the image store. `Display` is one sentence for the user.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reference cannot be read.
    #[error("{reference:?} is not an image reference: {why}")]
    BadReference {
        /// As given.
        reference: String,
        /// What is wrong with it.
        why: String,
    },
    /// The registry does not have it.
    #[error("image {image} does not exist in {registry}")]
    NotFound {
        /// Reference.
        image: String,
        /// Host.
        registry: String,
    },
    /// The registry wants other credentials.
    #[error("{registry} does not give out image {image}: {why}")]
    Unauthorized {
        /// Reference.
        image: String,
        /// Host.
        registry: String,
        /// The registry's words, or ours.
        why: String,
    },
    /// No conversation with the registry.
    #[error("image {image}: the registry {registry} cannot be reached: {why}")]
    Unreachable {
        /// Reference.
        image: String,
        /// Host.
        registry: String,
        /// What failed.
        why: String,
    },
    /// Too many pulls.
    #[error("image {image}: the registry {registry} allows no more pulls for now")]
    RateLimited {
        /// Reference.
        image: String,
        /// Host.
        registry: String,
    },
    /// The registry failed, or does not keep to the protocol.
    #[error("image {image}: the registry {registry} failed: {why}")]
    Registry {
        /// Reference.
        image: String,
        /// Host.
        registry: String,
        /// What it said.
        why: String,
    },
    /// Content is not what its digest says.
    #[error("image {image}: {what} has digest {actual}, but {expected} was expected")]
    DigestMismatch {
        /// Reference.
        image: String,
        /// Part of the image.
        what: String,
        /// `sha256:…`
        expected: String,
        /// `sha256:…`
        actual: String,
    },
    /// Broken, hostile or not an image.
    #[error("image {image} cannot be used: {why}")]
    BadImage {
        /// Reference or file.
        image: String,
        /// What is wrong with it.
        why: String,
    },
    /// Not for this platform.
    #[error("image {image} does not exist for {wanted}")]
    PlatformMissing {
        /// Reference.
        image: String,
        /// `os/arch[/variant]`
        wanted: String,
        /// Platforms it exists for.
        available: Vec<String>,
    },
    /// No space left.
    #[error("image {image}: no space left on the disk that holds {}", store.display())]
    DiskFull {
        /// Reference or file.
        image: String,
        /// The store's directory.
        store: PathBuf,
    },
    /// The file to import cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The store does not have it.
    #[error("image {image} is not on this machine")]
    NotInStore {
        /// Reference.
        image: String,
    },
    /// Several images fit.
    #[error("several images have an id that begins with {image}")]
    Ambiguous {
        /// As given.
        image: String,
    },
    /// It cannot go elsewhere.
    #[error(
        "image {image} cannot be made again as it came: its layers were stored without a recipe"
    )]
    NotWhole {
        /// Reference.
        image: String,
    },
    /// The registry does not want it.
    #[error("{registry} does not take image {image}: {why}")]
    NotTaken {
        /// Reference.
        image: String,
        /// Host.
        registry: String,
        /// The registry's words, or ours.
        why: String,
    },
    /// Somebody adds images.
    #[error("an image is being pulled, built, loaded, saved or pushed")]
    Busy,
    /// The store's own files.
    #[error("image store, {what}: {source}")]
    Store {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Error::BadReference { .. } => "bad_reference",
            Error::NotFound { .. } | Error::NotInStore { .. } => "image_not_found",
            Error::Unauthorized { .. } => "unauthorized",
            Error::Unreachable { .. } => "registry_unreachable",
            Error::RateLimited { .. } => "rate_limited",
            Error::Registry { .. } => "registry_failed",
            Error::DigestMismatch { .. } => "digest_mismatch",
            Error::BadImage { .. } => "bad_image",
            Error::PlatformMissing { .. } => "platform_missing",
            Error::DiskFull { .. } => "disk_full",
            Error::Unreadable { .. } => "unreadable",
            Error::Ambiguous { .. } => "ambiguous_image",
            Error::NotWhole { .. } => "not_whole",
            Error::NotTaken { .. } => "unauthorized",
            Error::Busy => "images_busy",
            Error::Store { .. } => "image_store",
        }
    }

    /// What the user can do.
    pub fn help(&self) -> Option<String> {
        match self {
            Error::BadReference { .. } => {
                Some("write it as [registry/]name[:tag] or name@sha256:…, in lower case".to_owned())
            }
            Error::NotFound { .. } => Some("check its name and tag".to_owned()),
            Error::Unauthorized { registry, .. } => Some(format!(
                "check the name; a private image needs credentials: `docker login {registry}`, or \
                 an entry in ~/.docker/config.json"
            )),
            Error::Unreachable { registry, why, .. } if why.contains("certificate") => {
                Some(format!(
                    "if it is a registry of your own, put the certificate of its authority into \
                     ~/.docker/certs.d/{registry}/ca.crt or among those of the system; one in \
                     STACK_INSECURE_REGISTRIES is believed without"
                ))
            }
            Error::Unreachable { registry, .. } => Some(format!(
                "check the network and the name {registry}; a registry that speaks plain HTTP \
                 must be listed in STACK_INSECURE_REGISTRIES"
            )),
            Error::RateLimited { .. } => {
                Some("wait, log in with `docker login`, or set STACK_REGISTRY_MIRROR".to_owned())
            }
            Error::DigestMismatch { .. } => Some(
                "something between here and the registry changed the content: try again, and \
                 check proxies and mirrors"
                    .to_owned(),
            ),
            Error::PlatformMissing { available, .. } if !available.is_empty() => {
                Some(format!("it exists for {}", available.join(", ")))
            }
            Error::DiskFull { .. } => Some("free some space, or remove images".to_owned()),
            Error::NotInStore { .. } => Some("pull it first".to_owned()),
            Error::Ambiguous { .. } => Some("give more digits of the id".to_owned()),
            Error::NotWhole { .. } => Some("pull, load or build it again".to_owned()),
            Error::NotTaken { registry, .. } => Some(format!(
                "pushing needs credentials that may write: `docker login {registry}`, or an entry \
                 in ~/.docker/config.json"
            )),
            Error::Busy => Some("try again when that is over".to_owned()),
            Error::PlatformMissing { .. }
            | Error::BadImage { .. }
            | Error::Registry { .. }
            | Error::Unreadable { .. }
            | Error::Store { .. } => None,
        }
    }

    /// For `map_err` around the store's own files.
    pub(crate) fn store(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Store { what, source }
    }

    pub(crate) fn bad(image: impl Into<String>, why: impl Into<String>) -> Error {
        Error::BadImage {
            image: image.into(),
            why: why.into(),
        }
    }

    /// A layer's error with the image's name.
    pub(crate) fn layer(error: LayerError, image: &str, store: &std::path::Path) -> Error {
        let image = image.to_owned();
        match error {
            LayerError::Bad(why) => Error::BadImage { image, why },
            LayerError::Digest {
                what,
                expected,
                actual,
            } => Error::DigestMismatch {
                image,
                what: what.to_owned(),
                expected,
                actual,
            },
            LayerError::DiskFull => Error::DiskFull {
                image,
                store: store.to_owned(),
            },
            LayerError::Cancelled => Error::Store {
                what: format!("image {image}"),
                source: io::ErrorKind::Interrupted.into(),
            },
            LayerError::Io(source) => Error::Store {
                what: format!("image {image}"),
                source,
            },
        }
    }
}
