//! The conversation with a registry, the other way round.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use backon::Retryable;
use futures_util::stream;
use oci_client::Reference as OciReference;
use oci_client::errors::OciDistributionError;
use reqwest::header::HeaderValue;

use super::registry::{Failure, Registry, backoff};
use crate::digest::Digest;
use crate::error::Error;

/// Bytes that are read from the file at once.
const PIECE: usize = 256 << 10;

impl Registry {
    async fn often<T, F>(&self, what: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, OciDistributionError>>,
    {
        let attempt = || {
            let attempt = what();
            async move { attempt.await.map_err(|error| self.failure(error)) }
        };
        let result = attempt
            .retry(backoff(4))
            .when(|failure: &Failure| failure.transient)
            .await;
        result.map_err(|failure| failure.error)
    }

    /// Does the repository have the blob?
    ///
    /// # Errors
    /// The registry does not answer, or not to everybody.
    pub(crate) async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let digest = digest.to_string();
        self.often(|| self.client.blob_exists(&self.reference, &digest))
            .await
    }

    /// Takes a blob over from another repository; `false` when that cannot be.
    ///
    /// # Errors
    /// The registry does not answer, or not to everybody.
    pub(crate) async fn mount(&self, digest: &Digest, from: &str) -> Result<bool, Error> {
        let host = self.reference.resolve_registry().to_owned();
        let source = OciReference::with_tag(host, from.to_owned(), "latest".to_owned());
        let digest_text = digest.to_string();
        let mounted = self
            .client
            .mount_blob(&self.reference, &source, &digest_text)
            .await;
        match mounted {
            Ok(()) => self.has_blob(digest).await,
            // It may not, or does not know how: the blob is sent.
            Err(error) => {
                tracing::debug!(%error, from, "a blob is not taken over");
                Ok(false)
            }
        }
    }

    /// Sends a small blob.
    ///
    /// # Errors
    /// The registry does not take it.
    pub(crate) async fn upload_small(&self, digest: &Digest, content: &[u8]) -> Result<(), Error> {
        let digest = &digest.to_string();
        self.often(|| async move {
            let content = content.to_vec();
            let pushed = self.client.push_blob(&self.reference, content, digest);
            pushed.await.map(drop)
        })
        .await
    }

    /// Sends a file; `progress` gets the bytes that were sent.
    ///
    /// # Errors
    /// The registry does not take it.
    pub(crate) async fn upload(
        &self,
        digest: &Digest,
        file: &Arc<File>,
        size: u64,
        progress: &(impl Fn(u64) + Clone + Send + 'static),
    ) -> Result<(), Error> {
        let digest = &digest.to_string();
        self.often(|| {
            let pieces = Pieces {
                file: Arc::clone(file),
                at: 0,
                size,
                progress: progress.clone(),
            };
            let pieces = stream::iter(pieces);
            async move {
                let to = &self.reference;
                let pushed = self.client.push_blob_stream(to, pieces, digest, Some(size));
                pushed.await.map(drop)
            }
        })
        .await
    }

    /// Makes the image known by the reference's tag.
    ///
    /// # Errors
    /// The registry does not take it.
    pub(crate) async fn put_manifest(&self, manifest: &str, kind: &str) -> Result<(), Error> {
        let kind = HeaderValue::from_str(kind)
            .map_err(|_| Error::bad(self.image(), "the type of its manifest is not good"))?;
        self.often(|| {
            let (raw, kind) = (manifest.as_bytes().to_vec(), kind.clone());
            async move {
                let pushed = self.client.push_manifest_raw(&self.reference, raw, kind);
                pushed.await.map(drop)
            }
        })
        .await
    }
}

/// Pieces of a file.
struct Pieces<F> {
    file: Arc<File>,
    at: u64,
    size: u64,
    progress: F,
}

impl<F: Fn(u64)> Iterator for Pieces<F> {
    type Item = Result<bytes::Bytes, OciDistributionError>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.progress)(self.at);
        match piece(&self.file, self.at, self.size) {
            Ok(bytes) if bytes.is_empty() => None,
            Ok(bytes) => {
                self.at += bytes.len() as u64;
                Some(Ok(bytes.into()))
            }
            Err(error) => {
                self.at = self.size;
                Some(Err(OciDistributionError::IoError(error)))
            }
        }
    }
}

fn piece(file: &File, at: u64, size: u64) -> std::io::Result<Vec<u8>> {
    let want = size.saturating_sub(at).min(PIECE as u64) as usize;
    let mut bytes = vec![0; want];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}
