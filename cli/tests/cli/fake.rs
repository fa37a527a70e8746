//! A daemon whose answers are scripted: `method path` → what to say.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc as std_mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame as BodyFrame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use stack_protocol::frame::{Decoder, Frame, Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

/// One answer.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A JSON value with a status.
    Json(u16, Value),
    /// JSON lines, then the end.
    Lines(Vec<Value>),
    /// Other JSON lines each time, then none.
    Turns(Vec<Vec<Value>>),
    /// JSON lines, then silence until the client goes or [`Fake::end`] is
    /// called.
    Hold(Vec<Value>),
    /// An upgrade: everything from standard input comes back on standard
    /// output, these bytes on standard error, then this exit.
    Exec { stderr: Vec<u8>, exit: Value },
    /// An upgrade: these bytes on standard output, then this exit.
    Print { text: Vec<u8>, exit: Value },
    /// An upgrade that ends at once, without an exit.
    Break,
}

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) call: String,
    pub(crate) body: Value,
    /// As it came.
    pub(crate) bytes: Bytes,
}

#[derive(Debug, Default)]
struct State {
    answers: HashMap<String, Answer>,
    seen: Vec<Seen>,
    /// Streams that were held and whose client has gone.
    gone: usize,
    held: Vec<mpsc::UnboundedSender<()>>,
}

/// The daemon. It serves until the test process ends.
#[derive(Debug, Clone)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
}

impl Fake {
    /// Serves on a socket, with an answer for `version`.
    pub(crate) fn listen(socket: &Path) -> Fake {
        let fake = Fake {
            state: Arc::default(),
        };
        fake.version(env!("CARGO_PKG_VERSION")).happened(&[]);
        let (ready, wait) = std_mpsc::channel();
        let (server, socket) = (fake.clone(), socket.to_path_buf());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = UnixListener::bind(socket).unwrap();
                ready.send(()).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let server = server.clone();
                    tokio::spawn(async move {
                        let service = service_fn(move |request| server.clone().serve(request));
                        let connection =
                            http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                        drop(connection.with_upgrades().await);
                    });
                }
            });
        });
        wait.recv().unwrap();
        fake
    }

    /// Scripts an answer.
    pub(crate) fn on(&self, call: &str, answer: Answer) -> &Fake {
        self.state
            .lock()
            .unwrap()
            .answers
            .insert(call.to_owned(), answer);
        self
    }

    /// Scripts the version.
    pub(crate) fn version(&self, version: &str) -> &Fake {
        let version = json!({"version": version, "api": 1, "pid": std::process::id()});
        self.on("GET /v1/version", Answer::Json(200, version))
    }

    /// Scripts the containers of the stack `shop`.
    pub(crate) fn containers(&self, list: &[Value]) -> &Fake {
        self.on(
            "GET /v1/stacks/shop/containers",
            Answer::Json(200, json!(list)),
        )
    }

    /// Scripts what happens to the containers of the stack `shop`.
    pub(crate) fn happened(&self, journal: &[Value]) -> &Fake {
        self.on("GET /v1/stacks/shop/events", Answer::Hold(journal.to_vec()))
    }

    /// Requests of a call so far.
    pub(crate) fn seen(&self, call: &str) -> Vec<Seen> {
        let state = self.state.lock().unwrap();
        state
            .seen
            .iter()
            .filter(|seen| seen.call.starts_with(call))
            .cloned()
            .collect()
    }

    /// Waits until a call has come.
    #[track_caller]
    pub(crate) fn wait_for(&self, call: &str) -> Seen {
        self.until(call, |fake| fake.seen(call).pop())
    }

    /// Waits until the client of a held stream has gone.
    #[track_caller]
    pub(crate) fn wait_for_gone(&self) {
        self.until("the client to go", |fake| {
            (fake.state.lock().unwrap().gone > 0).then_some(())
        });
    }

    /// Ends all streams that are held.
    pub(crate) fn end(&self) {
        self.state.lock().unwrap().held.clear();
    }

    #[track_caller]
    fn until<T>(&self, what: &str, probe: impl Fn(&Fake) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = probe(self) {
                return found;
            }
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "waited in vain for {what}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    async fn serve(
        self,
        mut request: Request<Incoming>,
    ) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
        let upgrade = hyper::upgrade::on(&mut request);
        let uri = request.uri().clone();
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        let call = format!("{} {path}", request.method());
        // A client may break off.
        let bytes = request.into_body().collect().await;
        let bytes = bytes.map(|whole| whole.to_bytes()).unwrap_or_default();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let answer = {
            let mut state = self.state.lock().unwrap();
            let key = call.split('?').next().unwrap_or("");
            let answer = match state.answers.get_mut(key) {
                Some(Answer::Turns(turns)) if turns.is_empty() => Some(Answer::Lines(Vec::new())),
                Some(Answer::Turns(turns)) => Some(Answer::Lines(turns.remove(0))),
                other => other.cloned(),
            };
            state.seen.push(Seen { call, body, bytes });
            answer
        };
        let full = |status: u16, bytes: Vec<u8>| {
            let body = Full::new(Bytes::from(bytes)).boxed_unsync();
            Response::builder().status(status).body(body).unwrap()
        };
        Ok(match answer {
            None => full(404, json!({"code": "not_found", "message": "not scripted", "help": null, "exit_code": 1}).to_string().into()),
            Some(Answer::Json(status, value)) => full(status, value.to_string().into()),
            Some(Answer::Lines(lines)) => full(200, text(&lines).into()),
            Some(Answer::Turns(_)) => full(500, Vec::new()),
            Some(Answer::Hold(lines)) => {
                let (end, ended) = mpsc::unbounded_channel();
                self.state.lock().unwrap().held.push(end);
                let held = Held { first: Some(text(&lines).into()), ended, fake: self };
                Response::new(held.boxed_unsync())
            }
            Some(Answer::Exec { stderr, exit }) => upgraded(async move {
                drop(exec(TokioIo::new(upgrade.await.unwrap()), stderr, exit).await);
            }),
            Some(Answer::Print { text, exit }) => upgraded(async move {
                let mut io = TokioIo::new(upgrade.await.unwrap());
                io.write_all(&Frame::data(0, 1, text).to_bytes()).await.unwrap();
                io.write_all(&Frame::control(&exit).to_bytes()).await.unwrap();
                drop(io.shutdown().await);
            }),
            Some(Answer::Break) => upgraded(async move { drop(upgrade.await) }),
        })
    }
}

fn upgraded(
    conversation: impl Future<Output = ()> + Send + 'static,
) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    tokio::spawn(conversation);
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "stack-exec/1")
        .body(Full::default().boxed_unsync())
        .unwrap()
}

fn text(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

async fn exec(
    mut io: TokioIo<hyper::upgrade::Upgraded>,
    stderr: Vec<u8>,
    exit: Value,
) -> std::io::Result<()> {
    io.write_all(&Frame::data(0, 2, stderr).to_bytes()).await?;
    let mut decoder = Decoder::default();
    let mut buffer = [0; 4096];
    'reading: loop {
        let n = io.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        decoder.push(&buffer[..n]);
        while let Some(frame) = decoder.next_frame().map_err(std::io::Error::other)? {
            match frame.kind {
                Kind::Data if frame.payload.is_empty() => break 'reading,
                Kind::Data => {
                    io.write_all(&Frame::data(0, 1, frame.payload).to_bytes())
                        .await?
                }
                Kind::Control | Kind::Credit | Kind::Log => {}
            }
        }
    }
    io.write_all(&Frame::control(&exit).to_bytes()).await?;
    io.shutdown().await
}

/// A body that says its lines and then nothing.
struct Held {
    first: Option<Bytes>,
    ended: mpsc::UnboundedReceiver<()>,
    fake: Fake,
}

impl Body for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return std::task::Poll::Ready(Some(Ok(BodyFrame::data(first))));
        }
        // The channel closes when the test lets go.
        self.ended.poll_recv(context).map(|_| None)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Ok(mut state) = self.fake.state.lock() {
            state.gone += 1;
        }
    }
}

/// A container of the stack `shop` in a state.
pub(crate) fn container(service: &str, state: &str) -> Value {
    json!({
        "id": format!("{:0>64}", service.len()),
        "name": format!("shop-{service}-1"),
        "project": "shop",
        "service": service,
        "number": 1,
        "image": format!("{service}:1"),
        "image_id": "sha256:abc",
        "config_hash": "x",
        "state": state,
        "health": null,
        "exit_code": null,
        "error": null,
        "oom": false,
        "created_ms": 1_700_000_000_000_u64,
        "started_ms": 1_700_000_001_000_u64,
        "finished_ms": null,
        "restarts": 0,
        "pid": 77,
        "boot_id": format!("boot-{service}"),
        "ports": [],
        "networks": [["shop_default", "10.89.0.2"]],
        "command": "run it",
        "memory": 268_435_456,
    })
}

/// What the journal says of the end of a service's [`container`].
pub(crate) fn died(service: &str, code: i32) -> Value {
    json!({"time_ns": 1, "project": "shop", "service": service,
           "id": container(service, "")["id"], "action": "die",
           "attributes": {"exitCode": code.to_string()}})
}

/// The event that a step has ended.
pub(crate) fn finished(kind: &str, name: &str, status: &str) -> Value {
    json!({"type": "step", "kind": kind, "name": name, "status": status, "finished": true,
           "detail": null, "at_ms": 1500})
}

/// The last event of a call that worked.
pub(crate) fn done() -> Value {
    json!({"type": "done", "took_ms": 1600})
}

/// A line of a service's log.
pub(crate) fn log(service: &str, line: &str) -> Value {
    json!({"container": format!("shop-{service}-1"), "service": service, "number": 1,
           "time_ns": 1_700_000_000_000_000_000_u64, "stderr": false, "line": line})
}
