//! How a published port is bound, and what to say when it cannot be.

use std::fs::Permissions;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use socket2::{Domain, Protocol as Transport, SockAddr, Socket, Type};

use super::frame_port::remove_socket;
use crate::config::{Protocol, Publish};
use crate::control::{PublishError, PublishErrorKind};

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Binds what `publish` asks for: one socket, or one per address family. Of
/// several ports that would do, it is `kept` if that is free.
pub(super) fn bind(publish: &Publish, kept: Option<u16>) -> Result<Vec<Socket>, PublishError> {
    if let Some(path) = &publish.host_path {
        return match bind_path(path) {
            Ok(socket) => Ok(vec![socket]),
            Err(error) => Err(explain_path(publish, path, &error)),
        };
    }
    let first = publish.host_port;
    let last = publish.host_port_last.unwrap_or(first);
    let fits = |port: &u16| first == 0 || (first..=last).contains(port);
    let kept = kept.filter(fits);
    let mut failure = None;
    for port in kept.into_iter().chain(first..=last) {
        match bind_at(publish, port) {
            Ok(sockets) => return Ok(sockets),
            Err((address, error)) => {
                failure.get_or_insert((address, error));
            }
        }
    }
    let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), first);
    let failure = failure.unwrap_or((address, io::ErrorKind::AddrInUse.into()));
    let mut error = explain(publish, failure.0, &failure.1);
    if last > first && error.kind == PublishErrorKind::InUse {
        error.message = format!("no port from {first} to {last} is free");
    }
    Err(error)
}

/// One socket per address family at this port; 0 lets the system choose.
fn bind_at(publish: &Publish, port: u16) -> Result<Vec<Socket>, (SocketAddr, io::Error)> {
    let first = publish.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    let wanted = SocketAddr::new(first, port);
    let socket = socket(publish.protocol, wanted).map_err(|error| (wanted, error))?;
    let port = local_address(&socket).map_or(port, |address| address.port());
    let mut sockets = vec![socket];
    if publish.host_ip.is_none() {
        let second = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        match self::socket(publish.protocol, second) {
            Ok(socket) => sockets.push(socket),
            // Whoever has it would get the clients that come by IPv6.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && publish.host_port != 0 => {
                return Err((second, error));
            }
            Err(error) => tracing::debug!(%error, %second, "published for IPv4 only"),
        }
    }
    Ok(sockets)
}

/// A socket in the file system, for this user alone. The process's umask
/// keeps others out until its mode is set.
fn bind_path(path: &Path) -> io::Result<Socket> {
    let address = SockAddr::unix(path)?;
    if is_served(&address)? {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    remove_socket(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address)?;
    let ready = std::fs::set_permissions(path, Permissions::from_mode(0o600))
        .and_then(|()| socket.listen(BACKLOG));
    if let Err(error) = ready {
        let _ = remove_socket(path);
        return Err(error);
    }
    Ok(socket)
}

/// Somebody listens there. A socket whose process was killed is refused; who
/// cannot ask does not know, and must not take its place.
fn is_served(address: &SockAddr) -> io::Result<bool> {
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(false),
            // Its queue of clients is full.
            io::ErrorKind::WouldBlock => Ok(true),
            _ => Err(error),
        },
    }
}

fn explain_path(publish: &Publish, path: &Path, error: &io::Error) -> PublishError {
    let (kind, why) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            PublishErrorKind::InUse,
            "another process listens there".to_owned(),
        ),
        _ => (PublishErrorKind::Other, error.to_string()),
    };
    PublishError {
        id: publish.id.clone(),
        kind,
        message: format!("cannot listen at {}: {why}", path.display()),
        holder: None,
    }
}

/// Where a socket is bound.
pub(super) fn local_address(socket: &Socket) -> Option<SocketAddr> {
    socket.local_addr().ok()?.as_socket()
}

fn socket(protocol: Protocol, address: SocketAddr) -> io::Result<Socket> {
    let (kind, transport) = match protocol {
        Protocol::Tcp => (Type::STREAM, Transport::TCP),
        Protocol::Udp => (Type::DGRAM, Transport::UDP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(transport))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if protocol == Protocol::Tcp {
        // Connections that linger from before do not matter.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    if protocol == Protocol::Tcp {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

fn explain(publish: &Publish, address: SocketAddr, error: &io::Error) -> PublishError {
    let port = address.port();
    let mut holder = None;
    let kind = match error.kind() {
        io::ErrorKind::AddrInUse => PublishErrorKind::InUse,
        io::ErrorKind::PermissionDenied => PublishErrorKind::Reserved,
        io::ErrorKind::AddrNotAvailable => PublishErrorKind::NoAddress,
        _ => PublishErrorKind::Other,
    };
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => {
            holder = self::holder(publish.protocol, address);
            "the port is in use".to_owned()
        }
        io::ErrorKind::PermissionDenied => format!(
            "ports below 1024 are reserved; \
             `sysctl net.ipv4.ip_unprivileged_port_start={port}` allows this one"
        ),
        io::ErrorKind::AddrNotAvailable => "this host does not have the address".to_owned(),
        _ => error.to_string(),
    };
    let message = format!("cannot listen on {address}: {why}");
    PublishError {
        id: publish.id.clone(),
        kind,
        message,
        holder,
    }
}

#[cfg(target_os = "linux")]
fn holder(protocol: Protocol, address: SocketAddr) -> Option<String> {
    super::holder::find(protocol, address)
}

#[cfg(not(target_os = "linux"))]
fn holder(_: Protocol, _: SocketAddr) -> Option<String> {
    None
}

/// Whether a listener on `a` keeps others from `b`'s address.
#[cfg(target_os = "linux")]
pub(super) fn conflicts(a: IpAddr, b: IpAddr) -> bool {
    let any_v6 = |ip: IpAddr| ip == IpAddr::from(Ipv6Addr::UNSPECIFIED);
    a == b
        || any_v6(a)
        || any_v6(b)
        || a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        let publish = Publish {
            id: "p".into(),
            host_ip: None,
            host_port: 80,
            host_port_last: None,
            host_path: None,
            protocol: Protocol::Tcp,
            endpoint: "e".into(),
            container_port: 80,
        };
        let address = SocketAddr::from(([0, 0, 0, 0], 80));
        let error = explain(&publish, address, &io::ErrorKind::PermissionDenied.into());
        assert!(error.message.contains("0.0.0.0:80"), "{error:?}");
        assert!(
            error
                .message
                .contains("net.ipv4.ip_unprivileged_port_start=80"),
            "{error:?}"
        );
    }

    #[test]
    fn a_socket_that_cannot_be_asked_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        // A stale one goes.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = bind_path(&path).unwrap();
        let error = bind_path(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(socket);
        std::fs::remove_file(&path).unwrap();
        // One of another kind has no clients to tell of.
        let other = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        assert!(bind_path(&path).is_err());
        std::os::unix::net::UnixDatagram::unbound()
            .unwrap()
            .send_to(b"x", &path)
            .unwrap();
        drop(other);
    }

    #[test]
    fn an_address_that_is_given_must_be_had() {
        let mut publish = Publish {
            id: "p".into(),
            host_ip: Some("192.0.2.1".parse().unwrap()),
            host_port: 0,
            host_port_last: None,
            host_path: None,
            protocol: Protocol::Udp,
            endpoint: "e".into(),
            container_port: 80,
        };
        let error = bind(&publish, None).unwrap_err();
        assert!(error.message.contains("does not have the address"));
        assert_eq!(error.kind, PublishErrorKind::NoAddress);
        publish.host_ip = Some(Ipv4Addr::LOCALHOST.into());
        let sockets = bind(&publish, None).unwrap();
        assert_eq!(sockets.len(), 1);
        publish.host_port = local_address(&sockets[0]).unwrap().port();
        let error = bind(&publish, None).unwrap_err();
        assert!(error.message.contains("in use"), "{error:?}");
        // Of a range, the next one that is free.
        publish.host_port_last = publish.host_port.checked_add(20);
        let next = bind(&publish, None).unwrap();
        let port = local_address(&next[0]).unwrap().port();
        assert!(port > publish.host_port, "{port}");
        drop(next);
        let kept = bind(&publish, Some(port)).unwrap();
        assert_eq!(local_address(&kept[0]).unwrap().port(), port);
        publish.host_port_last = Some(publish.host_port);
        assert!(bind(&publish, None).is_err());
    }
}
