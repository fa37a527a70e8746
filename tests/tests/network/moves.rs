//! Services that join and leave networks while they run.

use stack_tests::{Home, Project, get};

use crate::{fails_inside, inside};

const CARDS: &str = "cd /sys/class/net; echo eth*";

fn file(networks: &str, port: u16) -> String {
    format!(
        r#"
services:
  web:
    image: busybox:1
    init: true
    command: ["sh", "-c", "mkdir -p /www; echo web > /www/index.html; exec httpd -f -p 80 -h /www"]
    healthcheck: {{test: [CMD, wget, -q, -O, /dev/null, "http://127.0.0.1/"]}}
    ports: ["127.0.0.1:{port}:80"]
    networks: {networks}
  near:
    image: busybox:1
    init: true
    command: sleep 100000
    networks: [near]
  far:
    image: busybox:1
    init: true
    command: sleep 100000
    networks: [far]
networks:
  near:
  far: {{enable_ipv6: true}}
  third:
"#
    )
}

fn up(project: &Project<'_>, networks: &str, port: u16) -> String {
    let file = file(networks, port);
    std::fs::write(project.dir().join("stack.yaml"), file).unwrap();
    project.stack(&["up", "-d", "--wait"]).ok();
    project.field("web", "BootID")
}

const ASK: &str = "timeout 5 wget -q -O - http://web/";

#[test]
fn networks_change_while_a_service_runs() {
    let home = Home::new();
    let port = stack_tests::free_port();
    let project = home.project("moves", &file("[near]", port));
    let boot = up(&project, "[near]", port);
    assert_eq!(inside(&project, "near", ASK), "web");
    fails_inside(&project, "far", ASK);

    // One more.
    assert_eq!(up(&project, "[near, far]", port), boot);
    for other in ["near", "far"] {
        assert_eq!(inside(&project, other, ASK), "web", "{other}");
    }
    let six = inside(&project, "web", "ip -6 -o addr show eth1 scope global");
    assert!(six.contains("fd"), "{six}");
    assert_eq!(get(&format!("http://127.0.0.1:{port}/")).0, 200);

    // The other one only: the default route and the ports go with it.
    assert_eq!(up(&project, "{far: {aliases: [www]}}", port), boot);
    assert_eq!(inside(&project, "web", CARDS), "eth1");
    assert_eq!(inside(&project, "far", "wget -q -O - http://www/"), "web");
    fails_inside(&project, "near", ASK);
    assert_eq!(get(&format!("http://127.0.0.1:{port}/")).0, 200);
    let route = inside(&project, "web", "ip route show default");
    assert!(route.contains("eth1"), "{route}");

    // Two others at once, by the card that is free and the one to spare; and
    // what is asked for as the machine starts needs another.
    assert_eq!(up(&project, "[near, third]", port), boot);
    assert_eq!(inside(&project, "near", ASK), "web");
    assert_eq!(inside(&project, "web", CARDS), "eth0 eth1");
    let fixed = "{near: {mac_address: \"02:00:00:00:00:77\"}, third: }";
    assert_ne!(up(&project, fixed, port), boot);
    assert_eq!(inside(&project, "near", ASK), "web");
    // A container that does not run takes it at its next start.
    project.stack(&["stop", "web"]).ok();
    up(&project, "[far]", port);
    assert_eq!(inside(&project, "web", CARDS), "eth0");
    assert_eq!(inside(&project, "far", ASK), "web");
    project.stack(&["down"]).ok();
}
