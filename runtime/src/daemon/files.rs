//! The user's file server, `stack-fsd`: started when the first VM needs it.
//! It ends by itself when there is none any more.

use std::io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use stack_api::event::ApiError;
use stack_files::control::{self, Request, Response};
use stack_files::spec::{Session, Share};
use stack_vmm::{AnyBackend, Backend, Process};
use tokio::process::Command;
use tokio::sync::{Mutex, Notify};

use super::{Daemon, guard};

/// Pause before VMs that are about to start are looked at again.
const AGAIN: Duration = Duration::from_secs(1);

/// The file server.
#[derive(Debug)]
pub(super) struct FileServer {
    binary: PathBuf,
    dir: PathBuf,
    // One start at a time.
    turn: Mutex<()>,
    // A VM has been given files.
    used: Notify,
}

/// Who holds the VMs' connections, and whose.
struct Keeper {
    process: Process,
    sessions: Vec<String>,
}

impl FileServer {
    /// The one whose files are in `dir`; nothing is started yet.
    pub(super) fn new(binary: &Path, dir: &Path) -> FileServer {
        FileServer {
            binary: binary.to_path_buf(),
            dir: dir.to_path_buf(),
            turn: Mutex::default(),
            used: Notify::new(),
        }
    }

    async fn call(&self, request: &Request) -> std::io::Result<Response> {
        let (socket, request) = (self.dir.join("ctl"), request.clone());
        tokio::task::spawn_blocking(move || control::call(&socket, &request))
            .await
            .map_err(std::io::Error::other)?
    }

    async fn open(&self, session: Session) -> Result<(), ApiError> {
        let _turn = self.turn.lock().await;
        let request = Request::Open(session);
        let mut said = self.call(&request).await;
        if let Err(error) = &said
            && matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
        {
            // One that had nothing to do has just ended.
            tokio::time::sleep(AGAIN).await;
            said = self.call(&request).await;
        }
        // Only where there is none: a second one would end the VMs of the first.
        if let Err(error) = &said
            && matches!(error.kind(), ConnectionRefused | NotFound)
        {
            self.start().await?;
            said = self.call(&request).await;
        }
        let response = said.map_err(|error| failed(&error))?;
        match response {
            Response::Done => {
                self.used.notify_one();
                Ok(())
            }
            Response::Error { message } => Err(failed(&message)),
            Response::Status { .. } => Err(failed(&"an answer that was not asked for")),
        }
    }

    async fn alive(&self) -> bool {
        self.call(&Request::Status).await.is_ok()
    }

    /// The keeper that runs now.
    ///
    /// # Errors
    /// There may be one, but it does not answer.
    async fn keeper(&self) -> std::io::Result<Option<Keeper>> {
        match self.call(&Request::Status).await {
            Ok(Response::Status {
                keeper, sessions, ..
            }) => Ok(Some(Keeper {
                process: Process::of(keeper)?,
                sessions,
            })),
            Ok(_) => Err(std::io::Error::other("an answer that was not asked for")),
            // Its socket goes with it.
            Err(error) if matches!(error.kind(), ConnectionRefused | NotFound) => Ok(None),
            Err(error) => Err(error),
        }
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
            .arg(self.dir.join("ctl"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        // The runtime takes note of its end.
        drop(command.spawn().map_err(|error| failed(&error))?);
        for _ in 0..1000 {
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
    ApiError::new("fsd", format!("the file server failed: {why}"))
}

impl Daemon {
    /// Makes a VM's file system; gives its socket, in the VM's `dir`, for the
    /// VMM.
    ///
    /// # Errors
    /// The file server cannot be started, or a directory is missing.
    pub async fn open_files(
        &self,
        id: &str,
        dir: &Path,
        shares: &[Share],
    ) -> Result<Option<PathBuf>, ApiError> {
        if shares.is_empty() {
            return Ok(None);
        }
        let socket = dir.join("files");
        if matches!(self.backend, AnyBackend::Qemu(_)) {
            let session = Session {
                id: id.to_owned(),
                socket: socket.clone(),
                shares: shares.to_vec(),
            };
            self.files.open(session).await?;
        }
        Ok(Some(socket))
    }

    /// The VM of these files does not come: they are not kept for it.
    pub async fn close_files(&self, id: &str) {
        let id = id.to_owned();
        if let Err(error) = self.files.call(&Request::Close { id }).await {
            tracing::debug!(%error, "the files of a VM stay open for a while");
        }
    }

    /// Whoever holds the VMs' connections to the file server may be killed: a
    /// VMM does not make them anew, so the VMs that have files end. Their
    /// restart policy decides what follows.
    pub(super) async fn keep_files(self: std::sync::Arc<Self>) {
        if matches!(self.backend, AnyBackend::Fake(_)) {
            return;
        }
        loop {
            // Whoever runs now was given files before the keeper is asked.
            let users = self.users_of_files();
            let keeper = match self.files.keeper().await {
                Ok(keeper) => keeper,
                Err(error) => {
                    tracing::warn!(%error, "the file server does not answer");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            let sessions = keeper.as_ref().map(|keeper| &keeper.sessions[..]);
            let starting = self.end_vms_without_files(users, sessions.unwrap_or_default());
            match keeper {
                // One that ended in between is seen at once.
                Some(keeper) if !starting => keeper.process.wait().await,
                _ if starting => tokio::time::sleep(AGAIN).await,
                _ => self.files.used.notified().await,
            }
        }
    }

    /// The containers that have files and a VM, or are about to have one.
    fn users_of_files(&self) -> Vec<(String, Option<Process>)> {
        let live: Vec<_> = guard(&self.live).keys().cloned().collect();
        let handles = self.handles(None).into_iter();
        let users = handles.filter_map(|handle| {
            let record = handle.record();
            let is_one = live.contains(&handle.id) && !record.blueprint.files.is_empty();
            is_one.then(|| (handle.id.clone(), record.process))
        });
        users.collect()
    }

    /// Ends the VMs that are not among the keeper's. `true`: one may be about
    /// to start without its files, so that it must be looked at again.
    fn end_vms_without_files(
        &self,
        users: Vec<(String, Option<Process>)>,
        sessions: &[String],
    ) -> bool {
        let mut starting = false;
        for (id, process) in users {
            match process {
                _ if sessions.contains(&id) => {}
                None => starting = true,
                Some(process) if self.backend.alive(&process) => {
                    tracing::error!(container = id, "the file server is gone: its VM ends");
                    let why = "its file server, stack-fsd, has ended";
                    stack_vmm::note_last_word(&self.paths.vm(&id), why);
                    self.backend.kill(&process);
                }
                Some(_) => {}
            }
        }
        starting
    }
}
