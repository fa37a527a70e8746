//! Sockets of the host in the service's file system: a process beside the
//! agent listens on each and connects whoever comes to a port of the gateway,
//! which the network daemon joins to the host's socket.
//!
//! It is this program again, with the address in its environment and the
//! listening socket as its standard input. It may have threads, which process
//! 1 must not.

mod inward;

use std::fs;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

pub(crate) use inward::{Inwards, serve as serve_inward, wanted as wanted_inward};

/// Where a relay finds the address it connects to.
const VARIABLE: &str = "VMINIT_RELAY";

/// Connections of one relay at a time.
const MAX: usize = 256;

/// Each direction of a connection has a thread that only copies.
const STACK: usize = 64 << 10;

/// Starts the relay for the mount `n`; gives its socket, which anybody in
/// this VM may use.
pub(crate) fn start(n: usize, to: SocketAddr) -> io::Result<PathBuf> {
    let path = PathBuf::from(format!("/run/relay/{n}"));
    fs::create_dir_all("/run/relay")?;
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    let child = Command::new("/proc/self/exe")
        .env_clear()
        .env(VARIABLE, to.to_string())
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .spawn()?;
    // It ends with the VM; process 1 reaps whatever ends.
    drop(child);
    Ok(path)
}

/// This process is a relay, to this address.
pub(crate) fn wanted() -> Option<SocketAddr> {
    std::env::var(VARIABLE).ok()?.parse().ok()
}

/// Relays for ever.
pub(crate) fn serve(to: SocketAddr) {
    let Ok(socket) = io::stdin().as_fd().try_clone_to_owned() else {
        return;
    };
    let listener = UnixListener::from(socket);
    let places = Places::default();
    loop {
        let Ok((client, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        places.run(&to.to_string(), move || {
            let host = TcpStream::connect_timeout(&to, Duration::from_secs(30))?;
            host.set_nodelay(true)?;
            join(client, host)
        });
    }
}

/// The connections of a relay, [`MAX`] at a time.
#[derive(Debug, Default)]
struct Places(Arc<()>);

impl Places {
    /// Runs a connection to `what` in a thread, if there is place.
    fn run(&self, what: &str, connection: impl FnOnce() -> io::Result<()> + Send + 'static) {
        if Arc::strong_count(&self.0) > MAX {
            return;
        }
        let (place, name) = (Arc::clone(&self.0), what.to_owned());
        let started = thread::Builder::new().stack_size(STACK).spawn(move || {
            if let Err(error) = connection() {
                eprintln!("vminit: a relay to {name}: {error}");
            }
            drop(place);
        });
        if let Err(error) = started {
            eprintln!("vminit: a relay to {what}: {error}");
        }
    }
}

/// Copies both ways until both have ended.
fn join(client: UnixStream, host: TcpStream) -> io::Result<()> {
    let (client_in, host_out) = (client.try_clone()?, host.try_clone()?);
    let inward = thread::Builder::new().stack_size(STACK).spawn(move || {
        let _ = io::copy(&mut &host, &mut &client);
        let _ = client.shutdown(Shutdown::Write);
    })?;
    let _ = io::copy(&mut &client_in, &mut &host_out);
    let _ = host_out.shutdown(Shutdown::Write);
    let _ = inward.join();
    Ok(())
}
