//! The network of a user without any privilege, and a client of another host.

use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};

use stack_tests::{Home, free_port, get, is_root};

use crate::{TELLS, fails_inside, inside};

fn file(tcp: u16, udp: u16) -> String {
    format!(
        r#"
services:
  web:
    image: python:3
    init: true
    command: ["python3", "/tells.py"]
    configs: [{{source: tells, target: /tells.py}}]
    healthcheck: {{test: [CMD, python3, -c, "import socket; socket.create_connection(('127.0.0.1', 80))"]}}
    ports: ["{tcp}:80", "{udp}:5353/udp"]
    networks: [front, back]
    x-stack: {{sockets: {{"80": ./web.sock}}}}
  db:
    image: busybox:1
    init: true
    command: sleep 100000
    networks: [back]
networks:
  front: {{enable_ipv6: true}}
  back: {{internal: true}}
configs:
  tells: {{content: {}}}
"#,
        serde_json::to_string(&TELLS.replace('$', "$$")).unwrap()
    )
}

/// Another host: a network namespace at the other end of a cable.
struct Neighbour {
    name: String,
    number: u8,
}

impl Neighbour {
    fn new() -> Neighbour {
        let number = (std::process::id() % 250 + 1) as u8;
        let name = format!("stkn{}", std::process::id());
        let neighbour = Neighbour { name, number };
        let (name, number) = (&neighbour.name, neighbour.number);
        neighbour.outside(&format!(
            "ip netns add {name}
             ip link add {name} type veth peer name eth0 netns {name}
             ip addr add 10.231.{number}.1/30 dev {name}
             ip addr add fd31:{number}::1/64 dev {name} nodad
             ip link set {name} up
             ip -n {name} addr add 10.231.{number}.2/30 dev eth0
             ip -n {name} addr add fd31:{number}::2/64 dev eth0 nodad
             ip -n {name} link set eth0 up"
        ));
        neighbour
    }

    fn run(&self, script: &str) -> Output {
        let script = format!("set -e\n{script}");
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        command.output().unwrap()
    }

    #[track_caller]
    fn outside(&self, script: &str) {
        let done = self.run(script);
        assert!(done.status.success(), "{done:?}");
    }

    /// What the page says, asked from over there.
    #[track_caller]
    fn ask(&self, host: &str, port: u16) -> String {
        let script = format!(
            "ip netns exec {} curl -sS --max-time 30 http://{host}:{port}/",
            self.name
        );
        let done = self.run(&script);
        assert!(done.status.success(), "{done:?}");
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let name = &self.name;
        let _ = self.run(&format!("ip link del {name}; ip netns del {name}"));
        let _ = self.run(&format!("ip netns del {name}"));
    }
}

#[test]
fn a_plain_user_has_networks_and_sees_real_clients() {
    if !is_root() {
        eprintln!("skipped: only root can change to another user and make another host");
        return;
    }
    let home = Home::new().as_user(64_739);
    let (tcp, udp) = (free_port(), free_port());
    let low = "services: {a: {image: 'not.there/nothing:1', ports: ['80:80']}}";
    let refused = home.project("low", low);
    std::os::unix::fs::chown(refused.dir(), Some(64_739), Some(64_739)).unwrap();
    // Before anything is fetched, when the port cannot be had anyway.
    let open = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let first: u16 = std::fs::read_to_string(open)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    if first > 80 {
        for command in [&["up", "-d"][..], &["run", "--service-ports", "a"]] {
            let said = refused.stack(command).fails();
            said.says("port 80 is one of those that only root may use");
        }
    }
    let project = home.project("plain", &file(tcp, udp));
    std::os::unix::fs::chown(project.dir(), Some(64_739), Some(64_739)).unwrap();
    project.stack(&["up", "-d", "--wait"]).ok();
    let owner = |process: &stack_tests::Running| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid));
        let status = status.unwrap_or_default();
        status
            .lines()
            .any(|line| line.starts_with("Uid:\t64739\t64739"))
    };
    let processes = home.processes();
    assert!(processes.iter().any(|p| p.program == "stack-netd"));
    assert!(processes.iter().all(owner), "{processes:?}");

    // Published on all addresses of the host. A client of another host is seen
    // as itself, by both families; one on this host as the gateway, at an
    // address that the host has only just got, too.
    let far = Neighbour::new();
    let n = far.number;
    assert_eq!(
        far.ask(&format!("10.231.{n}.1"), tcp),
        format!("10.231.{n}.2")
    );
    assert_eq!(
        far.ask(&format!("[fd31:{n}::1]"), tcp),
        format!("fd31:{n}::2")
    );
    let (status, seen) = get(&format!("http://127.0.0.1:{tcp}/"));
    assert_eq!(status, 200);
    assert!(seen.starts_with("10.89."), "{seen}");
    let own = get(&format!("http://10.231.{n}.1:{tcp}/")).1;
    assert!(own.starts_with("10.89."), "{own}");
    assert!(TcpStream::connect(("::1", tcp)).is_ok());
    assert!(project.dir().join("web.sock").exists());

    // Names, a way out, and none where there is to be none.
    inside(&project, "db", "nslookup web");
    fails_inside(&project, "db", "nslookup example.com");
    let host = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = host.local_addr().unwrap().port();
    let fetch = |target: &str| {
        format!("python3 -c \"import socket; socket.create_connection(('{target}', {port}), 10)\"")
    };
    inside(&project, "web", &fetch("host.docker.internal"));
    inside(&project, "web", &fetch(&format!("10.231.{n}.1")));
    let gateway = inside(&project, "db", "sed -n 's/nameserver //p' /etc/resolv.conf");
    for target in [gateway, format!("10.231.{n}.1")] {
        let leak = format!("timeout 3 wget -q -O - http://{target}:{port}/");
        fails_inside(&project, "db", &leak);
    }
    project.stack(&["down"]).ok();
    assert!(TcpStream::connect(("127.0.0.1", tcp)).is_err());
}
