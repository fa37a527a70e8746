//! The conversation with a registry (OCI distribution specification).

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder, Retryable};
use futures_util::StreamExt;
use oci_client::client::{BlobResponse, Client};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference as OciReference, RegistryOperation};
use reqwest::StatusCode;
use reqwest::header::ACCEPT;

use super::credentials::{self, Who};
use super::tls::{Clients, Speech};
use super::token::{Challenge, Refusal};
use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::{Descriptor, MAX_DOCUMENT, MEDIA_TYPES};
use crate::options::{Endpoint, PullOptions};
use crate::reference::Reference;

/// A repository that answers.
pub(crate) struct Registry {
    image: String,
    endpoint: Endpoint,
    speech: Speech,
    pub(super) client: Client,
    http: reqwest::Client,
    auth: RegistryAuth,
    token: Option<String>,
    pub(super) reference: OciReference,
}

/// What a conversation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Getting images.
    Pull,
    /// Bringing them.
    Push,
}

/// An error, and whether trying again may help.
#[derive(Debug)]
pub(super) struct Failure {
    pub error: Error,
    pub transient: bool,
}

/// Pauses between attempts: 100 ms, doubling, seven times.
pub(super) fn pauses() -> impl Iterator<Item = Duration> + Send {
    backoff(7).build()
}

pub(super) fn backoff(times: usize) -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .with_max_times(times)
        .with_jitter()
}

impl Registry {
    /// Logs in as far as the registry wants that.
    ///
    /// # Errors
    /// It does not answer, or does not know who asks.
    pub(super) async fn connect(
        reference: &Reference,
        options: &PullOptions,
    ) -> Result<Registry, Error> {
        Registry::connect_to(reference, options, Use::Pull).await
    }

    /// As [`Registry::connect`], for either use. Nothing is pushed to what
    /// stands in for Docker Hub.
    ///
    /// # Errors
    /// It does not answer, or does not know who asks.
    pub(crate) async fn connect_to(
        reference: &Reference,
        options: &PullOptions,
        purpose: Use,
    ) -> Result<Registry, Error> {
        let image = reference.to_string();
        let own = PullOptions {
            mirror: options.mirror.clone().filter(|_| purpose == Use::Pull),
            ..options.clone()
        };
        let endpoint = own
            .endpoint(reference)
            .map_err(|why| Error::bad(&image, why))?;
        let who = credentials::find(&endpoint.host, options.docker_config.as_deref()).await;
        let (host, repository) = (endpoint.host.clone(), endpoint.repository.clone());
        let tag = reference.tag.clone().unwrap_or_else(|| "latest".to_owned());
        let failed = |why: String| Error::Registry {
            image: image.clone(),
            registry: endpoint.host.clone(),
            why,
        };
        let clients = Clients::find(&endpoint.host, endpoint.plain_http, options)
            .await
            .map_err(failed)?;
        let oci = OciReference::with_tag(host, repository, tag);
        let mut registry = Registry {
            image,
            endpoint,
            speech: clients.speech,
            client: clients.oci,
            http: clients.http,
            auth: RegistryAuth::Anonymous,
            token: None,
            reference: oci,
        };
        let log_in = async || registry.log_in(&who, purpose).await;
        let logged_in = log_in
            .retry(backoff(2))
            .when(|failure| failure.transient)
            .await;
        let (auth, token) = logged_in.map_err(|failure| failure.error)?;
        (registry.auth, registry.token) = (auth, token);
        Ok(registry)
    }

    /// How to say who asks from now on, and a token if the registry wants one.
    async fn log_in(
        &self,
        who: &Who,
        purpose: Use,
    ) -> Result<(RegistryAuth, Option<String>), Failure> {
        let auth = match who {
            Who::Nobody => RegistryAuth::Anonymous,
            Who::User { name, password } => RegistryAuth::Basic(name.clone(), password.clone()),
            Who::Identity(token) => {
                let exchanged = self.exchange(token, purpose).await;
                match exchanged.map_err(|refusal| self.refused(refusal))? {
                    Some(token) => RegistryAuth::Bearer(token),
                    None => RegistryAuth::Anonymous,
                }
            }
        };
        let operation = match purpose {
            Use::Pull => RegistryOperation::Pull,
            Use::Push => RegistryOperation::Push,
        };
        match self.client.auth(&self.reference, &auth, operation).await {
            Ok(token) => Ok((auth, token)),
            // Why is not told.
            Err(OciDistributionError::AuthenticationFailure(_)) => {
                let why = self.check(who, purpose).await;
                Err(self.refused(why.err().unwrap_or(Refusal::Status(503))))
            }
            Err(error) => Err(self.failure(error)),
        }
    }

    fn base(&self) -> String {
        let scheme = match self.speech {
            Speech::Plain => "http",
            Speech::Unverified | Speech::Verified => "https",
        };
        format!("{scheme}://{}", self.reference.resolve_registry())
    }

    fn scope(&self, purpose: Use) -> String {
        let actions = match purpose {
            Use::Pull => "pull",
            Use::Push => "pull,push",
        };
        format!("repository:{}:{actions}", self.endpoint.repository)
    }

    async fn exchange(&self, identity: &str, purpose: Use) -> Result<Option<String>, Refusal> {
        let Some(challenge) = Challenge::ask(&self.http, &self.base()).await? else {
            return Ok(None);
        };
        let scope = self.scope(purpose);
        let exchanged = challenge.exchange(&self.http, &scope, identity).await;
        exchanged.map(Some)
    }

    async fn check(&self, who: &Who, purpose: Use) -> Result<(), Refusal> {
        let Some(challenge) = Challenge::ask(&self.http, &self.base()).await? else {
            return Ok(());
        };
        let login = match who {
            Who::User { name, password } => Some((name.as_str(), password.as_str())),
            Who::Nobody | Who::Identity(_) => None,
        };
        challenge
            .check(&self.http, &self.scope(purpose), login)
            .await
    }

    /// What the token service's refusal means.
    fn refused(&self, refusal: Refusal) -> Failure {
        match refusal {
            Refusal::Unreachable(error) => self.unreachable(&error),
            Refusal::Status(status @ (429 | 500..)) => self.status(status, "of the token service"),
            // Also what it calls a bad request.
            Refusal::Status(_) => self.status(401, "the credentials were refused"),
            Refusal::Bad(why) => last(Error::Registry {
                image: self.image.clone(),
                registry: self.host(),
                why,
            }),
        }
    }

    /// The name of the host, for errors.
    fn host(&self) -> String {
        self.endpoint.host.clone()
    }

    /// A manifest or an index: by digest, or by the reference's tag.
    ///
    /// # Errors
    /// It does not exist, is too large, or is not what its digest says.
    pub(super) async fn manifest(
        &self,
        digest: Option<&Digest>,
    ) -> Result<(Digest, Vec<u8>), Error> {
        let get = || self.try_manifest(digest);
        let result = get
            .retry(backoff(4))
            .when(|failure| failure.transient)
            .await;
        result.map_err(|failure| failure.error)
    }

    async fn try_manifest(&self, digest: Option<&Digest>) -> Result<(Digest, Vec<u8>), Failure> {
        let what = match digest {
            Some(digest) => digest.to_string(),
            None => self.reference.tag().unwrap_or("latest").to_owned(),
        };
        let url = format!(
            "{}/v2/{}/manifests/{what}",
            self.base(),
            self.endpoint.repository
        );
        let mut request = self.http.get(url).header(ACCEPT, MEDIA_TYPES.join(", "));
        request = match (&self.token, &self.auth) {
            (Some(token), _) | (None, RegistryAuth::Bearer(token)) => request.bearer_auth(token),
            (None, RegistryAuth::Basic(user, password)) => request.basic_auth(user, Some(password)),
            (None, RegistryAuth::Anonymous) => request,
        };
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if response.status() != StatusCode::OK {
            return Err(self.status(response.status().as_u16(), ""));
        }
        let claimed = response.headers().get("docker-content-digest").cloned();
        let mut body = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(bytes) = stream.next().await {
            body.extend_from_slice(&bytes.map_err(|error| self.unreachable(&error))?);
            if body.len() as u64 > MAX_DOCUMENT {
                return Err(last(Error::bad(
                    &self.image,
                    "its manifest is larger than 4 MiB",
                )));
            }
        }
        let actual = Digest::of(&body);
        let claimed = claimed.and_then(|value| value.to_str().ok()?.parse::<Digest>().ok());
        for expected in digest.into_iter().chain(&claimed) {
            if *expected != actual {
                return Err(last(self.mismatch("its manifest", expected, &actual)));
            }
        }
        Ok((actual, body))
    }

    /// A small blob as a whole.
    ///
    /// # Errors
    /// It does not exist, is too large, or is not what its digest says.
    pub(super) async fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let get = || self.try_document(descriptor);
        let result = get
            .retry(backoff(4))
            .when(|failure| failure.transient)
            .await;
        result.map_err(|failure| failure.error)
    }

    async fn try_document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Failure> {
        let (_, mut stream) = self.blob(&descriptor.digest, 0).await?;
        let mut body = Vec::new();
        while let Some(bytes) = stream.next().await {
            body.extend_from_slice(&bytes.map_err(|error| self.failure(error.into()))?);
            if body.len() as u64 > descriptor.size {
                return Err(last(Error::bad(
                    &self.image,
                    "its configuration is too long",
                )));
            }
        }
        let actual = Digest::of(&body);
        if actual != descriptor.digest {
            return Err(last(self.mismatch(
                "its configuration",
                &descriptor.digest,
                &actual,
            )));
        }
        Ok(body)
    }

    /// A blob from a byte on; the stream begins at the byte that is returned.
    ///
    /// # Errors
    /// It does not exist, or the registry does not answer.
    pub(super) async fn blob(
        &self,
        digest: &Digest,
        from: u64,
    ) -> Result<(u64, oci_client::client::SizedStream), Failure> {
        let descriptor = OciDescriptor {
            digest: digest.to_string(),
            ..OciDescriptor::default()
        };
        let response = self
            .client
            .pull_blob_stream_partial(&self.reference, &descriptor, from, None)
            .await;
        match response.map_err(|error| self.failure(error))? {
            BlobResponse::Full(stream) => Ok((0, stream)),
            BlobResponse::Partial(stream) => Ok((from, stream)),
        }
    }

    /// Makes a failure of a library error.
    pub(super) fn failure(&self, error: OciDistributionError) -> Failure {
        match error {
            OciDistributionError::RequestError(error) => self.unreachable(&error),
            OciDistributionError::IoError(error) => again(Error::Unreachable {
                image: self.image.clone(),
                registry: self.host(),
                why: reason(&error),
            }),
            OciDistributionError::UnauthorizedError { .. } => self.status(401, ""),
            OciDistributionError::AuthenticationFailure(_) => {
                self.status(401, "the credentials were refused")
            }
            OciDistributionError::ServerError { code, message, .. } => {
                self.status(code, message.lines().next().unwrap_or_default())
            }
            OciDistributionError::RegistryError { envelope, .. } => {
                let first = envelope.errors.first();
                let message = first.map_or("", |error| &error.message);
                self.status(first.map_or(400, |error| code(&error.code)), message)
            }
            other => last(Error::Registry {
                image: self.image.clone(),
                registry: self.host(),
                why: other.to_string().chars().take(300).collect(),
            }),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let (image, registry) = (self.image.clone(), self.host());
        let failure = Error::Unreachable {
            image,
            registry,
            why: reason(error),
        };
        let hopeless = error.is_builder() || error.is_redirect();
        Failure {
            error: failure,
            transient: !hopeless,
        }
    }

    fn status(&self, status: u16, message: &str) -> Failure {
        let (image, registry) = (self.image.clone(), self.host());
        let message: String = message.chars().take(300).collect();
        match status {
            401 | 403 => {
                let why = match message.as_str() {
                    "" => "it does not exist, or is not for everybody".to_owned(),
                    _ => message,
                };
                last(Error::Unauthorized {
                    image,
                    registry,
                    why,
                })
            }
            404 => last(Error::NotFound { image, registry }),
            429 => again(Error::RateLimited { image, registry }),
            _ => {
                let why = match message.as_str() {
                    "" => format!("status {status}"),
                    _ => format!("status {status}, {message}"),
                };
                let transient = status >= 500 || status == 408;
                Failure {
                    error: Error::Registry {
                        image,
                        registry,
                        why,
                    },
                    transient,
                }
            }
        }
    }

    fn mismatch(&self, what: &str, expected: &Digest, actual: &Digest) -> Error {
        Error::DigestMismatch {
            image: self.image.clone(),
            what: what.to_owned(),
            expected: expected.to_string(),
            actual: actual.to_string(),
        }
    }

    /// Host and repository.
    pub(crate) fn place(&self) -> (String, String) {
        let Endpoint {
            host, repository, ..
        } = self.endpoint.clone();
        (host, repository)
    }

    /// The image's name, for errors.
    pub(super) fn image(&self) -> &str {
        &self.image
    }
}

fn last(error: Error) -> Failure {
    Failure {
        error,
        transient: false,
    }
}

fn again(error: Error) -> Failure {
    Failure {
        error,
        transient: true,
    }
}

fn code(code: &OciErrorCode) -> u16 {
    match code {
        OciErrorCode::BlobUnknown
        | OciErrorCode::ManifestUnknown
        | OciErrorCode::NameUnknown
        | OciErrorCode::NotFound => 404,
        OciErrorCode::Unauthorized | OciErrorCode::Denied => 401,
        OciErrorCode::Toomanyrequests => 429,
        _ => 400,
    }
}

// The end of the chain of causes, which is where the reason is.
pub(super) fn reason(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string().chars().take(300).collect()
}
