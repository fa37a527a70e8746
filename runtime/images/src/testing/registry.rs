//! A registry on loopback that can be told to misbehave.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use futures_util::stream::{self, StreamExt};

use super::TestImage;
use crate::digest::Digest;

/// What goes wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// Blob answers that are cut, and after how many bytes.
    pub cuts: u32,
    pub cut_after: usize,
    /// Requests that are answered with this status first.
    pub errors: u32,
    pub status: u16,
    /// Ranges are ignored.
    pub no_ranges: bool,
    /// A pause before each blob.
    pub slow: Duration,
    /// `user:password` in base64, asked for directly.
    pub basic: Option<String>,
    /// The same, asked for where tokens are given out.
    pub token: Option<String>,
    /// The token is given to everybody.
    pub anonymous_token: bool,
    /// The token is given for this identity token.
    pub identity: Option<String>,
    /// Requests for a token that are answered with `status` first.
    pub token_errors: u32,
}

#[derive(Debug, Default)]
struct Content {
    // By tag or digest.
    documents: BTreeMap<String, Vec<u8>>,
    blobs: BTreeMap<String, Vec<u8>>,
    faults: Faults,
    // Of the only upload at a time.
    upload: Vec<u8>,
    // Path and bytes that were sent.
    log: Vec<(String, usize)>,
    host: String,
}

/// A registry; ends with the test's runtime.
#[derive(Debug, Clone)]
pub(crate) struct TestRegistry(Arc<Mutex<Content>>);

const TOKEN: &str = "a-token";

impl TestRegistry {
    pub(crate) async fn start() -> TestRegistry {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let content = Content {
            host,
            ..Content::default()
        };
        let registry = TestRegistry(Arc::new(Mutex::new(content)));
        let router = Router::new().fallback(answer).with_state(registry.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        registry
    }

    /// `127.0.0.1:port`
    pub(crate) fn host(&self) -> String {
        self.0.lock().unwrap().host.clone()
    }

    /// A reference of this registry.
    pub(crate) fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    /// Makes an image known by a tag and by its digest.
    pub(crate) fn add(&self, tag: &str, image: &TestImage) {
        for blob in image.layers.iter().chain([&image.config]) {
            self.add_blob(&Digest::of(blob), blob);
        }
        self.add_document(tag, &image.manifest);
        self.add_document(&image.digest().to_string(), &image.manifest);
    }

    pub(crate) fn add_document(&self, name: &str, document: &[u8]) {
        self.0
            .lock()
            .unwrap()
            .documents
            .insert(name.to_owned(), document.to_vec());
    }

    /// The blob need not be what the digest says.
    pub(crate) fn add_blob(&self, digest: &Digest, blob: &[u8]) {
        self.0
            .lock()
            .unwrap()
            .blobs
            .insert(digest.to_string(), blob.to_vec());
    }

    pub(crate) fn set(&self, faults: Faults) {
        self.0.lock().unwrap().faults = faults;
    }

    /// Requests for a blob, and bytes sent for it.
    pub(crate) fn served(&self, blob: &[u8]) -> (usize, usize) {
        let digest = Digest::of(blob).to_string();
        let content = self.0.lock().unwrap();
        let ours = content
            .log
            .iter()
            .filter(|(path, _)| path.ends_with(&digest));
        ours.fold((0, 0), |(count, bytes), (_, sent)| {
            (count + 1, bytes + sent)
        })
    }

    /// Bytes that were taken, by requests of this method.
    pub(crate) fn taken(&self, method: &str) -> usize {
        let content = self.0.lock().unwrap();
        let ours = content
            .log
            .iter()
            .filter(|(path, _)| path.starts_with(method));
        ours.map(|(_, len)| len).sum()
    }

    /// Requests in all.
    pub(crate) fn requests(&self) -> usize {
        self.0.lock().unwrap().log.len()
    }

    fn authorized(&self, request: &Request, wanted: &str) -> bool {
        request
            .headers()
            .get(header::AUTHORIZATION)
            .is_some_and(|value| value == wanted)
    }

    fn take_error(&self) -> Option<u16> {
        let faults = &mut self.0.lock().unwrap().faults;
        faults.errors = faults.errors.checked_sub(1)?;
        Some(faults.status)
    }

    fn take_token_error(&self) -> Option<u16> {
        let faults = &mut self.0.lock().unwrap().faults;
        faults.token_errors = faults.token_errors.checked_sub(1)?;
        Some(faults.status)
    }

    fn take_cut(&self) -> Option<usize> {
        let faults = &mut self.0.lock().unwrap().faults;
        faults.cuts = faults.cuts.checked_sub(1)?;
        Some(faults.cut_after)
    }
}

fn status(code: u16) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

fn challenge(how: &str) -> Response {
    let mut response = status(401);
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, how.parse().unwrap());
    response
}

async fn answer(State(registry): State<TestRegistry>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let (faults, host) = {
        let content = registry.0.lock().unwrap();
        (content.faults.clone(), content.host.clone())
    };
    if path == "/token" {
        if let Some(code) = registry.take_token_error() {
            return status(code);
        }
        if request.method() == Method::POST {
            let body = axum::body::to_bytes(request.into_body(), 1 << 20).await;
            let form = String::from_utf8(body.unwrap().to_vec()).unwrap();
            let has = |field: &str| form.split('&').any(|own| own == field);
            let identity = faults.identity.as_ref();
            let known = identity.is_some_and(|own| has(&format!("refresh_token={own}")));
            let right = has("grant_type=refresh_token")
                && has("service=test")
                && has("scope=repository%3Ax%3Apull");
            return match known && right {
                true => Response::new(Body::from(format!(r#"{{"access_token":"{TOKEN}"}}"#))),
                false => status(401),
            };
        }
        let basic = faults
            .token
            .as_ref()
            .map(|secret| format!("Basic {secret}"));
        let known = basic.is_some_and(|basic| registry.authorized(&request, &basic));
        return match known || faults.anonymous_token {
            true => Response::new(Body::from(format!(r#"{{"token":"{TOKEN}"}}"#))),
            false => status(401),
        };
    }
    if let Some(secret) = &faults.basic
        && !registry.authorized(&request, &format!("Basic {secret}"))
    {
        return challenge(r#"Basic realm="test""#);
    }
    let wants_token = faults.token.is_some() || faults.anonymous_token || faults.identity.is_some();
    if wants_token && !registry.authorized(&request, &format!("Bearer {TOKEN}")) {
        return challenge(&format!(
            r#"Bearer realm="http://{host}/token",service="test""#
        ));
    }
    if path == "/v2/" {
        return status(200);
    }
    if let Some(code) = registry.take_error() {
        return status(code);
    }
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    if matches!(
        *request.method(),
        Method::POST | Method::PATCH | Method::PUT
    ) {
        return take(&registry, request, &path, &name).await;
    }
    if path.contains("/manifests/") {
        let document = registry.0.lock().unwrap().documents.get(&name).cloned();
        let Some(document) = document else {
            return status(404);
        };
        registry.0.lock().unwrap().log.push((path, document.len()));
        return Response::new(Body::from(document));
    }
    let blob = registry.0.lock().unwrap().blobs.get(&name).cloned();
    let Some(blob) = blob else { return status(404) };
    tokio::time::sleep(faults.slow).await;
    let from = range(&request).filter(|_| !faults.no_ranges);
    let body = blob[from.unwrap_or(0).min(blob.len())..].to_vec();
    let cut = registry.take_cut().filter(|cut| *cut < body.len());
    let sent = cut.unwrap_or(body.len());
    registry.0.lock().unwrap().log.push((path, sent));
    let len = body.len();
    let mut pieces: Vec<io::Result<Bytes>> = body[..sent]
        .chunks(16 << 10)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    if cut.is_some() {
        pieces.push(Err(io::ErrorKind::ConnectionReset.into()));
    }
    // The pause lets pieces be sent before the error that follows them.
    let paced = stream::iter(pieces).then(|piece| async {
        if piece.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        piece
    });
    let mut response = Response::new(Body::from_stream(paced));
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, len.into());
    if from.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

// Uploads: one that begins, pieces, the end, and manifests.
async fn take(registry: &TestRegistry, request: Request, path: &str, name: &str) -> Response {
    let located = |code: u16, place: &str| {
        let mut response = status(code);
        let headers = response.headers_mut();
        headers.insert(header::LOCATION, place.parse().unwrap());
        response
    };
    let query: BTreeMap<String, String> = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.replace("%3A", ":")))
        .collect();
    let method = request.method().clone();
    let body = axum::body::to_bytes(request.into_body(), 1 << 30)
        .await
        .unwrap()
        .to_vec();
    let mut content = registry.0.lock().unwrap();
    content.log.push((format!("{method} {path}"), body.len()));
    if path.contains("/manifests/") {
        let digest = Digest::of(&body).to_string();
        content.documents.insert(name.to_owned(), body.clone());
        content.documents.insert(digest, body);
        return located(201, path);
    }
    if method == Method::POST {
        let there = query
            .get("mount")
            .is_some_and(|digest| content.blobs.contains_key(digest));
        let host = content.host.clone();
        return match there {
            true => located(201, path),
            false => located(202, &format!("http://{host}{path}upload")),
        };
    }
    content.upload.extend(body);
    let so_far = content.upload.len();
    if let Some(digest) = query.get("digest") {
        let blob = std::mem::take(&mut content.upload);
        if Digest::of(&blob).to_string() != *digest {
            return status(400);
        }
        content.blobs.insert(digest.clone(), blob);
        return located(201, path);
    }
    let mut response = located(202, path);
    let range = format!("0-{}", so_far.saturating_sub(1));
    response
        .headers_mut()
        .insert(header::RANGE, range.parse().unwrap());
    response
}

fn range(request: &Request) -> Option<usize> {
    let value = request.headers().get(header::RANGE)?.to_str().ok()?;
    value
        .strip_prefix("bytes=")?
        .split('-')
        .next()?
        .parse()
        .ok()
}
