//! A daemon of the test's own, and configurations for it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use stack_netd::config::{Config, Endpoint, Network, Protocol, Publish, Transport};
use stack_netd::control::{Request, Response, call};
use tempfile::TempDir;

use crate::guest::{Guest, Link};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running daemon.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) dir: TempDir,
    resolvers: Vec<SocketAddr>,
    descriptors: u32,
}

impl Daemon {
    pub(crate) fn start() -> Daemon {
        Daemon::with_resolvers(&[])
    }

    pub(crate) fn with_resolvers(resolvers: &[SocketAddr]) -> Daemon {
        Daemon::with(resolvers, 1024)
    }

    /// One that may have so many descriptors.
    pub(crate) fn with_descriptors(descriptors: u32) -> Daemon {
        Daemon::with(&[], descriptors)
    }

    fn with(resolvers: &[SocketAddr], descriptors: u32) -> Daemon {
        let dir = tempfile::Builder::new().prefix("nd").tempdir().unwrap();
        let resolvers = resolvers.to_vec();
        let child = spawn(&dir, &resolvers, descriptors);
        let mut daemon = Daemon {
            child,
            dir,
            resolvers,
            descriptors,
        };
        daemon.wait();
        daemon
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn call(&self, request: &Request) -> Response {
        call(&self.path("ctl"), request).unwrap()
    }

    /// Applies; the published addresses by id. Panics unless all went well.
    pub(crate) fn apply(&self, config: &Config) -> Vec<(String, Vec<SocketAddr>)> {
        match self.call(&Request::Apply(config.clone())) {
            Response::Applied { published, errors } if errors.is_empty() => {
                published.into_iter().map(|p| (p.id, p.addresses)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn drops(&self, reason: &str) -> u64 {
        match self.call(&Request::Status) {
            Response::Status { drops, .. } => drops.get(reason).copied().unwrap_or(0),
            other => panic!("{other:?}"),
        }
    }

    /// Processor time that it has used.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    pub(crate) fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.dir, &self.resolvers, self.descriptors);
        self.wait();
    }

    fn wait(&mut self) {
        let start = Instant::now();
        while call(&self.path("ctl"), &Request::Status).is_err() {
            assert!(start.elapsed() < PATIENCE, "the daemon does not come up");
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "the daemon has ended"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The guest of `endpoint`, with a perfect link.
    pub(crate) fn guest(&self, network: &Network, endpoint: &str) -> Guest {
        self.guest_with(network, endpoint, Link::default())
    }

    pub(crate) fn guest_with(&self, network: &Network, endpoint: &str, link: Link) -> Guest {
        let endpoint = network.endpoints.iter().find(|e| e.id == endpoint).unwrap();
        Guest::new(endpoint, network, link)
    }

    /// A network `10.<number>.0.0/24` with endpoints that are called by the
    /// names they have.
    pub(crate) fn network(&self, number: u8, names: &[&str]) -> Network {
        let address = |last: u8| Ipv4Addr::new(10, number, 0, last);
        let endpoint = |(n, name): (usize, &&str)| Endpoint {
            id: (*name).to_owned(),
            local: self.path(&format!("{name}.d")),
            peer: self.path(&format!("{name}.q")),
            transport: Transport::Datagram,
            mac: format!("02:57:0a:{number:02x}:00:{:02x}", n + 2),
            ipv4: Some(address(n as u8 + 2)),
            names: vec![(*name).to_owned()],
            ..Endpoint::default()
        };
        Network {
            name: format!("net{number}"),
            subnet: Some((address(0), 24)),
            gateway: Some(address(254)),
            endpoints: names.iter().enumerate().map(endpoint).collect(),
            ..Network::default()
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(dir: &TempDir, resolvers: &[SocketAddr], descriptors: u32) -> Child {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("ulimit -n {descriptors}; exec \"$@\""))
        .arg("sh");
    command.arg(env!("CARGO_BIN_EXE_stack-netd"));
    command.arg("--control").arg(dir.path().join("ctl"));
    command.arg("--config").arg(dir.path().join("config.json"));
    for resolver in resolvers {
        command.arg("--resolver").arg(resolver.to_string());
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

pub(crate) fn config(networks: &[&Network]) -> Config {
    let networks = networks.iter().map(|network| (*network).clone()).collect();
    Config {
        networks,
        publish: Vec::new(),
    }
}

/// A port of loopback that the system chooses.
pub(crate) fn publish(
    id: &str,
    protocol: Protocol,
    endpoint: &str,
    container_port: u16,
) -> Publish {
    Publish {
        id: id.to_owned(),
        host_ip: Some(IpAddr::from(Ipv4Addr::LOCALHOST)),
        host_port: 0,
        host_port_last: None,
        host_path: None,
        protocol,
        endpoint: endpoint.to_owned(),
        container_port,
    }
}

/// Bytes in which every shift and loss shows.
pub(crate) fn bytes(n: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}
