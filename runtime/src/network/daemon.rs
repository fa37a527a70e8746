//! The stack's `stack-netd` process: started on demand, told the whole
//! wanted state each time, started again when it dies.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use stack_api::container::Published;
use stack_api::event::ApiError;
use stack_netd::config::{Config, Protocol, Publish};
use stack_netd::control::{Request, Response};
use tokio::sync::Mutex;

/// A port that could not be bound.
#[derive(Debug, Clone)]
pub struct PublishFailure {
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
        let key = |publish: &Publish| (publish.host_port, publish.protocol == Protocol::Udp);
        self.bound.retain(|port, id| {
            let mut wanted = config.publish.iter();
            wanted.any(|publish| publish.id == *id && key(publish) == *port)
        });
        let mut applied = Applied::default();
        for publish in config.publish {
            let holder = self
                .bound
                .entry(key(&publish))
                .or_insert(publish.id.clone());
            if publish.host_port != 0 && *holder != publish.id {
                let message = "the port is in use".to_owned();
                let failure = PublishFailure {
                    message,
                    holder: None,
                };
                applied.failed.insert(publish.id, failure);
                continue;
            }
            let ip = publish.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
            let address = SocketAddr::new(ip, publish.host_port);
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
}

impl Netd {
    /// The daemon whose files are in `dir`; nothing is started yet.
    pub fn new(binary: &Path, dir: &Path) -> Netd {
        let (binary, dir) = (binary.to_path_buf(), dir.to_path_buf());
        Netd {
            binary,
            dir,
            pretend: false,
            turn: Arc::default(),
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
        match response {
            Response::Applied { published, errors } => Ok(Applied {
                published: published.into_iter().map(|p| (p.id, p.addresses)).collect(),
                failed: errors
                    .into_iter()
                    .map(|e| {
                        (
                            e.id,
                            PublishFailure {
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
        let _ = self.call(&Request::Shutdown).await;
        let _ = std::fs::remove_dir_all(&self.dir);
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
        let mut child = command.spawn().map_err(|error| failed(&error))?;
        std::thread::spawn(move || child.wait());
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
