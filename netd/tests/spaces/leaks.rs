//! Nothing leaves an internal network.

use crate::kit::World;

crate::tests!(an_internal_network_has_no_way_out);

fn an_internal_network_has_no_way_out() {
    let mut world = World::new();
    let mut network = world.network(31, &["a", "b"]);
    network.internal = true;
    world.apply(&[&network], &[]);
    world.guest(&network, "a");
    world.guest(&network, "b");
    let logs = [
        world.peer("out", 8080),
        // Where a resolver would be.
        world.peer("out", 53),
        world.peer("host", 9090),
    ];
    world.spawn(
        "out",
        "echo ready; exec timeout 60 tcpdump -lnni host0 'ip or (ip6 and not src net fe80::/10 and not icmp6)' > seen 2>/dev/null",
        true,
    );
    for url in [
        "http://192.0.2.2:8080",
        "http://[2001:db8:1::2]:8080",
        "http://192.0.2.1:9090",
        "http://10.31.0.1:9090",
        "http://[fd00:1f::1]:9090",
    ] {
        world.fails("a", &format!("curl -sS -m 20 {url}"));
    }
    for there in ["192.0.2.2", "2001:db8:1::2", "192.0.2.1"] {
        world.fails("a", &format!("ping -c 1 -W 1 {there}"));
        world.fails("a", &format!("dig +time=1 +tries=1 @{there} example.org"));
    }
    for name in ["example.org", "host.docker.internal"] {
        let said = world.run("a", &format!("dig +time=10 @10.31.0.1 {name}"));
        assert!(said.contains("status: NXDOMAIN"), "{said}");
    }
    // What is inside works.
    assert_eq!(world.run("a", "dig +short @10.31.0.1 b"), "10.31.0.3\n");
    world.run("a", "ping -c 1 -W 10 10.31.0.3; ping -c 1 -W 10 10.31.0.1");
    for log in logs {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        assert_eq!(said, "", "{}", log.display());
    }
    let seen = std::fs::read_to_string(world.path("seen")).unwrap_or_default();
    assert_eq!(seen, "");
    assert!(world.drops("Internal") > 0);
}
