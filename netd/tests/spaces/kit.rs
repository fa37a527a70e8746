//! A world of network namespaces: guests, the host that the daemon runs on,
//! and what is outside.
//!
//! ```text
//!   guest ─tap─ daemon on "host" ─── "out" ─── "far"
//!               192.0.2.1            192.0.2.2
//!               2001:db8:1::1        2001:db8:1::2
//!                                    198.51.100.1   198.51.100.2   (MTU 1400)
//!                                    2001:db8:2::1  2001:db8:2::2
//! ```

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use stack_netd::config::{Config, Endpoint, Network, Publish};
use stack_netd::control::{Request, Response, call};
use tempfile::TempDir;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// All of it; gone when dropped.
pub(crate) struct World {
    prefix: String,
    dir: TempDir,
    spaces: Vec<String>,
    processes: Vec<Child>,
}

impl World {
    /// The host, what is outside, and a daemon that serves nothing yet.
    pub(crate) fn new() -> World {
        World::with("--resolver 192.0.2.2:53", None)
    }

    /// The daemon asks the resolvers that the host's `/etc/resolv.conf` names.
    pub(crate) fn with_resolv_conf(text: &str) -> World {
        World::with("", Some(text))
    }

    /// The resolv.conf of the host; it is written where it is.
    pub(crate) fn write_resolv_conf(&self, text: &str) {
        std::fs::write(self.settings().join("resolv.conf"), text).unwrap();
    }

    /// What `ip netns exec` puts over `/etc`.
    fn settings(&self) -> PathBuf {
        Path::new("/etc/netns").join(self.full("host"))
    }

    fn with(resolver: &str, resolv_conf: Option<&str>) -> World {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut world = World {
            prefix: format!("ns{}x{number}", std::process::id()),
            dir: tempfile::Builder::new().prefix("ns").tempdir().unwrap(),
            spaces: Vec::new(),
            processes: Vec::new(),
        };
        if let Some(text) = resolv_conf {
            std::fs::create_dir_all(world.settings()).unwrap();
            world.write_resolv_conf(text);
        }
        for space in ["host", "out", "far"] {
            world.space(space);
        }
        world.cable(("host", "wan0"), ("out", "host0"));
        world.cable(("out", "far0"), ("far", "out0"));
        world.run(
            "host",
            "ip addr add 192.0.2.1/24 dev wan0
             ip addr add 2001:db8:1::1/64 dev wan0 nodad
             ip route add default via 192.0.2.2
             ip route add default via 2001:db8:1::2
             sysctl -qw net.ipv4.ping_group_range='0 2147483647'",
        );
        world.run(
            "out",
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
             ip addr add 192.0.2.2/24 dev host0
             ip addr add 2001:db8:1::2/64 dev host0 nodad
             ip addr add 198.51.100.1/24 dev far0
             ip addr add 2001:db8:2::1/64 dev far0 nodad
             ip link set far0 mtu 1400",
        );
        world.run(
            "far",
            "ip addr add 198.51.100.2/24 dev out0
             ip addr add 2001:db8:2::2/64 dev out0 nodad
             ip link set out0 mtu 1400
             ip route add default via 198.51.100.1
             ip route add default via 2001:db8:2::1",
        );
        let daemon = env!("CARGO_BIN_EXE_stack-netd");
        let (control, config) = (world.path("ctl"), world.path("config.json"));
        let command = format!(
            "exec {daemon} --control {} --config {} {resolver}",
            control.display(),
            config.display()
        );
        world.spawn("host", &command, false);
        let start = Instant::now();
        while call(&control, &Request::Status).is_err() {
            assert!(start.elapsed() < PATIENCE, "the daemon does not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
        world
    }

    fn space(&mut self, name: &str) {
        let full = self.full(name);
        outside(&format!("ip netns add {full}"));
        self.spaces.push(full);
        self.run(
            name,
            "ip link set lo up; sysctl -qw net.ipv6.conf.all.accept_dad=0 \
             net.ipv6.conf.default.accept_dad=0 net.ipv4.ping_group_range='1 0'",
        );
    }

    fn full(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    fn cable(&self, one: (&str, &str), other: (&str, &str)) {
        let [a, b] = [one, other].map(|(space, _)| self.full(space));
        outside(&format!(
            "ip link add {} netns {a} type veth peer name {} netns {b}",
            one.1, other.1
        ));
        for (space, device) in [one, other] {
            self.run(space, &format!("ip link set {device} up"));
        }
    }

    /// A file of this world.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs shell commands in a namespace; what they print. They must work.
    pub(crate) fn run(&self, space: &str, script: &str) -> String {
        let output = self.try_run(space, script);
        let text = text(&output);
        assert!(output.status.success(), "in {space}: {script}\n{text}");
        text
    }

    /// Runs shell commands that must fail; what they print.
    pub(crate) fn fails(&self, space: &str, script: &str) -> String {
        let output = self.try_run(space, script);
        let text = text(&output);
        assert!(!output.status.success(), "in {space}: {script}\n{text}");
        text
    }

    fn try_run(&self, space: &str, script: &str) -> Output {
        self.command(space, &format!("set -e\n{script}"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn command(&self, space: &str, script: &str) -> Command {
        let mut command = Command::new("ip");
        let path = "PATH=$PATH:/usr/sbin:/sbin";
        command
            .args([
                "netns",
                "exec",
                &self.full(space),
                "timeout",
                "120",
                "bash",
                "-c",
            ])
            .arg(format!("{path}\n{script}"))
            .current_dir(self.dir.path());
        command
    }

    /// Starts a process; if `ready`, waits until it says so.
    pub(crate) fn spawn(&mut self, space: &str, script: &str, ready: bool) {
        let mut command = self.command(space, script);
        let out = if ready { Stdio::piped() } else { Stdio::null() };
        let mut child = command.stdin(Stdio::null()).stdout(out).spawn().unwrap();
        if let Some(out) = child.stdout.take() {
            let mut line = String::new();
            BufReader::new(out).read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n", "in {space}: {script}");
        }
        self.processes.push(child);
    }

    /// A service that answers on a port of `space`; see `peer.py`.
    pub(crate) fn peer(&mut self, space: &str, port: u16) -> PathBuf {
        let log = self.path(&format!("peer-{space}-{port}"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spaces/peer.py");
        let command = format!("exec python3 {} {port} {}", script.display(), log.display());
        self.spawn(space, &command, true);
        log
    }

    /// Serves networks and published ports.
    pub(crate) fn apply(&self, networks: &[&Network], publish: &[Publish]) {
        let config = Config {
            networks: networks.iter().map(|network| (*network).clone()).collect(),
            publish: publish.to_vec(),
        };
        match call(&self.path("ctl"), &Request::Apply(config)).unwrap() {
            Response::Applied { errors, .. } if errors.is_empty() => {}
            other => panic!("{other:?}"),
        }
    }

    /// Frames that the daemon dropped for a reason.
    pub(crate) fn drops(&self, reason: &str) -> u64 {
        match call(&self.path("ctl"), &Request::Status).unwrap() {
            Response::Status { drops, .. } => drops.get(reason).copied().unwrap_or(0),
            other => panic!("{other:?}"),
        }
    }

    /// A network `10.<number>.0.0/24` and `fd00:<number>::/64`.
    pub(crate) fn network(&self, number: u8, names: &[&str]) -> Network {
        let four = |last: u8| Ipv4Addr::new(10, number, 0, last);
        let six = |last: u16| Ipv6Addr::new(0xfd00, number.into(), 0, 0, 0, 0, 0, last);
        let endpoint = |(n, name): (usize, &&str)| Endpoint {
            id: (*name).to_owned(),
            local: self.path(&format!("{name}.d")),
            peer: self.path(&format!("{name}.q")),
            mac: format!("02:57:0a:{number:02x}:00:{:02x}", n + 2),
            ipv4: Some(four(n as u8 + 2)),
            ipv6: Some(six(n as u16 + 2)),
            default_route: true,
            names: vec![(*name).to_owned()],
            ..Endpoint::default()
        };
        Network {
            name: format!("net{number}"),
            subnet: Some((four(0), 24)),
            gateway: Some(four(1)),
            subnet6: Some((six(0), 64)),
            gateway6: Some(six(1)),
            endpoints: names.iter().enumerate().map(endpoint).collect(),
            ..Network::default()
        }
    }

    /// A guest with its network card, and without addresses.
    pub(crate) fn bare_guest(&mut self, endpoint: &Endpoint) {
        let name = endpoint.id.clone();
        self.space(&name);
        let tap = Path::new(env!("CARGO_BIN_EXE_stack-netd"))
            .with_file_name("examples")
            .join("tap");
        assert!(
            tap.exists(),
            "{} is missing: cargo build --examples",
            tap.display()
        );
        let (local, peer) = (endpoint.local.display(), endpoint.peer.display());
        let command = format!("exec {} eth0 dgram {local} {peer}", tap.display());
        self.spawn(&name, &command, true);
        let mac = &endpoint.mac;
        self.run(&name, &format!("ip link set eth0 address {mac} up"));
    }

    /// A guest with the addresses and routes that the runtime gives.
    pub(crate) fn guest(&mut self, network: &Network, name: &str) {
        let endpoint = network.endpoints.iter().find(|e| e.id == name).unwrap();
        self.bare_guest(endpoint);
        if let (Some(own), Some(gateway)) = (endpoint.ipv4, network.gateway) {
            self.run(
                name,
                &format!(
                    "ip addr add {own}/24 dev eth0; ip route add default via {gateway}
                     sysctl -qw net.ipv4.ping_group_range='0 2147483647'"
                ),
            );
        }
        if let (Some(own), Some(gateway)) = (endpoint.ipv6, network.gateway6) {
            self.run(
                name,
                &format!(
                    "ip addr add {own}/64 dev eth0 nodad
                     ip route add default via {gateway} dev eth0 metric 100"
                ),
            );
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            let _ = process.kill();
            let _ = process.wait();
        }
        for space in &self.spaces {
            // `timeout` and `bash` may have left something behind.
            let pids = Command::new("ip").args(["netns", "pids", space]).output();
            for pid in text(&pids.unwrap()).split_whitespace() {
                let _ = Command::new("kill").args(["-9", pid]).output();
            }
            outside(&format!("ip netns del {space}"));
        }
        // There is none, mostly.
        let _ = std::fs::remove_dir_all(self.settings());
    }
}

fn outside(script: &str) {
    let output = Command::new("bash").args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{script}\n{}", text(&output));
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// What keeps these tests from running here, if something does.
pub(crate) fn obstacle() -> Option<String> {
    let probe = "PATH=$PATH:/usr/sbin:/sbin
        for tool in ip python3 curl dig udhcpc ping tracepath rdisc6 tcpdump sysctl; do
            command -v $tool >/dev/null || { echo \"$tool is not installed\"; exit 1; }
        done
        test -w /dev/net/tun || { echo 'no access to /dev/net/tun'; exit 1; }
        ip netns add nsprobe$$ && ip netns del nsprobe$$";
    let output = Command::new("bash").args(["-c", probe]).output().ok()?;
    (!output.status.success()).then(|| text(&output).trim().to_owned())
}
