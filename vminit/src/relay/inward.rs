//! Sockets of the service that the host reaches: a process for each listens at
//! a TCP port for the network's gateway, and connects it to the socket in the
//! service's root. It is this program again, with its order in the environment
//! and the listening socket as its standard input. Which gateways there are is
//! in a file, for it changes while the relays run.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use stack_protocol::config::Inward;

use super::{Places, join};
use crate::rootfs::ROOT;
use crate::within::Root;

/// Where such a process finds its order.
const VARIABLE: &str = "VMINIT_RELAY_INWARD";

/// Where the relays find the addresses that clients may come from.
const GATEWAYS: &str = "/run/relay/gateways";

/// Those that run.
#[derive(Debug, Default)]
pub(crate) struct Inwards {
    running: Vec<(Inward, OwnedFd)>,
    gateways: Vec<IpAddr>,
}

impl Inwards {
    /// Has exactly these run; those that stay are not interrupted.
    pub(crate) fn apply(&mut self, wanted: &[Inward]) -> io::Result<()> {
        let same = |a: &Inward, b: &Inward| (a.port, &a.path) == (b.port, &b.path);
        self.running.retain(|(order, process)| {
            let stays = wanted.iter().any(|wanted| same(wanted, order));
            if !stays {
                let _ = pidfd_send_signal(process, Signal::KILL);
            }
            stays
        });
        let Some(first) = wanted.first() else {
            return Ok(());
        };
        if self.gateways != first.gateways {
            write_gateways(&first.gateways)?;
            self.gateways.clone_from(&first.gateways);
        }
        for order in wanted {
            if self.running.iter().all(|(known, _)| !same(known, order)) {
                let process = start(order).map_err(|error| {
                    io::Error::other(format!("{}: port {}: {error}", order.path, order.port))
                })?;
                self.running.push((order.clone(), process));
            }
        }
        Ok(())
    }
}

/// The relays read all of it, whenever they do.
fn write_gateways(gateways: &[IpAddr]) -> io::Result<()> {
    let new = format!("{GATEWAYS}.new");
    fs::create_dir_all("/run/relay")?;
    fs::write(&new, serde_json::to_string(gateways)?)?;
    fs::rename(&new, GATEWAYS)
}

fn start(order: &Inward) -> io::Result<OwnedFd> {
    let listener = listen(order.port)?;
    let child = Command::new("/proc/self/exe")
        .env_clear()
        .env(VARIABLE, serde_json::to_string(order)?)
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .spawn()?;
    // Process 1 reaps whatever ends.
    let pid = Pid::from_child(&child);
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// The last holder of the port may be ending still.
fn listen(port: u16) -> io::Result<TcpListener> {
    let any: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
    let mut last = io::ErrorKind::AddrInUse.into();
    for _ in 0..50 {
        for ip in any {
            match TcpListener::bind((ip, port)) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = error,
            }
        }
        if last.kind() != io::ErrorKind::AddrInUse {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err(last)
}

/// This process is such a relay.
pub(crate) fn wanted() -> Option<Inward> {
    serde_json::from_str(&std::env::var(VARIABLE).ok()?).ok()
}

/// Relays for ever.
pub(crate) fn serve(order: &Inward) {
    let Ok(socket) = io::stdin().as_fd().try_clone_to_owned() else {
        return;
    };
    let listener = TcpListener::from(socket);
    let places = Places::default();
    loop {
        let client = match listener.accept() {
            // Only who has the host's socket comes from the gateway's address:
            // the switch sees to that.
            Ok((client, from)) if is_gateway(from) => client,
            Ok(_) => continue,
            Err(_) => {
                std::thread::sleep(std::time::Duration::from_millis(100));
                continue;
            }
        };
        let path = order.path.clone();
        places.run(&order.path, move || {
            let service = connect(&path).inspect_err(|_| client.reset())?;
            client.set_nodelay(true)?;
            join(service, client)
        });
    }
}

fn is_gateway(from: SocketAddr) -> bool {
    let gateways = fs::read(GATEWAYS).unwrap_or_default();
    let gateways: Vec<IpAddr> = serde_json::from_slice(&gateways).unwrap_or_default();
    gateways.contains(&from.ip().to_canonical())
}

/// The path is the image's and the service's, and may hold symbolic links.
fn connect(path: &str) -> io::Result<UnixStream> {
    let socket = Root::open(ROOT)?.existing(path)?;
    UnixStream::connect(socket.path())
}

trait Reset {
    /// The client shall see that nobody is there.
    fn reset(&self);
}

impl Reset for TcpStream {
    fn reset(&self) {
        let now = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        let _ = nix::sys::socket::setsockopt(self, nix::sys::socket::sockopt::Linger, &now);
    }
}
