//! What a guest's kernel and tools find at the gateway.

use crate::kit::World;

crate::tests!(
    dhcp_gives_a_guest_its_address,
    the_router_advertises_itself,
    pings_are_answered_by_who_was_asked,
    connections_leave_or_fail_at_once,
    datagrams_leave_and_errors_come_back,
    routes_and_path_mtus_can_be_traced,
    ipv6_alone_is_enough,
    guests_find_each_other,
);

fn dhcp_gives_a_guest_its_address() {
    let mut world = World::new();
    let mut network = world.network(31, &["a"]);
    network.mtu = 1400;
    network.endpoints[0].search = vec!["corp.example".into(), "example.org".into()];
    world.apply(&[&network], &[]);
    world.bare_guest(&network.endpoints[0]);
    let script = "cat > lease <<'EOF'
#!/bin/sh
[ $1 = bound ] || exit 0
env > leased
ip addr add $ip/$mask dev $interface
ip route add default via $router
ip link set $interface mtu $mtu
EOF
        chmod +x lease
        udhcpc -i eth0 -n -q -f -s ./lease -O mtu -O search
        cat leased";
    let lease = world.run("a", script);
    for line in [
        "ip=10.31.0.2",
        "router=10.31.0.1",
        "dns=10.31.0.1",
        "mtu=1400",
        "hostname=a",
        "search=corp.example example.org",
    ] {
        assert!(
            lease.lines().any(|l| l.trim_end() == line),
            "{line}\n{lease}"
        );
    }
    world.run("a", "ping -c 1 -W 10 192.0.2.2");
}

fn the_router_advertises_itself() {
    let mut world = World::new();
    let open = world.network(31, &["a"]);
    let mut closed = world.network(32, &["b"]);
    closed.internal = true;
    world.apply(&[&open, &closed], &[]);
    world.guest(&open, "a");
    world.guest(&closed, "b");
    let said = world.run("a", "rdisc6 -1 -w 5000 eth0");
    assert!(said.contains("fd00:1f::/64"), "{said}");
    assert!(
        said.contains("Recursive DNS server     : fd00:1f::1"),
        "{said}"
    );
    assert!(
        said.contains("MTU                      :         1500"),
        "{said}"
    );
    assert!(
        said.contains("Router lifetime           :         9000"),
        "{said}"
    );
    let said = world.run("b", "rdisc6 -1 -w 5000 eth0");
    assert!(
        said.contains("Router lifetime           :            0"),
        "{said}"
    );
}

fn pings_are_answered_by_who_was_asked() {
    let mut world = World::new();
    let network = world.network(31, &["a"]);
    world.apply(&[&network], &[]);
    world.guest(&network, "a");
    for there in [
        "10.31.0.1",
        "fd00:1f::1",
        "192.0.2.2",
        "2001:db8:1::2",
        "198.51.100.2",
    ] {
        world.run("a", &format!("ping -c 2 -i 0.2 -W 10 {there}"));
    }
    // Long ones come in parts, there and back.
    world.run("a", "ping -c 1 -W 10 -s 5000 192.0.2.2");
    world.run("a", "ping -c 1 -W 10 -s 5000 2001:db8:1::2");
    // Nobody is there: the host finds out, or nobody answers.
    for nobody in ["192.0.2.77", "198.51.100.77", "2001:db8:1::77"] {
        let said = world.fails("a", &format!("ping -c 1 -W 2 {nobody}"));
        assert!(!said.contains("bytes from"), "{said}");
    }
    world.run("host", "sysctl -qw net.ipv4.ping_group_range='1 0'");
    let said = world.fails("a", "ping -c 1 -W 2 198.51.100.2 -e 4711");
    assert!(!said.contains("bytes from"), "{said}");
    assert!(world.drops("EchoRefused") > 0);
}

fn connections_leave_or_fail_at_once() {
    let mut world = World::new();
    let network = world.network(31, &["a"]);
    world.apply(&[&network], &[]);
    world.guest(&network, "a");
    world.peer("out", 8080);
    world.peer("host", 9090);
    let get = |url: &str| world.run("a", &format!("curl -sS -m 20 {url}"));
    assert_eq!(get("http://192.0.2.2:8080"), "192.0.2.1\n");
    assert_eq!(get("http://[2001:db8:1::2]:8080"), "2001:db8:1::1\n");
    // The host's loopback, by the gateway.
    assert_eq!(get("http://10.31.0.1:9090"), "127.0.0.1\n");
    assert_eq!(get("http://[fd00:1f::1]:9090"), "::1\n");
    for (url, why) in [
        ("http://192.0.2.2:81", "refused"),
        ("http://[2001:db8:1::2]:81", "refused"),
        ("http://10.31.0.1:81", "refused"),
        ("http://192.0.2.77:80", "No route to host"),
    ] {
        let said = world.fails("a", &format!("curl -sSv -m 60 {url}"));
        assert!(said.contains(why), "{url}: {said}");
    }
    world.run("host", "ip route del default; ip -6 route del default");
    for url in ["http://198.51.100.2", "http://[2001:db8:2::2]"] {
        let said = world.fails("a", &format!("curl -sSv -m 60 {url}"));
        assert!(
            said.contains("unreachable") || said.contains("No route"),
            "{said}"
        );
    }
}

/// Sends a datagram with a connected socket and prints the answer or error.
const ASK: &str = "import socket, sys
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
s.settimeout(15)
s.connect((sys.argv[1], int(sys.argv[2])))
s.send(b'x' * int(sys.argv[3]))
try: print(len(s.recv(65535)), 'bytes')
except OSError as error: print(error)
";

fn datagrams_leave_and_errors_come_back() {
    let mut world = World::new();
    let network = world.network(31, &["a"]);
    world.apply(&[&network], &[]);
    world.guest(&network, "a");
    world.peer("out", 8080);
    std::fs::write(world.path("ask.py"), ASK).unwrap();
    let ask = |to: &str, port: u16, length: usize| {
        world.run("a", &format!("python3 ask.py {to} {port} {length}"))
    };
    // The peer says who asked, a space, and the same again.
    for length in [1, 1400, 9000, 60_000] {
        let (four, six) = ("192.0.2.1".len() + 1, "2001:db8:1::1".len() + 1);
        assert_eq!(
            ask("192.0.2.2", 8080, length),
            format!("{} bytes\n", length + four)
        );
        let answer = ask("2001:db8:1::2", 8080, length);
        assert_eq!(answer, format!("{} bytes\n", length + six));
    }
    for nobody in [
        "192.0.2.2",
        "2001:db8:1::2",
        "198.51.100.2",
        "10.31.0.1",
        "fd00:1f::1",
    ] {
        let said = ask(nobody, 9, 10);
        assert!(said.contains("refused"), "{nobody}: {said}");
    }
}

fn routes_and_path_mtus_can_be_traced() {
    let mut world = World::new();
    let network = world.network(31, &["a"]);
    world.apply(&[&network], &[]);
    world.guest(&network, "a");
    let said = world.run("a", "tracepath -n 198.51.100.2");
    for part in [
        "1:  10.31.0.1",
        "2:  192.0.2.2",
        // It counts one too many when it hears of the length late.
        ":  198.51.100.2",
        "pmtu 1400",
        "reached",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    let said = world.run("a", "tracepath -6 -n 2001:db8:2::2");
    for part in [
        "fd00:1f::1",
        "2001:db8:1::2",
        "2001:db8:2::2",
        "pmtu 1400",
        "reached",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
}

fn ipv6_alone_is_enough() {
    let mut world = World::new();
    let mut network = world.network(31, &["a", "b"]);
    (network.subnet, network.gateway) = (None, None);
    for endpoint in &mut network.endpoints {
        endpoint.ipv4 = None;
    }
    world.apply(&[&network], &[]);
    world.guest(&network, "a");
    world.guest(&network, "b");
    world.peer("out", 8080);
    let said = world.run("a", "curl -sS -m 20 'http://[2001:db8:1::2]:8080'");
    assert_eq!(said, "2001:db8:1::1\n");
    assert_eq!(
        world.run("a", "dig +short @fd00:1f::1 b aaaa"),
        "fd00:1f::3\n"
    );
    assert_eq!(world.run("a", "dig +short @fd00:1f::1 b a"), "");
    world.run("a", "ping -c 1 -W 10 fd00:1f::3");
}

/// Hears the mDNS group; the first who asks is answered to the group.
const MDNS: &str = "import socket, struct, sys
family, group = [(socket.AF_INET, '224.0.0.251'), (socket.AF_INET6, 'ff02::fb')][sys.argv[2] == '6']
s = socket.socket(family, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('', 5353))
s.settimeout(30)
card = socket.if_nametoindex('eth0')
if family == socket.AF_INET:
    join = struct.pack('4s4si', socket.inet_aton(group), bytes(4), card)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, join)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, join)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    to = (group, 5353)
else:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(family, group) + struct.pack('i', card))
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    to = (group, 5353, 0, card)
if sys.argv[1] == 'answer':
    print('ready', flush=True)
    while s.recvfrom(99)[0] != b'who': pass
    s.sendto(b'me', to)
else:
    s.sendto(b'who', to)
    print(s.recvfrom(99)[0].decode())
";

fn guests_find_each_other() {
    let mut world = World::new();
    let network = world.network(31, &["a", "b"]);
    world.apply(&[&network], &[]);
    world.guest(&network, "a");
    world.guest(&network, "b");
    world.run("a", "ping -c 1 -W 10 10.31.0.3; ping -c 1 -W 10 fd00:1f::3");
    // Link-local addresses, and groups, by which mDNS works.
    world.run(
        "b",
        "ip -6 addr show dev eth0 | grep -o 'fe80[^/]*' | head -n 1 > b-address",
    );
    world.run("a", "ping -c 1 -W 10 $(cat b-address)%eth0");
    let said = world.run("a", "ping -c 2 -W 5 ff02::1%eth0");
    let other = std::fs::read_to_string(world.path("b-address")).unwrap();
    assert!(said.contains(other.trim()), "{said}");
    std::fs::write(world.path("mdns.py"), MDNS).unwrap();
    for family in ["4", "6"] {
        world.spawn("b", &format!("exec python3 mdns.py answer {family}"), true);
        let said = world.run("a", &format!("python3 mdns.py ask {family}"));
        assert_eq!(said, "me\n", "by IPv{family}");
    }
    // Another's address does not work.
    let before = world.drops("SpoofedAddress");
    world.run(
        "a",
        "ip addr add 10.31.0.99/24 dev eth0; ip addr add fd00:1f::99/64 dev eth0 nodad",
    );
    world.fails("a", "ping -c 1 -W 2 -I 10.31.0.99 10.31.0.3");
    world.fails("a", "ping -c 1 -W 2 -I fd00:1f::99 fd00:1f::3");
    assert!(world.drops("SpoofedAddress") >= before + 2);
}
