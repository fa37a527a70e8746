//! The stack's `stack-netd` process: started on demand, told the whole
//! wanted state each time, started again when it dies.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stack_api::container::Published;
use stack_api::event::ApiError;
use stack_netd::config::{Config, Protocol, Publish};
use stack_netd::control::{PublishErrorKind, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::{Mutex, watch};

/// A port that could not be bound.
#[derive(Debug, Clone)]
pub struct PublishFailure {
    /// What is in the way.
    pub kind: PublishErrorKind,
    /// Why.
    pub message: String,
    /// Who has it.
    pub holder: Option<String>,
}

/// What the daemon bound, and what it could not, by publish id.
#[derive(Debug, Default)]
pub struct Applied {
    /// Bound.
    pub published: BTreeMap<String, Vec<SocketAddr>>,
    /// Not bound.
    pub failed: BTreeMap<String, PublishFailure>,
}

/// Ports that are said to be bound, and for which publish.
#[derive(Debug, Default)]
struct Pretended {
    bound: BTreeMap<(u16, bool), String>,
}

impl Pretended {
    fn apply(&mut self, config: Config) -> Applied {
        let fits = |publish: &Publish, (port, udp): (u16, bool)| {
            let last = publish.host_port_last.unwrap_or(publish.host_port);
            (publish.host_port..=last).contains(&port) && udp == (publish.protocol == Protocol::Udp)
        };
        self.bound.retain(|port, id| {
            let mut wanted = config.publish.iter();
            wanted.any(|publish| publish.id == *id && fits(publish, *port))
        });
        let mut applied = Applied::default();
        for publish in config.publish {
            let udp = publish.protocol == Protocol::Udp;
            let last = publish.host_port_last.unwrap_or(publish.host_port);
            let mut ports = publish.host_port..=last;
            let port = ports.find(|port| {
                let holder = self.bound.get(&(*port, udp));
                *port == 0 || holder.is_none_or(|holder| *holder == publish.id)
            });
            let Some(port) = port else {
                let failure = PublishFailure {
                    kind: PublishErrorKind::InUse,
                    message: "the port is in use".to_owned(),
                    holder: None,
                };
                applied.failed.insert(publish.id, failure);
                continue;
            };
            self.bound.insert((port, udp), publish.id.clone());
            let ip = publish.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
            let address = SocketAddr::new(ip, port);
            applied.published.insert(publish.id, vec![address]);
        }
        applied
    }
}

/// One stack's network daemon.
#[derive(Debug, Clone)]
pub struct Netd {
    binary: PathBuf,
    dir: PathBuf,
    pretend: bool,
    // One request at a time, and one start at a time.
    turn: Arc<Mutex<Pretended>>,
    // Counts what was applied; none before the first, `u64::MAX` at the end.
    served: Arc<watch::Sender<u64>>,
    kept: Arc<AtomicBool>,
}

/// Bytes of an answer before a stream.
const LONGEST_ANSWER: usize = 4096;

/// [`Netd::served`] of one that was shut down.
const OVER: u64 = u64::MAX;

impl Netd {
    /// The daemon whose files are in `dir`; nothing is started yet.
    pub fn new(binary: &Path, dir: &Path) -> Netd {
        let (binary, dir) = (binary.to_path_buf(), dir.to_path_buf());
        Netd {
            binary,
            dir,
            pretend: false,
            turn: Arc::default(),
            served: Arc::new(watch::Sender::new(0)),
            kept: Arc::default(),
        }
    }

    /// No daemon at all, for made-up VMs: every port is said to be bound, but
    /// each only once.
    pub fn pretend() -> Netd {
        let (binary, dir) = (PathBuf::new(), PathBuf::new());
        Netd {
            binary,
            dir,
            pretend: true,
            turn: Arc::default(),
            served: Arc::new(watch::Sender::new(0)),
            kept: Arc::default(),
        }
    }

    fn control(&self) -> PathBuf {
        self.dir.join("ctl")
    }

    /// Makes the daemon serve exactly what `config` gives.
    ///
    /// # Errors
    /// The daemon cannot be started or does not answer.
    pub async fn apply(
        &self,
        config: impl FnOnce() -> Result<Config, ApiError>,
    ) -> Result<Applied, ApiError> {
        // What is wanted is looked up when it is this one's turn: an older
        // state must not come after a newer one.
        let mut turn = self.turn.lock().await;
        let config = config()?;
        if self.pretend {
            return Ok(turn.apply(config));
        }
        let request = Request::Apply(config);
        let response = match self.call(&request).await {
            Ok(response) => response,
            Err(_) => {
                self.start().await?;
                self.call(&request).await.map_err(|error| failed(&error))?
            }
        };
        self.served.send_modify(|count| {
            if *count != OVER {
                *count += 1;
            }
        });
        match response {
            Response::Applied { published, errors } => Ok(Applied {
                published: published.into_iter().map(|p| (p.id, p.addresses)).collect(),
                failed: errors
                    .into_iter()
                    .map(|e| {
                        (
                            e.id,
                            PublishFailure {
                                kind: e.kind,
                                message: e.message,
                                holder: e.holder,
                            },
                        )
                    })
                    .collect(),
            }),
            Response::Error { message } => Err(failed(&message)),
            _ => Err(failed(&"an answer that was not asked for")),
        }
    }

    /// Its counters; `None` when it does not run.
    pub async fn status(&self) -> Option<Response> {
        if self.pretend {
            return None;
        }
        self.call(&Request::Status).await.ok()
    }

    /// A stream of the frames of these endpoints.
    ///
    /// # Errors
    /// The daemon does not run, or there is no such endpoint.
    pub async fn capture(&self, endpoints: Vec<String>) -> Result<UnixStream, ApiError> {
        let begun = async {
            let mut stream = self.ask(&Request::Capture(endpoints)).await?;
            // The answer is a line; what comes after it is not to be touched.
            let mut line = Vec::new();
            while line.last() != Some(&b'\n') && line.len() < LONGEST_ANSWER {
                line.push(stream.read_u8().await?);
            }
            let answer: Response = serde_json::from_slice(&line)?;
            Ok::<_, std::io::Error>((stream, answer))
        };
        match begun.await.map_err(|error| failed(&error))? {
            (stream, Response::Capturing) => Ok(stream),
            (_, Response::Error { message }) => Err(failed(&message)),
            _ => Err(failed(&"an answer that was not asked for")),
        }
    }

    async fn ask(&self, request: &Request) -> std::io::Result<UnixStream> {
        let mut stream = UnixStream::connect(self.control()).await?;
        let mut request = serde_json::to_vec(request)?;
        request.push(b'\n');
        stream.write_all(&request).await?;
        Ok(stream)
    }

    /// It runs and answers.
    pub async fn alive(&self) -> bool {
        self.pretend || self.call(&Request::Status).await.is_ok()
    }

    /// Ends the daemon and removes its files.
    pub async fn shutdown(&self) {
        if self.pretend {
            return;
        }
        let _turn = self.turn.lock().await;
        self.served.send_replace(OVER);
        let _ = self.call(&Request::Shutdown).await;
        let _ = std::fs::remove_dir_all(&self.dir);
    }

    /// Nobody has asked this before: whoever does keeps the daemon running.
    pub fn is_unkept(&self) -> bool {
        !self.kept.swap(true, Ordering::Relaxed)
    }

    /// Waits until the daemon is gone, or is found not to be there, although
    /// nobody ended it. `false`: it was ended, or never is.
    pub async fn lost(&self) -> bool {
        if self.pretend {
            return false;
        }
        // The daemon never says anything more here: it is read for its end.
        let watching = async {
            let mut stream = self.ask(&Request::Watch).await?;
            let mut rest = [0; 256];
            while stream.read(&mut rest).await? > 0 {}
            Ok::<(), std::io::Error>(())
        };
        if let Err(error) = watching.await {
            tracing::debug!(%error, "the network daemon cannot be watched");
        }
        *self.served.borrow() != OVER
    }

    /// Waits until something is served again. `false`: nothing will be.
    pub async fn serves_again(&self) -> bool {
        let mut served = self.served.subscribe();
        served.changed().await.is_ok() && *served.borrow() != OVER
    }

    async fn call(&self, request: &Request) -> std::io::Result<Response> {
        let (control, request) = (self.control(), request.clone());
        tokio::task::spawn_blocking(move || stack_netd::control::call(&control, &request))
            .await
            .map_err(std::io::Error::other)?
    }

    async fn start(&self) -> Result<(), ApiError> {
        crate::paths::private_dir(&self.dir).map_err(|error| failed(&error))?;
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join("log"))
            .map_err(|error| failed(&error))?;
        let mut command = Command::new("setsid");
        command
            .arg(&self.binary)
            .arg("--control")
            .arg(self.control())
            .arg("--config")
            .arg(self.dir.join("config.json"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        // The runtime takes note of its end.
        drop(command.spawn().map_err(|error| failed(&error))?);
        for _ in 0..200 {
            if self.alive().await {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let last = log.lines().last().unwrap_or("it said nothing").to_owned();
        Err(failed(&format!("it did not come up: {last}")))
    }
}

fn failed(why: &dyn std::fmt::Display) -> ApiError {
    ApiError::new("netd", format!("the network daemon failed: {why}"))
}

/// One publish's addresses as the API shows them.
pub fn published(target: u16, udp: bool, addresses: &[SocketAddr]) -> Vec<Published> {
    addresses
        .iter()
        .map(|address| Published {
            host_ip: address.ip(),
            host_port: address.port(),
            target,
            udp,
        })
        .collect()
}
