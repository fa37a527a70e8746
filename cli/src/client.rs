//! The daemon's client: HTTP/1.1 over its unix socket, one connection per
//! call. Dropping an answer closes its connection, which cancels the call.

mod archive;
pub(crate) mod daemon;
mod lines;
mod query;

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use stack_api::event::{ApiError, Event};
use stack_api::journal::{EventQuery, Happening};
use stack_api::logs::LogLine;
use stack_api::request::{ExecRequest, LogQuery};
use tokio::net::UnixStream;

use crate::error::Error;
pub(crate) use archive::Stream;
pub(crate) use lines::{Connection, Lines};
pub(crate) use query::{image as image_query, images as images_query, services as services_query};

/// Largest answer that is not a stream, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// The daemon, by its socket.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client for a socket; nothing is connected yet.
    pub(crate) fn new(socket: &Path) -> Client {
        Client {
            socket: socket.to_path_buf(),
        }
    }

    /// `GET path`, a JSON answer.
    ///
    /// # Errors
    /// The daemon is not there, says no, or answers something else.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let request = self.request::<()>(Method::GET, path, None)?;
        let (response, _connection) = self.send(request).await?;
        answer(response).await
    }

    /// A call with a JSON body and a JSON answer.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let (response, _connection) = self
            .send(self.request(Method::POST, path, Some(body))?)
            .await?;
        answer(response).await
    }

    /// `GET path`, whose answer is bytes as they come.
    ///
    /// # Errors
    /// The daemon is not there or refuses.
    pub(crate) async fn raw(&self, path: &str) -> Result<(Incoming, Connection), Error> {
        let request = self.request::<()>(Method::GET, path, None)?;
        let (response, connection) = self.send(request).await?;
        Ok((checked(response).await?.into_body(), connection))
    }

    /// `DELETE path`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) async fn delete(&self, path: &str) -> Result<(), Error> {
        let request = self.request::<()>(Method::DELETE, path, None)?;
        let (response, _connection) = self.send(request).await?;
        answer(response).await
    }

    /// A call that answers with events.
    ///
    /// # Errors
    /// The daemon is not there or refuses at once.
    pub(crate) async fn events(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Lines<Event>, Error> {
        let (response, connection) = self.send(self.request(method, path, Some(body))?).await?;
        Ok(Lines::new(checked(response).await?.into_body(), connection))
    }

    /// Log lines of a stack.
    ///
    /// # Errors
    /// The daemon is not there or refuses.
    pub(crate) async fn logs(
        &self,
        stack: &str,
        query: &LogQuery,
    ) -> Result<Lines<LogLine>, Error> {
        let path = format!("/v1/stacks/{stack}/logs?{}", query::logs(query));
        let (response, connection) = self
            .send(self.request::<()>(Method::GET, &path, None)?)
            .await?;
        Ok(Lines::new(checked(response).await?.into_body(), connection))
    }

    /// What happens to the containers of a stack.
    ///
    /// # Errors
    /// The daemon is not there or refuses.
    pub(crate) async fn happenings(
        &self,
        stack: &str,
        query: &EventQuery,
    ) -> Result<Lines<Happening>, Error> {
        let path = format!("/v1/stacks/{stack}/events?{}", query::events(query));
        self.lines(Method::GET, &path, None::<&()>).await
    }

    /// A call that answers with a JSON value per line.
    ///
    /// # Errors
    /// The daemon is not there or refuses.
    pub(crate) async fn lines<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Lines<T>, Error> {
        let (response, connection) = self.send(self.request(method, path, body)?).await?;
        Ok(Lines::new(checked(response).await?.into_body(), connection))
    }

    /// Starts a process in a container; the result speaks frames.
    ///
    /// # Errors
    /// The daemon is not there, or the process cannot be started.
    pub(crate) async fn exec(
        &self,
        stack: &str,
        request: &ExecRequest,
    ) -> Result<(TokioIo<Upgraded>, Connection), Error> {
        self.upgrade(&format!("/v1/stacks/{stack}/exec"), request)
            .await
    }

    /// A call whose answer is a conversation in frames.
    ///
    /// # Errors
    /// The daemon is not there, or refuses.
    pub(crate) async fn upgrade(
        &self,
        path: &str,
        request: &impl Serialize,
    ) -> Result<(TokioIo<Upgraded>, Connection), Error> {
        let mut http = self.request(Method::POST, path, Some(request))?;
        let headers = http.headers_mut();
        headers.insert(
            header::CONNECTION,
            header::HeaderValue::from_static("upgrade"),
        );
        headers.insert(
            header::UPGRADE,
            header::HeaderValue::from_static("stack-exec/1"),
        );
        let (response, connection) = self.send(http).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            checked(response).await?;
            return Err(Error::Lost("it did not start the process".to_owned()));
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(lost)?;
        Ok((TokioIo::new(upgraded), connection))
    }

    fn request<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let json = match body {
            Some(body) => serde_json::to_vec(body).map_err(|e| Error::Lost(e.to_string()))?,
            None => Vec::new(),
        };
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "stackd")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(json)))
            .map_err(|error| Error::Lost(error.to_string()))
    }

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Connection), Error> {
        let unreachable = |source: io::Error| Error::Unreachable {
            socket: self.socket.clone(),
            source,
        };
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(unreachable)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let connection = Connection::spawn(connection.with_upgrades());
        let response = sender.send_request(request).await.map_err(lost)?;
        Ok((response, connection))
    }
}

fn lost(error: hyper::Error) -> Error {
    Error::Lost(error.to_string())
}

/// The answer, unless it is an error.
async fn checked(response: Response<Incoming>) -> Result<Response<Incoming>, Error> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = bytes_of(response).await?;
    let error = serde_json::from_slice::<ApiError>(&body).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(&body);
        ApiError::new(
            "unexpected_answer",
            format!("stackd answered {status}: {}", text.trim()),
        )
        .help("this command and stackd may be of different versions: see `stack version`")
    });
    Err(error.into())
}

async fn answer<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, Error> {
    let body = bytes_of(checked(response).await?).await?;
    // An answer without a body is `null`.
    let body: &[u8] = if body.is_empty() { b"null" } else { &body };
    serde_json::from_slice(body).map_err(|error| {
        ApiError::new(
            "unexpected_answer",
            format!("the answer of stackd makes no sense: {error}"),
        )
        .help("this command and stackd may be of different versions: see `stack version`")
        .into()
    })
}

async fn bytes_of(response: Response<Incoming>) -> Result<Bytes, Error> {
    let body = Limited::new(response.into_body(), MAX_ANSWER);
    let body = body
        .collect()
        .await
        .map_err(|error| Error::Lost(error.to_string()))?;
    Ok(body.to_bytes())
}
