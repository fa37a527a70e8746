//! Published ports, as clients and services see them.

use stack_netd::config::{Protocol, Publish};

use crate::kit::World;

crate::tests!(
    services_see_the_real_client,
    services_of_one_family_are_found_by_both,
    a_guest_reaches_its_hosts_published_ports,
);

fn publish(protocol: Protocol, endpoint: &str, container_port: u16) -> Publish {
    Publish {
        id: format!("{endpoint}-{protocol:?}"),
        host_ip: None,
        host_port: 8000,
        host_port_last: None,
        host_path: None,
        protocol,
        endpoint: endpoint.to_owned(),
        container_port,
    }
}

/// Prints what a UDP service says about its client.
const WHO: &str = "import socket, sys
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
s.settimeout(15)
s.connect((sys.argv[1], 8000))
s.send(b'x')
print(s.recv(100).split()[0].decode())
";

fn services_see_the_real_client() {
    let mut world = World::new();
    let network = world.network(31, &["a"]);
    let ports = [
        publish(Protocol::Tcp, "a", 80),
        publish(Protocol::Udp, "a", 80),
        Publish {
            id: "nobody".to_owned(),
            host_port: 8001,
            ..publish(Protocol::Tcp, "a", 81)
        },
    ];
    world.apply(&[&network], &ports);
    world.guest(&network, "a");
    world.peer("a", 80);
    std::fs::write(world.path("who.py"), WHO).unwrap();
    for (space, to, seen) in [
        ("out", "192.0.2.1", "192.0.2.2"),
        ("out", "2001:db8:1::1", "2001:db8:1::2"),
        ("far", "192.0.2.1", "198.51.100.2"),
        // The host itself is the gateway.
        ("host", "127.0.0.1", "10.31.0.1"),
        ("host", "192.0.2.1", "10.31.0.1"),
        ("host", "::1", "fd00:1f::1"),
    ] {
        let host = if to.contains(':') {
            format!("[{to}]")
        } else {
            to.to_owned()
        };
        let said = world.run(space, &format!("curl -sS -m 20 'http://{host}:8000'"));
        assert_eq!(said.trim(), seen, "TCP from {space} to {to}");
        let said = world.run(space, &format!("python3 who.py {to}"));
        assert_eq!(said.trim(), seen, "UDP from {space} to {to}");
    }
    // The host at an address that it has only just got is the gateway, too.
    for (to, added) in [
        ("192.0.2.200", "192.0.2.200/24"),
        ("2001:db8:1::200", "2001:db8:1::200/64"),
    ] {
        let (url, gateway) = match to.contains(':') {
            true => (format!("[{to}]"), "fd00:1f::1"),
            false => (to.to_owned(), "10.31.0.1"),
        };
        let ask = format!("ip addr add {added} dev wan0 && curl -sS -m 20 'http://{url}:8000'");
        assert_eq!(world.run("host", &ask).trim(), gateway, "from {to}");
    }
    // Answers come from the address that was asked.
    let said = world.run("out", "python3 who.py 192.0.2.200");
    assert_eq!(said.trim(), "192.0.2.2");
    // Nobody listens there: the client is refused, not left waiting.
    let said = world.fails("out", "curl -sSv -m 20 http://192.0.2.1:8001");
    assert!(said.contains("reset") || said.contains("refused"), "{said}");
}

fn services_of_one_family_are_found_by_both() {
    let mut world = World::new();
    let mut four = world.network(31, &["a"]);
    (four.subnet6, four.gateway6) = (None, None);
    four.endpoints[0].ipv6 = None;
    let mut six = world.network(32, &["b"]);
    (six.subnet, six.gateway) = (None, None);
    six.endpoints[0].ipv4 = None;
    // Has both, but its service listens on IPv4 only.
    let lazy = world.network(33, &["c"]);
    let ports = [
        publish(Protocol::Tcp, "a", 80),
        Publish {
            host_port: 8001,
            ..publish(Protocol::Tcp, "b", 80)
        },
        Publish {
            host_port: 8002,
            ..publish(Protocol::Tcp, "c", 80)
        },
    ];
    world.apply(&[&four, &six, &lazy], &ports);
    world.guest(&four, "a");
    world.guest(&six, "b");
    world.guest(&lazy, "c");
    world.peer("a", 80);
    world.peer("b", 80);
    let lazy_service = "echo ready; exec python3 -m http.server -b 0.0.0.0 80 2>/dev/null >&2";
    world.spawn("c", lazy_service, true);
    let get = |url: &str| {
        world.run(
            "out",
            &format!("curl -sS -m 20 --retry 5 --retry-all-errors '{url}'"),
        )
    };
    assert_eq!(get("http://[2001:db8:1::1]:8000"), "10.31.0.1\n");
    assert_eq!(get("http://192.0.2.1:8000"), "192.0.2.2\n");
    assert_eq!(get("http://192.0.2.1:8001"), "fd00:20::1\n");
    assert_eq!(get("http://[2001:db8:1::1]:8001"), "2001:db8:1::2\n");
    assert!(get("http://192.0.2.1:8002").contains("Directory listing"));
    assert!(get("http://[2001:db8:1::1]:8002").contains("Directory listing"));
}

fn a_guest_reaches_its_hosts_published_ports() {
    let mut world = World::new();
    let network = world.network(31, &["a", "b"]);
    let ports = [
        publish(Protocol::Tcp, "a", 80),
        publish(Protocol::Udp, "a", 80),
    ];
    world.apply(&[&network], &ports);
    world.guest(&network, "a");
    world.guest(&network, "b");
    world.peer("a", 80);
    std::fs::write(world.path("who.py"), WHO).unwrap();
    // Also its own.
    for guest in ["a", "b"] {
        for host in ["192.0.2.1", "10.31.0.1", "[2001:db8:1::1]", "[fd00:1f::1]"] {
            let said = world.run(guest, &format!("curl -sS -m 20 'http://{host}:8000'"));
            let gateway = if host.contains(':') {
                "fd00:1f::1"
            } else {
                "10.31.0.1"
            };
            assert_eq!(said.trim(), gateway, "from {guest} to {host}");
        }
        let said = world.run(guest, "python3 who.py 192.0.2.1");
        assert_eq!(said.trim(), "10.31.0.1");
    }
}
