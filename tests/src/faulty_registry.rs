//! A registry that goes wrong in one way: it stands in front of the test
//! registry and hands everything else through.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tiny_http::{Header, Method, Request, Response, Server};

use crate::setup;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Everybody must be `user` with the password `pass`.
    Password,
    /// The last byte of each layer and configuration is another one.
    Corrupt,
    /// The second half of each layer never comes.
    Stall,
}

/// The registry; dropping it ends it.
#[derive(Debug)]
pub struct FaultyRegistry {
    port: u16,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    fault: Mutex<Fault>,
    stalled: AtomicUsize,
    over: AtomicBool,
    upstream: String,
}

impl State {
    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultyRegistry {
    /// Starts it on a free port.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn new(fault: Fault) -> FaultyRegistry {
        let server = Server::http("127.0.0.1:0").expect("cannot start a registry");
        let port = server
            .server_addr()
            .to_ip()
            .expect("it listens on an address")
            .port();
        let state = Arc::new(State {
            fault: Mutex::new(fault),
            stalled: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            upstream: setup::registry(),
        });
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            while !shared.over.load(Ordering::Relaxed) {
                if let Ok(Some(request)) = server.recv_timeout(Duration::from_millis(100)) {
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || answer(request, &shared));
                }
            }
        });
        FaultyRegistry {
            port,
            state,
            thread: Some(thread),
        }
    }

    /// `127.0.0.1:PORT/library/NAME`.
    pub fn image(&self, name: &str) -> String {
        format!("127.0.0.1:{}/library/{name}", self.port)
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Lets something else go wrong from now on.
    pub fn set(&self, fault: Fault) {
        *self
            .state
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Layers that have been held back so far.
    pub fn stalled(&self) -> usize {
        self.state.stalled.load(Ordering::Relaxed)
    }
}

impl Drop for FaultyRegistry {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

// user:pass
const CREDENTIALS: &str = "Basic dXNlcjpwYXNz";

fn answer(request: Request, state: &State) {
    let fault = state.fault();
    if fault == Fault::Password
        && header_of(&request, "Authorization").as_deref() != Some(CREDENTIALS)
    {
        let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        let challenge = header("WWW-Authenticate", r#"Basic realm="test""#);
        let _ = request.respond(
            Response::from_string(body)
                .with_status_code(401)
                .with_header(challenge),
        );
        return;
    }
    match fetch(&request, state) {
        Ok((status, headers, mut body)) => {
            let blob = request.url().contains("/blobs/") && *request.method() == Method::Get;
            if blob
                && fault == Fault::Corrupt
                && let Some(last) = body.last_mut()
            {
                *last ^= 1;
            }
            // Only layers: the configuration is small and comes first.
            if blob && fault == Fault::Stall && body.len() > 64 << 10 {
                return stall(request, status, headers, &body, state);
            }
            let mut response = Response::from_data(body).with_status_code(status);
            for one in headers {
                response.add_header(one);
            }
            let _ = request.respond(response);
        }
        Err(error) => {
            let _ = request.respond(Response::from_string(error).with_status_code(502));
        }
    }
}

type Fetched = (u16, Vec<Header>, Vec<u8>);

fn fetch(request: &Request, state: &State) -> Result<Fetched, String> {
    let url = format!("{}{}", state.upstream, request.url());
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .build();
    let agent = config.new_agent();
    let mut upstream = match request.method() {
        Method::Head => agent.head(&url),
        _ => agent.get(&url),
    };
    for name in ["Accept", "Range"] {
        if let Some(value) = header_of(request, name) {
            upstream = upstream.header(name, value);
        }
    }
    let mut answer = upstream.call().map_err(|error| error.to_string())?;
    let headers = [
        "Content-Type",
        "Docker-Content-Digest",
        "Content-Range",
        "Accept-Ranges",
    ]
    .into_iter()
    .filter_map(|name| Some(header(name, answer.headers().get(name)?.to_str().ok()?)))
    .collect();
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(1 << 30).read_to_vec();
    Ok((status, headers, body.map_err(|error| error.to_string())?))
}

/// Half of it, and then nothing until the fault is mended.
fn stall(request: Request, status: u16, headers: Vec<Header>, body: &[u8], state: &State) {
    let mut raw = request.into_writer();
    let mut head = format!("HTTP/1.1 {status} OK\r\nContent-Length: {}\r\n", body.len());
    for one in headers {
        head.push_str(&format!("{}: {}\r\n", one.field, one.value));
    }
    head.push_str("\r\n");
    let half = &body[..body.len() / 2];
    if raw
        .write_all(head.as_bytes())
        .and_then(|()| raw.write_all(half))
        .is_err()
    {
        return;
    }
    let _ = raw.flush();
    state.stalled.fetch_add(1, Ordering::Relaxed);
    while state.fault() == Fault::Stall && !state.over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn header_of(request: &Request, name: &'static str) -> Option<String> {
    let found = request
        .headers()
        .iter()
        .find(|header| header.field.equiv(name))?;
    Some(found.value.to_string())
}

fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("a valid header")
}
