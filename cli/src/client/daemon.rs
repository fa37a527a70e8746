//! Finding the daemon, and starting it when nobody listens.
//!
//! Several commands may get here at the same time: a lock lets one of them
//! start the daemon while the others wait for the socket. A daemon that is
//! just going away still holds its own lock; its successor is started when
//! that is free.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use stack_api::request::Version;
use stack_api::settings;
use tokio::net::UnixStream;

use super::Client;
use crate::detach;
use crate::error::Error;
use crate::paths::Paths;
use crate::ui::{Ui, untrusted};

/// How long a start may take: it may have many VMs to take over.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the socket is tried.
const POLL: Duration = Duration::from_millis(3);

/// How long one that was killed may still take connections.
const GOING_AWAY: Duration = Duration::from_secs(2);

/// After this long the user is told what is being waited for.
const SAY_AFTER: Duration = Duration::from_millis(1500);

/// A log larger than this is put aside before the daemon is started.
const MAX_LOG: u64 = 16 << 20;

/// A client for the daemon, which is started if need be. A daemon of another
/// version, or with other settings than this command's, gets a warning.
///
/// # Errors
/// It cannot be started.
pub(crate) async fn connect(ui: Ui) -> Result<Client, Error> {
    let paths = Paths::from_env()?;
    if !listens(&paths.socket).await? {
        start(ui, &paths).await?;
    }
    let client = Client::new(&paths.socket);
    let began = Instant::now();
    let version: Version = loop {
        match client.get("/v1/version").await {
            // It was just going away.
            Err(Error::Lost(_) | Error::Unreachable { .. }) if began.elapsed() < GOING_AWAY => {
                tokio::time::sleep(POLL).await;
                start(ui, &paths).await?;
            }
            answer => break answer?,
        }
    };
    if version.version != env!("CARGO_PKG_VERSION") {
        ui.warn(format_args!(
            "this is stack {}, but stackd {} is running (process {}); end it to let the new one \
             take over, the services go on: kill {}",
            env!("CARGO_PKG_VERSION"),
            version.version,
            version.pid,
            version.pid,
        ));
    }
    warn_of_settings(ui, &version);
    Ok(client)
}

/// Variables of this command that the daemon has otherwise have no effect.
fn warn_of_settings(ui: Ui, version: &Version) {
    let Some(theirs) = &version.settings else {
        return;
    };
    let own = settings::own();
    let names = settings::without_effect(&own, theirs);
    if names.is_empty() {
        return;
    }
    let has = match names.as_slice() {
        [_] => "has",
        _ => "have",
    };
    ui.warn(format_args!(
        "{} {has} no effect: stackd, which is running, was started with other values; end it, \
         the services go on, and the next command starts it with these: kill {}",
        names.join(", "),
        version.pid,
    ));
}

/// A client for the daemon if one is running.
pub(crate) async fn running() -> Option<Client> {
    let paths = Paths::from_env().ok()?;
    match listens(&paths.socket).await {
        Ok(true) => Some(Client::new(&paths.socket)),
        _ => None,
    }
}

/// Somebody accepts connections there.
async fn listens(socket: &Path) -> Result<bool, Error> {
    match UnixStream::connect(socket).await {
        Ok(_) => Ok(true),
        Err(error)
            if matches!(
                error.kind(),
                // The last is what a caller gets whom one that ends has not taken.
                io::ErrorKind::NotFound
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::ConnectionReset
            ) =>
        {
            Ok(false)
        }
        Err(source) => Err(Error::Unreachable {
            socket: socket.to_path_buf(),
            source,
        }),
    }
}

async fn start(ui: Ui, paths: &Paths) -> Result<(), Error> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&paths.data)
        .map_err(|source| file_error("cannot make the directory", &paths.data, source))?;
    let began = Instant::now();
    let mut said = false;
    let lock = open_lock(&paths.start_lock())?;
    loop {
        // The socket first: whoever held the lock may have done the work.
        if listens(&paths.socket).await? {
            return Ok(());
        }
        if try_lock(&lock) && !is_locked(&paths.daemon_lock()) {
            match launch(paths).await? {
                Launched::Listens => return Ok(()),
                Launched::NotNeeded => {}
            }
        }
        if !said && began.elapsed() > SAY_AFTER {
            said = true;
            ui.note("waiting for stackd …");
        }
        if began.elapsed() > PATIENCE {
            return Err(Error::Start {
                why: format!("it does not listen after {} s", PATIENCE.as_secs()),
                help: Some(format!("its log is {}", paths.log().display())),
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// What became of a process that was started.
enum Launched {
    /// It serves.
    Listens,
    /// It ended because another one serves, or is about to end.
    NotNeeded,
}

/// Starts the daemon and waits until it listens or dies. The lock is held.
async fn launch(paths: &Paths) -> Result<Launched, Error> {
    let program = find()?;
    let log = paths.log();
    let (file, from) = open_log(&log).map_err(|source| file_error("cannot write", &log, source))?;
    let mut child: Child = detach::spawn(&program, file).map_err(|error| Error::Start {
        why: format!("{}: {error}", program.display()),
        help: None,
    })?;
    let began = Instant::now();
    loop {
        if listens(&paths.socket).await? {
            return Ok(Launched::Listens);
        }
        if let Ok(Some(status)) = child.try_wait() {
            if is_locked(&paths.daemon_lock()) {
                return Ok(Launched::NotNeeded);
            }
            return Err(died(&last_words(&log, from), &status.to_string(), &log));
        }
        if began.elapsed() > PATIENCE {
            return Err(Error::Start {
                why: format!("it does not listen after {} s", PATIENCE.as_secs()),
                help: Some(format!("its log is {}", log.display())),
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// `stackd` beside this program, else in `PATH`.
///
/// # Errors
/// It is in neither.
pub(crate) fn find() -> Result<PathBuf, Error> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.canonicalize().ok())
        .map(|exe| exe.with_file_name("stackd"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path).map(|dir| dir.join("stackd")))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Error::Start {
            why: "stackd is neither beside this program nor in PATH".to_owned(),
            help: Some("`make install` puts both into the same directory".to_owned()),
        })
}

/// Its last words as an error: the line that begins with its name says why,
/// and the indented one after it what to do.
fn died(words: &str, status: &str, log: &Path) -> Error {
    let lines: Vec<&str> = words.lines().collect();
    if let Some(at) = lines.iter().rposition(|line| line.starts_with("stackd: ")) {
        let help = lines[at + 1..]
            .iter()
            .find_map(|line| line.trim().strip_prefix("help: "));
        let help = help.map_or_else(|| format!("its log is {}", log.display()), str::to_owned);
        let why = lines[at].trim_start_matches("stackd: ").to_owned();
        return Error::Start {
            why,
            help: Some(help),
        };
    }
    let tail = lines[lines.len().saturating_sub(5)..].join("\n");
    let why = if tail.is_empty() {
        format!("it ended at once ({status})")
    } else {
        format!("it ended at once ({status}) and said:\n{tail}")
    };
    Error::Start {
        why,
        help: Some(format!("its log is {}", log.display())),
    }
}

/// The log, for appending, and where its end is.
fn open_log(path: &Path) -> io::Result<(File, u64)> {
    if std::fs::metadata(path).is_ok_and(|meta| meta.len() > MAX_LOG) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let end = file.metadata()?.len();
    Ok((file, end))
}

fn last_words(log: &Path, from: u64) -> String {
    let mut text = Vec::new();
    if let Ok(mut file) = File::open(log) {
        let end = file.metadata().map_or(0, |meta| meta.len());
        let from = from.max(end.saturating_sub(8 << 10));
        if file.seek(SeekFrom::Start(from)).is_ok() {
            drop(file.take(8 << 10).read_to_end(&mut text));
        }
    }
    let text = String::from_utf8_lossy(&text);
    text.lines()
        .map(untrusted::for_terminal)
        .collect::<Vec<_>>()
        .join("\n")
}

fn open_lock(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| file_error("cannot write", path, source))
}

fn try_lock(lock: &File) -> bool {
    flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Somebody else holds the lock.
fn is_locked(path: &Path) -> bool {
    // Shared, and given back at once: this must not look like a holder.
    File::open(path).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

fn file_error(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File {
        doing,
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_say_why() {
        let words =
            "INFO starting\nstackd: the guest's vmlinux is missing\n  help: run `make kernel`\n";
        let error = died(words, "exit status: 1", Path::new("/x/stackd.log"));
        assert_eq!(
            error.to_string(),
            "stackd cannot be started: the guest's vmlinux is missing"
        );
        assert_eq!(error.help().unwrap(), "run `make kernel`");
        let error = died("", "signal: 9", Path::new("/x/stackd.log"));
        assert!(error.to_string().contains("signal: 9"), "{error}");
        assert!(error.help().unwrap().contains("/x/stackd.log"));
    }

    #[test]
    fn a_lock_is_seen_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert!(!is_locked(&path));
        let lock = open_lock(&path).unwrap();
        assert!(!is_locked(&path));
        assert!(try_lock(&lock));
        assert!(is_locked(&path));
        drop(lock);
        assert!(!is_locked(&path));
    }

    #[test]
    fn a_large_log_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stackd.log");
        File::create(&path).unwrap().set_len(MAX_LOG + 1).unwrap();
        let (_, end) = open_log(&path).unwrap();
        assert_eq!(end, 0);
        assert!(dir.path().join("stackd.log.1").exists());
    }
}
