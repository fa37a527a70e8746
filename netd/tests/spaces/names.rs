//! The name server, as `dig` sees it.

use stack_netd::config::{Protocol, Service};

use crate::kit::World;

crate::tests!(
    names_are_answered_in_all_ways,
    the_hosts_resolvers_are_followed,
);

fn names_are_answered_in_all_ways() {
    let mut world = World::new();
    let mut network = world.network(31, &["web", "db"]);
    network.endpoints[0].links = vec![("database".into(), "db".into())];
    network.endpoints[1].services = vec![Service {
        label: "postgresql".into(),
        protocol: Protocol::Tcp,
        port: 5432,
    }];
    let other = world.network(32, &["secret"]);
    world.apply(&[&network, &other], &[]);
    world.guest(&network, "web");
    world.guest(&network, "db");
    let dig = |what: &str| world.run("web", &format!("dig +time=10 {what}"));
    for way in [
        "@10.31.0.1",
        "@10.31.0.1 +tcp",
        "@fd00:1f::1",
        "@fd00:1f::1 +tcp",
    ] {
        let short = |name: &str| dig(&format!("+short {way} {name}"));
        assert_eq!(short("db a"), "10.31.0.3\n");
        assert_eq!(short("db aaaa"), "fd00:1f::3\n");
        assert_eq!(short("-x 10.31.0.3"), "db.\n");
        assert_eq!(short("-x fd00:1f::3"), "db.\n");
        assert_eq!(short("database a"), "10.31.0.3\n");
        assert_eq!(short("_postgresql._tcp.db srv"), "0 0 5432 db.\n");
        assert_eq!(short("host.docker.internal a"), "10.31.0.1\n");
        assert_eq!(short("host.docker.internal aaaa"), "fd00:1f::1\n");
    }
    for (what, status) in [
        ("db mx", "NOERROR"),
        ("secret a", "NXDOMAIN"),
        ("_http._tcp.db srv", "NXDOMAIN"),
        // The resolver that is configured does not answer.
        ("example.org a", "SERVFAIL"),
    ] {
        let said = dig(&format!("@10.31.0.1 +tries=1 {what}"));
        assert!(
            said.contains(&format!("status: {status}")),
            "{what}: {said}"
        );
    }
    // Links are one's own.
    let said = world.run("db", "dig +time=10 +tries=1 @10.31.0.1 database a");
    assert!(said.contains("status: SERVFAIL"), "{said}");
}

/// Answers everything with the address that it is given, at another one.
const RESOLVER: &str = "import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 53))
print('ready', flush=True)
while True:
    query, client = s.recvfrom(4096)
    end = 12
    while query[end]: end += query[end] + 1
    head = query[:2] + bytes([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]) + query[12:end + 5]
    answer = bytes([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]) + socket.inet_aton(sys.argv[2])
    s.sendto(head + answer, client)
";

/// A VPN comes up: the file is another one, and the queries go elsewhere.
fn the_hosts_resolvers_are_followed() {
    let mut world = World::with_resolv_conf("nameserver 192.0.2.2\n");
    let network = world.network(31, &["a"]);
    world.apply(&[&network], &[]);
    world.guest(&network, "a");
    std::fs::write(world.path("resolver.py"), RESOLVER).unwrap();
    for (at, says) in [
        ("192.0.2.2", "203.0.113.1"),
        ("198.51.100.1", "203.0.113.2"),
    ] {
        world.spawn(
            "out",
            &format!("exec python3 resolver.py {at} {says}"),
            true,
        );
    }
    let ask = "dig +short +time=10 @10.31.0.1 example.org a";
    assert_eq!(world.run("a", ask), "203.0.113.1\n");
    world.write_resolv_conf("# of the VPN\nnameserver 198.51.100.1\n");
    let again = "for n in $(seq 20); do
        said=$(dig +short +time=10 @10.31.0.1 example.org a)
        [ \"$said\" != 203.0.113.2 ] || exit 0
        sleep 0.25
    done
    echo \"$said\"; exit 1";
    world.run("a", again);
    // And back.
    world.write_resolv_conf("nameserver 192.0.2.2\n");
    world.run("a", &again.replace("203.0.113.2", "203.0.113.1"));
}
